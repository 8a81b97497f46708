"""All commands together, and what becomes of an error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from autolog.cli.compare import compare
from autolog.cli.diff import diff
from autolog.cli.doctor import doctor
from autolog.cli.export import export
from autolog.cli.load import load
from autolog.cli.ls import ls
from autolog.cli.note import note
from autolog.cli.prune import prune
from autolog.cli.report import report
from autolog.cli.rm import rm
from autolog.cli.show import show
from autolog.cli.tag import tag
from autolog.review.conditions import ConditionError
from autolog.review.source import SourceError
from autolog.review.values import harmless

__all__ = ["run"]

app = typer.Typer(
    name="autolog",
    help="Look at what autolog recorded: list runs, show one, compare several, load a model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (ls, show, diff, compare, report, export, load, note, tag, rm, prune, doctor):
    app.command()(command)


@app.command("sync")
def _sync() -> None:
    """Deliver to Trackio what earlier programs have left on disk, and wait until it is there."""
    raise AssertionError("`autolog sync` needs none of this, and is called before it")


@app.command("run")
def _run() -> None:
    """Run a program and record its trainings: autolog run -- train.py"""
    raise AssertionError("`autolog run` needs none of this, and is called before it")


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        The exit status: 0; 1 of ``diff``, if they differ; 2, if it was used wrongly or nothing was found; 130
        after Ctrl-C.
    """
    try:
        app(args=list(arguments), prog_name="autolog")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except (ConditionError, SourceError, LookupError, ValueError, ImportError, FileExistsError) as error:
        said = error.args[0] if isinstance(error, LookupError) and error.args else error
        print(f"autolog: {harmless(str(said))}", file=sys.stderr)
        return 2
    return 0
