"""Of predictions that are too many to be kept: sums, on their device, and the first few of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["MOST_COUNTED", "Counts", "Errors", "Labels", "as_array", "classes_second"]

MOST_COUNTED = 1_000  # classes
FEW = 4  # rows that are kept as they are


class Few:
    """The first rows: targets, what was predicted, and from what."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, Any, Any]] = []  # input or None, target, output

    def add(self, truth: torch.Tensor, predicted: torch.Tensor, inputs: Any) -> None:
        """A batch, if there is room."""
        has_inputs = isinstance(inputs, torch.Tensor) and len(inputs) == len(truth)
        for row in range(min(FEW - len(self._rows), len(truth))):
            given = as_array(inputs[row]) if has_inputs else None
            self._rows.append((given, as_array(truth[row]), as_array(predicted[row])))

    def columns(self) -> dict[str, Any]:
        """By their names, shape (rows, ...) each, of the rows that are like the first one."""
        alike = [row for row in self._rows if row[1].shape == self._rows[0][1].shape]
        columns = dict(zip(("input", "target", "output"), zip(*alike, strict=True), strict=True))
        return {
            name: np.stack(parts)
            for name, parts in columns.items()
            if all(part is not None and part.shape == parts[0].shape for part in parts)
        }


class Counts:
    """How often which class was taken for which.

    Args:
        classes: how many there are.
        ignored: the target that counts for none; None: each counts.

    Attributes:
        counts: shape (classes, classes), the true ones by row; None: there was something that is no class.
        few: the first rows, with the classes that were predicted.
    """

    def __init__(self, classes: int, ignored: int | None):
        self._classes, self._ignored = classes, ignored
        self.counts: Any = 0
        self.few = Few()

    def add(self, truth: torch.Tensor, predicted: torch.Tensor, inputs: Any) -> None:
        """One batch."""
        if self.counts is None:
            return
        k, predicted = self._classes, classes_second(truth, predicted)
        is_alike = predicted.ndim > 1 and predicted.shape[1] == k
        if not is_alike or truth.numel() * k != predicted.numel():
            self.counts = None
            return
        self.count(truth, predicted.argmax(1), inputs)

    def count(self, truth: torch.Tensor, guesses: torch.Tensor, inputs: Any) -> None:
        """One batch, of which the class that is guessed is known."""
        if self.counts is None:
            return
        k = self._classes
        self.few.add(truth, guesses, inputs)
        guesses = guesses.reshape(-1)
        truth = truth.reshape(-1).to(guesses.device, torch.long)
        if self._ignored is not None:
            counted = truth != self._ignored
            truth, guesses = truth[counted], guesses[counted]
        if len(truth) and (int(truth.min()) < 0 or int(truth.max()) >= k):
            self.counts = None
            return
        self.counts = self.counts + torch.bincount(truth * k + guesses, minlength=k * k).reshape(k, k)


class Labels:
    """How often each label of a mask was there, and was predicted.

    Attributes:
        counts: shape (labels, 2, 2), the truth by row; None: there was something that is no label.
    """

    def __init__(self, ignored: int | None):
        self._ignored = ignored
        self.counts: Any = 0

    def count(self, truth: torch.Tensor, guesses: torch.Tensor, inputs: Any) -> None:
        """One batch of 0 and 1, shape (n, labels, ...)."""
        if self.counts is None:
            return
        places = torch.arange(truth.shape[1], device=guesses.device)
        places = places.reshape(1, -1, *[1] * (truth.ndim - 2)).expand(truth.shape).reshape(-1)
        known, guesses = truth.reshape(-1).to(guesses.device), guesses.reshape(-1)
        if self._ignored is not None:
            counted = known != self._ignored
            known, guesses, places = known[counted], guesses[counted], places[counted]
        known = known.long()
        found = torch.bincount(4 * places + 2 * known + guesses.long(), minlength=4 * truth.shape[1])
        is_alike = isinstance(self.counts, int) or len(self.counts) == truth.shape[1]
        self.counts = self.counts + found.reshape(-1, 2, 2) if is_alike else None


class Errors:
    """The errors of each row of many numbers, and the range of their targets.

    Attributes:
        few: the first rows.
        is_lost: whether there were some that do not go together.
    """

    def __init__(self) -> None:
        self._errors: list[torch.Tensor] = []
        self._ends: list[torch.Tensor] = []
        self.few = Few()
        self.is_lost = False

    def add(self, truth: torch.Tensor, predicted: torch.Tensor, inputs: Any) -> None:
        """One batch."""
        self.is_lost = self.is_lost or truth.numel() != predicted.numel() or not truth.numel()
        if self.is_lost:
            return
        self.few.add(truth, predicted.reshape(truth.shape), inputs)
        truth = truth.flatten(1).to(predicted.device, torch.float32)
        error = truth - predicted.reshape(truth.shape).float()
        self._errors.append(torch.stack([error.square().mean(1), error.abs().mean(1)]))
        is_number = truth.isfinite()
        low = torch.where(is_number, truth, torch.inf).min()
        self._ends.append(torch.stack([low, torch.where(is_number, truth, -torch.inf).max()]))

    def told(self) -> tuple[Any, Any, float, float]:
        """Mean squared and absolute error of each row, the lowest and the highest number of the targets."""
        squares, absolutes = as_array(torch.cat(self._errors, 1)).astype("float64")
        ends = as_array(torch.stack(self._ends))
        return squares, absolutes, float(ends[:, 0].min()), float(ends[:, 1].max())


def classes_second(truth: Any, predicted: Any) -> Any:
    """A model of sequences has the classes last; torch's losses have them second, (n, classes, ...)."""
    if tuple(truth.shape) == tuple(predicted.shape[:-1]) != (len(predicted), *predicted.shape[2:]):
        return (
            np.moveaxis(predicted, -1, 1) if isinstance(predicted, np.ndarray) else predicted.movedim(-1, 1)
        )
    return predicted


def as_array(tensor: torch.Tensor) -> Any:
    """NumPy knows no bfloat16."""
    tensor = tensor.detach().cpu()
    return (
        tensor.float() if tensor.is_floating_point() and tensor.dtype != torch.float64 else tensor
    ).numpy()
