"""The command line: ``autolog`` or ``python -m autolog``; one file a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

NEEDED = "autolog's commands need typer and rich: pip install 'trackio-autolog[cli]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status.

    ``run`` and ``sync`` need nothing beside autolog itself: they are what a machine without anybody calls.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["sync"]:
        return _sync(arguments[1:])
    if arguments[:1] == ["run"]:
        from autolog.cli.run import run as run_program

        return run_program(arguments[1:])
    try:
        from autolog.cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        print(f"{NEEDED}\n`autolog run` and `autolog sync` work without them.", file=sys.stderr)
        return 2
    return run(arguments)


def _sync(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="autolog sync",
        description="Deliver to Trackio what earlier programs have left on disk, and wait until it is there.",
    )
    parser.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long at most (default: 600)"
    )
    parser.add_argument(
        "--dir", "-d", type=Path, metavar="FOLDER", help="Trackio's folder; else the usual one"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    try:
        asked = parser.parse_args(arguments)
    except SystemExit as ended:  # it has said why
        return int(ended.code or 0)
    if asked.dir is not None:
        if not asked.dir.is_dir():
            print(f"autolog: {asked.dir}: there is no such folder", file=sys.stderr)
            return 2
        os.environ["TRACKIO_DIR"] = str(asked.dir.absolute())  # Trackio has not been imported yet
    from autolog.cli.sync import sync

    return sync(asked.timeout, asked.json)
