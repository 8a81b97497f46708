"""Every number is scikit-learn's number, and what is undefined is left out."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from autolog.capture.evaluation import classification, evaluate, regression

RNG = np.random.default_rng(0)


@st.composite
def problems(draw, fewest=2, most=5):
    """Labels, predictions, probabilities, weights; few distinct scores, so that ties are common."""
    k = draw(st.integers(fewest, most))
    n = draw(st.integers(2, 40))
    labels = draw(
        st.sampled_from([list(range(k)), [f"c{i}" for i in range(k)], [10 * i - 7 for i in range(k)]])
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    raw = rng.integers(1, 8, size=(n, k)).astype(float)
    pick = np.array(labels)
    weight = rng.integers(1, 5, n) / 2.0 if draw(st.booleans()) else None
    return pick[rng.integers(0, k, n)], pick[rng.integers(0, k, n)], raw, labels, weight


def close(found, expected):
    assert found == pytest.approx(expected, abs=1e-9)


@given(problems())
def test_label_metrics_are_those_of_scikit_learn(problem):
    y, p, _, _, w = problem
    present = np.unique(np.concatenate((y, p)))
    assume(len(present) > 1)
    found = classification(y, p, sample_weight=w)
    average = {"average": "macro"}
    if len(present) == 2:
        average = {"average": "binary", "pos_label": present[1]}
    arguments = {"sample_weight": w, "zero_division": 0, **average}
    close(found.metrics["accuracy"], oracle.accuracy_score(y, p, sample_weight=w))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # labels that are predicted but never true
        close(
            found.metrics["balanced_accuracy"],
            oracle.balanced_accuracy_score(y, p, sample_weight=w),
        )
    of = "" if len(present) == 2 else "_macro"
    close(found.metrics[f"precision{of}"], oracle.precision_score(y, p, **arguments))
    close(found.metrics[f"f1{of}"], oracle.f1_score(y, p, **arguments))
    if of:  # that of recall is the balanced accuracy, which stands above
        assert not {"recall", "recall_macro", "precision", "f1"} & set(found.metrics)
    else:
        close(found.metrics["recall"], oracle.recall_score(y, p, **arguments))


@given(problems())
def test_tables_are_those_of_scikit_learn(problem):
    y, p, _, labels, w = problem
    found = classification(y, p, classes=labels, sample_weight=w)
    matrix = oracle.confusion_matrix(y, p, labels=labels, sample_weight=w)
    rows = found.tables["confusion_matrix"]
    names = [str(label) for label in labels]
    assert [row["true"] for row in rows] == names
    assert np.allclose([[row[f"predicted {name}"] for name in names] for row in rows], matrix)
    assert np.allclose(found.charts["confusion_matrix"].data["counts"], matrix)
    expected = oracle.precision_recall_fscore_support(y, p, labels=labels, sample_weight=w, zero_division=0)
    per_class = found.tables["per_class"]
    for key, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        # Rounded to what a person reads of them, but for the support.
        assert np.allclose([row[key] for row in per_class], values, atol=0 if key == "support" else 5e-5)


@given(problems(most=2), st.booleans())
def test_binary_score_metrics_are_those_of_scikit_learn(problem, as_columns):
    y, _, raw, labels, w = problem
    assume(len(set(y.tolist())) == 2)
    probability = (raw / raw.sum(axis=1, keepdims=True))[:, 1]
    scores = np.column_stack((1 - probability, probability)) if as_columns else probability
    found = classification(y, scores=scores, classes=labels, sample_weight=w).metrics
    positive = y == labels[1]
    close(found["roc_auc"], oracle.roc_auc_score(positive, probability, sample_weight=w))
    close(
        found["average_precision"],
        oracle.average_precision_score(positive, probability, sample_weight=w),
    )
    close(found["log_loss"], oracle.log_loss(positive, probability, sample_weight=w))
    close(found["brier"], oracle.brier_score_loss(positive, probability, sample_weight=w))


@given(problems(fewest=3))
def test_multiclass_score_metrics_are_those_of_scikit_learn(problem):
    y, _, raw, labels, w = problem
    assume(len(set(y.tolist())) == len(labels))
    p = raw / raw.sum(axis=1, keepdims=True)
    found = classification(y, scores=p, classes=labels, sample_weight=w).metrics
    one_hot = y[:, None] == np.array(labels)
    close(
        found["roc_auc_ovr"],
        oracle.roc_auc_score(one_hot, p, average="macro", sample_weight=w),
    )
    close(
        found["average_precision_macro"],
        oracle.average_precision_score(one_hot, p, average="macro", sample_weight=w),
    )
    close(found["log_loss"], oracle.log_loss(y, p, labels=labels, sample_weight=w))
    # By its definition (Brier 1950): scikit-learn scores several classes since 1.7 only.
    close(found["brier"], np.average(((p - one_hot) ** 2).sum(axis=1), weights=w))


@given(problems(), st.booleans())
def test_predictions_come_from_the_scores(problem, decision):
    y, _, raw, labels, _ = problem
    scores = raw - 4 if decision else raw / raw.sum(axis=1, keepdims=True)
    found = classification(y, scores=scores, classes=labels)
    p = np.array(labels)[scores.argmax(axis=1)]
    close(found.metrics["accuracy"], oracle.accuracy_score(y, p))
    assert ("log_loss" in found.metrics) is not decision
    assert ("calibration" in found.charts) is not decision


def test_one_column_of_scores_is_cut_where_it_belongs():
    assert classification([0, 1, 1], scores=[0.2, 0.6, 0.4]).metrics["accuracy"] == 2 / 3
    assert classification([0, 1, 1], scores=[-0.2, 0.3, 3]).metrics["accuracy"] == 1


@pytest.mark.parametrize("n", [30, 5000])
def test_curves_are_those_of_scikit_learn_thinned(n):
    y = RNG.integers(0, 2, n)
    s = np.clip(0.3 * y + 0.7 * RNG.random(n), 0, 1)
    charts = classification(y, scores=s).charts
    fpr, tpr, _ = oracle.roc_curve(y, s, drop_intermediate=False)
    (line,) = charts["roc"].data["series"]
    assert len(line["x"]) <= 200
    assert set(zip(line["x"], line["y"], strict=True)) <= set(
        zip(fpr.round(6).tolist(), tpr.round(6).tolist(), strict=True)
    )
    assert (line["x"][0], line["y"][0], line["x"][-1], line["y"][-1]) == (0, 0, 1, 1)
    close(oracle.auc(line["x"], line["y"]), pytest.approx(oracle.auc(fpr, tpr), abs=0.01))
    precision, recall, _ = oracle.precision_recall_curve(y, s)
    (line,) = charts["precision_recall"].data["series"]
    assert len(line["x"]) <= 200
    assert set(zip(line["x"], line["y"], strict=True)) <= set(
        zip(recall.round(6).tolist(), precision.round(6).tolist(), strict=True)
    )
    true, said = calibration_curve(y, s, n_bins=10)
    (line,) = charts["calibration"].data["series"]
    assert np.allclose(line["y"], true, atol=1e-6)
    assert np.allclose(line["x"], said, atol=1e-6)


outputs = st.integers(1, 3)


@given(outputs, st.integers(2, 30), st.booleans(), st.integers(0, 2**16))
def test_regression_metrics_are_those_of_scikit_learn(k, n, weighted, seed):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 9, (n, k)) / 2.0, rng.integers(0, 9, (n, k)) / 2.0
    w = rng.integers(1, 5, n) / 2.0 if weighted else None
    if k == 1:
        y, p = y[:, 0], p[:, 0]
    assume((np.ptp(y, axis=0) > 0).all())
    found = regression(y, p, sample_weight=w).metrics
    close(found["r2"], oracle.r2_score(y, p, sample_weight=w))
    close(found["mae"], oracle.mean_absolute_error(y, p, sample_weight=w))
    close(found["mse"], oracle.mean_squared_error(y, p, sample_weight=w))
    close(found["rmse"], oracle.root_mean_squared_error(y, p, sample_weight=w))
    # By its definition, each row as often as it weighs: scikit-learn took the lower median once.
    times = np.full(n, 2) if w is None else (2 * w).astype(int)
    repeated = np.repeat(np.abs(y - p), times, axis=0)
    close(found["median_absolute_error"], np.median(repeated, axis=0).mean())
    close(found["max_error"], np.abs(y - p).max())


def test_regression_charts_are_thinned_evenly():
    y = np.arange(5000.0)
    found = regression(y, y + 1)
    assert len(found.charts["residuals"].data["x"]) == 1000
    assert found.charts["predicted_vs_true"].data["x"][0] == 0
    assert found.charts["predicted_vs_true"].data["x"][-1] == 4999
    assert any("1,000 of 5,000" in note for note in found.notes)


# --------------------------------------------------------------------------- which of the two


@pytest.mark.parametrize(
    ("y", "p", "task"),
    [
        ([0, 1, 1], [0, 1, 0], "classification"),
        ([0.0, 1.0], [0.0, 1.0], "classification"),
        (["a", "b"], ["a", "a"], "classification"),
        ([True, False], [True, True], "classification"),
        ([[0, 1], [1, 0]], [[0, 1], [0, 1]], "classification"),
        ([0.5, 1.0], [0.0, 1.0], "regression"),
        ([151.0, 75.0], [150.2, 80.9], "regression"),
        ([[0.5, 1.0], [2.0, 3.0]], [[0.0, 1.0], [2.0, 2.0]], "regression"),
        ([[0.5], [2.0]], [0.0, 1.0], "regression"),
        ([0.5, None], [1, 2], "regression"),
        ([True, False], [0.5, 0.2], "classification"),
        (["a", None], [0.5, 0.2], "classification"),
        (pd.Series([1, None], dtype="Int64"), [0.5, 2.5], "regression"),
        ([[0, 1], [1, 1]], [[0, 1], [0, 1]], "multilabel"),
        ([[0, 1], [1, 0]], [[0, 1], [0, 0]], "multilabel"),
        ([[0, 2], [1, 1]], [[0, 1], [0, 1]], "classification"),
        ([["a", "b"], ["a", "c"]], [["a", "b"], ["a", "b"]], "classification"),
    ],
)
def test_the_task_follows_from_the_values(y, p, task):
    assert evaluate(y, p).task == task


def test_the_task_may_be_told():
    assert "r2" in evaluate([1, 2, 3], [1, 2, 2], task="regression").metrics
    assert evaluate([0.5, 1.5], [0.5, 1.5], task="classification").metrics["accuracy"] == 1
    several = evaluate([[1, 0], [0, 1]], [[1, 0], [1, 1]], task="regression")
    assert [row["mae"] for row in several.tables["per_output"]] == [0.5, 0]


def test_a_matrix_of_one_column_is_a_single_output():
    assert evaluate([[1], [2], [3]], [[1], [2], [2]]).metrics == classification([1, 2, 3], [1, 2, 2]).metrics
    assert evaluate(pd.DataFrame({"y": [1.5, 2.0]}), [1.0, 2.0]).tables.keys() == {"best_and_worst"}


def test_scores_make_it_a_classification():
    assert evaluate([0.0, 1.0], None, scores=[0.1, 0.9]).task == "classification"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([], []), "y_true is empty"),
        (([1, 2], [1]), "lengths differ: y_true 2, y_pred 1"),
        (([1, 2], [1, 2], [1.0]), "lengths differ.*scores 1"),
        (([[1], [0, 1]], [[1], [0, 1]]), "multilabel"),
        (([[1j], [0]], [1, 0], None, "regression"), "must be numbers"),
        (([{1}, {2}], [{1}, {2}]), "single values"),
        (([1, 2], [1, 2], None, "clustering"), "task must be"),
        ((np.zeros((2, 0)), np.zeros((2, 0))), "y_true is empty"),
        ((np.zeros((2, 2, 2)), np.zeros((2, 2, 2))), r"\(2, 2, 2\)"),
        ((np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), None, "regression"), "one or two dimensions"),
        (([1.5, 2.5], None, None, "regression"), "y_pred is needed"),
        (([0, 1], [[0, 1, 2], [0, 1, 2]]), r"shape \(n,\), got \(2, 3\)"),
        ((3, 3), "one entry per sample"),
        (([None, None], [1, 2]), "no row has a label"),
        (([float("nan")], [0.5]), "nothing to evaluate"),
        (([0, 1], None), "y_pred or scores is needed"),
        (([0.5, 1.5], [[1.0, 2.0], [1.0, 2.0]]), "1 outputs"),
        (([0, 1], [0, 1], ["a", "b"]), "scores must be numbers"),
    ],
)
def test_what_cannot_be_evaluated_says_why(arguments, said):
    y, p, scores, task = (*arguments, None, None)[:4]
    with pytest.raises(ValueError, match=said):
        evaluate(y, p, scores=scores, task=task)


def test_one_output_is_asked_for_one_label_per_row():
    with pytest.raises(ValueError, match="multilabel"):
        classification([[1, 1], [0, 1]], [[1, 1], [0, 1]])


@pytest.mark.parametrize("weight", [[0, 0], [1, -1], [1, float("nan")], [1]])
@pytest.mark.parametrize("values", [[0, 1], [0.5, 1.5]])
def test_weights_must_make_sense(weight, values):
    with pytest.raises(ValueError, match=r"weight|lengths"):
        evaluate(values, values, sample_weight=weight)


# --------------------------------------------------------------------------- odd inputs


def noted(found, said):
    return any(said in note for note in found.notes)


def test_rows_without_a_label_are_left_out_and_counted():
    found = classification(["a", None, "b", "b"], ["a", "a", "b", float("nan")])
    assert found.rows == 2
    assert found.metrics["accuracy"] == 1
    assert noted(found, "2 rows without a label")


def test_rows_that_are_not_finite_are_left_out_and_counted():
    found = regression([0.0, 1.0, np.nan, 3.0], [0.0, np.inf, 2.0, 3.5])
    assert found.rows == 2
    assert found.metrics["mae"] == 0.25
    assert noted(found, "2 rows that are not finite")


def test_rows_without_a_score_have_no_prediction_by_it():
    found = classification([0, 1, 1, 0], scores=[0.1, 0.9, float("nan"), 0.7])
    assert found.rows == 3
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)


def test_scores_of_rows_that_weigh_nothing_tell_nothing():
    found = classification([0, 1], [0, 1], scores=[0.1, float("nan")], sample_weight=[0, 1])
    assert found.metrics["accuracy"] == 1
    assert "log_loss" not in found.metrics


def test_whole_numbers_that_floats_cannot_hold_are_told_apart():
    y = np.array([2**53, 2**53 + 1, 2**63 - 1])
    assert classification(y, y.astype(np.uint64)).metrics["accuracy"] == 1
    assert classification(y, [2.0**53, 2.0**53, 2.0**53]).metrics["accuracy"] == pytest.approx(1 / 3)


def test_a_target_that_is_constant_where_it_counts_has_no_r2():
    found = regression([1.5, 2.5, 2.5], [1.0, 2.0, 2.5], sample_weight=[0, 1, 1])
    assert found.metrics["mae"] == 0.25
    assert "r2" not in found.metrics
    assert noted(found, "undefined for a constant target")


def test_squares_that_no_float_holds_are_left_out():
    found = regression([1e200, -1e200, 3.5], [-1e200, 1e200, 3.0])
    assert found.metrics.keys() == {"mae", "max_error", "median_absolute_error"}
    assert noted(found, "too large: mse, rmse, r2")


@pytest.mark.parametrize("column", [pd.Series, pl.Series, list, np.array])
def test_columns_of_any_kind_are_the_same(column):
    assert classification(column(["a", "b", "b"]), column(["a", "b", "a"])).metrics["accuracy"] == 2 / 3
    assert regression(column([1.5, 2, 3]), column([1, 2, 3])).metrics["max_error"] == 0.5


@pytest.mark.parametrize(
    "column",
    [pd.Series([1.5, None, 2], dtype="Float64"), pl.Series([1.5, None, 2]), [1.5, None, 2], [1.5, pd.NA, 2]],
)
def test_numbers_may_be_missing(column):
    assert regression(column, [1, 1, 2]).rows == 2


def test_one_class_only_leaves_out_what_it_cannot_say():
    found = classification([0, 0, 0], scores=[0.1, 0.6, 0.2])
    assert noted(found, "only one class occurs in y_true: 0")
    assert not {"roc_auc", "average_precision"} & set(found.metrics)
    assert "roc" not in found.charts
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    alone = classification(["x", "x"], ["x", "x"])
    assert alone.metrics == {"accuracy": 1, "balanced_accuracy": 1}


def test_a_constant_target_has_no_r2():
    found = regression([1.5, 1.5], [1.0, 2.0])
    assert "r2" not in found.metrics
    assert noted(found, "r2 was left out")


def test_a_class_absent_from_y_true_leaves_out_the_macro_area():
    p = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]]
    found = classification([0, 1, 1], scores=p)
    assert not [key for key in found.metrics if key.startswith(("roc_auc", "average_precision"))]
    assert "log_loss" in found.metrics
    assert noted(found, "one side of 2")
    assert noted(found, "predicted but never true: 2")


def test_labels_outside_the_given_classes_are_counted_but_not_scored():
    found = classification(["a", "b", "z"], scores=[0.2, 0.9, 0.5], classes=["a", "b"])
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert "log_loss" not in found.metrics
    assert noted(found, "outside the given classes: z")


def test_scores_that_fit_no_classes_are_left_out():
    found = classification(["a", "b"], ["a", "b"], scores=[[1, 2, 3], [1, 2, 3]])
    assert not [key for key in found.metrics if key.startswith("roc_auc")]
    assert noted(found, "3 columns for 2 classes")
    with pytest.raises(ValueError, match="3 columns for 2 classes"):
        classification(["a", "b"], scores=[[1, 2, 3], [1, 2, 3]])


def test_a_class_that_does_not_occur_has_no_part_in_macro_averages():
    y, p = ["a", "b", "b"], ["a", "b", "a"]
    found = classification(y, p, classes=["a", "b", "c"])
    assert found.metrics["f1_macro"] == oracle.f1_score(y, p, average="macro")
    assert [row["support"] for row in found.tables["per_class"]] == [1, 2, 0]


def test_whole_floats_are_class_numbers():
    found = classification([0.0, 1.0, 1.0], np.array([0, 1, 1]))
    assert [row["class"] for row in found.tables["per_class"]] == ["0", "1"]


def test_classes_may_name_indices():
    found = classification([0, 2, 1], [0, 1, 1], classes=["cat", "dog", "bird"])
    assert found.charts["confusion_matrix"].data["labels"] == ["cat", "dog", "bird"]
    assert found.tables["confusion_matrix"][2]["predicted dog"] == 1


def test_labels_of_any_type_are_told_apart():
    found = classification([1, "1", True, None, ("a",)], [1, "1", 1, 3, ("a",)])
    assert found.rows == 4
    assert found.metrics["accuracy"] == 1
    assert [row["class"] for row in found.tables["per_class"]] == ["1", "'1'", "('a',)"]


def test_rows_without_a_score_have_no_part_in_curves():
    found = classification([0, 1, 1], [0, 1, 0], scores=[0.1, 0.9, float("nan")])
    assert found.metrics["roc_auc"] == 1
    assert found.metrics["accuracy"] == pytest.approx(2 / 3)
    assert noted(found, "1 rows without a score")


@pytest.mark.parametrize(("k", "in_table"), [(60, 60), (300, 30)])
def test_many_classes_keep_the_most_confused(k, in_table):
    y = np.repeat(np.arange(k), 3)
    p = y.copy()
    p[y == 7] = 9
    found = classification(y, p)
    labels = found.charts["confusion_matrix"].data["labels"]
    assert len(labels) == 30
    assert {"7", "9"} <= set(labels)
    counts = found.charts["confusion_matrix"].data["counts"]
    assert counts[labels.index("7")][labels.index("9")] == 3
    assert len(found.tables["confusion_matrix"]) == in_table
    assert noted(found, f"30 most confused of {k} classes")


@settings(max_examples=50)
@given(
    st.lists(st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(), min_size=1),
    st.randoms(use_true_random=False),
)
def test_any_labels_give_a_result_that_is_json(y, random):
    p = list(y)
    random.shuffle(p)
    try:
        found = classification(y, p)
    except ValueError as error:
        assert "no row has a label" in str(error)  # noqa: PT017 - either is right
        return
    json.dumps([found.metrics, found.tables, [chart.data for chart in found.charts.values()]])
    assert 0 <= found.metrics["accuracy"] <= 1
    assert sum(sum(row) for row in found.charts["confusion_matrix"].data["counts"]) <= found.rows
