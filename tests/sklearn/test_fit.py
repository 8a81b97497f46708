from __future__ import annotations

import copy
import gc
import io
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix
from sklearn import metrics as imported_before_enable
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, LabelEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

import autolog
from autolog import MemorySink
from autolog.core import guard
from autolog.core.guard import watching

X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
binary = y < 2


def only(sink: MemorySink) -> Any:
    (run,) = sink.runs
    return run


def test_a_fit_is_a_whole_run(recording: MemorySink) -> None:
    model = LogisticRegression(C=0.5, max_iter=300).fit(X_train, y_train)
    run = only(recording)
    assert run.status == "finished"
    assert run.name.startswith("LogisticRegression-")
    config = run.config
    assert (config["framework"], config["model"]) == ("sklearn", "LogisticRegression")
    assert config["params"]["C"] == 0.5
    assert config["params"]["tol"] == model.tol
    assert (config["params/C"], config["params/max_iter"]) == (0.5, 300)
    assert "params/tol" not in config, "what is at its default does not stand at the top"
    assert config["data/train"]["rows"] == len(X_train)
    assert config["data/train"]["columns"] == list(X.columns)
    assert len(run.tables["data/head"]) == 5
    assert run.metrics["train/accuracy"] == pytest.approx(model.score(X_train, y_train))
    assert run.metrics["perf/fit_seconds"] > 0
    (artifact,) = run.artifacts
    assert artifact["type"] == "model"
    loaded = joblib.load(artifact["files"]["model.pkl"])
    assert (loaded.predict(X_test) == model.predict(X_test)).all()


def test_held_out_score_goes_on_in_the_run(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    score = model.score(X_test, y_test)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(score)
    assert run.metrics["val/roc_auc"] > 0.9
    assert {"val/confusion_matrix", "val/roc", "val/precision_recall"} <= set(run.charts)
    matrix = imported_before_enable.confusion_matrix(y_test, model.predict(X_test))
    table = run.tables["val/confusion_matrix_counts"]
    assert [[v for k, v in row.items() if k != "true"] for row in table] == matrix.tolist()
    assert [row["class"] for row in run.tables["val/per_class"]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda m: accuracy_score(y_test, m.predict(X_test)),
        lambda m: imported_before_enable.f1_score(y_test, m.predict(X_test), average="macro"),
        lambda m: imported_before_enable.classification_report(y_test, m.predict(X_test)),
        lambda m: imported_before_enable.confusion_matrix(y_true=y_test, y_pred=m.predict(X_test)),
        lambda m: log_loss(y_test, m.predict_proba(X_test)),
        lambda m: imported_before_enable.get_scorer("accuracy")(m, X_test, y_test),
        lambda m: imported_before_enable.get_scorer("neg_log_loss")(m, X_test, y_test),
    ],
)
def test_any_metric_the_user_computes_is_an_evaluation(recording: MemorySink, evaluate: Any) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    evaluate(model)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(
        imported_before_enable.accuracy_score(y_test, model.predict(X_test))
    )
    assert "val/confusion_matrix" in run.charts
    assert len(run.values("val/accuracy")) == 1


def test_a_column_of_the_scores_is_known_again(recording: MemorySink) -> None:
    model = LogisticRegression().fit(X[binary], y[binary])
    scores = model.predict_proba(X[binary][::2])
    auc = roc_auc_score(y[binary][::2], scores[:, 1])
    assert only(recording).metrics["val/roc_auc"] == pytest.approx(auc)


def test_an_evaluation_on_the_training_data_is_labelled_so(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_train.copy(), y_train.copy())
    run = only(recording)
    assert not [key for key in run.metrics if key.startswith("val/")]
    assert "train/confusion_matrix" in run.charts


def test_several_held_out_sets_stand_apart(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_test, y_test)
    model.score(X_test, y_test)
    model.score(X_test[:20], y_test[:20])
    run = only(recording)
    assert len(run.values("val/accuracy")) == 1
    assert run.metrics["val/set-2/accuracy"] == pytest.approx(model.score(X_test[:20], y_test[:20]))


