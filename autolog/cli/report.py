"""``autolog report RUN...``: a page about one run, or about several beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autolog.cli.common import AsJson, At, Project, RunNames, console, print_json, several, text
from autolog.review.report import report as write

__all__ = ["report"]


def report(
    names: RunNames,
    to: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("report.html"),
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Write a page of HTML that stands by itself: about one run, or what differs between several.

    \b
    autolog report best
    autolog report @1 @2 @3 -o compared.html
    """
    page = write(several(names, project, at), to)
    if as_json:
        print_json(str(page))
    else:
        console.print(text(str(page)))
