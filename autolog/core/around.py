"""Who knows of a run around, where nobody has entered one: a step of a pipeline, the process that started us.

A module of its own, since a worker is told of its run when it is started, and most of them train nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from autolog.core.recording import Recording

__all__ = ["look_around", "ways"]

_ways: list[Callable[[], Recording | None]] = []


def look_around(function: Callable[[], Recording | None]) -> None:
    """Call this where no run is open: it knows of something around that nobody entered."""
    _ways.append(function)


def ways() -> list[Callable[[], Recording | None]]:
    """All of these, in the order in which they are asked."""
    return _ways