two = X[binary], y[binary]
names = y[binary].map({0: "zero", 1: "one"})


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda m, p: roc_auc_score((y_test == 2).astype(int), p[:, 2]),
        lambda m, p: roc_auc_score(y_test == 1, p[:, 1]),
        lambda m, p: imported_before_enable.log_loss(y_test[::-1], p[::-1]),
        lambda m, p: imported_before_enable.brier_score_loss(y_test == 0, p[:, 0]),
    ],
)
def test_a_part_of_the_scores_against_a_truth_of_the_users_making_is_left_alone(
    recording: MemorySink, evaluate: Any
) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    evaluate(model, model.predict_proba(X_test))
    assert not [key for key in only(recording).metrics if key.startswith("val/")]
    model.score(X_test, y_test)
    assert only(recording).metrics["val/accuracy"] > 0.9


@pytest.mark.parametrize("labels", [names, y[binary]], ids=["texts", "numbers"])
@pytest.mark.parametrize("column", [0, 1])
def test_the_positive_class_is_the_users_to_choose(recording: MemorySink, labels: Any, column: int) -> None:
    model = LogisticRegression().fit(two[0], labels)
    held_out = two[0][::3], labels[::3]
    scores = model.predict_proba(held_out[0])
    auc = roc_auc_score(held_out[1] == model.classes_[column], scores[:, column])
    assert auc > 0.9
    recorded = only(recording).metrics.get("val/roc_auc", auc)
    assert recorded == pytest.approx(auc), "right, or not there"


def test_what_the_user_passes_is_what_is_evaluated(recording: MemorySink) -> None:
    Xd, yd = load_diabetes(return_X_y=True)
    model = Ridge().fit(Xd[:300], yd[:300])
    predicted = model.predict(Xd[300:])
    backwards = mean_squared_error(yd[300:][::-1], predicted[::-1])
    part = mean_squared_error(yd[300:310], predicted[:10])
    run = only(recording)
    assert run.metrics["val/mse"] == pytest.approx(backwards)
    assert run.metrics["val/set-2/mse"] == pytest.approx(part)


@pytest.mark.parametrize("as_what", [lambda v: v, lambda v: v.to_numpy(), lambda v: v.tolist()])
def test_training_data_is_known_however_its_target_comes(recording: MemorySink, as_what: Any) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train.to_numpy())
    model.score(X_train, as_what(y_train))
    model.score(X_test, y_test)
    run = only(recording)
    assert "train/confusion_matrix" in run.charts
    assert "val/accuracy" in run.metrics
    assert not [key for key in run.metrics if key.startswith("val/set-2")]


def test_equal_targets_do_not_make_equal_sets(recording: MemorySink) -> None:
    first, second = X.iloc[::2].sort_index(), X.iloc[1::2].sort_index()
    target = y.iloc[::2]
    assert (target.to_numpy() == y.iloc[1::2].to_numpy()).all()
    model = LogisticRegression(max_iter=300).fit(first, target)
    model.score(second, target)
    model.score(second * 0, target)
    run = only(recording)
    assert run.metrics["val/accuracy"] > 0.9
    assert run.metrics["val/set-2/accuracy"] < 0.5
    assert "train/confusion_matrix" not in run.charts


