"""A step's run, under the names that ZenML's page and Trackio's users know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.given import log_with_tables
from autolog.core.run import Run
from autolog.process.guard import measured

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

        Raises:
            TypeError: no mapping, or a step that is no whole number; with ``strict`` a value that Trackio
                does not take.
        """
        log_with_tables(self._recording, metrics, step, strict)

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
        if not self._recording.is_closed:
            super().finish(status)

    def _check_open(self, what: str) -> None:
        """A step is open as long as it runs: Trackio's run takes what comes after its end as well."""

    def _columns(self, prefix: str, values: Mapping[str, Any]) -> None:
        short = {f"{prefix}/{name}": v for name, v in values.items() if isinstance(v, (bool, int, float))}
        self.params(short, prefix="")
