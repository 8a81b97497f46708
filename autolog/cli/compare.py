"""``autolog compare A B C``: several runs side by side, only what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autolog.cli.common import (
    AsJson,
    At,
    Project,
    RunNames,
    console,
    print_json,
    print_table,
    several,
    text,
)
from autolog.review.differing import differences
from autolog.review.values import told

__all__ = ["compare"]


def compare(
    names: RunNames,
    html: Annotated[Path | None, typer.Option(help="Write a page to this file instead.")] = None,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show several runs side by side: only what differs, the best of each number marked.

    \b
    autolog compare @1 @2 @3
    autolog compare best last --html compared.html
    """
    runs = several(names, project, at)
    if len(runs) < 2:
        raise typer.BadParameter("name two runs or more", param_hint="RUN...")
    if html is not None:
        from autolog.review.report import report

        console.print(text(str(report(runs, html))))
        return
    found = differences(runs)
    if as_json:
        print_json({d.key: {"section": d.section, "values": d.values, "best": d.best} for d in found})
        return
    rows = []
    for of_one in found:
        cells = [text(told(value) if value is not None else "-") for value in of_one.values]
        if of_one.best is not None:
            cells[of_one.best].stylize("bold green")
            cells[of_one.best].append(" best")
        rows.append([text(of_one.section, "dim"), text(of_one.key), *cells])
    print_table(["", "", *(run.name for run in runs)], rows)
