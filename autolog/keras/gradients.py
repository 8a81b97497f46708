"""Norms of the gradients that were applied, as they were before clipping: of all, and per layer.

On the torch backend an optimizer's step is plain Python: what it is given is read there, accumulated and
unscaled, whoever has called it; what nobody applies (a step that mixed precision has skipped) is not read.
On JAX and TensorFlow the step is compiled, and has to tell them.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from typing import Any

import keras

from autolog.capture import gradients
from autolog.core.allowance import UNASKED, Allowance
from autolog.core.health import Alerts, norms_row
from autolog.core.recording import Recording
from autolog.keras.inside import Inside, gradients_of_step, layer_of, layers_of
from autolog.keras.optimizers import Optimizers, inner, optimizers_of
from autolog.process.guard import shield

__all__ = ["AppliedNorms", "GradientNorms"]


class AppliedNorms:
    """On the torch backend: the norms of what each optimizer applies, at the steps that it is asked for.

    Args:
        alerts: look at what was read.
        under: what stands between ``vitals/grad_norm`` and a layer's name.
    """

    def __init__(
        self,
        run: Recording,
        model: Any,
        allowance: Allowance,
        alerts: Alerts | None = None,
        under: str = "",
    ):
        self._run = run
        self._model = weakref.ref(model)
        self._key = f"vitals/grad_norm{under}"
        self._allowance = allowance
        self._alerts = alerts
        self._step: int | None = None  # that is read; an optimizer that accumulates makes it later
        self._unclipped: dict[int, list[float]] = {}
        self._read: dict[int, dict[str, float]] = {}  # by optimizer, per layer
        # Of a step that is not read: by optimizer its first gradient and the state of that.
        self._left: dict[int, tuple[weakref.ref[Any], int]] = {}
        self.are_seen = False  # ever

    @property
    def is_reading(self) -> bool:
        """Whether a step is asked for that no optimizer has made yet."""
        return self._step is not None

    def read(self, step: int) -> None:
        """The step that comes is wanted."""
        self._step = step

    def before_clipping(self, optimizer: Any, given: list[Any]) -> None:
        """See :class:`autolog.keras.optimizers.Listener`."""
        if self._step is None:
            first = next((gradient for gradient in given if gradient is not None), None)
            if first is not None:
                self._left[id(optimizer)] = weakref.ref(first), first._version
        elif id(optimizer) not in self._read:
            self._read_norms(optimizer, given)

    def _read_norms(self, optimizer: Any, given: list[Any]) -> None:
        with shield("Keras: gradient norms", self._run), self._allowance:
            there = [gradient for gradient in given if gradient is not None]
            _, self._unclipped[id(optimizer)] = gradients.norms([[gradient] for gradient in there])

    def applied(self, optimizer: Any, given: list[Any], variables: list[Any]) -> None:
        """See :class:`autolog.keras.optimizers.Listener`. Of several steps within one of ours the first."""
        if (norms := self._unclipped.pop(id(optimizer), None)) is None or id(optimizer) in self._read:
            return
        model = self._model()
        with shield("Keras: gradient norms", self._run):
            there = [v for v, gradient in zip(variables, given, strict=False) if gradient is not None]
            by_layer: defaultdict[str, float] = defaultdict(float)
            for variable, norm in zip(there, norms, strict=True):
                layer = layer_of(variable, model)
                by_layer[layer] = math.hypot(by_layer[layer], norm)
            self._read[id(optimizer)] = dict(by_layer)

    def read_left(self, step: int, optimizers: Optimizers) -> None:
        """The step that was made last is wanted after all, as far as its gradients are there still."""
        for optimizer in optimizers.in_use().values():
            first, version = self._left.get(id(optimizer), (lambda: None, 0))
            variables = optimizer._trainable_variables
            given = [variable.value.grad for variable in variables]
            there = next((gradient for gradient in given if gradient is not None), None)
            if there is not None and there is first() and getattr(there, "_version", None) == version:
                self._step = step
                self._read_norms(optimizer, given)
                self.applied(optimizer, given, variables)
        self.write(optimizers)

    def write(self, optimizers: Optimizers) -> None:
        """Record what was read, if the step has been made."""
        self._unclipped.clear()
        self._left.clear()
        if self._step is None or not self._read:
            return
        step, read = self._step, self._read
        self._step, self._read, self.are_seen = None, {}, True
        in_use = optimizers.in_use()
        for name, optimizer in in_use.items():
            if (by_layer := read.get(id(optimizer))) is not None:
                write_norms(
                    self._run, self._alerts, self._key, step, by_layer, name if len(in_use) > 1 else None
                )


def write_norms(
    run: Recording,
    alerts: Alerts | None,
    key: str,
    step: int,
    by_layer: dict[str, float],
    optimizer: str | None,
) -> None:
    """One optimizer's norms. Where there are several, the norm of all that one has applied bears its name."""
    whole = math.hypot(*by_layer.values())
    row = norms_row(run, whole, by_layer, key=key, parts="layers")
    if optimizer is not None:
        row[f"{key}/{optimizer}"] = row.pop(key)
    run.log(row, step=step)
    if alerts is not None:
        alerts.look(step, whole, by_layer)


