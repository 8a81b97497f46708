"""Our ears inside a Lightning training: a callback that records what happens step by step."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import torch

from autolog.core import hooked
from autolog.core.current import enter
from autolog.core.health import VITALS, Alerts
from autolog.core.opening import silent_run
from autolog.core.recording import Recording
from autolog.core.waiting import Waiting
from autolog.lightning import ranks
from autolog.lightning.checkpoints import Checkpoints
from autolog.lightning.described import initial_and_current, record_optimizers, step_of
from autolog.lightning.gradients import GradientNorms
from autolog.lightning.names import Names
from autolog.lightning.packages import Callback, arm
from autolog.lightning.predictions import HeldOut, length
from autolog.lightning.ranks import Machines
from autolog.lightning.results import record_result
from autolog.process.guard import charge, shield
from autolog.process.hooks import NOWHERE
from autolog.torch.clipping import listen_to_clipping
from autolog.torch.measures import learning_rates

__all__ = ["Recorder", "is_telling", "observe_log_metrics", "observe_save_checkpoint", "recorder_of"]


class Recorder(Callback):  # type: ignore[misc]
    """Our ears inside one call of a Trainer. Every method is shielded: an exception would abort the training.

    It goes along to the processes that Lightning starts (``ddp_spawn``); only rank zero records.

    Attributes:
        reason: the exception that ended the training: Lightning turns Ctrl-C into ``SystemExit``.
        is_rank_zero: whether this process records; a process of Lightning's learns it when it begins.
        stage: whose metrics they are that a user logs by hand now: ``train``, ``val`` or ``test``.
        began: when the training began in this process; None: it did not.
        gradients, checkpoints, held_out: what is recorded of each.
        names: what the user's metrics are called.
        module: what is trained, as long as it is.
    """

    def __init__(self, run: Recording, *, is_rank_zero: bool):
        self.run = run
        self.is_rank_zero = is_rank_zero
        self.stage = "train"
        self.reason: BaseException | None = None
        self.began: float | None = None
        self.held_out = HeldOut(run)
        self.checkpoints = Checkpoints(run)
        self.gradients = GradientNorms(run)
        self._epoch_began = time.perf_counter()
        self.waiting = Waiting()
        self._samples = 0
        self._loss: Any = None
        self._parts = 1
        self.names = Names()
        self.module: Any = None
        self._names_of_steps: dict[str, str] = {}  # of the metrics that have come at steps so far
        self._rates: dict[str, float] = {}  # with which the last step was made, if it is logged
        self._rates_of_step = -1
        self._logged_at = -1  # the last step with a row
        self._sum: Any = None  # of the losses of an epoch that may have no row, weighted by their samples
        self._is_short = False
        self._batches: float = math.inf  # of an epoch, where that is known
        self._has_one_optimizer = False
        self._alerts = Alerts(run)
        self.on_before_optimizer_step: Any = self._before_optimizer_step  # or None, as those below
        self._pid = os.getpid()
        self._machines: Machines | None = None
        self._stop_clipping: Callable[[], None] = _nothing

    def __getstate__(self) -> dict[str, Any]:
        # Each of the two is written as a whole: the other process goes on with what was said in this one.
        return {
            **self.__dict__,
            "_said": self.run.said,
            "_machines": None,
            "_stop_clipping": _nothing,
            "module": None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        said = state.pop("_said")
        self.__dict__.update(state)
        self.run.go_on_from(said)
        arm()  # in a process of Lightning's: what is logged is seen by a hook

    # Beginning and end, in the process that trains ------------------------------------------------

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self.module = pl_module
        with shield("Lightning: many processes"):
            self.is_rank_zero = trainer.is_global_zero
            if stage == "fit":
                ranks.announce(trainer, self.run)
                if trainer.is_global_zero:
                    ranks.tell_folders(
                        [getattr(logger, "trackio_folder", None) for logger in trainer.loggers]
                    )
            if self._pid != os.getpid():  # a process of Lightning's, to its end: a module may ask for its run
                enter(self.run if trainer.is_global_zero else silent_run())

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.began = time.perf_counter()
        with shield("Lightning: many processes"):
            if not trainer.is_global_zero:
                for logger, folder in zip(trainer.loggers, ranks.told_folders(), strict=False):
                    if folder is not None and hasattr(type(logger), "trackio_folder"):
                        logger.trackio_folder = tuple(folder)
            everyone = ranks.everyone(trainer)
            self.gradients.can_ask_all = everyone is not None and all(r.reads_gradients for r in everyone)
            if everyone is not None and trainer.is_global_zero and self.run.settings.system_interval:
                self._machines = Machines(self.run, everyone)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._record_elsewhere(trainer, pl_module)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self.reason = exception
        with shield("Lightning: many processes"):
            if not trainer.is_global_zero:
                ranks.tell(trainer, exception)
            elif told := ranks.told(trainer):  # the others only see that it is gone
                self.run.describe({"error/ranks": told})
        self._record_elsewhere(trainer, pl_module)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        with shield("Lightning: many processes"):
            if stage == "fit":
                ranks.withdraw(trainer)

    def leave(self) -> None:
        """The call has ended, or goes on without us."""
        self.held_out.leave()
        self._stop_clipping()
        self.module = None
        if self._machines is not None:
            self._machines.stop()

    def changed_since(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What hyperparameters have become that Lightning hands to its loggers as they were saved."""
        initial, current = initial_and_current(self.module)
        if self.module is None or given.keys() != initial.keys():
            return {}
        return {name: value for name, value in current.items() if name in given}

    def _record_elsewhere(self, trainer: Any, module: Any) -> None:
        """In a process of Lightning's (``ddp_spawn``), whose memory ends with it."""
        if self._pid == os.getpid() or self.began is None or not trainer.is_global_zero:
            return
        seconds = None if self.reason is not None else time.perf_counter() - self.began
        record_result(self.run, trainer, module, self, seconds)

    # The training ---------------------------------------------------------------------------------

    # Lightning takes 3 us to call a method that does nothing, and none for what it cannot call.
    on_train_batch_start = on_before_zero_grad = on_before_backward = on_after_backward = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        with shield("Lightning: optimizers"):
            if trainer.is_global_zero:
                charge(self.run)
                record_optimizers(self.run, trainer)
        with shield("Lightning: clipping by hand"):
            if not pl_module.automatic_optimization:  # else Lightning clips after it has told of the step
                before_clipping = functools.partial(self._before_clipping, trainer, pl_module)
                self._stop_clipping = listen_to_clipping(before_clipping)
                hooked.is_of(self.run, "torch")

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._epoch_began = time.perf_counter()
        self.waiting.begin()
        self._samples, self._sum = 0, None
        # Lightning logs every so many steps of all epochs together: some epochs have none.
        self._batches = trainer.num_training_batches
        self._is_short = self._batches < trainer.log_every_n_steps * trainer.accumulate_grad_batches
        self._has_one_optimizer = len(trainer.optimizers) == 1
        # Lightning has divided the loss that it shows by the batches whose gradients it adds up.
        self._parts = trainer.accumulate_grad_batches if pl_module.automatic_optimization else 1

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # At every step, logged or not: a shield would cost as much as what it is put around.
        try:
            samples = length(batch)
            self._samples += samples
            self._loss = outputs.get("loss") if type(outputs) is dict else outputs
            if self._is_short:
                self._add_loss(trainer, samples)
            # This batch counts as a step after this call, if it made one: so one more or two. The epoch's row
            # has the rate of its last step.
            is_next = is_logged(trainer, within=2) or batch_idx + 2 >= self._batches
            self.on_before_optimizer_step = self._before_optimizer_step if is_next else None
        except Exception:
            with shield("Lightning: a batch"):
                raise

    def _before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        has_norms = False
        with shield("Lightning: which steps are logged"):
            logged = is_logged(trainer)
            if not logged and not trainer.is_last_batch:
                return
            has_norms = logged and not self.gradients.are_left_out(step_of(trainer))
        if has_norms:  # alone: where it needs all ranks, all have to come here
            with shield("Lightning: gradient norms", self.run):
                self.gradients.before_step(trainer, pl_module, optimizer)
        with shield("Lightning: learning rates", self.run):
            if self._rates_of_step != step_of(trainer):
                self._rates, self._rates_of_step = {}, step_of(trainer)
            if self._has_one_optimizer:
                self._rates |= learning_rates(getattr(optimizer, "optimizer", optimizer))
            else:
                self._rates |= _rates_of(trainer, optimizer)

    def _before_clipping(self, trainer: Any, module: Any, gradients: Any) -> None:
        with shield("Lightning: gradients before clipping"):
            if is_logged(trainer):
                charge(self.run)
                self.gradients.before_clipping(trainer, module, gradients, step_of(trainer))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        with shield("Lightning: an epoch"):
            if not trainer.is_global_zero:
                return
            charge(self.run)
            seconds = time.perf_counter() - self._epoch_began
            row: dict[str, Any] = {"vitals/epoch_seconds": seconds, **self.waiting.row()}
            if self._samples:
                row["vitals/samples_per_second"] = self._samples * trainer.world_size / seconds
            step = max(step_of(trainer) - 1, 0)
            self.names.learn(trainer._results, "train")
            if self._logged_at != step:
                row |= self._rates if self._rates_of_step == step else {}
            row = self._without_theirs(row)
            if self._sum is not None and self._samples and self._logged_at != step:
                row["train/loss"] = float(self._sum) / self._samples
            self.run.log(row, step=step)

    def _add_loss(self, trainer: Any, samples: int) -> None:
        """For the mean of an epoch without a logged step: what the module logs per step, or returns."""
        loss, parts = self._loss, self._parts
        self.names.learn(trainer._results, "train")
        for result in (trainer._results or {}).values():
            key = self.names.key(result.meta.forked_name(result.meta.on_step), "train")
            if key == "train/loss":
                loss, parts = None if result.meta.on_epoch else result.value, 1
        if isinstance(loss, torch.Tensor) and loss.numel() == 1:
            part = loss.detach().reshape(()) * (parts * samples)
            self._sum = part if self._sum is None else self._sum + part

    # Evaluations ----------------------------------------------------------------------------------

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin_evaluation(trainer, pl_module, "val")

    def on_test_start(self, trainer: Any, pl_module: Any) -> None:
        self._begin_evaluation(trainer, pl_module, "test")

    def _begin_evaluation(self, trainer: Any, pl_module: Any, name: str) -> None:
        self.stage = name
        self.waiting.is_paused = True
        with shield("Lightning: held-out predictions"):
            if trainer.is_global_zero and not trainer.sanity_checking:
                self.held_out.begin(pl_module, trainer.callbacks)

    def on_validation_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        with shield("Lightning: held-out predictions"):
            self.held_out.listen(pl_module, batch, dataloader_idx)

    def on_test_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        with shield("Lightning: held-out predictions"):
            self.held_out.listen(pl_module, batch, dataloader_idx)

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        with shield("Lightning: held-out predictions"):
            self.held_out.take(outputs, batch, dataloader_idx)

    def on_test_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        with shield("Lightning: held-out predictions"):
            self.held_out.take(outputs, batch, dataloader_idx)

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        with shield("Lightning: metrics of the module"):
            self.held_out.seen_all(pl_module)

    def on_test_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        with shield("Lightning: metrics of the module"):
            self.held_out.seen_all(pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._end_evaluation(trainer, "val")

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self._end_evaluation(trainer, "test")

    def _end_evaluation(self, trainer: Any, name: str) -> None:
        self.stage = "train"
        self.waiting.is_paused = False
        with shield("Lightning: held-out predictions"):
            if not self.held_out.end(trainer, self._step(trainer)):
                return
            every = self.run.settings.evaluate_every_n_epochs
            in_fit = trainer.state.fn == "fit"
            if not in_fit or (every and (trainer.current_epoch + 1) % every == 0):
                charge(self.run)
                self.held_out.record(name, trainer)

    # What was logged --------------------------------------------------------------------------------

    def record_step(self, trainer: Any, metrics: Mapping[str, Any]) -> None:
        """What Lightning would hand to a logger at a step of the training.

        At every step that is logged, between two of the model's, when nothing of ours is in the processor's
        caches: each function that is called here costs a microsecond.
        """
        names = self._names_of_steps
        row = {}
        for name, value in metrics.items():
            known = names.get(name)
            if known is None or not isinstance(value, torch.Tensor) or not value.is_cpu or value.numel() != 1:
                self.record_logged(trainer, metrics, None, of_a_step=True)
                return
            row[known] = float(value)
        step = step_of(trainer)
        row = self._beside_what_was_read(trainer, row, step)
        loss = row.get("train/loss")
        if loss is not None and not math.isfinite(loss):
            self._alerts.look_at_loss(step, loss)
        if row:
            self.run.row(row, step)

    def record_logged(
        self, trainer: Any, metrics: Mapping[str, Any], step: int | None, *, of_a_step: bool
    ) -> None:
        """What Lightning would hand to a logger, at its step: of a step, or of an epoch or evaluation."""
        stage = str(trainer.state.stage.value if trainer.state.stage is not None else "train")
        stage = {"validate": "val", "test": "test"}.get(stage, "train")
        if stage != "train" and step is not None:
            if metrics:
                self.run.note(f"{stage}/steps", "what is logged per step of an evaluation is not recorded")
            return
        scalars = _scalars(metrics)
        at = scalars.pop("step", None) if step is None else step
        at = self._step(trainer) if at is None else int(at)
        self.names.learn(trainer._results, stage)
        self.names.add(scalars, stage)
        row = {self.names.key(name, stage): value for name, value in scalars.items()}
        if stage == "train" and of_a_step:
            self._names_of_steps = {name: self.names.key(name, stage) for name in metrics if name != "step"}
            row = self._beside_what_was_read(trainer, row, at)
        if row:
            self._alerts.look_at_loss(at, row.get("train/loss"))
            self.run.log(row, step=at)

    def _step(self, trainer: Any) -> int:
        """Of the weights: a Trainer that only evaluates has made none itself."""
        step = step_of(trainer)
        return self.run.step_of_model if not step and trainer.state.fn != "fit" else step

    def _beside_what_was_read(self, trainer: Any, row: dict[str, Any], step: int) -> dict[str, Any]:
        """The user's row of a step, and what is ours beside it."""
        ours = (
            {**self._rates, **self.gradients.row()} if self._rates_of_step == step else self.gradients.row()
        )
        if self._loss is not None and "train/loss" not in row and not self._logs_its_loss(trainer):
            ours["train/loss"] = float(self._loss) * self._parts
        self._logged_at = step
        return {**self._without_theirs(ours), **row}

    def _without_theirs(self, ours: dict[str, Any]) -> dict[str, Any]:
        """What the user logs himself is never said by us, not even at another step."""
        names = self.names.keys
        theirs = [key for key in ours if key in names or key.removeprefix(VITALS) in names]
        if not theirs:
            return ours
        for key in theirs:
            self.run.note(key, "is what the module logs; ours of this name is left out")
        return {key: value for key, value in ours.items() if key not in theirs}

    def _logs_its_loss(self, trainer: Any) -> bool:
        """Whether the module logs its loss itself, now or at the epoch's end."""
        self.names.learn(trainer._results, "train")
        return any(key.startswith("train/loss") for key in self.names.keys)


def _nothing() -> None:
    """By name, so that it can be pickled."""


def observe_log_metrics(connector: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Lightning has handed metrics to its loggers: at logged steps, at the end of epochs and evaluations."""
    trainer = connector.trainer
    recorder = recorder_of(trainer)
    if recorder is None or not recorder.is_rank_zero:
        return
    with shield("Lightning: what is logged", recorder.run):
        metrics = args[0] if args else kwargs["metrics"]
        step = args[1] if len(args) > 1 else kwargs.get("step")
        # Lightning's own mark of an epoch's end, where the same function is called.
        of_a_step = connector._first_loop_iter is not None
        if of_a_step and step is None:  # it gives the steps of an evaluation
            recorder.record_step(trainer, metrics)
        else:
            recorder.record_logged(trainer, metrics, step, of_a_step=of_a_step)


def observe_save_checkpoint(trainer: Any, args: Any, kwargs: Any, result: Any) -> None:
    """A checkpoint was written, by a callback or by hand."""
    recorder = recorder_of(trainer)
    if recorder is not None and trainer.is_global_zero:
        charge(recorder.run)
        recorder.checkpoints.saved(trainer, str(args[0] if args else kwargs["filepath"]))


def is_telling() -> bool:
    """Whether Lightning is handing its loggers metrics that :func:`observe_log_metrics` is shown, too."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "log_metrics" and module.endswith(".logger_connector"):
            # Called by our hook; after disable(), in the midst of a training, there is none.
            return frame.f_back is not None and frame.f_back.f_code.co_filename == NOWHERE
        frame = frame.f_back
    return False


def recorder_of(trainer: Any) -> Recorder | None:
    """Our callback in this Trainer: not while it looks for a learning rate or a batch size."""
    for callback in trainer.callbacks:
        if isinstance(callback, Recorder):
            return callback
    return None


def is_logged(trainer: Any, within: int = 1) -> bool:
    """Whether Lightning logs the step that is being made, or one of so many from it on."""
    every = int(trainer.log_every_n_steps)
    return every > 0 and (trainer.fit_loop.epoch_loop._batches_that_stepped + within) % every < within


def _rates_of(trainer: Any, optimizer: Any) -> dict[str, float]:
    """The rates of an optimizer's groups; of several optimizers, under each one's name and place."""
    optimizer = getattr(optimizer, "optimizer", optimizer)
    rates = learning_rates(optimizer)
    if len(trainer.optimizers) < 2:
        return rates
    optimizers = [getattr(one, "optimizer", one) for one in trainer.optimizers]
    place = next((n for n, one in enumerate(optimizers) if one is optimizer), 0)
    return {
        key.replace("lr", f"lr/{type(optimizer).__name__}-{place}", 1): rate for key, rate in rates.items()
    }


def _scalars(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics as numbers of Python's, with one transfer for all that lie on one device."""
    found = dict(metrics)
    by_device: dict[torch.device, list[str]] = {}
    for key, value in metrics.items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            if value.is_cpu:  # of these no transfer is needed
                found[key] = float(value)
            else:
                by_device.setdefault(value.device, []).append(key)
    for device, keys in by_device.items():
        wide = torch.float32 if device.type == "mps" else torch.float64  # which is not everywhere
        values = torch.stack([metrics[key].detach().reshape(()).to(wide) for key in keys]).tolist()
        found |= dict(zip(keys, values, strict=True))
    return found
