"""``autolog tag RUN TAG``: tags of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from autolog.cli.common import AsJson, At, Project, RunName, console, line_of, one, print_json

__all__ = ["tag"]


def tag(
    name: RunName,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags to add; without any they are shown.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to take away.")] = None,
    project: Project = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Add tags to a run that has ended, or take some away.

    \b
    autolog tag best production --remove nightly
    """
    run = one(name, project, at)
    if tags or remove:
        run.tag(*(tags or []), remove=remove or [])
    if as_json:
        print_json(run.tags)
    else:
        console.print(line_of(f"{run.name}: {', '.join(run.tags) or 'no tags'}"))
