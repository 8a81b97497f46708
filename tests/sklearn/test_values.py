"""The user's own number is in the run: whatever metric they call, under its own name, as it was returned."""

from __future__ import annotations

import contextvars
import inspect
import math
import pickle
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, make_multilabel_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import RFE
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeClassifierCV,
)
from sklearn.metrics import cohen_kappa_score, f1_score, fbeta_score, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils._param_validation import validate_params

import autolog
from autolog import MemorySink
from autolog.process import hooks
from tests.sklearn.data import X_test, X_train, only, two, y_test, y_train

Xd, yd = load_diabetes(return_X_y=True)


def fitted() -> Any:
    return LogisticRegression(max_iter=300, C=0.01).fit(X_train, y_train)


def of_set(run: Any, name: str) -> set[str]:
    return {key.removeprefix(f"{name}/") for key in run.metrics if key.startswith(f"{name}/")}


@pytest.mark.parametrize(
    ("key", "compute"),
    [
        ("f1_weighted", lambda m: f1_score(y_test, m.predict(X_test), average="weighted")),
        ("precision_micro", lambda m: metrics.precision_score(y_test, m.predict(X_test), average="micro")),
        ("recall_macro", lambda m: metrics.recall_score(y_test, m.predict(X_test), average="macro")),
        ("fbeta_macro", lambda m: fbeta_score(y_test, m.predict(X_test), beta=2, average="macro")),
        ("jaccard_macro", lambda m: metrics.jaccard_score(y_test, m.predict(X_test), average="macro")),
        ("cohen_kappa", lambda m: cohen_kappa_score(y_test, m.predict(X_test), weights="quadratic")),
        ("cohen_kappa", lambda m: cohen_kappa_score(m.predict(X_test), y2=y_test)),
        ("matthews_corrcoef", lambda m: metrics.matthews_corrcoef(y_test, m.predict(X_test))),
        ("zero_one_loss", lambda m: metrics.zero_one_loss(y_test, m.predict(X_test), normalize=False)),
        (
            "roc_auc_ovo",
            lambda m: metrics.roc_auc_score(y_test, m.predict_proba(X_test), multi_class="ovo"),
        ),
        ("top_k_accuracy", lambda m: metrics.top_k_accuracy_score(y_test, m.predict_proba(X_test), k=2)),
        pytest.param(
            "d2_log_loss",
            lambda m: metrics.d2_log_loss_score(y_test, m.predict_proba(X_test)),
            marks=pytest.mark.skipif(
                not hasattr(metrics, "d2_log_loss_score"), reason="d2_log_loss_score: scikit-learn>=1.5"
            ),
        ),
        ("hinge_loss", lambda m: metrics.hinge_loss(y_test, pred_decision=m.decision_function(X_test))),
    ],
)
def test_a_metric_of_classes(recording: MemorySink, key: str, compute: Any) -> None:
    value = compute(fitted())
    run = only(recording)
    assert run.values(f"val/{key}") == [value]
    assert {"accuracy", "f1_macro"} <= of_set(run, "val"), "beside what is computed anyway"


@pytest.mark.parametrize(
    ("key", "compute"),
    [
        ("mean_absolute_percentage_error", metrics.mean_absolute_percentage_error),
        ("mean_pinball_loss", lambda t, p: metrics.mean_pinball_loss(t, p, alpha=0.9)),
        ("mean_poisson_deviance", metrics.mean_poisson_deviance),
        ("mean_tweedie_deviance", lambda t, p: metrics.mean_tweedie_deviance(t, p, power=1.5)),
        ("explained_variance", metrics.explained_variance_score),
        ("d2_tweedie", lambda t, p: metrics.d2_tweedie_score(t, p, power=1)),
        ("d2_pinball", metrics.d2_pinball_score),
        ("mean_squared_log_error", metrics.mean_squared_log_error),
    ],
)
def test_a_metric_of_numbers(recording: MemorySink, key: str, compute: Any) -> None:
    model = Ridge().fit(Xd[:300], yd[:300])
    value = compute(yd[300:], model.predict(Xd[300:]))
    run = only(recording)
    assert run.values(f"val/{key}") == [value]
    assert {"mae", "r2"} <= of_set(run, "val")


