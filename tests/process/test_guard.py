from __future__ import annotations

import gc
import logging
import signal
import threading
import time
import weakref

import numpy as np
import pytest

from autolog.core.workers import carried
from autolog.process import background, guard
from autolog.process.context import watching
from autolog.process.guard import shield


class Account:
    overhead_seconds = 0.0

    def __init__(self) -> None:
        self.faults: list[str] = []

    def note_fault(self, message: str) -> None:
        self.faults.append(message)


def test_a_fault_is_swallowed_told_once_and_noted_in_the_run(
    caplog: pytest.LogCaptureFixture, expected_faults: list[guard.Fault]
) -> None:
    account = Account()
    for _ in range(3):
        with shield("here"):
            guard.charge(account)
            raise ValueError("ours")
    assert account.faults == ["here failed: ValueError: ours"] * 3
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "here failed: ValueError: ours" in warnings[0].getMessage()
    assert len(expected_faults) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_users_interrupts_pass(error: type[BaseException]) -> None:
    with pytest.raises(error), shield("here"):
        raise error
    assert not guard.inside_observer()


def test_time_is_charged_once_to_the_run_that_was_served() -> None:
    account = Account()
    with shield("outer"):
        with shield("inner"):
            guard.charge(account)
        assert account.overhead_seconds == 0
    assert account.overhead_seconds > 0
    spent = account.overhead_seconds
    with shield("somebody else's"):
        pass
    assert account.overhead_seconds == spent


def test_of_a_thread_that_nobody_waits_for_only_its_work_is_charged() -> None:
    waited, worked = Account(), Account()

    def wait() -> None:
        guard.charge(waited)
        time.sleep(0.5)  # as it waits for the interpreter while a training has it

    def work() -> None:
        guard.charge(worked)
        began = time.thread_time()
        while time.thread_time() < began + 0.05:
            pass

    background.later("waiting", wait)
    background.later("working", work)
    assert background.drain(30)
    assert 0 < waited.overhead_seconds < 0.25
    assert worked.overhead_seconds >= 0.05


def test_what_comes_again_and_again_keeps_no_job_waiting() -> None:
    begun, may_end, done = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        may_end.wait(60)

    background.every("waiting", 0.01, wait)
    try:
        assert begun.wait(60)
        background.later("working", done.set)
        assert done.wait(30)
        assert background.drain(30)
    finally:
        background.every("waiting", 0, wait)
        may_end.set()


def test_watching_nests_and_ends() -> None:
    assert not watching.active("a")
    with watching("a"):
        with watching("b"):
            assert watching.active("a")
            assert watching.active("b")
        assert not watching.active("b")
    assert not watching.active("a")


def test_carried_takes_our_context_into_a_thread_and_leaves_nothing_there() -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(watching.active("a"))

    with watching("a"):
        task = carried(look)

    def work() -> None:
        look()
        task()
        look()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True, False]


def test_carried_does_not_carry_the_users_own_context() -> None:
    with np.errstate(divide="raise"):
        task = carried(lambda: np.geterr()["divide"])
    result: list[str] = []
    thread = threading.Thread(target=lambda: result.append(task()))
    thread.start()
    thread.join()
    assert result == ["warn"]


def test_an_exception_of_the_users_signal_handler_is_his() -> None:
    def handler(number: int, frame: object) -> None:
        raise TimeoutError("his")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError, match="his"), shield("slow"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not guard.inside_observer()


def test_a_full_stack_silences_nothing_for_good(expected_faults: list[guard.Fault]) -> None:
    def deeper() -> None:
        with shield("deep"):
            deeper()

    deeper()
    assert not guard.inside_observer()
    assert guard.this_thread.depth == 0


def test_a_fault_keeps_nothing_of_the_user_alive(expected_faults: list[guard.Fault]) -> None:
    class Model:
        pass

    def fail() -> weakref.ref[Model]:
        model = Model()
        with shield("here"):
            raise ValueError(model)
        return weakref.ref(model)

    reference = fail()
    gc.collect()
    assert reference() is None
    assert "ValueError" in expected_faults[0].what
