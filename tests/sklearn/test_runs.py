"""What is one run: cross-validation, loops of trainings, figures of the user's own."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from matplotlib import pyplot
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibrationDisplay
from sklearn.cluster import DBSCAN, KMeans, MiniBatchKMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import DecisionBoundaryDisplay, PartialDependenceDisplay
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    PredictionErrorDisplay,
    RocCurveDisplay,
    adjusted_rand_score,
)
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    LearningCurveDisplay,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.model_selection._search import BaseSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun
from tests import programs
from tests.programs import read, values

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
LR = LogisticRegression(max_iter=300)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


# Cross-validation -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [None, "threading", "loky"])
def test_cross_val_score_is_one_run_with_its_folds(recording: MemorySink, workers: str | None) -> None:
    with joblib.parallel_backend(workers or "loky", n_jobs=2 if workers else 1):
        scores = cross_val_score(LR, X, y, cv=4)
    run = only(recording)
    assert run.status == "finished"
    assert run.name.startswith("cv LogReg ")
    assert run.config["params"]["max_iter"] == 300
    assert run.config["data/train"]["rows"] == 150
    rows = run.tables["cv/folds"]
    assert [row["test_score"] for row in rows] == pytest.approx(list(scores))
    assert [row["fold"] for row in rows] == [0, 1, 2, 3]
    assert all(row["train_rows"] + row["test_rows"] == 150 and row["fit_seconds"] > 0 for row in rows)
    assert not run.values("cv/test_score"), "folds are no line over steps"
    assert run.metrics["cv/test_score_mean"] == pytest.approx(scores.mean())
    assert run.metrics["cv/test_score_std"] == pytest.approx(scores.std())


@pytest.mark.slow
def test_a_table_that_a_picture_shows_is_stored_and_not_shown(tmp_path: Path) -> None:
    program = """
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    autolog.enable("sklearn", log_code=False)
    X, y = load_iris(return_X_y=True)
    LogisticRegression(max_iter=300).fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    """
    programs.run(tmp_path, program)
    (kept,) = read(tmp_path)
    found = {key: value for row in kept["logs"] for key, value in row.items() if isinstance(value, dict)}
    pictures = [key for key, value in found.items() if value["_type"] == "trackio.html"]
    assert pictures[-1] == "val/confusion_matrix", "Trackio shows what was logged last first"
    counts = found["val/confusion_matrix_counts"]
    assert (counts["_type"], len(counts["_value"])) == ("autolog.table", 3)
    assert found["val/per_class"]["_type"] == "trackio.table"


def test_cross_validate_with_several_scores_keeps_each(recording: MemorySink) -> None:
    found = cross_validate(
        LR, X, y, cv=3, scoring=["accuracy", "f1_macro"], return_train_score=True, return_estimator=True
    )
    run = only(recording)
    for key in ("test_accuracy", "test_f1_macro", "train_accuracy", "train_f1_macro"):
        assert [row[key] for row in run.tables["cv/folds"]] == pytest.approx(list(found[key]))
        assert run.metrics[f"cv/{key}_mean"] == pytest.approx(found[key].mean())
    found["estimator"][0].score(
        X_test, y_test
    )  # of rows that the folds were made of: from some it has learned
    found["estimator"][0].score(X_test + 0.01, y_test)
    assert len(recording.runs) == 1
    assert {"eval/accuracy", "val/accuracy"} <= set(only(recording).metrics)
    assert "cross-validation" in only(recording).config["autolog/notes"]["eval"]


class FailsOnce(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose second fit fails."""

    fits = 0

    def fit(self, X: Any, y: Any) -> Any:
        type(self).fits += 1
        if type(self).fits == 2:
            raise ValueError("the second fold")
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X))


def test_a_fold_that_fails_says_so_and_the_others_are_there(recording: MemorySink) -> None:
    FailsOnce.fits = 0
    scores = cross_val_score(FailsOnce(), X, y, cv=3)
    assert np.isnan(scores[1])
    run = only(recording)
    assert "the second fold" in run.tables["cv/folds"][1]["error"]
    assert "the second fold" in run.config["autolog/notes"]["cv/folds"]
    assert run.status == "finished"


