"""What was found out about where a run comes from, and notes on what was not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autolog.capture.params import mask

__all__ = ["Provenance"]


@dataclass
class Provenance:
    """What a run was made from."""

    config: dict[str, Any] = field(default_factory=dict)
    """Facts with `/`-separated keys: `run/entry`, `git/commit`, `python`, `device`, ..."""
    files: dict[str, str] = field(default_factory=dict)
    """Texts by name: the entry script, the diff against HEAD, installed packages, lock files."""
    notes: list[str] = field(default_factory=list)
    """What is missing, and why."""

    def attempt(self, what: str, step: Callable[[], object]) -> None:
        """Do one step; if it fails, that is a note."""
        try:
            step()
        except Exception as error:
            self.notes.append(f"{what}: {type(error).__name__}: {mask(str(error))[:200]}")

    def read(self, file: Path, limit: int) -> str | None:
        """A text file, masked; a note instead of one that is too large, or not a file at all."""
        try:
            if not file.is_file():  # also keeps us from waiting on a pipe
                self.notes.append(f"{file.name}: not a file")
                return None
            with file.open("rb") as opened:
                content = opened.read(limit + 1)
        except OSError as error:
            self.notes.append(f"{file.name}: {error.strerror}")
            return None
        if len(content) > limit:
            self.notes.append(f"{file.name}: left out, larger than {limit:,} bytes")
            return None
        return mask(content.decode("utf-8", "replace"))
