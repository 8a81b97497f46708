"""Fits: what is one run, and what it holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import coo_matrix
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.svm import SVC

import autolog
from autolog import MemorySink
from tests.sklearn.data import X, X_test, X_train, only, y, y_test, y_train


def test_a_fit_is_a_whole_run(recording: MemorySink) -> None:
    model = LogisticRegression(C=0.5, max_iter=300).fit(X_train, y_train)
    run = only(recording)
    assert run.status == "finished"
    assert run.name.startswith("LogReg C=.5 ")
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
    assert run.metrics["vitals/fit_seconds"] > 0
    (artifact,) = run.artifacts
    assert artifact["type"] == "model"
    loaded = joblib.load(artifact["files"]["model.pkl"])
    assert (loaded.predict(X_test) == model.predict(X_test)).all()


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


def test_a_pipeline_is_one_run(recording: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    assert model.fit(X_train, y_train) is model
    model.score(X_test, y_test)
    run = only(recording)
    assert run.config["model"] == "LogisticRegression"
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
    assert (run.config["model"], run.config["model/pipeline"]) == (
        "LogisticRegression",
        "GridSearchCV > Pipeline",
    )
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
    assert [run.config["model"] for run in recording.runs] == ["LogisticRegression", "BaggingClassifier"]


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
    """An estimator of the user's own, with its fit wherever they like."""

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
    assert run.metrics["train/part/accuracy"] > 0.5
    assert run.config["data/train"]["rows"] == len(X_train)


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
