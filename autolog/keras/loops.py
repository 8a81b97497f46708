"""Loops of ``train_on_batch`` that the user writes themselves, of GANs for example.

A loop is a run: one row per call, at the step of the model's optimizer. Models of which one is a part of the
other, or that train the same variables, are one loop: a GAN's discriminator and the combined model. Then each
key bears the name of its model, ``train/discriminator/loss``. Those of the first model do so from its first
row on if it can be known by then not to be alone: it has a compiled model inside, or was called to build
another one. Otherwise its keys stay plain.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from autolog.capture import datasets
from autolog.core.allowance import UNASKED, Allowance
from autolog.core.catalogue import is_on
from autolog.core.health import Alerts
from autolog.core.placing import begin_training
from autolog.core.training import (
    Frame,
    Loop,
    Training,
    bind_run,
    conclude,
    end_abandoned_loops,
    find_run,
    loop_of,
    open_loops,
)
from autolog.keras.described import by_class, name_of, plain, record_parameters, title_of
from autolog.keras.gradients import AppliedNorms
from autolog.keras.models import is_kept, record_model, record_summary
from autolog.keras.optimizers import Optimizers, steps_of
from autolog.process.context import watching
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call

__all__ = ["latest", "observe_flatten_metrics", "observe_train_on_batch"]


def observe_train_on_batch(call: Call) -> Frame:
    """One run per loop, for all of its calls and models."""
    if not is_on("keras"):
        yield
        return
    with watching("keras"):
        try:
            loop, member = _known(call.subject) or _joined(call.subject) or _opened(call.subject)
        except Exception:
            yield
            raise
        yield from _observe(loop, member, call)


def _observe(loop: _Loop, member: _Member, call: Call) -> Frame:
    run = loop.recording
    error: BaseException | None = None
    try:
        run.is_training = True
        if not member.calls:
            with shield("Keras: parameters"):
                member.describe(call)
        latest.logs = None
        with shield("Keras: before a batch"):
            member.before(call.subject)
        with loop.training.current():
            outcome = yield
        error = outcome.error
        member.after()
        if error is None:
            with shield("Keras: a batch"):
                charge(run)
                member.record(call.subject, latest.logs, outcome.result)
    except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
        error = interrupt
        raise
    finally:
        with shield("Keras: the loop"):
            run.is_training = False
            if error is not None:
                conclude(loop.training, error)


# What a call returns ----------------------------------------------------------------------------------


class _Latest(threading.local):
    """The metrics by name of this thread's last call, before Keras makes a list without names of them."""

    logs: Mapping[str, Any] | None = None


latest = _Latest()


