"""Another process, of one in which autolog is on: what it trains belongs to the run that it works for.

What is imported here is imported by workers that train nothing, too, if they import a framework.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

from autolog.core import around, catalogue, started
from autolog.core.settings import Settings
from autolog.process.context import watched

if TYPE_CHECKING:
    from autolog.core.recording import Recording
    from autolog.core.word import Told

__all__ = ["arrive", "everything", "is_shared", "visit"]

_is_shared = False


def arrive(word: bytes) -> None:
    """This process was started for what goes on around its start."""
    global _is_shared
    _, _, _, outer, _, ticket, _is_shared = _taken(word)
    watched.set(watched.get() | outer)
    if ticket is not None:
        around.look_around(functools.partial(_rejoined, ticket))


def visit(word: bytes) -> Callable[[], None]:
    """A task of this process is for somebody's run: enter it; returns how to leave."""
    from autolog.core import current, outlet

    frameworks, _, _, outer, _, ticket, _ = _taken(word)
    if _is_shared:  # what others have turned on here is not of this task
        outer |= everything() - frameworks.keys()
    token = watched.set(outer)
    leave_run = current.enter(_rejoined(ticket)) if ticket is not None else None

    def leave() -> None:
        if leave_run is not None:
            leave_run()
        watched.reset(token)
        outlet.leave_to_parent_soon()

    return leave


def is_shared() -> bool:
    """Whether this process works for many callers, of whom each tells it of their own run."""
    return _is_shared


def everything() -> frozenset[str]:
    """All frameworks: where they are watched already nothing is recorded."""
    return frozenset(catalogue.TABLE)


def _taken(word: bytes) -> Told:
    told, settings = _heard(word)
    catalogue.go_on(told[0], settings)  # each time: another task may have come with others
    return told


@functools.lru_cache(maxsize=8)
def _heard(word: bytes) -> tuple[Told, Settings]:
    told: Told = pickle.loads(word)
    _, settings, program, _, known, _, _ = told
    started.work_for(program, known)
    return told, Settings.checked_elsewhere(settings)


@functools.lru_cache(maxsize=8)
def _rejoined(ticket: bytes) -> Recording:
    from autolog.core import opening

    return opening.rejoin(pickle.loads(ticket))
