"""Predictions that are touched on the way to a metric: copied, put together, made into labels."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn import metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris, make_classification
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBRanker

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun
from autolog.sklearn import contents, outputs

X, y = make_classification(600, 8, weights=[0.8], random_state=0)
X_train, X_val, y_train, y_val = X[:400], X[400:], y[:400], y[400:]
HALF = len(y_val) // 2


def fitted(**given: Any) -> LogisticRegression:
    return LogisticRegression(**given).fit(X_train, y_train)


def notes(run: MemoryRun) -> dict[str, str]:
    return run.config.get("autolog/notes", {})


def of_val(run: MemoryRun) -> dict[str, float]:
    return {key: value for key, value in run.metrics.items() if key.startswith("val/")}


@pytest.fixture(scope="module")
def own() -> dict[str, float]:
    """What is recorded of predictions that nobody touches."""
    sink = MemorySink()
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e9):
        model = fitted()
        metrics.accuracy_score(y_val, model.predict(X_val))
    autolog.finish()
    assert len(of_val(sink.runs[0])) == 9
    return of_val(sink.runs[0])


# Copies ---------------------------------------------------------------------------------------------


def in_a_frame(model: Any) -> float:
    frame = pd.DataFrame({"truth": y_val})
    frame["predicted"] = model.predict(X_val)
    return metrics.accuracy_score(frame["truth"], frame["predicted"])


def at_their_places(model: Any) -> float:
    scores = np.zeros(len(y_val))
    scores[np.arange(len(y_val))] = model.predict_proba(X_val)[:, 1]
    return metrics.roc_auc_score(y_val, scores)


def of_frames(model: Any) -> float:
    frame = pd.DataFrame(X_val)
    parts = [model.predict(frame[:HALF]), model.predict(frame[HALF:])]
    return metrics.accuracy_score(y_val, np.concatenate(parts))


def in_batches(model: Any) -> float:
    parts = [model.predict_proba(X_val[n : n + 50]) for n in range(0, len(X_val), 50)]
    return metrics.log_loss(y_val, np.concatenate(parts))


COPIES: dict[str, Callable[[Any], float]] = {
    "list": lambda model: metrics.accuracy_score(y_val, list(model.predict(X_val))),
    "Series": lambda model: metrics.accuracy_score(y_val, pd.Series(model.predict(X_val))),
    "column": in_a_frame,
    "int32": lambda model: metrics.accuracy_score(y_val, model.predict(X_val).astype("int32")),
    "float": lambda model: metrics.accuracy_score(y_val, model.predict(X_val).astype(float)),
    "float32 of scores": lambda model: metrics.roc_auc_score(
        y_val, model.predict_proba(X_val)[:, 1].astype("float32")
    ),
    "copy of all scores": lambda model: metrics.log_loss(y_val, model.predict_proba(X_val).copy()),
    "decision": lambda model: metrics.roc_auc_score(y_val, model.decision_function(X_val).tolist()),
    "one column": lambda model: metrics.accuracy_score(y_val, model.predict(X_val).tolist()),
    "at their places": at_their_places,
    "two batches": of_frames,
    "batches of scores": in_batches,
    "argmax": lambda model: metrics.accuracy_score(y_val, model.predict_proba(X_val).argmax(1)),
    "round": lambda model: metrics.accuracy_score(y_val, np.round(model.predict_proba(X_val)[:, 1])),
    "half": lambda model: metrics.accuracy_score(y_val, model.predict_proba(X_val)[:, 1] > 0.5),
}


@pytest.mark.parametrize("how", COPIES)
def test_what_was_predicted_is_known_in_every_form(
    own: dict[str, float], recording: MemorySink, how: str
) -> None:
    COPIES[how](fitted())
    (run,) = recording.runs
    # (Rounding and comparing are of the user's making, but say here what the model says.)
    no_probabilities = {"val/brier", "val/log_loss"} if how == "decision" else set()
    assert of_val(run) == pytest.approx({k: v for k, v in own.items() if k not in no_probabilities})
    assert "val/confusion_matrix" in run.charts
    assert not any("of no recorded model" in note for note in notes(run).values())


def test_labels_that_are_put_back(recording: MemorySink) -> None:
    data, target = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[target]
    encoder = LabelEncoder()
    model = DecisionTreeClassifier(max_depth=2).fit(data[::2], encoder.fit_transform(names[::2]))
    predicted = encoder.inverse_transform(model.predict(data[1::2]))
    seen = metrics.accuracy_score(names[1::2], predicted)
    (run,) = recording.runs
    assert run.metrics["val/accuracy"] == seen < 1
    assert run.tables["val/per_class"][0]["class"] == "setosa"


def test_numbers_that_are_put_back_into_their_unit(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    scaler = StandardScaler()
    scaled = scaler.fit_transform(target[:300, None])[:, 0]
    model = LinearRegression().fit(data[:300], scaled)
    back = scaler.inverse_transform(model.predict(data[300:]).reshape(-1, 1)).ravel()
    seen = metrics.root_mean_squared_error(target[300:], back)
    (run,) = recording.runs
    assert run.metrics["val/rmse"] == pytest.approx(seen)
    assert seen > 40


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        lambda: GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2),
    ],
    ids=["pipeline", "search"],
)
def test_what_an_estimator_asks_inside_is_no_prediction_of_the_users(
    recording: MemorySink, make: Callable[[], Any]
) -> None:
    model = make().fit(X_train, y_train)
    predicted = model.predict(X_val).tolist()
    seen = metrics.accuracy_score(y_val, predicted)
    assert of_val(recording.runs[0])["val/accuracy"] == seen


def test_clusters_as_a_list(recording: MemorySink) -> None:
    data, target = load_iris(return_X_y=True)
    model = KMeans(3, n_init=1, random_state=0).fit(data)
    seen = metrics.adjusted_rand_score(target, model.labels_.tolist())
    assert recording.runs[0].metrics["train/adjusted_rand"] == pytest.approx(seen)


def test_a_ranking_takes_all_rows_as_one(recording: MemorySink) -> None:
    data, target = load_iris(return_X_y=True)
    model = XGBRanker(n_estimators=3, n_jobs=1).fit(data[::2], target[::2], qid=np.repeat(np.arange(5), 15))
    ranks = model.predict(data[1::2])
    seen = metrics.ndcg_score([target[1::2]], [ranks])
    assert recording.runs[0].metrics["val/ndcg"] == seen


# Whose they are ---------------------------------------------------------------------------------------


class Says(ClassifierMixin, BaseEstimator):
    """Predicts what it is told to."""

    def __init__(self, answers: Any = None) -> None:
        self.answers = answers

    def fit(self, X: Any, y: Any) -> Says:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.array(self.answers)


def test_two_models_with_equal_predictions(recording: MemorySink) -> None:
    answers = np.roll(y_val, 1)
    first, second = (Says(answers).fit(X_train, y_train) for _ in range(2))
    predicted = first.predict(X_val), second.predict(X_val)
    metrics.accuracy_score(y_val, list(predicted[0]))
    for run in recording.runs:
        assert not of_val(run)
        assert "2 recorded runs" in notes(run)["accuracy_score"]
    seen = metrics.accuracy_score(y_val, predicted[0])  # this very array is the first one's
    assert of_val(recording.runs[0])["val/accuracy"] == seen
    assert not of_val(recording.runs[1])


@pytest.mark.parametrize("place", [0, 77, len(y_val) - 1])
def test_two_models_that_differ_in_one_row(recording: MemorySink, place: int) -> None:
    answers = np.roll(y_val, 1)
    others = answers.copy()
    others[place] = 1 - others[place]
    first, second = Says(answers).fit(X_train, y_train), Says(others).fit(X_train, y_train)
    kept = first.predict(X_val), second.predict(X_val)
    seen = metrics.accuracy_score(y_val, list(kept[0]))
    assert of_val(recording.runs[0])["val/accuracy"] == seen
    assert not of_val(recording.runs[1])


def test_one_model_that_says_the_same_of_two_sets(recording: MemorySink) -> None:
    model = Says(np.roll(y_val, 1)).fit(X_train, y_train)
    kept = model.predict(X_val), model.predict(X_train[: len(X_val)])
    metrics.accuracy_score(y_val, list(kept[0]))
    assert not of_val(recording.runs[0])  # of which of them it is nobody knows


@pytest.mark.parametrize(
    "of",
    [
        lambda model: np.zeros(len(y_val), int),  # as it may well predict: no sign of it
        lambda model: np.roll(model.predict(X_val), 1),
        lambda model: np.concatenate([model.predict(X_val[HALF:]), model.predict(X_val[:HALF])][::-1])[::-1],
        lambda model: model.predict_proba(X_val)[:, 0],  # of the other class
        lambda model: model.predict(X_val).astype(str),
    ],
    ids=["constant", "moved", "in another order", "other class", "texts"],
)
def test_what_was_not_predicted_is_of_nobody(recording: MemorySink, of: Callable[[Any], Any]) -> None:
    model = fitted()
    given = of(model)
    try:
        metrics.accuracy_score(y_val, given) if given.dtype != float else metrics.roc_auc_score(y_val, given)
    except (TypeError, ValueError):  # numbers and texts
        pass
    assert not of_val(recording.runs[0])


def test_few_labels_may_be_those_of_other_rows(recording: MemorySink) -> None:
    few, others = slice(0, 4), slice(4, 8)
    model = Says([0, 1, 1, 0]).fit(X_train, y_train)
    model.predict(X_val[few])
    metrics.accuracy_score(y_val[others], [0, 1, 1, 0])
    (run,) = recording.runs
    assert not of_val(run)
    assert "accuracy_score" in notes(run)


def test_batches_of_models_that_are_gone_are_of_several(recording: MemorySink) -> None:
    parts = [fitted(C=C).predict_proba(rows).copy() for C, rows in ((0.1, X_val[:HALF]), (1.0, X_val[HALF:]))]
    gc.collect()
    metrics.roc_auc_score(y_val, np.concatenate(parts)[:, 1])
    assert not any(of_val(run) for run in recording.runs)


def test_batches_of_labels_that_are_put_back(recording: MemorySink) -> None:
    encoder = LabelEncoder().fit(["no", "yes"])
    names = encoder.inverse_transform(y_val)
    model, predicted = fitted(), []
    for n in range(0, len(X_val), 50):
        predicted += list(encoder.inverse_transform(model.predict(X_val[n : n + 50])))
    seen = metrics.accuracy_score(names, predicted)
    assert of_val(recording.runs[0])["val/accuracy"] == seen


def test_labels_that_are_put_back_when_the_model_is_gone(
    recording: MemorySink, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = LabelEncoder().fit(["no", "yes"])
    predicted = fitted().predict(X_val)
    gc.collect()
    seen = metrics.accuracy_score(encoder.inverse_transform(y_val), encoder.inverse_transform(predicted))
    (run,) = recording.runs
    assert run.metrics["val/accuracy"] == seen
    assert "failed" not in capsys.readouterr().err


@pytest.mark.parametrize("given", [np.array(1), {"a": 1}, {1}, csr_matrix(np.eye(200))], ids=type)
def test_what_has_no_rows_is_looked_at_without_a_fault(recording: MemorySink, given: Any) -> None:
    model = fitted()
    kept = model.predict(X_val)  # noqa: F841 - it stays there
    with contextlib.suppress(TypeError, ValueError):
        metrics.accuracy_score(csr_matrix(np.eye(200)[::-1]), given)
    with contextlib.suppress(TypeError, ValueError):
        metrics.adjusted_rand_score(y_val, given)
    autolog.finish()
    assert "autolog/faults" not in recording.runs[0].config


def test_how_far_two_models_agree_is_of_neither(recording: MemorySink) -> None:
    first = fitted().predict(X_val)
    second = DecisionTreeClassifier().fit(X_train, y_train).predict(X_val)
    metrics.accuracy_score(first, list(second))
    assert not any(of_val(run) for run in recording.runs)


def test_a_truth_that_a_perfect_model_has_predicted_is_the_truth(recording: MemorySink) -> None:
    perfect, other = Says(y_val).fit(X_train, y_train), fitted()
    predicted = perfect.predict(X_val), other.predict(X_val)
    seen = metrics.accuracy_score(y_val, predicted[1]), metrics.accuracy_score(y_val, predicted[0])
    assert [of_val(run)["val/accuracy"] for run in recording.runs] == [1.0, seen[0]]


# Labels of the user's making --------------------------------------------------------------------------


def test_a_threshold_of_the_users(own: dict[str, float], recording: MemorySink) -> None:
    model = fitted()
    seen = metrics.f1_score(y_val, model.predict_proba(X_val)[:, 1] > 0.3)
    autolog.finish()
    (run,) = recording.runs
    assert run.metrics["val/f1"] == seen
    assert run.config["evaluation/labels/val"] == "a threshold of 0.3"
    (call,) = run.tables["val/calls"]
    assert (call["metric"], call["value"]) == ("f1", pytest.approx(seen))
    assert call["of"] == "labels by a threshold of 0.3"
    assert run.metrics["val/roc_auc"] == own["val/roc_auc"]


def test_of_several_thresholds_none_stands_for_the_model(
    own: dict[str, float], recording: MemorySink
) -> None:
    model = fitted()
    scores = model.predict_proba(X_val)[:, 1]
    seen = [metrics.f1_score(y_val, scores > threshold) for threshold in (0.1, 0.2, 0.7)]
    autolog.finish()
    (run,) = recording.runs
    assert of_val(run) == pytest.approx(own)
    assert run.config["evaluation/labels/val"] == "the model's own"
    assert [row["value"] for row in run.tables["val/calls"]] == pytest.approx(seen)


def test_the_models_own_labels_stand_before_and_after_a_threshold(
    own: dict[str, float], recording: MemorySink
) -> None:
    for first in ("own", "threshold"):
        model = fitted()
        if first == "own":
            metrics.accuracy_score(y_val, model.predict(X_val))
        metrics.accuracy_score(y_val, model.predict_proba(X_val)[:, 1] > 0.1)
        if first == "threshold":
            metrics.accuracy_score(y_val, model.predict(X_val))
        assert of_val(recording.runs[-1]) == pytest.approx(own), first


def test_numbers_that_are_rounded_to_labels(recording: MemorySink) -> None:
    model = LinearRegression().fit(X_train, y_train)
    seen = metrics.accuracy_score(y_val, np.round(model.predict(X_val)).clip(0, 1))
    (run,) = recording.runs
    assert run.metrics["val/accuracy"] == seen


def test_labels_are_looked_for_in_the_last_scores_alone(recording: MemorySink) -> None:
    models = [fitted(C=C) for C in (1e-3, 1.0)]
    first, _ = [model.predict_proba(X_val)[:, 1] for model in models]
    metrics.f1_score(y_val, first > 0.22)
    assert not any(of_val(run) for run in recording.runs)


def test_labels_are_not_looked_for_in_few_rows_or_in_another_thread(recording: MemorySink) -> None:
    few = fitted().predict_proba(X_val[:49])[:, 1] > 0.3
    metrics.f1_score(y_val[:49], few)
    scores = fitted().predict_proba(X_val)[:, 1]
    thread = threading.Thread(target=lambda: metrics.f1_score(y_val, scores > 0.3))
    thread.start()
    thread.join()
    assert not any(of_val(run) for run in recording.runs)


def test_a_threshold_of_zero_has_no_sign(recording: MemorySink) -> None:
    model = fitted()
    metrics.accuracy_score(y_val, np.where(model.decision_function(X_val) > 0, 1, 0))
    assert recording.runs[0].config["evaluation/labels/val"] in ("a threshold of 0", "the highest score")
    assert contents._shortest_between(-0.2, 0.1) == "0"


def test_rounded_numbers_have_an_error(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(data[:300], target[:300])
    seen = metrics.mean_absolute_error(target[300:], np.round(model.predict(data[300:])))
    (run,) = recording.runs
    assert run.metrics["val/mae"] == pytest.approx(seen)
    assert "val/accuracy" not in run.metrics
    assert run.config["evaluation/labels/val"] == "rounding"


# What is kept -----------------------------------------------------------------------------------------


def test_the_oldest_predictions_are_forgotten(recording: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "KEPT_BYTES", 4 * (8 * len(y_val) + outputs.OVERHEAD))
    model = fitted()
    first = model.predict(X_val).tolist()
    assert len(outputs.kept_predictions(len(y_val))) > 0
    for n in range(4):
        model.predict(np.roll(X_val, n + 1))
    metrics.accuracy_score(y_val, first)
    (run,) = recording.runs
    assert not of_val(run)
    assert "of no recorded model" in notes(run)["accuracy_score"]


def test_data_that_went_twice_is_found_while_the_user_has_it(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fitted()
    metrics.accuracy_score(y_val, model.predict(X_val))  # evaluated, and its array is gone
    (prediction,) = [one for one in outputs.kept_predictions(len(y_val)) if one.estimator() is model]
    assert prediction.data is X_val
    monkeypatch.setattr(outputs, "KEPT_BYTES", 0)
    model.predict(X_val[:50])  # there is no room for the first one's data
    assert prediction.data is X_val


def test_data_beyond_any_bound_is_kept_alive_by_nobody(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "LARGEST_BYTES", X_val.nbytes)
    large = np.repeat(X_val, 2, axis=0)
    alive = weakref.ref(large)
    predicted = fitted().predict(large)
    del large
    assert alive() is None
    assert len(predicted) == 2 * len(X_val)


def test_a_part_of_large_data_does_not_keep_the_whole_alive(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "VIEWED_BYTES", X_val.nbytes)
    model = fitted()
    large = np.repeat(X_val, 2, axis=0)
    alive = weakref.ref(large)
    predicted = model.predict(large[:10])
    model.predict(large[:10])
    del large, predicted
    gc.collect()
    assert alive() is None


# Estimators that say nothing of themselves -------------------------------------------------------------


class Body:
    def fit(self, X: Any, y: Any) -> Any:
        self.model_ = LogisticRegression().fit(X, y)
        return self

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X)


class NoMixin(Body, BaseEstimator):
    pass


class MixinLast(Body, BaseEstimator, ClassifierMixin):
    pass


class OldKind(Body, BaseEstimator):
    _estimator_type = "classifier"


class OtherNames(ClassifierMixin, BaseEstimator):
    def fit(self, X_train: Any, y_train: Any) -> Any:
        self.model_ = LogisticRegression().fit(X_train, y_train)
        return self

    def predict(self, X: Any) -> Any:
        return self.model_.predict(X)


@pytest.mark.parametrize("make", [NoMixin, MixinLast, OldKind, lambda: make_pipeline(NoMixin())])
def test_the_metric_says_what_an_estimator_does_not(
    own: dict[str, float], recording: MemorySink, make: Callable[[], Any]
) -> None:
    model = make().fit(X_train, y_train)
    seen = metrics.accuracy_score(y_val, model.predict(X_val))
    (run,) = recording.runs
    assert run.metrics["val/accuracy"] == seen
    assert run.metrics["val/f1"] == own["val/f1"]
    assert "val/confusion_matrix" in run.charts


def test_a_regression_that_says_nothing(recording: MemorySink) -> None:
    class Line(BaseEstimator):
        def fit(self, X: Any, y: Any) -> Any:
            self.model_ = LinearRegression().fit(X, y)
            return self

        def predict(self, X: Any) -> Any:
            return self.model_.predict(X)

    data, target = load_diabetes(return_X_y=True)
    model = Line().fit(data[:300], target[:300])
    metrics.mean_absolute_error(target[300:], model.predict(data[300:]))
    (run,) = recording.runs
    assert {"val/mae", "val/r2"} <= run.metrics.keys()


def test_data_by_other_names(recording: MemorySink) -> None:
    OtherNames().fit(X_train, y_train)
    (run,) = recording.runs
    assert run.config["data/train"]["shape"] == [400, 8]
    assert run.config["data/train"]["target"]["classes"] == {"0": 320, "1": 80}


def test_outliers_beside_a_truth(recording: MemorySink) -> None:
    model = IsolationForest(random_state=0).fit(X_train)
    truth = np.where(y_val == 1, -1, 1)
    seen = metrics.roc_auc_score(truth, model.decision_function(X_val))
    f1 = metrics.f1_score(truth, model.predict(X_val))
    (run,) = recording.runs
    assert run.metrics["val/roc_auc"] == pytest.approx(seen)
    assert run.metrics["val/f1"] == f1


def test_a_nullable_target(own: dict[str, float], recording: MemorySink) -> None:
    model = LogisticRegression().fit(X_train, pd.Series(y_train.astype(bool), dtype="boolean"))
    model.score(X_val, pd.Series(y_val.astype(bool), dtype="boolean"))
    (run,) = recording.runs
    assert run.metrics["val/roc_auc"] == pytest.approx(own["val/roc_auc"])
