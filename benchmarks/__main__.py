"""What recording costs, beside not recording and beside the peers: ``python -m benchmarks``.

``python -m benchmarks --quick`` is a first look (``program``, ``steps``, ``scale``, ``load``,
``fingerprints``, ``review`` only where they are named), ``python -m benchmarks keras_fit sklearn_fits``
measures some, ``--markdown FILE`` writes the tables down. What a program costs, cold and to its exit, is
told by ``program``; the others tell of the call.
Each way to record a workload has a process of its own; they take turns, on one thread, after a call each that
warms up. Where that took three seconds longer than bare's, a way takes one turn of five, and if
quick none. Peers come with ``pip install "trackio-autolog[bench]"``; those that are not there are named.

Seconds are those that the user waits for the call (fit, train, optimize), the median of all turns. "of bare"
is the median of the ratios to the bare call of the same turn, with the least and the most. CPU is that of
all threads, and of processes that a tracker starts, until all has arrived: on a busy machine it says more
than the clock. "on top" is the difference per fit or step, by the clock and in CPU: to bare, or where a
framework does more at each step by itself when it is told to log it, to that alone. "says" is what autolog
says in its runs that it was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.turns import beside, of_bare, on_top
from benchmarks.workloads import NAMES

try:
    from rich.console import Console
    from rich.progress import Progress, TimeElapsedColumn
    from rich.table import Table
except ImportError:
    sys.exit("The benchmarks show their tables by rich: pip install 'trackio-autolog[bench]'")

QUICK, WHOLE = 0.25, 0.5  # of the steps that a workload has by itself: more turns say more than longer ones
PATIENCE = 3.0  # seconds on top of bare: whoever takes more takes few turns
SCRIPTS = ["program", "steps", "scale", "load", "fingerprints", "review"]  # with tables of their own
HEAD = ["", "seconds", "of bare (least to most)", "CPU", "on top", "CPU on top", "says"]
COUNTED = ["runs", "params", "metrics", "rows", "figures"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="workload", help=f"of {', '.join([*NAMES, *SCRIPTS])}")
    parser.add_argument("--quick", action="store_true", help="fewer turns of fewer steps")
    parser.add_argument("--turns", type=int, help="how many (by default 15, or 1 if quick)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to this file, too")
    asked = parser.parse_args()
    names = asked.names or (NAMES if asked.quick else [SCRIPTS[0], *NAMES, *SCRIPTS[1:]])
    if unknown := set(names) - {*NAMES, *SCRIPTS}:
        parser.error(
            f"there is no {', '.join(sorted(unknown))}; expected some of {', '.join(NAMES + SCRIPTS)}"
        )
    turns = asked.turns or (1 if asked.quick else 15)
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)
    written = [machine()]
    console.print(written[0])
    for name in names:
        if name in SCRIPTS:
            quick = ["--quick"] if asked.quick else []
            command = [sys.executable, "-m", f"benchmarks.{name}", *quick]
            text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            console.print(text, markup=False, highlight=False)
            written.append(f"```\n{text.strip()}\n```")
        else:
            with Progress(
                *Progress.get_default_columns(), TimeElapsedColumn(), console=console, transient=True
            ) as bar:
                task = bar.add_task(name, total=None)
                found = run(name, turns, asked.quick, lambda **now: bar.update(task, **now))  # noqa: B023
            rows = rows_of(found)
            show(console, found, rows)
            written.append(markdown(found, rows))
        if asked.markdown:  # each time: whoever stops it keeps what has been measured
            asked.markdown.write_text("\n\n".join(written) + "\n", encoding="utf-8")


def machine() -> str:
    """Where and when."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = (
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line
        )
        model = next(lines, model)
    when = datetime.now(UTC).date().isoformat()
    return (
        f"{when}, {os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"
    )


def run(name: str, turns: int, quick: bool, update: Callable[..., None]) -> dict[str, Any]:
    """Measure a workload in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.one", name]
    command += [str(turns), str(QUICK if quick else WHOLE), str(PATIENCE)]
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "calls" in told:
                update(total=told["calls"])
            elif "way" in told:
                update(advance=1, description=told["way"])
            else:
                found = told["result"]
        if not found:
            process.wait()
            said.seek(0)
            sys.exit(f"{name} could not be measured:\n{said.read()[-3_000:]}")
    return found


def rows_of(found: dict[str, Any]) -> list[list[str]]:
    """A row per way, with what it has recorded last."""
    bare, pieces = found["results"][0], found["pieces"]
    by_name = {result["name"]: result for result in found["results"]}
    rows = []
    for result in found["results"]:
        if result["wrong"] is not None:
            rows.append([result["name"], *[""] * (len(HEAD) - 1), f"not measured: {result['wrong']}"])
            continue
        row = [result["name"], f"{statistics.median(result['wall']):.3f}"]
        if result is bare:
            row += [""] * (len(HEAD) - 2)
        else:
            wall, cpu = (beside(result, bare, kind) for kind in ("wall", "cpu"))
            median, least, most = of_bare(wall)
            spread = "once, cold" if result["is_cold"] else f"{times(least)} to {times(most)}"
            row.append(f"{times(median)} ({spread})")
            row.append("" if found["by_clock"] else times(of_bare(cpu)[0]))
            beyond = by_name[result["beyond"]] if not by_name[result["beyond"]]["wrong"] else bare
            more = [on_top(beside(result, beyond, kind)) / pieces for kind in ("wall", "cpu")]
            row += map(per_piece, more)
            said = result["recorded"]["overhead_seconds"]
            row.append("" if said is None else per_piece(said / pieces))
            if found["by_clock"]:
                row[-2:] = ["", ""]
        rows.append([*row, recorded(result["recorded"])])
    return rows


def times(ratio: float) -> str:
    """So many times bare."""
    return f"{ratio:.3f}" if ratio < 10 else f"{ratio:,.0f}"


def per_piece(seconds: float) -> str:
    """What one fit, step or trial costs."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1e6 * seconds:.0f} us"


def recorded(counted: dict[str, Any]) -> str:
    """What is there of one turn."""
    if not any(counted[what] for what in COUNTED):
        return ""
    parts = [f"{counted[what]:,.0f} {what if round(counted[what]) != 1 else what[:-1]}" for what in COUNTED]
    return ", ".join([*parts, f"{counted['kilobytes']:,.0f} kB"])


def caption(found: dict[str, Any]) -> str:
    """What stands below a table."""
    parts = [f"{found['versions']}; {found['turns']} turns; on top and says: per {found['piece']}."]
    if found["goal"]:
        parts.append(f"Goal: {found['goal']}.")
    return " ".join([*parts, *(f"{missing}." for missing in found["missing"])])


def show(console: Console, found: dict[str, Any], rows: list[list[str]]) -> None:
    """The table in the terminal."""
    table = Table(title=found["title"], caption=caption(found), title_justify="left", caption_justify="left")
    for place, name in enumerate(HEAD):
        table.add_column(name, justify="right" if place else "left", no_wrap=place > 0)
    for *row, kept in rows:
        name = f"{row[0]}\n[dim]{kept}[/dim]" if kept else row[0]
        table.add_row(name, *row[1:])
    console.print(table)


def markdown(found: dict[str, Any], rows: list[list[str]]) -> str:
    """The table as Markdown."""
    head = [*HEAD, "recorded in one turn"]
    lines = [head, ["---", *["---:"] * (len(HEAD) - 1), "---"], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {found['title']}\n\n{table}\n\n{caption(found)}"


if __name__ == "__main__":
    main()
