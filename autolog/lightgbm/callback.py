"""The callback that a user gives to ``lightgbm.train`` or ``lightgbm.cv``."""

from __future__ import annotations

from typing import Any

from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run

__all__ = ["TrackioCallback"]


class TrackioCallback(NativeCallback):
    """Records the trainings that it is given to, as ``autolog.enable("lightgbm")`` records all of them.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Example:
        >>> lightgbm.train(params, train_set, callbacks=[autolog.lightgbm.TrackioCallback()])

    One callback may serve several trainings, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        self.write_to(run, "lightgbm")

    def __call__(self, env: Any) -> None:
        """A round has ended: the hooks record it."""

    def __reduce__(self) -> Any:
        return TrackioCallback, (self.run,)  # where it is unpickled it turns the hooks on, too
