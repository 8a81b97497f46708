"""Other processes that import and call Trackio, or draw, so that the user's interpreter is not held up.

Trackio's import is a second of Python, and so is matplotlib's; in a thread of the user's process the training
waits for both, and at every step a little for what they do. A process is started when it is needed, and ends
with this one, or after ten minutes without work. Where none can be started, the work is done here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

from autolog.capture.chart import Chart
from autolog.capture.made import Piece, make
from autolog.process import apart, threads
from autolog.process.guard import measured
from autolog.sinks import UNSHOWN_TABLE

__all__ = ["DRAWING_SECONDS", "Helper", "draw", "make_all", "raisable", "stop_if_alone"]

DRAWING_SECONDS = 180.0  # at most for one picture, the start of the process included
IDLE_SECONDS = 600.0


class Helper:
    """Calls functions in another process, one after the other.

    Args:
        environment: variables that it has beside this process's own.
        niceness: by how much its priority is lower.
    """

    def __init__(self, environment: dict[str, str] | None = None, niceness: int = 0) -> None:
        self._environment = environment or {}
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._pid = os.getpid()
        self._is_possible = apart.is_possible()
        self._turn = threading.Lock()
        self._seconds = 0.0

    def ask(self, function: Callable[..., Any], *args: Any, longest: float | None = None) -> Any:
        """Call a function there.

        Args:
            function: of a module; called once more if the process ends before it has answered.
            args: what pickle takes.
            longest: seconds after which the process is given up, and another one is asked.

        Raises:
            OSError: this program ends; it can be done by the next one.
            Exception: what the function raised, or, where that is not one of Python's own, another one that
                has the same name and text, and is an OSError if trying again may help.
        """
        request = pickle.dumps((function, args))
        with self._turn:
            while self._is_possible:
                is_new = self._process is None
                answer = self._asked(request, longest)
                if self._is_closed:
                    raise OSError("the program ends")
                if answer is not None:
                    self._seconds += answer["seconds"]
                    if isinstance(answer["error"], ImportError):
                        break  # its paths are not ours, then
                    if answer["error"] is not None:
                        raise raisable(answer["error"])
                    return answer["value"]
                self._is_possible = not is_new  # one that was there before may just have gone
        return measured(function)(*args)

    def is_busy(self, seconds: float) -> bool:
        """Whether it goes on with something for so long."""
        if self._turn.acquire(timeout=seconds):
            self._turn.release()
            return False
        return True

    def take_seconds(self) -> float:
        """The CPU time of what has been done there since this was asked last."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def close(self) -> None:
        """The program ends. Called from another thread, too: whoever waits for an answer waits no longer."""
        self._is_closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._pid == os.getpid():  # a forked child has only a copy
            process.kill()  # first: another thread may be reading, and then reads no more
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()  # type: ignore[union-attr]

    def _asked(self, request: bytes, longest: float | None) -> dict[str, Any] | None:
        """Its answer; None: it has none, and is gone."""
        if self._is_closed:
            return None
        if self._process is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._process = _start(self._niceness, self._environment)
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        watchdog: threads.Timer | None = None
        try:
            if longest is not None:  # what hangs is killed: then its answer ends
                watchdog = threads.after(longest, process.kill)
            _write(process.stdin, request)
            answer: dict[str, Any] = pickle.loads(_read(process.stdout))
            return answer
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError):
            self._end()
            return None
        finally:
            if watchdog is not None:
                watchdog.cancel()


def draw(chart: dict[str, Any]) -> str:
    """Draw a chart.

    Args:
        chart: ``kind``, ``title`` and ``data`` of a :class:`autolog.capture.figures.Chart`.

    Returns:
        SVG or HTML.
    """
    from autolog.capture.figures import render  # not where rows alone are delivered

    return render(Chart(**chart))


def make_all(by: str, given: dict[str, Any], draws: bool) -> tuple[list[Piece], list[tuple[str, Any]]]:
    """Make pictures and tables, see :func:`autolog.capture.made.make`, and draw the pictures.

    Args:
        draws: False: what draws them is not installed, and they are left out.

    Returns:
        The pieces, and the parts that failed, for :func:`raisable`.
    """
    from autolog.capture.figures import render

    pieces, failed = make(by, given)
    done: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece.value, Chart):
            hidden = {"_type": UNSHOWN_TABLE, "_value": piece.value}
            done.append(replace(piece, value=hidden) if piece.has_picture and draws else piece)
        elif draws:
            try:
                done.append(replace(piece, value=render(piece.value)))
            except Exception as error:
                failed.append((piece.key, error))
    return done, [(part, _told(error)) for part, error in failed]


def _start(niceness: int, environment: dict[str, str]) -> subprocess.Popen[bytes] | None:
    return apart.start("autolog.sinks.helper:serve", str(niceness), environment=environment, answers=True)


# In the other process -------------------------------------------------------------------------------


def serve() -> None:
    """Do what is asked for on the standard input, until it ends or nothing comes for long."""
    apart.begin()
    niceness = int(sys.argv[1])
    threads.hear_signals()
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints is no answer
    _requests.append(requests)
    apart.give_way(niceness)
    while _comes(requests):
        began = time.process_time()
        value, error = None, None
        try:
            function, args = pickle.loads(_read(requests))
            value = function(*args)
        except Exception as raised:
            error = _told(raised)
        seconds = time.process_time() - began
        try:
            _write(answers, pickle.dumps({"value": value, "error": error, "seconds": seconds}))
        except OSError:
            break
    os._exit(0)  # there is nothing to be tidied


_requests: list[IO[bytes]] = []  # in this other process: where they come from


def stop_if_alone() -> None:
    """End this process if it is one that works for another, and that one is gone.

    What it had been asked for is somebody else's to do by now, who may have done it, and more: done late, it
    would take that back. So this is called when nobody else can come in between.
    """
    if _requests and os.name != "nt":
        hung_up = select.poll()
        hung_up.register(_requests[0], 0)
        if hung_up.poll(0):
            os._exit(0)


def _comes(requests: IO[bytes]) -> bool:
    if os.name != "nt" and not select.select([requests], [], [], IDLE_SECONDS)[0]:
        return False
    return bool(requests.peek(1))  # type: ignore[attr-defined]


# What passes between them ---------------------------------------------------------------------------


def _told(error: Exception) -> Any:
    """An exception for the other side: itself, if it is Python's own, else what can be said of it.

    A library's own would be imported there, and what it holds may not pass.
    """
    if type(error).__module__ in ("builtins", "sqlite3"):
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    base = OSError if isinstance(error, OSError) else Exception
    return base, type(error).__name__, type(error).__module__, str(error)


def raisable(told: Any) -> Exception:
    """The exception that was told of by the other side."""
    if isinstance(told, Exception):
        return told
    base, name, module, text = told
    error: Exception = type(name, (base,), {"__module__": module})(text)
    return error


_MARK = b"autolog\0"  # what a sitecustomize.py prints before we are there begins otherwise


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(_MARK + len(message).to_bytes(8, "big"))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    """A message.

    Raises:
        ValueError: the other side is gone, or says something else.
    """
    head = pipe.read(16)
    length = int.from_bytes(head[8:], "big")
    message = pipe.read(length) if head[:8] == _MARK else b""
    if not message or len(message) < length:
        raise ValueError("no message")
    return message
