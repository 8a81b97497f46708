"""What a fitted estimator knows about itself: curves, importances, boosting rounds; data of any kind."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_linnerud
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier, XGBRegressor

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
COLUMNS = list(X.columns)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    assert run.status == "finished"
    return run


# Curves -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "attribute", "key"),
    [
        (MLPClassifier(4, max_iter=5, random_state=0), "loss_curve_", "train/loss"),
        (
            MLPClassifier(4, max_iter=5, early_stopping=True, random_state=0),
            "validation_scores_",
            "early_stopping/score",
        ),
        (GradientBoostingClassifier(n_estimators=5), "train_score_", "train/loss"),
        (GradientBoostingClassifier(n_estimators=5, subsample=0.5), "oob_scores_", "train/oob_score"),
        (HistGradientBoostingClassifier(max_iter=5, early_stopping=True), "train_score_", "train/score"),
        (
            HistGradientBoostingClassifier(max_iter=5, early_stopping=True),
            "validation_score_",
            "early_stopping/score",
        ),
        (AdaBoostClassifier(n_estimators=3), "estimator_errors_", "train/error"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_learning_curves_are_series(recording: MemorySink, model: Any, attribute: str, key: str) -> None:
    model.fit(X_train, y_train)
    run = only(recording)
    assert run.values(key) == pytest.approx(list(getattr(model, attribute)))
    steps = [step for step, values in run.rows if key in values]
    # That on histograms begins with the scores of no iteration at all.
    first = 0 if isinstance(model, HistGradientBoostingClassifier) else 1
    assert steps == list(range(first, first + len(steps)))
    assert not any("train/accuracy" in values for _, values in run.rows)  # one number is no series
    assert run.config["result/more"]["train/accuracy"] == pytest.approx(model.score(X_train, y_train))


def test_the_curve_of_the_best_of_a_search_over_pipelines_is_found(recording: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=4))
    search = GridSearchCV(model, {"gradientboostingclassifier__max_depth": [1, 2]}, cv=2)
    search.fit(X_train, y_train)
    run = only(recording)
    assert run.values("train/loss") == pytest.approx(list(search.best_estimator_[-1].train_score_))
    assert {row["feature"] for row in run.tables["model/importances_table"]} == set(COLUMNS)


def test_a_long_curve_is_thinned_and_says_so(recording: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    from autolog.sklearn import learned

    monkeypatch.setattr(learned, "CURVE_POINTS", 5)
    GradientBoostingClassifier(n_estimators=12).fit(X_train, y_train)
    run = only(recording)
    assert [step for step, values in run.rows if "train/loss" in values] == [1, 4, 7, 10, 12]
    assert "every 3th of 12" in run.config["autolog/notes"]["curves"]


def test_how_the_fit_ended_is_in_the_config(recording: MemorySink) -> None:
    GaussianMixture(2, random_state=0).fit(X)
    LogisticRegression(max_iter=500).fit(X, y)
    mixture, regression = recording.runs
    assert mixture.config["model/converged"] is True
    assert 1 < regression.config["model/iterations"] < 500


# Importances ------------------------------------------------------------------------------------------


def test_importances_have_names_and_the_weightiest_come_first(recording: MemorySink) -> None:
    model = RandomForestClassifier(10, random_state=0).fit(X_train, y_train)
    run = only(recording)
    order = np.argsort(-model.feature_importances_)
    rows = run.tables["model/importances_table"]
    assert [row["feature"] for row in rows] == [COLUMNS[n] for n in order]
    assert [row["importance"] for row in rows] == pytest.approx(list(model.feature_importances_[order]))
    assert run.charts["model/importances"]["data"]["names"] == [COLUMNS[n] for n in order]


def test_coefficients_of_one_output_and_of_classes(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    ridge = Ridge().fit(data, target)
    LogisticRegression(max_iter=500).fit(X.to_numpy(), y)
    one, several = recording.runs
    found = {row["feature"]: row["coefficient"] for row in one.tables["model/coefficients_table"]}
    assert found == pytest.approx(dict(zip(data.columns, ridge.coef_, strict=True)))
    rows = several.tables["model/coefficients_by_class"]
    assert set(rows[0]) == {"feature", "0", "1", "2"}
    assert {row["feature"] for row in rows} == {"x0", "x1", "x2", "x3"}, "an array names no columns"


def test_names_go_through_a_column_transformer(recording: MemorySink) -> None:
    frame = X.assign(kind=np.where(y > 0, "b", "a"))
    columns = ColumnTransformer([("number", StandardScaler(), COLUMNS), ("kind", OneHotEncoder(), ["kind"])])
    make_pipeline(columns, LogisticRegression(max_iter=500)).fit(frame, y > 0)
    names = {row["feature"] for row in only(recording).tables["model/coefficients_table"]}
    assert names == {*(f"number__{name}" for name in COLUMNS), "kind__kind_a", "kind__kind_b"}


def test_of_many_features_the_weightiest_are_listed(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.core import importances

    monkeypatch.setattr(importances, "TABLE_ROWS", 10)
    texts = [f"word{n} other{n * 7 % 50} third{n * 3 % 40}" for n in range(100)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    model.fit(texts, [n % 2 for n in range(100)])
    run = only(recording)
    rows = run.tables["model/coefficients_table"]
    weights = np.sort(np.abs(model[-1].coef_[0]))[::-1][:10]
    assert [abs(row["coefficient"]) for row in rows] == pytest.approx(list(weights))
    assert "the 10 weightiest of" in run.config["autolog/notes"]["model/coefficients"]


@pytest.mark.parametrize(
    "model",
    [
        SVC(),
        SVC(kernel="linear"),
        KNeighborsClassifier(),
        HistGradientBoostingClassifier(max_iter=2),
        SGDClassifier(),
        IsolationForest(n_estimators=3),
        TransformedTargetRegressor(LinearRegression()),
    ],
    ids=repr,
)
def test_who_has_no_importances_is_recorded_all_the_same(recording: MemorySink, model: Any) -> None:
    model.fit(X_train, y_train)
    assert only(recording).artifacts


# Boosting ---------------------------------------------------------------------------------------------


def boosters() -> list[Any]:
    return [
        XGBClassifier(n_estimators=30, early_stopping_rounds=3, n_jobs=1),
        LGBMClassifier(n_estimators=30, early_stopping_round=3, n_jobs=1, verbose=-1, min_child_samples=5),
    ]


@pytest.mark.parametrize("model", boosters(), ids=lambda model: type(model).__name__)
def test_boosting_has_a_curve_per_set_and_what_early_stopping_chose(
    recording: MemorySink, model: Any
) -> None:
    quiet = {"verbose": False} if isinstance(model, XGBClassifier) else {}
    model.fit(X_train, y_train, eval_set=[(X_train, y_train), (X_test, y_test)], **quiet)
    accuracy = model.score(X_test, y_test)
    run = only(recording)
    metric = "mlogloss" if isinstance(model, XGBClassifier) else "multi_logloss"
    results = model.evals_result() if isinstance(model, XGBClassifier) else model.evals_result_
    train, val = results.values()
    assert run.values(f"rounds/train/{metric}") == pytest.approx(train[metric])
    assert run.values(f"rounds/val/{metric}") == pytest.approx(val[metric])
    assert run.metrics["val/accuracy"] == pytest.approx(accuracy), "the same set, by the same name"
    best = model.best_iteration + 1 if isinstance(model, XGBClassifier) else model.best_iteration_
    assert run.config["early_stopping/best_iteration"] == best
    named = {row["feature"].replace("_", " ") for row in run.tables["model/importances_table"]}
    assert named == set(COLUMNS)


def test_beside_an_evaluation_set_of_the_fit_another_one_is_a_test(recording: MemorySink) -> None:
    model = XGBClassifier(n_estimators=3, n_jobs=1)
    model.fit(X_train[20:], y_train[20:], eval_set=[(X_train[:20], y_train[:20])], verbose=False)
    model.score(X_test, y_test)
    run = only(recording)
    assert {"val/mlogloss", "test/accuracy"} <= set(run.metrics)
    assert "val/accuracy" not in run.metrics


def test_boosting_in_a_pipeline_and_without_evaluation_sets(recording: MemorySink) -> None:
    pipeline = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3, n_jobs=1, verbosity=0))
    pipeline.fit(X_train, y_train, xgbclassifier__eval_set=[(X_test.to_numpy(), y_test)])
    LGBMRegressor(n_estimators=3, n_jobs=1, verbose=-1).fit(X_train, y_train)
    XGBRegressor(n_estimators=3, n_jobs=1).fit(X_train, y_train)
    first, second, third = recording.runs
    assert len(first.values("rounds/val/mlogloss")) == 3
    assert second.config["model"] == "LGBMRegressor"
    assert third.config["model"] == "XGBRegressor"
    assert all(run.artifacts and "model/importances" in run.charts for run in recording.runs)


def test_a_label_encoder_inside_boosting_is_no_run(recording: MemorySink) -> None:
    LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X_train, [f"class {n}" for n in y_train])
    assert only(recording).config["model"] == "LGBMClassifier"


@pytest.mark.parametrize(
    "model",
    [XGBClassifier(n_estimators=5, n_jobs=1), LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)],
    ids=lambda model: type(model).__name__,
)
def test_boosting_pickles_and_is_bit_identical(sink: MemorySink, model: Any) -> None:
    def program() -> bytes:
        data: bytes = model.fit(X_train, y_train).predict_proba(X_test).tobytes()
        return data

    bare = program()
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        assert program() == bare
        data = pickle.dumps(model)
    assert b"autolog" not in data
    assert pickle.loads(data).predict_proba(X_test).tobytes() == bare


# Data of any kind -------------------------------------------------------------------------------------


def frames() -> dict[str, Any]:
    return {
        "pandas": X,
        "polars": pl.from_pandas(X),
        "numpy": X.to_numpy(),
        "float32": X.to_numpy(dtype=np.float32),
        "list": X.to_numpy().tolist(),
        "sparse": csr_matrix(X.to_numpy()),
        "fortran": np.asfortranarray(X.to_numpy()),
        "with a categorical": X.assign(kind=pd.Categorical(["a", "b"] * 75)),
        "missing": X.mask(X > 6),
    }


@pytest.mark.parametrize("kind", frames())
def test_features_of_any_kind(recording: MemorySink, kind: str) -> None:
    data = frames()[kind]
    if kind == "with a categorical":
        model: Any = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype")
    elif kind == "missing":
        model = HistGradientBoostingClassifier(max_iter=3)
    else:
        model = LogisticRegression(max_iter=300)
    model.fit(data, y)
    model.score(data, y)
    run = only(recording)
    assert run.config["data/train"]["rows"] == 150
    assert run.metrics["train/accuracy"] > 0.9
    if kind == "missing":
        assert run.config["data/train"]["missing"] == int((X > 6).sum().sum())


@pytest.mark.parametrize(
    "target",
    [
        np.where(y == 0, "setosa", "other"),
        pd.Series(y).astype("category"),
        pl.Series(y),
        (y == 0).to_numpy(),
        y.to_list(),
        y.astype(float),
        np.array(["語", "🎉", "c"], dtype=object)[y],
    ],
    ids=["strings", "categorical", "polars", "booleans", "list", "floats", "objects"],
)
def test_targets_of_any_kind(recording: MemorySink, target: Any) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, target)
    score = model.score(X, target)
    run = only(recording)
    assert run.metrics["train/accuracy"] == pytest.approx(score)
    assert "train/confusion_matrix" in run.charts


def test_sample_weights_are_used_and_recorded(recording: MemorySink) -> None:
    weight = np.linspace(0.1, 1, len(X_test))
    model = LogisticRegression(max_iter=300).fit(X_train, y_train, sample_weight=np.ones(len(X_train)))
    score = model.score(X_test, y_test, sample_weight=weight)
    assert only(recording).metrics["val/accuracy"] == pytest.approx(score)


def test_metadata_routing(recording: MemorySink) -> None:
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):
        inner = LogisticRegression(max_iter=300).set_fit_request(sample_weight=True)
        inner = inner.set_score_request(sample_weight=True)
        search = GridSearchCV(inner, {"C": [0.1, 1.0]}, cv=2)
        search.fit(X_train, y_train, sample_weight=np.ones(len(X_train)))
        score = search.score(X_test, y_test, sample_weight=np.ones(len(X_test)))
    run = only(recording)
    assert run.config["search/candidates"] == 2
    assert run.metrics["val/accuracy"] == pytest.approx(score)


def test_multilabel_and_multioutput_raise_nothing(recording: MemorySink) -> None:
    many = np.stack([y == 0, y == 1, X["petal width (cm)"] > 1], axis=1).astype(int)
    forest = RandomForestClassifier(5, random_state=0).fit(X, many)
    forest.score(X, many)
    both = MultiOutputClassifier(LogisticRegression(max_iter=300)).fit(X, many)
    both.score(X, many)
    data, targets = load_linnerud(return_X_y=True)
    linear = LinearRegression().fit(data, targets)
    r2 = linear.score(data, targets)
    assert all(run.status == "finished" for run in recording.runs)
    assert not [run for run in recording.runs if "autolog/faults" in run.config]
    assert recording.runs[-1].metrics["train/r2"] == pytest.approx(r2)


def test_one_class_and_an_empty_test_set_raise_nothing_of_ours(recording: MemorySink) -> None:
    model = RandomForestClassifier(3, random_state=0).fit(X, np.zeros(len(X)))
    model.score(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="0 sample"):
        model.score(X[:0], [])
    assert only(recording).metrics["train/accuracy"] == 1.0


class NoParameters(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model that scikit-learn would not accept: it takes any keyword."""

    def __init__(self, **anything: Any) -> None:
        self.anything = anything

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.repeat(self.classes_[0], len(X))