@pytest.mark.parametrize(
    ("key", "compute"),
    [
        ("fowlkes_mallows", metrics.fowlkes_mallows_score),
        ("adjusted_mutual_info", metrics.adjusted_mutual_info_score),
        ("v_measure_beta2", lambda t, p: metrics.v_measure_score(t, p, beta=2)),
    ],
)
def test_a_metric_of_clusters(recording: MemorySink, key: str, compute: Any) -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(X_train)
    value = compute(y_train, model.labels_)
    metrics.adjusted_rand_score(y_train, model.labels_)
    run = only(recording)
    assert run.values(f"train/{key}") == [value]
    assert len(run.values("train/adjusted_rand")) == len(run.values("train/v_measure")) == 1


def test_the_same_number_has_one_name(recording: MemorySink) -> None:
    model = fitted()
    predicted = model.predict(X_test)
    metrics.accuracy_score(y_test, predicted)
    before = of_set(only(recording), "val")
    f1_score(y_test, predicted, average="macro")
    metrics.balanced_accuracy_score(y_test, predicted)
    metrics.log_loss(y_test, model.predict_proba(X_test))
    if "scale_by_half" in inspect.signature(metrics.brier_score_loss).parameters:
        metrics.brier_score_loss(y_test, model.predict_proba(X_test), scale_by_half=False)
    metrics.roc_auc_score(y_test, model.predict_proba(X_test), multi_class="ovr")
    assert of_set(only(recording), "val") == before
    model = Ridge().fit(Xd[:300], yd[:300])
    metrics.mean_squared_error(yd[300:], model.predict(Xd[300:]))
    metrics.root_mean_squared_error(yd[300:], model.predict(Xd[300:]))
    assert of_set(recording.runs[1], "val") == {
        *("mae", "mse", "rmse", "r2", "max_error", "median_absolute_error")
    }


