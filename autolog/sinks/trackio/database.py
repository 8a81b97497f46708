"""A project's SQLite file, in Trackio's schema: opened without Trackio wherever it is as we know it.

Trackio's import takes a second of Python, its ``bulk_log`` goes through the whole schema and a lock file at
every call: 3.3 ms for one row of one run. Here Trackio makes the first file of a directory. An empty copy of
it is kept, of which later projects are made; rows go straight in.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.metadata
import os
import sqlite3
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from autolog.process import apart
from autolog.sinks import AlertRecord, SystemRecord
from autolog.sinks.helper import stop_if_alone
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row
from autolog.sinks.trackio.directory import data_directory, our_folder
from autolog.sinks.trackio.names import canonical_project
from autolog.sinks.trackio.rows import as_json, holds_traces, iso, stored, stored_config

__all__ = ["Database", "UnknownSchemaError", "is_known", "log_by_trackio", "storage_mode"]

# What we write, and read back. A file that lacks any of it is for Trackio to mend.
_COLUMNS = {
    "metrics": {"timestamp", "run_id", "run_name", "step", "metrics", "log_id"},
    "configs": {"run_id", "run_name", "config", "created_at"},
    "system_metrics": {"timestamp", "run_id", "run_name", "metrics", "log_id"},
    "alerts": {"timestamp", "run_id", "run_name", "title", "text", "level", "step", "alert_id"},
}


class UnknownSchemaError(Exception):
    """Trackio's tables are not as we know them; the text says what is missing."""


