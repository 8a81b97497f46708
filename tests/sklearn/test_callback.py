"""scikit-learn's own callbacks: a fit that carries ours is recorded, enabled or not."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

import joblib
from sklearn.base import clone
from sklearn.callback import AutoPropagatedCallback, FitCallback
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.core.catalogue import FrameworkError
from autolog.process import hooks
from autolog.sklearn import TrackioCallback
from autolog.sklearn.callback import _Follower
from tests.keys import undocumented
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
    assert (kept.config["model"], kept.config["model/pipeline"]) == ("LogisticRegression", "Pipeline")
    assert len(kept.values("train/loss")) == model[-1].n_iter_[0]


def test_a_search_tells_the_last_loss_of_each_fit(into: MemorySink) -> None:
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 1.0]}, cv=3)
    search.set_callbacks(TrackioCallback()).fit(X_train, y_train)
    (kept,) = into.runs
    assert sorted(step for step, row in kept.rows if "search/loss" in row) == list(range(6))
    assert len(kept.values("train/loss")) == search.best_estimator_.n_iter_[0], "of the refit alone"


@pytest.mark.long
@pytest.mark.parametrize("place", ["search", "search.estimator"])
def test_under_loky_too(tmp_path: Path, place: str) -> None:
    run(
        tmp_path,
        f"""
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from autolog.sklearn import TrackioCallback
        X, y = load_iris(return_X_y=True)
        search = GridSearchCV(LogisticRegression(max_iter=300), {{"C": [0.01, 1.0]}}, cv=3, n_jobs=2)
        {place}.set_callbacks(TrackioCallback())
        search.fit(X, y)
        """,
    )
    run(tmp_path, "with autolog.run('next'): pass\nassert autolog.finish()")
    kept = next(r for r in read(tmp_path) if r["name"] != "next")
    rows = [row["step"] for row in kept["logs"] if "search/loss" in row]
    assert sorted(rows) == list(range(6))
    assert values(kept, "train/loss")
    assert kept["config"]["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["search", "search.estimator"])
def test_with_workers_that_it_does_not_get_to_the_fit_goes_on_and_a_note_says_so(
    tmp_path: Path, place: str
) -> None:
    run(
        tmp_path,
        f"""
        import joblib
        from sklearn.datasets import load_iris
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from autolog.sklearn import TrackioCallback
        X, y = load_iris(return_X_y=True)
        search = GridSearchCV(LogisticRegression(max_iter=300), {{"C": [1.0]}}, cv=3, error_score="raise")
        {place}.set_callbacks(TrackioCallback())
        with joblib.parallel_backend("multiprocessing", n_jobs=2):
            search.fit(X, y)
        assert autolog.finish()
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert "joblib's backend multiprocessing" in kept["config"]["autolog/notes"]["iterations"]
    assert values(kept, "train/loss"), "of the refit, which is made here"


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


def test_copies_and_clones_share_it(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback())
    for other in (clone(model), copy.deepcopy(model), copy.copy(model)):
        other.fit(X_train, y_train)
    assert len(into.runs) == 3
    assert all(kept.values("train/loss") for kept in into.runs)


class HisCallback(TrackioCallback):
    """One of the user's own, who adds to ours."""


@pytest.mark.parametrize("kind", [TrackioCallback, HisCallback])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_model_in_a_file_needs_no_autolog(into: MemorySink, kind: Any, protocol: int) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(kind()).fit(X_train, y_train)
    pickled = pickle.dumps(model, protocol)
    assert b"autolog" not in pickled
    other = pickle.loads(pickled)
    assert np.array_equal(other.coef_, model.coef_)
    other.fit(X_train, y_train)  # what stands in its place does nothing
    assert len(into.runs) == 1
    other.set_callbacks(kind()).fit(X_train, y_train)
    assert len(into.runs) == 2


@pytest.mark.parametrize("kind", [TrackioCallback, HisCallback])
def test_what_goes_to_another_process_is_the_callback(into: MemorySink, kind: Any) -> None:
    from multiprocessing.reduction import ForkingPickler

    from joblib.externals.loky.backend.reduction import dumps

    callback = kind(max_propagation_depth=2)
    callback.his = "his"
    follower = _Follower(callback, 3)
    assert type(pickle.loads(pickle.dumps(follower))) is FitCallback
    for dump in (ForkingPickler.dumps, dumps):
        one, other, handed_down = pickle.loads(dump([callback, callback, follower]))
        assert (handed_down.callback, handed_down.max_propagation_depth) == (one, 3)
        assert type(one) is kind
        assert one is other
        assert (one._depth, one.his, one.run) == (2, "his", None)


def test_one_from_a_file_of_an_older_version_can_be_set_anywhere(into: MemorySink) -> None:
    old = TrackioCallback.__new__(TrackioCallback)
    old.__setstate__({"run": None, "max_propagation_depth": 2})
    assert old._depth == 2
    assert not isinstance(old, AutoPropagatedCallback)


