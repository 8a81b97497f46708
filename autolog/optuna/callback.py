"""The callback that a user gives to ``Study.optimize``."""

from __future__ import annotations

from typing import Any

from autolog.core import catalogue
from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run
from autolog.core.settings import TRIALS
from autolog.optuna.optimize import record_told
from autolog.process.guard import shield

__all__ = ["TrackioCallback"]


class TrackioCallback(NativeCallback):
    """Records the ``optimize`` that it is given to, as ``autolog.enable("optuna")`` records every one.

    Args:
        run: the run to write to. None: the study's own.
        trials: which trials become runs below the study's: ``auto``, those in which something trains, logs or
            reports; ``runs``, all; ``rows``, none. None: as in :class:`autolog.Settings`.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.
        ValueError: another word for ``trials``.

    Examples:
        >>> study.optimize(objective, n_trials=100, callbacks=[autolog.optuna.TrackioCallback()])
        >>> callback(study, study.tell(trial, value))  # ask-and-tell, without ``enable``

    One callback may serve several studies, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None, trials: str | None = None):
        if trials is not None and trials not in TRIALS:
            raise ValueError(f"TrackioCallback: trials={trials!r}; expected one of {', '.join(TRIALS)}.")
        self.trials = trials
        self.write_to(run, "optuna")

    def __call__(self, study: Any, trial: Any) -> None:
        """A trial has ended. The hooks have recorded it already, unless it was asked for and told by hand."""
        if catalogue.is_armed("optuna"):
            with shield("Optuna: a trial"):
                record_told(study, trial, self)

    def __reduce__(self) -> Any:
        return TrackioCallback, (self.run, self.trials)  # where it is unpickled it turns the hooks on, too
