"""Folds of a loop that the user writes: none of them stands for the run that they are in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import KFold, cross_validate
from sklearn.tree import DecisionTreeClassifier

import autolog
from autolog import MemorySink
from tests.sklearn.data import only

X, y = make_classification(300, 6, flip_y=0.3, random_state=0)


def parts(count: int = 4) -> Iterator[tuple[Any, Any]]:
    yield from KFold(count, shuffle=True, random_state=3).split(X)


def folds(count: int = 4, **params: Any) -> list[float]:
    """The score of each."""
    return [LogisticRegression(**params).fit(X[i], y[i]).score(X[j], y[j]) for i, j in parts(count)]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_runs_numbers_are_the_means(recording: MemorySink, count: int) -> None:
    with autolog.run("folds"):
        scores = folds(count)
    run, *_ = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert run.metrics["val/accuracy_std"] == pytest.approx(np.std(scores))
    assert run.metrics["train/accuracy_std"] > 0
    assert "means" in run.config["autolog/notes"]["folds"]


def test_each_fold_is_a_row_and_a_run(recording: MemorySink) -> None:
    with autolog.run("folds"):
        scores = folds()
    run, *children = recording.runs
    assert len(children) == 4
    assert {child.parent for child in children} == {run.id}
    assert {child.status for child in children} == {"finished"}
    assert sorted(child.metrics["val/accuracy"] for child in children) == sorted(scores)
    rows = run.tables["cv/folds"]
    assert [row["val/accuracy"] for row in rows] == pytest.approx(scores)
    assert {row["run"] for row in rows} == {child.name for child in children}
    (first,) = (child for child in children if child.name == "folds-fold-1")
    assert first.config["params"]["C"] == 1.0


def test_what_was_held_out_is_evaluated_together(recording: MemorySink) -> None:
    with autolog.run("folds"):
        out = np.zeros(len(y))
        for i, j in parts():
            model = LogisticRegression().fit(X[i], y[i])
            out[j] = model.predict(X[j])
            model.score(X[j], y[j])
    run, *_ = recording.runs
    assert run.metrics["cv/accuracy"] == pytest.approx(accuracy_score(y, out))
    assert "cv/confusion_matrix" in run.charts
    assert sum(row["support"] for row in run.tables["cv/per_class"]) == len(y)


def test_the_users_own_number_is_a_mean_too(recording: MemorySink) -> None:
    with autolog.run("folds"):
        scores = []
        for i, j in parts():
            model = LogisticRegression().fit(X[i], y[i])
            scores.append(f1_score(y[j], model.predict(X[j]), average="weighted"))
    assert recording.runs[0].metrics["val/f1_weighted"] == pytest.approx(np.mean(scores))


def test_folds_of_a_trial(recording: MemorySink) -> None:
    def objective(trial: Any) -> float:
        return float(np.mean(folds(C=trial.suggest_float("C", 0.01, 1))))

    autolog.enable("optuna", sink=recording)
    study = optuna.create_study(direction="maximize")
    study.optimize(objective, n_trials=2)
    trials = [run for run in recording.runs if "trial" in run.config]
    assert len(trials) == 2
    for run in trials:
        assert run.metrics["val/accuracy"] == pytest.approx(run.metrics["objective/value"])
        assert not [key for key in run.charts if key.startswith("cv/")], "pictures of hundreds of trials"


def test_amounts(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    with autolog.run("folds"):
        scores = [Ridge().fit(data[i], target[i]).score(data[j], target[j]) for i, j in KFold(3).split(data)]
    run, *_ = recording.runs
    assert run.metrics["val/r2"] == pytest.approx(np.mean(scores))
    assert "cv/residuals" in run.charts


def test_what_is_no_fold_has_no_part(recording: MemorySink) -> None:
    half = slice(0, 150)
    with autolog.run("mixed"):
        own = LogisticRegression().fit(X[half], y[half]).score(X[150:], y[150:])
        LogisticRegression(C=9.0).fit(X[100:], y[100:])  # set otherwise
        LogisticRegression().fit(X[half], y[half])  # on the same data
        LogisticRegression().fit(-X[half] * 3, y[half])  # on other data
        DecisionTreeClassifier().fit(X[100:], y[100:])  # another kind
        LogisticRegression().fit(X[half, :3], y[half])  # other columns
    run, *children = recording.runs
    assert run.metrics["val/accuracy"] == own
    assert not [key for key in run.metrics if key.endswith("_std")]
    assert len(children) == 5
    assert "cv/folds" not in run.tables


def test_a_loop_outside_of_a_run_is_runs_of_their_own(recording: MemorySink) -> None:
    scores = folds()
    assert [run.metrics["val/accuracy"] for run in recording.runs] == scores


def test_models_of_a_cross_validation_on_one_set(recording: MemorySink) -> None:
    found = cross_validate(LogisticRegression(), X[:200], y[:200], cv=3, return_estimator=True)
    scores = [model.score(X[200:], y[200:]) for model in found["estimator"]]
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert run.metrics["val/accuracy_std"] == pytest.approx(np.std(scores))


def test_scores_that_are_missing_are_said_to_be(recording: MemorySink) -> None:
    def flaky(model: Any, X: Any, y: Any) -> float:
        if X[0, 0] > 0:
            raise ValueError("nope")
        return 1.0

    with pytest.warns(UserWarning, match="Scoring failed"):
        found = cross_validate(LogisticRegression(), X, y, cv=5, scoring=flaky)["test_score"]
    gone = int(np.isnan(found).sum())
    assert 0 < gone < 5
    assert f"{gone} of 5 folds have no score" in only(recording).config["autolog/notes"]["cv/test_score"]


def test_a_fold_that_fails_does_not_end_the_group(recording: MemorySink) -> None:
    with autolog.run("folds"):
        scores = []
        for number, (i, j) in enumerate(parts()):
            if number == 1:
                with pytest.raises(ValueError, match="one class"):
                    LogisticRegression().fit(X[i], y[i] * 0)
                continue
            scores.append(LogisticRegression().fit(X[i], y[i]).score(X[j], y[j]))
    assert recording.runs[0].metrics["val/accuracy"] == pytest.approx(np.mean(scores))
