"""What networks return is made ready for evaluation: probabilities from logits, and not too many rows."""

from __future__ import annotations

import numpy as np

from autolog.capture.evaluation.inputs import Array

MOST_ROWS = 200_000  # of targets with a shape of their own, such as the pixels of masks
ROUNDED = 0.05  # how far half precision takes the sum of a row of probabilities from 1


def thinned(truth: Array, predicted: Array) -> tuple[Array, Array, tuple[str, ...]]:
    """Evenly chosen rows of both where they are very many, and what is to be said of it."""
    every = -(-len(truth) // MOST_ROWS)
    notes = (f"of one in {every} of {len(truth):,} places",) if every > 1 else ()
    return truth[::every], predicted[::every], notes


def probabilities(scores: Array, *, are_logits: bool | None = None, are_independent: bool = False) -> Array:
    """Logits, and logarithms of probabilities, become probabilities.

    Args:
        scores: shape (n, classes), or any shape if they are independent.
        are_logits: None: their range says it.
        are_independent: whether each is a probability of its own, instead of one row's sum being 1.
    """
    if are_logits is None:
        are_logits = bool(scores.size) and not (scores.min() >= 0 and scores.max() <= 1)
    if are_independent:
        return 1 / (1 + np.exp(-scores)) if are_logits else scores
    if are_logits:
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    sums = scores.sum(axis=1, keepdims=True)
    is_rounded = scores.shape[1] > 1 and bool((abs(sums - 1) < ROUNDED).all())
    whole: Array = scores / sums if are_logits or is_rounded else scores
    return whole
