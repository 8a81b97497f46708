"""What takes long to make: kept as plain data, and made into pictures and tables later, in another process.

A study's pictures need imports that a short program would wait for. So the program writes down what they are
made of, and which function makes them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autolog.capture.chart import Chart

__all__ = ["Parts", "Piece", "make"]


@dataclass(frozen=True)
class Piece:
    """One picture, page or table.

    Attributes:
        key: its name in the run.
        value: a picture as data; a whole page of HTML; a table's rows; anything else in the form in which a
            place stores it.
        has_picture: of all rows of a table. Where pictures are drawn, the table is stored, but not shown.
    """

    key: str
    value: Chart | str | list[dict[str, Any]] | dict[str, Any]
    caption: str | None = None
    has_picture: bool = False


Parts = Mapping[str, Callable[[], Iterable[Piece]]]
"""What a function that makes pieces returns: by name, in the order in which they are recorded.

What cannot be made keeps nothing else from being made.
"""


def make(by: str, given: Mapping[str, Any]) -> tuple[list[Piece], list[tuple[str, Exception]]]:
    """Make all pieces.

    Args:
        by: a function of ours, as ``module:name``; it is called with ``given`` and returns :data:`Parts`.

    Returns:
        The pieces; and the names of the parts that could not be made, with the reasons.

    Raises:
        ValueError: a function of somebody else's.
    """
    module, _, name = by.partition(":")
    if not module.startswith("autolog."):  # it may stand in a file
        raise ValueError(f"a function that makes pictures is one of autolog's, not {by}")
    parts: Parts = getattr(importlib.import_module(module), name)(given)
    pieces: list[Piece] = []
    failed: list[tuple[str, Exception]] = []
    for part, makes in parts.items():
        try:
            for piece in makes():  # what was made before it fails stays
                pieces.append(piece)
        except Exception as error:
            failed.append((part, error))
    return pieces, failed
