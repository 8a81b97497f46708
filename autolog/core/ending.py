"""How runs and the process end: `autolog.finish()`, the interpreter's exit, SIGTERM."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import sys
import threading
import time

from autolog.core import live, outlet, reports, started, telling
from autolog.core.recording import Recording
from autolog.core.statuses import status_of
from autolog.core.training import loop_of
from autolog.process import background, signals, voice
from autolog.process.guard import shield

__all__ = ["adopted", "began", "ended", "expect_others", "finish", "finished_by_trackio"]

logger = logging.getLogger("autolog")

_ends_with = 0  # the worker, by its number, that calls us at its end


def began(run: Recording) -> None:
    """A run that is running: it is ended when the process is."""
    live.add(run)
    _look_after(run)


def adopted(run: Recording) -> None:
    """A Trackio run of the user's own, to which we write from now on."""
    live.add_adopted(run)
    _look_after(run)


def _look_after(run: Recording) -> None:
    if started.is_worker():
        with shield("watching for the worker's end"):
            _end_with_worker()
    with shield("watching for SIGTERM"):  # each time: only the main thread can
        signals.catch(functools.partial(_end_all, "killed"))
    if run.settings.system_interval and not run.samples_itself:
        _sample_every(run.settings.system_interval)


def ended(run: Recording) -> None:
    """A run that has ended."""
    is_last = live.remove(run)
    telling.ended(run)
    reports.ended(run)
    live.remove_adopted(run)
    # SIGTERM is still watched for: what was recorded last is on its way.
    if not live.live_runs() and not live.adopted_runs():
        _sample_every(0)
    if is_last:
        outlet.leave_to_parent_soon()


def finished_by_trackio(run: Recording) -> None:
    """The user, or another integration, finishes a Trackio run now: perhaps since something has failed."""
    with shield("the end of a Trackio run"):
        _end_adopted(run, sys.exc_info()[1] or _what_ended_the_program())


def _end_adopted(run: Recording, error: BaseException | None) -> None:
    """It has ended, and so has what hooks have opened in it, and have left open."""
    if run.status != "running":
        return
    status = status_of(error)
    for inner in live.live_runs():
        if inner.outermost is run and inner.is_left_open:
            _end(inner, status if error is not None else "killed")
    if error is not None:
        run.note_error(error)
    run.end(status)


def expect_others() -> None:
    """Other processes may leave something here: it is delivered at the exit, whatever is recorded here.

    Whoever calls this has imported this module, and so has registered that exit.
    """
    outlet.expect_others()


def finish() -> bool:
    """End what autolog itself left open, and deliver everything.

    Waits at most ``Settings.finish_timeout`` seconds; of several open runs the longest. What could not be
    delivered by then stays on disk and goes out later, with the next run or at the next start. In a notebook
    the cell shows what has arrived since the last call, and what has not.

    Returns:
        Whether everything has arrived. False also if a place could not be written, and nothing was recorded.
    """
    end = time.monotonic() + _timeout()
    done = background.drain(outlet.remaining(end))
    for run in [run for run in live.live_runs() if run.is_left_open]:  # first: one's end may end another one
        run.end("finished")
    _complete_adopted_runs()
    telling.tell_of_those_that_ended()
    reports.ask_for_those_that_ended(is_over=True)
    arrived = outlet.deliver(end) and done
    telling.delivered(arrived)
    if arrived and not live.live_runs() and not live.adopted_runs() and not started.is_worker():
        with shield("watching for SIGTERM"):
            signals.stop_catching()
    return arrived


def _timeout() -> float:
    runs = [*live.live_runs(), *live.adopted_runs()]
    return max([outlet.finish_timeout(), *(run.settings.finish_timeout for run in runs)])


def _complete_adopted_runs() -> None:
    """The user's own Trackio runs go on: what we keep for their end is recorded now.

    Trackio writes a run's config half a second after its first log, over what stands there by then. What we
    added to it is therefore written once more.
    """
    for run in live.adopted_runs():
        run.say_last_words()
        run.put({})


# Exit -----------------------------------------------------------------------------------------------


@atexit.register
def _at_exit() -> None:
    try:  # first of all: Ctrl-C may come at any line
        _finish_at_exit(None)
    except KeyboardInterrupt:  # once more: nobody wants to wait
        _finish_at_exit(0.0)
    with shield("the exit status"):
        _keep_exit_status()


def _finish_at_exit(timeout: float | None) -> None:
    with shield("finishing at exit"):
        for run in live.adopted_runs():
            _end_adopted(run, _what_ended_the_program())
        # What has ended the main thread, if it was neither its end nor sys.exit(); Ctrl-C is no failure.
        is_failed = isinstance(getattr(sys, "last_value", None), Exception)
        _end_all("failed" if is_failed else "killed", timeout)


def _what_ended_the_program() -> BaseException | None:
    """What has ended the main thread, once that has ended. Somebody who types goes on after an error."""
    if threading.main_thread().is_alive() or hasattr(sys, "ps1"):
        return None
    error: BaseException | None = getattr(sys, "last_value", None)
    return error


def _end_with_worker() -> None:
    """What `multiprocessing` starts ends without the interpreter's exit, but not without its own."""
    global _ends_with
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _ends_with != os.getpid():
        _ends_with = os.getpid()
        util.Finalize(None, _at_exit, exitpriority=0)


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
    end = time.monotonic() + (_timeout() if timeout is None else timeout)
    background.drain(outlet.remaining(end))
    for run in live.live_runs():
        if live.is_live(run.id):  # by now: another one's end may have ended it
            _end(run, status)
    for run in live.adopted_runs():
        run.end(status)
    telling.tell_of_those_that_ended()
    reports.ask_for_those_that_ended(is_over=True)
    for what, is_warning in outlet.close(end):
        if is_warning:
            logger.warning("autolog: not everything has arrived: %s.", what)
        else:
            voice.say(what)


def _end(run: Recording, status: str) -> None:
    """End it with this status, if something goes on in it that has not ended by itself."""
    loop = loop_of(run)
    is_interrupted = not run.is_left_open or (loop is not None and loop.is_one_training)
    run.end(status if is_interrupted else "finished")


# The machine's load ---------------------------------------------------------------------------------


def _sample_every(seconds: float) -> None:
    background.every("the machine's load", seconds, _sample_system)


def _sample_system() -> None:
    values: dict[int, dict[str, float]] = {}
    for run in [*live.live_runs(), *live.adopted_runs()]:
        sink = run.sink
        if sink is not None and not run.samples_itself:
            if id(sink) not in values:
                values[id(sink)] = sink.sample_system()
            if values[id(sink)]:
                run.system(values[id(sink)])