@pytest.mark.parametrize("function", [cross_val_score, learning_curve])
def test_folds_that_all_fail_fail_the_run_where_scikit_learn_raises(
    recording: MemorySink, function: Any
) -> None:
    with pytest.raises(ValueError, match="fits failed"):
        function(LogisticRegression(C=-1), X, y, cv=3)
    run = only(recording)
    assert run.status == "failed"
    assert "fits failed" in run.config["error"]
    assert "must be a float" in run.tables["cv/folds"][0]["error"]


def test_folds_that_all_fail_end_a_validation_curve_as_scikit_learn_does(recording: MemorySink) -> None:
    validation_curve(LogisticRegression(C=-1), X, y, param_name="tol", param_range=[0.1, 0.2], cv=3)
    assert only(recording).status == "finished"


def test_a_cross_validation_that_raises_fails_its_run(recording: MemorySink) -> None:
    FailsOnce.fits = 0
    with pytest.raises(ValueError, match="the second fold"):
        cross_val_score(FailsOnce(), X, y, cv=3, error_score="raise")
    assert recording.runs[0].status == "failed"
    assert len(recording.runs) == 1


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_cross_val_predict_is_evaluated_over_all_folds(recording: MemorySink, method: str) -> None:
    found = cross_val_predict(LR, X, y, cv=3, method=method)
    run = only(recording)
    predicted = found if method == "predict" else found.argmax(axis=1)
    assert run.metrics["cv/accuracy"] == pytest.approx((predicted == y).mean())
    assert "cv/confusion_matrix" in run.charts
    assert ("cv/roc" in run.charts) == (method != "predict")


