"""Starts our threads, and makes a fork wait while one of our threads imports something.

A child that needs a module whose import was going on in another thread at its fork waits for it for ever: the
thread that would end it is not there. So it is with OpenSSL, which Trackio's import asks for certificates. A
fork (:func:`os.fork`, ``multiprocessing``, the workers of a data loader) that comes in the first second of
a recorded training therefore waits until that import is done.

And no signal comes to them. The kernel gives one to any thread that takes it, Python runs its handler in the
main thread, and does not wake it from a sleep for what another thread was given: Ctrl-C seemed to be lost.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from autolog.process import forks

__all__ = ["Bell", "Timer", "after", "hear_signals", "start"]

MOST_SECONDS = 10.0  # what takes longer hangs itself, perhaps on what the thread that forks holds
LOOK_EVERY = 0.001
IMPORT = "<frozen importlib._bootstrap>"
# A fault's signal is meant for the thread that made it, and blocked it would end the process unsaid.
OWN_FAULTS = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGABRT", "SIGSYS"}

_ours: list[threading.Thread] = []
_lock = threading.Lock()
_put_off: list[dict[str, Any]] = []


class Bell:
    """Wakes the one thread that waits for it; rung before, it wakes it at once.

    What :class:`threading.Event` does by Python code under a lock is one call of C here: a signal handler may
    ring it in the midst of another ringing, and an exception that comes by a signal leaves no lock behind.
    """

    def __init__(self) -> None:
        self._rung: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        self._rung.put(None)

    def wait(self, seconds: float | None) -> bool:
        """Whether it was rung within so many seconds; however often, that is once."""
        try:
            self._rung.get(timeout=seconds)
        except queue.Empty:
            return False
        while not self._rung.empty():
            self._rung.get_nowait()
        return True


def start(name: str, target: Callable[..., object], *args: Any) -> threading.Thread:
    """A daemon thread of ours, started: no fork falls into an import of its, and no signal comes to it."""
    thread = _start(name, target, *args)
    _start_clock()
    return thread


def _start(name: str, target: Callable[..., object], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=_unheard, args=(target, *args), name=name, daemon=True)
    _ours[:] = [one for one in _ours if one.is_alive()] + [thread]
    thread.start()
    return thread


# Timers. One thread waits for all of them, and begins with our first one: from Python 3.12 on no thread can
# be begun any more when the interpreter ends, and that is when what hangs has to be given up.


class Timer:
    """Something that is done after a while, unless it is cancelled."""

    def __init__(self, at: float, target: Callable[[], object]):
        self.at = at
        self._target: Callable[[], object] | None = target

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._target = None

    def do(self) -> None:
        """It is time."""
        if self._target is not None:
            self._target()


_timers: list[Timer] = []
_sooner = Bell()
_clock: threading.Thread | None = None


def after(seconds: float, target: Callable[[], object]) -> Timer:
    """A timer of ours: it calls what takes no time, after so many seconds. Where none can be had, never."""
    timer = Timer(time.monotonic() + seconds, target)
    _timers.append(timer)
    with contextlib.suppress(RuntimeError):  # the interpreter ends, and no thread of ours was ever begun
        _start_clock()
    _sooner.ring()
    return timer


def _start_clock() -> None:
    global _clock
    if _clock is None or not _clock.is_alive():
        _clock = _start("autolog-clock", _wait_for_timers)


def _wait_for_timers() -> None:
    while True:
        next_one = min((timer.at for timer in list(_timers)), default=None)
        _sooner.wait(None if next_one is None else max(0.0, next_one - time.monotonic()))
        for timer in [timer for timer in list(_timers) if timer.at <= time.monotonic()]:
            _timers.remove(timer)
            timer.do()


def _unheard(target: Callable[..., object], *args: Any) -> None:
    _mask("SIG_BLOCK")
    target(*args)


def hear_signals() -> None:
    """In a process that a thread of ours has started, and that has its thread's signals: what comes to it."""
    _mask("SIG_UNBLOCK")


def _mask(how: str) -> None:
    if hasattr(signal, "pthread_sigmask"):  # Windows has none
        named = {number for number in signal.valid_signals() if getattr(number, "name", "") not in OWN_FAULTS}
        signal.pthread_sigmask(getattr(signal, how), named)


# Python 3.12 and later say so to whoever forks, in the parent, after all that can be registered for a fork.
_OF_THREADS = r"This process \(pid=\d+\) is multi-threaded, use of fork"


def _keep_quiet_of_ours() -> None:
    """Python warns of a fork beside other threads. Of ours it need not: what they hold is made anew.

    Where the user has threads as well, it warns as it would without us.
    """
    if sys.version_info < (3, 12):
        return
    others = _threads_of_this_process() - sum(thread.is_alive() for thread in _ours)
    if others <= 1:
        warnings.filterwarnings("ignore", _OF_THREADS, DeprecationWarning)
        return
    ours = ("ignore", re.compile(_OF_THREADS, re.I), DeprecationWarning, None, 0)
    if ours in warnings.filters:
        warnings.filters.remove(ours)
        getattr(warnings, "_filters_mutated", lambda: None)()


def _threads_of_this_process() -> int:
    """As Python counts them: those that no Python made, too."""
    try:
        status = Path("/proc/self/stat").read_text()
    except OSError:
        return threading.active_count()
    return int(status.rpartition(")")[2].split()[17])


def _before_fork() -> None:
    _keep_quiet_of_ours()
    _lock.acquire()
    end = time.monotonic() + MOST_SECONDS
    while _is_importing() and time.monotonic() < end:
        # Whom Python calls around this fork is settled. A module that is imported now and wants to be called,
        # too, would be told of the fork's end without having been told of its beginning.
        os.register_at_fork = _register_later
        time.sleep(LOOK_EVERY)


def _after_fork_in_child() -> None:
    global _sooner, _clock
    _timers.clear()
    _sooner, _clock = Bell(), None
    _after_fork()


def _after_fork() -> None:
    os.register_at_fork = _register
    while _put_off:
        _register(**_put_off.pop(0))
    _lock.release()


def _register_later(**functions: Any) -> None:
    _put_off.append(functions)


def _is_importing() -> bool:
    """Whether a thread of ours other than this one is in the middle of an import, or reads certificates."""
    ours = {thread.ident for thread in list(_ours) if thread.is_alive()} - {threading.get_ident()}
    return bool(ours) and any(
        _passes_an_import(frame) for ident, frame in sys._current_frames().items() if ident in ours
    )


def _passes_an_import(frame: FrameType | None) -> bool:
    while frame is not None:
        is_import = frame.f_code.co_filename == IMPORT
        if is_import or (
            frame.f_code.co_name == "create_default_context" and frame.f_globals.get("__name__") == "ssl"
        ):
            return True
        frame = frame.f_back
    return False


if hasattr(os, "register_at_fork"):
    _register = os.register_at_fork
    forks.when_forked("imports", before=_before_fork, in_parent=_after_fork, in_child=_after_fork_in_child)
