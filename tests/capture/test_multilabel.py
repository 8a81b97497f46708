"""Several labels per row: every number is scikit-learn's number."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import metrics as oracle
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from autolog.capture.evaluation import evaluate, multilabel
from autolog.capture.figures import render

RNG = np.random.default_rng(0)
Y = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
P = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 0], [0, 0, 0]])


@st.composite
def problems(draw):
    """Labels, predictions, scores with ties, weights; labels that no row has, or all, are common."""
    n, k = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    often = rng.choice([0, 0.2, 0.5, 1], k)
    y, p = rng.random((n, k)) < often, rng.random((n, k)) < often
    weight = rng.integers(1, 5, n) / 2.0 if draw(st.booleans()) else None
    return y.astype(int), p.astype(int), rng.integers(0, 8, (n, k)) / 7, weight


def close(found, expected):
    assert found == pytest.approx(expected, abs=1e-9)


@given(problems())
def test_label_metrics_are_those_of_scikit_learn(problem):
    y, p, _, w = problem
    found = multilabel(y, p, sample_weight=w).metrics
    close(found["accuracy"], oracle.accuracy_score(y, p, sample_weight=w))
    close(found["hamming_loss"], oracle.hamming_loss(y, p, sample_weight=w))
    for average in ("macro", "micro", "weighted", "samples"):
        expected = oracle.precision_recall_fscore_support(
            y, p, average=average, sample_weight=w, zero_division=0
        )
        close(found[f"f1_{average}"], expected[2])
        if average == "macro":
            close((found["precision_macro"], found["recall_macro"]), expected[:2])


@given(problems())
def test_score_metrics_are_those_of_scikit_learn_where_they_are_defined(problem):
    y, p, s, w = problem
    found = multilabel(y, p, scores=s, sample_weight=w)
    both = [j for j in range(y.shape[1]) if 0 < y[:, j].sum() < len(y)]
    some = [j for j in range(y.shape[1]) if y[:, j].any()]
    for key, function, labels in (
        ("roc_auc_macro", oracle.roc_auc_score, both),
        ("average_precision_macro", oracle.average_precision_score, some),
    ):
        assert (key in found.metrics) is bool(labels)
        if labels:
            close(found.metrics[key], np.mean([function(y[:, j], s[:, j], sample_weight=w) for j in labels]))
    areas = [row["roc_auc"] for row in found.tables["per_class"]]
    assert [j for j, area in enumerate(areas) if area is not None] == both
    assert bool(any("all rows have or none" in note for note in found.notes)) is (len(both) < y.shape[1])


def test_with_every_label_defined_averages_are_scikit_learns_own():
    y, s = RNG.integers(0, 2, (50, 4)), RNG.random((50, 4))
    found = multilabel(y, scores=s).metrics
    close(found["roc_auc_macro"], oracle.roc_auc_score(y, s))
    close(found["average_precision_macro"], oracle.average_precision_score(y, s))
    close(found["f1_macro"], oracle.f1_score(y, s > 0.5, average="macro"))


@given(problems())
def test_tables_are_those_of_scikit_learn(problem):
    y, p, _, w = problem
    tables = multilabel(y, p, sample_weight=w).tables
    matrices = oracle.multilabel_confusion_matrix(y, p, sample_weight=w)
    keys = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    found = [[row[key] for key in keys] for row in tables["confusion_by_label"]]
    assert np.allclose(found, matrices.reshape(-1, 4))
    expected = oracle.precision_recall_fscore_support(y, p, sample_weight=w, zero_division=0)
    for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert np.allclose([row[key] for row in tables["per_class"]], values, atol=5e-5)


def test_many_labels_are_thinned_to_the_most_frequent():
    y = RNG.random((400, 300)) < np.linspace(0.01, 0.9, 300)
    found = multilabel(y, scores=RNG.random((400, 300)))
    often = np.argsort(-y.sum(axis=0), kind="stable")
    assert found.charts["f1_by_label"].data["names"] == [str(j) for j in often[:30]]
    assert found.charts["f1_by_label"].title == "F1 by label (30 most frequent)"
    curves = found.charts["roc"].data["series"]
    assert {line["name"].split()[0] for line in curves} == {str(j) for j in often[:10]}
    assert len(found.charts["precision_recall"].data["series"]) == 10
    for table in ("per_class", "confusion_by_label"):
        kept = [int(next(iter(row.values()))) for row in found.tables[table]]
        assert kept == sorted(often[:200])
    assert {"tables keep the 200 most frequent of 300 labels"} <= {*found.notes}
    for chart in found.charts.values():
        assert render(chart).startswith("<svg")


@pytest.mark.parametrize(
    "kind",
    [
        np.array,
        lambda m: m.astype(bool),
        lambda m: m.astype(float),
        lambda m: m.astype(object),
        lambda m: m.tolist(),
        sparse.csr_matrix,
        lambda m: sparse.coo_array(m.astype(bool)),
        lambda m: pd.DataFrame(m).astype("boolean"),
        lambda m: pl.DataFrame(m.astype(bool)),
    ],
)
def test_a_matrix_may_be_of_any_kind(kind):
    for function in (multilabel, evaluate):
        found = function(kind(Y), kind(P))
        assert found.task == "multilabel"
        assert found.metrics == multilabel(Y, P).metrics


def test_labels_have_names():
    frame = pd.DataFrame(Y, columns=["red", "green", "blue"])

    def named(found):
        return [row["class"] for row in found.tables["per_class"]]

    assert named(multilabel(frame, P)) == named(evaluate(frame, P)) == ["red", "green", "blue"]
    assert named(evaluate(pl.DataFrame(frame.to_dict("list")), P)) == ["red", "green", "blue"]
    assert named(multilabel(Y, P, labels=["a", "b", "c"])) == named(evaluate(Y, P, classes=["a", "b", "c"]))
    assert named(multilabel(Y, P)) == ["0", "1", "2"]
    # As in the `classes_` of estimators: numbers, or the classes of each label.
    assert named(evaluate(frame, P, classes=np.arange(3))) == ["red", "green", "blue"]
    assert named(evaluate(frame, P, classes=[np.array([0, 1])] * 3)) == ["red", "green", "blue"]
    assert named(evaluate(Y, P, classes=[np.array([0, 1]), np.array([0]), np.array([0, 1])])) == [
        "0",
        "1",
        "2",
    ]


@pytest.mark.parametrize("model", [RandomForestClassifier(10, random_state=0), KNeighborsClassifier()])
def test_the_scores_of_multi_output_estimators_are_understood(model):
    X = RNG.random((60, 4))
    y = (X[:, :3] > 0.5).astype(int)
    y[:, 2] = 1  # a label that never varies: its scores have a single column
    model.fit(X, y)
    scores = model.predict_proba(X)
    assert [s.shape for s in scores] == [(60, 2), (60, 2), (60, 1)]
    found = evaluate(y, model.predict(X), scores=scores)
    assert found.metrics["roc_auc_macro"] == oracle.roc_auc_score(
        y[:, :2], np.column_stack([s[:, 1] for s in scores[:2]])
    )
    if isinstance(model, RandomForestClassifier):
        y[:, 2] = X[:, 2] > 0.5
        model.fit(X, y)
        scores = model.predict_proba(X)
        assert multilabel(y, scores=scores).metrics["accuracy"] == oracle.accuracy_score(y, model.predict(X))
        assert multilabel(y, scores=np.array(scores)).metrics == multilabel(y, scores=scores).metrics


def test_decision_values_are_cut_at_zero():
    scores = np.where(P == 1, 0.3, -2.0)
    assert multilabel(Y, scores=scores).metrics["f1_macro"] == multilabel(Y, P).metrics["f1_macro"]


def test_one_hot_rows_are_classes_unless_they_are_predicted_otherwise():
    one_hot = np.eye(3, dtype=int)[[0, 1, 2, 1]]
    assert evaluate(one_hot, one_hot).task == "classification"
    assert evaluate(one_hot, [0, 1, 2, 2]).task == "classification"
    assert evaluate(one_hot, None, scores=one_hot * 0.5 + 0.1).task == "classification"
    assert evaluate(one_hot, P).task == "multilabel"
    by_label = [np.column_stack((1 - column, column)) for column in one_hot.T]
    assert evaluate(one_hot, None, scores=by_label).task == "multilabel"


def test_rows_that_lack_something_are_left_out_and_counted():
    y = Y.astype(float)
    y[0, 1] = np.nan
    found = multilabel(y, P)
    assert (found.rows, found.metrics) == (3, multilabel(Y[1:], P[1:]).metrics)
    assert "1 rows that lack a label were left out" in found.notes
    nullable = pd.DataFrame(Y).astype("boolean").mask(np.isnan(y)).astype(object)
    assert nullable.isna().to_numpy().sum() == 1
    assert multilabel(nullable, P).metrics == evaluate(nullable, P).metrics == found.metrics
    one_hot = np.array([[1, 0], [0, 1], [pd.NA, 1]], dtype=object)
    assert evaluate(one_hot, [[1, 0], [0, 1], [0, 1]]).rows == 2
    s = P * 0.8 + 0.1
    s[1] = np.nan
    found = multilabel(Y, P, scores=s)
    assert found.rows == 4
    assert "1 rows without a score have no part in what scores tell" in found.notes
    assert multilabel(Y, scores=s).rows == 3


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((Y, P[:2]), {}, "lengths differ: y_true 4, y_pred 2"),
        ((Y, P[:, :2]), {}, "y_true has 3 labels and y_pred has 2"),
        ((Y, P * 0.3), {}, "0 and 1 alone; pass probabilities as scores"),
        ((Y * 2, P), {}, "y_true must be a matrix of 0 and 1"),
        ((Y.astype(str), P), {}, "y_true must be a matrix of 0 and 1"),
        ((Y,), {}, "y_pred or scores is needed"),
        ((Y, P), {"scores": P[:, :2]}, "y_true has 3 labels and scores has 2"),
        ((Y, P), {"scores": [P[:, :2]] * 2}, "y_true has 3 labels and scores has 2"),
        ((Y, P), {"scores": [P] * 3}, "two classes for each label"),
        ((Y, P), {"scores": [P[:, :2], P[:, :2], P[:3, :2]]}, "lengths differ"),
        ((Y, P), {"labels": ["a"]}, "1 names for 3 labels"),
        ((Y, P), {"sample_weight": [0] * 4}, "all sample weights are zero"),
        ((Y * np.nan, P), {}, "no row has all of its labels"),
        ((np.zeros((0, 3)), P), {}, "y_true is empty"),
        ((sparse.csr_matrix((10**6, 10**6)), P), {}, "too large to be made dense"),
    ],
)
def test_what_cannot_be_evaluated_says_why(arguments, options, said):
    with pytest.raises(ValueError, match=said):
        multilabel(*arguments, **options)


@settings(max_examples=50)
@given(problems(), st.booleans())
def test_any_result_is_json(problem, with_infinities):
    y, p, s, w = problem
    if with_infinities:
        s[s > 0.8], s[s < 0.2] = np.inf, -np.inf
    found = multilabel(y, p, scores=s, sample_weight=w)
    kept = [found.metrics, found.tables, [chart.data for chart in found.charts.values()]]
    json.dumps(kept, allow_nan=False)
