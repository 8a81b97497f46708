"""Journals of the last release are delivered by this one; those of a newer one are left for it, and said.

`journals/v1.jsonl` was written by 0.1, by a program that ended one run and was killed in a second one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import orjson
import pytest

from autolog.sinks.journal import VERSION, Cursor, cursor_of, head_of, hostname, record_at
from tests.programs import journals, read, run, values

FIXTURES = Path(__file__).parent / "journals"


def leave(directory: Path, version: int) -> Path:
    """As if a program of this machine had left it there."""
    journal = directory / "autolog-data" / "journal" / f"{hostname()}-1-{version:08}.jsonl"
    journal.parent.mkdir(parents=True)
    shutil.copy(FIXTURES / f"v{version}.jsonl", journal)
    os.utime(journal)
    return journal


def offset_of(journal: Path, kind: str) -> int:
    return journal.read_bytes().index(b'{"kind":"%s"' % kind.encode())


def test_every_version_has_a_journal_here() -> None:
    assert [head_of(FIXTURES / f"v{n}.jsonl")[1] for n in range(1, VERSION + 1)] == [*range(1, VERSION + 1)]


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_what_each_version_has_left_is_delivered(tmp_path: Path, version: int) -> None:
    leave(tmp_path, version)
    run(tmp_path, "assert autolog.finish()")
    kept = {r["name"]: r for r in read(tmp_path)}
    assert values(kept["old"], "m") == list(range(5))
    assert len(values(kept["old"], "c")) == 1
    assert [alert["title"] for alert in kept["old"]["alerts"]] == ["look"]
    assert kept["old"]["config"]["status"] == "finished"
    assert kept["old"]["config"]["tags"] == ["t"]
    assert kept["old"]["config"]["autolog/schema"] == 1, "its keys are the old ones"
    assert kept["open"]["config"]["status"] == "crashed"
    assert values(kept["open"], "m") == [7]
    assert journals(tmp_path) == []


def test_what_the_last_release_has_delivered_is_not_delivered_again(tmp_path: Path) -> None:
    """Its number said that all before it had arrived, pictures and files, too."""
    journal = leave(tmp_path, 1)
    cursor_of(journal).write_text(str(offset_of(journal, "alert")))
    run(tmp_path, "assert autolog.finish()")
    kept = {r["name"]: r for r in read(tmp_path)}
    assert values(kept["old"], "m") == values(kept["old"], "c") == []
    assert [alert["title"] for alert in kept["old"]["alerts"]] == ["look"]
    assert kept["old"]["config"]["status"] == "finished"
    assert kept["old"]["config"]["x"] == 1


@pytest.mark.slow
def test_what_is_to_be_made_is_made(tmp_path: Path) -> None:
    leave(tmp_path, 3)
    run(tmp_path, "assert autolog.finish()")
    (kept,) = (r for r in read(tmp_path) if r["name"] == "old")
    assert len(values(kept, "history")) == len(values(kept, "importances")) == 1
    (table,) = values(kept, "importances_table")
    assert [row["parameter"] for row in table["_value"]] == ["x"]
    assert "autolog/lost" not in kept["config"]


@pytest.mark.slow
def test_of_what_this_one_has_delivered_the_rest_comes(tmp_path: Path) -> None:
    journal = leave(tmp_path, VERSION)
    Cursor(rows=journal.stat().st_size).keep(journal)
    run(tmp_path, "assert autolog.finish()")
    kept = {r["name"]: r for r in read(tmp_path)}
    assert values(kept["old"], "m") == []
    assert len(values(kept["old"], "c")) == 1


def test_a_newer_journal_is_left_as_it_is_and_said(tmp_path: Path) -> None:
    journal = leave(tmp_path, VERSION)
    text = journal.read_bytes().replace(b'"version":%d' % VERSION, b'"version":%d' % (VERSION + 1), 1)
    journal.write_bytes(text)
    out = run(tmp_path, "with autolog.run('r'): pass\nassert autolog.finish()")
    assert out.count("was written by a newer version of autolog") == 1
    assert journal.read_bytes() == text
    assert [r["name"] for r in read(tmp_path)] == ["r"]


def test_a_record_is_found_by_its_offset() -> None:
    journal = FIXTURES / "v1.jsonl"
    found = record_at(journal, offset_of(journal, "alert"))
    assert found is not None
    assert found["kind"] == "alert"


@pytest.mark.parametrize("text", ["", "x", "[1]", "{}", '{"rows": 1, "whole": "y", "arrived": []}'])
def test_a_cursor_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    journal = tmp_path / "a.jsonl"
    cursor_of(journal).write_text(text)
    assert Cursor.of(journal) == Cursor()


def test_a_cursor_comes_back(tmp_path: Path) -> None:
    journal = tmp_path / "a.jsonl"
    Cursor(300, 100, {200, 150}).keep(journal)
    assert Cursor.of(journal) == Cursor(300, 100, {150, 200})
    assert orjson.loads(cursor_of(journal).read_bytes())["rows"] == 300
    assert Cursor.of(journal).has(99)
    assert Cursor.of(journal).has(150)
    assert not Cursor.of(journal).has(250)
