"""What takes long to make is made later, of plain data."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from autolog.capture.made import Parts, Piece, make


def parts_of(given: Mapping[str, Any]) -> Parts:
    def breaks() -> Iterator[Piece]:
        yield Piece("first", [{"n": given["n"]}])
        raise ZeroDivisionError("half way")

    return {"breaks": breaks, "works": lambda: [Piece("second", "<svg/>", "a caption")]}


def test_what_cannot_be_made_keeps_nothing_else_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("autolog.pieces")
    module.parts_of = parts_of  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "autolog.pieces", module)
    pieces, failed = make("autolog.pieces:parts_of", {"n": 3})
    assert pieces == [Piece("first", [{"n": 3}]), Piece("second", "<svg/>", "a caption")]
    assert [(part, str(error)) for part, error in failed] == [("breaks", "half way")]


def test_no_function_of_anybody_else_is_called() -> None:
    with pytest.raises(ValueError, match=r"one of autolog's, not os:getcwd"):
        make("os:getcwd", {})
