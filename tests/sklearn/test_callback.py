"""scikit-learn's own callbacks: a fit that carries ours is recorded, enabled or not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.core.catalogue import FrameworkError
from autolog.process import hooks
from autolog.sklearn import TrackioCallback
from tests.programs import read, run, values

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)


@pytest.fixture
def into(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    autolog.finish()
    settings_module.use(None)


def test_a_fit_that_carries_it_is_a_whole_run_and_others_are_none(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    model.fit(X_train, y_train)
    accuracy = model.score(X_test, y_test)
    LogisticRegression(max_iter=300).fit(X_train, y_train).score(X_test, y_test)
    (kept,) = into.runs
    assert kept.status == "finished"
    assert kept.config["params"]["max_iter"] == 300
    assert kept.metrics["val/accuracy"] == pytest.approx(accuracy)
    assert kept.artifacts
    losses = kept.values("train/loss")
    assert len(losses) == model.n_iter_[0]
    assert losses[-1] == pytest.approx(log_loss(y_train, model.predict_proba(X_train)), rel=1e-3)
    assert losses[0] > losses[-1]
    assert [step for step, row in kept.rows if "train/loss" in row] == list(range(1, len(losses) + 1))


def test_beside_enable_each_thing_is_recorded_once(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    model.fit(X_train, y_train)
    (kept,) = recording.runs
    assert len(kept.values("train/accuracy")) == 1
    assert len(kept.values("train/loss")) == model.n_iter_[0]


def test_it_writes_to_the_run_that_it_is_given(into: MemorySink) -> None:
    with autolog.run("his") as his:
        pass_on = TrackioCallback(his)
        LogisticRegression(max_iter=300).set_callbacks(pass_on).fit(X_train, y_train)
        assert his.status == "running"
    (kept,) = into.runs
    assert (kept.name, kept.config["model"]) == ("his", "LogisticRegression")
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioCallback(his)


@pytest.mark.parametrize("wrong", [{"run": "baseline"}, {"max_propagation_depth": 1.5}])
def test_wrong_arguments_are_refused_with_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="expected"):
        TrackioCallback(**wrong)


def test_in_a_pipeline_the_last_steps_iterations_are_told(into: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.set_callbacks(TrackioCallback()).fit(X_train, y_train)
    (kept,) = into.runs
    assert kept.config["model"] == "Pipeline"
    assert len(kept.values("train/loss")) == model[-1].n_iter_[0]


def test_a_search_tells_the_last_loss_of_each_fit(into: MemorySink) -> None:
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 1.0]}, cv=3)
    search.set_callbacks(TrackioCallback()).fit(X_train, y_train)
    (kept,) = into.runs
    assert sorted(step for step, row in kept.rows if "search/loss" in row) == list(range(6))
    assert len(kept.values("train/loss")) == search.best_estimator_.n_iter_[0], "of the refit alone"


@pytest.mark.long
def test_under_loky_too(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from autolog.sklearn import TrackioCallback
        X, y = load_iris(return_X_y=True)
        search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 1.0]}, cv=3, n_jobs=2)
        search.set_callbacks(TrackioCallback()).fit(X, y)
        """,
    )
    run(tmp_path, "with autolog.run('next'): pass\nassert autolog.finish()")
    kept = next(r for r in read(tmp_path) if r["name"] != "next")
    rows = [row["step"] for row in kept["logs"] if "search/loss" in row]
    assert sorted(rows) == list(range(6))
    assert values(kept, "train/loss")
    assert kept["config"]["status"] == "finished"


def test_what_has_no_iterations_is_recorded_all_the_same(into: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), Ridge()).set_callbacks(TrackioCallback())
    model.fit(X_train, y_train)
    (kept,) = into.runs
    assert kept.values("train/loss") == []
    assert "train/r2" in kept.metrics


def test_the_budget_bounds_the_iterations_that_are_told(sink: MemorySink) -> None:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=0.0))
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback()).fit(X_train, y_train)
    (kept,) = sink.runs
    assert len(kept.values("train/loss")) == 1
    assert f"of 1 of {model.n_iter_[0]} iterations" in kept.config["autolog/notes"]["train/loss"]


def test_results_are_bit_identical_and_a_fault_changes_nothing(
    into: MemorySink, monkeypatch: pytest.MonkeyPatch, expected_faults: list[Any]
) -> None:
    bare = LogisticRegression(max_iter=300).fit(X_train, y_train).coef_
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    assert np.array_equal(model.fit(X_train, y_train).coef_, bare)
    monkeypatch.setattr(TrackioCallback, "_record", lambda *args: 1 / 0)
    assert np.array_equal(model.fit(X_train, y_train).coef_, bare)
    assert expected_faults
    assert "ZeroDivisionError" in into.runs[-1].config["autolog/faults"][0]


def test_it_pickles_copies_and_is_shared_by_clones(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    for other in (clone(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.fit(X_train, y_train)
    assert len(into.runs) == 3
    assert all(kept.values("train/loss") for kept in into.runs)


def test_a_failing_fit_fails_its_run(into: MemorySink) -> None:
    model = LogisticRegression().set_callbacks(TrackioCallback())
    with pytest.raises(ValueError, match="inconsistent"):
        model.fit(X_train, y_train[:3])
    assert [kept.status for kept in into.runs] == ["failed"]


def test_disable_turns_it_off_and_puts_everything_back(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    assert hooks.installed()
    autolog.disable()
    assert hooks.installed() == []
    settings_module.use(autolog.Settings(sink=into, log_code=False))
    model.fit(X_train, y_train)
    assert into.runs == []


def test_a_block_of_enabled_leaves_a_callback_armed(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    with autolog.enabled("sklearn"):
        pass
    model.fit(X_train, y_train)
    Ridge().fit(X_train, y_train)
    assert [kept.config["model"] for kept in into.runs] == ["LogisticRegression"]


def test_without_callbacks_in_scikit_learn_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    with pytest.raises(FrameworkError, match=r"pip install 'scikit-learn>=1.9'"):
        TrackioCallback()