def observe_flatten_metrics(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """Keras puts metrics into the order in which it returns them."""
    latest.logs = args[0] if args else kwargs.get("logs")


# The loop and its models ------------------------------------------------------------------------------


class _Loop(Loop):
    """Holds its models weakly: a user who throws one away wants its memory back."""

    def __init__(self, training: Training):
        super().__init__(training)
        self.members: list[_Member] = []
        self.step = 0

    def add(self, model: Any, *, named: bool) -> _Member:
        taken = [member.name for member in self.members]
        name = model.name if model.name not in taken else f"{model.name}-{len(taken) + 1}"
        member = _Member(self, model, name, named)
        self.members.append(member)
        return member

    def is_abandoned(self) -> bool:
        return all(member.model() is None for member in self.members)

    def record_the_whole(self) -> None:
        members, self.members = self.members, []
        for member in members:
            member.record_the_whole()


class _Member:
    """One model of a loop."""

    def __init__(self, loop: _Loop, model: Any, name: str, named: bool):
        self._loop = loop
        self.run = loop.recording
        self.model = weakref.ref(model)
        self.name = name
        self.calls = 0
        self._base = 0  # the optimizer's steps before this loop
        self._is_first = not loop.members
        self._is_named = named
        self._under = f"/{name}" if named else ""
        self._metrics = f"train{self._under}/"
        self._every = int(loop.recording.settings.log_every_n_steps)
        self._trained: set[int] = set()
        self._weights: list[Any] = []
        self._is_due = False
        self._allowance = Allowance(loop.recording, UNASKED)
        self._alerts = Alerts(loop.recording)
        self._optimizers: Optimizers | None = None
        self._norms: AppliedNorms | None = None
        if keras.backend.backend() == "torch" and getattr(model, "jit_compile", False) is not True:
            self._norms = AppliedNorms(self.run, model, self._allowance, under=self._under)

    def describe(self, call: Call) -> None:
        """Before its first call."""
        model, run = call.subject, self.run
        if self._is_first:
            batch_size = {"batch_size": _rows(call.get("x"))}
            record_parameters(run, batch_size, model, [])
            if run.settings.log_data:
                described = datasets.describe(call.get("x"), call.get("y"))
                run.describe({"data/train": described.config()})
                run.note("data/train", "of the first batch")
            if keras.backend.backend() != "torch":
                run.note("vitals/grad_norm", f"not recorded on the {keras.backend.backend()} backend")
        if self._is_named:
            optimizer = getattr(model, "optimizer", None)
            settings = optimizer.get_config() if optimizer is not None else {}
            given = {f"optimizer/{name}": plain(value) for name, value in settings.items()}
            run.params({**given, "loss": name_of(model.loss)}, prefix=f"params/{self.name}")

    def before(self, model: Any) -> None:
        """Before a call."""
        if not self.calls:
            self._base = steps_of(model)
            self._optimizers = Optimizers(model, self.run, self._norms)
        step = self._base + self.calls + 1
        self._is_due = self._every > 0 and step % self._every == 0
        if self._optimizers is None:
            return
        if self._is_due or not self.calls:
            self._optimizers.hold_rates(step, self.calls)
        if self._norms is not None and self._is_due and not self._allowance.is_used_up(step):
            self._norms.read(step)
        if not self.calls or (self._norms is not None and self._norms.is_reading):
            self._optimizers.begin()

    def after(self) -> None:
        """After it, however it has ended."""
        if self._optimizers is not None:
            self._optimizers.end()

    def record(self, model: Any, logs: Any, result: Any) -> None:
        """After a call that has returned."""
        self.calls += 1
        if self.calls == 1:
            self._trained = {id(variable) for variable in model.trainable_variables}
            if is_kept(self.run, model):
                self._weights = list(model.variables)
        logs = result if isinstance(result, dict) else logs
        if logs is None:
            logs = {"loss": result} if isinstance(result, float) else {}
            self.run.note("train", "metrics were returned without their names")
        # One axis for all models of a loop: one that is trained more often than the others leads.
        step = self._loop.step = max(self._base + self.calls, self._loop.step)
        row = by_class(self.run, {self._metrics + name: value for name, value in logs.items()})
        if self._optimizers is not None and (self._is_due or self.calls == 1):
            row |= {
                key.replace("lr", f"lr{self._under}", 1): rate
                for key, rate in self._optimizers.rates(self._base + self.calls).items()
            }
        self.run.log(row, step=step)
        if self._norms is not None and self._optimizers is not None:
            if self._norms.is_reading:
                self._norms.read(step)
            self._norms.write(self._optimizers)
        self._alerts.look_at_loss(step, logs.get("loss"), self.name)

    def belongs_with(self, model: Any) -> bool:
        """Whether one model is a part of the other, or they train the same variables."""
        mine = self.model()
        if mine is None:
            return False
        ours, theirs = ({id(variable) for variable in one.variables} for one in (mine, model))
        trained = self._trained | {id(variable) for variable in model.trainable_variables}
        shared = ours & theirs
        return bool(shared & trained) or (bool(shared) and shared in (ours, theirs))

    def record_the_whole(self) -> None:
        """At the loop's end."""
        run, model = self.run, self.model()
        key = f"model{self._under}"
        with shield("Keras: model"):
            run.describe({f"{key}/train_on_batch_calls": self.calls})
            self._allowance.note("vitals/grad_norm")
            if model is not None:
                record_summary(run, model, key=key)
        with shield("Keras: model artifact"):
            if model is not None:
                record_model(run, model)
            elif self._weights:
                self._record_weights()

    def _record_weights(self) -> None:
        """Of a model that is gone: what it has learned."""
        path = self.run.stage(f"{self.name}.npz")
        host = keras.ops.convert_to_numpy
        np.savez(path, **{variable.path: host(variable) for variable in self._weights})
        self.run.staged_artifact(f"model-{self.name}", "model", {"weights.npz": path})
        self.run.note("model", "its weights only: the model was gone when its loop was found to be over")


def _known(model: Any) -> tuple[_Loop, _Member] | None:
    loop = loop_of(find_run(model))
    if not isinstance(loop, _Loop):
        return None
    return next(((loop, member) for member in loop.members if member.model() is model), None)


def _joined(model: Any) -> tuple[_Loop, _Member] | None:
    """A loop that this model belongs to, which another one has begun."""
    end_abandoned_loops()
    for loop in open_loops():
        if isinstance(loop, _Loop) and any(member.belongs_with(model) for member in loop.members):
            bind_run(model, loop.recording)
            return loop, loop.add(model, named=True)
    return None


def _opened(model: Any) -> tuple[_Loop, _Member]:
    loop = _Loop(begin_training(model, title_of(model), framework="keras"))
    return loop, loop.add(model, named=_is_one_of_several(model))


def _is_one_of_several(model: Any) -> bool:
    """Whether a compiled model is inside of this one, or this one was called to build another."""
    parts = model._flatten_layers(include_self=False)
    return bool(model._inbound_nodes) or any(getattr(part, "compiled", False) for part in parts)


def _rows(x: Any) -> int | None:
    """How many rows a batch has."""
    while isinstance(x, (list, tuple, Mapping)) and x:
        x = next(iter(x.values() if isinstance(x, Mapping) else x))
    shape = getattr(x, "shape", None)
    return int(shape[0]) if shape else None
