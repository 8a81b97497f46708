"""``autolog export RUN...``: runs in a format that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autolog.cli.common import AsJson, At, Project, RunNames, console, print_json, several, text
from autolog.review.export import FOLDERS, KINDS
from autolog.review.export import export as write
from autolog.review.recorded import below
from autolog.review.values import bytes_of

__all__ = ["export"]

NAMES = {"json": "runs.json", "html": "report.html"}


def export(
    names: RunNames,
    kind: Annotated[
        str, typer.Option("--to", help=" | ".join(KINDS), autocompletion=lambda: list(KINDS))
    ] = "csv",
    to: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file or folder; else 'export', 'runs.json' ...")
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="Also those below them: trials.")] = False,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Write runs out, with every number: as tables, as a document, as a page, or as a research object.

    \b
    autolog export best --to csv -o best
    autolog export last --children --to ro-crate -o study
    """
    if kind not in KINDS:
        raise ValueError(f"--to {kind}: expected one of {', '.join(KINDS)}")
    runs = several(names, project, at)
    if children:
        runs = [*dict.fromkeys(one for run in runs for one in [run, *below(run)])]
    written = write(runs, to or NAMES.get(kind, "export"), kind)
    paths = sorted(path for path in written.rglob("*") if path.is_file()) if kind in FOLDERS else [written]
    if as_json:
        print_json([str(path) for path in paths])
    else:
        size = bytes_of(sum(path.stat().st_size for path in paths))
        console.print(text(f"{written}: {len(paths)} file{'s' * (len(paths) > 1)}, {size}"))
