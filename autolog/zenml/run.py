"""A step's run, under the names that ZenML's page and Trackio's users know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.bare import alert
from autolog.core.given import log_system, log_with_tables
from autolog.core.run import Run
from autolog.core.statuses import STATUSES
from autolog.process.guard import charge, measured, shield

__all__ = ["StepRun"]


class StepRun(Run):
    """A step's run: one of autolog's, which also takes what ZenML's page on Trackio tries.

    >>> run = get_trackio_run()
    >>> run.log({"accuracy": 0.9, "errors": dataframe, "roc": figure})
    >>> run.log_params({"depth": 4})
    >>> run["parameters"] = {"depth": 4}
    """

    @measured
    def log(self, metrics: Mapping[str, Any], step: int | None = None, *, strict: bool = False) -> None:
        """Record values at a step as :meth:`autolog.Run.log` does; DataFrames and lists of dicts are tables.

        As Trackio's own run it raises nothing: what cannot be recorded, the run says.

        Raises:
            TypeError: with ``strict`` what nobody takes.
        """
        if strict:
            log_with_tables(self._recording, metrics, step, strict)
            return
        with shield("run.log in a step"):
            charge(self._recording)
            log_with_tables(self._recording, metrics, step)

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

    def finish(self, status: str = "finished") -> None:
        """End the run; the status is the step's, if that fails. What comes after it goes on in it.

        As with Trackio's own run, it may be called again.
        """
        if status not in STATUSES[1:]:
            raise ValueError(f"finish: status={status!r}; expected one of {', '.join(STATUSES[1:])}.")
        if self._recording.status == "running" and self._recording.is_of_this_process:
            self._recording.end(status)

    def alert(self, *args: Any, **kwargs: Any) -> None:
        """See :meth:`autolog.Run.alert`; as Trackio's it is printed, too, and raises nothing."""
        with shield("run.alert in a step"):
            charge(self._recording)
            alert(self._recording, *args, **kwargs, is_printed=True)

    def log_system(self, metrics: Mapping[str, Any]) -> None:
        """See :meth:`autolog.Run.log_system`; as Trackio's it raises nothing."""
        with shield("run.log_system in a step"):
            charge(self._recording)
            log_system(self._recording, metrics)

    def _columns(self, prefix: str, values: Mapping[str, Any]) -> None:
        short = {f"{prefix}/{name}": v for name, v in values.items() if isinstance(v, (bool, int, float))}
        self.params(short, prefix="")
