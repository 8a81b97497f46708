"""Precision, recall and F1 from counts."""

from __future__ import annotations

import numpy as np

from autolog.capture.evaluation.inputs import Array


def ratio(over: Array, under: Array) -> Array:
    """Division that is zero where there is nothing to divide by (zero_division=0)."""
    return np.divide(over, under, out=np.zeros(np.shape(under)), where=under > 0)


def rates(hits: Array, guessed: Array, support: Array) -> tuple[Array, Array, Array]:
    """Precision, recall and F1, each of the shape of the counts.

    Args:
        hits: How often, or with what weight, a class was predicted and true.
        guessed: How often it was predicted.
        support: How often it was true.
    """
    return ratio(hits, guessed), ratio(hits, support), ratio(2 * hits, support + guessed)
