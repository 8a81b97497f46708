"""Writes to the run that the user has opened with Trackio itself, and never finishes it there."""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

from autolog.core import ending, live, outlet, surroundings
from autolog.core import settings as settings_module
from autolog.core.current import innermost
from autolog.core.opening import make
from autolog.core.recording import Recording
from autolog.process import forks
from autolog.sinks.identity import Identity

__all__ = ["adopted_run", "is_inside_a_run", "trackio_run"]


def adopted_run() -> Recording | None:
    """The run by which we write to the Trackio run that is open in this context, if there is one."""
    ambient = _ambient_run()
    if ambient is None:
        return None
    run = live.adopted(ambient.id)
    if run is not None:
        return run
    with _lock:
        run = live.adopted(ambient.id)
        if run is not None:  # another thread was faster
            return run
        run = _adopt(ambient)
    surroundings.record(run)
    return run


_lock = threading.RLock()  # a signal handler may come back to it


def _adopt(ambient: Any) -> Recording:
    settings = settings_module.current()
    if ambient.token:
        outlet.know_token(ambient.destination, ambient.token)
    identity = Identity(
        id=ambient.id,
        name=ambient.name,
        project=ambient.project,
        group=ambient.group,
        destination=ambient.destination,
        adopted=True,
    )
    run = make(identity, settings, ambient=ambient, opened_by_user=True)
    run.put({"status": "running"})
    ending.adopted(run)
    ambient.when_finished(functools.partial(ending.finished_by_trackio, run))
    return run


def _unlock_in_child() -> None:
    """A thread that held it is not in a forked child."""
    global _lock
    _lock = threading.RLock()


forks.when_forked("adopting", in_child=_unlock_in_child)


def trackio_run() -> Any:
    """The ``trackio.Run`` that is open in this context, the user's or another integration's; None: none."""
    ambient = _ambient_run()
    return ambient.itself if ambient is not None else None


def is_inside_a_run() -> bool:
    """Whether what begins here belongs to a run that is open already, of ours or of the user's own."""
    return innermost() is not None or _ambient_run() is not None


def _ambient_run() -> Any:
    if "trackio" not in sys.modules:
        return None
    from autolog.sinks.trackio.ambient import ambient_run

    return ambient_run()
