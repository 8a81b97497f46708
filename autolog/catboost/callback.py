"""The callback that a user gives to ``fit``."""

from __future__ import annotations

from typing import Any

from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run

__all__ = ["TrackioCallback"]


class TrackioCallback(NativeCallback):
    """Records the fits that it is given to, as ``autolog.enable("catboost")`` records all of them.

    CatBoost never hears of it, so that it costs nothing, and may stand in a fit on a GPU.

    Args:
        run: the run to write to. None: the one that is open, else a new one per fit.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Example:
        >>> model.fit(X, y, callbacks=[autolog.catboost.TrackioCallback()])

    One callback may serve several fits, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        self.write_to(run, "catboost")

    def after_iteration(self, info: Any) -> bool:
        """A round has ended (where nothing of ours is turned on). The training goes on."""
        return True

    def __reduce__(self) -> Any:
        return TrackioCallback, (self.run,)  # where it is unpickled it turns the hooks on, too
