"""Shields and the clock: our faults never reach the user's program, and our time is counted.

Everything of ours that runs inside a user's call runs inside a :class:`shield`. A shield catches our
faults, never the user's: the user's own function is called outside of it.
"""

from __future__ import annotations

import functools
import logging
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable
from time import perf_counter, thread_time
from types import TracebackType
from typing import Any, Protocol, TypeVar

from autolog.process import forks, quiet
from autolog.process.interrupts import came_by_signal

__all__ = [
    "Fault",
    "aside",
    "charge",
    "faults",
    "inside_observer",
    "measured",
    "shield",
    "spent_here",
]

logger = logging.getLogger("autolog")

F = TypeVar("F", bound=Callable[..., Any])


class Account(Protocol):
    """Whoever pays for our time: a run."""

    overhead_seconds: float

    def note_fault(self, message: str) -> None:
        """Remember that a fault of ours cost this run a record."""


class Fault:
    """A fault of autolog's own, caught by a shield.

    Keeps texts only: an exception's traceback would keep the user's model and data alive.
    """

    def __init__(self, where: str, error: Exception):
        self.where = where
        self.what = f"{type(error).__name__}: {error}"
        self.traceback = "".join(traceback.format_exception(error))

    def __repr__(self) -> str:
        return f"Fault({self.where!r}, {self.what!r})"


faults: deque[Fault] = deque(maxlen=100)
"""The last faults, for tests and bug reports. Empty is how it should be."""

_told: Counter[str] = Counter()


class _Thread(threading.local):
    """What one thread is doing: how deep in our code, since when, on whose account."""

    depth = 0
    shields = 0
    started = 0.0
    clock: Callable[[], float] = perf_counter
    account: Account | None = None


this_thread = _Thread()


def aside() -> None:
    """This thread is ours, and nobody waits for it: what it costs is its CPU time.

    It waits for the interpreter most of the time while a training runs, which costs the training nothing.
    """
    this_thread.clock = thread_time


class _Clock:
    """Time spent in our own code, outermost entry only, charged to the run that it served.

    Nothing that our code is warned of is seen, see :mod:`autolog.process.quiet`.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        if this_thread.depth == 0:
            quiet.begin()
            this_thread.started = this_thread.clock()
            this_thread.account = None
        this_thread.depth += 1

    def __exit__(self, *exc: object) -> None:
        this_thread.depth -= 1
        if this_thread.depth != 0:
            return
        quiet.end()
        if this_thread.account is not None:
            account, this_thread.account = this_thread.account, None
            try:
                account.overhead_seconds += this_thread.clock() - this_thread.started
            except Exception:  # no shield is around this one any more
                logger.debug("time could not be charged", exc_info=True)


_clock = _Clock()


class shield:  # noqa: N801 - reads as a statement: with shield("..."):
    """Our code in here may fail; the user's program goes on.

    Args:
        where: what is being done, for the message, e.g. ``"scikit-learn fit: parameters"``.
        account: whom it is done for, as by :func:`charge`.

    An ``Exception`` is swallowed, logged once per place, kept in :data:`faults`, and noted in the run
    that was being served. ``KeyboardInterrupt`` and ``SystemExit`` are the user's and pass.
    """

    __slots__ = ("account", "where")

    def __init__(self, where: str, account: Account | None = None):
        self.where = where
        self.account = account

    def __enter__(self) -> shield:
        before = this_thread.depth, this_thread.shields
        try:
            _clock.__enter__()
            if self.account is not None:
                this_thread.account = self.account
            this_thread.shields += 1
            return self
        except BaseException:  # Ctrl-C, say: this thread is the user's again
            this_thread.depth, this_thread.shields = before
            if before[0] == 0:
                quiet.end()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            ours = isinstance(error, Exception) and not came_by_signal(error)
            if ours:
                _report(self.where, error)  # type: ignore[arg-type]
            return ours
        except Exception:  # no room left on the stack, say: silence is better than a second fault
            return True
        finally:
            this_thread.shields -= 1
            _clock.__exit__()


def _report(where: str, error: Exception) -> None:
    faults.append(Fault(where, error))
    message = f"{where} failed: {type(error).__name__}: {error}"
    if this_thread.account is not None:
        try:
            this_thread.account.note_fault(message)
        except Exception:
            logger.debug("a fault could not be noted in its run", exc_info=True)
    _told[where] += 1
    if _told[where] == 1:
        told = message.rstrip(".")
        logger.warning("autolog: %s. The training goes on; this record is missing from the run.", told)
        logger.debug("%s", faults[-1].traceback)


def inside_observer() -> bool:
    """Whether this thread runs our code inside a user's call (rather than the user calling us).

    Hooks are silent then: what an observer calls of a framework is not the user's doing.
    """
    return this_thread.shields > 0


def charge(account: Account) -> None:
    """The time of the entry that is going on belongs to this run."""
    if this_thread.depth > 0:
        this_thread.account = account


def spent_here() -> float:
    """Seconds of the entry that is going on in this thread, not charged yet."""
    return this_thread.clock() - this_thread.started if this_thread.depth > 0 else 0.0


def measured(function: F) -> F:
    """Decorate a public method: its time is overhead, its errors are the user's to see."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _clock:
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def _forget_in_child() -> None:
    """A forked child is nobody's entry in progress."""
    this_thread.depth = this_thread.shields = 0
    this_thread.account = None


forks.when_forked("guard", in_child=_forget_in_child)
