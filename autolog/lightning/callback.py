"""The callback that a user gives to a Lightning Trainer."""

from __future__ import annotations

from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run
from autolog.lightning.packages import PACKAGES, Callback

__all__ = ["TrackioCallback"]


class TrackioCallback(Callback, NativeCallback):  # type: ignore[misc]
    """Records what its Trainer does, as ``autolog.enable("lightning")`` records every Trainer.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Examples:
        >>> Trainer(callbacks=[autolog.lightning.TrackioCallback()]).fit(module, loader)

    One callback may serve several Trainers. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        super().__init__()
        self.write_to(run, *PACKAGES)
