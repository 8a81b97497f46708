"""Norms of the gradients as they are before clipping: of all, and per layer."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import keras

from autolog.capture import gradients
from autolog.core.allowance import UNASKED, Allowance
from autolog.core.health import Alerts, norms_row
from autolog.core.recording import Recording
from autolog.keras.inside import Inside, gradients_of_step, layer_of

__all__ = ["GradientNorms", "gradients_of"]


class GradientNorms:
    """On the torch backend gradients outlive their step; elsewhere the compiled step has to tell them."""

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
        backend = keras.backend.backend()
        self._outlive = backend == "torch" and run.settings.log_gradients
        if not run.settings.log_gradients:
            return
        if getattr(getattr(model, "optimizer", None), "gradient_accumulation_steps", None):
            run.note("grad_norm", "of single batches: the optimizer accumulates them inside")
        if self._outlive:
            return
        if not may_look_inside:
            why = "unless Settings.compiled_steps is on"
            if run.settings.compiled_steps:
                why = "this time: the step was compiled before the callback came; enable() comes earlier"
            run.note("grad_norm", f"not recorded on the {backend} backend {why}")
        elif _replicas(model) > 1:
            run.note("grad_norm", "not recorded: the model is trained on several devices")
        else:
            self._inside = Inside(model, "train", gradients_of_step, self._take)
            self._inside.begin()

    def are_due(self, steps: int) -> bool:
        """Whether :meth:`before` has something to do: asked once before a step."""
        if not self._outlive:
            return self._inside is not None
        is_wanted = self._every > 0 and steps > 0 and steps % self._every == 0
        return is_wanted and not self._allowance.is_used_up(steps)

    def before(self, steps: int, executed: int) -> None:
        """A step comes after so many, or several at once: the gradients of the last one are still there."""
        self._steps = (steps, executed)
        self._write_due(all_but=1)
        if self._outlive:
            self._read(steps)

    def at_epoch_end(self, step: int) -> None:
        """An epoch has ended with this step."""
        if self._outlive:
            self._read(step)
        elif self._latest is not None:
            self._due = [entry for entry in self._due if entry[0] < step]
            self._due.append((step, self._latest[1]))
            self._write_due()

    def close(self) -> None:
        """The training has ended, or failed."""
        self._write_due()
        if self._inside is not None:
            self._inside.end()
        self._allowance.note("grad_norm")

    def _read(self, step: int) -> None:
        with self._allowance:
            found = gradients_of(self._model)
            if found is not None:
                self._write(step, *found)

    def _take(self, found: dict[str, Any]) -> None:
        """What a compiled step has told."""
        steps, executed = self._steps
        every = self._every
        self._latest = steps + executed, found["norms"]
        if every and (steps + executed) // every != steps // every:
            self._due.append(self._latest)

    def _write_due(self, all_but: int = 0) -> None:
        layers = list(dict.fromkeys(layer_of(self._model))) if len(self._due) > all_but else []
        while len(self._due) > all_but:
            step, norms = self._due.pop(0)
            parts = keras.ops.convert_to_numpy(norms).tolist()
            whole = sum(part * part for part in parts) ** 0.5
            self._write(step, whole, dict(zip(layers, parts, strict=True)))

    def _write(self, step: int, whole: float, by_layer: dict[str, float]) -> None:
        self._run.log(norms_row(self._run, whole, by_layer, parts="layers"), step=step)
        self._alerts.look(step, whole, by_layer)


def gradients_of(model: Any) -> tuple[float, dict[str, float]] | None:
    """On the torch backend: the norms of the last step's gradients, of all and per layer."""
    by_layer: defaultdict[str, list[Any]] = defaultdict(list)
    for layer, variable in zip(layer_of(model), model.trainable_variables, strict=True):
        if variable.value.grad is not None:
            by_layer[layer].append(variable.value.grad)
    if not by_layer:
        return None
    whole, parts = gradients.norms(list(by_layer.values()))
    scale = getattr(model.optimizer, "dynamic_scale", None)  # of the loss, in mixed precision
    scale = 1.0 if scale is None else float(scale)
    return whole / scale, {layer: norm / scale for layer, norm in zip(by_layer, parts, strict=True)}


def _replicas(model: Any) -> int:
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    return int(getattr(strategy, "num_replicas_in_sync", 1) or 1)
