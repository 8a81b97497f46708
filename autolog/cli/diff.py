"""``autolog diff A B``: what differs between two runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from autolog.cli.common import (
    AsJson,
    At,
    Project,
    RunName,
    console,
    line_of,
    print_json,
    print_table,
    several,
    text,
)
from autolog.review.differing import SECTIONS, code_diff, differences
from autolog.review.values import told

__all__ = ["diff"]


def diff(
    a: RunName,
    b: RunName,
    code: Annotated[bool, typer.Option("--code/--no-code", help="Show how the code differs.")] = True,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show only what differs between two runs; exits with 1 if anything does.

    \b
    autolog diff best best2 --project sweep
    autolog diff @2 @1
    """
    runs = several([a, b], project, at)
    found = differences(runs)
    lines = code_diff(*runs) if code else []
    if as_json:
        of = [{"section": d.section, "key": d.key, "values": d.values, "better": d.best} for d in found]
        print_json({"runs": [run.id for run in runs], "differences": of, "code": lines})
        raise typer.Exit(int(bool(found or lines)))
    if not found and not lines:
        console.print(line_of(f"{runs[0].name} and {runs[1].name} do not differ."))
        return
    rows: list[list[Text]] = []
    for section in SECTIONS:
        for number, of_one in enumerate(d for d in found if d.section == section):
            cells = [text(told(value) if value is not None else "-") for value in of_one.values]
            if of_one.best is not None:
                cells[of_one.best].stylize("bold green")
                cells[of_one.best].append(" better")
            rows.append([text(section if number == 0 else "", "dim"), text(of_one.key), *cells])
    print_table(["", "", *(run.name for run in runs)], rows)
    for line in lines:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        console.print(text(line, style))
    raise typer.Exit(1)
