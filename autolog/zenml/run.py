"""A step's run, under the names that ZenML's page and Trackio's users know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.given import log
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

    def log(self, metrics: Mapping[str, Any], step: int | None = None, *, strict: bool = False) -> None:
        """Record values at a step as :meth:`autolog.Run.log` does; DataFrames and lists of dicts are tables.

        Raises:
            TypeError: no mapping, or a step that is no whole number; with ``strict`` a value that Trackio
                does not take.
            RunError: the run is finished.
        """
        metrics, tables = _sorted_out(metrics)
        super().log(metrics, step=step, strict=strict)
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
            metrics, tables = _sorted_out(metrics)
            log(self.stands_for, metrics, step)
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


def _sorted_out(metrics: Any) -> tuple[Any, dict[Any, Any]]:
    """What ``Run.log`` takes and what is a table, each by name."""
    items = metrics.items() if isinstance(metrics, Mapping) else ()
    tables = {key: value for key, value in items if _is_table(value)}
    if tables:
        metrics = {key: value for key, value in metrics.items() if key not in tables}
    return metrics, tables


def _is_table(value: Any) -> bool:
    is_frame = hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))
    is_list = isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    return bool(is_frame or is_list)