def test_arguments_stand_in_the_config_and_tell_two_numbers_apart(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    twice = fbeta_score(y_test, predicted, beta=2, average="macro")
    half = fbeta_score(y_test, predicted, beta=0.5, average="macro")
    of_two = f1_score(y_test, predicted, average="macro", labels=[0, 1])
    run = only(recording)
    assert run.metrics["val/fbeta_macro"] == twice
    assert run.metrics["val/fbeta_macro_beta0.5"] == half
    assert run.metrics["val/f1_macro_labels"] == of_two
    assert run.config["arguments/val/fbeta_macro"] == {"beta": 2}
    assert run.config["arguments/val/fbeta_macro_beta0.5"] == {"beta": 0.5}
    assert run.config["arguments/val/f1_macro_labels"] == {"labels": [0, 1]}


def test_the_f1_of_the_other_class_is_not_f1(recording: MemorySink) -> None:
    X, y = two
    model = LogisticRegression(C=1e-4).fit(X[::2], (y[::2] == 1) & (np.arange(len(y[::2])) % 5 > 0))
    truth, predicted = y[1::2] == 1, model.predict(X[1::2])
    other = f1_score(truth, predicted, pos_label=False)
    own = f1_score(truth, predicted)
    assert own != other
    run = only(recording)
    assert run.values("val/f1") == [own]
    assert run.values("val/f1_no_pos_label") == [other]


def test_a_part_or_other_weights_are_not_the_runs_number(recording: MemorySink) -> None:
    model = fitted()
    predicted = model.predict(X_test)
    part = metrics.accuracy_score(y_test[:10], predicted[:10])
    whole = metrics.accuracy_score(y_test, predicted)
    weight = np.linspace(0, 1, len(y_test))
    weighted = metrics.matthews_corrcoef(y_test, predicted, sample_weight=weight)
    run = only(recording)
    assert run.values("val/accuracy") == [whole]
    assert "val/matthews_corrcoef" not in run.metrics
    calls = [(row["metric"], row["rows"], row["value"]) for row in run.tables["val/calls"]]
    expected = [("accuracy", 10, part), ("matthews_corrcoef", len(y_test), weighted)]
    assert calls == [(name, rows, pytest.approx(value)) for name, rows, value in expected]
    assert not [key for key in run.metrics if "set-2" in key]


def test_one_class_against_the_rest_is_not_the_runs_number(recording: MemorySink) -> None:
    model = fitted()
    scores = model.predict_proba(X_test)
    model.score(X_test, y_test)
    ours = only(recording).metrics["val/roc_auc_ovr"]
    of_one = metrics.roc_auc_score(y_test == 2, scores[:, 2])
    run = only(recording)
    assert run.metrics["val/roc_auc_ovr"] == ours
    assert "val/roc_auc" not in run.metrics
    assert [row["value"] for row in run.tables["val/calls"]] == [pytest.approx(of_one)]


def test_the_last_call_is_in_the_table(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    for rows in (5, 6, 7):
        metrics.accuracy_score(y_test[:rows], predicted[:rows])
    assert [row["rows"] for row in only(recording).tables["val/calls"]] == [5, 6, 7]


def test_what_has_changed_in_place_is_seen(recording: MemorySink) -> None:
    predicted, truth = fitted().predict(X_test), np.array(y_test)
    for _ in range(2):
        metrics.accuracy_score(truth, predicted)
    predicted[:] = predicted[0]
    other = metrics.accuracy_score(truth, predicted)
    assert [row["value"] for row in only(recording).tables["val/calls"]] == [pytest.approx(other)]
    truth[:] = predicted[0]
    assert metrics.accuracy_score(truth, predicted) == 1.0
    assert only(recording).metrics["val/set-2/accuracy"] == 1.0


def test_many_calls_are_rows_of_a_bounded_table(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    metrics.accuracy_score(y_test, predicted)
    for n in range(1, 300):
        metrics.accuracy_score(y_test[: n % 30 + 1], predicted[: n % 30 + 1])
    run = only(recording)
    assert len(run.values("val/accuracy")) == 1
    assert "the first 200 calls" in str(run.config["autolog/notes"]["val/calls"])
    assert len(run.tables["val/calls"]) == 50, "the rest is in a file"


def test_a_value_for_each_class_is_a_table(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    each = f1_score(y_test, predicted, average=None)
    run = only(recording)
    rows = run.tables["val/f1_by_class"]
    assert [row["of"] for row in rows] == ["0", "1", "2"]
    assert [row["f1"] for row in rows] == pytest.approx(each.tolist())


def test_each_value_stands_beside_its_own_class(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    each = f1_score(y_test, predicted, average=None, labels=[2, 1, 0])
    rows = only(recording).tables["val/f1_labels_by_class"]
    assert [(row["of"], row["f1_labels"]) for row in rows] == [
        (of, pytest.approx(value)) for of, value in zip("210", each, strict=True)
    ]
    held = y_test > 0  # there the first class does not occur, but one does that the model does not know
    truth = np.where(np.arange(held.sum()) < 3, 7, y_test[held])
    predicted = fitted().predict(X_test[held])
    np.maximum(predicted, 1, out=predicted)
    metrics.precision_score(truth, predicted, average=None, zero_division=0)
    assert [row["of"] for row in recording.runs[1].tables["val/precision_by_class"]] == ["1", "2", "7"]


def test_values_for_each_class_with_other_arguments_are_another_table(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    few, much = (fbeta_score(y_test, predicted, beta=beta, average=None) for beta in (0.1, 10))
    tables = only(recording).tables
    assert [row["fbeta"] for row in tables["val/fbeta_by_class"]] == pytest.approx(few.tolist())
    rows = tables["val/fbeta_beta10_by_class"]
    assert [row["fbeta_beta10"] for row in rows] == pytest.approx(much.tolist())


def test_outputs_that_lie_column_by_column_are_evaluated(recording: MemorySink) -> None:
    X, y = make_multilabel_classification(120, random_state=0)
    model = MultiOutputClassifier(LogisticRegression()).fit(X[:80], y[:80])
    predicted = model.predict(X[80:])
    assert not predicted.flags.c_contiguous
    value = f1_score(y[80:], predicted, average="micro")
    f1_score(y[80:], predicted, average=None)
    run = only(recording)
    assert run.metrics["val/f1_micro"] == pytest.approx(value)
    assert "val/accuracy" in run.metrics
    assert len(run.tables["val/f1_by_output"]) == y.shape[1]


def test_no_number_is_the_same_number_the_next_time(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    for _ in range(3):
        f1_score(y_test, predicted, labels=[7], average="macro", zero_division=np.nan)
    run = only(recording)
    assert [math.isnan(value) for value in run.values("val/f1_macro_labels")] == [True]
    assert "val/calls" not in run.tables


def test_a_sweep_of_an_argument_does_not_flood_the_run(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    for n in range(120):
        fbeta_score(y_test, predicted, beta=0.1 + n / 10, average="macro")
    run = only(recording)
    assert len([key for key in run.metrics if key.startswith("val/fbeta")]) <= 100
    assert run.tables["val/calls"]


def test_a_scorer_names_its_metric_as_a_call_does(recording: MemorySink) -> None:
    value = metrics.get_scorer("recall_weighted")(fitted(), X_test, y_test)
    assert only(recording).values("val/recall_weighted") == [value]


def test_how_far_two_models_agree_evaluates_neither(recording: MemorySink) -> None:
    teacher, student = fitted(), LogisticRegression(C=1e-4).fit(X_train, y_train)
    cohen_kappa_score(teacher.predict(X_test), student.predict(X_test))
    metrics.accuracy_score(teacher.predict(X_test), student.predict(X_test))
    for run in recording.runs:
        assert not of_set(run, "val")
    with autolog.evaluation("teacher"):  # the user says that it is the truth
        value = metrics.accuracy_score(teacher.predict(X_test), student.predict(X_test))
    own = metrics.accuracy_score(y_test, student.predict(X_test))
    assert recording.runs[1].metrics["teacher/accuracy"] == value
    assert recording.runs[1].metrics["val/accuracy"] == own
    labels = teacher.predict(X_train)
    taught = LogisticRegression().fit(X_train, labels)
    f1_score(labels, taught.predict(X_train), average="micro")
    assert "train/f1_micro" in recording.runs[2].metrics


def test_a_metric_that_is_defined_anew_is_watched_anew(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def define(value: float) -> Any:
        def its_own(y_true: Any, y_pred: Any) -> float:
            return value

        checked = {"y_true": ["array-like"], "y_pred": ["array-like"]}
        metric = validate_params(checked, prefer_skip_nested_validation=True)(its_own)
        monkeypatch.setitem(globals(), "its_own", metric)
        return metric

    for value in (7.5, 8.5):  # a notebook's cell is run twice, a module is reloaded
        define(value)(y_test, fitted().predict(X_test))
    assert [run.metrics["val/its_own"] for run in recording.runs] == [7.5, 8.5]


def test_a_matrix_for_each_label_is_a_table(recording: MemorySink) -> None:
    X, y = make_multilabel_classification(120, random_state=0)
    model = KNeighborsClassifier().fit(X[:80], y[:80])
    predicted = model.predict(X[80:])
    matrices = metrics.multilabel_confusion_matrix(y[80:], predicted)
    rows = only(recording).tables["val/multilabel_confusion_matrix"]
    counts = [[value for key, value in row.items() if key != "of"] for row in rows]
    assert counts == matrices.reshape(-1, 4).tolist()


def test_only_the_users_outermost_call_counts(recording: MemorySink) -> None:
    model = fitted()
    predicted = model.predict(X_test)
    fbeta_score(y_test, predicted, beta=2, average="macro")  # now it is watched
    known = of_set(only(recording), "val")
    metrics.classification_report(y_test, predicted)
    assert of_set(only(recording), "val") == known
    scorer = make_scorer(fbeta_score, beta=2, average="macro")
    GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, scoring=scorer, cv=2).fit(X_train, y_train)
    assert not of_set(recording.runs[1], "val")


def test_a_metric_that_raises_raises_as_before_and_is_no_number(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    with pytest.raises(ValueError, match="multiclass"):
        f1_score(y_test, predicted)
    with pytest.raises(ValueError, match="average"):
        f1_score(y_test, predicted, average="none of these")
    assert "val/f1" not in only(recording).metrics
    assert f1_score(y_test, predicted, average="weighted") == only(recording).metrics["val/f1_weighted"]


def test_warnings_and_pickles_are_as_without_us(recording: MemorySink) -> None:
    model = DummyClassifier().fit(X_train, y_train)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        metrics.precision_score(y_test, model.predict(X_test), average="weighted")
        metrics.precision_score(y_test, np.zeros(len(y_test)), average="weighted")  # none of ours
    ours, bare = ((str(w.message), w.filename, w.lineno) for w in heard)
    assert ours == bare
    assert pickle.loads(pickle.dumps(metrics.precision_score)) is metrics.precision_score


def test_after_disable_nothing_of_ours_is_left(recording: MemorySink) -> None:
    before = hooks.installed()
    model = fitted()
    fbeta_score(y_test, model.predict(X_test), beta=2, average="micro")
    assert len(hooks.installed()) == len(before) + 1
    autolog.disable()
    assert hooks.installed() == []
    value = fbeta_score(y_test, model.predict(X_test), beta=3, average="macro")
    assert value not in only(recording).metrics.values()


def test_threads_do_not_take_each_others_numbers(recording: MemorySink) -> None:
    def work(depth: int) -> None:
        for _ in range(20):
            model = LogisticRegression(C=10.0**-depth).fit(X_train, y_train)
            told[id(model)] = fbeta_score(y_test, model.predict(X_test), beta=2, average="weighted")
            models.append(model)

    told: dict[int, float] = {}
    models: list[Any] = []
    threads = [threading.Thread(target=work, args=(depth,)) for depth in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorded = sorted(run.metrics["val/fbeta_weighted"] for run in recording.runs)
    assert recorded == sorted(told.values())
    assert len(recorded) == 80


# What `score` returns -------------------------------------------------------------------------------


def profit(truth: Any, predicted: Any) -> float:
    return float((truth == predicted).sum() * 10 - (truth != predicted).sum() * 3)


def own(model: Any, X: Any, y: Any) -> float:
    return float(np.mean(model.predict(X) == y)) / 2


@pytest.mark.parametrize(
    ("key", "scoring"),
    [
        ("profit", make_scorer(profit)),
        ("neg_profit", make_scorer(profit, greater_is_better=False)),
        ("own", own),
        ("score", lambda m, X, y: own(m, X, y)),
        ("cohen_kappa", make_scorer(cohen_kappa_score, weights="linear")),
        ("f1_weighted", "f1_weighted"),
        ("fbeta_micro", make_scorer(fbeta_score, beta=3, average="micro")),
    ],
)
def test_what_the_score_of_a_search_returns(recording: MemorySink, key: str, scoring: Any) -> None:
    search = GridSearchCV(LogisticRegression(), {"C": [0.01, 1]}, scoring=scoring, cv=2).fit(X_train, y_train)
    value = search.score(X_test, y_test)
    run = only(recording)
    assert run.values(f"val/{key}") == [value]
    assert run.metrics["val/accuracy"] == np.mean(search.predict(X_test) == y_test)


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "f1_macro", "roc_auc_ovr", None])
def test_a_score_that_is_there_already_is_not_there_twice(recording: MemorySink, scoring: Any) -> None:
    plain = fitted()
    plain.score(X_test, y_test)
    search = GridSearchCV(LogisticRegression(), {"C": [0.01, 1]}, scoring=scoring, cv=2).fit(X_train, y_train)
    search.score(X_test, y_test)
    assert of_set(recording.runs[1], "val") == of_set(recording.runs[0], "val")


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=3),  # scoring="loss" is how its fit would stop early
        RidgeClassifierCV(scoring="neg_mean_squared_error"),
        LogisticRegressionCV(max_iter=300, cv=2),  # scoring="warn" in 1.9
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_scoring_that_is_not_that_of_score_gives_it_no_name(recording: MemorySink, model: Any) -> None:
    model.fit(X_train, y_train)
    plain = fitted()
    assert model.score(X_test, y_test) == np.mean(model.predict(X_test) == y_test)
    plain.score(X_test, y_test)
    scores = {"log_loss", "brier", "roc_auc_ovr", "average_precision_macro"}  # not every model has them
    assert of_set(recording.runs[0], "val") - scores == of_set(recording.runs[1], "val") - scores


def test_a_score_that_has_no_metric(recording: MemorySink) -> None:
    model = PoissonRegressor().fit(Xd[:300], yd[:300])
    value = model.score(Xd[300:], yd[300:])
    assert only(recording).metrics["val/score"] == value


def test_a_score_that_is_handed_on(recording: MemorySink) -> None:
    model = RFE(Ridge(), n_features_to_select=4).fit(Xd[:300], yd[:300])
    value = model.score(Xd[300:], yd[300:])
    assert only(recording).metrics["val/r2"] == pytest.approx(value)


# What no hook can know -------------------------------------------------------------------------------


def test_a_name_for_what_is_evaluated_inside(recording: MemorySink) -> None:
    model = fitted()
    with autolog.evaluation("test", main=True):
        model.score(X_test, y_test)
        with autolog.evaluation("hard/2024"):
            model.score(X_test[:20], y_test[:20])
    model.score(X_test[20:], y_test[20:])
    run = only(recording)
    assert run.config["evaluation/main"] == "test"
    assert run.metrics["test/accuracy"] == metrics.accuracy_score(y_test, model.predict(X_test))
    assert {"hard/2024/accuracy", "val/accuracy"} <= set(run.metrics)
    assert not [key for key in run.metrics if "set-2" in key]


def test_one_set_under_two_names(recording: MemorySink) -> None:
    model = fitted()
    model.score(X_test, y_test)
    with autolog.evaluation("final"):
        model.score(X_test, y_test)
    run = only(recording)
    assert run.metrics["final/accuracy"] == run.metrics["val/accuracy"]


def test_two_names_in_turn(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    for name in ("a", "b", "a", "b"):
        with autolog.evaluation(name):
            f1_score(y_test, predicted, average="weighted")
            metrics.accuracy_score(y_test[:5], predicted[:5])
    run = only(recording)
    for name in ("a", "b"):
        assert len(run.values(f"{name}/f1_weighted")) == 1
        assert len(run.tables[f"{name}/calls"]) == 2, "each call is a row"


def test_a_part_has_the_name_that_it_is_given(recording: MemorySink) -> None:
    predicted = fitted().predict(X_test)
    metrics.accuracy_score(y_test, predicted)
    with autolog.evaluation("hard"):
        metrics.accuracy_score(y_test[:5], predicted[:5])
    run = only(recording)
    assert "val/calls" not in run.tables
    assert len(run.tables["hard/calls"]) == 1


def test_clusters_have_the_name_that_they_are_given(recording: MemorySink) -> None:
    model = KMeans(3, n_init=1, random_state=0).fit(X_train)
    with autolog.evaluation("test", main=True):
        value = metrics.adjusted_rand_score(y_test, model.predict(X_test))
    run = only(recording)
    assert run.metrics["test/adjusted_rand"] == value
    assert run.config["evaluation/main"] == "test"
    assert not of_set(run, "val")


def test_a_generator_may_end_in_another_context() -> None:
    def numbers() -> Iterator[int]:
        with autolog.evaluation("test"):
            yield 1
            yield 2

    ended, closed = numbers(), numbers()
    for generator in (ended, closed):
        assert contextvars.copy_context().run(next, generator) == 1
    assert list(ended) == [2]
    closed.close()


def test_predictions_that_come_from_elsewhere(recording: MemorySink) -> None:
    model = fitted()
    scores = model.predict_proba(X_test) ** 2
    found = autolog.log_evaluation(
        y_test, scores.argmax(1), scores=scores / scores.sum(1, keepdims=True), name="test"
    )
    run = only(recording)
    assert found["accuracy"] == run.metrics["test/accuracy"]
    assert {"test/confusion_matrix", "test/roc"} <= set(run.charts)
    with autolog.evaluation("calibrated", main=True):
        autolog.log_evaluation(y_test, model.predict(X_test))
    assert "calibrated/accuracy" in only(recording).metrics
    assert only(recording).config["evaluation/main"] == "calibrated"


def test_it_goes_where_the_hooks_would_write(recording: MemorySink) -> None:
    fitted()
    with autolog.run("mine") as mine:
        autolog.log_evaluation([0, 1, 1], [0, 1, 0])
        fitted()  # in the run itself
        fitted()  # below it
        autolog.log_evaluation([1.5, 2.5], [1.0, 2.0], name="test")
    autolog.log_evaluation([0, 1], [0, 1], name="late")
    first, run, child = recording.runs
    assert run.id == mine.id
    assert "val/accuracy" in run.metrics
    assert "test/mae" in child.metrics
    assert "late/accuracy" in child.metrics
    assert not of_set(first, "val")


def test_a_run_that_is_given(recording: MemorySink) -> None:
    with autolog.run("mine") as mine:
        pass
    with pytest.raises(autolog.RunError, match="already finished"):
        autolog.log_evaluation([0, 1], [0, 1], run=mine)
    with autolog.run("other") as other:
        fitted()
        autolog.log_evaluation([0, 1], [0, 1], run=other, name="x")
    assert recording.runs[1].metrics["x/accuracy"] == 1
    with pytest.raises(TypeError, match="expected a run"):
        autolog.log_evaluation([0, 1], [0, 1], run="mine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "error"), [("", ValueError), (3, TypeError), ("a//b", ValueError), (None, TypeError)]
)
def test_a_name_that_is_none(recording: MemorySink, name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="evaluation"), autolog.evaluation(name):
        raise AssertionError("unreachable")


def test_truth_and_predictions_that_do_not_go_together(recording: MemorySink) -> None:
    fitted()
    with pytest.raises(ValueError, match="lengths differ"):
        autolog.log_evaluation([0, 1, 0], [0, 1])
    with pytest.raises(ValueError, match="task must be"):
        autolog.log_evaluation([0, 1], [0, 1], task="ranking")
    assert not of_set(only(recording), "val")


def test_without_a_run_it_says_what_to_do() -> None:
    answers: list[BaseException] = []

    def work() -> None:  # a context of its own: nothing was trained in it
        try:
            autolog.log_evaluation([0, 1], [0, 1])
        except BaseException as error:
            answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert isinstance(answers[0], autolog.RunError)
    assert "run=run" in str(answers[0])
