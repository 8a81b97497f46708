"""Through whose modules a call has come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

__all__ = ["callers_in"]


def callers_in(package: str) -> Iterator[str]:
    """The modules of a package that a call has come through, from inside out: up to the caller."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        root = module.partition(".")[0]
        if root == package:
            yield module
        elif root != "autolog":
            return
        frame = frame.f_back
