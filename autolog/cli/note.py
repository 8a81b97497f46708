"""``autolog note RUN "..."``: a person's words on a run."""

from __future__ import annotations

from typing import Annotated

import typer

from autolog.cli.common import AsJson, At, Project, RunName, console, line_of, one, print_json, text

__all__ = ["note"]


def note(
    name: RunName,
    words: Annotated[
        str | None, typer.Argument(help="What to write; without it the notes are shown.")
    ] = None,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Write on a run, or read what was written.

    \b
    autolog note best "the one that went to production"
    """
    run = one(name, project, at)
    if words is not None:
        run.add_note(words)
    if as_json:
        print_json(run.words)
    elif words is not None:
        console.print(line_of(f"{run.name}: {words}"))
    else:
        for said in run.words:
            console.print(text(said))
