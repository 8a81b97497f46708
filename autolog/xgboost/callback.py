"""The callback that a user gives to ``xgboost.train`` or ``xgboost.cv``."""

from __future__ import annotations

from typing import Any

from xgboost.callback import TrainingCallback

from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run

__all__ = ["TrackioCallback"]


class TrackioCallback(TrainingCallback, NativeCallback):  # type: ignore[misc]
    """Records the trainings that it is given to, as ``autolog.enable("xgboost")`` records all of them.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Example:
        >>> xgboost.train(params, dtrain, callbacks=[autolog.xgboost.TrackioCallback()])

    One callback may serve several trainings, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        super().__init__()
        self.write_to(run, "xgboost")

    def __reduce__(self) -> Any:
        return TrackioCallback, (self.run,)  # where it is unpickled it turns the hooks on, too
