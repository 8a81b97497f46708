"""Exceptions that a signal handler of the user's raises while our code happens to run."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from autolog.capture.params import sanitize


class SlowToPrint:
    def __repr__(self) -> str:
        time.sleep(5)
        return "slow"


def test_a_timeout_of_the_users_is_not_taken_for_a_parameter_that_cannot_be_read() -> None:
    class TimeoutOfTheUsersError(Exception):
        pass

    def too_late(*args: Any) -> None:
        raise TimeoutOfTheUsersError

    before = signal.signal(signal.SIGALRM, too_late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeoutOfTheUsersError):
            sanitize({"a": {"b": SlowToPrint()}})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
