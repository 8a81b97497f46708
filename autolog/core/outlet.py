"""Whether this process records at all, and to which sinks; delivers to all of them at the end.

A process has one sink to Trackio. Beside it there may be one in memory, and sinks of the user's own: what has
been written to any of them is delivered by ``autolog.finish()`` and at the exit.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, cast

from autolog.core import started
from autolog.core.settings import SettingError, Settings, current, destination_of, disabled_by_environment
from autolog.process import apart, background, forks, threads
from autolog.process.guard import logger
from autolog.process.outliving import why_none_outlives
from autolog.sinks import Sink
from autolog.sinks.identity import Destination

if TYPE_CHECKING:
    from autolog.sinks.trackio.sink import Left, TrackioSink

__all__ = [
    "close",
    "deliver",
    "expect_others",
    "finish_timeout",
    "is_follower",
    "know_token",
    "leave_to_parent_soon",
    "open_sink",
    "remaining",
    "so_far_in_words",
    "token_of",
]


# Whether --------------------------------------------------------------------------------------------


def is_follower() -> bool:
    """Whether a launcher (torchrun, say) made this process as another than the first of several.

    They run the same program in each; what they train is recorded by the first.
    """
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return _number_in("WORLD_SIZE") > 1 and any(_number_in(name) > 0 for name in ranks)


def _number_in(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


# Where ----------------------------------------------------------------------------------------------

LEAVE_SECONDS = 0.1  # after a run's end, for what is still recorded to it

_lock = threading.RLock()  # a signal handler may come back to it
_trackio: TrackioSink | None = None
_memory: Sink | None = None  # "memory" by name is one sink of the process
_own: dict[int, weakref.ref[Sink] | Sink] = {}  # the user's
_unwritable: set[str] = set()  # places that could not be written, as they were told
_expects = False  # whether other processes may leave something to this one
_leaving: threads.Timer | None = None
_tokens: dict[Destination, str] = {}
_is_private: dict[Destination, bool] = {}
_timeouts: set[float] = set()  # of the runs that were opened since everything had arrived
_is_quiet = True  # whether all runs were
_detach: set[tuple[bool | None, float]] = set()  # of all runs: whether a process may be left, for how long


def open_sink(settings: Settings, destination: Destination) -> Sink | None:
    """The sink for a run with these settings, which hold for as long as it has anything to deliver.

    None: nothing is recorded here.
    """
    global _is_quiet
    if disabled_by_environment() or is_follower():
        return None
    with _lock:
        _timeouts.add(settings.finish_timeout)
        _detach.add((settings.detach, settings.detach_timeout))
        _is_quiet = _is_quiet and settings.quiet
        # A Space is made once. If any of its runs asks for a private one, it is private.
        _is_private[destination] = _is_private.get(destination, False) or settings.private
    if settings.sink == "trackio":
        if settings.write_token and settings.server_url:
            know_token(("server", settings.server_url), settings.write_token)
        return _trackio_sink()
    if settings.sink == "memory":
        return _memory_sink()
    return _own_sink(settings.sink)


def _trackio_sink() -> TrackioSink:
    global _trackio  # one journal and one writer per process
    with _lock:
        if _trackio is None:
            from autolog.sinks.trackio.sink import TrackioSink

            _trackio = TrackioSink(_tokens.get, lambda destination: _is_private.get(destination, True))
            _trackio.write_through = started.is_worker()
            if _expects:
                _trackio.expect_others()
        return _trackio


def _memory_sink() -> Sink:
    global _memory
    from autolog.sinks.memory import MemorySink

    _memory = _memory or MemorySink()
    return _memory


def _own_sink(sink: Any) -> Sink:
    with _lock:
        try:  # whoever has let go of it wants nothing more of it
            _own[id(sink)] = weakref.ref(sink, functools.partial(_own_is_gone, id(sink)))
        except TypeError:
            _own[id(sink)] = sink
    return cast(Sink, sink)


def _own_is_gone(key: int, reference: Any) -> None:
    if _own.get(key) is reference:  # else another one lives at its address by now
        _own.pop(key, None)


def say_unwritable(error: OSError, sink: Sink | None) -> None:
    """Say once of each place that nothing can be written there. What was to be recorded there is lost."""
    from autolog.sinks.trackio.directory import data_directory

    if sink is _trackio:
        where, mend = str(data_directory()), "Make that folder writable, or set TRACKIO_DIR to one that is"
    else:
        where, mend = f"the sink {type(sink).__name__}", "Mend it, or leave the setting sink out"
    if where not in _unwritable:
        _unwritable.add(where)
        why = error.strerror or str(error)
        what = "autolog: nothing is recorded, since %s cannot be written (%s). The training goes on. %s."
        logger.warning(what, where, why, mend)


def know_token(destination: Destination, token: str) -> None:
    """The token for a place: of a server the write token, of a Space the Hub's. In memory alone."""
    _tokens[destination] = token


