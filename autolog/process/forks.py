"""Forks: who is told of one, and in which order. The one registration that autolog has with Python.

A forked child has one thread, the one that forked, and a copy of all memory. So what belongs to the parent
(its runs, journals, pipes) is let go of in the child, locks that other threads may have held are made anew,
and threads are forgotten. One thing may stand on another, so the order is written down, here alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["BEFORE", "IN_CHILD", "IN_PARENT", "when_forked"]

Function = Callable[[], object]

BEFORE = (
    "imports",  # wait until no thread of ours imports anything: seconds, perhaps
    "signals",  # then hold SIGTERM back, for as short as can be: until the child has let go of the pipe
)
IN_PARENT = (
    "signals",
    "imports",
    "delivery",  # from now on children may leave journals
)
IN_CHILD = (
    "guard",  # first: nothing that follows is an entry into our code that the parent began
    "imports",
    "background",
    "signals",  # lets go of the parent's pipe, then SIGTERM comes again
    "live",  # the parent's runs are the parent's
    "notebook",  # and so is the cell that they are shown in
    "telling",  # and what is to be said of them
    "reports",
    "adopting",
    "started",  # what it records is left to the parent
    "outlet",  # and so are its journals
    "current",
    "loops",
    "writer",
    "surroundings",
    "hooked",
    "rooms",  # the frameworks' own locks and registers
)

_before: dict[str, list[Function]] = {}
_in_parent: dict[str, list[Function]] = {}
_in_child: dict[str, list[Function]] = {}


def when_forked(
    who: str,
    *,
    before: Function | None = None,
    in_parent: Function | None = None,
    in_child: Function | None = None,
) -> None:
    """Call these around each fork, at the turn that the order above gives to ``who``.

    Raises:
        KeyError: ``who`` has no turn there.
    """
    for function, turns, order in (
        (before, _before, BEFORE),
        (in_parent, _in_parent, IN_PARENT),
        (in_child, _in_child, IN_CHILD),
    ):
        if function is not None:
            if who not in order:
                raise KeyError(f"{who!r} has no turn among {order}: write it down there.")
            turns.setdefault(who, []).append(function)


def _call(turns: dict[str, list[Function]], order: tuple[str, ...]) -> None:
    """Call all of them, whichever fails: the fork takes place in any case. Python prints what is raised."""
    failed: BaseException | None = None
    for who in order:
        for function in turns.get(who, ()):
            try:
                function()
            except BaseException as error:
                failed = failed or error
    if failed is not None:
        raise failed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _call(_before, BEFORE),
        after_in_parent=lambda: _call(_in_parent, IN_PARENT),
        after_in_child=lambda: _call(_in_child, IN_CHILD),
    )
