"""A step's run, under the names that ZenML's page and Trackio's users know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.process.guard import charge, shield

__all__ = ["StandIn", "StepRun"]


class StepRun(Run):
    """A step's run: one of autolog's, which also takes what ZenML's page on Trackio tries.

    >>> run = get_trackio_run()
    >>> run.log({"accuracy": 0.9, "errors": dataframe, "roc": figure})
    >>> run.log_params({"depth": 4})
    >>> run["parameters"] = {"depth": 4}
    """

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at a step, and tables and pictures beside them, as ``trackio.log`` takes them.

        Raises:
            TypeError: a value that is no number, DataFrame, list of dicts, ``trackio.Table`` or figure.
            RunError: the run is finished.
        """
        metrics, pictures, tables = _sorted_out(metrics)
        super().log(metrics, step=step)
        for key, value in pictures.items():
            self.figure(key, value, step=step)
        for key, value in tables.items():
            self.table(key, value, step=step)

    log_metrics = log

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record hyperparameters, see :meth:`autolog.Run.params`; numbers also as columns to group by."""
        self.params(params)
        self._columns("params", params)

    def __setitem__(self, name: str, value: Any) -> None:
        """Record a value in the config; of a mapping each one."""
        if not isinstance(value, Mapping):
            self.params({name: value}, prefix="")
            return
        self.params(value, prefix=str(name))
        self._columns(str(name), value)

    def _columns(self, prefix: str, values: Mapping[str, Any]) -> None:
        short = {f"{prefix}/{name}": v for name, v in values.items() if isinstance(v, (bool, int, float))}
        self.params(short, prefix="")


class StandIn:
    """A run of ours where Trackio looks for its current one: in the step, ``trackio.log`` writes to it.

    Like Trackio's own functions it raises nothing; what it does not take, the run says.
    """

    def __init__(self, run: Recording):
        self.stands_for = run
        self.id, self.name, self.project, self.group = run.id, run.name, run.project, run.group
        self.config: dict[str, Any] = {}

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See ``trackio.log``."""
        with shield("trackio.log in a step"):
            charge(self.stands_for)
            metrics, pictures, tables = _sorted_out(metrics)
            self.stands_for.log(metrics, step=step)
            for key, value in pictures.items():
                self.stands_for.figure(key, value, step=step)
            for key, value in tables.items():
                self.stands_for.table(key, value, step=step)

    def log_system(self, metrics: Mapping[str, Any]) -> None:
        """See ``trackio.log_system``."""
        with shield("trackio.log_system in a step"):
            charge(self.stands_for)
            self.stands_for.system(dict(metrics))

    def alert(self, title: str, text: str | None = None, level: Any = "warn", **others: Any) -> None:
        """See ``trackio.alert``."""
        with shield("trackio.alert in a step"):
            charge(self.stands_for)
            self.stands_for.alert(title, text, level=str(getattr(level, "value", level)))

    def log_artifact(
        self, artifact_or_path: Any, name: str | None = None, type: Any = None, aliases: Any = None, **_: Any
    ) -> Any:
        """See ``trackio.log_artifact``: a file or a folder."""
        with shield("trackio.log_artifact in a step"):
            charge(self.stands_for)
            self.stands_for.artifact(
                artifact_or_path, name, type=type or "unspecified", aliases=aliases or ()
            )
        return artifact_or_path

    def finish(self) -> None:
        """It ends with its step."""


def _sorted_out(metrics: Any) -> tuple[Any, dict[Any, Any], dict[Any, Any]]:
    """Numbers, pictures and tables of one call, each by name."""
    pictures = {key: value for key, value in _items(metrics) if _is_figure(value)}
    tables = {key: _rows(value) for key, value in _items(metrics) if _rows(value) is not None}
    if pictures or tables:
        metrics = {k: v for k, v in metrics.items() if k not in pictures and k not in tables}
    return metrics, pictures, tables


def _items(metrics: Any) -> list[tuple[Any, Any]]:
    return list(metrics.items()) if isinstance(metrics, Mapping) else []


def _is_figure(value: Any) -> bool:
    module = type(value).__module__.partition(".")[0]
    return module in ("matplotlib", "plotly") and (hasattr(value, "savefig") or hasattr(value, "to_html"))


def _rows(value: Any) -> Any:
    """A table's rows, if it is one."""
    if type(value).__module__ == "trackio.table":
        return value.data
    is_frame = hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))
    is_list = isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    return value if is_frame or is_list else None
