"""Our ears inside a Keras training: a callback that records what happens batch by batch, epoch by epoch."""

from __future__ import annotations

import time
from typing import Any

import keras

from autolog.core.health import Alerts
from autolog.core.recording import Recording
from autolog.core.waiting import Waiting
from autolog.keras.again import epochs_of, remember_epochs
from autolog.keras.checkpoints import Checkpoints
from autolog.keras.described import batch_size_of, by_class, record_optimizers, training_rows
from autolog.keras.evaluation import record_evaluation
from autolog.keras.gradients import GradientNorms
from autolog.keras.optimizers import Optimizers, steps_of
from autolog.keras.predictions import HeldOut, validation_arrays
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call

__all__ = ["Recorder"]


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Our ears inside one training. Every method is shielded: an exception here would abort the training."""

    def __init__(self, run: Recording, call: Call, callbacks: list[Any], *, goes_on: bool = False):
        super().__init__()
        # Keras hands the ends of batches to a thread of its own if all callbacks allow it. That costs more
        # than our part in them (7 to 14 % of a step of 4 ms); one of the user's callbacks may ask for it.
        self.async_safe = any(getattr(callback, "async_safe", False) for callback in callbacks)
        self._run = run
        self._batch_size = batch_size_of(call)
        self._classes = getattr(call.get("validation_data"), "class_names", None)
        self._checkpoints = Checkpoints(run, callbacks)
        self._restoring = [c for c in callbacks if getattr(c, "restore_best_weights", False)]
        self._every = int(run.settings.log_every_n_steps)
        # Every batch is a step, also if an optimizer has skipped it, or only accumulated its gradients.
        self._base = 0  # steps before this training and in its finished epochs
        self._ended = 0  # steps of this epoch that have been made
        self._length = 0  # steps of an epoch, once they are known
        self._logged_rates = -1  # the step whose rates were logged last
        self.trained_rows = 0  # each as often as it was trained on
        self._epoch_began = time.perf_counter()
        self.waiting = Waiting()
        self._rows = training_rows(call)
        self._validated = False  # in this epoch
        self._validation_began = self._validation_seconds = 0.0
        self._told: dict[str, float] = {}  # metrics of the validation data that Keras has told itself
        self._told_at = -1  # the step that they are of
        self._told_of_best: dict[str, float] = {}
        self._alerts = Alerts(run)
        self._is_closed = False
        self._began = time.perf_counter()
        self._evaluated = -1  # the step of the last evaluation
        self._trained = call.subject
        # A step that is compiled already cannot be looked into.
        may_look_inside = run.settings.compiled_steps and not getattr(call, "is_running", False)
        self._held_out = HeldOut(call.subject, run, validation_arrays(call), may_look_inside)
        self._gradients = GradientNorms(run, call.subject, may_look_inside)
        self._goes_on = epochs_of(run) > 0 and goes_on
        self._optimizers = Optimizers(call.subject, run, self._gradients.applied)
        self._in_use: set[str] = set()

    def on_train_begin(self, logs: Any = None) -> None:
        with shield("Keras: the training's beginning"):
            self._base = steps_of(self.model)
            if self._goes_on:
                self._base = max(self._base, self._run.last_step)
            self._length = (self.params or {}).get("steps") or 0
            self._optimizers.begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._ended = 0
        self._validated = False
        self._validation_seconds = 0.0
        self._epoch_began = time.perf_counter()
        self.waiting.begin()

    # At every batch, recorded or not: a shield would cost as much as what it is put around.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        try:
            before, at_once = self._base + batch, self._at_once()
            if self._length:  # the last call of an epoch may execute fewer
                at_once = min(at_once, self._length - batch)
            is_due = self._every > 0 and (before + at_once) // self._every != before // self._every
            is_last = 0 < self._length <= batch + at_once
            # How long an epoch is may not be known: then each of its batches may be the last one.
            if not (is_due or is_last or not self._length or self._gradients.have_work or not batch):
                return
        except Exception:
            with shield("Keras: which batches are recorded", self._run):
                raise
            return
        with shield("Keras: gradient norms", self._run):
            self._gradients.before(before, at_once, self._optimizers, is_due=is_due, is_last=is_last)
        with shield("Keras: learning rates", self._run):
            self._optimizers.hold_rates(before + at_once, batch, at_once)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        try:
            step = self._step_to_log(batch)
            if step is None:
                return
        except Exception:
            with shield("Keras: which batches are recorded", self._run):
                raise
            return
        with shield("Keras: a batch", self._run):
            row = by_class(self._run, {f"train/{key}": value for key, value in (logs or {}).items()})
            # Of the last batch the row of the epoch says it.
            if step != self._base + self._length:
                row |= self._optimizers.rates(step)
                self._logged_rates = step
            self._run.log(row, step=step)

    def _step_to_log(self, batch: int) -> int | None:
        """The step that a batch has ended with, if its metrics are logged."""
        at_once = self._at_once()
        if at_once > 1 and batch % at_once == 0:  # older versions tell of the first batch of a call
            batch += at_once - 1
        before = self._base + batch + 1 - at_once
        # Keras counts the last call of an epoch as if it were a whole one.
        ended = min(batch + 1, self._length or batch + 1)
        self._ended = max(self._ended, ended)
        step = self._base + ended
        is_due = self._every > 0 and step // self._every != before // self._every
        return step if is_due else None

    def _steps_of_epoch(self) -> int:
        """How many steps the epoch that ends had."""
        if not self._length and self._at_once() > 1:
            self._run.note("train", "steps: an epoch's last ones count as if the last call were a whole one")
        return self._ended

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with shield("Keras: an epoch"):
            charge(self._run)
            seconds = time.perf_counter() - self._epoch_began
            batches = self._steps_of_epoch()
            step = self._base + batches
            number = max(epoch + 1, epochs_of(self._run) + 1) if self._goes_on else epoch + 1
            remember_epochs(self._run, number)
            row: dict[str, Any] = {"vitals/epoch_seconds": seconds, **self.waiting.row()}
            for key, value in (logs or {}).items():
                row[f"val/{key.removeprefix('val_')}" if key.startswith("val_") else f"train/{key}"] = value
            row = by_class(self._run, row)
            self.trained_rows += self._rows or batches * (self._batch_size or 1)
            if samples := self._rows or batches * (self._batch_size or 0):
                row["vitals/samples_per_second"] = samples / max(seconds - self._validation_seconds, 1e-9)
            with shield("Keras: learning rates"):
                if not self._optimizers.has_rates(step):  # the epoch has ended before it was to
                    self._optimizers.hold_last_rates(step)
                if self._logged_rates != step:
                    row |= self._optimizers.rates(step)
            self._run.log(row, step=step)
            if self._validated:
                self._told = {key: value for key, value in row.items() if key.startswith("val/")}
                self._told_at = step
            with shield("Keras: gradient norms"):
                self._gradients.at_epoch_end(step, self._optimizers)
            self._describe_optimizers()
            self._base = step
            self._length = self._length or batches
            self._alerts.look_at_loss(step, row.get("train/loss"))
            self._checkpoints.look(epoch, logs or {}, step)
            self._look_at_validation(epoch, step)

    def _describe_optimizers(self) -> None:
        """Those that have turned out to train the model, where they are others than the compiled one."""
        in_use = self._optimizers.in_use()
        if in_use.keys() != self._in_use and in_use.keys() != {"optimizer"}:
            self._in_use = set(in_use)
            record_optimizers(self._run, in_use)

    def on_test_begin(self, logs: Any = None) -> None:
        self.waiting.is_paused = True
        with shield("Keras: validation"):
            self._validation_began = time.perf_counter()
            self._held_out.begin()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._held_out.batches += 1

    def on_test_end(self, logs: Any = None) -> None:
        self.waiting.is_paused = False
        with shield("Keras: validation"):
            self._held_out.end()
            self._validated = True
            self._validation_seconds += time.perf_counter() - self._validation_began

    def close(self) -> None:
        """The training has ended, or failed: the model is as it was."""
        if not self._is_closed:
            self._is_closed = True
            if epochs := epochs_of(self._run):
                self._run.describe({"epochs": epochs})
            self._optimizers.end()
            try:
                self._gradients.close()
            finally:
                self._held_out.close()
                self._checkpoints.close()

    def record_evaluation(self) -> None:
        """The held-out evaluation of the weights that the training ends with."""
        step = None
        if any(callback.best_weights is not None for callback in self._restoring):
            self._held_out.go_back_to_best()
            self._told = self._told_of_best
            step = self._held_out.best_step
        self._evaluate(step)

    def _look_at_validation(self, epoch: int, step: int) -> None:
        if any(callback.best_epoch == epoch for callback in self._restoring):
            self._held_out.mark_best(step, validated=self._validated)
            self._told_of_best = dict(self._told) if self._validated else {}
        every = self._run.settings.evaluate_every_n_epochs
        if every and (epoch + 1) % every == 0 and self._validated:
            self._evaluate(step)

    def _evaluate(self, step: int | None) -> None:
        at = step or self._run.last_step
        if self._evaluated != at:  # not the last epoch's once more
            self._evaluated = at
            found = self._held_out.predictions(self.trained_rows)
            # What is predicted once more is predicted by the weights of now.
            is_of_now = self._told_at == self._base or self._held_out.has_kept or step is not None
            told = self._told if is_of_now else {}
            record_evaluation(
                self._run, "val", self._trained, found, told=told, classes=self._classes, step=step
            )

    def _at_once(self) -> int:
        """Steps that are executed by one call of the compiled function."""
        return int(getattr(self._trained, "steps_per_execution", 1) or 1)
