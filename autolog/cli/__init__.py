"""The command line: ``autolog`` or ``python -m autolog``; one file a command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="autolog", description="What autolog recorded.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sync = commands.add_parser(
        "sync",
        help="deliver everything that is left on disk",
        description="Deliver to Trackio what earlier programs have left on disk, and wait until it is there.",
    )
    sync.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long at most (default: 600)"
    )
    asked = parser.parse_args(arguments)
    from autolog.cli.sync import sync as run_sync

    return run_sync(asked.timeout, sys.stdout)
