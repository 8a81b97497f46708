"""Whose evaluation it is, of which data, and what an evaluation must not do."""

from __future__ import annotations

import functools
import gc
import tracemalloc
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, MiniBatchSparsePCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    accuracy_score,
    adjusted_rand_score,
    log_loss,
    mean_squared_error,
)
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

import autolog
from autolog import MemorySink
from autolog.process.context import watching
from autolog.sinks.memory import MemoryRun

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
LR = functools.partial(LogisticRegression, max_iter=300)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


# What it must not do ----------------------------------------------------------------------------------


def test_one_long_text_among_many_costs_no_memory(recording: MemorySink) -> None:
    texts = ["a few words"] * 2_000 + ["word " * 20_000]
    kinds = [n % 2 for n in range(len(texts))]
    model = make_pipeline(HashingVectorizer(n_features=64), SGDClassifier())
    model.fit(texts, kinds)
    tracemalloc.start()
    model.score(texts[:1_000], kinds[:1_000])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000, "as an array of texts it would be 800 MB"
    only(recording)


def test_tokens_in_lists_of_their_own_lengths(recording: MemorySink) -> None:
    tokens, kinds = [["a", "b"], ["c"], ["a"], ["c", "d", "c"]] * 5, [0, 1, 0, 1] * 5
    model = make_pipeline(CountVectorizer(analyzer=list), LR()).fit(tokens, kinds)
    model.score(tokens[:3], kinds[:3])
    assert only(recording).metrics["val/accuracy"] == 1.0


def test_a_model_that_draws_when_it_predicts_is_left_alone(sink: MemorySink) -> None:
    def program() -> tuple[float, float]:
        np.random.seed(0)
        model = DummyClassifier(strategy="stratified").fit(X_train, y_train)
        return model.score(X_test, y_test), np.random.rand()

    bare = program()
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e9):
        assert program() == bare


def times(X: Any, k: int, calls: list[int]) -> Any:
    calls.append(1)
    return X * k


@pytest.mark.parametrize("how", ["partial", "vectorize", "wrapped"])
def test_a_function_of_the_users_is_called_as_often_as_without_us(sink: MemorySink, how: str) -> None:
    def calls_of(function: Any, calls: list[int]) -> int:
        calls.clear()
        model = make_pipeline(FunctionTransformer(function), Ridge()).fit(X_train, y_train)
        model.score(X_test, y_test)
        return len(calls)

    calls: list[int] = []
    partial = functools.partial(times, k=2, calls=calls)
    function = {
        "partial": partial,
        "vectorize": np.vectorize(partial),
        "wrapped": functools.wraps(times)(lambda X: partial(X)),
    }[how]
    bare = calls_of(function, calls)
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e9):
        assert calls_of(function, calls) == bare


def test_no_data_is_kept_alive(recording: MemorySink) -> None:
    data = np.random.default_rng(0).normal(size=(100, 3))
    alive = weakref.ref(data)
    model = KMeans(2, n_init=1).fit(data)
    del data
    gc.collect()
    assert alive() is None
    assert model.labels_ is not None


