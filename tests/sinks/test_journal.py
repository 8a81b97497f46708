from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autolog.sinks import journal as journal_module
from autolog.sinks.journal import Journal, Tail


def record(n: Any, **more: Any) -> dict[str, Any]:
    return {"kind": "row", "run": "r", "n": n, **more}


def test_what_is_appended_is_read_back_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for n in range(1_000):
        journal.append(record(n))
    assert journal.sync(60)
    assert [r["n"] for r in Tail(journal.path).read()] == list(range(1_000))
    journal.close()


def test_a_tail_goes_on_where_it_stopped_and_takes_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    line = b'{"kind":"row","run":"r","n":1}\n'
    path.write_bytes(line + line[:10])
    tail = Tail(path)
    assert len(tail.read()) == 1
    assert tail.read() == []
    with path.open("ab") as file:
        file.write(line[10:] + line)
    assert len(tail.read()) == 2


def test_a_tail_reads_in_parts_even_if_a_line_is_longer(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    text = "x" * 1_000
    path.write_bytes(b"".join(journal_module._encode(record(n, text=text)) for n in range(10)))
    tail = Tail(path)
    found = []
    while part := tail.read(limit=100):
        found += part
    assert [r["n"] for r in found] == list(range(10))


@pytest.mark.parametrize("garbage", [b"\x00\xff\xfe\n", b"{broken\n", b"[1]\n", b"\n", b'{"no":"kind"}\n'])
def test_a_torn_or_foreign_line_is_passed_over(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "j.jsonl"
    line = b'{"kind":"row","run":"r","n":1}\n'
    path.write_bytes(line + garbage + line)
    assert len(Tail(path).read()) == 2


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**100), 10**100) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(anything)
def test_every_json_value_survives(value: Any) -> None:
    line = journal_module._encode(record(value))
    assert line.count(b"\n") == 1
    (back,) = [journal_module._decode(line)]
    assert back is not None
    assert back["n"] == finite(value)


def finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value)  # as JSON's readers take it, Trackio's too
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


class FullDisk:
    """A file on a disk that fills up in the middle of a write."""

    def __init__(self, file: Any, room: int):
        self.file = file
        self.room = room

    def write(self, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.file.write(bytes(data[: self.room]))
        self.room -= written
        return written

    def fileno(self) -> int:
        fileno: int = self.file.fileno()
        return fileno

    def close(self) -> None:
        self.file.close()


def test_a_full_disk_loses_nothing_once_there_is_room_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    disk = FullDisk(journal._file, room=50)
    journal._file = disk  # type: ignore[assignment]
    for n in range(20):
        journal.append(record(n))
    assert not journal.sync(0.5)
    assert journal.last_error is not None
    disk.room = 1_000_000
    assert journal.sync(60)
    assert [r["n"] for r in Tail(journal.path).read()][-20:] == list(range(20))
    assert not journal.lost
    journal.close()


def test_a_disk_that_stays_full_bounds_the_memory_and_counts_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_WAITING", 100)
    journal = Journal(tmp_path)
    journal._file = FullDisk(journal._file, room=0)  # type: ignore[assignment]
    for n in range(500):
        journal.append(record(n))
    assert not journal.sync(0.5)
    assert len(journal._queue) <= 100
    assert journal.lost["r"] >= 400
    journal.close()


def test_a_disk_that_hangs_holds_up_neither_the_caller_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, answers = Journal(tmp_path), threading.Event()
    monkeypatch.setattr(journal, "_write", lambda data: answers.wait(60))
    for n in range(1_000):
        journal.append(record(n))
    assert not journal.sync(0.3)
    journal.close()
    assert not answers.is_set()
    answers.set()


def test_a_living_process_keeps_its_journal_a_dead_one_leaves_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from autolog.sinks.journal import Journal\n"
        "j = Journal(pathlib.Path(sys.argv[1])); j.append({'kind': 'row', 'run': 'r'}); j.sync(60)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    ours = Journal(tmp_path)
    assert list(ours.orphans()) == []
    process.kill()
    process.communicate()
    (orphan,) = ours.orphans()
    assert list(ours.orphans()) == [], "taken by one process, it is not taken by another"
    orphan.file.close()
    assert len(Tail(orphan.path).read()) == 1
    ours.close()


def test_write_through_writes_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path, write_through=True)
    journal.append(record(1))
    assert len(Tail(journal.path).read()) == 1
    journal.close()


def test_a_journal_has_its_head_before_it_can_be_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path, lambda going: [record("head")])
    assert [r["n"] for r in Tail(journal.path).read()] == ["head"]
    assert list(journal.orphans()) == []
    journal.close()


