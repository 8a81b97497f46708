"""What autolog does under load: ``python -m benchmarks.load``, or ``--quick`` for a first look.

Every line is a program of its own with a directory of its own. It logs at every step of a loop whose steps
last a millisecond, and measures the call of ``run.log`` and the whole step: a step may also be late because
another thread of ours holds the interpreter. The first lines are the same loop without autolog. Afterwards
the rows are counted in Trackio's database, those for a server that was away or silent once there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from tests.programs import environment, free_port, journals, trackio_server
from tests.sinks.test_server import Between

STEPS = """
import sys, threading, time, orjson
seconds, metrics, runs, threads = {seconds}, {metrics}, {runs}, {threads}
values = {{f"metric/{{n}}": n / 3 for n in range(metrics)}}
calls, steps, logged = [], [], 0

def loop(log, number):
    global logged
    mine, whole, n = [], [], 0
    end = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < end:
        log[(number + n) % len(log)](values)
        mine.append(time.perf_counter() - begun)
        time.sleep(0.001)
        whole.append(time.perf_counter() - begun)
        n += 1
    calls.extend(mine); steps.extend(whole)

def several(log):
    if threads == 1:
        return loop(log, 0)
    work = [threading.Thread(target=loop, args=(log, number)) for number in range(threads)]
    [t.start() for t in work]; [t.join() for t in work]
"""
BARE = """
several([lambda values: None])
"""
RECORDED = """
import autolog
from contextlib import ExitStack
with ExitStack() as stack:
    open_runs = [stack.enter_context(autolog.run()) for _ in range(runs)]
    several([run.log for run in open_runs])
"""
TELL = """
sys.stdout.buffer.write(orjson.dumps([calls, steps]))
"""


def programs(directory: Path, program: str, count: int = 1, **variables: str) -> list[Any]:
    """Run a program, or several at once, to the end; returns what each told."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment(directory, **{"AUTOLOG_LOG_CODE": "0", **variables}),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]
    return [orjson.loads(process.communicate()[0]) for process in started]


def rows_there(directory: Path) -> int:
    """How many rows with values Trackio has, each counted once."""
    if not (directory / "p.db").exists():
        return 0
    with contextlib.closing(sqlite3.connect(directory / "p.db")) as database:
        (count,) = database.execute(
            "SELECT count(DISTINCT log_id) FROM metrics WHERE length(metrics) > 2"
        ).fetchone()
        (all_rows,) = database.execute("SELECT count(*) FROM metrics WHERE length(metrics) > 2").fetchone()
    assert count == all_rows, "rows came twice"
    return int(count)


def deliver_what_is_left(directory: Path, **variables: str) -> None:
    end = time.monotonic() + 120
    while journals(directory) and time.monotonic() < end:
        subprocess.run(
            [sys.executable, "-c", "import autolog\nwith autolog.run(): pass\nautolog.finish()"],
            env=environment(directory, AUTOLOG_FINISH_TIMEOUT="60", **variables),
            stderr=subprocess.DEVNULL,
            check=True,
        )


def said(expected: int, there: int) -> str:
    return (
        f"all {there:,} rows there" if there == expected else f"{expected - there:,} of {expected:,} MISSING"
    )


def line(what: str, told: list[Any], there: int | None) -> None:
    calls = sorted(1_000 * seconds for one in told for seconds in one[0])
    steps = sorted(1_000 * seconds for one in told for seconds in one[1])
    figures = [calls[len(calls) // 2], calls[int(0.99 * len(calls))], calls[-1]]
    figures += [steps[len(steps) // 2], steps[int(0.99 * len(steps))], steps[-1]]
    rows = "" if there is None else said(len(calls), there)
    print(f"{what:<36}" + "".join(f"{figure:9.3f}" for figure in figures) + f"  {rows}", flush=True)


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=500) as server:
        yield server.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a first look, under a minute")
    quick = parser.parse_args().quick
    seconds = 1.0 if quick else 10.0

    def steps(seconds: float = seconds, metrics: int = 4, runs: int = 1, threads: int = 1) -> str:
        before = STEPS.format(seconds=seconds, metrics=metrics, runs=runs, threads=threads)
        return before + RECORDED + TELL

    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; milliseconds")
    print(f"{'':<36}{'--- run.log ---':>27}{'--- whole step ---':>27}")
    print(f"{'':<36}" + "".join(f"{name:>9}" for name in ("median", "p99", "max") * 2))
    with tempfile.TemporaryDirectory(prefix="autolog-load-") as folder:
        here = Path(folder)
        for what, threads, count in (("1 thread", 1, 1), ("64 threads", 64, 1), ("8 x 8 threads", 8, 8)):
            bare = STEPS.format(seconds=seconds, metrics=4, runs=1, threads=threads) + BARE + TELL
            line(f"without autolog, {what}", programs(here / "bare", bare, count), None)

        local = {
            "local": (steps(), 1),
            "200 runs open": (steps(runs=200), 1),
            "64 threads": (steps(threads=64), 1),
            "8 processes x 8 threads": (steps(threads=8), 8),
            "rows of 1,000 metrics": (steps(metrics=1_000), 1),
        }
        for what, (program, count) in local.items():
            told = programs(here / what, program, count)
            deliver_what_is_left(here / what)
            line(what, told, rows_there(here / what))

        wait = {"AUTOLOG_FINISH_TIMEOUT": "1"}
        with silent_server() as port:
            url = f"http://127.0.0.1:{port}?write_token=t"
            told = programs(here / "silent", steps(), TRACKIO_SERVER_URL=url, **wait)
        with trackio_server(here / "of silent", "t", port):
            deliver_what_is_left(here / "silent", TRACKIO_SERVER_URL=url)
        line("a silent server", told, rows_there(here / "of silent"))

        port = free_port()
        url = f"http://127.0.0.1:{port}?write_token=t"
        told = programs(here / "dead", steps(), TRACKIO_SERVER_URL=url, **wait)
        with trackio_server(here / "of dead", "t", port):
            deliver_what_is_left(here / "dead", TRACKIO_SERVER_URL=url)
        line("a dead server", told, rows_there(here / "of dead"))

        with trackio_server(here / "of slow", "t") as real:
            slow = Between(real, lambda path, size: time.sleep(0.3))  # type: ignore[func-returns-value]
            url = slow.url.replace("s3cret", "t")
            told = programs(here / "slow", steps(), TRACKIO_SERVER_URL=url, AUTOLOG_FINISH_TIMEOUT="60")
            deliver_what_is_left(here / "slow", TRACKIO_SERVER_URL=url)
            slow.shutdown()
        line("a slow server, 0.3 s per answer", told, rows_there(here / "of slow"))


if __name__ == "__main__":
    main()
