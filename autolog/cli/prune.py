"""``autolog prune``: kept models and checkpoints that nobody needs any more, removed."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from autolog.cli.common import (
    AsJson,
    At,
    Cell,
    ProjectName,
    Yes,
    agreed,
    console,
    line_of,
    print_json,
    print_table,
    runs_of,
)
from autolog.review.removal import KEPT, PRUNED, Removal, prunable
from autolog.review.values import bytes_of

__all__ = ["prune"]

UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def prune(
    project: ProjectName = None,
    keep: Annotated[
        str, typer.Option(help="'best', 'last' or both: of each project, with those below it; or 'none'.")
    ] = ",".join(KEPT),
    older: Annotated[str, typer.Option(help="Only of runs that began so long ago: 12h, 30d, 8w.")] = "0d",
    types: Annotated[str, typer.Option("--type", help="Of artifacts, with commas.")] = ",".join(PRUNED),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Yes = False,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Remove models and checkpoints from this machine. The runs stay, and say that it was done.

    What another run uses stays, and what has a name that somebody gave it, or is in a registry.

    \b
    autolog prune sweep --keep best,last --older 30d --dry-run
    """
    kept = [] if keep == "none" else [word.strip() for word in keep.split(",")]
    wanted = [word.strip() for word in types.split(",")]
    removal = prunable(runs_of(project, at), kept, _seconds(older), wanted)
    if as_json:
        print_json(
            {
                "artifacts": [
                    {"name": a.name, "version": a.version, "runs": [run.id for run in by]}
                    for a, by in removal.artifacts
                ],
                "bytes": removal.bytes,
            }
        )
    elif not removal.artifacts:
        console.print("nothing to remove")
    else:
        rows: list[list[Cell]] = [
            [f"{a.name}:v{a.version}", bytes_of(a.size), by[0].project, ", ".join(run.name for run in by)]
            for a, by in removal.artifacts
        ]
        print_table(["artifact", "size", "project", "of"], rows, right=[1])
    if dry_run or not removal.artifacts:
        if removal.artifacts and not as_json:
            console.print(f"{bytes_of(removal.bytes)} would be freed; nothing was removed")
        return
    if not agreed(f"Remove {_count(removal)}?", yes or as_json):
        raise typer.Exit(1)
    removal.carry_out()
    if not as_json:
        console.print(line_of(f"removed {_count(removal)}"))


def _count(removal: Removal) -> str:
    return f"{len(removal.artifacts)} artifact(s), {bytes_of(removal.bytes)}"


def _seconds(told: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", told.strip())
    if found is None:
        raise ValueError(f"--older {told}: expected a number and m, h, d or w: 30d")
    return float(found[1]) * UNITS[found[2]]
