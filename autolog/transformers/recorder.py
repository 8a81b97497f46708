"""Our ears inside a Trainer: a callback that records what happens while it trains and evaluates."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from numbers import Real
from typing import Any

from transformers import TrainerCallback

from autolog.core.given import log
from autolog.core.health import VITALS, Alerts
from autolog.core.recording import Recording
from autolog.core.waiting import Waiting
from autolog.process.guard import charge, shield
from autolog.transformers.attempts import Attempts
from autolog.transformers.checkpoints import Checkpoints
from autolog.transformers.described import record_optimizer, record_parameters
from autolog.transformers.generation import completions, record_completions
from autolog.transformers.gradients import GradientNorms
from autolog.transformers.names import canonical
from autolog.transformers.predictions import HeldOut
from autolog.transformers.words import Surprise, Tokens

__all__ = ["Recorder"]

# What transformers' own Trackio callback leaves out of what the Trainer logs.
_LEFT_OUT_BY_THEIRS = {"train_runtime", "train_samples_per_second", "train_steps_per_second"}
_LEFT_OUT_BY_THEIRS |= {"train_loss", "total_flos"}


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Our ears inside one call of a Trainer. Every method is shielded: an exception would end the training.

    Args:
        run: the run that the call begins in.
        trainer: the Trainer.
        logs: whether its metrics are ours to record; not if transformers' own Trackio callback does it, in
            the same run.
        data: what is evaluated on; names of evaluation sets are told from it.
        prefix: what the user has this evaluation call its metrics by.

    Attributes:
        run: where it is recorded by now.
        logs: as given.
        evaluating: the evaluation that goes on.
        gradients: what is recorded of them.
        tokens: what is counted of them.
    """

    def __init__(
        self, run: Recording, trainer: Any, *, logs: bool, data: Any = None, prefix: str | None = None
    ):
        self.run = run
        self.logs = logs
        self.evaluating: HeldOut | None = None
        self._trainer = trainer
        self._prefix = prefix
        self._listening: HeldOut | None = None  # whose callbacks are still to come
        self._sets = [
            str(name) for each in (data, trainer.eval_dataset) if isinstance(each, Mapping) for name in each
        ]
        self._names: dict[tuple[str, str | None], str] = {}
        self._logged_next: str | None = None  # the prefix of an evaluation that the Trainer is about to log
        self._tells_completions = bool(getattr(trainer.args, "log_completions", False))
        self._attempts = Attempts(run, trainer)
        self._last_logged: int | None = None
        self._surprise = Surprise(trainer)
        self.waiting = Waiting()
        self._begin()

    def _begin(self) -> None:
        """Nothing is known yet of this training, or of this attempt at it."""
        self._alerts = Alerts(self.run)
        self.gradients = GradientNorms(self.run, self._trainer, self._alerts)
        self._checkpoints = Checkpoints(self.run)
        self.tokens = Tokens(self.run, self._trainer)
        self._epoch_began = time.perf_counter()
        self._evaluated: dict[str, HeldOut] = {}  # of each set the last evaluation
        self._best: dict[str, HeldOut] = {}  # and that of the weights that are gone back to
        self._of_training: list[Any] | None = None  # completions of the last step, if it was evaluated since

    def named(self, name: str, prefix: str | None = None) -> str:
        """A metric of the Trainer's, as every framework's runs call it.

        Args:
            prefix: what it calls those of the evaluation that this is of.
        """
        prefix = self._prefix if prefix is None else prefix
        known = self._names.get((name, prefix))  # the same few come at every step
        if known is None:
            known = self._names[name, prefix] = canonical(name, self._sets, prefix)
        return known

    @property
    def step(self) -> int:
        """The step of the weights of now: another Trainer than that of the training has made none itself."""
        state = self._trainer.state
        is_elsewhere = not state.global_step and not self._trainer.is_in_train
        return self.run.step_of_model if is_elsewhere else int(state.global_step)

    # The training -----------------------------------------------------------------------------------

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: batch size"):
            charge(self.run)
            is_apart = self._attempts.begin(state, self._last_logged)
            self.run, self._last_logged = self._attempts.run, None
            self._begin()
            if is_apart:
                record_parameters(self.run, self._trainer)
        with shield("transformers: optimizer"):
            charge(self.run)
            record_optimizer(self.run, self._trainer)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._epoch_began = time.perf_counter()
        self.waiting.begin()
        self.tokens.went_on()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._of_training = None
        self.tokens.stepped()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: after an evaluation"):
            self.end_listening()
        self.tokens.went_on()

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        with shield("transformers: after an evaluation"):
            self.end_listening()

    def end_listening(self) -> None:
        """The evaluation has ended, also for the user's callbacks."""
        held_out, self._listening = self._listening, None
        if held_out is not None:
            charge(self.run)
            held_out.end()

    def close(self) -> None:
        """The call has ended, also if it has failed."""
        if self._listening is not None:
            self._listening.stop_listening()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: an epoch"):
            charge(self.run)
            seconds = time.perf_counter() - self._epoch_began
            row = {"vitals/epoch_seconds": seconds, **self.waiting.row()}
            self.run.log(row, step=state.global_step)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: gradient norms"):
            charge(self.run)
            self.gradients.before_step(args, state, kwargs.get("train_dataloader"))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        with shield("transformers: metrics"):
            if not logs:
                return
            charge(self.run)
            prefix, self._logged_next = self._logged_next, None
            if prefix is not None and not any(name.startswith(f"{prefix}_") for name in logs):
                prefix = None  # of something else
            row = {
                self.named(name, prefix): value
                for name, value in logs.items()
                if name != "epoch" and (self.logs or name in _LEFT_OUT_BY_THEIRS)
            }
            if "loss" in logs:
                row |= self._norms(state, logs.get("grad_norm"))
                row |= self._counted()
            self._last_logged = int(state.global_step)
            if "loss" not in logs:  # an evaluation, or the end
                once = [key for key in row if key.startswith(VITALS) or key == "train/loss_mean"]
                self.run.log_once({key: row.pop(key) for key in once}, step=self.step)
            log(self.run, row, self.step)  # texts and lists too, as transformers' own callback does
            self._alerts.look_at_loss(state.global_step, logs.get("loss"))
            if self._tells_completions and "loss" in logs:
                record_completions(self.run, "completions", completions(self._trainer), self.step)
            self.tokens.went_on()

    def _counted(self) -> dict[str, float]:
        with shield("transformers: tokens"):
            return self.tokens.row()
        return {}

    def _norms(self, state: Any, reported: float | None) -> dict[str, float]:
        with shield("transformers: gradient norms"):  # a fault here costs these alone
            norms = self.gradients.row(state.global_step, reported)
            if not self.logs:
                norms.pop("vitals/grad_norm", None)
            return norms
        return {}

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: checkpoints"):
            charge(self.run)
            self._checkpoints.saved(args, state, self._sets)
            self.tokens.went_on()

    # Evaluations ------------------------------------------------------------------------------------

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._logged_next = None

    def begin_evaluation(self, prefix: str) -> HeldOut:
        """The loop over the batches of one set begins."""
        # Of several sets the Trainer puts the name of each behind the prefix that it was given.
        behind = [prefix.removesuffix(f"_{one}") for one in self._sets if prefix.endswith(f"_{one}")]
        known = (self._prefix, "eval", "test")
        stem = next((one for one in behind if one in known), prefix)
        name = self.named(f"{prefix}_x", stem).removesuffix("/x")
        self.evaluating = HeldOut(self.run, self._trainer, name, stem, self.step, self._surprise)
        self._listening = self.evaluating
        if self._of_training is None:
            self._of_training = completions(self._trainer)
        return self.evaluating

    def end_evaluation(self, held_out: HeldOut, result: Any) -> None:
        """It has ended well. In a training it is known later whether it was the last, or the best.

        Args:
            result: what the loop has returned.
        """
        held_out.look_at_completions()
        if self._tells_completions:
            held_out.record_completions()
        metrics = getattr(result, "metrics", None) or {}
        held_out.gathered(getattr(result, "predictions", None), getattr(result, "label_ids", None))
        held_out.told = {
            self.named(key, held_out.prefix): float(value) if isinstance(value, Real) else math.nan
            for key, value in metrics.items()
        }
        self._logged_next = held_out.prefix
        self.run.log(held_out.measures(), step=held_out.step)
        state, every = self._trainer.state, self.run.settings.evaluate_every_n_epochs
        is_wanted = bool(every) and round(state.epoch or 0, 6) % every == 0
        if self._trainer.is_in_train:
            self._keep_best(held_out.name, state)
            self._evaluated[held_out.name] = held_out
        if is_wanted or not self._trainer.is_in_train:
            held_out.record()
        else:
            held_out.summarize()

    def _keep_best(self, name: str, state: Any) -> None:
        last = self._evaluated.get(name)
        if last is not None and last.step == getattr(state, "best_global_step", None):
            self._best[name] = last

    # The end ----------------------------------------------------------------------------------------

    def end(self, error: BaseException | None) -> None:
        """The training has ended."""
        self._attempts.end(error)

    def record_evaluations(self, args: Any, state: Any) -> None:
        """What can be said of the predictions of the weights that the training ends with."""
        for name, held_out in self._evaluated.items():
            self._keep_best(name, state)
            best = self._best.get(name) if args.load_best_model_at_end else None
            (best or held_out).record()
        self._evaluated, self._best = {}, {}

    def record_checkpoints(self, args: Any, state: Any) -> bool:
        """Returns whether any is there."""
        return self._checkpoints.record(args, state, self._sets)

    def record_completions(self, state: Any) -> None:
        """What a model that is rewarded for its completions has said last, unless it was told all along."""
        if not self._tells_completions:
            rows = completions(self._trainer) if self._of_training is None else self._of_training
            record_completions(self.run, "completions", rows, int(state.global_step))
