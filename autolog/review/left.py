"""What was recorded on this machine and was not delivered yet: in our journals, in Trackio's own inbox."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from autolog.sinks import OpenRecord
from autolog.sinks.identity import Destination, destination_of
from autolog.sinks.journal import Cursor, Tail, is_left
from autolog.sinks.state import RunState
from autolog.sinks.trackio.rows import stored

__all__ = ["Left", "Row", "count_left", "in_inbox", "in_journals"]

_SLOW = ("chart", "html", "made", "media", "artifact")  # they may arrive later than what stands behind them

Row = tuple[str, int, str | float, dict[str, Any]]
"""Its id, step, time (as it was written) and values, as Trackio stores them."""


@dataclass
class Left:
    """What is left of one run.

    Attributes:
        config: keys to add to what was delivered.
        rows: that were not delivered.
        waiting: how many records of any kind.
        has_writer: whether the process that writes it lives; None: nobody here can tell.
        last_sign: when it was last heard of, in seconds since 1970.
    """

    project: str
    id: str
    name: str
    destination: Destination
    config: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0
    has_writer: bool | None = None
    last_sign: float = 0.0


def in_journals(folder: Path) -> Iterator[Left]:
    """Each run that a journal in this folder knows of.

    A journal is read while its process writes it, and another one delivers it: what is delivered meanwhile
    comes twice, under the same id.
    """
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(OSError):  # it has just been delivered and removed
            yield from _of_journal(path)


def _of_journal(path: Path) -> Iterator[Left]:
    last_sign, has_ended, delivered = path.stat().st_mtime, is_left(path), Cursor.of(path)
    found: dict[str, tuple[RunState, Left]] = {}
    tail = Tail(path)
    while records := tail.read_placed():
        for offset, record in records:
            if record["kind"] == "journal":
                continue
            if record["kind"] == "open":
                found.setdefault(record["run"], _begun(record))
            elif record["run"] in found:
                state, left = found[record["run"]]
                state.take(record)
                is_slow = record["kind"] in _SLOW
                if delivered.has(offset) if is_slow else offset < delivered.rows:
                    continue
                left.waiting += 1
                if record["kind"] == "row":
                    left.rows.append((record["id"], record["step"], record["time"], stored(record)))
                elif record["kind"] == "alert":
                    left.alerts.append(dict(record))
    for state, left in found.values():
        left.last_sign, left.has_writer = last_sign, not has_ended and state.finished_at == 0
        if left.waiting:
            left.config = state.ordered_config()
        yield left


def count_left(journal: Path) -> int:
    """How many records of a journal have not been delivered yet; 0: it is gone."""
    delivered, tail, count = Cursor.of(journal), Tail(journal), 0
    with contextlib.suppress(FileNotFoundError):
        tail.offset = delivered.whole
        while tail.offset < delivered.rows and (records := tail.read_placed(delivered.rows - tail.offset)):
            count += sum(record["kind"] in _SLOW and not delivered.has(at) for at, record in records)
        with journal.open("rb") as file:
            file.seek(delivered.rows)
            while part := file.read(1_000_000):
                count += part.count(b"\n")
    return count


def _begun(record: OpenRecord) -> tuple[RunState, Left]:
    state = RunState(record)
    state.running = True
    state.config.setdefault("status", "running")
    to = destination_of(record["to"])
    return state, Left(record["project"], record["run"], record["name"], to)


def in_inbox(folder: Path) -> Iterator[Left]:
    """Each run that Trackio's inbox holds something of, until a dashboard puts it into its database."""
    found: dict[str, Left] = {}
    for path in sorted(folder.glob("*/*.jsonl"), key=_written_at):
        for line in _lines(path):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                record = orjson.loads(line)
                left = found.setdefault(
                    record["run_id"],
                    Left(record["project"], record["run_id"], record["run"], ("local", "")),
                )
                left.waiting += 1
                left.last_sign = max(left.last_sign, _written_at(path))
                if record["kind"] == "metric":
                    left.config = record.get("config") or left.config  # the last one counts
                    row = (
                        record["log_id"] or "",
                        record["step"] or 0,
                        record["timestamp"],
                        record["metrics"],
                    )
                    left.rows.append(row)
                elif record["kind"] == "alert":
                    left.alerts.append({**record, "id": record["alert_id"], "time": record["timestamp"]})
    yield from found.values()


def _lines(path: Path) -> list[bytes]:
    with contextlib.suppress(OSError):  # it has just been taken in
        return path.read_bytes().splitlines()
    return []


def _written_at(path: Path) -> float:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return time.time()