def test_cross_val_predict_of_a_regression(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    found = cross_val_predict(LinearRegression(), data, target)
    run = only(recording)
    assert run.metrics["cv/mse"] == pytest.approx(((found - target) ** 2).mean())


def test_learning_and_validation_curves_are_pictures(recording: MemorySink) -> None:
    learning_curve(LR, X, y, cv=3, shuffle=True, random_state=0)
    _, test_scores = validation_curve(LR, X, y, cv=3, param_name="C", param_range=[0.1, 1.0, 10.0])
    first, second = recording.runs
    assert "cv/learning_curve" in first.charts
    assert len(first.tables["cv/folds"]) == 15
    series = {line["name"]: line for line in second.charts["cv/validation_curve"]["data"]["series"]}
    assert series["test_score"]["x"] == [0.1, 1.0, 10.0]
    assert series["test_score"]["y"] == pytest.approx(list(test_scores.mean(axis=1)))


def test_a_permutation_test_is_one_run(recording: MemorySink) -> None:
    _, scores, _ = permutation_test_score(LR, X, y, cv=3, n_permutations=4, random_state=0)
    run = only(recording)
    assert [row["score"] for row in run.tables["cv/permutations"]] == pytest.approx(list(scores))


def test_cross_validation_inside_a_run_of_the_users(recording: MemorySink) -> None:
    with autolog.run("his") as his:
        cross_val_score(LR, X, y, cv=3)
        LR.fit(X, y)
        assert autolog.current_run() is his
    first, second = recording.runs
    assert len(first.tables["cv/folds"]) == 3
    assert (second.parent, second.config["model"]) == (first.id, "LogisticRegression")


def test_a_parallel_of_the_users_own_is_left_alone(recording: MemorySink) -> None:
    from sklearn.utils.parallel import Parallel, delayed

    def generator(estimator: Any) -> Any:
        return (delayed(abs)(n) for n in range(-3, 0) if estimator)

    assert Parallel(n_jobs=1)(generator(LR)) == [3, 2, 1]
    assert recording.runs == []


# Loops of trainings -----------------------------------------------------------------------------------


def test_partial_fit_is_one_run_per_estimator(recording: MemorySink) -> None:
    models = [SGDClassifier(random_state=seed) for seed in range(2)]
    accuracies: list[list[float]] = [[], []]
    for _ in range(4):
        for model, seen in zip(models, accuracies, strict=True):
            model.partial_fit(X_train, y_train, classes=[0, 1, 2])
            seen.append(model.score(X_test, y_test))
    assert [run.status for run in recording.runs] == ["running"] * 2
    autolog.finish()
    assert len(recording.runs) == 2
    for run, seen in zip(recording.runs, accuracies, strict=True):
        assert run.status == "finished"
        assert len(run.values("vitals/partial_fit_seconds")) == 4
        assert run.values("val/accuracy") == pytest.approx(seen)
        steps = [step for step, values in run.rows if "val/accuracy" in values]
        assert steps == [0, 1, 2, 3]
        assert run.config["model/partial_fit_calls"] == 4
        assert [artifact["type"] for artifact in run.artifacts] == ["model"]
        assert list(run.charts).count("val/confusion_matrix") == 1


def test_a_loop_whose_estimator_is_gone_ends_with_the_next_training(recording: MemorySink) -> None:
    def loop() -> None:
        model = SGDClassifier(random_state=0)
        for _ in range(3):
            model.partial_fit(X_train, y_train, classes=[0, 1, 2])

    loop()
    gc.collect()
    LR.fit(X, y)
    first, _ = recording.runs
    assert first.status == "finished"
    assert first.artifacts, "the model as it was in the end"


def test_a_loop_that_goes_on_is_not_ended_by_another_training(recording: MemorySink) -> None:
    model = SGDClassifier(random_state=0).partial_fit(X_train, y_train, classes=[0, 1, 2])
    LR.fit(X, y)
    model.partial_fit(X_train, y_train)
    first, _ = recording.runs
    assert first.status == "running"
    assert len(first.values("vitals/partial_fit_seconds")) == 2


def test_fit_after_partial_fit_is_a_new_run(recording: MemorySink) -> None:
    model = SGDClassifier(random_state=0).partial_fit(X_train, y_train, classes=[0, 1, 2])
    model.fit(X_train, y_train)
    assert [run.status for run in recording.runs] == ["finished", "finished"]


def test_a_failing_partial_fit_fails_the_run(recording: MemorySink) -> None:
    model = SGDClassifier().partial_fit(X_train, y_train, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X_train[:, :2], y_train)
    assert [run.status for run in recording.runs] == ["failed"]


def test_a_warm_start_loop_is_one_run(recording: MemorySink) -> None:
    model = RandomForestClassifier(5, warm_start=True, random_state=0)
    seen = []
    for size in (5, 10, 20):
        model.set_params(n_estimators=size).fit(X_train, y_train)
        seen.append(model.score(X_test, y_test))
    autolog.finish()
    run = only(recording)
    assert len(run.values("vitals/fit_seconds")) == 3
    assert run.values("val/accuracy") == pytest.approx(seen)
    assert run.config["params"]["n_estimators"] == 20
    assert "model/importances" in run.charts


def test_a_loop_inside_a_run_of_the_users_is_in_place(recording: MemorySink) -> None:
    with autolog.run("his"):
        model = MLPClassifier(4, random_state=0)
        for _ in range(3):
            model.partial_fit(X_train, y_train, classes=[0, 1, 2])
    run = only(recording)
    assert (run.name, run.status) == ("his", "finished")
    assert len(run.values("train/loss")) == 3
    assert run.config["model/partial_fit_calls"] == 3


def test_preprocessing_alone_opens_no_run(recording: MemorySink) -> None:
    StandardScaler().partial_fit(X).transform(X)
    StandardScaler().fit_transform(X)
    assert recording.runs == []


# Clusters ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [KMeans(3, n_init=1, random_state=0), MiniBatchKMeans(3, random_state=0)])
def test_a_clustering_has_sizes_and_scores(recording: MemorySink, model: Any) -> None:
    from sklearn.metrics import silhouette_score

    labels = model.fit_predict(X)
    adjusted_rand_score(y, labels)
    run = only(recording)
    sizes = {row["cluster"]: row["rows"] for row in run.tables["model/clusters_table"]}
    assert sizes == {str(n): int((labels == n).sum()) for n in range(3)}
    assert run.metrics["train/clusters"] == 3
    assert run.metrics["train/inertia"] == pytest.approx(model.inertia_)
    assert run.metrics["train/silhouette"] == pytest.approx(silhouette_score(X, labels))
    assert run.metrics["train/adjusted_rand"] == pytest.approx(adjusted_rand_score(y, labels))
    assert "model/clusters" in run.charts


def test_noise_is_no_cluster(recording: MemorySink) -> None:
    model = DBSCAN().fit(X)
    run = only(recording)
    assert run.metrics["train/noise_rows"] == (model.labels_ == -1).sum() > 0
    assert run.metrics["train/clusters"] == 2
    assert {row["cluster"] for row in run.tables["model/clusters_table"]} == {"0", "1", "noise"}


def test_one_cluster_and_a_mixture_raise_nothing(recording: MemorySink) -> None:
    KMeans(1, n_init=1).fit(X)
    GaussianMixture(2, random_state=0).fit(X)
    one, mixture = recording.runs
    assert "two clusters" in one.config["autolog/notes"]["train/silhouette"]
    assert mixture.metrics["train/clusters"] == 2
    assert mixture.config["model/converged"] is True


# Searches ---------------------------------------------------------------------------------------------


def test_the_best_candidates_are_runs_below_the_search_by_setting(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, search_runs=2):
        search = GridSearchCV(LR, {"C": [0.01, 0.1, 1.0]}).fit(X, y)
    parent, *children = sink.runs
    assert len(children) == 2
    assert all(child.parent == parent.id and child.status == "finished" for child in children)
    best = children[0]
    assert best.config["params/C"] == search.best_params_["C"]
    assert best.metrics["cv/mean_test_score"] == pytest.approx(search.best_score_)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_halving_search_is_recorded_by_its_outermost(recording: MemorySink, n_jobs: int | None) -> None:
    search = HalvingGridSearchCV(LR, {"C": [0.01, 0.1, 1.0, 10.0]}, random_state=0, n_jobs=n_jobs).fit(X, y)
    run = only(recording)
    assert run.config["search/iterations"] == search.n_iterations_
    assert len(run.tables["search/cv_results"]) == len(search.cv_results_["params"])
    assert {"iter", "n_resources"} <= set(run.tables["search/cv_results"][0])
    assert run.config["best/C"] == search.best_params_["C"]


class OneByOne(BaseSearchCV):  # type: ignore[misc]
    """A search of somebody else's."""

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator=estimator)

    def _run_search(self, evaluate_candidates: Any, **kwargs: Any) -> None:
        for C in (0.1, 1.0):
            evaluate_candidates([{"C": C}])


