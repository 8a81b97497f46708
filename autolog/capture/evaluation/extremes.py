"""The rows that were predicted worst and best, found without sorting all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autolog.capture.evaluation.inputs import Array, unique

_MOST = 10  # of each


def extremes(merit: Array, weight: Array | None) -> tuple[list[int], list[int]]:
    """The places of the 10 lowest (lowest first) and the 10 highest values (highest first).

    Equals stand in the order of their rows, and no row stands on both sides, nor one that weighs nothing.

    Args:
        merit: How well each row was predicted, shape (n,), without NaN.
        weight: Shape (n,), or None.
    """
    if weight is not None and not weight.all():
        counted = np.flatnonzero(weight)
        worst, best = extremes(merit[counted], None)
        return counted[worst].tolist(), counted[best].tolist()
    n = len(merit)
    worst = _lowest(merit, min(_MOST, (n + 1) // 2))
    taken = set(worst)  # where all are equal, the first rows are the lowest and the highest
    best = [place for place in _lowest(-merit, min(2 * _MOST, n)) if place not in taken]
    return worst, best[: min(_MOST, n // 2)]


def _lowest(values: Array, count: int) -> list[int]:
    if count < len(values):
        bound = np.partition(values, count - 1)[count - 1]
        below = np.flatnonzero(values < bound)
        places = np.concatenate((below, np.flatnonzero(values == bound)[: count - len(below)]))
    else:
        places = np.arange(len(values))
    ordered: list[int] = places[np.argsort(values[places], kind="stable")].tolist()
    return ordered


def confused(true: Array, predicted: Array, weight: Array | None) -> list[int]:
    """The places of 10 rows that were predicted wrong, of as many confusions as there are.

    The most frequent confusion comes first; one with several places has them evenly over its rows.

    Args:
        true: Codes of classes, shape (n,).
        predicted: The same.
        weight: Shape (n,), or None; a row that weighs nothing is not among them.
    """
    wrong = np.flatnonzero(true != predicted if weight is None else (true != predicted) & (weight > 0))
    if not len(wrong):
        return []
    _, confusion = unique(true[wrong] * (int(predicted.max()) + 1) + predicted[wrong])
    counts = np.bincount(confusion)
    often = np.argsort(-counts, kind="stable")[:_MOST]
    found: list[int] = []
    for which, places in zip(often, _shares(counts[often].tolist()), strict=True):
        rows = wrong[confusion == which]
        found += rows[np.linspace(0, len(rows) - 1, places).astype(int)].tolist()
    return found


def _shares(sizes: Sequence[int]) -> list[int]:
    """How many of 10 places each gets when they are handed out in turns."""
    places = [0] * len(sizes)
    left = min(_MOST, sum(sizes))
    while left:
        for index, size in enumerate(sizes):
            if left and places[index] < size:
                places[index] += 1
                left -= 1
    return places
