"""``autolog ls``: the runs of a project; without one the projects."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.text import Text

from autolog.cli.common import AsJson, At, Cell, ProjectName, console, print_json, print_table, runs_of, text
from autolog.review.collector import held_back
from autolog.review.listing import Runs, label
from autolog.review.values import age_of

__all__ = ["ls"]

STYLES = {"finished": "", "running": "green", "failed": "red", "crashed": "red", "killed": "yellow"}
WATCH_SECONDS = 2.0
MOST = 1_000  # rows of a table, if nobody asks for more: nobody reads them, and they take a second


def ls(
    project: ProjectName = None,
    sort: Annotated[
        str | None, typer.Option(help="A key: a metric's best first; '-KEY' the other way.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help='A condition: "val/accuracy > 0.9 and params/lr == 0.1".')
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Keys with commas between them, in place of what differs.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help=f"The first so many; else {MOST:,}, of JSON all."),
    ] = None,
    children: Annotated[bool, typer.Option("--children", help="Also those below others: trials.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again, until Ctrl-C.")] = False,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a project, or the projects.

    \b
    autolog ls
    autolog ls sweep --sort val/accuracy --where "params/max_depth > 2"
    """

    def found() -> tuple[Runs, int]:
        every = runs_of(project, at, where=where, sort=sort)
        shown = [run for run in every if children or where is not None or run.parent is None]
        return Runs(shown, every.where), len(every) - len(shown)

    if project is None and where is None and sort is None and columns is None:
        _projects(at, as_json)
    elif as_json:
        print_json(found()[0][:limit].to_records())
    elif watch:
        while True:
            shown, _ = found()
            console.clear()
            _print(shown[: min(limit or MOST, max(1, console.height - 3))], columns, sort)
            time.sleep(WATCH_SECONDS)
    else:
        shown, below = found()
        if not shown:
            console.print(text(f"No runs{f' in project {project}' if project else ''} in {shown.where}."))
            return
        _print(shown[: limit or MOST], columns, sort)
        if limit is None and len(shown) > MOST:
            console.print(Text(f"and {len(shown) - MOST:,} more: --limit {len(shown)}", style="dim"))
        if below:
            console.print(Text(f"and {below} below them: --children", style="dim"))


@held_back()
def _print(shown: Runs, wanted: str | None, sort: str | None) -> None:
    columns = ["name", "status", *wanted.split(",")] if wanted else shown.columns()
    key = (sort or "started").removeprefix("-")
    if key != "started" and key not in columns:
        columns.insert(2, key)
    rows: list[list[Cell]] = [[*cells] for cells in shown.texts(columns)]
    if console.is_terminal:
        place = columns.index("status")
        for run, row in zip(shown, rows, strict=True):
            row[place] = text(str(row[place]), STYLES.get(run.status or "finished", "yellow"))
    numbers = [n for n, key in enumerate(columns) if _is_number_in(shown, key)]
    print_table([label(column) for column in columns], rows, right=numbers)


def _is_number_in(shown: Runs, column: str) -> bool:
    values = [shown.row(run, [column])[0] for run in shown[:50]]
    return column not in ("age", "seconds") and all(isinstance(v, (int, float, type(None))) for v in values)


def _projects(at: str | None, as_json: bool) -> None:
    every = runs_of(None, at)
    told: list[tuple[str, int, int, float]] = []
    for name in sorted({run.project for run in every}):
        of = [run for run in every if run.project == name]
        top = sum(run.parent is None for run in of)
        told.append((name, top, len(of) - top, max(run.started for run in of)))
    if as_json:
        print_json([dict(zip(("project", "runs", "below", "newest"), row, strict=True)) for row in told])
    elif not told:
        console.print(text(f"No runs in {every.where}."))
    else:
        rows = [
            [name, str(top), str(below or ""), age_of(time.time() - newest)]
            for name, top, below, newest in told
        ]
        print_table(["project", "runs", "below them", "newest"], rows, right=[1, 2])
