"""Work that nobody waits for: jobs like reading git on one thread, and on another what comes again and again.

A sample of the machine's load waits for a process that gives way to the training: no job waits for that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from autolog.process import forks, threads
from autolog.process.guard import aside, shield
from autolog.process.threads import Bell

__all__ = ["drain", "every", "has_more", "later"]

Job = Callable[[], object]


class _Worker:
    """A daemon thread that is started by the first job and runs jobs one after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: deque[tuple[str, Job]] = deque()
        self._is_running = False  # a job that is no longer among them
        self._bell = Bell()
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._thread: threading.Thread | None = None
        self._periodic: dict[str, tuple[float, float, Job]] = {}

    def add(self, what: str, job: Job) -> None:
        self._jobs.append((what, job))
        self._start()
        self._bell.ring()

    def repeat(self, what: str, seconds: float, job: Job) -> None:
        with self._lock:
            if seconds > 0:
                if self._periodic.get(what, (0.0, 0.0))[1] == seconds:
                    return  # it runs already, and shall not start to wait anew
                self._periodic[what] = (time.monotonic() + seconds, seconds, job)
                self._start()
            else:
                self._periodic.pop(what, None)
        self._bell.ring()

    def drain(self, timeout: float) -> bool:
        if threading.current_thread() is self._thread:
            return False
        if not self._jobs and not self._is_running:
            return True
        done = Bell()
        self.add("waiting for what is going on", done.ring)
        return done.wait(timeout)

    @property
    def has_more(self) -> bool:
        return bool(self._jobs)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threads.start(self._name, self._loop)

    def _loop(self) -> None:
        aside()
        while True:
            self._bell.wait(self._seconds_to_next())
            while self._jobs:
                self._is_running = True  # first: in between there is no moment at which it seems idle
                self._run(*self._jobs.popleft())
            self._is_running = False
            with self._lock:
                now = time.monotonic()
                due = [(what, entry) for what, entry in self._periodic.items() if entry[0] <= now]
            for what, (_, seconds, job) in due:
                self._run(what, job)
                with self._lock:
                    if what in self._periodic:
                        self._periodic[what] = (time.monotonic() + seconds, seconds, job)

    def _seconds_to_next(self) -> float | None:
        with self._lock:
            times = [entry[0] for entry in self._periodic.values()]
        return max(0.0, min(times) - time.monotonic()) if times else None

    @staticmethod
    def _run(what: str, job: Job) -> None:
        with shield(what):
            job()


_JOBS, _AGAIN = "autolog-background", "autolog-periodic"
_worker, _periodic = _Worker(_JOBS), _Worker(_AGAIN)


def later(what: str, job: Job) -> None:
    """Run a job on the background thread; a fault in it is shielded under the name ``what``."""
    _worker.add(what, job)


def every(what: str, seconds: float, job: Job) -> None:
    """Run a job every so many seconds; 0 stops it."""
    _periodic.repeat(what, seconds, job)


def has_more() -> bool:
    """Whether jobs wait: asked by a job, others than itself."""
    return _worker.has_more


def drain(timeout: float) -> bool:
    """Wait until every job that was handed over is done. False: it took longer than ``timeout`` seconds."""
    return _worker.drain(timeout)


def _new_in_child() -> None:
    global _worker, _periodic  # threads do not survive a fork
    _worker, _periodic = _Worker(_JOBS), _Worker(_AGAIN)


forks.when_forked("background", in_child=_new_in_child)