def test_a_search_of_somebody_elses_is_one_run(recording: MemorySink) -> None:
    OneByOne(LR).fit(X, y)
    assert [row["param_C"] for row in only(recording).tables["search/cv_results"]] in ([0.1, 1.0], [1.0, 0.1])


def test_of_many_candidates_all_are_kept(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autolog.core import results

    monkeypatch.setattr(results, "ROWS_SHOWN", 3)
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        GridSearchCV(LR, {"C": [0.01, 0.1, 1.0, 10.0, 100.0]}).fit(X, y)
        run = only(sink)
        (whole,) = [artifact for artifact in run.artifacts if artifact["name"] == "search-cv_results"]
        lines = Path(whole["files"]["search-cv_results.csv"]).read_text().splitlines()
    assert len(run.tables["search/cv_results"]) == 3
    assert len(lines) == 6
    assert "the first 3 rows" in run.config["autolog/notes"]["search/cv_results"]


# Figures of the user's own --------------------------------------------------------------------------


@pytest.fixture
def binary() -> tuple[Any, ...]:
    data, target = load_breast_cancer(return_X_y=True)
    return train_test_split(data[:, :3], target, random_state=0)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "display", [ConfusionMatrixDisplay, RocCurveDisplay, PrecisionRecallDisplay, CalibrationDisplay]
)
def test_a_display_from_an_estimator_is_a_figure_and_an_evaluation(
    recording: MemorySink, binary: tuple[Any, ...], display: Any
) -> None:
    train, test, target, truth = binary
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(train, target)
    display.from_estimator(model, test, truth)
    run = only(recording)
    assert "<svg" in run.html[f"figures/{display.__name__}"]
    assert run.metrics["val/accuracy"] == pytest.approx((model.predict(test) == truth).mean())
    pyplot.close("all")


