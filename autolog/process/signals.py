"""SIGTERM: calls a function of ours first, then the signal does what it would have done.

A handler from a run's beginning until all of it has been delivered, and only over the default one. Python
runs handlers between two instructions of the main thread; a fit that spends a minute inside a C library would
be killed by the scheduler's SIGKILL before that. So the signal's number also goes through a pipe to a thread
of ours, which acts at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from autolog.process import forks, threads
from autolog.process.guard import shield

__all__ = ["catch", "stop_catching"]

_end: Callable[[], None] = lambda: None  # noqa: E731 - set by catch()
_read_end = _write_end = -1
_handling = threading.Lock()
_passed_on = 0  # SIGTERMs that another handler has taken, and has called ours for
_left_alone = 0  # SIGTERMs that the thread has heard, and knew to be another handler's


def catch(end: Callable[[], None]) -> None:
    """From now on SIGTERM calls ``end`` before it ends the process. Only in the main thread."""
    global _end
    if not _in_main() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return
    _end = end
    signal.signal(signal.SIGTERM, _on_sigterm)
    if os.name == "posix":
        if _write_end < 0:
            _start_thread()
        before = signal.set_wakeup_fd(_write_end, warn_on_full_buffer=False)
        if before not in (-1, _write_end):  # an event loop's: it stays, and the handler has to do
            signal.set_wakeup_fd(before)


def stop_catching() -> None:
    """SIGTERM is the default's again."""
    if _in_main() and signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if _write_end >= 0:
            before = signal.set_wakeup_fd(-1)
            if before not in (-1, _write_end):
                signal.set_wakeup_fd(before)


def _in_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    global _passed_on
    if signal.getsignal(number) is not _on_sigterm:
        _passed_on += 1
    if _write_end >= 0:
        current = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(current)
        if current == _write_end:
            return  # the thread has it
    signal.signal(number, signal.SIG_DFL)
    _finish()
    os.kill(os.getpid(), number)


def _finish() -> None:
    if _handling.acquire(blocking=False):
        with shield("finishing on SIGTERM"):
            _end()


def _start_thread() -> None:
    global _read_end, _write_end
    _read_end, _write_end = os.pipe()
    os.set_blocking(_write_end, False)
    threads.start("autolog-sigterm", _hear, _read_end)


def _hear(read_end: int) -> None:
    while True:
        numbers = os.read(read_end, 64)  # every signal that has a handler arrives here
        if signal.SIGTERM in numbers and not _is_anothers(numbers.count(signal.SIGTERM)):
            _finish()
            # signal.signal works in the main thread only, which may be deep in a C library.
            ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(0))
            os.kill(os.getpid(), signal.SIGTERM)


def _is_anothers(count: int) -> bool:
    """Whether another handler has taken this signal: a framework's, say, that ends its training by itself.

    It may have put ours back before this thread hears of the signal, on a busy machine.
    """
    global _left_alone
    if signal.getsignal(signal.SIGTERM) is _on_sigterm and _passed_on <= _left_alone:
        return False
    _left_alone += count
    return True


# A forked child shares the pipe: a signal to it must not be taken for one to its parent. From before the fork
# until the child has let go of the pipe, SIGTERM waits.

_mask: set[signal.Signals | int] = set()


def _before_fork() -> None:
    if _write_end >= 0:
        _mask.clear()
        _mask.update(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}))


def _after_in_parent() -> None:
    if _write_end >= 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _after_in_child() -> None:
    global _read_end, _write_end, _passed_on, _left_alone
    _passed_on = _left_alone = 0
    if _write_end >= 0:
        stop_catching()
        os.close(_read_end)
        os.close(_write_end)
        _read_end = _write_end = -1
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


forks.when_forked("signals", before=_before_fork, in_parent=_after_in_parent, in_child=_after_in_child)
