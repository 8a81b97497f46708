"""The code that stands in docs/ and in the README. ``python -m tests.docs.pages`` lists what is not run.

The blocks of a page are one program, from top to bottom. A reader is not shown everything that it needs: what
stands in a comment that begins with ``<!-- hidden`` is a part of the program, too (data, models, and what has
to hold after a block).

Python is run as it stands; of a ``diff`` the lines that are there afterwards; ``bash`` by bash, in a folder
of the page's own. Any other language, and what cannot be run here, has the reason in a comment above it:
``<!-- not run: it installs packages -->``. Blocks without a language are output. The README's two commands,
below ``<!-- run -->`` and ``<!-- test -->``, are run by .ci/run, in environments of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGES", "Block", "blocks", "program"]

ROOT = Path(__file__).parents[2]

# These have tests of their own, which compare what they print.
TESTED_ELSEWHERE = {
    "docs/cli.md": "tests/cli/test_page.py",
    "docs/looking-back.md": "tests/review/test_looking_back.py",
}

PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if str(path.relative_to(ROOT)) not in TESTED_ELSEWHERE
]

PIECE = re.compile(
    r"^(?:<!-- (?:not run: (?P<why>[^\n]+)|(?P<mark>run|test)) -->\n+)?"
    r"(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^ *```$"
    r"|^<!-- hidden\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A piece of code of a page, and where it stands."""

    line: int
    language: str
    code: str
    why_not: str | None


def blocks(text: str) -> Iterator[Block]:
    """All of a page, in order; hidden ones are Python."""
    for found in PIECE.finditer(text):
        is_hidden = found["hidden"] is not None
        start = found.start("hidden" if is_hidden else "code")
        indent = found["indent"] or ""
        code = found["hidden"] if is_hidden else re.sub(f"^{indent}", "", found["code"], flags=re.MULTILINE)
        language = "python" if is_hidden else found["language"]
        why_not = "by .ci/run, in an environment of its own" if found["mark"] else found["why"]
        yield Block(text.count("\n", 0, start) + 1, language, code, why_not)


def program(text: str) -> str:
    """What a page runs, with each piece at the line where it stands there."""
    lines: list[str] = []
    for block in blocks(text):
        if block.why_not is None:
            lines += [""] * (block.line - 1 - len(lines)) + _as_python(block).splitlines()
    return "\n".join(lines) + "\n"


def _as_python(block: Block) -> str:
    if block.language == "python":
        return block.code
    if block.language == "diff":  # what stands there afterwards
        return "\n".join(line[1:] for line in block.code.splitlines() if not line.startswith("-"))
    if block.language == "bash":
        return f"bash({block.code!r})"
    raise ValueError(f"line {block.line}: nobody runs {block.language}; say why: <!-- not run: ... -->")


def main() -> None:
    """Say what is not run, and why."""
    for path in PAGES:
        for block in blocks(path.read_text(encoding="utf-8")):
            if block.why_not is not None:
                print(f"{path.relative_to(ROOT)}:{block.line}: {block.language} is not run: {block.why_not}")


if __name__ == "__main__":
    main()
