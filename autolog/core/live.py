"""All runs that are open in this process."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable

from autolog.core.recording import Recording
from autolog.process import forks

__all__ = [
    "add",
    "add_adopted",
    "adopted",
    "adopted_runs",
    "is_live",
    "last_of_all",
    "live_runs",
    "remove",
    "remove_adopted",
]

_live: dict[str, Recording] = {}
_adopted: dict[str, Recording] = {}  # Trackio's id -> the run that the user opened with Trackio itself
_last: Callable[[], Recording | None] = lambda: None  # noqa: E731 - set by add()
_lock = threading.RLock()  # a signal handler may come back to it


def add(run: Recording) -> None:
    """It is running."""
    global _last
    with _lock:
        _live[run.id] = run
        if run.parent is None:
            # It is kept for whoever asks for it; not with a sink of the user's own, which they may let go of.
            is_ours = isinstance(run.settings.sink, str)
            _last = functools.partial(_itself, run) if is_ours else weakref.ref(run)


def remove(run: Recording) -> bool:
    """It has ended. Returns whether it was the last one."""
    with _lock:
        return _live.pop(run.id, None) is not None and not _live


def live_runs() -> list[Recording]:
    """Those that are running, in the order of their opening."""
    with _lock:
        return list(_live.values())


def last_of_all() -> Recording | None:
    """The run that this process has opened last, and no child; whether it has ended or not."""
    return _last()


def _itself(run: Recording) -> Recording:
    return run


def is_live(run_id: str) -> bool:
    """Whether a run is going on in this process."""
    return run_id in _live


def add_adopted(run: Recording) -> None:
    """A run that the user opened with Trackio itself: never finished there by us."""
    with _lock:
        _adopted[run.id] = run


def remove_adopted(run: Recording) -> bool:
    """It has ended. Returns whether it was going on."""
    with _lock:
        return _adopted.pop(run.id, None) is not None


def adopted(run_id: str) -> Recording | None:
    """The run by which we write to a Trackio run of the user's own."""
    return _adopted.get(run_id)


def adopted_runs() -> list[Recording]:
    """All of them that are going on."""
    with _lock:
        return list(_adopted.values())


def _forget_in_child() -> None:
    """A forked child has none of its parent's runs."""
    global _lock, _last
    _lock, _last = threading.RLock(), lambda: None
    _live.clear()
    _adopted.clear()


forks.when_forked("live", in_child=_forget_in_child)
