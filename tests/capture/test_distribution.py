"""Histograms whose bins follow from the values, whatever these are."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.capture.evaluation import classification, regression
from autolog.capture.evaluation.distribution import histogram
from autolog.capture.figures import Chart, render

RNG = np.random.default_rng(0)


def drawn(values, **options):
    chart = histogram("", {"": np.asarray(values, dtype=float)}, "Value", **options)
    return np.array(chart.data["edges"]), chart.data["series"][0]["counts"], chart.data["x_label"]


@given(st.lists(st.floats() | st.integers(-50, 50).map(float), min_size=1, max_size=80))
def test_every_value_has_a_bin_whatever_it_is(values):
    values = np.array(values)
    chart = histogram("", {"": values}, "Value")
    finite = values[np.isfinite(values)]
    if chart is None:
        assert not len(finite) or np.abs(finite).max() > 1e299
        return
    json.dumps(chart.data, allow_nan=False)
    edges, counts = np.array(chart.data["edges"]), chart.data["series"][0]["counts"]
    assert (np.diff(edges) > 0).all()
    assert len(counts) == len(edges) - 1 <= 40
    assert sum(counts) == np.isfinite(values).sum() + np.isinf(values).sum()
    beyond = ((values < edges[0]) | (values > edges[-1])).any()
    assert ("beyond" in chart.data["x_label"]) is bool(beyond)


@given(st.integers(0, 2**16), st.integers(1, 3000))
def test_counts_are_those_of_numpy(seed, n):
    values = np.random.default_rng(seed).normal(size=n)
    edges, counts, _ = drawn(values)
    inside = np.clip(values, edges[0], edges[-1])
    assert counts == np.histogram(inside, edges)[0].tolist()
    assert len(counts) == (1 if n == 1 else min(40, int(np.ceil(2 * n ** (1 / 3) - 1e-9))))


def test_outliers_do_not_stretch_the_axis():
    values = np.concatenate((RNG.normal(size=1000), [1e9, -1e9, np.inf]))
    edges, counts, label = drawn(values)
    assert -4 < edges[0] < edges[-1] < 4
    assert counts[0] >= 1 + 5
    assert counts[-1] >= 2 + 5
    assert label == "Value (the outer bins hold what lies beyond)"


def test_without_outliers_the_axis_holds_every_value():
    values = RNG.random(1000)
    edges, _, label = drawn(values)
    assert (edges[0], edges[-1], label) == (values.min(), values.max(), "Value")


def test_what_is_mostly_one_value_keeps_the_others():
    edges, counts, _ = drawn([0.0] * 1000 + [0.5, 1.5])
    assert (edges[0], edges[-1], counts[0], counts[-1]) == (0, 1.5, 1000, 1)


def test_integers_have_a_bin_each_and_else_as_many_in_each_bin():
    edges, counts, _ = drawn([1, 3, 3, 4])
    assert edges.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert counts == [1, 0, 2, 1]
    edges, counts, _ = drawn(np.arange(90))
    assert set(np.diff(edges)) == {3}
    assert counts == [3] * 30


@pytest.mark.parametrize("value", [0, 0.5, -3.25, 2**53, 1e200, 1e-300])
def test_a_constant_is_one_bin(value):
    edges, counts, _ = drawn([value] * 7)
    assert counts == [7]
    assert edges[0] < value < edges[-1]


def test_nothing_finite_is_no_chart():
    assert histogram("", {"": np.array([np.nan, np.inf])}, "") is None


# --------------------------------------------------------------------------- of predictions


def test_confidence_is_split_into_right_and_wrong():
    p = RNG.dirichlet(np.ones(3), 500)
    y = RNG.integers(0, 3, 500)
    data = classification(y, scores=p).charts["distribution"].data
    assert data["shares"] is True
    assert data["y_label"] == "Share of the rows of each"
    assert data["edges"] == pytest.approx(np.linspace(0, 1, 41))
    right = p.argmax(axis=1) == y
    said = p.max(axis=1)
    assert [series["name"] for series in data["series"]] == [
        f"right ({right.sum()})",
        f"wrong ({(~right).sum()})",
    ]
    for series, part in zip(data["series"], (said[right], said[~right]), strict=True):
        assert series["counts"] == np.histogram(part, 40, (0, 1))[0].tolist()


def test_the_likelier_of_two_classes_has_half_the_axis():
    data = classification([0, 1, 1], scores=[0.2, 0.6, 0.4]).charts["distribution"].data
    assert (data["edges"][0], data["edges"][-1], len(data["edges"])) == (0.5, 1, 21)
    unlikely = classification([0, 1, 1], [1, 1, 1], scores=[0.2, 0.6, 0.4]).charts["distribution"].data
    assert unlikely["edges"][0] == 0


def test_all_right_is_one_series():
    data = classification([0, 1], scores=[0.2, 0.6]).charts["distribution"].data
    assert [series["name"] for series in data["series"]] == ["right (2)"]


def test_decision_values_are_split_by_the_true_class():
    y, scores = np.array(["no", "yes"])[[0, 1, 1, 0, 1]], [-3.0, 2, 1, -1, np.inf]
    for given_scores in (scores, np.column_stack((np.negative(scores), scores))):
        data = classification(y, scores=given_scores).charts["distribution"].data
        assert [series["name"] for series in data["series"]] == ["no (2)", "yes (3)"]
        assert [sum(series["counts"]) for series in data["series"]] == [2, 3]
        assert data["series"][1]["counts"][-1] == 2
        assert data["x_label"] == "Score for class yes (the outer bins hold what lies beyond)"
    several = classification([0, 1, 2], scores=[[3, 1, 2], [1, 3, 2], [1, 2, 5]])
    assert "distribution" not in several.charts


def test_truth_and_predictions_share_their_bins():
    y, p = RNG.normal(size=300), RNG.normal(5, 1, 300)
    data = regression(y, p).charts["distribution"].data
    true, predicted = data["series"]
    assert (true["name"], predicted["name"]) == ("true", "predicted")
    for series, values in ((true, y), (predicted, p)):
        assert series["counts"] == np.histogram(values, data["edges"])[0].tolist()
    assert data["y_label"] == "Rows"
    assert "shares" not in data


def test_weights_are_what_is_counted():
    data = regression([1, 2.5], [1, 1], sample_weight=[3, 0.5]).charts["distribution"].data
    assert [sum(series["counts"]) for series in data["series"]] == [3.5, 3.5]
    assert data["y_label"] == "Weight"
    data = (
        classification([0, 1, 1], scores=[0.2, 0.6, 0.4], sample_weight=[1, 2, 3]).charts["distribution"].data
    )
    assert [sum(series["counts"]) for series in data["series"]] == [3, 3]


# --------------------------------------------------------------------------- the picture


def outlines(**data):
    chart = Chart("histogram", "", {"x_label": "Score", "y_label": "Rows", **data})
    return {path for path in re.findall(r'<path d="([^"]*)"', render(chart)) if path.count("L") == 5}


def test_shares_make_few_rows_as_high_as_many():
    series = [{"name": "many", "counts": [1000, 3000]}, {"name": "few", "counts": [1, 3]}]
    assert len(outlines(edges=[0, 1, 2], series=series)) == 2
    assert len(outlines(edges=[0, 1, 2], series=series, shares=True)) == 1


def test_the_legend_names_each_series_and_needs_names():
    data = {"edges": [0, 1], "x_label": "Score", "y_label": "Rows"}
    svg = render(Chart("histogram", "", {**data, "series": [{"name": "right (7)", "counts": [7]}]}))
    assert all(f">{text}<" in svg for text in ("right (7)", "Score", "Rows"))
    assert "legend" not in render(Chart("histogram", "", {**data, "series": [{"name": "", "counts": [7]}]}))


def test_a_series_of_nothing_is_drawn_flat():
    data = {"edges": [0, 1], "x_label": "", "y_label": "", "shares": True}
    assert render(Chart("histogram", "", {**data, "series": [{"name": "", "counts": [0]}]})).startswith(
        "<svg"
    )
