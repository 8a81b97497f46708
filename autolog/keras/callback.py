"""The callback that a user gives to a Keras ``fit``."""

from __future__ import annotations

from typing import Any

import keras

from autolog.core import catalogue
from autolog.core.callbacks import NativeCallback
from autolog.core.run import Run
from autolog.keras.latecomer import join
from autolog.process.context import watching
from autolog.process.guard import shield

__all__ = ["TrackioCallback"]


class TrackioCallback(keras.callbacks.Callback, NativeCallback):  # type: ignore[misc]
    """Records the trainings that it is given to, as ``autolog.enable("keras")`` records all of them.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Examples:
        >>> model.fit(x, y, callbacks=[autolog.keras.TrackioCallback()])

    One callback may serve several trainings, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        super().__init__()
        self.write_to(run, "keras")

    def on_train_begin(self, logs: Any = None) -> None:
        if not watching.active("keras") and catalogue.is_armed("keras"):
            with shield("Keras: joining a training"):
                join(self.model)
