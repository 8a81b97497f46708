"""Never break (shield), never twice (watching), across threads (carried), what it cost (the clock).

Everything of ours that runs inside a user's call runs inside a :class:`shield`. A shield catches our
faults, never the user's: the user's own function is called outside of it.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter, thread_time
from types import TracebackType
from typing import Any, Protocol, TypeVar

from autolog.capture.interrupts import came_by_signal

__all__ = [
    "Fault",
    "aside",
    "carried",
    "charge",
    "faults",
    "inside_observer",
    "measured",
    "shield",
    "watching",
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

account_of: Callable[[Any], Account | None] = lambda subject: None  # noqa: E731 - set by ownership.py
"""Whose account is charged for a call on this object."""


class _Thread(threading.local):
    """What one thread is doing: how deep in our code, since when, on whose account."""

    depth = 0
    shields = 0
    started = 0.0
    clock: Callable[[], float] = perf_counter
    account: Account | None = None


here = _Thread()


def aside() -> None:
    """This thread is ours, and nobody waits for it: what it costs is its CPU time.

    It waits for the interpreter most of the time while a training runs, which costs the training nothing.
    """
    here.clock = thread_time


class _Clock:
    """Time spent in our own code, outermost entry only, charged to the run that it served."""

    __slots__ = ()

    def __enter__(self) -> None:
        if here.depth == 0:
            here.started = here.clock()
            here.account = None
        here.depth += 1

    def __exit__(self, *exc: object) -> None:
        here.depth -= 1
        if here.depth == 0 and here.account is not None:
            account, here.account = here.account, None
            try:
                account.overhead_seconds += here.clock() - here.started
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
        _clock.__enter__()
        here.shields += 1
        if self.account is not None:
            here.account = self.account
        return self

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
            here.shields -= 1
            _clock.__exit__()


def _report(where: str, error: Exception) -> None:
    faults.append(Fault(where, error))
    message = f"{where} failed: {type(error).__name__}: {error}"
    if here.account is not None:
        try:
            here.account.note_fault(message)
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
    return here.shields > 0


def charge(account: Account) -> None:
    """The time of the entry that is going on belongs to this run."""
    if here.depth > 0:
        here.account = account


def spent_here() -> float:
    """Seconds of the entry that is going on in this thread, not charged yet."""
    return here.clock() - here.started if here.depth > 0 else 0.0


def measured(function: F) -> F:
    """Decorate a public method: its time is overhead, its errors are the user's to see."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        _clock.__enter__()
        try:
            return function(*args, **kwargs)
        finally:
            _clock.__exit__()

    return wrapper  # type: ignore[return-value]


# Never twice ------------------------------------------------------------------------------------

watched: ContextVar[frozenset[str]] = ContextVar("autolog_watched", default=frozenset())


class watching:  # noqa: N801 - reads as a statement: with watching("sklearn"):
    """While the outermost call of a framework runs, its inner calls are not recorded again.

    ``watching.active(name)`` asks; ``with watching(name):`` enters. It holds for this context and is
    carried into joblib's workers by :func:`carried`.
    """

    def __init__(self, *names: str):
        self.names = frozenset(names)

    @staticmethod
    def active(name: str) -> bool:
        """Whether an outer call of this framework is being recorded."""
        return name in watched.get()

    def __enter__(self) -> None:
        self._token = watched.set(watched.get() | self.names)

    def __exit__(self, *exc: object) -> None:
        try:
            watched.reset(self._token)
        except ValueError:  # left in another context than entered, as generators may be
            watched.set(watched.get() - self.names)


# Across threads and processes -------------------------------------------------------------------

Context = list[tuple[ContextVar[Any], Any]]

_carried_variables: list[ContextVar[Any]] = [watched]


def carry(variable: ContextVar[Any]) -> None:
    """This variable of ours goes along into worker threads. (The user's own are not ours to carry.)"""
    _carried_variables.append(variable)


class carried:  # noqa: N801 - reads as an adjective of the function
    """A function that knows in any thread or process which run it belongs to.

    In a thread of this process our context variables are there as they were where it was made; pickled
    to another process it joins the run there, under the run's own id. A run that cannot be joined
    does not stop the function.
    """

    def __init__(self, function: Callable[..., Any], context: Context | None = None):
        self.function = function
        self._values = self.context() if context is None else context
        self._ticket: dict[str, Any] | None = None

    @staticmethod
    def context() -> Context:
        """Our variables as they are here, for functions that are made somewhere else."""
        return [(variable, variable.get()) for variable in _carried_variables]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leave: list[Callable[[], Any]] = []
        with shield("joining the run in a worker"):
            for variable, value in self._values:
                leave.append(functools.partial(variable.reset, variable.set(value)))
            if self._ticket is not None:
                from autolog.core.ownership import join_run

                leave.append(join_run(self._ticket))
        try:
            return self.function(*args, **kwargs)
        finally:
            with shield("leaving the run in a worker"):
                for undo in reversed(leave):
                    undo()

    def __getstate__(self) -> dict[str, Any]:
        ticket = self._ticket
        if self._values:
            with shield("taking the run to a worker process"):
                from autolog.core.ownership import ticket_of

                ticket = ticket_of(dict(self._values))
        return {"function": self.function, "_ticket": ticket, "_values": []}


def _forget_in_child() -> None:
    """A forked child is nobody's entry in progress."""
    here.depth = here.shields = 0
    here.account = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
