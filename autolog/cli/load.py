"""``autolog load RUN PATH``: a run's files, copied out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autolog.cli.common import AsJson, At, Project, RunName, console, one, print_json, text
from autolog.review.loading import one_line
from autolog.review.recorded import folders_of

__all__ = ["load"]


def load(
    name: RunName,
    to: Annotated[Path, typer.Argument(help="The folder; made if it is not there.")],
    artifact: Annotated[str | None, typer.Option(help="Only this artifact.")] = None,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Copy a run's files into a folder: its model, checkpoints, code and tables.

    \b
    autolog load best model/
    """
    run = one(name, project, at)
    made = [a for a in run.artifacts if not a.is_input]
    wanted = [a for a in made if artifact in (None, a.name)]
    if not wanted:
        kept = ", ".join(a.name for a in made) or "nothing"
        raise LookupError(f"{run.name} has kept {f'no {artifact!r}, but ' if artifact else ''}{kept}.")
    folders = zip(wanted, folders_of(wanted), strict=True)
    copies = [copy for a, folder in folders for copy in a.copy(to / folder)]
    if as_json:
        print_json([str(copy) for copy in copies])
        return
    for copy in copies:
        console.print(text(str(copy)))
    line = one_line(run)
    if line is not None:
        console.print(text(f"In Python: {line}", "dim"))
