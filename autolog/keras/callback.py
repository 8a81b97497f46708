"""What a Keras training tells while it runs."""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from autolog.core import catalogue
from autolog.core.guard import charge, shield
from autolog.core.ownership import given_run
from autolog.core.run import Run
from autolog.keras.checkpoints import Checkpoints
from autolog.keras.gradients import GradientNorms
from autolog.keras.predictions import Kept

__all__ = ["Recorder", "TrackioCallback", "short"]


class TrackioCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Records the trainings that it is given to, as ``autolog.enable("keras")`` records all of them.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Example:
        >>> model.fit(x, y, callbacks=[autolog.keras.TrackioCallback()])

    One callback may serve several trainings, also at the same time. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        super().__init__()
        self.run = given_run("TrackioCallback", run)
        catalogue.arm("keras")


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Our ears inside one training. Every method is shielded: an exception here would abort the training."""

    # Keras runs the ends of batches on threads of its own if all callbacks allow it; ours does not mind.
    async_safe = True

    def __init__(self, run: Run, batch_size: int | None, kept: Kept, checkpoints: Checkpoints):
        super().__init__()
        self._kept = kept
        self._checkpoints = checkpoints
        self._run = run
        self._batch_size = batch_size
        self._every = int(run.settings.log_every_n_steps)
        self._base = 0  # optimizer steps before this training and in its finished epochs
        self._epoch_began = time.perf_counter()
        self._batches = 0
        self._told_of_loss = False
        self.validated: set[str] = set()  # metrics of the validation data that Keras has told itself
        self.gradients = GradientNorms(run)

    def on_train_begin(self, logs: Any = None) -> None:
        with shield("Keras: the training's beginning"):
            self._base = steps_of(self.model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches = 0
        self._epoch_began = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        with shield("Keras: gradient norms"):
            self._batches = max(self._batches, batch)
            # The gradients of the step before are still there; this one has not begun.
            if self._every and batch and (self._base + batch) % self._every == 0:
                charge(self._run)
                self.gradients.record(self.model, self._base + batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        with shield("Keras: a batch"):
            step = self._base + batch + 1
            if self._every and step % self._every == 0:
                charge(self._run)
                self._run.log({f"train/{key}": value for key, value in (logs or {}).items()}, step=step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with shield("Keras: an epoch"):
            charge(self._run)
            seconds = time.perf_counter() - self._epoch_began
            step = max(steps_of(self.model), self._base)
            batches = step - self._base or self._batches + 1
            row: dict[str, Any] = {"epoch": epoch + 1, "perf/epoch_seconds": seconds}
            for key, value in (logs or {}).items():
                row[f"val/{key.removeprefix('val_')}" if key.startswith("val_") else f"train/{key}"] = value
            if (rate := learning_rate(self.model)) is not None:
                row["lr"] = rate
            if self._batch_size:
                row["perf/samples_per_second"] = batches * self._batch_size / seconds
            self._run.log(row, step=step)
            self.validated.update(key for key in row if key.startswith("val/"))
            self.gradients.record(self.model, step)
            self._base = step
            self._watch(row, step)
            self._checkpoints.look(epoch, logs or {}, step)

    def on_test_begin(self, logs: Any = None) -> None:
        with shield("Keras: validation"):
            self._kept.begin()

    def on_test_end(self, logs: Any = None) -> None:
        with shield("Keras: validation"):
            self._kept.end()

    def close(self) -> None:
        """The training has ended, or failed."""
        self.gradients.close()
        self._checkpoints.close()

    def _watch(self, row: dict[str, Any], step: int) -> None:
        loss = row.get("train/loss")
        if isinstance(loss, float) and not math.isfinite(loss) and not self._told_of_loss:
            self._told_of_loss = True
            self._run.alert(f"The loss is {loss}", f"In epoch {row['epoch']}.", level="error", step=step)


def steps_of(model: Any) -> int:
    """How many steps the optimizer has made."""
    optimizer = getattr(model, "optimizer", None)
    return int(optimizer.iterations) if optimizer is not None else 0


def learning_rate(model: Any) -> float | None:
    """The rate of the next step."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return None
    return short(keras.ops.convert_to_numpy(optimizer.learning_rate))


def short(value: Any) -> float:
    """A number that was meant: Keras keeps 0.001 in 32 bits, which is 0.0010000000475 in Python's 64."""
    in_32_bits = np.float32(value)
    return float(str(in_32_bits)) if in_32_bits == value else float(value)
