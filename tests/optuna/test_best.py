"""What is called the best is the study's best, over all trials in its storage, whoever made them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import autolog
from autolog import MemorySink
from autolog.optuna.recorder import StudyRecorder
from autolog.optuna.table import best_first, pareto_front
from autolog.sinks.memory import MemoryRun
from tests.optuna.studies import study


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/study.db"


def returning(*values: Any) -> Any:
    """An objective that returns these, one after the other."""
    left: Iterator[Any] = iter(values)
    return lambda trial: next(left)


def elsewhere(url: str, *values: Any) -> None:
    """Trials of another process, which records nothing."""
    program = f"""
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
values = iter({values!r})
optuna.load_study(study_name="shared", storage={url!r}).optimize(lambda trial: next(values), {len(values)})
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def of_the_study(sink: MemorySink) -> MemoryRun:
    (run,) = [run for run in sink.runs if run.parent is None]
    assert "autolog/faults" not in run.config
    return run


def is_of(run: MemoryRun, searched: optuna.Study) -> bool:
    """Whether the run's best is the study's best of now."""
    best = searched.best_trial
    return (run.config["best/trial"], run.config["best/objective"]) == (best.number, best.value)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_better_trial_of_a_short_call_is_the_best_at_once(
    recording: MemorySink, url: str, where: str
) -> None:
    searched = study(storage=url if where == "file" else None, study_name="shared")
    searched.optimize(returning(*range(40, 20, -1)), n_trials=20)
    searched.optimize(returning(1.0), n_trials=1)  # too few for the whole table once more
    assert is_of(of_the_study(recording), searched)


def test_better_trials_are_the_best_while_the_study_goes_on(recording: MemorySink, url: str) -> None:
    searched = study(storage=url, study_name="shared")
    seen: list[bool] = []

    def objective(trial: optuna.Trial) -> float:
        if trial.number:
            seen.append(is_of(of_the_study(recording), searched))
        return 30.0 - trial.number if trial.number in (5, 6, 13, 14) else 100.0

    searched.optimize(objective, n_trials=16)
    assert all(seen)


def test_a_better_trial_of_another_process_is_the_best_as_soon_as_it_is_seen(
    recording: MemorySink, url: str
) -> None:
    searched = study(storage=url, study_name="shared")
    searched.optimize(returning(*range(40, 20, -1)), n_trials=20)
    elsewhere(url, 1.0)
    searched.optimize(returning(5.0), n_trials=1)
    run = of_the_study(recording)
    assert is_of(run, searched)
    assert run.metrics["objective/value/best"] == 1.0


def test_a_trial_that_ends_after_later_ones_of_another_process_counts_in_the_end(
    recording: MemorySink, url: str
) -> None:
    searched = study(storage=url, study_name="shared")

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 2:
            elsewhere(url, 9.0)  # it is number 3, and has ended before number 2
            return 1.0
        return 5.0

    searched.optimize(objective, n_trials=3)
    run = of_the_study(recording)
    assert is_of(run, searched)
    last = max(step for step, row in run.rows if "objective/value/best" in row)
    assert last == 3
    assert run.metrics["objective/value/best"] == 1.0


def test_what_was_asked_for_and_told_sees_the_others_in_the_end(recording: MemorySink, url: str) -> None:
    searched = study(storage=url, study_name="shared")
    for value in (9.0, 8.0, 7.0, 7.5):
        searched.tell(searched.ask(), value)
    elsewhere(url, 1.0)
    searched.tell(searched.ask(), 8.5)
    autolog.finish()
    run = of_the_study(recording)
    assert is_of(run, searched)
    assert run.metrics["objective/value/best"] == 1.0


def test_two_objects_of_one_study_have_its_best(recording: MemorySink, url: str) -> None:
    first = study(storage=url, study_name="shared")
    first.optimize(returning(*range(40, 20, -1)), n_trials=20)
    second = optuna.load_study(study_name="shared", storage=url)
    second.optimize(returning(1.0), n_trials=1)
    assert is_of(of_the_study(recording), first)
    first.optimize(returning(4.0), n_trials=1)
    assert is_of(of_the_study(recording), first)


def test_pruned_failed_and_endless_trials_are_none_of_the_best(recording: MemorySink, url: str) -> None:
    searched = study(storage=url, study_name="shared")

    def objective(trial: optuna.Trial) -> float:
        if trial.number == 1:
            trial.report(-50.0, 1)
            raise optuna.TrialPruned
        return [3.0, 0.0, math.nan, math.inf, 2.0][trial.number]

    searched.optimize(objective, n_trials=5)
    run = of_the_study(recording)
    assert (run.config["best/trial"], run.config["best/objective"]) == (4, 2.0)
    assert run.metrics["objective/value/best"] == 2.0


def test_a_value_that_is_none_is_never_the_best() -> None:
    # Optuna takes none today; a storage may hold one of an older version.
    def trial(number: int, *values: float) -> Any:
        frozen = optuna.trial.create_trial(values=[1.0] * len(values))
        frozen.number, frozen._values = number, list(values)
        return frozen

    trials = [trial(0, 2.0), trial(1, math.nan), trial(2, 1.0)]
    assert [one.number for one in best_first(trials, ["minimize"])] == [2, 0, 1]
    pairs = [trial(0, 2.0, 1.0), trial(1, math.nan, 0.0), trial(2, 1.0, 2.0)]
    assert pareto_front(pairs, ["minimize", "minimize"]) == [0, 2]


def test_the_front_is_that_of_all_trials(recording: MemorySink, url: str) -> None:
    searched = study(storage=url, study_name="shared", directions=["minimize", "maximize"])
    searched.optimize(returning(*[(n, n) for n in range(20)]), n_trials=20)
    searched.optimize(returning((-1.0, 7.5)), n_trials=1)
    run = of_the_study(recording)
    front = sorted(trial.number for trial in searched.best_trials)
    assert run.config["best/trials"] == front
    assert run.config["best/count"] == len(front)


def test_the_best_has_no_parameter_of_the_one_before(recording: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number == 0:
            trial.suggest_float("C", 1, 1)
        trial.suggest_categorical("objective", ["a name like one of ours"])
        return -trial.number

    study().optimize(objective, n_trials=2)
    run = of_the_study(recording)
    assert run.config["best/C"] is None
    assert run.config["best/objective"] == -1.0
    assert run.config["best/params"] == {"objective": "a name like one of ours"}


def test_trials_that_are_ever_better_are_looked_through_seldom(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    look = StudyRecorder._trials

    def looking(recorder: StudyRecorder) -> list[Any]:
        nonlocal seen
        trials = look(recorder)
        seen += len(trials)
        return trials

    monkeypatch.setattr(StudyRecorder, "_trials", looking)
    searched = study()
    searched.optimize(returning(*range(1000, 0, -1)), n_trials=1000)
    assert is_of(of_the_study(recording), searched)
    assert seen < 20 * 1000