def test_a_display_from_predictions_finds_the_run_that_made_them(recording: MemorySink) -> None:
    first, second = LogisticRegression(C=0.001).fit(X_train, y_train), LR.fit(X_train, y_train)
    ConfusionMatrixDisplay.from_predictions(y_test, first.predict(X_test))
    ConfusionMatrixDisplay.from_predictions(y_test, second.predict(X_test))
    assert all("figures/ConfusionMatrixDisplay" in run.html for run in recording.runs)
    pyplot.close("all")


def test_other_displays_are_kept_too(recording: MemorySink) -> None:
    model = LinearRegression().fit(X_train[:, :2], y_train)
    PredictionErrorDisplay.from_estimator(model, X_test[:, :2], y_test)
    PartialDependenceDisplay.from_estimator(model, X_test[:, :2], [0])
    DecisionBoundaryDisplay.from_estimator(model, X_test[:, :2], response_method="predict")
    assert set(only(recording).html) == {
        "figures/PredictionErrorDisplay",
        "figures/PartialDependenceDisplay",
        "figures/DecisionBoundaryDisplay",
    }
    pyplot.close("all")


def test_a_learning_curve_display_is_in_the_run_of_the_curve(recording: MemorySink) -> None:
    LR.fit(X, y)
    LearningCurveDisplay.from_estimator(LR, X, y, cv=3)
    _, curve = recording.runs
    assert "cv/learning_curve" in curve.charts
    assert "figures/LearningCurveDisplay" in curve.html
    pyplot.close("all")


def test_a_forked_child_does_not_end_its_parents_loop(tmp_path: Path) -> None:
    programs.run_warm(
        tmp_path,
        """
        from sklearn.linear_model import LinearRegression, SGDClassifier
        autolog.enable("sklearn", log_code=False)
        X, y = [[0.0], [1.0], [2.0]], [0, 1, 1]
        model = SGDClassifier().partial_fit(X, y, classes=[0, 1])
        pid = os.fork()
        if pid == 0:
            del model
            LinearRegression().fit(X, y)
            os._exit(0)
        os.waitpid(pid, 0)
        model.partial_fit(X, y)
        """,
    )
    kept = next(r for r in read(tmp_path) if r["config"].get("model") == "SGDClassifier")
    assert len(values(kept, "vitals/partial_fit_seconds")) == 2
    assert kept["config"]["model/partial_fit_calls"] == 2
    assert kept["config"]["status"] == "finished"


def test_without_matplotlib_one_line_says_so_and_one_note(tmp_path: Path) -> None:
    out = programs.run(
        tmp_path,
        """
        sys.modules["matplotlib"] = None  # as if it were not installed
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        autolog.enable("sklearn", log_code=False)
        autolog.enable("sklearn", log_code=False)
        X, y = load_iris(return_X_y=True)
        for n in range(2):
            model = LogisticRegression(max_iter=500).fit(X[n::2], y[n::2])
            model.score(X[1 - n::2], y[1 - n::2])
        assert autolog.finish()
        """,
    )
    told = "autolog: no pictures are recorded: matplotlib is not installed."
    assert out.count("autolog:") == out.count(told) == 1
    for kept in read(tmp_path):
        assert "pip install" in kept["config"]["autolog/notes"]["pictures"]
        assert "autolog/lost" not in kept["config"]
        assert len(values(kept, "val/accuracy")) == 1
        assert "trackio.html" not in str(kept["logs"])