class Random(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One whose predictions draw from a generator of its own, and are counted."""

    calls = 0

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        self.rng_ = np.random.default_rng(0)
        return self

    def predict(self, X: Any) -> Any:
        Random.calls += 1
        return self.rng_.choice(self.classes_, len(X))


def shuffled(values: Any, rng: Any) -> Any:
    rng.random()
    return values


@pytest.mark.parametrize(
    "model",
    [
        Random(),
        make_pipeline(
            FunctionTransformer(shuffled, kw_args={"rng": np.random.default_rng(0)}), LogisticRegression()
        ),
        make_pipeline(StandardScaler(), Random()),
        VotingClassifier([("a", Random()), ("b", LogisticRegression())]),
    ],
    ids=["his own", "his function", "in a pipeline", "in an ensemble"],
)
def test_what_may_have_effects_of_its_own_is_not_called_by_us(recording: MemorySink, model: Any) -> None:
    Random.calls = 0
    model.fit(X_train, y_train)
    assert Random.calls == 0
    run = only(recording)
    assert "is the user's to call" in run.config["autolog/notes"]["train/metrics"]
    assert not [key for key in run.metrics if key.startswith("train/")]


def test_another_threads_random_numbers_are_not_rewound(recording: MemorySink) -> None:
    drawn: list[float] = []
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            drawn.append(np.random.rand())

    thread = threading.Thread(target=draw)
    thread.start()
    for _ in range(5):
        LogisticRegression(max_iter=300).fit(X_train, y_train).score(X_test, y_test)
    stop.set()
    thread.join()
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("where", ["_record_fitted", "_record_model"])
def test_ctrl_c_while_we_record_is_the_users_and_ends_the_run(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from autolog.sklearn import fit

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    assert only(recording).status == "killed"
    assert not guard.inside_observer()
    assert not watching.active("sklearn")


def test_ctrl_c_reaches_the_user_even_if_ending_the_run_fails(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, expected_faults: list[guard.Fault]
) -> None:
    from autolog.core.run import Run
    from autolog.sklearn import fit

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    def broken(*args: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(fit, "_record_fitted", interrupted)
    monkeypatch.setattr(Run, "_end", broken)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    monkeypatch.undo()
    assert expected_faults[0].what == "RuntimeError: ours"
    assert not watching.active("sklearn")


def test_a_timeout_of_the_users_reaches_him_out_of_our_code(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import fit

    def handler(number: int, frame: Any) -> None:
        raise TimeoutError("his")

    monkeypatch.setattr(fit, "_record_fitted", lambda *args: signal.raise_signal(signal.SIGALRM))
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError, match="his"):
            LogisticRegression(max_iter=300).fit(X_train, y_train)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert only(recording).status == "failed"


@pytest.mark.parametrize(
    "train",
    [
        lambda: RandomForestClassifier(2).fit(X_train, np.c_[y_train, y_train]),
        lambda: RandomForestClassifier(2).fit(X_train, pd.get_dummies(y_train)),
        lambda: LogisticRegression(max_iter=300).fit(coo_matrix(X_train.to_numpy()), y_train),
        lambda: GridSearchCV(LogisticRegression(max_iter=300), {"C": [1]}, refit=False).fit(X_train, y_train),
        lambda: Ridge().fit(X_train, np.c_[y_train, y_train]),
        lambda: LogisticRegression(max_iter=300).fit(X_train.astype("float32"), y_train, sample_weight=None),
    ],
    ids=["multioutput", "multilabel", "coo", "no refit", "two targets", "float32"],
)
def test_trainings_out_of_the_ordinary_are_recorded_without_a_fault(
    recording: MemorySink, train: Any
) -> None:
    train()
    assert only(recording).status == "finished"


def test_a_model_that_does_not_pickle_is_noted_and_kept_alive_by_nobody(recording: MemorySink) -> None:
    def train() -> tuple[Any, Any]:
        data = X_train.to_numpy().copy()
        model = make_pipeline(FunctionTransformer(lambda values: values), LogisticRegression(max_iter=300))
        model.fit(data, y_train)
        model.score(data, y_train)
        return weakref.ref(model), weakref.ref(data)

    references = train()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert "not kept" in only(recording).config["autolog/notes"]["model"]


def test_a_secret_parameter_is_secret_wherever_it_stands(recording: MemorySink) -> None:
    class Client(Mine):
        def __init__(self, api_key: str = "", offset: float = 0.0) -> None:
            super().__init__(offset)
            self.api_key = api_key

    frame = X_train.assign(password="plainsecret123")
    DummyClassifier().fit(frame, y_train)
    GridSearchCV(Client(), {"api_key": ["plainsecret123"], "offset": [0.0]}).fit(X_train, y_train)
    with autolog.run("r", tags=["hf_" + "a" * 30], config={"my_token": "plainsecret123"}) as run:
        run.table("t", [{"password": "plainsecret123"}])
        run.params({"secret": "plainsecret123"})
    for kept in recording.records:
        assert "plainsecret123" not in str(kept)
        assert "hf_" + "a" * 30 not in str(kept)


texts = np.array([f"{'good' if label else 'bad'} word{n % 7}" for n, label in enumerate(y)], dtype=object)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), X),
        (make_pipeline(StandardScaler(), LogisticRegression()), X.to_numpy()),
        (make_pipeline(TfidfVectorizer(), LinearSVC()), texts),
        (make_pipeline(TfidfVectorizer(), LinearSVC()), texts.tolist()),
        (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, scoring="accuracy"), X),
        (GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, scoring="roc_auc"), X),
    ],
    ids=["frame", "array", "texts", "list of texts", "search", "search by scores"],
)
def test_a_pipelines_score_is_of_the_data_that_the_user_gave(
    recording: MemorySink, model: Any, data: Any
) -> None:
    def take(rows: Any) -> Any:
        if isinstance(data, list):
            return [data[row] for row in rows]
        return data.iloc[rows] if hasattr(data, "iloc") else data[rows]

    rows = np.arange(100)
    train, held_out = rows[::2], rows[1::2]
    labels = y.to_numpy()
    model.fit(take(train), labels[train])
    model.score(take(train), labels[train])
    model.score(take(held_out), labels[held_out])
    accuracy_score(labels[held_out], model.predict(take(held_out)))
    run = only(recording)
    assert "val/accuracy" in run.metrics
    assert len(run.values("val/accuracy")) == 1
    assert not [key for key in run.metrics if key.startswith("val/set-2")]
    assert "train/confusion_matrix" in run.charts


@pytest.mark.parametrize("budget", [1e9, 0.0])
def test_labels_are_the_models_own_or_not_there(
    sink: MemorySink, budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import budget as budget_module

    monkeypatch.setattr(budget_module, "LEAST_SECONDS", 0.0)
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=budget):
        model = LogisticRegression().fit(two[0], names)
        model.intercept_ += 3
        log_loss(names, model.predict_proba(two[0]))
    run = only(sink)
    assert run.metrics["train/log_loss"] > 0.1
    if budget:
        assert run.metrics["train/accuracy"] == pytest.approx((model.predict(two[0]) == names).mean())
    else:
        assert "train/accuracy" not in run.metrics
        assert "train/confusion_matrix" not in run.charts


def test_predictions_of_data_that_is_gone_by_then_are_held_out_all_the_same(recording: MemorySink) -> None:
    values, labels = X.to_numpy(), y.to_numpy()
    model = LogisticRegression(max_iter=500).fit(values[::2], labels[::2])
    predicted = model.predict(values[1::2].copy())
    gc.collect()
    assert (labels[1::2] == labels[::2]).all()
    accuracy_score(labels[1::2], predicted)
    run = only(recording)
    assert "val/confusion_matrix" in run.charts
    assert "train/confusion_matrix" not in run.charts


def test_the_positive_column_of_scores_that_are_gone_by_then(recording: MemorySink) -> None:
    model = LogisticRegression().fit(two[0], names)
    auc = roc_auc_score(names[::3], model.predict_proba(two[0][::3])[:, 1])
    positive = model.classes_[1]
    expected = roc_auc_score(names[::3] == positive, model.predict_proba(two[0][::3])[:, 1])
    assert auc == expected
    assert only(recording).metrics["val/roc_auc"] == pytest.approx(auc)


def test_somebody_elses_predictions_are_not_ours(recording: MemorySink) -> None:
    LogisticRegression(max_iter=300).fit(X_train, y_train)
    accuracy_score(y_test, y_test.to_numpy())
    assert not [key for key in only(recording).metrics if key.startswith("val/")]


def test_predictions_find_the_run_of_their_own_model(recording: MemorySink) -> None:
    good = LogisticRegression(max_iter=300).fit(X_train, y_train)
    poor = LogisticRegression(C=1e-6).fit(X_train, y_train)
    a, b = good.predict(X_test), poor.predict(X_test)
    expected = [accuracy_score(y_test, p) for p in (a, b)]
    assert [run.metrics["val/accuracy"] for run in recording.runs] == pytest.approx(expected)


def test_regression(recording: MemorySink) -> None:
    Xd, yd = load_diabetes(return_X_y=True)
    model = Ridge().fit(Xd[:300], yd[:300])
    mse = mean_squared_error(yd[300:], model.predict(Xd[300:]))
    run = only(recording)
    assert run.metrics["val/mse"] == pytest.approx(mse)
    assert run.metrics["train/r2"] == pytest.approx(model.score(Xd[:300], yd[:300]))
    assert "val/residuals" in run.charts


def test_a_pipeline_is_one_run(recording: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    assert model.fit(X_train, y_train) is model
    model.score(X_test, y_test)
    run = only(recording)
    assert run.config["model"] == "Pipeline"
    assert run.config["params"]["logisticregression__C"] == 1.0
    assert run.metrics["val/accuracy"] > 0.9


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("scoring", [None, "roc_auc_ovr"])
def test_a_search_is_one_run_with_every_candidate(recording: MemorySink, n_jobs: Any, scoring: Any) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(model, {"logisticregression__C": [0.1, 1, 10]}, n_jobs=n_jobs, scoring=scoring)
    search.fit(X_train, y_train)
    search.score(X_test, y_test)
    run = only(recording)
    assert run.config["model"] == "GridSearchCV"
    assert run.config["best/params"] == search.best_params_
    assert run.metrics["cv/best_score"] == search.best_score_
    table = run.tables["search/cv_results"]
    assert [row["rank_test_score"] for row in table] == sorted(search.cv_results_["rank_test_score"])
    for row in table:
        n = row["candidate"]
        assert row["mean_test_score"] == pytest.approx(search.cv_results_["mean_test_score"][n])
        assert row["param_logisticregression__C"] == [0.1, 1, 10][n]
    assert run.metrics["val/accuracy"] == pytest.approx((search.predict(X_test) == y_test).mean())
    assert run.status == "finished"


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_in_workers_are_not_runs_of_their_own(recording: MemorySink, backend: str) -> None:
    with joblib.parallel_backend(backend, n_jobs=2):
        RandomizedSearchCV(LogisticRegression(), {"C": [0.1, 1, 10]}, n_iter=2, random_state=0).fit(
            X_train, y_train
        )
        BaggingClassifier(LogisticRegression(), n_estimators=4).fit(X_train, y_train)
    assert [run.config["model"] for run in recording.runs] == ["RandomizedSearchCV", "BaggingClassifier"]


@pytest.mark.parametrize(
    "model",
    [
        VotingClassifier([("a", LogisticRegression()), ("b", SVC())]),
        StackingClassifier([("a", LogisticRegression())], cv=2),
        RandomForestClassifier(3, n_jobs=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_the_outermost_is_recorded(recording: MemorySink, model: Any) -> None:
    model.fit(X_train, y_train)
    assert only(recording).config["model"] == type(model).__name__


def test_preprocessing_alone_opens_no_run(recording: MemorySink) -> None:
    StandardScaler().fit(X_train)
    StandardScaler().fit_transform(X_train)
    make_pipeline(StandardScaler()).fit(X_train)
    LabelEncoder().fit(y_train)
    assert recording.runs == []


def test_clusterers(recording: MemorySink) -> None:
    KMeans(3, n_init=1).fit(X)
    KMeans(3, n_init=1).fit_predict(X)
    assert [run.config["model"] for run in recording.runs] == ["KMeans", "KMeans"]
    assert all(run.status == "finished" for run in recording.runs)


def test_two_fits_of_one_estimator_are_two_runs(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300)
    model.fit(X_train, y_train)
    model.set_params(C=3).fit(X_train, y_train)
    model.score(X_test, y_test)
    first, second = recording.runs
    assert (first.config["params"]["C"], second.config["params"]["C"]) == (1.0, 3)
    assert "val/accuracy" not in first.metrics
    assert "val/accuracy" in second.metrics


@pytest.mark.parametrize("error", [ValueError("his"), KeyboardInterrupt()])
def test_a_fit_that_fails(recording: MemorySink, error: BaseException) -> None:
    class Failing(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            raise error

        def predict(self, X: Any) -> Any:
            return X

    with pytest.raises(type(error)) as caught:
        Failing().fit(X, y)
    assert caught.value is error
    run = only(recording)
    assert run.status == ("failed" if isinstance(error, Exception) else "killed")
    assert bool(run.alerts) == isinstance(error, Exception)


class Mine(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of the user's own, with its fit wherever he likes."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def fit(self, X: Any, y: Any) -> Any:
        self.mean_ = float(np.mean(y)) + self.offset
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean_)


def test_an_estimator_of_the_users_own(recording: MemorySink) -> None:
    model = Mine(offset=1.0).fit(X_train, y_train)

    later = type("Later", (Mine,), {"fit": lambda self, X, y: Mine.fit(self, X, y)})
    sys.modules[__name__].Later = later
    later.__module__ = __name__
    later().fit(X_train, y_train)
    first, second = recording.runs
    assert (first.config["model"], second.config["model"]) == ("Mine", "Later")
    assert first.config["params/offset"] == 1.0
    assert vars(model) == {"offset": 1.0, "mean_": model.mean_}


@pytest.mark.parametrize(
    "data",
    [
        (X_train.to_numpy(), y_train.to_numpy()),
        (X_train.to_numpy().tolist(), y_train.tolist()),
        (X_train, y_train.map({0: "a", 1: "b", 2: "c"})),
        (pd.DataFrame(X_train), y_train.astype(str).astype("category")),
    ],
    ids=["numpy", "lists", "names", "categories"],
)
def test_kinds_of_data(recording: MemorySink, data: Any) -> None:
    model = LogisticRegression(max_iter=300).fit(*data)
    model.score(*(values[:30] for values in data))
    run = only(recording)
    part = (
        "train/part" if isinstance(data[0], np.ndarray) else "val"
    )  # a block of an array is known by its place
    assert run.metrics[f"{part}/accuracy"] > 0.5
    assert run.config["data/train"]["rows"] == len(X_train)


def test_results_are_bit_identical() -> None:
    def train() -> tuple[Any, ...]:
        np.random.seed(7)
        forest = RandomForestClassifier(5).fit(X_train, y_train)
        score = forest.score(X_test, y_test)
        search = RandomizedSearchCV(SVC(), {"C": [0.1, 1, 10, 100]}, n_iter=2).fit(X_train, y_train)
        shared = np.random.RandomState(3)
        a = BaggingClassifier(n_estimators=3, random_state=shared).fit(X_train, y_train)
        return (
            forest.predict_proba(X_test).tobytes(),
            score,
            search.best_params_,
            a.predict_proba(X_test).tobytes(),
            shared.rand(),
            np.random.rand(),
        )

    bare = train()
    with autolog.enabled("sklearn", sink=MemorySink(), log_code=False):
        assert train() == bare


def test_pickle_clone_and_copy_work_while_enabled_and_after(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    expected = model.predict(X_test)
    data = pickle.dumps(model)
    for other in (pickle.loads(data), copy.deepcopy(model)):
        assert (other.predict(X_test) == expected).all()
    clone(model).fit(X_train, y_train)
    pickle.dumps(accuracy_score)
    pickle.dumps(imported_before_enable.get_scorer("accuracy"))
    joblib.dump(model, io.BytesIO())
    joblib.hash(model)
    program = f"import sys, pickle; sys.modules['autolog'] = None; print(pickle.loads({data!r}).C)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1.0"
    autolog.disable()
    assert (pickle.loads(data).predict(X_test) == expected).all()


def test_the_first_fit_in_a_users_run_writes_in_place(recording: MemorySink) -> None:
    with autolog.run("mine") as run:
        model = LogisticRegression(max_iter=300).fit(X_train, y_train)
        LinearRegression().fit(X_train, y_train)
        assert run.status == "running"
    model.score(X_test, y_test)
    mine, child = recording.runs
    assert mine.name == "mine"
    assert mine.config["model"] == "LogisticRegression"
    assert mine.metrics["val/accuracy"] > 0.5
    assert (child.config["model"], child.parent) == ("LinearRegression", mine.id)
    assert [run.status for run in recording.runs] == ["finished"] * 2


def test_a_model_over_the_limit_is_noted_not_kept(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, artifact_limit=10, log_code=False):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    run = only(sink)
    assert run.artifacts == []
    assert "10 bytes" in run.config["autolog/notes"]["model"]


def test_what_is_switched_off_is_not_there(sink: MemorySink) -> None:
    off = {"log_models": False, "log_data": False, "evaluate_training_data": False, "log_code": False}
    with autolog.enabled("sklearn", sink=sink, **off):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    run = only(sink)
    assert run.artifacts == []
    assert list(run.tables) == ["model/coefficients_by_class"]
    assert not [key for key in run.metrics if key.startswith("train/")]
    assert "data/train" not in run.config


def test_private_records_stay_here_unless_shared() -> None:
    for share, expected in (((), False), (("data",), True)):
        sink = MemorySink()
        settings = {"server_url": "http://127.0.0.1:9", "write_token": "t", "share": share}
        with autolog.enabled("sklearn", sink=sink, log_code=False, **settings):
            LogisticRegression(max_iter=300).fit(X_train, y_train)
        run = only(sink)
        assert ("data/head" in run.tables) == expected
        assert ("data/head" in run.config.get("autolog/notes", {})) != expected


def test_code_and_environment_are_recorded(sink: MemorySink, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requirements.txt").write_text("scikit-learn\n")
    subprocess.run(["git", "init", "-q", "-b", "trunk"], check=True)
    subprocess.run(["git", "add", "."], check=True)
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first"]
    subprocess.run(commit, check=True)
    with autolog.enabled("sklearn", sink=sink):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
        assert autolog.finish()
    run = only(sink)
    assert run.config["git/branch"] == "trunk"
    assert len(run.config["git/commit"]) == 40
    assert run.config["python"] == ".".join(map(str, sys.version_info[:3]))
    environment = next(a for a in run.artifacts if a["name"] == "environment")
    assert {"packages.txt", "requirements.txt"} <= set(environment["files"])
    assert "scikit-learn==" in Path(environment["files"]["packages.txt"]).read_text()
