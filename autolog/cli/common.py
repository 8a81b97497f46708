"""What the commands have in common: which runs are meant, and how something is printed."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from autolog.review.archive import opened
from autolog.review.listing import Runs, runs
from autolog.review.recorded import RecordedRun
from autolog.review.values import harmless, plain_json

__all__ = [
    "AsJson",
    "At",
    "Cell",
    "Project",
    "ProjectName",
    "RunName",
    "RunNames",
    "Yes",
    "agreed",
    "console",
    "line_of",
    "one",
    "print_json",
    "print_table",
    "runs_of",
    "several",
    "text",
]


def _projects(incomplete: str) -> list[str]:
    """For the shell's completion, like the next one: whatever is wrong, it offers nothing."""
    with contextlib.suppress(Exception):
        return [name for name in opened().projects() if name.startswith(incomplete)]
    return []


def _runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Words, and ids with the run's name beside them, which zsh and fish show."""
    with contextlib.suppress(Exception):
        known = runs_of(ctx.params.get("project"), ctx.params.get("at"))
        words = [("last", "the newest"), ("best", "by the result"), ("best2", "the second best")]
        words += [(run.id[:8], harmless(run.name)) for run in known.at_top()[:100]]
        return [word for word in words if word[0].startswith(incomplete)]
    return []


console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

Project = Annotated[
    str | None,
    typer.Option("--project", "-p", help="Of which project; else of all.", autocompletion=_projects),
]
ProjectName = Annotated[
    str | None, typer.Argument(help="The project; without one the projects.", autocompletion=_projects)
]
At = Annotated[
    str | None,
    typer.Option(
        "--dir", "-d", help="Trackio's folder, a server's URL or a Space; else where this shell records."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_NAMED = "An id's beginning, a name, 'last', 'best', 'best2', or '@2' for the second that ls shows."
RunName = Annotated[str, typer.Argument(help=_NAMED, autocompletion=_runs)]
RunNames = Annotated[list[str], typer.Argument(help=_NAMED, metavar="RUN...", autocompletion=_runs)]


def one(name: str, project: str | None, at: str | None) -> RecordedRun:
    """The run that a person means."""
    return several([name], project, at)[0]


def several(names: Sequence[str], project: str | None, at: str | None) -> list[RecordedRun]:
    """The runs that a person means, in their order. ``@2`` is the second that ``autolog ls`` shows."""
    known = runs_of(project, at)
    shown = known.at_top()
    return [(shown if name.startswith("@") else known).get(name) for name in names]


def runs_of(project: str | None, at: str | None, **chosen: Any) -> Runs:
    """The runs of a project or of all, chosen and sorted as :func:`autolog.runs` does."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = runs(project, at=_place(at), **chosen)
    for one in told:
        print(f"autolog: {harmless(str(one.message))}", file=sys.stderr)
    return found


def _place(at: str | None) -> str | os.PathLike[str] | None:
    """``~`` is the home folder, as in a shell."""
    if at is None or "://" in at:
        return at
    path = Path(at).expanduser()
    return path if path.is_dir() else at


def text(value: str, style: str = "") -> Text:
    """A text from a record: as it is, without what a terminal would obey."""
    return Text(harmless(value), style=style)


def line_of(value: str, style: str = "") -> Text:
    """The same, on one line: a name, say, is not to look like two lines of ours."""
    return text(" ".join(value.split("\n")), style)


def agreed(question: str, yes: bool) -> bool:
    """Whether a person says yes.

    Raises:
        ValueError: there is nobody to ask.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ValueError(f"{question} There is nobody to ask: say --yes.")
    return typer.confirm(harmless(" ".join(question.split("\n"))))


Cell = str | Text
"""A text from a record, or one of :func:`text`."""


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[Cell]], right: Iterable[int] = (), head: bool = True
) -> None:
    """A table without lines: cut to a terminal's width; into a file or pipe it goes whole.

    Ten thousand rows by rich's own table take eight seconds.

    Args:
        right: the columns that are numbers.
        head: whether the titles are shown.
    """
    lines = [[_cell(title, "bold") for title in titles]] if head else []
    lines += [[_cell(cell) for cell in row] for row in rows]
    sizes = [[_width(cell) for cell in line] for line in lines]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    if console.is_terminal:
        widths = _fitting(widths, console.width)
    numbers = set(right)
    for line, measured in zip(lines, sizes, strict=True):
        cells: list[Cell] = []
        for place, (cell, size, width) in enumerate(zip(line, measured, widths, strict=True)):
            gap = " " * (width - size)
            shown = cell if size <= width else _cut(cell, width)
            cells += (gap, shown, "  ") if place in numbers else (shown, gap, "  ")
        if console.is_terminal:
            whole = Text.assemble(*cells)
            whole.rstrip()
            console.print(whole)
        else:
            console.file.write("".join(map(str, cells)).rstrip() + "\n")


def _cell(cell: Cell, style: str = "") -> Cell:
    """On one line, and harmless."""
    if isinstance(cell, Text):
        return cell if "\n" not in cell.plain else line_of(cell.plain, str(cell.style))
    plain = harmless(cell).replace("\n", " ")
    return Text(plain, style) if style and console.is_terminal else plain


def _width(cell: Cell) -> int:
    plain = cell if isinstance(cell, str) else cell.plain
    return len(plain) if plain.isascii() else cell_len(plain)


def _cut(cell: Cell, width: int) -> Text:
    shown = Text(cell) if isinstance(cell, str) else cell.copy()
    shown.truncate(width, overflow="ellipsis")
    return shown


def _fitting(widths: list[int], room: int) -> list[int]:
    """The widest columns give way, down to eight characters each."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return widths


def print_json(value: Any) -> None:
    """JSON on stdout: NaN and infinities by their names, as Trackio stores them."""
    said = orjson.dumps(plain_json(value), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
    console.file.write(said.decode() + "\n")
