"""Studies: what is recorded of them and of their trials."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

import autolog
from autolog import MemorySink
from autolog.optuna.described import is_shared, storage_of
from autolog.optuna.recorder import StudyRecorder
from autolog.process import guard
from tests.optuna.studies import column, family, square, study

# The study --------------------------------------------------------------------------------------------


def test_a_study_is_a_run_with_a_row_for_each_trial(recording: MemorySink) -> None:
    searched = study(
        study_name="squares", direction="minimize", pruner=optuna.pruners.ThresholdPruner(upper=3)
    )
    searched.optimize(square, n_trials=6, timeout=600)
    run, trials = family(recording)
    values = [trial.value for trial in searched.trials]
    assert run.name.startswith("squares ·")
    assert (run.status, trials) == ("finished", [])
    assert run.values("objective/value") == values
    assert [step for step, row in run.rows if "objective/value" in row] == [0, 1, 2, 3, 4, 5]
    assert run.values("objective/value/best") == [min(values[: n + 1]) for n in range(6)]  # type: ignore[type-var]
    assert run.values("trials/complete") == [1, 2, 3, 4, 5, 6]
    assert all(seconds >= 0 for seconds in run.values("vitals/trial_seconds"))
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
    told = recording.runs[0].config["autolog/notes"]["trials"]
    assert told == "the first 50 rows; all are in the artifact trials"
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
    assert sorted(step for step, row in run.rows if "vitals/trial_seconds" in row) == list(range(8))
    assert column(run, "params/x")[3] == 0.5
    assert run.config["best/trial"] == 4
    assert run.values("trials/failed") == [1, 1]  # from the first one on
    assert "trials/pruned" not in run.metrics
    assert run.config["trials/pruned"] == 0


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