def test_the_data_of_many_predictions_is_bounded(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import outputs

    monkeypatch.setattr(outputs, "KEPT_BYTES", 8_000)
    model = LR().fit(X_train, y_train)
    batches = [np.repeat(X_test, 2, axis=0) for _ in range(10)]
    alive = [weakref.ref(batch) for batch in batches]
    predictions = [model.predict(batch) for batch in batches]
    del batches
    gc.collect()
    assert sum(batch() is not None for batch in alive) <= 3
    assert len(predictions) == 10


@pytest.mark.parametrize(
    "model",
    [
        IterativeImputer(max_iter=2, random_state=0),
        MiniBatchSparsePCA(2, max_iter=3, random_state=0),
        KBinsDiscretizer(3, strategy="kmeans", subsample=None),
        PCA(2),
        SelectFromModel(LogisticRegression(max_iter=300)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_preprocessing_that_fits_models_inside_opens_no_run(recording: MemorySink, model: Any) -> None:
    model.fit(X, y)
    assert recording.runs == []
    LR().fit(X, y)
    assert len(recording.runs) == 1


# Of which data, of which model --------------------------------------------------------------------------


def test_a_column_that_is_added_before_the_metric(recording: MemorySink) -> None:
    frame = pd.DataFrame(X_test, columns=list("abcd"))
    model = LR().fit(pd.DataFrame(X_train, columns=list("abcd")), y_train)
    predicted = model.predict(frame)
    frame["predicted"] = predicted
    accuracy = accuracy_score(y_test, predicted)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(accuracy)
    assert "val/roc_auc" not in run.metrics


def test_training_data_with_a_column_more_is_training_data(recording: MemorySink) -> None:
    frame = pd.DataFrame(X_train, columns=list("abcd"))
    model = Ridge().fit(frame, y_train)
    predicted = model.predict(frame)
    frame["predicted"] = predicted
    mean_squared_error(y_train, predicted)
    assert not [key for key in only(recording).metrics if key.startswith("val")]


def test_scores_come_from_the_model_that_made_the_labels(recording: MemorySink) -> None:
    model = LR().fit(X_train, y_train)
    predicted = model.predict(X_test)
    model.fit(X_train, np.roll(y_train, 1))
    accuracy = accuracy_score(y_test, predicted)
    first = recording.runs[0]
    assert first.metrics["val/accuracy"] == pytest.approx(accuracy)
    assert "val/roc_auc" not in first.metrics


def test_an_evaluation_outlives_its_model(recording: MemorySink) -> None:
    predicted = LR().fit(X_train, y_train).predict(X_test)
    gc.collect()
    accuracy = accuracy_score(y_test, predicted)
    assert only(recording).metrics["val/accuracy"] == pytest.approx(accuracy)


def test_truth_and_prediction_the_other_way_round(recording: MemorySink) -> None:
    model = LR().fit(X_train, y_train)
    accuracy = accuracy_score(model.predict(X_test), y_test)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(accuracy)
    rows = run.tables["val/per_class"]
    assert [row["support"] for row in rows] == np.bincount(y_test).tolist()


@pytest.mark.parametrize(
    "model", [SVC(), LogisticRegression(solver="liblinear"), LogisticRegression()], ids=repr
)
def test_sparse_training_data_is_known_again_however_its_entries_are_ordered(
    recording: MemorySink, model: Any
) -> None:
    rng = np.random.default_rng(0)
    data = csr_matrix(rng.random((60, 40)) * (rng.random((60, 40)) > 0.7))
    data.indices = data.indices[::-1].copy()
    data.data = data.data[::-1].copy()
    data.indptr = (data.nnz - data.indptr[::-1]).copy()
    data.has_sorted_indices = False
    kinds = [n % 2 for n in range(60)]
    model.fit(data, kinds)
    model.score(data, kinds)
    assert not [key for key in only(recording).metrics if key.startswith("val")]


def test_a_target_as_a_column_is_the_same_target(recording: MemorySink) -> None:
    frame = pd.DataFrame({"target": y_train.astype(float)})
    model = LinearRegression().fit(X_train, frame)
    mean_squared_error(frame, model.predict(X_train).ravel())
    mean_squared_error(y_train.astype(float), model.predict(X_train))
    assert not [key for key in only(recording).metrics if key.startswith("val")]


def test_a_block_of_the_training_data_is_no_held_out_data(recording: MemorySink) -> None:
    model = LR().fit(X_train, y_train)
    part = model.score(X_train[:50], y_train[:50])
    held_out = model.score(X_test, y_test)
    run = only(recording)
    assert run.metrics["train/part/accuracy"] == pytest.approx(part)
    assert run.metrics["val/accuracy"] == pytest.approx(held_out)
    assert "val/set-2/accuracy" not in run.metrics


def test_what_a_loop_has_seen_is_no_held_out_data(recording: MemorySink) -> None:
    model = SGDClassifier(random_state=0)
    batches = [(X_train[n : n + 20].copy(), y_train[n : n + 20].copy()) for n in range(0, 60, 20)]
    for batch in batches:
        model.partial_fit(*batch, classes=[0, 1, 2])
    for batch in batches:
        model.score(*batch)
    held_out = model.score(X_test, y_test)
    autolog.finish()
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(held_out)
    assert "val/set-2/accuracy" not in run.metrics


def test_weights_are_said(recording: MemorySink) -> None:
    model = LR().fit(X_train, y_train)
    accuracy_score(y_test, model.predict(X_test), sample_weight=np.linspace(0, 1, len(y_test)))
    assert "weighted" in only(recording).config["autolog/notes"]["val"]


def test_targets_that_stand_for_none_are_no_class(recording: MemorySink) -> None:
    target = np.where(np.arange(len(y)) % 3, -1, y)
    LabelSpreading().fit(X, target)
    run = only(recording)
    assert "train/accuracy" not in run.metrics
    assert "stand for none" in run.config["autolog/notes"]["train/metrics"]


def test_clusters_of_the_training_data_are_of_the_training_data(recording: MemorySink) -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    found = adjusted_rand_score(y, model.predict(X))
    adjusted_rand_score(y[:10], model.labels_[:10])
    run = only(recording)
    assert run.values("train/adjusted_rand") == pytest.approx([found])
    assert "val/adjusted_rand" not in run.metrics


def test_a_figure_of_a_model_that_is_not_recorded_is_in_no_run(recording: MemorySink) -> None:
    with watching("sklearn"):  # as one that was fitted before, or loaded
        old = LR().fit(X_train, y_train)
    RandomForestClassifier(3).fit(X_train, y_train).score(X_test, y_test)
    ConfusionMatrixDisplay.from_estimator(old, X_test, y_test)
    assert only(recording).html == {}


def test_a_figure_is_in_the_run_of_its_predictions(recording: MemorySink) -> None:
    first, second = LR().fit(X_train, y_train), RandomForestClassifier(3).fit(X_train, y_train)
    predicted = first.predict(X_test)
    second.predict(X_test)
    ConfusionMatrixDisplay.from_predictions(y_test, predicted)
    assert [bool(run.html) for run in recording.runs] == [True, False]


# What a person reads ----------------------------------------------------------------------------------


def test_the_alert_of_a_failure_names_the_users_own_line(recording: MemorySink) -> None:
    def his_training() -> None:
        LogisticRegression(C=-1.0).fit(X_train, y_train)

    with pytest.raises(ValueError, match="'C' parameter"):
        his_training()
    (alert,) = only(recording).alerts
    assert "in his_training" in alert["text"]
    assert "_param_validation" in alert["text"]
    assert "<autolog" not in alert["text"]


def test_a_note_goes_when_what_it_missed_is_there(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=0.0):
        model = LR().fit(X_train, y_train)
        accuracy_score(y_test, model.predict(X_test))
        assert "val/roc" in only(sink).config["autolog/notes"]
        log_loss(y_test, model.predict_proba(X_test))
    run = only(sink)
    assert "val/roc" in run.charts
    assert "val/roc" not in run.config["autolog/notes"]


def test_training_metrics_rest_on_the_same_rows_or_are_not_there(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=0.0):
        LR().fit(X_train, y_train)
    run = only(sink)
    assert "train/accuracy" not in run.metrics
    assert "would pass the budget" in run.config["autolog/notes"]["train/metrics"]


def test_columns_of_an_array_stand_after_what_is_said_of_a_row(recording: MemorySink) -> None:
    model = LR().fit(X_train, y_train)
    model.score(X_test, y_test)
    run = only(recording)
    assert list(run.tables["val/best_and_worst"][0])[:2] == ["kind", "row"]
    assert {"x0", "x1", "x2", "x3"} <= set(run.tables["val/best_and_worst"][0])
    assert {"x0", "x1", "x2", "x3"} <= set(run.tables["data/head"][0])
