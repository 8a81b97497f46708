"""Gradient norms on the torch backend, where gradients outlive their step."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import keras

from autolog.capture import gradients
from autolog.core.run import Run

__all__ = ["GradientNorms"]

MOST_LAYERS = 100


class GradientNorms:
    """Norms of the gradients as they are before clipping: of all, and per layer."""

    def __init__(self, run: Run):
        self._run = run
        self._began = time.perf_counter()
        self._spent = 0.0
        self._left_out = 0
        self._is_torch = keras.backend.backend() == "torch"
        if not self._is_torch:
            run.note("grad_norm", f"not recorded on the {keras.backend.backend()} backend")

    def record(self, model: Any, step: int) -> None:
        """The gradients of the step before, if there is time for them."""
        if not self._is_torch:
            return
        started = time.perf_counter()
        if self._spent > max(0.050, self._run.settings.budget * (started - self._began)):
            self._left_out += 1
            return
        by_layer: defaultdict[str, list[Any]] = defaultdict(list)
        for variable in model.trainable_variables:
            gradient = variable.value.grad
            if gradient is not None:
                layer = variable.path.rpartition("/")[0].removeprefix(f"{model.name}/")
                by_layer[layer].append(gradient)
        if not by_layer:
            return
        whole, parts = gradients.norms(list(by_layer.values()))
        scale = _scale(model)
        row = {"grad_norm": whole / scale}
        if len(by_layer) <= MOST_LAYERS:
            row |= {f"grad_norm/{name}": norm / scale for name, norm in zip(by_layer, parts, strict=True)}
        else:
            self._run.note("grad_norm/layers", f"not recorded: {len(by_layer)} layers")
        self._run.log(row, step=step)
        self._spent += time.perf_counter() - started

    def close(self) -> None:
        """The training has ended."""
        if self._left_out:
            self._run.note("grad_norm", f"left out at {self._left_out} steps: they would pass the budget")


def _scale(model: Any) -> float:
    """What the loss was multiplied by, under mixed precision."""
    scale = getattr(model.optimizer, "dynamic_scale", None)
    return float(scale) if scale is not None else 1.0
