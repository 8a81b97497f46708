"""What a whole program costs: ``python -m benchmarks.program``, or ``--quick`` for a first look.

Each program is started cold, as a user starts it, bare and recorded in several ways, in turns, each way with
a directory of its own that it has used once before. ``python -m benchmarks.program fits search`` measures
some. The columns:

- program: seconds from its start to its exit, the median of all turns; "of bare" is the median of the ratios
  to the bare program of the same turn, with the least and the most.
- work: of that the training alone, between the imports and the last line.
- exit: from the last line to the exit.
- arrived: from the start until the rows, the configs and the final statuses are in the tracker's database;
  delivered: until pictures and files are, too, and no process is left.
- CPU: of all processes until the program has ended and rows, configs and statuses have arrived, and until all
  is delivered, each as a multiple of bare's.
- memory: the most that the program had on top of bare's, and the most of the processes that it left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.turns import of_bare
from benchmarks.ways import is_installed

PROGRAMS = Path(__file__).parent / "programs"
CASES = {
    "imports": ("imports", [], "Imports: scikit-learn, nothing is trained", 0),
    "fits": ("fits", [], "Seven short fits with their scores (5 LogisticRegression, 2 forests)", 7),
    "search": ("search", [], "GridSearchCV, 40 candidates, 3 folds", 1),
    "xgboost": ("boosting", ["xgboost"], "XGBoost: 100 rounds with two evaluation sets", 1),
    "lightgbm": ("boosting", ["lightgbm"], "LightGBM: 100 rounds with two evaluation sets", 1),
    "study": ("study", ["30", "0"], "Optuna: a study of 30 trials", 1),
    "reports": ("study", ["1500", "5"], "Optuna: 1,500 trials with five reports each", 1),
    "keras": ("keras_fit", [], "Keras: 1,600 batches, each recorded", 1),
    "lightning": ("lightning_fit", [], "Lightning: 4,500 steps, each recorded", 1),
    "transformers": ("transformers_fit", [], "transformers: 600 steps, each recorded", 1),
}
"""Per name: the program, its arguments, what it does, and how many runs it records by autolog."""

TRAININGS = ["keras", "lightning", "transformers"]
WAYS = {
    "bare": "bare",
    "autolog": "autolog",
    "trackio": "Trackio by hand",
    "wandb": "W&B offline",
    "mlflow": "MLflow",
}
PATIENCE = 3.0  # a peer that takes so many times as long as bare takes one turn
WAITS = 120.0  # seconds for what a program leaves to others

_BECOMES_PARENT_OF_ORPHANS = 36  # prctl's PR_SET_CHILD_SUBREAPER


@dataclass
class Measured:
    """One program, once; seconds from its start, or of CPU; bytes."""

    program: float
    work: float
    exit: float
    arrived: float
    delivered: float
    cpu_arrived: float
    cpu: float
    memory: float
    beside: float


def measure(name: str, way: str, share: float, directory: Path) -> Measured:
    """Run a program, and wait until nothing of it is left.

    Raises:
        Failed: it has not ended well.
    """
    script, arguments, _, runs = CASES[name]
    directory.mkdir(parents=True, exist_ok=True)
    told, out = directory / "told.json", directory / "out.txt"
    before = _runs_there(directory)
    expected = before + (runs if way == "autolog" else 0)
    cpu_before = _cpu_of_ended()
    with out.open("w") as file:
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, PROGRAMS / f"{script}.py", way, str(share), *arguments],
            cwd=directory,
            env=_environment(directory, told),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        code = process.wait()
        ended = time.monotonic()
    if code:
        raise Failed(out.read_text()[-500:])
    while (there := _runs_there(directory)) < expected and time.monotonic() < ended + WAITS:
        time.sleep(0.01)
    arrived = time.monotonic()
    cpu_arrived = _cpu_of_ended() - cpu_before + _cpu_of_living()
    beside = _wait_for_orphans(ended + WAITS)
    if there < expected or psutil.Process().children():
        raise Failed(f"{expected - there} of {runs} runs have not arrived after {WAITS:.0f} s")
    delivered = time.monotonic() if beside else arrived
    said: dict[str, float] = json.loads(told.read_text())
    return Measured(
        program=ended - begin,
        work=said["ended"] - said["began"],
        exit=ended - said["ended"],
        arrived=arrived - begin,
        delivered=delivered - begin,
        cpu_arrived=cpu_arrived,
        cpu=_cpu_of_ended() - cpu_before,
        memory=said["memory"],
        beside=beside,
    )


class Failed(Exception):  # noqa: N818 - it is told in the table
    """A program cannot be measured; says why."""


def _environment(directory: Path, told: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOLOG_", "TRACKIO_", "WANDB_"))}
    return {
        **clean,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        "TOLD": str(told),
        "OUT": str(directory / "out"),
        "KERAS_BACKEND": "torch",
        "HF_HUB_OFFLINE": "1",
        "TRACKIO_DIR": str(directory / "trackio"),
        "AUTOLOG_PROJECT": "program",
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_CONSOLE": "off",
        "WANDB_DIR": str(directory),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db",
    }


def _runs_there(directory: Path) -> int:
    """How many runs of Trackio's have their final status; a status comes after all rows of its run."""
    path = directory / "trackio" / "program.db"
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
        try:
            texts = database.execute("SELECT config FROM configs").fetchall()
        except sqlite3.OperationalError:  # its tables are being made
            return 0
    return sum(json.loads(text).get("status") == "finished" for (text,) in texts)


