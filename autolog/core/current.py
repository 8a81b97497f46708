"""The current run: of the open runs the innermost one in this context."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar

from autolog.core import around
from autolog.core.recording import Recording
from autolog.process import forks
from autolog.process.context import Context, carry
from autolog.process.guard import shield

__all__ = [
    "LazyRun",
    "ask_before",
    "ask_no_more",
    "end_what_is_over",
    "enter",
    "innermost",
    "innermost_of",
    "open_here",
    "retract",
    "set_trained_here",
    "trained_here",
]


class LazyRun:
    """A run that is opened as soon as something inside asks for it: a trial of a study, of thousands.

    Args:
        run: gives the run, opened by now; None: what comes belongs to the run around this one.
    """

    def __init__(self, run: Callable[[], Recording | None]):
        self._run = run

    def opened(self) -> Recording | None:
        """The run: something is about to be recorded."""
        with shield("opening a run that was waited for"):
            return self._run()
        return None


Entry = Recording | LazyRun

_stack: ContextVar[tuple[Entry, ...]] = ContextVar("autolog_runs", default=())
carry(_stack)

# Opened by the user in the main thread: they cover threads that have none of their own, since a new
# thread begins with an empty context. A run opened in another thread covers that thread only.
_main_thread_runs: list[Recording] = []

_trained: ContextVar[Recording | None] = ContextVar("autolog_trained", default=None)

_asked_before: list[Callable[[], None]] = []


def ask_before(function: Callable[[], None]) -> None:
    """Call this before it is said which run is the innermost: it ends trainings that end without a word."""
    _asked_before.append(function)


def ask_no_more(function: Callable[[], None]) -> bool:
    """Take back what :func:`ask_before` was given. Returns whether it was there."""
    try:
        _asked_before.remove(function)
    except ValueError:
        return False
    return True


def end_what_is_over() -> None:
    """End the trainings that have ended without a word."""
    for end_if_over in list(_asked_before):
        end_if_over()


def innermost() -> Recording | None:
    """The innermost run open in this context, or the main thread's for a thread that has none."""
    end_what_is_over()
    for entry in (*reversed(_stack.get()), *(LazyRun(find) for find in around.ways())):
        run = entry.opened() if isinstance(entry, LazyRun) else entry
        if run is not None and not run.is_closed:
            return run
    if threading.current_thread() is not threading.main_thread():
        return next(reversed(_open_of(_main_thread_runs)), None)
    return None


def open_here() -> Recording | None:
    """The innermost run that is open in this context already: none is opened or ended for the question."""
    runs = [entry for entry in _stack.get() if isinstance(entry, Recording) and not entry.is_closed]
    if not runs and threading.current_thread() is not threading.main_thread():
        runs = _open_of(_main_thread_runs)
    return runs[-1] if runs else None


def innermost_of(context: Context) -> Recording | None:
    """The innermost run of another context, as :func:`autolog.process.context.our_context` took it."""
    entered: tuple[Entry, ...] = dict(context).get(_stack, ())
    runs = _open_of(entered) or _open_of(LazyRun(find) for find in around.ways())
    runs = runs or _open_of(_main_thread_runs)
    return runs[-1] if runs else None


def _open_of(entries: Iterable[Entry]) -> list[Recording]:
    opened = [entry.opened() if isinstance(entry, LazyRun) else entry for entry in entries]
    return [run for run in opened if run is not None and not run.is_closed]


def enter(entry: Entry) -> Callable[[], None]:
    """Make it the current run, or one that is opened when it is asked for; returns how to leave."""
    token = _stack.set((*_stack.get(), entry))
    is_main = threading.current_thread() is threading.main_thread()
    of_main = entry if is_main and isinstance(entry, Recording) and entry.opened_by_user else None
    if of_main is not None:
        _main_thread_runs.append(of_main)

    def leave() -> None:
        if of_main is not None:
            _main_thread_runs.remove(of_main)
        try:
            _stack.reset(token)
        except ValueError:  # left in another context than entered, as generators may be
            _stack.set(tuple(other for other in _stack.get() if other is not entry))

    return leave


def retract(entry: LazyRun) -> None:
    """Leave it wherever it stands by now among those that were entered."""
    _stack.set(tuple(other for other in _stack.get() if other is not entry))


def trained_here() -> Recording | None:
    """The run of the last training that has begun in this context."""
    return _trained.get()


def set_trained_here(run: Recording) -> None:
    """A training begins in this context: what is evaluated next is probably of it."""
    _trained.set(run)


def _forget_in_child() -> None:
    _main_thread_runs[:] = [run for run in _main_thread_runs if run in _stack.get()]


forks.when_forked("current", in_child=_forget_in_child)