def token_of(destination: Destination) -> str | None:
    """The token for a place, if one is known."""
    return _tokens.get(destination)


# Delivering -----------------------------------------------------------------------------------------


def finish_timeout() -> float:
    """Seconds that may be waited for delivery: the most that a run asks for which is on its way."""
    with _lock:
        if _timeouts:
            return max(_timeouts)
    try:
        return current().finish_timeout
    except SettingError:  # of the environment: then nothing was ever opened
        return Settings.finish_timeout


def deliver(end: float) -> bool:
    """Deliver what has been written so far to any sink, until this time of the monotonic clock.

    Returns:
        Whether everything has arrived, as each sink says; False also if something was never stored.
    """
    is_open = _has_opened_for_what_is_left()
    with _lock:
        waited_for = set(_timeouts)
        _timeouts.clear()
    arrived = [_delivered(sink, end) for sink in _sinks()]
    if not all(arrived):
        with _lock:
            _timeouts.update(waited_for)
    has_lost = bool(_unwritable) or (_trackio is not None and _trackio.has_lost)
    return is_open and all(arrived) and not has_lost


def _has_opened_for_what_is_left() -> bool:
    """Deliver as well what earlier programs have left for the place that is in force. False: it cannot be."""
    from autolog.sinks.trackio.directory import journals

    try:
        settings = current()
    except SettingError:  # of the environment: then no place is known
        return True
    try:
        if settings.sink == "trackio" and any(journals().glob("*.jsonl")):
            destination = destination_of(settings)
            sink = open_sink(settings, destination)
            if sink is _trackio and _trackio is not None and not started.is_worker():
                _trackio.open(destination)
    except OSError as error:
        say_unwritable(error, _trackio)
        return False
    return True


def _leave_seconds() -> float:
    """How long a process that is left behind may deliver; 0: none is left."""
    wishes = {wish for wish, _ in _detach}
    if False in wishes or not apart.is_possible():
        return 0.0
    if True not in wishes:
        from autolog.sinks.trackio.directory import data_directory

        if why_none_outlives(data_directory()) is not None:
            return 0.0
    return max((seconds for _, seconds in _detach), default=0.0)


def close(end: float) -> list[tuple[str, bool]]:
    """The process ends: deliver, and give up the journals. A worker's are left to its parent.

    Returns:
        What has not arrived, in words, and whether that is to be heard: a warning, or for information.
    """
    global _trackio
    said: list[tuple[str, bool]] = []
    sink, _trackio = _trackio, None
    if sink is not None and started.is_worker():
        sink.leave_to_parent()
    elif sink is not None:
        try:
            left = sink.close(remaining(end), _leave_seconds())
        except KeyboardInterrupt:  # somebody will not wait: it is closed once more, at once
            _trackio = sink
            raise
        said += _in_words(left)
    with _lock:
        own = _own_sinks()
        _own.clear()  # first: if somebody will not wait, none is asked twice
    for one in own:
        if not _delivered(one, end):
            said.append((f"{type(one).__name__} says that something has not arrived", True))
    return said


def _in_words(left: Left) -> list[tuple[str, bool]]:
    if left.unwritten:
        return [(f"the disk has not taken the last {left.unwritten:,} records, which are lost", True)]
    if not left.is_any or (left.goes_on and not left.slow):  # the rest is there in a moment
        return []
    what = _needs_in_words(left, rows=0 if left.goes_on else left.rows)
    how = "in the background" if left.goes_on else "with the next run"
    if left.goes_on and _is_quiet:
        return []
    return [(f"{what}; they go out {how}, or now: autolog sync", not left.goes_on)]


