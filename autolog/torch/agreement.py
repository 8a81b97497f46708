"""Whether predictions that were heard are those that the module's own numbers are of.

A module that logs ``val_acc`` has said how good its predictions are. Others (of flipped inputs, of a teacher,
of a second head) have another accuracy: then they are not what is called ``val``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from autolog.torch.evaluation import Kept, Known, decided

__all__ = ["Losses", "differs", "guesses", "logged"]

_ACCURACY = frozenset(
    ("acc", "accuracy", "acc1", "top1", "acc_top1", "accuracy_top1", "multiclassaccuracy", "binaryaccuracy")
)
_ERRORS = frozenset(
    (
        "mse",
        "mean_squared_error",
        "meansquarederror",
        "mae",
        "mean_absolute_error",
        "meanabsoluteerror",
        "rmse",
    )
)
_CLOSE = 1e-3  # relative: means of batches, in single precision


class Losses:
    """What a loss has returned, batch by batch."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._rows: list[int] = []

    def add(self, result: Any, rows: int) -> None:
        """Of one batch, a number on its device."""
        self._values.append(result.detach().float().mean())
        self._rows.append(rows)

    def whole(self, lengths: list[int]) -> list[float]:
        """What a module may have logged of it: means over batches or samples, of sums, their roots."""
        if not self._values or len(lengths) != len(self._values):
            return []
        values = np.array([float(value) for value in self._values])
        kinds = [values, values / np.maximum(self._rows, 1), np.sqrt(np.abs(values))]
        return [
            mean for each in kinds for mean in (_mean(each), _mean(each, lengths), _mean(each, self._rows))
        ]


def logged(told: Mapping[str, float], place: str, names: Iterable[str]) -> dict[str, float]:
    """What the module has logged under one of these names, of this data."""
    found = {}
    for key, value in told.items():
        start, _, name = key.rpartition("/")
        if start == place and not math.isnan(value) and name.lower().removesuffix("_epoch") in names:
            found[key] = value
    return found


def differs(
    told: Mapping[str, float], place: str, kept: Kept, known: Known, lengths: list[int], losses: list[float]
) -> str | None:
    """What is logged that is not of these predictions; an empty text: what is logged is; None: unknown.

    The accuracy tells more than the loss, which may have other terms.

    Args:
        told: what it has logged, by our keys.
        place: the name of the data.
        kept: targets and predictions.
        known: what they are taken for.
        lengths: samples of each batch.
        losses: what its loss may be.
    """
    if kept.is_lost:
        return None
    accuracy, loss = logged(told, place, _ACCURACY), logged(told, place, ("loss",))
    if known.kind == "amounts":
        found = logged(told, place, _ERRORS) or loss
        ours = [*_errors(kept), *losses]
    elif accuracy:
        found, ours = accuracy, _accuracies(kept, known, lengths)
    else:
        found, ours = loss, losses
    if not found:
        return ", ".join(accuracy) or None
    if any(_is_close(value, one) for value in found.values() for one in ours):
        return ""
    return ", ".join(f"{key} {value:.4g}" for key, value in found.items())


def _is_close(told: float, ours: float) -> bool:
    return any(math.isclose(told, one, rel_tol=_CLOSE, abs_tol=1e-4) for one in (ours, 100 * ours))


def guesses(kept: Kept, known: Known) -> tuple[Any, Any] | None:
    """True and predicted classes of all batches; None: there are none."""
    try:
        parts = [decided(truth, predicted, known) for truth, predicted in kept.batches()]
        truth, guessed = (np.concatenate(part) for part in zip(*parts, strict=True))
    except ValueError:
        return None
    return truth, guessed


def _accuracies(kept: Kept, known: Known, lengths: list[int]) -> list[float]:
    """Over rows or labels, and as means over batches; also the mean over the classes."""
    if kept.counts is not None:
        counts = kept.counts.cpu().numpy()
        return [_mean(counts.diagonal().sum() / max(counts.sum(), 1)), *_recalls(counts)]
    try:
        parts = [decided(truth, predicted, known) for truth, predicted in kept.batches()]
    except ValueError:
        return []
    found = []
    for whole_row in (False, True):
        right = [
            (truth == guess).reshape(len(truth), -1).all(1) if whole_row else (truth == guess).reshape(-1)
            for truth, guess in parts
        ]
        means = np.array([part.mean() if len(part) else 0.0 for part in right])
        counted = [len(part) for part in right]
        found += [_mean(means), _mean(means, lengths), _mean(means, counted)]
    macro = [_recalls(_matrix(truth.reshape(-1), guess.reshape(-1))) for truth, guess in parts]
    found += [_mean(np.array(part)) for part in zip(*macro, strict=True)]
    found += [_mean(np.array(part), lengths) for part in zip(*macro, strict=True)]
    truth, guess = (np.concatenate([part.reshape(-1) for part in side]) for side in zip(*parts, strict=True))
    return [*found, *_recalls(_matrix(truth, guess))]


def _matrix(truth: Any, guess: Any) -> Any:
    names, places = np.unique(np.concatenate([truth, guess]), return_inverse=True)
    counts = np.zeros((len(names), len(names)), int)
    np.add.at(counts, (places[: len(truth)], places[len(truth) :]), 1)
    return counts


def _recalls(counts: Any) -> tuple[float, float]:
    """The mean recall of the classes that occur, and of those that are predicted as well (torchmetrics)."""
    occurs, is_there = counts.sum(1) > 0, counts.sum(0) + counts.sum(1) > 0
    recall = counts.diagonal() / np.maximum(counts.sum(1), 1)
    return _mean(recall[occurs]), _mean(recall[is_there])


def _errors(kept: Kept) -> list[float]:
    if kept.too_large:
        return []
    squares, absolutes = [], []
    for truth, predicted in kept.batches():
        if truth.size != predicted.size:
            return []
        error = (truth.reshape(-1) - predicted.reshape(-1)).astype(float)
        squares.append((error**2).mean())
        absolutes.append(abs(error).mean())
    sizes = [truth.size for truth, _ in kept.batches()]
    return [
        mean
        for each in (np.array(squares), np.array(absolutes), np.sqrt(squares))
        for mean in (_mean(each), _mean(each, sizes))
    ] + [math.sqrt(max(_mean(np.array(squares), sizes), 0.0))]


def _mean(values: Any, weights: Any = None) -> float:
    values = np.atleast_1d(values)
    if not len(values) or (weights is not None and (len(weights) != len(values) or not sum(weights))):
        return math.nan
    return float(np.average(values, weights=weights))
