"""What was recorded wrongly once: searches, cross-validations, coefficients, clusters, boosting sets."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import DBSCAN, HDBSCAN, SpectralClustering
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import pairwise_distances, silhouette_score
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from autolog import MemorySink
from autolog.process import guard
from autolog.sinks.memory import MemoryRun
from tests import programs

X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
KINDS = np.array(["setosa", "versicolor", "virginica"])[y]
LR = LogisticRegression(max_iter=500)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


# Searches ---------------------------------------------------------------------------------------------


def test_a_search_is_in_the_order_of_the_score_that_it_refits_by(recording: MemorySink) -> None:
    # Deeper trees are more accurate; "b_shallow" likes them shallow, "a_deep" comes first in the alphabet.
    scores = {
        "a_deep": lambda model, X, y: model.get_depth(),
        "b_shallow": lambda model, X, y: -model.get_depth(),
    }
    grid = {"max_depth": [3, 1, 2]}
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, scoring=scores, refit="b_shallow")
    search.fit(X, y)
    rows = only(recording).tables["search/cv_results"]
    assert [row["param_max_depth"] for row in rows] == [1, 2, 3]
    assert rows[0]["candidate"] == search.best_index_


def test_the_candidate_that_a_function_chose_is_on_top(recording: MemorySink) -> None:
    search = GridSearchCV(LR, {"C": [0.001, 1.0, 10.0]}, refit=lambda results: 0).fit(X, y)
    assert search.cv_results_["rank_test_score"][0] == 3
    rows = only(recording).tables["search/cv_results"]
    assert rows[0]["candidate"] == 0
    assert [row["rank_test_score"] for row in rows][1:] == sorted(row["rank_test_score"] for row in rows[1:])


def test_a_halving_search_has_its_last_rung_on_top_and_counts_each_candidate_once(
    sink: MemorySink,
) -> None:
    import autolog

    with autolog.enabled("sklearn", sink=sink, log_code=False, search_runs=3):
        grid = {"C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]}
        search = HalvingGridSearchCV(LR, grid, factor=2, random_state=0).fit(X, y)
    run, *children = sink.runs
    rows = run.tables["search/cv_results"]
    assert search.n_candidates_[0] == run.config["search/candidates"] == 6
    assert run.config["search/rungs"] == len(rows) == sum(search.n_candidates_)
    assert [row["iter"] for row in rows] == sorted((row["iter"] for row in rows), reverse=True)
    assert rows[0]["candidate"] == search.best_index_
    assert len({child.config["params/C"] for child in children}) == 3, "no candidate twice"


# Cross-validation -------------------------------------------------------------------------------------


def curve(run: MemoryRun) -> dict[str, Any]:
    series = {line["name"]: line for line in run.charts["cv/validation_curve"]["data"]["series"]}
    return series["test_score"]


def test_a_validation_curve_may_begin_or_end_with_none(recording: MemorySink) -> None:
    for depths in ([None, 1, 2], [1, 2, None]):
        tree = DecisionTreeClassifier(random_state=0)
        _, scores = validation_curve(tree, X, y, param_name="max_depth", param_range=depths, cv=3)
        run = recording.runs[-1]
        assert "autolog/faults" not in run.config
        assert curve(run)["x"] == [0.0, 1.0, 2.0]
        assert curve(run)["y"] == pytest.approx(list(scores.mean(axis=1)))
        assert [row["max_depth"] for row in run.tables["cv/folds"]] == depths * 3


def test_a_validation_curve_over_numpys_numbers_has_them_on_its_axis(recording: MemorySink) -> None:
    for values in (np.array([1, 3, 2]), np.array([0.5, 1.0, 0.25], dtype=np.float32)):
        name = "max_depth" if values.dtype.kind == "i" else "max_features"
        validation_curve(DecisionTreeClassifier(), X, y, param_name=name, param_range=values, cv=2)
        assert curve(recording.runs[-1])["x"] == values.tolist()


def test_values_that_cannot_be_hashed_have_a_point_each(recording: MemorySink) -> None:
    weights = [{0: 1, 1: 1, 2: 1}, {0: 9, 1: 1, 2: 1}]
    _, scores = validation_curve(LR, X, y, param_name="class_weight", param_range=weights, cv=3)
    run = only(recording)
    assert curve(run)["y"] == pytest.approx(list(scores.mean(axis=1)))
    assert "class_weight" in run.charts["cv/validation_curve"]["data"]["x_label"]


class OfTests(DummyClassifier):  # type: ignore[misc]
    """A classifier with a parameter that reads like a score."""

    def __init__(self, test_size: str = "a") -> None:
        super().__init__()
        self.test_size = test_size


def test_a_parameter_is_no_score(recording: MemorySink) -> None:
    validation_curve(OfTests(), X, y, param_name="test_size", param_range=["a", "b"], cv=2)
    names = [line["name"] for line in only(recording).charts["cv/validation_curve"]["data"]["series"]]
    assert names == ["test_score", "train_score"]


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_probabilities_of_a_cross_validation_keep_the_names_of_the_classes(
    recording: MemorySink, method: str
) -> None:
    found = cross_val_predict(LR, X, KINDS, cv=3, method=method)
    run = only(recording)
    assert run.charts["cv/confusion_matrix"]["data"]["labels"] == list(np.unique(KINDS))
    predicted = found if method == "predict" else np.unique(KINDS)[found.argmax(axis=1)]
    assert run.metrics["cv/accuracy"] == pytest.approx((predicted == KINDS).mean())
    assert "cv" not in run.config.get("autolog/notes", {})


def test_where_the_names_are_out_of_sight_it_is_said(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import crossvalidation

    monkeypatch.setattr(crossvalidation, "_encoder_of", lambda function: None)
    cross_val_predict(LR, X, KINDS, cv=3, method="predict_proba")
    assert "numbered" in only(recording).config["autolog/notes"]["cv"]


# What was learned -------------------------------------------------------------------------------------


def test_coefficients_of_support_vectors_are_of_pairs(recording: MemorySink) -> None:
    model = SVC(kernel="linear").fit(X, KINDS)
    rows = {row["feature"]: row for row in only(recording).tables["model/coefficients_by_class"]}
    names = ["setosa vs versicolor", "setosa vs virginica", "versicolor vs virginica"]
    for column, name in enumerate(X.columns):
        assert [rows[name][pair] for pair in names] == pytest.approx(list(model.coef_[:, column]), rel=1e-6)


def names_of(run: MemoryRun) -> set[str]:
    return {row["feature"] for row in run.tables["model/coefficients_table"]}


def test_names_go_through_pipelines_inside_of_others(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    data = data[["age", "bmi"]]
    inner = make_pipeline(PolynomialFeatures(2, include_bias=False), Ridge())
    expected = {"age", "bmi", "age^2", "age bmi", "bmi^2"}
    for model in (
        TransformedTargetRegressor(inner),
        make_pipeline(StandardScaler(), inner),
        make_pipeline(StandardScaler(), TransformedTargetRegressor(inner)),
        GridSearchCV(make_pipeline(StandardScaler(), inner), {"pipeline__ridge__alpha": [1.0]}, cv=2),
    ):
        model.fit(data, target)
        assert names_of(recording.runs[-1]) == expected


def test_as_many_names_are_not_the_same_names(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True, as_frame=True)
    backwards = FunctionTransformer(lambda values: np.asarray(values)[:, ::-1])
    make_pipeline(StandardScaler(), make_pipeline(backwards, Ridge())).fit(data, target)
    assert names_of(only(recording)) == {f"x{n}" for n in range(10)}


def test_the_loss_of_gradient_boosting_is_called_so(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    model = GradientBoostingRegressor(n_estimators=4).fit(data, target)
    HistGradientBoostingRegressor(max_iter=4, early_stopping=True).fit(data, target)
    loss, score = recording.runs
    assert loss.values("train/loss") == pytest.approx(list(model.train_score_))
    assert "train/score" not in loss.metrics
    assert "train/loss" not in score.metrics
    assert "train/score" in score.metrics


def test_lightgbm_without_early_stopping_has_no_best_iteration(recording: MemorySink) -> None:
    LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, y)
    assert "early_stopping/best_iteration" not in only(recording).config


# Clusters ---------------------------------------------------------------------------------------------


def test_distances_that_were_given_are_taken_as_such(recording: MemorySink) -> None:
    distances = pairwise_distances(X)
    np.fill_diagonal(distances, 0.0)
    model = DBSCAN(eps=0.5, metric="precomputed").fit(distances)
    run = only(recording)
    kept = model.labels_ != -1
    assert not kept.all()
    expected = silhouette_score(distances[kept][:, kept], model.labels_[kept], metric="precomputed")
    assert run.metrics["train/silhouette"] == pytest.approx(expected)
    assert not {"train/calinski_harabasz", "train/davies_bouldin"} & set(run.metrics)


def test_of_many_distances_rows_and_columns_are_sampled(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import clusters

    monkeypatch.setattr(clusters, "DISTANCES", 3600)
    distances = pairwise_distances(X)
    np.fill_diagonal(distances, 0.0)
    labels = DBSCAN(eps=0.9, metric="precomputed").fit(distances).labels_
    chosen = np.linspace(0, 149, 60).astype(int)
    expected = silhouette_score(distances[chosen][:, chosen], labels[chosen], metric="precomputed")
    assert only(recording).metrics["train/silhouette"] == pytest.approx(expected)


def test_what_is_no_distance_has_no_silhouette(recording: MemorySink) -> None:
    alike = np.exp(-pairwise_distances(X))
    SpectralClustering(3, affinity="precomputed", random_state=0).fit(alike)
    endless = pairwise_distances(X)
    endless[:75, 75:] = endless[75:, :75] = np.inf
    HDBSCAN(metric="precomputed").fit(endless)
    for run in recording.runs:
        assert "autolog/faults" not in run.config
        assert "train/silhouette" not in run.metrics
        assert "left out" in run.config["autolog/notes"]["train/silhouette"]


# Callbacks --------------------------------------------------------------------------------------------

since_callbacks = pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 9),
    reason="callbacks came with scikit-learn 1.9",
)


@since_callbacks
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.filterwarnings("error")
def test_folds_have_a_row_each_and_no_common_curve(recording: MemorySink, n_jobs: int) -> None:
    from autolog.sklearn import TrackioCallback

    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    with joblib.parallel_backend("threading", n_jobs=n_jobs):
        cross_val_score(model, X, y, cv=4)
    run = only(recording)
    assert run.values("train/loss") == []
    assert len(run.values("cv/loss")) == len(run.values("cv/iterations")) == 4
    assert sorted(step for step, row in run.rows if "cv/loss" in row) == [0, 1, 2, 3]


@pytest.mark.slow
@since_callbacks
def test_folds_of_worker_processes_too(tmp_path: Path) -> None:
    programs.run(
        tmp_path,
        """
        import autolog
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import cross_val_score
        from autolog.sklearn import TrackioCallback
        autolog.enable("sklearn")
        model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
        cross_val_score(model, *load_iris(return_X_y=True), cv=4, n_jobs=2)
        """,
    )
    programs.run(tmp_path, "with autolog.run('next'): pass\nassert autolog.finish()")
    kept = next(r for r in programs.read(tmp_path) if r["name"] != "next")
    assert len(programs.values(kept, "cv/loss")) == 4
    assert not programs.values(kept, "train/loss")


@since_callbacks
def test_the_second_fit_of_a_run_draws_over_nothing(recording: MemorySink) -> None:
    import autolog
    from autolog.sklearn import TrackioCallback

    model = LogisticRegression(max_iter=300, warm_start=True).set_callbacks(TrackioCallback())
    for C in (0.1, 10.0):
        model.set_params(C=C).fit(X, y)
    autolog.finish()
    run = only(recording)
    assert [step for step, row in run.rows if "fits/loss" in row] == [1]
    steps = [step for step, row in run.rows if "train/loss" in row]
    assert 2 < len(steps) == len(set(steps))


# Boosting ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    "eval_X" not in inspect.signature(LGBMClassifier.fit).parameters, reason="LightGBM has it from 4.7 on"
)
@pytest.mark.parametrize("several", [False, True])
def test_lightgbms_newer_arguments_are_evaluation_sets_too(recording: MemorySink, several: bool) -> None:
    model = LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1)
    if several:
        model.fit(X_train, y_train, eval_X=(X_train, X_test), eval_y=(y_train, y_test))
    else:
        model.fit(X_train, y_train, eval_X=X_test, eval_y=y_test)
    accuracy = model.score(X_test, y_test)
    run = only(recording)
    assert len(run.values("rounds/val/multi_logloss")) == 3
    assert ("rounds/train/multi_logloss" in run.metrics) == several
    assert run.metrics["val/accuracy"] == pytest.approx(accuracy)


def test_training_data_in_the_eval_set_of_a_step_is_known_by_its_target(recording: MemorySink) -> None:
    scaler = StandardScaler().fit(X_train)
    sets = [(scaler.transform(X_train), y_train), (scaler.transform(X_test), y_test)]
    pipeline = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3, n_jobs=1, verbosity=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(X_train, y_train, xgbclassifier__eval_set=sets, xgbclassifier__verbose=False)
    run = only(recording)
    assert len(run.values("rounds/train/mlogloss")) == len(run.values("rounds/val/mlogloss")) == 3
    assert "val/set-2/mlogloss" not in run.metrics


class Odd(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One whose parameters are called like those of a pipeline or a wrapper, and are something else."""

    def __init__(self, steps: Any = None, regressor: Any = None):
        self.steps = steps
        self.regressor = regressor

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


@pytest.mark.parametrize(
    "given",
    [{"steps": [10, 20]}, {"steps": [()]}, {"steps": [("a", 3)]}, {"regressor": RandomForestRegressor}],
    ids=str,
)
def test_what_is_called_like_a_pipelines_steps_may_be_anything(
    recording: MemorySink, given: dict[str, Any]
) -> None:
    Odd(**given).fit(X_train, y_train).score(X_test, y_test)
    run = only(recording)
    assert run.name.startswith("Odd ·")
    assert not guard.faults
    assert "val/accuracy" in run.metrics


def test_parameters_of_numpys_kind_are_set_by_hand_as_well(recording: MemorySink) -> None:
    SGDClassifier(alpha=np.float32(0.5), max_iter=np.int64(7), shuffle=np.bool_(False)).fit(X_train, y_train)
    run = only(recording)
    assert [run.config[f"params/{name}"] for name in ("alpha", "max_iter", "shuffle")] == [0.5, 7, False]
    assert run.name.startswith("SGD iter=7 alpha=.5 ·")