def test_such_a_file_is_read_where_autolog_cannot_be_imported(into: MemorySink, tmp_path: Path) -> None:
    search = GridSearchCV(
        LogisticRegression(max_iter=300).set_callbacks(TrackioCallback()), {"C": [0.1, 1.0]}
    )
    search.set_callbacks(TrackioCallback()).fit(X_train, y_train)
    joblib.dump(search, tmp_path / "search.joblib")
    program = f"""
import sys
sys.modules["autolog"] = None  # an import of it raises, as if it were not installed
import joblib
import joblib
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
X, y = load_iris(return_X_y=True)
search = joblib.load({str(tmp_path / "search.joblib")!r})
print(search.score(X, y))
clone(search).fit(X, y)
search.best_estimator_.fit(X, y)
assert not [name for name in sys.modules if name.startswith("autolog.")]
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) == search.score(X, y)


def _carrying(**settings: Any) -> LogisticRegression:
    return LogisticRegression(max_iter=300, **settings).set_callbacks(TrackioCallback())


_PIPELINE_GRID = {"logisticregression__C": [0.01, 1.0]}

INSIDE = {
    "search": (lambda: GridSearchCV(_carrying(), {"C": [0.01, 1.0]}, cv=3), "search", 6),
    "both": (
        lambda: GridSearchCV(_carrying(), {"C": [0.01, 1.0]}, cv=3).set_callbacks(TrackioCallback()),
        "search",
        6,
    ),
    "pipeline in a search": (
        lambda: GridSearchCV(make_pipeline(StandardScaler(), _carrying()), _PIPELINE_GRID, cv=3),
        "search",
        6,
    ),
    "around the step, in a search": (
        lambda: GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression()).set_callbacks(TrackioCallback()),
            _PIPELINE_GRID,
            cv=3,
        ),
        "search",
        6,
    ),
    "in the grid": (
        lambda: GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression()),
            {"logisticregression": [_carrying(), Ridge()]},
            cv=3,
            error_score=-1.0,
        ),
        "search",
        3,
    ),
    "ensemble": (lambda: BaggingClassifier(_carrying(), n_estimators=4, random_state=0), "fits", 4),
}


@pytest.mark.parametrize("place", INSIDE)
def test_inside_of_another_one_the_outermost_call_is_the_run(
    into: MemorySink, place: str, recwarn: pytest.WarningsRecorder
) -> None:
    make, among, fits = INSIDE[place]
    model = make().fit(X_train, y_train)
    model.score(X_test, y_test)
    (kept,) = into.runs
    assert type(model).__name__ == kept.config.get("model/pipeline", kept.config["model"]).split(" > ")[0]
    assert kept.status == "finished"
    assert "val/accuracy" in kept.metrics
    assert sorted(step for step, row in kept.rows if f"{among}/loss" in row) == list(range(fits))
    refit = getattr(model, "best_estimator_", None)
    last = refit[-1] if isinstance(refit, Pipeline) else refit
    assert len(kept.values("train/loss")) == (last.n_iter_[0] if last is not None else 0)
    assert undocumented(kept) == set()


def test_of_an_estimator_in_a_pipeline_the_pipeline_is_the_run(into: MemorySink) -> None:
    model = make_pipeline(StandardScaler(), _carrying()).fit(X_train, y_train)
    (kept,) = into.runs
    assert kept.config["model/pipeline"] == "Pipeline"
    assert len(kept.values("train/loss")) == model[-1].n_iter_[0]


def test_a_cross_validation_of_one_that_carries_it_is_a_run(into: MemorySink) -> None:
    cross_validate(LogisticRegression(max_iter=300), X, y, cv=3)
    assert into.runs == []
    with autolog.run("his") as his:
        model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback(his))
        cross_validate(model, X, y, cv=3)
    (kept,) = into.runs
    assert (kept.name, kept.config["cv/function"]) == ("his", "cross_validate")
    assert len(kept.tables["cv/folds"]) == 3
    assert len(kept.values("cv/loss")) == 3


def test_two_on_one_estimator_tell_each_thing_once(into: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).set_callbacks(TrackioCallback(), TrackioCallback())
    model.fit(X_train, y_train)
    (kept,) = into.runs
    assert len(kept.values("train/loss")) == model.n_iter_[0]


@pytest.mark.parametrize(("depth", "told"), [(0, False), (1, False), (2, True), (None, True)])
def test_so_many_levels_tell_of_their_iterations(into: MemorySink, depth: int | None, told: bool) -> None:
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), _PIPELINE_GRID, cv=3)
    search.set_callbacks(TrackioCallback(max_propagation_depth=depth)).fit(X_train, y_train)
    (kept,) = into.runs
    assert bool(kept.values("search/loss")) is told


def test_the_results_of_a_search_that_has_it_inside_are_the_same_bits(into: MemorySink) -> None:
    bare = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.01, 1.0]}, cv=3).fit(X_train, y_train)
    ours = GridSearchCV(_carrying(), {"C": [0.01, 1.0]}, cv=3).fit(X_train, y_train)
    assert np.array_equal(bare.best_estimator_.coef_, ours.best_estimator_.coef_)
    assert np.array_equal(bare.cv_results_["mean_test_score"], ours.cv_results_["mean_test_score"])
    assert ours.best_estimator_._skl_callbacks == ours.estimator._skl_callbacks, "nothing else is left there"


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
