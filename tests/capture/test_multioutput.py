"""Several targets per row: each is evaluated like a single one, and they are averaged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from autolog.capture.evaluation import classification, evaluate, multioutput, regression

RNG = np.random.default_rng(0)


@given(st.integers(2, 4), st.integers(2, 30), st.booleans(), st.integers(0, 2**16))
def test_classes_of_each_output_are_measured_as_by_scikit_learn(k, n, weighted, seed):
    rng = np.random.default_rng(seed)
    y, p = (np.array(["a", "b", "c"])[rng.integers(0, 3, (n, k))] for _ in range(2))
    w = rng.integers(1, 5, n) / 2.0 if weighted else None
    found = evaluate(y, p, sample_weight=w)
    assert found.charts == {}
    assert found.rows == n
    close = pytest.approx(
        (y == p).all(axis=1) @ (np.ones(n) if w is None else w) / (n if w is None else w.sum())
    )
    assert found.metrics["accuracy"] == close
    for j, row in enumerate(found.tables["per_output"]):
        assert row["output"] == str(j)
        assert row["accuracy"] == pytest.approx(oracle.accuracy_score(y[:, j], p[:, j], sample_weight=w))
        macro = oracle.f1_score(y[:, j], p[:, j], average="macro", sample_weight=w, zero_division=0)
        assert row["f1_macro"] == pytest.approx(macro)
        recall = classification(y[:, j], p[:, j], sample_weight=w).metrics["balanced_accuracy"]
        assert row["balanced_accuracy"] == recall
    mean = np.mean([row["accuracy"] for row in found.tables["per_output"]])
    assert found.metrics["accuracy_mean"] == pytest.approx(mean)


@pytest.mark.parametrize(
    "kind",
    [
        pd.DataFrame,
        pl.DataFrame,
        lambda columns: list(zip(*columns.values(), strict=True)),
        lambda columns: np.array(list(columns.values()), dtype=object).T,
    ],
)
def test_outputs_may_be_of_different_types(kind):
    y = kind({"colour": ["red", "red", "blue"], "size": [1, 2, 3]})
    p = kind({"colour": ["red", "blue", "blue"], "size": [1, 2, 2]})
    for found in (evaluate(y, p), multioutput(y, p)):
        assert found.task == "classification"
        assert found.metrics == {"accuracy": pytest.approx(1 / 3), "accuracy_mean": pytest.approx(2 / 3)}
        names = ["colour", "size"] if hasattr(y, "columns") else ["0", "1"]
        assert [row["output"] for row in found.tables["per_output"]] == names


def test_a_number_is_no_text():
    found = multioutput([["a", 1], ["b", "1"]], [["a", "1"], ["b", "1"]])
    assert [row["accuracy"] for row in found.tables["per_output"]] == [1, 0.5]


@given(st.integers(2, 4), st.booleans(), st.integers(0, 2**16))
def test_numbers_of_each_output_are_those_of_a_regression(k, weighted, seed):
    rng = np.random.default_rng(seed)
    y, p = rng.normal(size=(20, k)), rng.normal(size=(20, k))
    w = rng.integers(1, 5, 20) / 2.0 if weighted else None
    names = [f"target {j}" for j in range(k)]
    found = multioutput(y, p, names=names, sample_weight=w)
    assert found.metrics == regression(y, p, sample_weight=w).metrics
    assert found.metrics["r2"] == pytest.approx(oracle.r2_score(y, p, sample_weight=w))
    for j, row in enumerate(found.tables["per_output"]):
        alone = regression(y[:, j], p[:, j], sample_weight=w).metrics
        assert row == {"output": names[j], **{key: pytest.approx(value) for key, value in alone.items()}}


def test_an_output_that_is_constant_has_no_r2_and_leaves_the_others_theirs():
    y = np.column_stack((RNG.normal(size=9), np.ones(9)))
    found = multioutput(y, y + 0.5)
    assert "r2" not in found.metrics
    first, second = (row["r2"] for row in found.tables["per_output"])
    assert first == pytest.approx(oracle.r2_score(y[:, 0], y[:, 0] + 0.5))
    assert second is None


def test_the_frame_names_the_outputs_of_a_regression():
    frame = pd.DataFrame({"x": [0.5, 1.5], "y": [1.0, 2.0]})
    for found in (evaluate(frame, frame), multioutput(frame, frame), regression(frame, frame)):
        assert [row["output"] for row in found.tables["per_output"]] == ["x", "y"]
        assert "charts show all 2 outputs together" in found.notes


def test_whole_numbers_are_what_they_are_said_to_be():
    y, p = [[1, 5], [2, 6], [3, 7]], [[1, 5], [2, 7], [3, 7]]
    assert multioutput(y, p).task == "classification"
    assert multioutput(y, p, task="regression").metrics["mae"] == pytest.approx(1 / 6)


def test_one_output_is_evaluated_as_such():
    assert multioutput([["a"], ["b"]], [["a"], ["a"]]) == classification(["a", "b"], ["a", "a"])
    assert multioutput([[0.5], [1.5]], [[1], [1]]) == regression([0.5, 1.5], [1, 1])


def test_rows_that_lack_a_label_are_left_out_and_counted():
    found = multioutput([["a", None], ["b", "c"], ["b", "d"]], [["a", "c"], ["b", "c"], ["b", "c"]])
    assert found.rows == 2
    assert found.metrics == {"accuracy": 0.5, "accuracy_mean": 0.75}
    assert "1 rows that lack a label were left out" in found.notes


def test_scores_of_several_outputs_are_left_out_and_said():
    y = [["a", "c"], ["b", "d"]]
    found = evaluate(y, y, scores=[np.eye(2), np.eye(2)])
    assert any("scores were left out" in note for note in found.notes)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (([[1, 2], [3, 4]], None), {}, "y_pred is needed"),
        (([[1, 2], [3, 4]], [[1, 2]]), {}, "lengths differ"),
        (([[1, 2], [3, 4]], [[1, 2, 3], [4, 5, 6]]), {}, r"\(2, 2\) and y_pred \(2, 3\)"),
        (([[1, 2], [3, 4]], [[1, 2], [3, 4]]), {"names": ["a"]}, "1 names for 2 outputs"),
        (([[0.5, 2], [3, 4]], [[1, 2], [3, 4]]), {"names": "abc"}, "3 names for 2 outputs"),
        (([["a", None], [None, "b"]], [["a", "b"]] * 2), {}, "no row has all of its labels"),
        (([[1, 2], [3, 4]], [[1, 2], [3, 4]]), {"sample_weight": [0, 0]}, "weights are zero"),
        (([["a", "b"]], [["a", "b"]]), {"task": "regression"}, "must be numbers"),
    ],
)
def test_what_cannot_be_evaluated_says_why(arguments, options, said):
    with pytest.raises(ValueError, match=said):
        multioutput(*arguments, **options)