class Strange(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor with attributes that are not what they seem."""

    loss_curve_ = "none"
    feature_importances_ = property(lambda self: 1 / 0)
    n_iter_ = object()

    def fit(self, X: Any, y: Any = None, **kwargs: Any) -> Any:
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


def test_strange_models_raise_nothing(recording: MemorySink) -> None:
    for model in (Strange(), NoParameters.__new__(NoParameters)):
        model.fit(X, y)
        model.score(X, y)
    assert [run.status for run in recording.runs] == ["finished"] * 2
    first, second = recording.runs
    assert "autolog/faults" not in first.config
    assert second.config["model"] == "NoParameters"


def test_keywords_that_pass_through_a_fit_are_left_alone(recording: MemorySink) -> None:
    data, target = load_breast_cancer(return_X_y=True)
    Strange().fit(data, y=target, eval_set="odd", params={"eval_set": 3})
    assert "autolog/faults" not in only(recording).config


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_permutation_importances_are_in_the_run_of_their_model(
    recording: MemorySink, n_jobs: int | None
) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X_train, y_train)
    found = permutation_importance(model, X_test, y_test, n_repeats=3, random_state=0, n_jobs=n_jobs)
    run = only(recording)
    rows = {row["feature"]: row for row in run.tables["model/permutation_importances_table"]}
    assert [rows[name]["importance"] for name in COLUMNS] == pytest.approx(list(found.importances_mean))
    assert [rows[name]["std"] for name in COLUMNS] == pytest.approx(list(found.importances_std))
    assert not [key for key in run.metrics if key.startswith("val")], "shuffled data is no evaluation set"


# The best and worst predictions -----------------------------------------------------------------------


def test_best_and_worst_stand_beside_what_they_were_made_from(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    model.score(X_test, y_test)
    rows = only(recording).tables["val/best_and_worst"]
    assert [row["kind"] for row in rows] == ["worst"] * 10 + ["best"] * 10
    worst = rows[0]
    proba = model.predict_proba(X_test)[np.arange(len(y_test)), y_test]
    assert worst["row"] == proba.argmin()
    assert worst["probability_of_true"] == pytest.approx(proba.min())
    assert {name: worst[name] for name in COLUMNS} == X_test.iloc[worst["row"]].to_dict()


def test_a_text_that_was_predicted_wrong_can_be_read(recording: MemorySink) -> None:
    texts, kinds = ["good fine", "bad awful", "good", "awful"] * 5, ["+", "-", "+", "-"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, kinds)
    model.score(["good day", "fine bad awful"], ["-", "+"])
    rows = only(recording).tables["val/best_and_worst"]
    assert {row["value"] for row in rows} == {"good day", "fine bad awful"}


def test_predictions_with_their_inputs_stay_here_unless_shared() -> None:
    for share, expected in (((), False), (("predictions",), True)):
        sink = MemorySink()
        server = {"server_url": "http://127.0.0.1:9", "write_token": "t"}
        with autolog.enabled("sklearn", sink=sink, log_code=False, share=share, **server):
            LogisticRegression(max_iter=300).fit(X_train, y_train).score(X_test, y_test)
        run = only(sink)
        assert ("val/best_and_worst" in run.tables) == expected
        assert ("val/best_and_worst" in run.config["autolog/notes"]) != expected
        assert "val/confusion_matrix" in run.charts


def test_labels_and_outputs_are_evaluated_one_by_one(recording: MemorySink) -> None:
    many = np.stack([y == 0, y == 1, X["petal width (cm)"] > 1], axis=1).astype(int)
    forest = RandomForestClassifier(5, random_state=0).fit(X[::2], many[::2])
    accuracy = forest.score(X[1::2], many[1::2])
    data, targets = load_linnerud(return_X_y=True)
    LinearRegression().fit(data[::2], targets[::2]).score(data[1::2], targets[1::2])
    labels, outputs = recording.runs
    assert labels.metrics["val/accuracy"] == pytest.approx(accuracy)
    assert len(labels.tables["val/per_class"]) == 3
    assert len(outputs.tables["val/per_output"]) == 3
