"""``autolog rm RUN...``: runs, removed."""

from __future__ import annotations

import typer

from autolog.cli.common import (
    AsJson,
    At,
    Project,
    RunNames,
    Yes,
    agreed,
    console,
    line_of,
    print_json,
    several,
)
from autolog.review.recorded import below
from autolog.review.removal import Removal, removal_of
from autolog.review.values import bytes_of

__all__ = ["rm"]


def rm(
    names: RunNames, yes: Yes = False, project: Project = None, at: At = None, as_json: AsJson = False
) -> None:
    """Remove runs from this machine, with those below them and what only they have kept.

    \b
    autolog rm 4027 --project sweep
    """
    named = several(names, project, at)
    runs = [*dict.fromkeys(one for run in named for one in [run, *below(run)])]
    removal = removal_of(runs)
    more = f" and {len(runs) - len(named)} below" if len(runs) > len(named) else ""
    what = ", ".join(run.name for run in named[:5]) + (" ..." if len(named) > 5 else "")
    if not agreed(f"Remove {what}{more} ({_kept(removal)})?", yes or as_json):
        raise typer.Exit(1)
    removal.carry_out()
    if as_json:
        print_json({"runs": [run.id for run in runs], "bytes": removal.bytes})
    else:
        console.print(line_of(f"removed {len(runs)} run(s), {_kept(removal)}"))


def _kept(removal: Removal) -> str:
    return f"{len(removal.artifacts)} artifact(s), {bytes_of(removal.bytes)}"
