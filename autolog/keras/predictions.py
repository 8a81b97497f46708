"""Held-out predictions, from the validation that runs anyway.

On the torch backend a validation step is plain Python: what it hands to ``compute_metrics`` is kept, on the
device it is on, until the training ends. On JAX and TensorFlow the step is traced once and then runs out
of our sight: there the run says that its held-out pictures are not recorded.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

__all__ = ["Kept", "observe_compute_metrics"]

MOST_VALUES = 8_000_000  # numbers that are kept of one validation, 32 MB


class Kept:
    """The last validation's targets and predictions, batch by batch.

    It is armed for a model while one of its validations runs, and begins anew with each.
    """

    def __init__(self, model: Any):
        self._model = weakref.ref(model)
        self._truth: list[Any] = []
        self._predicted: list[Any] = []
        self._values = 0
        self.is_open = False
        self.too_large = False
        with _lock:
            _kept[id(model)] = self

    def begin(self) -> None:
        """A validation begins."""
        self._truth, self._predicted, self._values = [], [], 0
        self.is_open = True

    def end(self) -> None:
        """It has ended."""
        self.is_open = False

    def close(self) -> None:
        """The training has ended: nothing is kept any more."""
        with _lock:
            for key in [key for key, kept in _kept.items() if kept is self]:
                del _kept[key]

    def take(self, y: Any, y_pred: Any) -> None:
        """One batch of it. (A model that is only being built is asked with tensors that hold nothing.)"""
        if y_pred.is_meta:
            return
        self._values += int(np.prod(y_pred.shape)) + int(np.prod(y.shape))
        if self._values > MOST_VALUES:
            self._truth, self._predicted, self.is_open, self.too_large = [], [], False, True
            return
        self._truth.append(y.detach() if hasattr(y, "detach") else y)
        self._predicted.append(y_pred.detach())

    def arrays(self) -> tuple[Any, Any] | None:
        """Targets and predictions of the last validation; None if it was not seen."""
        if not self._predicted:
            return None
        host = keras.ops.convert_to_numpy
        truth, predicted = ([host(part) for part in parts] for parts in (self._truth, self._predicted))
        return np.concatenate(truth), np.concatenate(predicted)


_kept: dict[int, Kept] = {}
_lock = threading.Lock()


def observe_compute_metrics(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """A step of a model's training or validation hands over its targets and predictions."""
    kept = _kept.get(id(model))
    if kept is None or not kept.is_open or kept._model() is not model:
        return
    y = args[1] if len(args) > 1 else kwargs.get("y")
    y_pred = args[2] if len(args) > 2 else kwargs.get("y_pred")
    if hasattr(y_pred, "detach") and hasattr(y, "shape"):  # torch, one output
        kept.take(y, y_pred)
