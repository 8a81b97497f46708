"""Which frameworks are being recorded in this context; and our variables, for threads that go on with it.

Never twice: while the outermost call of a framework is being recorded, its inner calls are not recorded.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

__all__ = ["Context", "carry", "our_context", "watched", "watching"]

watched: ContextVar[frozenset[str]] = ContextVar("autolog_watched", default=frozenset())
"""The frameworks whose outermost call is being recorded here."""


class watching:  # noqa: N801 - reads as a statement: with watching("sklearn"):
    """While the outermost call of a framework runs, its inner calls are not recorded again.

    ``watching.active(name)`` asks; ``with watching(name):`` enters. It holds for this context and goes along
    into workers, see :func:`our_context`.
    """

    def __init__(self, *names: str):
        self.names = frozenset(names)

    @staticmethod
    def active(name: str) -> bool:
        """Whether an outer call of this framework is being recorded."""
        return name in watched.get()

    def __enter__(self) -> None:
        self._token = watched.set(watched.get() | self.names)

    def __exit__(self, *exc: object) -> None:
        try:
            watched.reset(self._token)
        except ValueError:  # left in another context than entered, as generators may be
            watched.set(watched.get() - self.names)


Context = list[tuple[ContextVar[Any], Any]]
"""Variables of ours, with their values."""

_carried: list[ContextVar[Any]] = [watched]


def carry(variable: ContextVar[Any]) -> None:
    """This variable of ours goes along into workers. (The user's own are not ours to carry.)"""
    _carried.append(variable)


def our_context() -> Context:
    """Our variables as they are here, for functions that run somewhere else: a worker's thread, say."""
    return [(variable, variable.get()) for variable in _carried]
