"""What autolog says to a person: on stderr, or where ``autolog run`` keeps it until the program has ended.

There the program's own streams are to be the same byte by byte, with and without us.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys

__all__ = ["VARIABLE", "run_begun", "say", "take_over", "written"]

VARIABLE = "AUTOLOG_BOOTSTRAP"
"""Set by ``autolog run``: the file for what is said, the modules to wait for, the frameworks to record."""


def say(text: str) -> None:
    """Say one thing."""
    file = _file()
    if file is None:
        print(f"autolog: {text}", file=sys.stderr)
    else:
        _write(file, f"autolog: {text}")


def take_over() -> None:
    """From now on our warnings go where the rest goes, too."""
    file = _file()
    ours = logging.getLogger("autolog")
    if file is not None and not any(isinstance(handler, _Kept) for handler in ours.handlers):
        ours.addHandler(_Kept(file))
        ours.propagate = False


def run_begun() -> None:
    """A run has begun here: for ``autolog run``, which else says that there was none."""
    global _has_told
    file = _file()
    if file is not None and not _has_told:
        _has_told = True
        _write(file, str(os.getpid()), "recorded")


def written(file: str) -> dict[str, list[str]]:
    """What a program and its children have written, once each: ``said``; ``recorded``: the processes in
    which a run has begun; ``unrecorded``: interpreters in which none can.
    """
    told: dict[str, list[str]] = {"said": [], "recorded": [], "unrecorded": []}
    with open(file, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            kind, _, text = line.rstrip("\n").partition("\t")
            text = text.replace("\x1e", "\n")
            if text not in told.setdefault(kind, []):
                told[kind].append(text)
    return told


_has_told = False


class _Kept(logging.Handler):
    def __init__(self, file: str):
        super().__init__(logging.WARNING)
        self._to = file

    def emit(self, record: logging.LogRecord) -> None:
        _write(self._to, self.format(record))


def _file() -> str | None:
    return os.environ.get(VARIABLE, "").split("\t")[0] or None


def _write(file: str, text: str, kind: str = "said") -> None:
    line = f"{kind}\t" + text.replace("\n", "\x1e") + "\n"
    with contextlib.suppress(OSError), open(file, "a", encoding="utf-8", errors="replace") as kept:
        kept.write(line)
