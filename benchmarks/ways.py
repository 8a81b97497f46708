"""Ways to record the same work: bare, autolog, and the peers; and what each has recorded."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import json
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SCRATCH = Path(tempfile.gettempdir()) / f"autolog-bench-{os.getpid()}"


def set_up() -> None:
    """Have all trackers write to a folder of this process, and numerical libraries use one thread.

    Before anything that brings NumPy, torch or Trackio is imported.
    """
    SCRATCH.mkdir()
    atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
    os.environ.update(
        TRACKIO_DIR=str(SCRATCH / "trackio"),
        AUTOLOG_QUIET="1",
        HF_HUB_OFFLINE="1",
        WANDB_MODE="offline",
        WANDB_SILENT="true",
        WANDB_CONSOLE="off",
        WANDB_DIR=str(SCRATCH / "wandb"),
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"


Given = Mapping[str, Any]
"""What the work is called with, so that it records itself in this way."""


@dataclass
class Recorded:
    """What a way has recorded in one turn: what is fast because it is empty is seen.

    Attributes:
        runs: how many.
        params: values in their configurations.
        metrics: different names, in the run that has most of them.
        rows: in which they were logged.
        figures: pictures and tables.
        kilobytes: on the disk, models too.
        overhead_seconds: what autolog says of itself, in all of its runs.
    """

    runs: float = 0
    params: float = 0
    metrics: float = 0
    rows: float = 0
    figures: float = 0
    kilobytes: float = 0
    overhead_seconds: float | None = None

    def since(self, before: Recorded) -> Recorded:
        """What has come since."""
        more = {name: value - (getattr(before, name) or 0) for name, value in vars(self).items() if value}
        return Recorded(**{**more, "metrics": self.metrics})

    def per(self, turns: int) -> Recorded:
        """Of one turn, where it was counted over several."""
        each = {name: value / turns for name, value in vars(self).items() if value is not None}
        return Recorded(**{**each, "metrics": self.metrics})


@dataclass
class Way:
    """One way to record.

    Attributes:
        name: as it stands in the table.
        on: turns it on around the work, and waits until all has arrived.
        recorded: what it has recorded so far.
        beyond: the way that does the same, less the recording: what comes on top of it is the tracker's.
        needs: packages, each with its name for the table; where one is not installed the way is left out.
    """

    name: str
    on: Callable[[], AbstractContextManager[Given]]
    recorded: Callable[[], Recorded] = Recorded
    beyond: str = "bare"
    needs: Mapping[str, str] = field(default_factory=dict)


WANDB, MLFLOW = {"wandb": "W&B"}, {"mlflow": "MLflow"}


def is_installed(package: str) -> bool:
    """Whether a peer is there, without importing it."""
    return importlib.util.find_spec(package) is not None


BARE = Way("bare", lambda: nullcontext({}))


def by_autolog(name: str, *frameworks: str, **settings: Any) -> Way:
    """autolog, with the settings that are not at their defaults."""
    project = plain(name)

    @contextmanager
    def on() -> Iterator[Given]:
        import autolog

        with autolog.enabled(*frameworks, project=project, **settings):
            yield {}
        while not autolog.finish():
            pass

    return Way(name, on, lambda: in_trackio(project))


def everything_on(*frameworks: str) -> Way:
    """autolog with all that is dear turned on, and no budget to keep to."""
    dear = {"log_every_n_steps": 1, "evaluate_every_n_epochs": 1, "search_runs": 5, "trials": "runs"}
    return by_autolog("autolog, everything on", *frameworks, budget=1e9, **dear)


def by_trackio(name: str, given: Callable[[Any], Given]) -> Way:
    """A run of Trackio's, written to by hand.

    Args:
        given: made of ``trackio.log``.
    """
    project = plain(name)

    @contextmanager
    def on() -> Iterator[Given]:
        import trackio

        trackio.init(project=project, embed=False)
        try:
            yield given(trackio.log)
        finally:
            trackio.finish()

    return Way(name, on, lambda: in_trackio(project))


def by_wandb(name: str, given: Callable[[Any], Given]) -> Way:
    """A run of W&B's, offline, written to by hand.

    Args:
        given: made of ``run.log``.
    """
    found = Recorded()

    @contextmanager
    def on() -> Iterator[Given]:
        import wandb

        run = wandb.init(project=plain(name), dir=str(SCRATCH / "wandb"))
        try:
            yield given(run.log)
            count_wandb(found, run)
        finally:
            run.finish()

    return Way(name, on, lambda: replace(found), needs=WANDB)


def count_wandb(found: Recorded, run: Any) -> None:
    """Add a run of W&B's before it ends: its file is not made to be read."""
    found.runs += 1
    found.params += len(dict(run.config))
    found.metrics = max(found.metrics, sum(not key.startswith("_") for key in dict(run.summary)))
    found.rows += run.step
    found.figures += sum(path.is_file() for path in (Path(run.dir) / "media").rglob("*"))
    found.kilobytes += size(Path(run.dir).parent) / 1_000