# Two hosts on one network file system, and locks that do not work -------------------------------------


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_journal_of_another_host_is_left_once_nobody_touches_it(tmp_path: Path) -> None:
    ours = Journal(tmp_path)
    theirs = tmp_path / "elsewhere-1-abc.jsonl"
    theirs.write_bytes(journal_module._encode(record(1)))
    theirs.with_suffix(".delivered").write_text("7")
    assert list(ours.orphans()) == []
    age(theirs, journal_module.STALE_SECONDS + 5)
    (orphan,) = ours.orphans()
    orphan.file.close()
    assert not theirs.exists()
    assert [r["n"] for r in Tail(orphan.path).read()] == [1]
    assert orphan.path.with_suffix(".delivered").read_text() == "7"
    assert not orphan.has_ended, "that nobody touches it proves nothing"
    other = Journal(tmp_path, write_through=True)
    assert list(other.orphans()) == []
    age(orphan.path, journal_module.STALE_SECONDS + 5)
    (again,) = other.orphans()  # whoever took it may die as well
    assert not again.has_ended, "whose it was is still known"
    again.file.close()
    for journal in (ours, other):
        journal.close()


def test_a_host_whose_name_begins_like_ours_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "hostname", lambda: "node-1")
    theirs = Journal(tmp_path)
    monkeypatch.setattr(journal_module, "hostname", lambda: "node")
    theirs._file.close()  # not locked: across hosts that says nothing
    ours = Journal(tmp_path)
    assert list(ours.orphans()) == []
    ours.close()


@pytest.mark.parametrize("broken", ["refused", "granted to everybody"])
def test_where_locks_do_not_work_a_living_journal_is_known_by_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def flock(*args: Any) -> None:
        if broken == "refused":
            raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(journal_module.fcntl, "flock", flock)
    living, dead, ours = (Journal(tmp_path) for _ in range(3))
    dead.append(record(1))
    dead.sync(60)
    assert list(ours.orphans()) == []
    age(dead.path, journal_module.STALE_SECONDS + 5)
    (orphan,) = ours.orphans()
    orphan.file.close()
    assert [r["n"] for r in Tail(orphan.path).read()] == [1]
    assert living.path.exists()
    for journal in (living, ours):
        journal.close()


def test_what_is_closed_need_not_grow_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module.fcntl, "flock", lambda *args: None)
    worker, ours = Journal(tmp_path, write_through=True), Journal(tmp_path)
    worker.append(record(1))
    assert list(ours.orphans()) == []
    worker.close()
    (orphan,) = ours.orphans()
    orphan.file.close()
    assert [r["n"] for r in Tail(orphan.path).read()] == [1]
    ours.close()


def test_a_living_process_touches_its_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "TOUCH_SECONDS", 0.0)
    journal = Journal(tmp_path)
    age(journal.path, 1_000)
    end = time.monotonic() + 60
    while os.stat(journal.path).st_mtime < time.time() - 500:
        assert time.monotonic() < end
        time.sleep(0.05)
    journal.close()


def test_a_journal_that_was_taken_away_is_begun_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", lambda going: [record("head")])
    journal.append(record(1))
    assert journal.sync(60)
    taken = journal.path.rename(tmp_path / "taken.jsonl")
    journal.append(record(2))
    assert journal.sync(60)
    assert [r["n"] for r in Tail(taken).read()] == ["head", 1]
    assert [r["n"] for r in Tail(journal.path).read()] == ["head", 2]
    shutil.rmtree(tmp_path / "journal")
    journal.append(record(3))
    assert journal.sync(60)
    assert [r["n"] for r in Tail(journal.path).read()] == ["head", 3]
    journal.close()


def waits_of(thread: threading.Thread | None) -> int:
    """How often a thread has begun to wait."""
    assert thread is not None
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux' /proc, to see threads wait")
def test_when_nothing_comes_the_thread_wakes_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FLUSH_SECONDS", 0.05)
    journal = Journal(tmp_path)
    journal.append(record(1))
    until(lambda: journal.is_resting)
    time.sleep(0.2)  # it is about to wait
    before = waits_of(journal._thread)
    time.sleep(6 * journal_module.FLUSH_SECONDS)
    assert waits_of(journal._thread) - before < 3
    journal.close()


def test_what_comes_after_a_rest_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FLUSH_SECONDS", 0.05)
    stirred: list[int] = []
    journal = Journal(tmp_path, when_stirred=lambda: stirred.append(1))
    for n in range(2):
        assert len(stirred) == n
        until(lambda: journal.is_resting)
        journal.append(record(n))
        until(lambda n=n: [r["n"] for r in Tail(journal.path).read()] == [*range(n + 1)])
    assert not journal.is_resting
    assert len(stirred) == 2
    journal.close()
