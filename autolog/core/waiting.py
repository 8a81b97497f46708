"""How long a training waits for its next batch: what a GPU without work is often due to.

A framework hands a batch over by a function of its own. A hook on it asks here before each call. Only the
training itself is measured: an evaluation in the middle of it fetches batches, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["KEY", "Waiting", "observe_fetch", "waiting_here"]

KEY = "vitals/data_seconds"


class Waiting:
    """The seconds that one training has waited.

    Attributes:
        is_paused: an evaluation is at work.
    """

    def __init__(self) -> None:
        self.is_paused = False
        self._seconds = 0.0
        self._batches = 0

    def waited(self, seconds: float) -> None:
        """One more batch has come."""
        self._seconds += seconds
        self._batches += 1

    def begin(self) -> None:
        """An epoch begins."""
        self.is_paused, self._seconds, self._batches = False, 0.0, 0

    def row(self) -> dict[str, float]:
        """The seconds since the epoch began; nothing where no batch has passed by here."""
        return {KEY: self._seconds} if self._batches else {}


_here: ContextVar[Waiting | None] = ContextVar("autolog_waiting", default=None)


@contextmanager
def waiting_here() -> Iterator[Waiting]:
    """What is fetched inside is waited for by one training."""
    waiting = Waiting()
    token = _here.set(waiting)
    try:
        yield waiting
    finally:
        _here.reset(token)


def observe_fetch() -> Callable[[Any, Any], object] | None:
    """Before a batch is fetched: who is to be told of it."""
    waiting = _here.get()
    if waiting is None or waiting.is_paused:
        return None
    began = time.perf_counter()
    return lambda call, result: waiting.waited(time.perf_counter() - began)
