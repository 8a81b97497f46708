"""The code of docs/looking-back.md runs as it stands."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import autolog

PAGE = (Path(__file__).parents[2] / "docs" / "looking-back.md").read_text()


def test_its_code_runs(project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(blocks) == 3
    names = {"autolog": autolog}
    with autolog.enabled(sink=autolog.MemorySink()):
        for block in blocks:
            exec(block.replace('"sweep"', repr(project)).replace("> 0.9", "> 0.1"), names)
    assert sorted(os.listdir(tmp_path)) == ["best.html", "three.html"]
    assert len(names["frame"]) == len(names["runs"]) > 0  # type: ignore[arg-type]


def test_its_pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert len(pictures) == 4
    assert all((Path(__file__).parents[2] / "docs" / picture).is_file() for picture in pictures)
