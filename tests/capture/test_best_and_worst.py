"""The rows that were predicted worst and best, by their places in what was passed in."""

from __future__ import annotations

import base64
import itertools
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.capture.evaluation import classification, regression, with_inputs
from autolog.capture.evaluation.extremes import confused, extremes

RNG = np.random.default_rng(0)


def told(found, kind):
    return [row for row in found.tables["best_and_worst"] if row["kind"] == kind]


@given(st.lists(st.integers(-5, 5) | st.floats(allow_nan=False), min_size=1, max_size=60), st.randoms())
def test_they_are_the_ends_of_the_whole_in_order(merit, random):
    weight = [random.choice((0, 1, 1, 2)) for _ in merit]
    worst, best = extremes(np.array(merit, dtype=float), np.array(weight))
    counted = [row for row, w in enumerate(weight) if w]
    half = len(counted) // 2
    expected = sorted(counted, key=lambda row: merit[row])[: min(10, len(counted) - half)]
    assert worst == expected
    others = [row for row in counted if row not in worst]
    assert best == sorted(others, key=lambda row: -merit[row])[: min(10, half)]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80))
def test_confusions_are_shown_in_turns_the_most_frequent_first(pairs):
    true, predicted = np.array(pairs).T
    rows = confused(true, predicted, None)
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    often = Counter(wrong)
    assert len(rows) == len(set(rows)) == min(10, len(wrong))
    shown = [pairs[row] for row in rows]
    assert all(true != predicted for true, predicted in shown)
    assert [often[pair] for pair in shown] == sorted((often[pair] for pair in shown), reverse=True)
    order = [pair for pair, _ in itertools.groupby(shown)]
    assert len(order) == len(set(order)) == min(10, len(often))
    # No confusion has a second row before every shown one has its first, and so on.
    share = Counter(shown)
    assert all(share[pair] in (max(share.values()), max(share.values()) - 1, often[pair]) for pair in share)


def test_rows_of_a_confusion_are_evenly_spaced():
    assert confused(np.zeros(91, dtype=int), np.ones(91, dtype=int), None) == list(range(0, 91, 10))
    weight = np.arange(91) % 2
    assert all(row % 2 for row in confused(np.zeros(91, dtype=int), np.ones(91, dtype=int), weight))


def test_probabilities_tell_how_wrong_a_row_is():
    p = RNG.dirichlet(np.ones(3), 100)
    names = np.array(["ape", "bee", "cat"])
    y = RNG.integers(0, 3, 100)
    found = classification(names[y], scores=p, classes=names)
    order = np.argsort(p[np.arange(100), y], kind="stable")
    assert [row["row"] for row in told(found, "worst")] == order[:10].tolist()
    assert [row["row"] for row in told(found, "best")] == order[::-1][:10].tolist()
    assert found.samples == [row["row"] for row in found.tables["best_and_worst"]]
    for line in found.tables["best_and_worst"]:
        row = line["row"]
        assert line["true"] == names[y[row]]
        assert line["predicted"] == names[p[row].argmax()]
        assert line["probability_of_true"] == pytest.approx(p[row, y[row]], abs=1e-6)
        assert line["confidence"] == pytest.approx(p[row].max(), abs=1e-6)


def test_one_column_of_probabilities_tells_it_of_both_classes():
    found = classification(["no", "yes", "yes", "no"], scores=[0.1, 0.8, 0.3, 0.6])
    assert [
        tuple(row.values()) for row in found.tables["best_and_worst"]
    ] == [
        ("worst", 2, "yes", "no", 0.3, 0.7),
        ("worst", 3, "no", "yes", 0.4, 0.6),
        ("best", 0, "no", "no", 0.9, 0.9),
        ("best", 1, "yes", "yes", 0.8, 0.8),
    ]  # fmt: skip


def test_a_given_prediction_has_its_own_probability():
    found = classification([0, 1], [1, 1], scores=[[0.9, 0.1], [0.2, 0.8]])
    worst, best = found.tables["best_and_worst"]
    assert (worst["row"], worst["confidence"]) == (1, 0.8)
    assert (best["row"], best["predicted"], best["confidence"]) == (0, "1", 0.1)


@pytest.mark.parametrize(
    ("scores", "classes"),
    [([0.2, 0.9, 0.6], ["a", "b"]), ([[0.8, 0.2, 0], [0.1, 0.9, 0], [0.4, 0.6, 0]], ["a", "b", "c"])],
)
def test_a_class_without_scores_was_given_no_probability(scores, classes):
    found = classification(["a", "z", "b"], scores=scores, classes=classes)
    assert told(found, "worst")[0] == {
        "kind": "worst", "row": 1, "true": "z", "predicted": "b", "probability_of_true": 0, "confidence": 0.9
    }  # fmt: skip


