"""How this process was started: in which folder, with which arguments, and for which other process.

A module of its own, since a worker is told of it when it is started, and most of them train nothing.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autolog.process import forks
from autolog.process.guard import shield
from autolog.process.hooks import Hook

__all__ = [
    "HOOKS",
    "arguments",
    "began_in",
    "is_worker",
    "when_worker",
    "work",
    "work_for",
    "worked_for",
]


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return None


began_in = _working_directory()  # a program that moves later may name its script relative to here


# The program's arguments ------------------------------------------------------------------------

# The last namespaces that argparse has filled: weakly, since what the program puts into one is its own.
# Beside each what was in it then, as plain values: of `vars(parser.parse_args())` nothing else is left.
_parsed: deque[tuple[weakref.ref[Any] | None, dict[str, Any]]] = deque(maxlen=8)


def observe_parsing(parser: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Remember what was parsed. A subcommand's own parser comes before the one that it belongs to."""
    from autolog.capture.origin.program import values_of
    from autolog.capture.params import sanitize

    with shield("remembering the program's arguments"):
        namespace, _ = result
        try:
            reference = weakref.ref(namespace)
        except TypeError:  # a class of the user's that takes none
            reference = None
        _parsed.append((reference, sanitize(values_of(namespace))))


HOOKS = [Hook("argparse", "ArgumentParser.parse_known_args", observe_parsing, kind="after")]


def arguments() -> dict[str, Any]:
    """The command line's values as they are now: of the last namespace that the program still has.

    A shallow copy, since the run is described on another thread, when the program may have gone on. (To
    sanitize them here would cost the caller a hundred times as much.)
    """
    from autolog.capture.origin.program import namespace_of_main, values_of

    for reference, _ in reversed(list(_parsed)):  # another thread may parse meanwhile
        if reference is not None and (namespace := reference()) is not None:
            return values_of(namespace)
    return namespace_of_main() or (_parsed[-1][1] if _parsed else {})


# Another process ------------------------------------------------------------------------------------

_is_worker = False
_then: list[Callable[[], object]] = []
_program: tuple[dict[str, Any], bytes | None] | None = None


def work() -> None:
    """This process is a worker: it writes to its journal at once, and delivers nothing itself."""
    global _is_worker
    _is_worker = True
    for function in _then:
        function()


def when_worker(function: Callable[[], object]) -> None:
    """Call this when this process becomes a worker."""
    _then.append(function)


def is_worker() -> bool:
    """Whether this process works for another one, and may be ended without another moment."""
    return _is_worker


def work_for(program: dict[str, Any], known: bytes | None) -> None:
    """This process works for the program of another one. Its own main module says nothing of what it does."""
    global _program
    _program = program, known
    work()


def worked_for() -> tuple[dict[str, Any], bytes | None] | None:
    """The program that this process works for, and what is known of it there, pickled; None: its own."""
    return _program


forks.when_forked("started", in_child=work)
