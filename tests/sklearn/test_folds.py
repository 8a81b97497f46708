"""Folds of a loop that the user writes: none of them stands for the run that they are in."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    f1_score,
    mean_squared_error,
    roc_auc_score,
)
from sklearn.model_selection import KFold, TimeSeriesSplit, cross_validate
from sklearn.tree import DecisionTreeClassifier

import autolog
from autolog import MemorySink
from autolog.core.run import recording_of
from autolog.sklearn import folds as groups
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
    (first,) = (child for child in children if child.name == "fold 1 folds")
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
        scores = [Ridge().fit(data[i], target[i]).score(data[j], target[j]) for i, j in KFold(5).split(data)]
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


def fitted(learn: Any, held_out: Any) -> float:
    """The score of one model."""
    return float(LogisticRegression().fit(X[learn], y[learn]).score(X[held_out], y[held_out]))


def test_a_refit_with_the_validation_data_is_no_fold(recording: MemorySink) -> None:
    with autolog.run("refit"):
        scores = [fitted(slice(0, 180), slice(180, 240)), fitted(slice(0, 240), slice(240, 300))]
        LogisticRegression().fit(X, y)
    run, *children = recording.runs
    assert run.metrics["val/accuracy"] == scores[0]
    assert [child.metrics.get("val/accuracy") for child in children] == [scores[1], None]
    assert not [key for key in run.metrics if key.endswith("_std") or key.startswith("cv/")]


def test_a_refit_after_the_folds_is_none_of_them(recording: MemorySink) -> None:
    with autolog.run("refit"):
        scores = [LogisticRegression().fit(X[i], y[i]).score(X[j], y[j]) for i, j in KFold(3).split(X[:240])]
        fitted(slice(0, 240), slice(240, 300))
    run, *_ = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert len(run.tables["cv/folds"]) == 3


@pytest.mark.parametrize("sizes", [(60, 120, 180, 240), (240, 180, 60)], ids=["growing", "shrinking"])
def test_points_of_a_learning_curve_are_no_folds(recording: MemorySink, sizes: tuple[int, ...]) -> None:
    with autolog.run("curve"):
        scores = [fitted(slice(0, size), slice(240, 300)) for size in sizes]
    run, *children = recording.runs
    assert run.metrics["val/accuracy"] == scores[0]
    assert [child.metrics["val/accuracy"] for child in children] == scores[1:]
    assert "cv/folds" not in run.tables


@pytest.mark.parametrize("most", [None, 60])
def test_folds_that_go_forward_in_time(recording: MemorySink, most: int | None) -> None:
    with autolog.run("time"):
        scores = [fitted(i, j) for i, j in TimeSeriesSplit(4, max_train_size=most).split(X)]
        LogisticRegression().fit(X, y)  # for use
    run, *_ = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert [row["val/accuracy"] for row in run.tables["cv/folds"]] == pytest.approx(scores)
    assert run.metrics["cv/accuracy"] == pytest.approx(np.mean(scores))


def test_folds_of_a_few_distinct_rows_are_folds(recording: MemorySink) -> None:
    few = np.random.default_rng(0).integers(0, 2, (303, 6))
    target = few[:, 0] ^ (np.random.default_rng(1).random(303) < 0.2)
    with autolog.run("few"):
        for i, _ in KFold(10, shuffle=True, random_state=0).split(few):  # of 272 rows or 273
            LogisticRegression().fit(few[i], target[i])
    assert len(recording.runs[0].tables["cv/folds"]) == 10


def test_scores_of_other_classes_are_not_put_together(recording: MemorySink) -> None:
    three = np.arange(300) % 3
    with autolog.run("classes"):
        predicted, truth = [], []
        for pair in ((0, 1), (0, 2), (1, 2)):
            rows = np.flatnonzero(np.isin(three, pair))
            learn, held_out = rows[:100], rows[100:]
            model = LogisticRegression().fit(X[learn], three[learn])
            model.score(X[held_out], three[held_out])
            predicted.append(model.predict(X[held_out]))
            truth.append(three[held_out])
    run, *_ = recording.runs
    assert run.metrics["cv/accuracy"] == accuracy_score(np.concatenate(truth), np.concatenate(predicted))
    assert not [key for key in run.metrics if key.startswith(("cv/roc", "cv/log_loss", "cv/brier"))]
    assert "different classes" in run.config["autolog/notes"]["cv/roc"]


def test_what_is_evaluated_together_is_what_was_predicted_then(recording: MemorySink) -> None:
    truth, scores = np.empty(100, dtype=int), []
    with autolog.run("buffer"):
        for i, j in KFold(3).split(X):
            truth[:] = y[j]
            scores.append(LogisticRegression().fit(X[i], y[i]).score(X[j], truth))
    assert recording.runs[0].metrics["cv/accuracy"] == pytest.approx(np.mean(scores))


def test_one_set_for_all_models_is_evaluated_once_for_each(recording: MemorySink) -> None:
    with autolog.run("one set"):
        scores = [fitted(i, slice(240, 300)) for i, _ in KFold(3).split(X[:240])]
    run, *_ = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert "cv/accuracy" not in run.metrics
    assert "same data" in run.config["autolog/notes"]["cv"]


def test_labels_are_evaluated_together(recording: MemorySink) -> None:
    several = np.stack([y, 1 - y, X[:, 0] > 0], axis=1).astype(int)
    with autolog.run("labels"):
        scores = []
        for i, j in parts(3):
            model = DecisionTreeClassifier(random_state=0).fit(X[i], several[i])
            scores.append(model.score(X[j], several[j]))
    assert recording.runs[0].metrics["cv/accuracy"] == pytest.approx(np.mean(scores))


def test_numbers_of_clusters_are_means_too(recording: MemorySink) -> None:
    with autolog.run("clusters"):
        scores = []
        for i, j in parts(3):
            model = KMeans(2, n_init=1, random_state=0).fit(X[i])
            scores.append(adjusted_rand_score(y[j], model.predict(X[j])))
    run, *_ = recording.runs
    assert run.metrics["val/adjusted_rand"] == pytest.approx(np.mean(scores))
    assert run.metrics["train/silhouette_std"] > 0


def test_folds_in_threads(recording: MemorySink) -> None:
    with autolog.run("threads"), ThreadPoolExecutor(4) as threads:
        scores = list(threads.map(lambda rows: fitted(*rows), parts(12)))
    run, *children = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert len(children) == len(run.tables["cv/folds"]) == 12


def test_a_group_is_forgotten_with_its_run(recording: MemorySink) -> None:
    with autolog.run("folds") as mine:
        folds()
    group = weakref.ref(groups._groups[recording_of(mine)][0])
    del mine
    fitted(slice(0, 99), slice(99, 300))  # another one is the last now
    gc.collect()
    assert group() is None


def test_folds_in_the_users_own_trackio_run(recording: MemorySink, trackio_dir: Path) -> None:
    trackio = pytest.importorskip("trackio")
    trackio.init(project="folds", name="his", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    scores = folds()
    trackio.finish()
    autolog.finish()
    run, *_ = recording.runs
    assert run.metrics["val/accuracy"] == pytest.approx(np.mean(scores))
    assert "cv/accuracy" in run.metrics
    assert len(run.tables["cv/folds"]) == 4


# Put together by the user --------------------------------------------------------------------------------


def out_of_fold() -> Any:
    """What each model says of the rows that were held out from it, at their places."""
    found = np.zeros(len(X))
    for i, j in parts():
        model = LogisticRegression().fit(X[i], y[i])
        found[j] = model.predict_proba(X[j])[:, 1]
    return found


def test_what_the_user_has_put_together_is_evaluated_in_the_run(recording: MemorySink) -> None:
    with autolog.run("folds"):
        seen = roc_auc_score(y, out_of_fold())
    run, *others = recording.runs
    assert run.metrics["cv/roc_auc"] == pytest.approx(seen)
    assert "cv/roc" in run.charts
    assert "roc_auc_score" not in run.config["autolog/notes"]
    assert not any("cv/roc_auc" in other.metrics for other in others)


def test_numbers_one_after_the_other(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    with autolog.run("folds"):
        said = [Ridge().fit(data[i], target[i]).predict(data[j]) for i, j in KFold(5).split(data)]
        seen = mean_squared_error(target, np.concatenate(said))
    assert recording.runs[0].metrics["cv/mse"] == pytest.approx(seen)


def test_what_the_models_have_learned_from_is_not_held_out(recording: MemorySink) -> None:
    with autolog.run("folds"):
        said, rows = [], []
        for i, _ in parts():
            model, some = LogisticRegression().fit(X[i], y[i]), i[:75]
            said.append(model.predict_proba(X[some])[:, 1])
            rows.append(some)
        roc_auc_score(y[np.concatenate(rows)], np.concatenate(said))
    assert not any(key.startswith("cv/") for key in recording.runs[0].metrics)
    assert "of no recorded model" in recording.runs[0].config["autolog/notes"]["roc_auc_score"]


def test_a_loop_outside_of_a_run_has_no_place_for_it(recording: MemorySink) -> None:
    roc_auc_score(y, out_of_fold())
    assert not any(key.startswith("cv/") for run in recording.runs for key in run.metrics)
    assert "of no recorded model" in recording.runs[-1].config["autolog/notes"]["roc_auc_score"]