class GradientNorms:
    """Those of one ``fit``, at the steps that are logged and at the last one of each epoch."""

    def __init__(self, run: Recording, model: Any, may_look_inside: bool):
        self._run = run
        self._every = int(run.settings.log_every_n_steps)
        self._model = model
        self._alerts = Alerts(run)
        self._allowance = Allowance(run, UNASKED)
        self._inside: Inside | None = None
        self._steps = (0, 1)  # made so far, and how many are executed at once
        self._latest: tuple[int, Any] | None = None  # a step and its norms, on their device
        self._due: list[tuple[int, Any]] = []  # to be logged: read once later ones have come, without a wait
        self.applied: AppliedNorms | None = None
        self._was_asked = False
        if not run.settings.log_gradients:
            return
        backend = keras.backend.backend()
        if backend == "torch":
            if getattr(model, "jit_compile", False) is True:
                run.note("vitals/grad_norm", "not recorded: torch compiles the step")
            else:
                self.applied = AppliedNorms(run, model, self._allowance, self._alerts)
        elif not may_look_inside:
            why = "unless Settings.compiled_steps is on"
            if run.settings.compiled_steps:
                why = "this time: the step was compiled before the callback came; enable() comes earlier"
            run.note("vitals/grad_norm", f"not recorded on the {backend} backend {why}")
        elif _replicas(model) > 1:
            run.note("vitals/grad_norm", "not recorded: the model is trained on several devices")
        else:
            if any(inner(one).gradient_accumulation_steps for one in optimizers_of(model).values()):
                run.note("vitals/grad_norm", "of single batches: the optimizer accumulates them inside")
            self._inside = Inside(model, "train", gradients_of_step, self._take)
            self._inside.begin()

    @property
    def have_work(self) -> bool:
        """Whether :meth:`before` has to be called before each step."""
        return self._inside is not None or (self.applied is not None and self.applied.is_reading)

    def before(
        self, steps: int, executed: int, optimizers: Optimizers, *, is_due: bool, is_last: bool
    ) -> None:
        """A step comes after so many, or several at once; ``is_last``: of its epoch, as far as is known."""
        self._steps = (steps, executed)
        self._write_due(all_but=1)
        if self.applied is None:
            return
        self.applied.write(optimizers)
        if (is_due and not self._allowance.is_used_up(steps)) or is_last or self.applied.is_reading:
            self._was_asked = True
            self.applied.read(steps + 1)

    def at_epoch_end(self, step: int, optimizers: Optimizers) -> None:
        """An epoch has ended with this step."""
        if self.applied is not None:
            if self.applied.is_reading:
                self.applied.write(optimizers)
            else:
                self.applied.read_left(step, optimizers)
        elif self._latest is not None:
            self._due = [entry for entry in self._due if entry[0] < step]
            self._due.append((step, self._latest[1]))
            self._write_due()

    def close(self) -> None:
        """The training has ended, or failed."""
        self._write_due()
        if self._inside is not None:
            self._inside.end()
        if self.applied is not None and self._was_asked and not self.applied.are_seen:
            why = "not recorded: no optimizer of Keras' was seen to apply gradients"
            self._run.note("vitals/grad_norm", why)
        self._allowance.note("vitals/grad_norm")

    def _take(self, found: dict[str, Any]) -> None:
        """What a compiled step has told: the norms of each layer, by optimizer."""
        steps, executed = self._steps
        every = self._every
        self._latest = steps + executed, found
        if every and (steps + executed) // every != steps // every:
            self._due.append(self._latest)

    def _write_due(self, all_but: int = 0) -> None:
        while len(self._due) > all_but:
            step, found = self._due.pop(0)
            for key, norms in found.items():
                _, _, name = key.partition("/")
                optimizer = optimizers_of(self._model).get(name)
                if optimizer is None:
                    continue
                parts = keras.ops.convert_to_numpy(norms).tolist()
                # Mixed precision skips a step whose scaled gradients have overflowed: nothing was applied.
                if inner(optimizer) is not optimizer and not all(map(math.isfinite, parts)):
                    continue
                layers = layers_of(self._model, inner(optimizer)._trainable_variables)
                by_layer = dict(zip(layers, parts, strict=True))
                one = None if len(found) == 1 else name
                write_norms(self._run, self._alerts, "vitals/grad_norm", step, by_layer, one)


def _replicas(model: Any) -> int:
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    return int(getattr(strategy, "num_replicas_in_sync", 1) or 1)