def by_mlflow(name: str, given: Callable[[], Given] = dict, *, flavor: str = "", **settings: Any) -> Way:
    """MLflow into a SQLite file, by its autologging if a flavor is given."""
    folder = SCRATCH / plain(name)

    @contextmanager
    def on() -> Iterator[Given]:
        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        if not folder.exists():
            folder.mkdir()
            mlflow.create_experiment("bench", f"file://{folder}/artifacts")
        mlflow.set_experiment("bench")
        os.environ["MLFLOW_EXPERIMENT_NAME"] = "bench"
        if flavor:
            importlib.import_module(f"mlflow.{flavor}").autolog(silent=True, **settings)
        yield given()
        if flavor:
            importlib.import_module(f"mlflow.{flavor}").autolog(disable=True, silent=True)
        while mlflow.active_run() is not None:
            mlflow.end_run()

    return Way(name, on, lambda: in_mlflow(folder), needs=MLFLOW)


# What is there ----------------------------------------------------------------------------------------


def in_trackio(project: str) -> Recorded:
    """What a project of Trackio's holds."""
    base = Path(os.environ["TRACKIO_DIR"])
    if not (base / f"{project}.db").exists():
        return Recorded()
    with closing(sqlite3.connect(base / f"{project}.db")) as database:
        told = [
            (run, json.loads(text)) for run, text in database.execute("SELECT run_id, metrics FROM metrics")
        ]
        configs = [json.loads(text) for (text,) in database.execute("SELECT config FROM configs")]
    rows = [row for _, row in told]
    numbers = [{key for key, value in row.items() if not isinstance(value, dict)} for row in rows]
    names: dict[str, set[str]] = {}
    for (run, _), keys in zip(told, numbers, strict=True):
        names.setdefault(run, set()).update(keys)
    parts = (f"{project}.db", f"{project}.db-wal", f"media/{project}", f"artifacts/{project}")
    spent = [config["autolog/overhead_seconds"] for config in configs if "autolog/overhead_seconds" in config]
    return Recorded(
        runs=len(names),
        params=sum(_leaves(config) for config in configs),
        metrics=max(map(len, names.values()), default=0),
        rows=sum(map(bool, numbers)),
        figures=sum(isinstance(value, dict) for row in rows for value in row.values()),
        kilobytes=sum(size(base / part) for part in parts) / 1_000,
        overhead_seconds=sum(spent) if spent else None,
    )


def in_mlflow(folder: Path) -> Recorded:
    """What MLflow has written to its file and its folder of artifacts."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:

        def count(what: str) -> int:
            return int((database.execute(f"SELECT count({what}").fetchone() or [0])[0])

        found = Recorded(
            runs=count("*) FROM runs"),
            params=count("*) FROM params"),
            metrics=count("DISTINCT key) AS of_run FROM metrics GROUP BY run_uuid ORDER BY of_run DESC"),
            rows=count("*) FROM (SELECT DISTINCT run_uuid, step, timestamp FROM metrics)"),
        )
    pictures = (
        path for path in (folder / "artifacts").rglob("*") if path.suffix in (".png", ".html", ".json")
    )
    found.figures = sum(1 for _ in pictures)
    found.kilobytes = size(folder) / 1_000
    return found


def size(path: Path) -> int:
    """Bytes of a file, or of all that is in a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(_leaves(item) for item in value.values())
    return 1


def plain(name: str) -> str:
    """A name that every tracker takes for a project's, and every disk for a folder's."""
    return "".join(letter if letter.isalnum() else "-" for letter in name)
