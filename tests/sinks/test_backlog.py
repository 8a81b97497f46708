"""What takes long comes by its worth: pictures first, those of the newest run that has ended before all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autolog.sinks import backlog as backlog_module
from autolog.sinks.backlog import Backlog, Slow
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Identity
from autolog.sinks.journal import Journal, Tail
from autolog.sinks.state import RunState


class Wall:
    """A place that keeps in which order pictures and files came; the first one waits until all are known."""

    def __init__(self) -> None:
        self.come: list[str] = []
        self.fails: list[Exception] = []
        self.may_begin = threading.Event()

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        assert self.may_begin.wait(60)
        if self.fails:
            raise self.fails.pop()
        self.come.append(f"{run.id} {name.removesuffix('.html')}")
        return {"page": page}

    def artifact(self, run: Identity, record: dict[str, Any]) -> None:
        self.come.append(f"{run.id} {record['id']}")


def opened(run: str) -> Any:
    record = {"kind": "open", "run": run, "id": run, "project": "p", "name": run, "group": None, "time": 0.0}
    return record | {"joined": False, "adopted": False}


def slow(run: str, kind: str, name: str) -> Any:
    record = {"kind": kind, "run": run, "id": name, "time": 1.0, "step": 3, "key": name}
    return record | ({"text": "<html>"} if kind == "html" else {"name": name, "files": {}, "staged": False})


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def backlog(wall: Wall) -> Any:
    made = Backlog(lambda: wall, Helper(), lambda: None)  # type: ignore[arg-type,return-value]
    yield made
    made.close()


def all_of(directory: Path, records: list[Any], finished: dict[str, float]) -> list[Slow]:
    """These as a journal holds them, of runs that have ended at these times."""
    journal = Journal(directory)
    for record in records:
        journal.append(record)
    assert journal.sync(60)
    runs = {name: RunState(opened(name)) for name in {record["run"] for record in records}}
    for name, run in runs.items():
        run.running = name not in finished
        run.ended = (finished.get(name, 0.0), "finished")
    found = [
        Slow.of(runs[record["run"]], journal.path, offset, record, number)
        for number, (offset, record) in enumerate(Tail(journal.path).read_placed())
    ]
    journal.close()
    return found


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_pictures_of_the_newest_run_come_first_and_files_as_they_were_logged(
    tmp_path: Path, wall: Wall, backlog: Backlog
) -> None:
    records = [
        slow("first", "html", "blocker"),
        slow("first", "artifact", "weights-1"),
        slow("first", "html", "p1"),
        slow("running", "html", "p0"),
        slow("last", "artifact", "weights-2"),
        slow("last", "html", "p2"),
        slow("last", "html", "p3"),
    ]
    several = all_of(tmp_path, records, {"first": 10.0, "last": 20.0})
    backlog.urge()
    backlog.add(several[:1])
    backlog.add(several[1:])
    wall.may_begin.set()
    until(lambda: len(backlog.brought) == len(records))
    assert wall.come == [
        "first blocker",
        "last p2",
        "last p3",
        "first p1",
        "running p0",
        "first weights-1",
        "last weights-2",
    ]
    rows = [row for outcome in backlog.brought for row in outcome.rows]
    assert rows[1] == {"id": "p2", "time": 1.0, "step": 3, "values": {"p2": {"page": "<html>"}}}


def test_what_nobody_takes_is_told_and_the_rest_comes(tmp_path: Path, wall: Wall, backlog: Backlog) -> None:
    several = all_of(tmp_path, [slow("r", "html", "bad"), slow("r", "html", "good")], {})
    wall.fails.append(ValueError("no"))
    wall.may_begin.set()
    backlog.urge()
    backlog.add(several)
    until(lambda: len(backlog.brought) == 2)
    lost = [(what, str(error)) for outcome in backlog.brought for what, error in outcome.lost]
    assert lost == [("html bad", "no")]
    assert [len(outcome.rows) for outcome in backlog.brought] == [0, 1]


def test_what_may_be_taken_later_is_tried_again(tmp_path: Path, wall: Wall, backlog: Backlog) -> None:
    several = all_of(tmp_path, [slow("r", "html", "late")], {})
    wall.fails.append(ConnectionError("away"))
    wall.may_begin.set()
    backlog.urge()
    backlog.add(several)
    until(lambda: backlog.error is not None or backlog.brought)
    until(lambda: backlog.brought)
    assert wall.come == ["r late"]
    assert backlog.error is None


def test_a_journal_that_somebody_else_has_taken_owes_nothing(
    tmp_path: Path, wall: Wall, backlog: Backlog
) -> None:
    several = all_of(tmp_path, [slow("r", "html", "p")], {})
    several[0].journal.unlink()
    backlog.urge()
    backlog.add(several)
    until(lambda: backlog.brought)
    assert backlog.brought[0].record is None
    assert wall.come == []


def test_a_short_program_keeps_its_cores_until_somebody_asks(
    tmp_path: Path, wall: Wall, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "START_SECONDS", 10_000.0)
    wall.may_begin.set()
    backlog.add(all_of(tmp_path, [slow("r", "html", "p")], {}))
    time.sleep(0.05)
    assert wall.come == []
    backlog.urge()
    until(lambda: wall.come == ["r p"])
