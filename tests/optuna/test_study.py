"""Studies: what is recorded of them and of their trials."""

from __future__ import annotations

import gc
import math
import pickle
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import autolog
from autolog import MemorySink
from autolog.core import background, guard
from autolog.core import settings as settings_module
from autolog.optuna import TrackioCallback
from autolog.optuna.described import is_shared, storage_of
from autolog.optuna.recorder import StudyRecorder
from autolog.sinks.memory import MemoryRun

X, y = load_iris(return_X_y=True)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("optuna", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.fixture
def with_sklearn(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("optuna", "sklearn", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


def study(seed: int = 0, **more: Any) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed), **more)


def square(trial: optuna.Trial) -> float:
    return float(trial.suggest_float("x", -1, 1) ** 2)


def family(sink: MemorySink) -> tuple[MemoryRun, list[MemoryRun]]:
    """The study's run, and those right below it."""
    autolog.finish()
    first, *others = sink.runs
    assert not [run for run in sink.runs if "autolog/faults" in run.config]
    return first, [run for run in others if run.parent == first.id]


def column(run: MemoryRun, name: str) -> list[Any]:
    """A column of the table of trials, by trial."""
    return [row.get(name) for row in sorted(run.tables["trials"], key=lambda row: row["trial"])]


# The study --------------------------------------------------------------------------------------------


def test_a_study_is_a_run_with_a_row_for_each_trial(recording: MemorySink) -> None:
    searched = study(
        study_name="squares", direction="minimize", pruner=optuna.pruners.ThresholdPruner(upper=3)
    )
    searched.optimize(square, n_trials=6, timeout=600)
    run, trials = family(recording)
    values = [trial.value for trial in searched.trials]
    assert run.name.startswith("squares-")
    assert (run.status, trials) == ("finished", [])
    assert run.values("objective/value") == values
    assert [step for step, row in run.rows if "objective/value" in row] == [0, 1, 2, 3, 4, 5]
    assert run.values("objective/value/best") == [min(values[: n + 1]) for n in range(6)]  # type: ignore[type-var]
    assert run.values("trials/complete") == [1, 2, 3, 4, 5, 6]
    assert all(seconds >= 0 for seconds in run.values("perf/trial_seconds"))
    config = run.config
    assert (config["framework"], config["study"]) == ("optuna", "squares")
    assert (config["sampler"], config["pruner"]) == ("RandomSampler", "ThresholdPruner")
    assert (config["storage"], config["direction"]) == ("InMemoryStorage", "minimize")
    assert config["params"]["n_trials"] == 6
    assert config["params"]["timeout"] == 600
    assert config["params"]["pruner/upper"] == 3
    assert config["search_space"]["x"] == {
        "type": "FloatDistribution", "low": -1.0, "high": 1.0, "log": False, "step": None,
    }  # fmt: skip
    assert (config["best/trial"], config["best/objective"]) == (searched.best_trial.number, min(values))  # type: ignore[type-var]
    assert config["best/params"] == searched.best_params
    assert config["best/x"] == searched.best_params["x"]
    assert [row["value"] for row in run.tables["trials"]] == pytest.approx(sorted(values), rel=1e-6)  # type: ignore[type-var]
    assert column(run, "params/x") == pytest.approx([t.params["x"] for t in searched.trials], rel=1e-6)
    assert column(run, "state") == ["complete"] * 6
    assert column(run, "distributions")[0] == "x: -1.0 to 1.0"
    assert {"history", "slice", "parallel_coordinates", "timeline", "importances"} <= set(run.charts)
    assert run.html["interactive"].count("Plotly.newPlot(") == 4


def test_what_a_trial_is_told_of_is_in_the_table(recording: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.set_user_attr("rows", 10 + trial.number)
        trial.report(0.5, 3)
        trial.report(0.7, 3)  # Optuna keeps the first
        return square(trial)

    study().optimize(objective, n_trials=2)
    run, trials = family(recording)
    assert column(run, "user/rows") == [10, 11]
    assert column(run, "intermediate") == ["3: 0.5", "3: 0.5"]
    assert column(run, "run") == [trial.name for trial in trials]
    assert [trial.config["user_attrs"] for trial in trials] == [{"rows": 10}, {"rows": 11}]
    assert [trial.values("intermediate/value") for trial in trials] == [[0.5], [0.5]]


def test_the_table_is_written_at_growing_counts_and_whole_at_the_end(recording: MemorySink) -> None:
    study().optimize(square, n_trials=70)
    tables = [
        record["values"]["trials"]
        for record in recording.records
        if record["kind"] == "row" and "trials" in record["values"]
    ]
    assert [len(table) for table in tables] == [4, 16, 50, 50]
    run, _ = family(recording)
    (whole,) = run.artifacts
    assert whole["metadata"] == {"rows": 70}


def test_names_and_the_best_of_several_objectives(recording: MemorySink) -> None:
    searched = study(directions=["minimize", "maximize"])
    searched.set_metric_names(["loss", "score"])
    points = [(3.0, 1.0), (2.0, 2.0), (1.0, 1.0), (2.0, 1.5), (4.0, 4.0)]

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        trial.suggest_float("x", 0, 1)
        return points[trial.number]

    searched.optimize(objective, n_trials=5)
    run, _ = family(recording)
    assert run.config["directions"] == {"loss": "minimize", "score": "maximize"}
    assert run.values("objective/loss/best") == [3, 2, 1, 1, 1]
    assert run.values("objective/score/best") == [1, 2, 2, 2, 4]
    assert run.config["best/trials"] == sorted(trial.number for trial in searched.best_trials) == [1, 2, 4]
    assert [row["trial"] for row in run.tables["trials"]][:3] == [2, 1, 4]
    assert {"pareto_front", "hypervolume", "history/loss", "history/score"} <= set(run.charts)
    assert run.charts["hypervolume"]["data"]["series"][0]["y"][-1] == pytest.approx(2 * 1 + 2 * 1, abs=3)
    assert "interactive" in run.html


def test_infeasible_trials_are_never_the_best(recording: MemorySink) -> None:
    def constraints(trial: Any) -> tuple[float]:
        return (1.0 if trial.number in (1, 2) else -1.0,)

    sampler = optuna.samplers.NSGAIISampler(seed=0, constraints_func=constraints)
    searched = optuna.create_study(sampler=sampler)
    searched.optimize(lambda trial: [5.0, 1.0, 2.0, 4.0][trial.number], n_trials=4)
    run, _ = family(recording)
    assert run.values("objective/value/best") == [5, 5, 5, 4]
    assert run.config["best/trial"] == 3
    assert column(run, "feasible") == [True, False, False, True]
    assert column(run, "constraints/0") == [-1, 1, 1, -1]


def test_no_trial_is_feasible_or_complete(recording: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        raise optuna.TrialPruned

    study().optimize(objective, n_trials=3)
    study().optimize(square, n_trials=0)
    autolog.finish()
    first, second = recording.runs
    assert (first.config["trials/pruned"], "best/trial" in first.config) == (3, False)
    assert second.status == "finished"
    assert "trials" not in second.tables


@pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
def test_choices_of_any_kind_and_secrets(recording: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("password", ["hunter2", "hunter3"])
        trial.suggest_categorical("login", ["password=hunter4", {"token": "hunter5"}, "none"])
        trial.suggest_categorical("layers", [[1, 2], [3], print, None])
        trial.set_user_attr("api_key", "hunter6")
        return square(trial)

    study().optimize(objective, n_trials=8)
    run, _ = family(recording)
    assert not guard.faults
    assert {row["parameter"] for row in run.tables["importances_table"]} == {"login", "layers", "x"}
    assert "interactive" in run.html or "interactive" in str(run.config["autolog/notes"])
    assert "[1, 2]" in str(run.charts["slice"])
    assert "hunter" not in "".join(map(str, (run.config, run.tables, run.charts, run.html)))


def test_an_objective_that_is_never_finite(recording: MemorySink) -> None:
    searched = study(directions=["minimize", "maximize"])
    searched.optimize(lambda trial: (square(trial), math.inf), n_trials=3)
    family(recording)
    assert not guard.faults


def test_how_trials_end(recording: MemorySink) -> None:
    searched = study(pruner=optuna.pruners.ThresholdPruner(upper=0.5))

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        if trial.number == 1:
            raise ValueError("his")
        if trial.number == 2:
            return math.nan
        if trial.number in (3, 4):
            for step in range(3):
                trial.report(step / 2, step)
                if trial.should_prune() and trial.number == 3:
                    raise optuna.TrialPruned("too much")
        if trial.number == 5:
            raise optuna.TrialPruned
        return 1.0

    searched.optimize(objective, n_trials=6, catch=ValueError)
    run, trials = family(recording)
    assert column(run, "state") == ["complete", "failed", "failed", "pruned", "complete", "pruned"]
    assert column(run, "value") == [1.0, None, None, None, 1.0, None]
    why = column(run, "why")
    assert why[1] == "ValueError: his"
    assert "nan" in why[2] or "told so" in why[2]
    assert why[3] == "by ThresholdPruner: too much"
    assert why[5] == "by the objective"
    assert column(run, "pruned_at")[3] == 2
    assert run.config["params"]["catch"] == ["ValueError"]
    assert [run.config[f"trials/{state}"] for state in ("complete", "failed", "pruned")] == [2, 2, 2]
    assert [trial.status for trial in trials] == ["pruned", "finished"]
    assert trials[0].config["pruned_at"] == 2
    assert trials[0].values("intermediate/value") == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("error", [ValueError("his"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_the_trial_that_ends_the_study(recording: MemorySink, error: BaseException) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.report(1.0, 0)
        if trial.number == 2:
            raise error
        return square(trial)

    searched = study()
    with pytest.raises(type(error)) as caught:
        searched.optimize(objective, n_trials=5)
    assert caught.value is error
    run, trials = family(recording)
    status = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
    assert [trial.status for trial in trials] == ["finished", "finished", status]
    assert run.status == status
    states = column(run, "state")
    assert states[:2] == ["complete"] * 2
    assert states[2] == ("running" if isinstance(error, SystemExit) else "failed")  # as Optuna leaves it
    if status == "failed" and isinstance(error, Exception):
        assert "ValueError" in run.alerts[0]["title"]
        assert column(run, "why")[2] == "ValueError: his"


def test_optimize_again_goes_on_in_the_run(recording: MemorySink) -> None:
    searched = study()
    searched.optimize(square, n_trials=2)
    assert recording.runs[0].status == "finished"

    def running(trial: optuna.Trial) -> float:
        assert recording.runs[0].status == "running"
        return square(trial)

    searched.optimize(running, n_trials=2)
    assert recording.runs[0].status == "finished"
    searched.optimize(lambda trial: 1 / 0, n_trials=1, catch=(ZeroDivisionError,))
    run, _ = family(recording)
    assert len(recording.runs) == 1
    assert run.status == "finished"
    assert len(run.values("objective/value")) == 4
    assert run.values("trials/complete") == [1, 2, 3, 4, 4]
    assert len(run.tables["trials"]) == 5


def test_many_short_calls_draw_few_pictures(recording: MemorySink) -> None:
    searched = study()
    for _ in range(60):
        searched.optimize(square, n_trials=1)
    run, _ = family(recording)
    assert len(run.values("objective/value")) == 60
    assert len(run.tables["trials"]) == 50
    assert 10 < [key for _, key in run.drawn].count("history") < 35
    assert run.artifacts[-1]["metadata"] == {"rows": 60}
    assert run.status == "finished"


def test_what_was_there_before_is_recorded_once(recording: MemorySink) -> None:
    searched = study()
    autolog.disable()
    searched.optimize(square, n_trials=3)
    with autolog.enabled("optuna", sink=recording, log_code=False):
        searched.enqueue_trial({"x": 0.5})
        searched.add_trial(create_trial(value=0.0))
        searched.optimize(square, n_trials=2)
        searched.add_trial(create_trial(state=TrialState.FAIL))
        searched.optimize(square, n_trials=1)
    run, _ = family(recording)
    assert sorted(step for step, row in run.rows if "perf/trial_seconds" in row) == list(range(8))
    assert column(run, "params/x")[3] == 0.5
    assert run.config["best/trial"] == 4
    assert run.values("trials/failed")[-1] == 1


def test_two_jobs(recording: MemorySink) -> None:
    later = threading.Event()

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            assert later.wait(30)
        autolog.current_run().log({"number": trial.number})
        if trial.number == 3:
            later.set()
        return [5.0, 7.0, 6.0, 1.0, 3.0, 2.0][trial.number]

    searched = study()
    searched.optimize(objective, n_trials=6, n_jobs=2)
    run, trials = family(recording)
    best = {step: row["objective/value/best"] for step, row in run.rows if "objective/value/best" in row}
    assert best == {0: 5, 1: 5, 2: 5, 3: 1, 4: 1, 5: 1}
    counts = {step: row["trials/complete"] for step, row in run.rows if "trials/complete" in row}
    assert counts == {n: n + 1 for n in range(6)}
    assert {trial.config["trial"]: trial.values("number") for trial in trials} == {n: [n] for n in range(6)}


def test_timeout_and_stop(recording: MemorySink) -> None:
    searched = study()
    searched.optimize(square, timeout=0)
    searched.optimize(lambda trial: searched.stop() or 1.0, n_trials=9)  # type: ignore[func-returns-value]
    run, _ = family(recording)
    assert len(run.tables["trials"]) == 1
    assert run.status == "finished"


def test_results_are_bit_identical(sink: MemorySink) -> None:
    def program() -> list[Any]:
        searched = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
        searched.optimize(square, n_trials=25)
        return [trial.params for trial in searched.trials]

    bare = program()
    with autolog.enabled("optuna", sink=sink, log_code=False):
        assert program() == bare


# Trials as runs ---------------------------------------------------------------------------------------


def test_a_trial_in_which_something_trains_is_a_run(with_sklearn: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        C = trial.suggest_float("C", 0.01, 10, log=True)
        if trial.number == 1:
            return 0.0
        model = LogisticRegression(C=C, max_iter=200).fit(X[::2], y[::2])
        extra = trial.suggest_int("late", 0, 3)
        return float(model.score(X[1::2], y[1::2])) + 0 * extra

    searched = study(direction="maximize")
    searched.optimize(objective, n_trials=3)
    run, trials = family(with_sklearn)
    assert len(with_sklearn.runs) == 3
    assert [trial.config["trial"] for trial in trials] == [0, 2]
    for trial in trials:
        frozen = searched.trials[trial.config["trial"]]
        assert trial.name == f"{run.name}-trial-{frozen.number}"
        assert trial.status == "finished"
        assert trial.config["model"] == "LogisticRegression"
        assert trial.config["params"]["C"] == frozen.params["C"]
        assert trial.config["params"]["late"] == frozen.params["late"]
        assert trial.config["params"]["max_iter"] == 200
        assert trial.config["hyperparameters"] == frozen.params
        assert trial.config["params/late"] == frozen.params["late"]
        assert trial.metrics["val/accuracy"] == trial.config["objective/value"] == frozen.value
        assert trial.metrics["objective/value"] == frozen.value
    assert column(run, "run") == [trials[0].name, None, trials[1].name]
    assert run.config["best/run"] in [trial.name for trial in trials]


def test_a_second_training_is_below_its_trial(with_sklearn: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        for C in (1.0, 2.0):
            LogisticRegression(C=C).fit(X, y)
        return 0.0

    study().optimize(objective, n_trials=2)
    _, trials = family(with_sklearn)
    below = [run for run in with_sklearn.runs if run.parent in {trial.id for trial in trials}]
    assert [run.config["params"]["C"] for run in trials] == [1.0, 1.0]
    assert [run.config["params"]["C"] for run in below] == [2.0, 2.0]


def test_a_training_that_is_pruned_has_not_failed(with_sklearn: MemorySink) -> None:
    class Stopping(LogisticRegression):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            raise optuna.TrialPruned("little hope")

    def objective(trial: optuna.Trial) -> float:
        if trial.number:
            LogisticRegression().fit(X, y)
        return float(Stopping().fit(X, y).score(X, y))

    study().optimize(objective, n_trials=2)
    run, trials = family(with_sklearn)
    assert run.status == "finished"
    assert [one.status for one in with_sklearn.runs[1:]] == ["pruned"] * 3
    assert with_sklearn.runs[-1].parent == trials[1].id
    assert not [one for one in with_sklearn.runs if one.alerts or "error" in one.config]
    assert column(run, "why") == ["by the objective: little hope"] * 2


@pytest.mark.parametrize("by", ["setting", "callback"])
@pytest.mark.parametrize(("trials", "count"), [("runs", 3), ("rows", 0)])
def test_all_trials_or_none(with_sklearn: MemorySink, by: str, trials: str, count: int) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number:
            trial.report(1.0, 0)
        if trial.number == 1:
            cross_val_score(LogisticRegression(), X, y)
            autolog.current_run().log({"his": 1.0})
        return square(trial)

    callbacks = [TrackioCallback(trials=trials)] if by == "callback" else None
    with autolog.enabled(**({"trials": trials} if by == "setting" else {})):
        study().optimize(objective, n_trials=3, callbacks=callbacks)
    run, children = family(with_sklearn)
    assert len(with_sklearn.runs) == 1 + count == 1 + len(children)
    assert [child.config["trial"] for child in children] == list(range(count))
    assert (run if trials == "rows" else children[1]).values("his") == [1.0]
    assert ("trials" in run.config.get("autolog/notes", {})) == (trials == "rows")
    LogisticRegression().fit(X, y)
    assert len(with_sklearn.runs) == 2 + count


def test_a_study_within_a_trial(recording: MemorySink) -> None:
    def outer(trial: optuna.Trial) -> float:
        inner = study(study_name=f"inner-{trial.number}")
        inner.optimize(square, n_trials=2)
        return inner.best_value

    study(study_name="outer").optimize(outer, n_trials=2)
    run, trials = family(recording)
    assert run.name.startswith("outer")
    assert [trial.config["trial"] for trial in trials] == [0, 1]
    inner = [r for r in recording.runs if r.parent in [trial.id for trial in trials]]
    assert [r.name[:7] for r in inner] == ["inner-0", "inner-1"]
    assert [len(r.tables["trials"]) for r in inner] == [2, 2]
    assert "trials" not in trials[0].tables


def test_a_run_of_the_users_holds_the_study(recording: MemorySink) -> None:
    with autolog.run("his") as his:
        study().optimize(square, n_trials=2)
        study().optimize(square, n_trials=3)
        assert his.status == "running"
        assert autolog.current_run() is his
    run, below = family(recording)
    assert (run.name, len(run.tables["trials"])) == ("his", 2)
    assert [len(r.tables["trials"]) for r in below] == [3]


def test_a_search_of_scikit_learns_kind_nests(with_sklearn: MemorySink) -> None:
    integration = pytest.importorskip("optuna_integration", reason="optuna-integration is not installed")
    distributions = {"C": optuna.distributions.FloatDistribution(0.1, 10)}
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        search = integration.OptunaSearchCV(LogisticRegression(), distributions, n_trials=3, random_state=0)
    search.fit(X, y)
    run, trials = family(with_sklearn)
    assert run.name.startswith("OptunaSearchCV")
    assert len(run.tables["trials"]) == 3
    assert [trial.config["trial"] for trial in trials] == [0, 1, 2]
    assert all("cv/folds" in trial.tables for trial in trials)


# Ask and tell -----------------------------------------------------------------------------------------


def test_ask_and_tell(with_sklearn: MemorySink) -> None:
    searched = study()
    for number in range(4):
        trial = searched.ask({"C": optuna.distributions.FloatDistribution(0.1, 1)})
        if number == 1:
            searched.tell(trial, state=TrialState.PRUNED)
            continue
        LogisticRegression(C=trial.params["C"]).fit(X, y)
        searched.tell(trial.number if number == 2 else trial, 1.0 / (1 + number))
    LogisticRegression().fit(X, y)
    assert with_sklearn.runs[0].status == "running"
    assert with_sklearn.runs[-1].parent is None
    run, trials = family(with_sklearn)
    assert run.status == "finished"
    assert [trial.config["trial"] for trial in trials] == [0, 2, 3]
    assert column(run, "state") == ["complete", "pruned", "complete", "complete"]
    assert run.values("objective/value/best") == [1.0, 1.0, 1 / 3, 1 / 4]
    assert "history" in run.charts


def test_a_trial_that_is_told_late_counts_from_then_on(recording: MemorySink) -> None:
    searched = study()
    late = searched.ask()
    searched.optimize(lambda _: 2.0, n_trials=2)
    searched.tell(late, 1.0)
    run, _ = family(recording)
    assert run.values("objective/value") == [2.0, 2.0, 1.0]
    assert run.values("objective/value/best") == [2.0, 2.0, 1.0]
    assert run.metrics["trials/complete"] == run.config["trials/complete"] == 3


def test_threads_that_begin_and_end_at_once(recording: MemorySink) -> None:
    searched, interval = study(), sys.getswitchinterval()

    def work() -> None:
        for _ in range(20):
            trial = searched.ask()
            searched.tell(trial, square(trial))
            searched.optimize(square, n_trials=1)

    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(5) as pool:
            for future in [pool.submit(work) for _ in range(5)]:
                future.result()
    finally:
        sys.setswitchinterval(interval)
    run, _ = family(recording)
    assert len(recording.runs) == 1
    assert len(run.values("objective/value")) == run.metrics["trials/complete"] == 200


def test_nothing_is_held_of_a_study_told_in_another_thread(recording: MemorySink) -> None:
    searched = study()
    kept = weakref.ref(searched._storage)
    trial = searched.ask()
    teller = threading.Thread(target=searched.tell, args=(trial, 1.0))
    teller.start()
    teller.join()
    del searched, trial, teller
    autolog.finish()
    background.drain(10)
    gc.collect()
    assert kept() is None


def test_several_asked_at_once(with_sklearn: MemorySink) -> None:
    searched = study()
    first, second = searched.ask(), searched.ask()
    second.report(2.0, 1)
    LogisticRegression().fit(X, y)  # whose it is, nobody can say
    searched.tell(second, 2.0)
    searched.tell(first, 1.0)
    run, below = family(with_sklearn)
    assert [child.config.get("trial") for child in below] == [1, None]
    assert "several" in run.config["autolog/notes"]["trials"]
    assert {step: row["objective/value/best"] for step, row in run.rows if "objective/value/best" in row} == {
        0: 1.0, 1: 1.0,
    }  # fmt: skip


def test_a_trial_that_nobody_tells_of(with_sklearn: MemorySink) -> None:
    searched = study()
    trial = searched.ask()
    trial.report(1.0, 0)
    del trial
    gc.collect()
    LogisticRegression().fit(X, y)
    assert with_sklearn.runs[-1].parent is None
    run, (child,) = family(with_sklearn)
    assert (run.status, child.status) == ("finished", "killed")
    assert column(run, "state") == ["running"]


def test_optimize_after_ask_goes_on_in_the_run(recording: MemorySink) -> None:
    searched = study()
    searched.tell(searched.ask(), 1.0)
    searched.optimize(square, n_trials=3)
    assert recording.runs[0].status == "finished"
    searched.tell(searched.ask(), 2.0)
    assert recording.runs[0].status == "running"
    run, _ = family(recording)
    assert len(recording.runs) == 1
    assert len(run.tables["trials"]) == 5


# The callback -----------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(sink: MemorySink) -> Iterator[MemorySink]:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    settings_module.use(None)


def test_the_first_callback_made_inside_the_call(by_hand: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.report(1.0, 0)
        if trial.number == 3:
            raise ValueError("his")
        return square(trial)

    searched = study()
    with pytest.raises(ValueError, match="his"):
        searched.optimize(objective, n_trials=5, callbacks=[TrackioCallback()])
    run, trials = family(by_hand)
    assert run.status == "failed"
    assert column(run, "state") == ["complete"] * 3 + ["failed"]
    assert [trial.status for trial in trials] == ["finished"] * 3 + ["failed"]
    searched.optimize(square, n_trials=1)  # carries none
    study().optimize(square, n_trials=1)
    asked = study()
    asked.tell(asked.ask(), 1.0)
    assert len(by_hand.runs) == 5
    assert len(family(by_hand)[0].values("objective/value")) == 3


def test_a_callback_and_enable_record_once(recording: MemorySink) -> None:
    callback = TrackioCallback()
    callbacks = [callback, optuna.study.MaxTrialsCallback(2)]
    study().optimize(square, n_trials=5, callbacks=callbacks)
    run, _ = family(recording)
    assert len(recording.runs) == 1
    assert run.values("objective/value").__len__() == 2
    assert callbacks[0] is callback


def test_callbacks_that_can_be_gone_through_once(recording: MemorySink) -> None:
    """Optuna takes any iterable."""
    seen: list[int] = []
    callbacks = iter([lambda _, trial: seen.append(trial.number)])
    study().optimize(square, n_trials=2, callbacks=callbacks)  # the first trial uses it up
    assert seen == [0]
    with pytest.raises(TypeError, match="not iterable"):
        study().optimize(square, n_trials=2, callbacks=print)  # type: ignore[arg-type]
    assert not guard.faults


def test_each_call_says_which_trials_are_runs(by_hand: MemorySink) -> None:
    searched = study()
    for trials in ("rows", "runs"):
        searched.optimize(square, n_trials=2, callbacks=[TrackioCallback(trials=trials)])
    _, trials_of = family(by_hand)
    assert [trial.config["trial"] for trial in trials_of] == [2, 3]


def test_a_callback_with_a_run(by_hand: MemorySink) -> None:
    with autolog.run("his") as his:
        callback = TrackioCallback(his)
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioCallback(his)
    with autolog.run("another") as another:
        pass_on = TrackioCallback(another)
        study().optimize(square, n_trials=2, callbacks=[pass_on])
    assert by_hand.runs[1].values("objective/value/best")
    assert callback.run is his
    with pytest.raises(TypeError, match="expected a run"):
        TrackioCallback("his")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="auto, runs, rows"):
        TrackioCallback(trials="all")
    with pytest.raises(autolog.SettingError, match="Did you mean 'rows'"):
        autolog.enable("optuna", trials="row")


def test_a_callback_called_by_hand(by_hand: MemorySink) -> None:
    callback, searched = TrackioCallback(), study()
    for value in (2.0, 1.0):
        callback(searched, searched.tell(searched.ask(), value))
    run, _ = family(by_hand)
    assert run.values("objective/value") == [2.0, 1.0]
    assert run.status == "finished"


def test_a_callback_is_off_after_disable_and_pickles(by_hand: MemorySink) -> None:
    callback = TrackioCallback(trials="runs")
    copied = pickle.loads(pickle.dumps(callback))
    assert (copied.run, copied.trials) == (None, "runs")
    autolog.disable()
    searched = study()
    searched.optimize(square, n_trials=2, callbacks=[callback])
    callback(searched, searched.tell(searched.ask(), 1.0))
    assert by_hand.runs == []


# Where it is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://anna:s3cret@db:5432/trials", "postgresql://anna@db:5432/trials"),
        ("mysql+pymysql://anna:p@ss/w@db/trials?password=x", "mysql+pymysql://anna@db/trials"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
        ("", ""),
    ],
)
def test_a_storage_without_its_password(url: str, said: str) -> None:
    class Storage:
        def __init__(self) -> None:
            self.url = url

    class Searched:
        _storage = Storage()

    assert storage_of(Searched()) == f"Storage {said}".strip()
    assert is_shared(Searched()) == bool(url)


def test_who_tells_a_later_time_has_looked_at_the_trials_later(
    recording: MemorySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = StudyRecorder._trials

    def looking(recorder: StudyRecorder) -> list[Any]:
        looked.append(datetime.now(UTC).isoformat())
        return look(recorder)

    monkeypatch.setattr(StudyRecorder, "_trials", looking)
    study(storage=f"sqlite:///{tmp_path}/study.db", study_name="shared").optimize(square, n_trials=3)
    run, _ = family(recording)
    assert run.config["trials/complete"] == 3
    assert run.config["as_of"] <= looked[-1]
