"""What networks give back becomes probabilities, and no number is changed that is one already."""

from __future__ import annotations

import numpy as np
import pytest

from autolog.capture.evaluation import probabilities, thinned
from autolog.capture.evaluation import scores as module

LOGITS = np.array([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3]])
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)


def test_logits_and_logarithms_of_probabilities_become_probabilities():
    assert probabilities(LOGITS) == pytest.approx(SOFTMAX)
    assert probabilities(np.log(SOFTMAX)) == pytest.approx(SOFTMAX)


def test_large_logits_do_not_overflow():
    found = probabilities(np.array([[1000.0, 0.0], [0.0, 1000.0]]))
    assert found.tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_logits_that_look_like_probabilities_are_taken_for_what_they_are_said_to_be():
    found = probabilities(np.array([[0.0, 1.0]]), are_logits=True)
    assert found[0, 1] == pytest.approx(np.e / (1 + np.e))


def test_rows_that_half_precision_has_rounded_sum_to_one():
    rounded = SOFTMAX.astype("float16") * np.float16(0.99)
    assert probabilities(rounded.astype("float32")).sum(axis=1) == pytest.approx(1)


def test_independent_probabilities_stay_as_they_are_whatever_their_sum():
    scores = np.array([[0.5, 0.48], [0.9, 0.08]])
    assert probabilities(scores, are_independent=True).tolist() == scores.tolist()
    assert probabilities(np.array([[0.0, 2.0]]), are_independent=True) == pytest.approx(
        1 / (1 + np.exp([[0.0, -2.0]]))
    )


def test_very_many_places_are_thinned_evenly_and_said(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    truth, predicted, notes = thinned(np.arange(10), np.arange(10) * 2)
    assert truth.tolist() == [0, 3, 6, 9]
    assert predicted.tolist() == [0, 6, 12, 18]
    assert notes == ("of one in 3 of 10 places",)
    assert thinned(np.arange(4), np.arange(4))[2] == ()