def _needs_in_words(left: Left, rows: int) -> str:
    needs = {"rows": rows, "pictures or files": left.slow}
    parts = [f"{count} of {left.runs} runs still need {what}" for what, count in needs.items() if count]
    return ", ".join(parts) or "what earlier programs have left has not all arrived"


def so_far_in_words(has_arrived: bool) -> str | None:
    """What a person is told of a delivery; None: nothing was recorded, or nobody wants to hear of it.

    Args:
        has_arrived: what :func:`deliver` has said.
    """
    if _trackio is None or _is_quiet:
        return None
    arrived, left = _trackio.so_far()
    counts = (len(arrived.runs), "run"), (arrived.rows, "row"), (arrived.pictures, "picture")
    parts = [f"{n:,} {what}{'s' * (n != 1)}" for n, what in (*counts, (arrived.files, "file")) if n]
    said = f"arrived: {', '.join(parts) or 'nothing new'}"
    if _trackio.has_lost or _unwritable:
        said += "; something could not be stored, as a warning has said"
    if has_arrived or not left.is_any:
        return said
    return f"{said}; {_needs_in_words(left, left.rows)}, which go out in the background"


def _delivered(sink: Sink, end: float) -> bool:
    """Whether a sink says that all has arrived; one that says nothing has nothing to say against it."""
    try:
        said = sink.deliver(remaining(end))
    except Exception as error:  # of the user's own code: the other sinks are asked all the same
        who, what = type(sink).__name__, f"{type(error).__name__}: {error}"
        logger.warning("autolog: %s could not deliver: %s", who, what)
        return False
    return said is None or bool(said)


def _sinks() -> list[Sink]:
    return [sink for sink in (_trackio, _memory, *_own_sinks()) if sink is not None]


def _own_sinks() -> list[Sink]:
    known = [sink() if isinstance(sink, weakref.ref) else sink for sink in list(_own.values())]
    return [sink for sink in known if sink is not None]


def remaining(end: float) -> float:
    """Seconds until this time of the monotonic clock, which may be past."""
    return max(0.0, end - time.monotonic())


# Other processes ------------------------------------------------------------------------------------


def _write_through() -> None:
    """This process is a worker from now on."""
    if _trackio is not None:
        _trackio.write_through = True


def leave_to_parent_soon() -> None:
    """A worker gives up its journal once nothing goes on, so that its parent can deliver it."""
    global _leaving
    if started.is_worker() and _leaving is None:
        _leaving = threads.after(LEAVE_SECONDS, _leave_after_what_goes_on)


def _leave_after_what_goes_on() -> None:
    background.later("leaving the journal to the parent", _leave_if_idle)


def _leave_if_idle() -> None:
    global _leaving
    if background.has_more():  # what describes a run that has ended meanwhile, say
        _leave_after_what_goes_on()
        return
    _leaving = None
    if _trackio is not None:
        _trackio.leave_to_parent(if_idle=True)


def expect_others() -> None:
    """From now on other processes may leave to this one what they record: the exit is too late to begin."""
    global _expects
    if not _expects and not started.is_worker():
        _expects = True
        background.later("opening the way for what other processes leave", _open_for_others)
    if _trackio is not None:
        _trackio.expect_others()


def _open_for_others() -> None:
    settings = current()
    destination = destination_of(settings)
    if settings.sink == "trackio" and open_sink(settings, destination) is _trackio and _trackio is not None:
        try:
            _trackio.open(destination, in_any_case=True)
        except OSError as error:
            say_unwritable(error, _trackio)


def _forget_in_child() -> None:
    """A forked child has none of its parent's journals and threads."""
    global _lock, _leaving, _expects
    _lock = threading.RLock()
    _leaving, _expects = None, False
    _own.clear()  # what was written to them before is the parent's to deliver
    _unwritable.clear()
    if _trackio is not None:
        _trackio.disown()


started.when_worker(_write_through)
forks.when_forked("outlet", in_child=_forget_in_child)