def _cpu_of_ended() -> float:
    """Of the processes that have ended and their children."""
    times = os.times()
    return times.children_user + times.children_system


def _cpu_of_living() -> float:
    spent = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def _wait_for_orphans(end: float) -> float:
    """Wait until all have ended that the program has left; returns the most memory that they had together."""
    most = 0.0
    while time.monotonic() < end:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not ended:  # (their ru_maxrss begins with what the process had that they were started from)
            most = max(most, _memory_of_living())
            time.sleep(0.02)
    return most


def _memory_of_living() -> float:
    bytes_ = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            bytes_ += child.memory_info().rss
    return bytes_


# Turns -----------------------------------------------------------------------------------------------


def take_turns(name: str, turns: int, share: float, ways: list[str], folder: Path) -> dict[str, Any]:
    """Measure a program in all ways, once to warm up and then so many times, each turn in another order.

    Returns:
        Per way, per turn what was measured; or why it could not be.
    """
    found: dict[str, Any] = {way: {} for way in ways}
    slow: set[str] = set()
    for turn in range(turns + 1):
        order = list(ways)
        random.Random(turn).shuffle(order)
        for way in order:
            if isinstance(found[way], str) or (turn > 1 and way in slow):
                continue
            try:
                found[way][turn] = measure(name, way, share, folder / name / way)
            except Failed as failure:
                if way == "bare":
                    raise
                found[way] = str(failure)
        if not turn:
            took = {way: kept[0].program for way, kept in found.items() if not isinstance(kept, str)}
            peers = took.keys() - {"bare", "autolog", "trackio"}
            slow = {way for way in peers if took[way] > PATIENCE * took["bare"]}
    for kept in found.values():
        if not isinstance(kept, str):
            kept.pop(0)
    return found


def rows_of(found: dict[str, Any]) -> list[list[str]]:
    bare: dict[int, Measured] = found["bare"]
    rows = []
    for way, kept in found.items():
        if isinstance(kept, str):
            rows.append([WAYS[way], f"not measured: {kept.strip().splitlines()[-1][:60]}", *[""] * 8])
            continue

        def median(what: str, kept: dict[int, Measured] = kept) -> float:
            return statistics.median(getattr(one, what) for one in kept.values())

        def ratio(what: str, of: str = "", kept: dict[int, Measured] = kept) -> tuple[float, float, float]:
            pairs = [(getattr(one, what), getattr(bare[turn], of or what)) for turn, one in kept.items()]
            return of_bare(pairs)

        row = [WAYS[way], f"{median('program'):.2f}"]
        if way == "bare":
            row += [
                "",
                f"{median('work'):.3f}",
                f"{median('exit'):.2f}",
                "",
                "",
                f"{median('cpu'):.2f} s",
                "",
                "",
            ]
        else:
            middle, least, most = ratio("program")
            row.append(f"{middle:.2f} ({least:.2f} to {most:.2f})")
            row.append(f"{median('work'):.3f} ({ratio('work')[0]:.2f})")
            row += [f"{median(what):.2f}" for what in ("exit", "arrived", "delivered")]
            row += [f"{ratio(what, 'cpu')[0]:.2f}" for what in ("cpu_arrived", "cpu")]
            more = statistics.median(one.memory - bare[turn].memory for turn, one in kept.items())
            row.append(f"{more / 1e6:+.0f} / {median('beside') / 1e6:.0f}")
        rows.append(row)
    return rows


HEAD = [
    "",
    "program",
    "of bare",
    "work",
    "exit",
    "arrived",
    "delivered",
    "CPU arrived",
    "CPU all",
    "memory, MB",
]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.program",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="program", help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="two turns without peers, short trainings")
    parser.add_argument("--turns", type=int, help="how many (by default 5, or 2 if quick)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="which (by default all)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - CASES.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; expected some of {', '.join(CASES)}")
    if sys.platform != "linux":
        sys.exit("Only on Linux can be known when the processes that a program leaves behind have ended.")
    ctypes.CDLL(None).prctl(_BECOMES_PARENT_OF_ORPHANS, 1, 0, 0, 0)
    ways = asked.ways or [way for way in WAYS if not (asked.quick and way in ("wandb", "mlflow"))]
    missing = [way for way in ways if way not in ("bare", "autolog") and not is_installed(way)]
    for way in missing:
        print(f"{WAYS[way]} is not installed")
    ways = ["bare", *(way for way in ways if way not in ("bare", *missing))]
    # Not where files are temporary: there a program waits at its exit instead of leaving a process behind.
    here = {"prefix": ".autolog-program-", "dir": Path.home()}
    with tempfile.TemporaryDirectory(**here, ignore_cleanup_errors=True) as folder:
        for name in asked.names or CASES:
            share = 0.1 if asked.quick and name in TRAININGS else 1.0
            turns = asked.turns or (2 if asked.quick else 5)
            print(f"{CASES[name][2]}{'' if share == 1 else f', {share:.0%} of them'}, {turns} turns")
            show([HEAD, *rows_of(take_turns(name, turns, share, ways, Path(folder)))])


def show(rows: list[list[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    for row in rows:
        cells = (
            cell.ljust(w) if not column else cell.rjust(w)
            for column, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  " + "  ".join(cells), flush=True)
    print(flush=True)


if __name__ == "__main__":
    main()
