"""The callback that a user gives to a transformers Trainer."""

from __future__ import annotations

from transformers import TrainerCallback

from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run

__all__ = ["TrackioCallback"]


class TrackioCallback(TrainerCallback, NativeCallback):  # type: ignore[misc]
    """Records what its Trainer does, as ``autolog.enable("transformers")`` records every Trainer.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Examples:
        >>> Trainer(model, args, callbacks=[autolog.transformers.TrackioCallback()], ...).train()

    One callback may serve several Trainers. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        self.write_to(run, "transformers")
