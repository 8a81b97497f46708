"""Generated texts beside the right ones: word error rate, ROUGE, BLEU."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from autolog.process.imports import is_installed

__all__ = ["edits", "scores_of_texts", "word_error_rate"]

Pairs = Sequence[tuple[str, str]]
"""Of each text what was generated, and the right one."""


def word_error_rate(pairs: Pairs) -> float | None:
    """Words that were left out, put in or replaced, of all words that are right; None: there are none."""
    words = [(said.split(), right.split()) for said, right in pairs]
    total = sum(len(right) for _, right in words)
    return sum(edits(said, right) for said, right in words) / total if total else None


def edits(said: Sequence[str], right: Sequence[str]) -> int:
    """The fewest words to leave out, put in or replace, so that both are the same (Levenshtein)."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*said, *right)))}
    row = np.array([numbers[word] for word in right], dtype=int)
    places = np.arange(len(right) + 1)
    costs = places
    for count, word in enumerate(said, 1):
        kept = np.minimum(costs[1:] + 1, costs[:-1] + (row != numbers[word]))
        # What is put in costs one more than its neighbour on the left.
        costs = np.minimum.accumulate(np.concatenate(([count], kept)) - places) + places
    return int(costs[-1])


def scores_of_texts(pairs: Pairs) -> dict[str, float]:
    """ROUGE and BLEU, as far as rouge-score and sacrebleu are installed, in their own ways.

    ROUGE is the mean F1 over the texts, without stemming, from 0 to 1 (``python -m rouge_score.rouge``; that
    one draws samples to tell a range, and we none); BLEU is that of the whole corpus, from 0 to 100
    (``sacrebleu``).
    """
    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        return _scores(pairs)
    finally:  # what they import may draw
        np.random.set_state(numpys)
        random.setstate(pythons)


def _scores(pairs: Pairs) -> dict[str, float]:
    found: dict[str, float] = {}
    if is_installed("rouge_score"):
        from rouge_score.rouge_scorer import RougeScorer

        kinds = ("rouge1", "rouge2", "rougeL")
        scorer = RougeScorer(kinds)
        scores = [scorer.score(right, said) for said, right in pairs]
        found |= {kind: float(np.mean([score[kind].fmeasure for score in scores])) for kind in kinds}
    if is_installed("sacrebleu"):
        from sacrebleu.metrics import BLEU

        said, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        found["bleu"] = float(BLEU().corpus_score(said, [right]).score)
    return found
