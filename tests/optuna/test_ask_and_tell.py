"""Studies by ask and tell: begun, told late, told by others, told never."""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import optuna
from optuna.trial import TrialState
from sklearn.linear_model import LogisticRegression

import autolog
from autolog import MemorySink
from autolog.process import background
from tests.optuna.studies import X, column, family, square, study, y


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
