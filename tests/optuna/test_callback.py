"""The callback, by which one call of ``optimize`` is recorded."""

from __future__ import annotations

import pickle

import optuna
import pytest

import autolog
from autolog import MemorySink
from autolog.optuna import TrackioCallback
from autolog.process import guard
from tests.optuna.studies import column, family, square, study


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
