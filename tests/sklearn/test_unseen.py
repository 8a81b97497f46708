"""A metric of predictions that are of no recorded model: the run that it may have been meant for says so."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.dummy import DummyClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, make_scorer, recall_score
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    permutation_test_score,
)

import autolog
from autolog import MemorySink
from autolog.core import catalogue, settings
from autolog.sinks.memory import MemoryRun

X, y = load_iris(return_X_y=True)
X, y = X[:100], y[:100]  # two classes
UNKNOWN = np.roll(y, 3)


def unseen(run: MemoryRun) -> list[str]:
    """The metrics that it says it has not seen."""
    notes = run.config.get("autolog/notes", {})
    return [name for name, note in notes.items() if "of no recorded model" in note]


def fitted(**given: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=300, **given).fit(X, y)


# What is said -----------------------------------------------------------------------------------------


def test_the_last_run_says_once_what_it_has_not_seen_and_how_to_mend_it(recording: MemorySink) -> None:
    fitted()
    for _ in range(3):
        accuracy_score(y, UNKNOWN)
    recall_score(y, UNKNOWN, zero_division=0)
    (run,) = recording.runs
    assert unseen(run) == ["accuracy_score", "recall_score"]
    note = run.config["autolog/notes"]["accuracy_score"]
    assert "while autolog is on" in note
    assert "run.log({'accuracy_score': value})" in note
    written = [r for r in recording.records if r["kind"] == "config" and "autolog/notes" in r["values"]]
    assert (
        sum("accuracy_score" in r["values"]["autolog/notes"] for r in written) == 2
    )  # with each of the notes


def test_the_open_run_says_it(recording: MemorySink) -> None:
    fitted()
    with autolog.run("mine"):
        accuracy_score(y, UNKNOWN)
        assert accuracy_score(y, fitted().predict(X)) > 0.9
    assert [unseen(run) for run in recording.runs] == [[], ["accuracy_score"]]


def test_a_model_that_was_fitted_before_or_comes_from_a_file(recording: MemorySink) -> None:
    stored = pickle.dumps(fitted())
    accuracy_score(y, pickle.loads(stored).predict(X))
    assert unseen(recording.runs[0]) == ["accuracy_score"]


def test_folds_that_are_all_predicted_right_make_nothing_else_known(recording: MemorySink) -> None:
    assert (cross_val_predict(LogisticRegression(max_iter=300), X, y, cv=2) == y).all()
    accuracy_score(y, UNKNOWN)
    assert unseen(recording.runs[0]) == ["accuracy_score"]


def test_predictions_that_were_made_otherwise(recording: MemorySink) -> None:
    metrics.roc_auc_score(y, fitted().predict_proba(X)[:, 1] ** 2)
    assert unseen(recording.runs[0]) == ["roc_auc_score"]


@pytest.mark.parametrize(
    "ask",
    [
        lambda: metrics.classification_report(y, UNKNOWN),
        lambda: metrics.confusion_matrix(y, UNKNOWN),
        lambda: metrics.roc_auc_score(y, UNKNOWN / 2),
        lambda: metrics.log_loss(y, UNKNOWN / 2),
        lambda: metrics.brier_score_loss(y, UNKNOWN / 2),
        lambda: metrics.mean_squared_error(y, UNKNOWN),
        lambda: metrics.roc_curve(y, UNKNOWN / 2),
        lambda: calibration_curve(y, UNKNOWN / 2),
        lambda: metrics.adjusted_rand_score(y, UNKNOWN),
        lambda: metrics.f1_score(list(y), list(UNKNOWN)),
    ],
)
def test_every_kind_of_metric(recording: MemorySink, ask: Callable[[], Any]) -> None:
    fitted()
    ask()
    assert len(unseen(recording.runs[0])) == 1


# What is not ------------------------------------------------------------------------------------------


def of_the_model() -> None:
    model = fitted()
    predicted = model.predict(X)
    accuracy_score(y, predicted)
    accuracy_score(predicted, y)
    accuracy_score(y[:10], predicted[:10])
    metrics.roc_auc_score(y, model.predict_proba(X)[:, 1])
    model.score(X, y)
    for row in X[:2]:
        accuracy_score([0], model.predict([row]))  # served, not evaluated


def by_scikit_learn() -> None:
    model = LogisticRegression(max_iter=300)
    scorer = make_scorer(accuracy_score)
    GridSearchCV(model, {"C": [0.1, 1.0]}, scoring=scorer, cv=2).fit(X, y)
    cross_val_score(model, X, y, scoring=scorer, cv=2)
    cross_val_score(model, X, y, scoring=scorer, cv=2, n_jobs=2)
    learning_curve(model, X, y, cv=2, train_sizes=[0.8, 1.0])
    permutation_test_score(model, X, y, cv=2, n_permutations=2, scoring=scorer)
    permutation_importance(model.fit(X, y), X, y, n_repeats=2, scoring=scorer)


def by_a_model_that_is_not_recorded() -> None:
    model = pickle.loads(pickle.dumps(fitted()))
    model.score(X, y)
    ConfusionMatrixDisplay.from_estimator(model, X, y)


def by_a_scorer() -> None:
    fitted()
    given = {"accuracy_score": accuracy_score, "y": y, "p": UNKNOWN, "__name__": "sklearn.metrics._scorer"}
    exec("accuracy_score(y, p)", given)
    library = compile("accuracy_score(y, p)", "/usr/lib/python3/site-packages/evaluator.py", "exec")
    exec(library, {**given, "__name__": "evaluator"})


def of_folds() -> None:
    accuracy_score(y, cross_val_predict(LogisticRegression(max_iter=300), X, y, cv=2))
    proba = cross_val_predict(LogisticRegression(max_iter=300), X, y, cv=2, method="predict_proba")
    metrics.log_loss(y, proba)


def of_clusters() -> None:
    labels = KMeans(2, n_init=1, random_state=0).fit_predict(X)
    metrics.adjusted_rand_score(y, labels)
    metrics.v_measure_score(y[:50], labels[:50])


@pytest.mark.parametrize(
    "do",
    [of_the_model, by_scikit_learn, by_a_model_that_is_not_recorded, by_a_scorer, of_folds, of_clusters],
)
def test_nothing_is_said_of_what_is_known_or_is_no_call_of_the_users(
    recording: MemorySink, do: Callable[[], None]
) -> None:
    do()
    assert recording.runs
    assert [unseen(run) for run in recording.runs] == [[]] * len(recording.runs)


def test_nothing_is_said_where_nothing_is_recorded(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        in_a_thread(lambda: accuracy_score(y, UNKNOWN))  # which has trained nothing
        assert sink.records == []
        fitted()
    accuracy_score(y, UNKNOWN)  # it is off
    assert [unseen(run) for run in sink.runs] == [[]]


def test_nothing_is_said_where_only_fits_with_a_callback_are_recorded(sink: MemorySink) -> None:
    catalogue.arm("sklearn")
    settings.use(autolog.Settings(sink=sink, log_code=False))
    with autolog.run("mine"):
        accuracy_score(y, UNKNOWN)
    assert [unseen(run) for run in sink.runs] == [[]]


def test_of_a_training_of_another_thread_nothing_is_known(recording: MemorySink) -> None:
    fitted()
    in_a_thread(lambda: accuracy_score(y, UNKNOWN))
    assert unseen(recording.runs[0]) == []


def test_a_metric_of_the_users_inside_of_a_fit_is_not_meant(recording: MemorySink) -> None:
    class Asks(DummyClassifier):
        def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
            accuracy_score(y, np.roll(y, 1))
            return super().fit(X, y, sample_weight)

    Asks().fit(X, y)
    assert unseen(recording.runs[0]) == []


def in_a_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
