"""A project's file is Trackio's own, whoever makes it; what is not as we know it is for Trackio to mend."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from autolog.sinks.helper import Helper
from autolog.sinks.identity import Identity
from autolog.sinks.trackio.elsewhere import Elsewhere
from tests.programs import read, values

RUN = Identity("0" * 32, "r", "p")


@pytest.fixture
def helper(tmp_path: Path) -> Iterator[Helper]:
    helper = Helper({"TRACKIO_DIR": str(tmp_path)})
    yield helper
    helper.close()


def put(helper: Helper, run: Identity = RUN) -> None:
    place = Elsewhere(helper, ("local", ""), lambda: None, True)
    place.rows(run, [{"id": run.id, "time": 1.0, "step": 0, "values": {"m": 1.0}}], {"x": "Infinity"})
    assert (place.config(run) or {})["x"] == float("inf")


def schema_of(path: Path) -> list[tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        mode = database.execute("PRAGMA journal_mode").fetchone()
        return [*database.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 2"), mode]


def has_imported(name: str) -> bool:
    return name in sys.modules


def test_the_second_project_is_made_without_trackio_and_is_the_same(tmp_path: Path, helper: Helper) -> None:
    put(helper)
    assert helper.ask(has_imported, "trackio.sqlite_storage")
    assert not helper.ask(has_imported, "trackio")  # only that part of it
    other = Helper({"TRACKIO_DIR": str(tmp_path)})
    put(other, Identity("1" * 32, "other", "second project"))
    assert not other.ask(has_imported, "trackio.sqlite_storage")
    assert not other.ask(has_imported, "matplotlib")
    other.close()
    assert schema_of(tmp_path / "secondproject.db") == schema_of(tmp_path / "p.db")
    (kept,) = read(tmp_path, "second project")
    assert values(kept, "m") == [1.0]
    assert list((tmp_path / "autolog-data").glob("*.new")) == []


def test_a_file_that_lacks_a_column_is_mended_by_trackio(tmp_path: Path, helper: Helper) -> None:
    put(helper)
    helper.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as database, database:
        database.executescript("DROP INDEX idx_metrics_log_id; ALTER TABLE metrics DROP COLUMN log_id")
    again = Helper({"TRACKIO_DIR": str(tmp_path)})
    put(again)
    again.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as database, database:
        assert "log_id" in {row[1] for row in database.execute("PRAGMA table_info(metrics)")}


def test_an_empty_copy_holds_nobodys_rows(tmp_path: Path, helper: Helper) -> None:
    put(helper)
    (empty,) = (tmp_path / "autolog-data").glob("empty-*.db")
    with contextlib.closing(sqlite3.connect(empty)) as database, database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "metrics" in tables
        assert [database.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone() for name in tables] == [
            (0,)
        ] * len(tables)


def test_an_empty_copy_that_is_damaged_is_passed_over(tmp_path: Path, helper: Helper) -> None:
    put(helper)
    (empty,) = (tmp_path / "autolog-data").glob("empty-*.db")
    empty.write_bytes(b"no database" * 100)
    other = Helper({"TRACKIO_DIR": str(tmp_path)})
    put(other, Identity("1" * 32, "other", "second"))
    other.close()
    (kept,) = read(tmp_path, "second")
    assert values(kept, "m") == [1.0]


def test_two_make_the_same_project_at_once(tmp_path: Path, helper: Helper) -> None:
    put(helper)
    helpers = [Helper({"TRACKIO_DIR": str(tmp_path)}) for _ in range(4)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as several:
        runs = [Identity(str(n) * 32, f"r{n}", "together") for n in range(4)]
        list(several.map(put, helpers, runs))
    for one in helpers:
        one.close()
    assert sorted(r["name"] for r in read(tmp_path, "together")) == ["r0", "r1", "r2", "r3"]


def test_in_the_users_process_trackio_is_imported_whole() -> None:
    """There it may be the user's own, now or later."""
    if os.environ.get("TRACKIO_DIR"):
        from autolog.sinks.trackio.database import storage_mode

        assert storage_mode() in ("sqlite", "jsonl")
        assert hasattr(sys.modules["trackio"], "init")
