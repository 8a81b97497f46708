"""``autolog run``: record a program without a line of code in it."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import autolog.bootstrap
from autolog.core.catalogue import PACKAGES, TABLE
from autolog.process import voice

__all__ = ["run"]

NOT_FOUND = 127
FROM_KEYS = ("SIGINT", "SIGQUIT")
HANDED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # the last two: of a cluster, before time is up


def run(arguments: Sequence[str]) -> int:
    """Run a program; returns its exit status, and ends by the signal that has ended it."""
    ours, program = _apart(arguments)
    asked = _parser().parse_args(ours)
    if not program:
        _parser().error("name a program: autolog run -- train.py")
    command = _command(program)
    if command is None:
        print(f"autolog run: there is no program {program[0]!r}", file=sys.stderr)
        return NOT_FOUND
    with _file() as told:
        # What lies open for it stays so: `train.py <(zcat data.gz)`, a launcher's sockets.
        process = subprocess.Popen(command, env=_environment(asked, told), close_fds=False)
        status = _wait_for(process)
        lines = _lines(voice.written(told), asked.frameworks)
    if asked.log is not None:
        with asked.log.open("a", encoding="utf-8") as log:
            log.writelines(f"{line}\n" for line in lines)
    elif sys.stderr.isatty():
        for line in lines:
            print(line, file=sys.stderr)
    if status < 0:  # as it would have ended without us
        with contextlib.suppress(OSError):  # SIGKILL has no other way
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="autolog run",
        usage="autolog run [OPTIONS] [--] script.py | -m module | PROGRAM [ARGUMENTS]",
        description="Run a program and record its trainings: no line of code. Its output and exit status "
        "stay as they are; what autolog says comes after its end.",
        epilog="autolog run --project churn -- train.py --lr 0.1",
    )
    parser.add_argument("--project", "-p", help="the project; else that of the folder")
    parser.add_argument("--name", "-n", help="the runs' name")
    parser.add_argument("--tags", "-t", help="tags, with commas between them")
    parser.add_argument(
        "--framework",
        "-f",
        action="append",
        default=[],
        dest="frameworks",
        choices=sorted(TABLE),
        metavar="NAME",
        help=f"record only this one (may come several times): {', '.join(TABLE)}",
    )
    parser.add_argument(
        "--log",
        type=Path,
        help="append what autolog says to this file; else it is printed on a terminal only",
    )
    return parser


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is ours of the arguments, and the program with its own: from the first word that is no option."""
    place = 0
    while place < len(arguments):
        word = arguments[place]
        if word == "--":
            return list(arguments[:place]), list(arguments[place + 1 :])
        if word in ("-m", "-c") or not word.startswith("-"):
            break
        place += 1 if "=" in word or word in ("-h", "--help") else 2  # an option, and its value
    return list(arguments[:place]), list(arguments[place:])


def _command(program: Sequence[str]) -> list[str] | None:
    """What is started: a script or a module by this Python; None: there is no such program."""
    if program[0] in ("-m", "-c") or program[0].endswith(".py"):
        return [sys.executable, *program]
    found = shutil.which(program[0])
    return None if found is None else [found, *program[1:]]


def _environment(asked: argparse.Namespace, told: str) -> dict[str, str]:
    folder = str(Path(autolog.bootstrap.__file__).parent)
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"AUTOLOG_PROJECT": asked.project, "AUTOLOG_RUN_NAME": asked.name, "AUTOLOG_TAGS": asked.tags}
    return {
        **os.environ,
        **{variable: value for variable, value in settings.items() if value},
        voice.VARIABLE: "\t".join((told, ",".join(PACKAGES), ",".join(asked.frameworks))),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@contextlib.contextmanager
def _file() -> Iterator[str]:
    """A file for what the program and its children have to tell."""
    handle, path = tempfile.mkstemp(prefix="autolog-run-")
    os.close(handle)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _wait_for(process: subprocess.Popen[bytes]) -> int:
    """Its exit status. What a terminal's keys send reaches it by itself; the rest is handed on."""
    with contextlib.suppress(ValueError):  # not in the main thread
        for name in FROM_KEYS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        for name in HANDED_ON:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda got, _: process.send_signal(got))
    return process.wait()


def _lines(told: dict[str, list[str]], frameworks: Sequence[str]) -> list[str]:
    """What is printed after its end."""
    lines = list(told["said"])
    lines += [f"autolog: not recorded: {where}" for where in told["unrecorded"]]
    if not told["recorded"] and not told["unrecorded"]:
        names = ", ".join(frameworks or TABLE)
        lines.append(f"autolog: nothing was recorded: the program has trained with none of {names}")
    return lines
