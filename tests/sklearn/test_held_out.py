"""What users evaluate themselves is recorded as they see it: of which data, and in whose run it stands."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as imported_before_enable
from sklearn import model_selection
from sklearn.datasets import load_diabetes
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import autolog
from autolog import MemorySink
from tests.sklearn.data import X, X_test, X_train, binary, names, only, two, y, y_test, y_train


def test_held_out_score_goes_on_in_the_run(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    score = model.score(X_test, y_test)
    run = only(recording)
    assert run.metrics["val/accuracy"] == pytest.approx(score)
    assert run.metrics["val/roc_auc_ovr"] > 0.9
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
    model = LogisticRegression().fit(X[binary][1::2], y[binary][1::2])
    scores = model.predict_proba(X[binary][::2])
    auc = roc_auc_score(y[binary][::2], scores[:, 1])
    assert only(recording).metrics["val/roc_auc"] == pytest.approx(auc)


def test_an_evaluation_on_the_training_data_is_labelled_so(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_train.copy(), y_train.copy())
    run = only(recording)
    assert not [key for key in run.metrics if key.startswith("val/")]
    assert "train/confusion_matrix" in run.charts


def test_what_is_evaluated_is_described_like_what_was_trained_on(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_train, y_train)
    model.score(X_test, y_test)
    config = only(recording).config
    assert config["data/val"].keys() == config["data/train"].keys()
    assert config["data/val"]["rows"] == len(X_test)
    assert config["data/val"]["fingerprint"] != config["data/train"]["fingerprint"]


def test_several_held_out_sets_stand_apart(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_test, y_test)
    model.score(X_test, y_test)
    model.score(X_test[:20], y_test[:20])
    run = only(recording)
    assert len(run.values("val/accuracy")) == 1
    assert run.metrics["val/set-2/accuracy"] == pytest.approx(model.score(X_test[:20], y_test[:20]))


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
    recorded = only(recording).metrics.get("train/part/roc_auc", auc)
    assert recorded == pytest.approx(auc), "right, or not there"


def test_what_the_user_passes_is_what_is_evaluated(recording: MemorySink) -> None:
    Xd, yd = load_diabetes(return_X_y=True)
    model = Ridge().fit(Xd[:300], yd[:300])
    predicted = model.predict(Xd[300:])
    backwards = mean_squared_error(yd[300:][::-1], predicted[::-1])
    part = mean_squared_error(yd[300:310], predicted[:10])
    run = only(recording)
    assert not [key for key in run.metrics if key.startswith("val")], (
        "none is of the whole as it was predicted"
    )
    calls = run.tables["val/calls"]
    assert [(row["metric"], row["rows"], row["value"]) for row in calls] == [
        ("mse", 142, pytest.approx(backwards)),
        ("mse", 10, pytest.approx(part)),
    ]
    whole = mean_squared_error(yd[300:], predicted)
    assert only(recording).metrics["val/mse"] == pytest.approx(whole)


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


texts = np.array([f"{'good' if label else 'bad'} word{n % 7} {n}" for n, label in enumerate(y)], dtype=object)


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
def test_labels_are_the_models_own_or_not_there(sink: MemorySink, budget: float) -> None:
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
    assert only(recording).metrics["train/part/roc_auc"] == pytest.approx(auc)


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


def test_data_that_was_changed_in_place_by_then_is_not_asked_about(recording: MemorySink) -> None:
    data = X_test.to_numpy(copy=True)
    model = LogisticRegression(max_iter=300).fit(X_train.to_numpy(), y_train)
    predicted = model.predict(data)
    data[:] = 0
    accuracy = accuracy_score(y_test, predicted)
    run = only(recording)
    assert run.metrics["val/accuracy"] == accuracy
    assert not [key for key in run.metrics if key.startswith(("val/roc", "val/log_loss", "val/brier"))]
    assert "has changed" in str(run.config["autolog/notes"]["val/roc"])


def test_labels_that_are_not_those_of_the_highest_scores(recording: MemorySink) -> None:
    X_two, y_two = two
    fixed = getattr(model_selection, "FixedThresholdClassifier", None)
    if fixed is None:
        pytest.skip("FixedThresholdClassifier: scikit-learn>=1.5")
    tuned = fixed(LogisticRegression(), threshold=0.999999).fit(X_two[::2], y_two[::2])
    accuracy = tuned.score(X_two[1::2], y_two[1::2])
    assert accuracy < 0.9
    run = only(recording)
    assert run.metrics["val/accuracy"] == accuracy
    assert run.metrics["val/roc_auc"] == 1
