"""Contenders in turns: the same work bare and recorded, interleaved in one process on one thread.

Import this before anything that brings NumPy or torch: it sets the number of threads.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="autolog-bench-"))
os.environ["AUTOLOG_QUIET"] = "1"
for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[threads] = "1"

PROJECT = "bench"

Work = Callable[[], float]
"""Does the work, and returns the seconds that a user would wait for it."""


def compare(what: str, contenders: dict[str, Work], turns: int, versions: str) -> None:
    """Print medians, and their ratios to the first contender of the same turn, wall clock and CPU.

    The CPU time is that of all threads of the process, until all is delivered: pictures drawn, rows in the
    database. On a machine with other work it says more than the clock.
    """
    wall: dict[str, list[float]] = {name: [] for name in contenders}
    cpu: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(turns + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            before = time.process_time()
            seconds = contenders[name]()
            if turn:  # the first one imports and warms up
                wall[name].append(seconds)
                cpu[name].append(time.process_time() - before)
    print(f"{what}; {turns} turns, medians; Python {platform.python_version()}, {versions}")
    print(f"{'':<40} {'seconds':>8}   {'of bare (least to most)':<24} {'CPU s':>7} {'of bare':>8}   recorded")
    for name in names:
        ratios, of_cpu = (_ratios(times[name], times[names[0]]) for times in (wall, cpu))
        spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(
            f"{name:<40} {statistics.median(wall[name]):8.3f}   {spread:<24} "
            f"{statistics.median(cpu[name]):7.3f} {statistics.median(of_cpu):8.3f}   {recorded(name)}"
        )


def _ratios(times: list[float], bare: list[float]) -> list[float]:
    return sorted(mine / other for mine, other in zip(times, bare, strict=True))


def recorded(run_name: str) -> str:
    """What the last run of this name holds: fast because empty would be seen."""
    from trackio.sqlite_storage import SQLiteStorage

    if not SQLiteStorage.get_project_db_path(PROJECT).exists():
        return ""
    rows = SQLiteStorage.get_logs(PROJECT, run_name, max_points=None)
    return f"{len(rows):,} rows, {len({key for row in rows for key in row})} keys" if rows else ""


def by_autolog(framework: str, name: str, work: Work, **settings: object) -> Work:
    """The work, recorded by autolog in a run of this name."""
    import autolog

    def recorded_work() -> float:
        with autolog.enabled(framework, project=PROJECT, run_name=name, **settings):
            seconds = work()
        while not autolog.finish():
            pass
        return seconds

    return recorded_work


def add_mlflow(contenders: dict[str, Work], flavor: str, work: Work, **every_step: object) -> str:
    """MLflow's autologging into a SQLite file, at its defaults and for every step; or why it is missing."""
    try:
        import mlflow
    except ImportError:
        return "MLflow is not installed: pip install 'trackio-autolog[bench]'"
    import logging

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    folder = tempfile.mkdtemp(prefix="mlflow-bench-")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment(PROJECT, f"file://{folder}/artifacts"))
    autolog = getattr(mlflow, flavor).autolog

    def of(**settings: object) -> Work:
        def recorded_work() -> float:
            autolog(silent=True, **settings)
            try:
                return work()
            finally:
                autolog(disable=True, silent=True)

        return recorded_work

    contenders[f"MLflow {mlflow.__version__}, defaults"] = of()
    contenders[f"MLflow {mlflow.__version__}, every step"] = of(**every_step)
    return ""