@pytest.mark.parametrize("scores", [None, [-2.0, 3, 1, 2, -1, 1]])
def test_without_probabilities_they_are_of_the_most_frequent_confusions(scores):
    y, p = ["a", "b", "a", "a", "b", "b"], ["a", "b", "b", "b", "a", "b"]
    found = classification(y, p, scores=scores)
    assert [(row["row"], row["true"], row["predicted"]) for row in found.tables["best_and_worst"]] == [
        (2, "a", "b"),
        (3, "a", "b"),
        (4, "b", "a"),
    ]
    assert {row["kind"] for row in found.tables["best_and_worst"]} == {"worst"}
    assert found.samples == [2, 3, 4]


def test_without_a_wrong_one_there_is_none():
    found = classification(["a", "b"], ["a", "b"])
    assert "best_and_worst" not in found.tables
    assert found.samples == []


def test_residuals_tell_how_wrong_a_number_is():
    y, p = RNG.normal(size=100), RNG.normal(size=100)
    found = regression(y, p)
    order = np.argsort(np.abs(y - p), kind="stable")
    assert [row["row"] for row in told(found, "worst")] == order[::-1][:10].tolist()
    assert [row["row"] for row in told(found, "best")] == order[:10].tolist()
    for line in found.tables["best_and_worst"]:
        row = line["row"]
        assert (line["true"], line["predicted"], line["residual"]) == (y[row], p[row], y[row] - p[row])
    assert "best_and_worst" not in regression(np.ones((3, 2)), np.ones((3, 2)) * 0.5).tables


def test_rows_are_counted_as_they_were_passed_in():
    y = pd.Series([None, "a", "b", "a", None, "b"], index=list("uvwxyz"))
    found = classification(y, ["a", "b", "a", "a", "a", "b"])
    assert found.samples == [1, 2]
    found = classification(y, scores=[0.5, 0.4, 0.1, np.nan, 0.3, 0.8])
    assert found.samples == [2, 1, 5]
    found = classification(y, ["a", "a", "b", "a", "a", "b"], scores=[0.5, 0.4, 0.1, np.nan, 0.3, 0.8])
    assert found.samples == [2, 1, 5]
    found = classification(y, scores=[0.5, 0.4, 0.1, 0.2, 0.3, 0.8], sample_weight=[1, 1, 0, 1, 1, 1])
    assert found.samples == [1, 3, 5]
    found = regression([np.nan, 1.5, 2, 3, 4], [1, 1, np.inf, 1, 1], sample_weight=[1, 1, 1, 1, 0])
    assert found.samples == [3, 1]


# Beside their inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((4, 8, 8), (8, 8)),
        ((4, 8, 12, 1), (8, 12)),
        ((4, 8, 12, 3), (8, 12, 3)),
        ((4, 3, 8, 12), (8, 12, 3)),
        ((4, 1, 8, 12), (8, 12)),
        ((4, 8, 12), None),  # a series
        ((4, 4, 4, 3), None),  # too small to see anything
        ((4, 8, 8, 7), None),
        ((4, 8), None),
    ],
)
def test_what_is_an_image_is_shown_as_one(shape: tuple[int, ...], shown: tuple[int, ...] | None) -> None:
    result = classification([0, 1, 0, 1], scores=[0.1, 0.9, 0.8, 0.3])
    inputs = np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    found = with_inputs(result, inputs[result.samples])
    chart = found.charts.get("best_and_worst_images")
    if shown is None:
        assert chart is None
        return
    assert chart is not None
    assert [tuple(tile["shape"]) for tile in chart.data["tiles"]] == [shown] * 4
    assert chart.data["tiles"][0]["title"].startswith("0 → 1")


@pytest.mark.parametrize(("high", "brightest"), [(1.0, 255), (16.0, 255), (255.0, 255), (200.0, 200)])
def test_images_are_as_bright_as_they_are(high: float, brightest: int) -> None:
    result = classification([0, 1], scores=[0.1, 0.9])
    inputs = np.linspace(0, high, 2 * 64).reshape(2, 8, 8)
    chart = with_inputs(result, inputs[result.samples]).charts["best_and_worst_images"]
    found = [max(base64.b64decode(tile["pixels"])) for tile in chart.data["tiles"]]
    assert max(found) == brightest


def test_a_large_image_is_thinned_out() -> None:
    result = classification([0, 1], scores=[0.1, 0.9])
    chart = with_inputs(result, np.zeros((2, 1000, 500))[result.samples].reshape(2, 1000, 500, 1)).charts
    assert chart["best_and_worst_images"].data["tiles"][0]["shape"] == [91, 46]


def test_texts_stand_in_the_table() -> None:
    result = classification([0, 1], scores=[0.1, 0.9])
    rows = with_inputs(result, ["good", "bad"]).tables["best_and_worst"]
    assert [row["value"] for row in rows] == ["good", "bad"]
