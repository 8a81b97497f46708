"""How it ends: what is open, what is delivered, exit, forks. One sink per process."""

from __future__ import annotations

import atexit
import functools
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from autolog.core import loops
from autolog.core.settings import Settings, split_token
from autolog.process import background, forks, signals
from autolog.process.guard import shield

if TYPE_CHECKING:
    from autolog.core.run import Run
    from autolog.sinks import Sink
    from autolog.sinks.trackio import TrackioSink

__all__ = [
    "adopted",
    "finish",
    "forget",
    "is_live",
    "know_token",
    "release",
    "remember",
    "remember_adopted",
    "trackio_sink",
    "write_through",
]

logger = logging.getLogger("autolog")

_live: dict[str, Run] = {}
_adopted: dict[str, Run] = {}  # Trackio's id -> the run that the user opened with Trackio itself
_lock = threading.RLock()  # a signal handler may come back to it
_sink: TrackioSink | None = None
_write_through = False
_tokens: dict[tuple[str, str], str] = {}
_timeout = Settings.finish_timeout  # of the run that was opened last


def trackio_sink(settings: Settings) -> Sink:
    """The process's sink to Trackio."""
    global _sink  # one journal and one writer per process
    if settings.write_token and settings.server_url:
        _tokens["server", split_token(settings.server_url)[0]] = settings.write_token
    with _lock:
        if _sink is None:
            from autolog.sinks.trackio import TrackioSink

            _sink = TrackioSink(_tokens.get)
            _sink.write_through = _write_through
        _sink.private = settings.private
        return _sink


def know_token(destination: tuple[str, str], token: str) -> None:
    """The token for a place: of a server the write token, of a Space the Hub's. In memory alone."""
    _tokens[destination] = token


def remember(run: Run) -> None:
    """A run that is running: it is ended when the process is."""
    global _timeout
    with _lock:
        _timeout = run.settings.finish_timeout
        _live[run.id] = run
        with shield("watching for SIGTERM"):  # each time: only the main thread can
            signals.catch(functools.partial(_end_all, "killed"))
        if run.settings.system_interval:
            _watch_system(run.settings.system_interval)


def is_live(run_id: str) -> bool:
    """Whether a run is going on in this process."""
    return run_id in _live


def adopted(run_id: str) -> Run | None:
    """The run by which we write to a Trackio run of the user's own."""
    return _adopted.get(run_id)


def remember_adopted(run: Run) -> None:
    """A run that the user opened with Trackio itself: never ended by us."""
    with _lock:
        _adopted[run.id] = run


def _write_adopted_configs() -> None:
    """Trackio writes a run's config half a second after its first log, over what stands there by then.

    What we added to it is therefore written once more, at the end.
    """
    for run in list(_adopted.values()):
        run._config({})


def forget(run: Run) -> None:
    """A run that has ended."""
    with _lock:
        if _live.pop(run.id, None) is not None and not _live:
            with shield("watching for SIGTERM"):
                signals.release()
            _watch_system(0)


def finish() -> bool:
    """End what autolog itself left open, and deliver everything.

    Waits at most ``Settings.finish_timeout`` seconds. What could not be delivered by then stays on disk
    and goes out later, with the next run or at the next start.

    Returns:
        Whether everything has arrived.
    """
    end = time.monotonic() + _timeout
    done = background.drain(_left(end))
    with _lock:
        left_open = [run for run in _live.values() if run.is_left_open]
    for run in left_open:
        run._end("finished")
    _write_adopted_configs()
    if _sink is not None:
        done = _sink.deliver(_left(end)) and done
    return done


def _left(end: float) -> float:
    return max(0.0, end - time.monotonic())


# Exit ---------------------------------------------------------------------------------------------


@atexit.register
def _at_exit() -> None:
    global _sink
    # What has ended the main thread, if it was neither its end nor sys.exit(); Ctrl-C is no failure.
    status = "failed" if isinstance(getattr(sys, "last_value", None), Exception) else "killed"
    with shield("finishing at exit"):
        sink = _sink
        try:
            _end_all(status)
        except KeyboardInterrupt:  # Ctrl-C once more: nobody wants to wait
            _sink = sink
            _end_all(status, 0.0)
    with shield("the exit status"):
        _keep_exit_status()


def _keep_exit_status() -> None:
    """A program that Ctrl-C has ended ends by that signal: the shell's loop around it has to stop, too.

    Python remembers it in a flag, which whoever executes a text resets, and so does every module with a
    dataclass or a named tuple that is imported now, to draw a picture say. A text that ends the same way
    sets it.
    """
    last = getattr(sys, "last_type", None)
    if isinstance(last, type) and issubclass(last, KeyboardInterrupt) and not hasattr(sys, "ps1"):
        try:
            exec("raise KeyboardInterrupt")
        except KeyboardInterrupt:
            pass


def _end_all(status: str, timeout: float | None = None) -> None:
    """End every run with this status, and deliver as much as the time allows."""
    global _sink
    with _lock:
        runs = list(_live.values())
    end = time.monotonic() + (_timeout if timeout is None else timeout)
    background.drain(_left(end))
    for run in runs:
        loop = loops.loop_of(run)
        is_interrupted = not run.is_left_open or (loop is not None and loop.is_one_training)
        run._end(status if is_interrupted else "finished")
    _write_adopted_configs()
    if _sink is not None:
        sink, _sink = _sink, None
        if _write_through:
            sink.release()
        elif not sink.close(_left(end)):
            logger.warning(
                "autolog: not everything was delivered in time; "
                + (
                    f"the disk has not taken the last {sink.unwritten:,} records, which are lost."
                    if sink.unwritten
                    else "the rest is on disk, and goes out with the next run."
                )
            )


# The machine's load --------------------------------------------------------------------------------


def _watch_system(seconds: float) -> None:
    background.every("the machine's load", seconds, _sample_system)


def _sample_system() -> None:
    with _lock:
        runs = list(_live.values())
    values: dict[int, dict[str, float]] = {}
    for run in runs:
        sink: Any = run._sink
        if sink is not None:
            if id(sink) not in values:
                values[id(sink)] = sink.sample_system()
            if values[id(sink)]:
                run.system(values[id(sink)])


# Other processes -----------------------------------------------------------------------------------


def write_through() -> None:
    """This process is a worker: it writes to its journal at once, and delivers nothing itself."""
    global _write_through
    _write_through = True
    if _sink is not None:
        _sink.write_through = True


def release() -> None:
    """Give up this process' journal, so that its parent can deliver it."""
    if _sink is not None and _write_through:
        _sink.release()


def _forget_in_child() -> None:
    """A forked child owns none of its parent's runs, journals and threads."""
    global _lock
    _lock = threading.RLock()
    _live.clear()
    _adopted.clear()
    write_through()
    if _sink is not None:
        _sink.abandon()


forks.when_forked("live", in_child=_forget_in_child)
