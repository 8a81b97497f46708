"""What looking back costs: ``python -m benchmarks.review``, or ``--quick`` for a tenth of it.

Every line is a process of its own, from its start to its end, the median of five: so long somebody waits who
types it; on a busy machine its CPU says more. Before, a project with many runs (the config of a real fit
each, and two rows) and two runs with many rows (one metric in each, and four) are written by what writes
them in earnest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from typing import Any

import autolog
from autolog.sinks.identity import Identity
from autolog.sinks.trackio.database import Database

TURNS = 5
PART = 50_000  # rows that are written at once


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.review", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    share = 0.1 if parser.parse_args().quick else 1.0
    runs, rows = int(10_000 * share), int(1_000_000 * share)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder
        many_runs(runs)
        for metrics in (1, 4):
            many_rows(f"rows{metrics}", rows, metrics)
        read = "import autolog; assert len(autolog.runs('rows{}')[0].metrics['train/m0']) == {}"
        listed = "import autolog; assert len(autolog.runs('runs')) == {}"
        ls = [sys.executable, "-m", "autolog", "ls", "runs"]
        line(f"autolog.runs, {runs:,} runs", ["-c", listed.format(runs)], goal=1.0)
        line(f"autolog ls, {runs:,} runs", ls[1:], goal=1.0)
        line(f"autolog ls --sort, {runs:,} runs", [*ls[1:], "--sort", "val/accuracy"], goal=1.0)
        line(f"run.metrics, {rows:,} rows of one", ["-c", read.format(1, rows)], goal=2.0)
        line(f"run.metrics, {rows:,} rows of four", ["-c", read.format(4, rows)], goal=2.0)


def line(what: str, arguments: list[str], goal: float) -> None:
    seconds, cpu = [], []
    for _ in range(TURNS):
        begun, before = time.perf_counter(), sum(os.times()[2:4])
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        seconds.append(time.perf_counter() - begun)
        cpu.append(sum(os.times()[2:4]) - before)
    wall, work = statistics.median(seconds), statistics.median(cpu)
    print(f"{what:<40}{wall:6.2f} s, {work:5.2f} s of CPU   (goal: {goal:.0f} s)", flush=True)


def many_runs(count: int) -> None:
    """As many runs of a real fit's config."""
    config = config_of_a_fit()
    store = Database("runs")
    for number in range(count):
        run = Identity(uuid.uuid4().hex, f"Tree ·{number}", "runs")
        score = number * 7_919 % count / count
        rows = [row(n, number, {"val/accuracy": score, "val/f1": score}) for n in range(2)]
        given = {"params/max_depth": number % 17, "result": {"val/accuracy": score}}
        store.rows(run, rows, {**config, **given})


def config_of_a_fit() -> dict[str, Any]:
    from sklearn.tree import DecisionTreeClassifier

    sink = autolog.MemorySink()
    with autolog.enabled("sklearn", sink=sink):
        tree = DecisionTreeClassifier(max_depth=2).fit([[0], [1], [2], [3]], [0, 0, 1, 1])
        tree.score([[0.5], [1.5]], [0, 1])
    autolog.finish()
    return dict(sink.runs[0].config)


def many_rows(project: str, count: int, metrics: int) -> None:
    store = Database(project)
    run = Identity(uuid.uuid4().hex, "long", project)
    for begin in range(0, count, PART):
        steps = range(begin, min(count, begin + PART))
        rows = [row(n, n, {f"train/m{m}": (n + m) / 3 for m in range(metrics)}) for n in steps]
        store.rows(run, rows, {"status": "finished"} if begin == 0 else None)


def row(step: int, number: int, values: dict[str, float]) -> Any:
    return {"id": uuid.uuid4().hex, "time": 1.7e9 + number / 10, "step": step, "values": values}


if __name__ == "__main__":
    main()
