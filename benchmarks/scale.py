"""Whether the cost stays flat: ``python -m benchmarks.scale``, or ``--quick`` up to a hundredth.

Rows without any pause between them, from a thousand to a million, of 10 to 1,000 metrics, in 1 to 64 runs at
once; and Optuna's trials, from ten to ten thousand. Every line is a program of its own, with a directory of
its own. CPU is that of the calls alone, and of all threads and processes of ours until all has arrived; the
finish is what ``autolog.finish()`` waits for after the last row; memory is how much the program has grown, at
the most and at the end, and per 10,000 rows or trials after the first tenth, and what our processes beside it
have at the most. (Nothing but logging is more than can be delivered meanwhile: rows wait for their turn.)
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from benchmarks.load import rows_there, said
from tests.programs import environment

BEGIN = """
import sys, time, orjson, psutil, autolog
me = psutil.Process()
with autolog.run() as run:
    run.log({"a": 1.0})
while not autolog.finish(): pass  # Trackio is imported, the tables are there
memory, beside = [], []
def look():
    memory.append(me.memory_info().rss)
    beside.append(sum(child.memory_info().rss for child in me.children()))
def spent():
    return time.process_time() + sum(sum(child.cpu_times()[:2]) for child in me.children())
"""
ROWS = """
rows, metrics, count = {rows}, {metrics}, {runs}
from contextlib import ExitStack
values = {{f"metric/{{n}}": n / 3 for n in range(metrics)}}
look()
cpu, mine = spent(), time.thread_time()
with ExitStack() as stack:
    runs = [stack.enter_context(autolog.run()) for _ in range(count)]
    every = max(rows // 10, 1)
    for n in range(rows):
        runs[n % count].log(values)
        if n % every == 0: look()
    caller = time.thread_time() - mine
    look()
    ended = time.perf_counter()
while not autolog.finish(): look()
"""
TRIALS = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
def study(n, look=lambda: None):
    every = max(n // 10, 1)
    def objective(trial):
        if trial.number % every == 0: look()
        return trial.suggest_float("x", -1, 1) ** 2
    searched = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    started = spent(), time.thread_time()
    searched.optimize(objective, n_trials=n)
    return started
rows = {trials}
study(10)
bare, bare_mine = (now - then for now, then in zip((spent(), time.thread_time()), study(rows)))
with autolog.enabled("optuna"):
    study(10)
while not autolog.finish(): pass  # its figures are imported
look()
with autolog.enabled("optuna"):
    cpu, mine = study(rows, look)
    caller = time.thread_time() - mine
    look()
    ended = time.perf_counter()
while not autolog.finish(): look()
cpu, caller = cpu + bare, caller - bare_mine
"""
TELL = """
finish = time.perf_counter() - ended
look()
sys.stdout.buffer.write(orjson.dumps({
    "caller": caller / rows, "cpu": (spent() - cpu) / rows, "finish": finish,
    "most": max(memory) - memory[0], "after": memory[-1] - memory[0], "beside": max(beside),
    "growth": (memory[10] - memory[2]) / (0.8 * rows) * 1e4 if rows >= 10_000 and len(memory) > 10 else None,
}))
"""


def measured(directory: Path, program: str) -> dict[str, Any]:
    """Run a program in a directory of its own; returns what it told."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEGIN + program + TELL],
        env=environment(directory, AUTOLOG_LOG_CODE="0", AUTOLOG_FINISH_TIMEOUT="5"),
        stdout=subprocess.PIPE,
        check=True,
    )
    told: dict[str, Any] = orjson.loads(done.stdout)
    return told


def line(what: str, told: dict[str, Any], there: str = "") -> None:
    growth = "" if told["growth"] is None else f"{told['growth'] / 1e6:.1f}"
    print(
        f"{what:<34}{1e6 * told['caller']:>11.1f}{1e6 * told['cpu']:>11.1f}{told['finish']:>9.2f}"
        f"{told['most'] / 1e6:>9.0f}{told['after'] / 1e6:>8.0f}{growth:>12}"
        f"{told['beside'] / 1e6:>9.0f}  {there}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="up to a hundredth of the rows and trials")
    quick = parser.parse_args().quick
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{'':<34}{'-- us CPU of each --':>22}{'finish':>9}{'---------- memory, MB ----------':>38}")
    print(
        f"{'':<34}{'the call':>11}{'all':>11}{'s':>9}{'most':>9}{'after':>8}{'per 10,000':>12}{'beside':>9}"
    )
    sizes = [10**power for power in ((3, 4) if quick else (3, 4, 5, 6))]
    many = max(sizes[-1] // 10, 10_000)
    cases = [(rows, 4, 1) for rows in sizes]
    cases += [(many // 10, 10, 1), (many // 10, 100, 1), (many // 100, 1_000, 1), (many, 4, 8), (many, 4, 64)]
    with tempfile.TemporaryDirectory(prefix="autolog-scale-") as folder:
        for number, (rows, metrics, runs) in enumerate(cases):
            here = Path(folder) / str(number)
            told = measured(here, ROWS.format(rows=rows, metrics=metrics, runs=runs))
            what = f"{rows:,} rows of {metrics:,}" + (f", {runs} runs at once" if runs > 1 else "")
            line(what, told, said(rows + 1, rows_there(here)))
        for trials in (size // 100 for size in sizes):
            here = Path(folder) / f"trials-{trials}"
            line(f"{trials:,} trials, on top of bare", measured(here, TRIALS.format(trials=trials)))


if __name__ == "__main__":
    main()