class Database:
    """A project's SQLite file.

    Raises:
        UnknownSchemaError: this version of Trackio makes it in another way.
    """

    note = None
    """What is to be said of how it is stored: nothing, this is the way that is meant."""

    def __init__(self, project: str):
        self.path = data_directory() / f"{canonical_project(project)}.db"
        if not (_fits(self.path) or (_copy_empty(self.path) and _fits(self.path))):
            self.path = _made_by_trackio(project, self.path)
            if missing := _missing_in(self.path):
                raise UnknownSchemaError(missing)
        self._file = os.stat(self.path).st_ino
        # It is closed by whichever thread lets go of it last.
        self._connection = sqlite3.connect(self.path, timeout=10.0, check_same_thread=False)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self._connection.close()

    def insert(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert these in one transaction."""
        if not rows:
            return
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            stop_if_alone()  # whoever goes on in our place waits behind this transaction, or has had theirs
            self._connection.executemany(statement, rows)

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        """See :meth:`autolog.sinks.place.Place.rows`."""
        values = [stored(row) for row in rows]
        self.insert(
            "INSERT OR IGNORE INTO metrics (timestamp, run_id, run_name, step, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (iso(r["time"]), run.id, run.name, r["step"], as_json(v), r["id"])
                for r, v in zip(rows, values, strict=True)
                if not holds_traces(v)
            ],
        )
        traces = [row for row, value in zip(rows, values, strict=True) if holds_traces(value)]
        if traces:  # by Trackio's own way: it keeps them in a table of theirs, with a text to search
            log_by_trackio(run, traces, None)
        if config is not None:
            self.insert(
                "INSERT OR REPLACE INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)",
                [(run.id, run.name, as_json(stored_config(run, config)), iso(time.time()))],
            )

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        """See :meth:`autolog.sinks.place.Place.system`."""
        self.insert(
            "INSERT OR IGNORE INTO system_metrics (timestamp, run_id, run_name, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?)",
            [(iso(r["time"]), run.id, run.name, as_json(r["values"]), r["id"]) for r in rows],
        )

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        """See :meth:`autolog.sinks.place.Place.alerts`."""
        self.insert(
            "INSERT OR IGNORE INTO alerts (timestamp, run_id, run_name, title, text, level, step, alert_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (iso(a["time"]), run.id, run.name, a["title"], a["text"], a["level"], a["step"], a["id"])
                for a in alerts
            ],
        )

    def config(self, run: Identity) -> dict[str, Any] | None:
        """A run's config as Trackio reads it: NaN and infinities come back as numbers."""
        row = self._connection.execute("SELECT config FROM configs WHERE run_id = ?", (run.id,)).fetchone()
        if row is None:
            return None
        config: dict[str, Any] = orjson.loads(row[0])
        return {key: _NUMBERS.get(v, v) if isinstance(v, str) else v for key, v in config.items()}

    @property
    def is_there(self) -> bool:
        """Whether the file is still the one that was opened: a person may delete a project at any time."""
        try:
            return os.stat(self.path).st_ino == self._file
        except OSError:
            return False


_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def is_known() -> bool:
    """Whether Trackio keeps SQLite files in this directory, as it has told us before."""
    return _empty() is not None and _empty().exists()  # type: ignore[union-attr]


def log_by_trackio(run: Identity, rows: Sequence[Row], config: dict[str, Any] | None) -> None:
    """Rows by Trackio's own function."""
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage.bulk_log(
        project=run.project,
        run=run.name,
        metrics_list=[stored(row) for row in rows],
        steps=[row["step"] for row in rows],
        timestamps=[iso(row["time"]) for row in rows],
        log_ids=[row["id"] for row in rows],
        run_id=run.id,
        **({} if config is None else {"config": config}),
    )


def _fits(path: Path) -> bool:
    return path.exists() and not _missing_in(path)


def _missing_in(path: Path) -> str:
    """What we would write, and Trackio's tables do not have; or which value they want that we do not know."""
    with contextlib.closing(sqlite3.connect(path, timeout=10.0)) as connection:
        for table, columns in _COLUMNS.items():
            found = {row[1]: row for row in connection.execute(f"PRAGMA table_info({table})")}
            if missing := columns - found.keys():
                return f"its table {table} has no column {', '.join(sorted(missing))}"
            wanted = {
                name
                for name, (*_, not_null, default, key) in found.items()
                if not_null and not (default or key)
            }
            if unknown := wanted - columns:
                return f"its table {table} wants a value for {', '.join(sorted(unknown))}"
    return ""


def _empty() -> Path | None:
    """Where the empty copy is, of this version of Trackio and of the mode that it is told."""
    mode = os.environ.get("TRACKIO_STORAGE_MODE", "auto").strip().lower()
    try:
        version = importlib.metadata.version("trackio")
    except importlib.metadata.PackageNotFoundError:
        return None
    return our_folder() / f"empty-{version}-{mode}.db"


def _copy_empty(path: Path) -> bool:
    """Make a project's file of the empty one. False: there is none. Whoever is faster has made it."""
    empty = _empty()
    if empty is None or path.exists():
        return path.exists()
    try:
        if not _fits(empty):
            return False
        with tempfile.NamedTemporaryFile(dir=empty.parent, suffix=".new") as copy:
            copy.write(empty.read_bytes())
            copy.flush()
            with contextlib.suppress(FileExistsError):
                os.link(copy.name, path)
    except sqlite3.DatabaseError:  # it is damaged: the next one is Trackio's again
        empty.unlink(missing_ok=True)
        return False
    except OSError:
        return False
    return True


def _made_by_trackio(project: str, path: Path) -> Path:
    is_new = not path.exists()
    with _part_of_trackio("sqlite_storage") as storage:
        made: Path = storage.SQLiteStorage.init_db(project)
    if is_new and storage_mode() == "sqlite":
        with contextlib.suppress(OSError, sqlite3.Error):
            _keep_empty(made)
    return made


def storage_mode() -> str:
    """How Trackio keeps what is logged here: ``sqlite``; ``jsonl`` where SQLite's locks mean nothing."""
    with _part_of_trackio("utils") as utils:
        mode: str = utils.get_storage_mode()
    return mode


def _keep_empty(path: Path) -> None:
    empty = _empty()
    if empty is None or empty.exists():
        return
    empty.parent.mkdir(parents=True, exist_ok=True)
    new = empty.with_suffix(f".{os.getpid()}.new")
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as made,
            contextlib.closing(sqlite3.connect(new)) as copy,
        ):
            made.backup(copy)
            tables = [*copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if any(copy.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for (name,) in tables):
                return  # somebody has been faster with a row
        new.replace(empty)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def _part_of_trackio(name: str) -> Iterator[Any]:
    """A module of Trackio's; in a process of ours without all that the package imports beside it.

    A package that is there in name only stands in for it meanwhile: that takes a third of the time.
    """
    module = f"trackio.{name}"
    if not apart.is_here() or "trackio" in sys.modules:
        yield importlib.import_module(module)
        return
    spec = importlib.machinery.PathFinder.find_spec("trackio")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("No module named 'trackio'", name="trackio")
    package = types.ModuleType("trackio")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__, package.__file__ = spec, spec.origin
    sys.modules["trackio"] = package
    try:
        yield importlib.import_module(module)
    finally:
        del sys.modules["trackio"]  # who needs the package imports it whole
