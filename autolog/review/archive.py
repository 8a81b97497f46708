"""Everything that can be read of runs: what has arrived at a source, and what still waits on this machine."""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from autolog.capture.summary import is_metric
from autolog.core.settings import current, destination_of
from autolog.review.left import Left, Row, in_inbox, in_journals
from autolog.review.series import Part
from autolog.review.source import Files, Server, Source, SourceError
from autolog.sinks.identity import Destination
from autolog.sinks.trackio.directory import journals
from autolog.sinks.trackio.names import canonical_project

__all__ = ["Archive", "Head", "opened"]

AT_ONCE = 5_000  # rows
# First and last time of each run that has a row. By jumps in Trackio's index, from run to run, a run of a
# million rows is not gone through. A server does not let others recurse, an old Trackio had no such index.
INDEX = "SELECT name FROM sqlite_master WHERE name = 'idx_metrics_run_timestamp' ORDER BY 1"
TIMES = "SELECT run_id, MIN(timestamp), MAX(timestamp) FROM metrics GROUP BY 1 ORDER BY 1"
TIMES_BY_JUMPS = """
    WITH RECURSIVE runs(run) AS (
        SELECT MIN(run_id) FROM metrics
        UNION ALL SELECT (SELECT MIN(run_id) FROM metrics WHERE run_id > run) FROM runs WHERE run IS NOT NULL)
    SELECT run, (SELECT MIN(timestamp) FROM metrics WHERE run_id = run),
        (SELECT MAX(timestamp) FROM metrics WHERE run_id = run) FROM runs WHERE run IS NOT NULL"""
LATEST = 4e9  # a time in seconds since 1970; what is beyond is none
QUIET_SECONDS = 600.0  # without a word from a run that nobody here can ask for


@dataclass
class Head:
    """What stands of a run before its rows are read.

    Attributes:
        first, last: when its first and last row were logged, in seconds since 1970; 0: there is none.
        left: what has not been delivered yet.
    """

    id: str
    name: str
    project: str
    config: dict[str, Any] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0
    left: list[Left] = field(default_factory=list)

    @property
    def status(self) -> str | None:
        """As it was recorded; of a run that should be going on and is not heard of, since when."""
        status = self.config.get("status")
        if status != "running":
            return status if isinstance(status, str) else None
        if any(left.has_writer for left in self.left):
            return "running"
        signs = [left.last_sign for left in self.left if left.has_writer is not None]
        silence = time.time() - max([self.last, *signs])
        if not signs and silence < QUIET_SECONDS:  # it may go on at another machine
            return "running"
        return f"no sign for {_minutes(silence)}"


def _minutes(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"


def opened(at: str | os.PathLike[str] | None = None) -> Archive:
    """The archive of a place.

    Args:
        at: a directory of Trackio's, a server's URL, or a Space as ``user/space``. None: where this process
            would record, by ``AUTOLOG_*`` and Trackio's own variables.

    Raises:
        SourceError: there is no such place.
    """
    if isinstance(at, os.PathLike) or (at is not None and Path(at).is_dir()):
        return Archive(Files(Path(at)))
    to: Destination = destination_of(current()) if at is None else _named(at)
    if to[0] == "local":
        return Archive(Files())
    return Archive(Server(to, os.environ.get("HF_TOKEN") if to[0] == "space" else None))


def _named(at: str) -> Destination:
    if at.startswith(("http://", "https://")):
        return "server", at.split("?", maxsplit=1)[0].rstrip("/")
    if at.count("/") == 1 and not at.startswith((".", "/", "~")):
        return "space", at
    raise SourceError(
        f"{at!r}: there is no such folder. Name one in which Trackio keeps its files, "
        "a server (https://host) or a Space (user/space)."
    )


class Archive:
    """What can be read of runs, from one source."""

    def __init__(self, source: Source):
        self.source = source

    def projects(self) -> list[str]:
        """The projects that have a run, sorted."""
        return sorted({*self.source.projects(), *(canonical_project(left.project) for left in self._left())})

    def heads(self, project: str) -> dict[str, Head]:
        """A project's runs by their id, the oldest first."""
        heads: dict[str, Head] = {}
        for run, name, config in self.source.select(
            project, "SELECT run_id, run_name, CAST(config AS TEXT) FROM configs ORDER BY id"
        ):
            heads[run] = Head(run, name, project, _values(config))
        may_jump = isinstance(self.source, Files) and any(self.source.select(project, INDEX))
        times = TIMES_BY_JUMPS if may_jump else TIMES
        for run, first, last in self.source.select(project, times):
            head = heads.setdefault(run, Head(run, "", project))
            head.first, head.last = seconds_of(first), seconds_of(last)
        if nameless := [head for head in heads.values() if not head.name]:  # logged without a config
            names = "SELECT run_id, MAX(run_name) FROM metrics GROUP BY 1 ORDER BY 1"
            known: dict[str, str] = dict(self.source.select(project, names))
            for head in nameless:
                head.name = known.get(head.id, head.id)
        for left in self._left():
            if canonical_project(left.project) == canonical_project(project):
                head = heads.setdefault(left.id, Head(left.id, left.name, left.project))
                head.left.append(left)
                head.config = {**head.config, **left.config}
                times_left = [seconds_of(at) for _, _, at, _ in left.rows]
                head.first = min([t for t in (head.first, *times_left) if t], default=0.0)
                head.last = max([head.last, *times_left])
        return dict(sorted(heads.items(), key=lambda item: _created(item[1])))

    def rows(self, head: Head) -> Rows:
        """The rows of a run, as they are now."""
        return Rows(self.source, head)

    def latest(self, project: str, key: str) -> dict[str, float]:
        """The last value of one metric of each run that has it, by the run's id."""
        text = "CAST(metrics AS TEXT)"
        path = f'$."{key}"'
        value = f"json_extract({text}, {_quoted(path)})"
        if '"' in key:  # which no path can hold
            value = f"(SELECT value FROM json_each({text}) WHERE key = {_quoted(key)})"
        # A row of somebody else's that is no JSON would end the query.
        found = self.source.select(
            project,
            "SELECT run_id, value FROM "
            f"(SELECT run_id, step, id, CASE WHEN json_valid({text}) THEN {value} END AS value "
            f"FROM metrics WHERE instr(CAST(metrics AS TEXT), {_quoted(_json(key))})) "
            "WHERE value IS NOT NULL ORDER BY step, id",
        )
        latest: dict[str, Any] = dict(found)
        for left in self._left():
            if canonical_project(left.project) == canonical_project(project):
                for _, _, _, values in sorted(left.rows, key=lambda row: row[1]):
                    if key in values:
                        latest[left.id] = values[key]
        return {run: float(v) for run, v in latest.items() if is_metric(v)}

    def system(self, head: Head) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Time and values of each sample of the machine's load."""
        for at, text in self.source.select(
            head.project,
            "SELECT timestamp, CAST(metrics AS TEXT) FROM system_metrics "
            f"WHERE run_id = {_quoted(head.id)} ORDER BY timestamp, id",
        ):
            yield at, _values(text)

    def alerts(self, head: Head) -> list[dict[str, Any]]:
        """``title``, ``text``, ``level``, ``step`` and ``time`` (seconds since 1970) of each."""
        columns = ("alert_id", "title", "text", "level", "step", "timestamp")
        found = [
            dict(zip(columns, row, strict=True))
            for row in self.source.select(
                head.project,
                f"SELECT {', '.join(columns)} FROM alerts WHERE run_id = {_quoted(head.id)} ORDER BY id",
            )
        ]
        known = {alert["alert_id"] for alert in found}
        for left in head.left:
            found += [
                {**alert, "timestamp": alert["time"]} for alert in left.alerts if alert["id"] not in known
            ]
        wanted = ("title", "text", "level", "step")
        return [{**{k: a[k] for k in wanted}, "time": seconds_of(a["timestamp"])} for a in found]

    def artifacts(self, head: Head) -> list[dict[str, Any]]:
        """The versions of artifacts that a run has made or used, the oldest first."""
        query = (
            "SELECT v.id AS id, a.name AS name, a.type AS type, v.version AS version, "
            "CAST(v.manifest AS TEXT) AS manifest, CAST(v.metadata AS TEXT) AS metadata, "
            "v.size_bytes AS size, l.direction AS direction, "
            "(SELECT group_concat(alias) FROM artifact_aliases AS s WHERE s.artifact_version_id = v.id) "
            "AS aliases FROM run_artifact_links AS l "
            "JOIN artifact_versions AS v ON v.id = l.artifact_version_id "
            f"JOIN artifacts AS a ON a.id = v.artifact_id WHERE l.run_id = {_quoted(head.id)} ORDER BY l.id"
        )
        names = ("id", "name", "type", "version", "manifest", "metadata", "size", "direction", "aliases")
        return [dict(zip(names, row, strict=True)) for row in self.source.select(head.project, query)]

    def _left(self) -> Iterator[Left]:
        """What waits on this machine for this source; from here also what waits for somewhere else."""
        if isinstance(self.source, Files):
            folder = self.source.directory
            yield from in_inbox(folder / "inbox")
            for left in in_journals(folder / "autolog-data" / "journal"):
                if left.destination[0] == "local" or left.waiting:
                    yield left
        else:
            yield from (x for x in in_journals(journals()) if x.destination == self.source.destination)


def seconds_of(at: Any) -> float:
    """A time as Trackio or we write it, in seconds since 1970; 0: none."""
    if isinstance(at, (int, float)):
        return float(at) if 0 <= at < LATEST else 0.0
    try:
        told = datetime.fromisoformat(at)
    except (TypeError, ValueError):
        return 0.0
    seconds = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 <= seconds < LATEST else 0.0


def _created(head: Head) -> float:
    created = seconds_of(head.config.get("_Created") or head.config.get("_created"))
    return created or head.first or math.inf


def _values(text: Any) -> dict[str, Any]:
    try:
        values = orjson.loads(text)
    except (ValueError, TypeError):
        return {}
    return values if isinstance(values, dict) else {}


def _all_values(texts: Sequence[Any]) -> list[dict[str, Any]]:
    """Of many rows at once, if each of them is in order."""
    try:
        every: list[dict[str, Any]]
        if isinstance(texts[0], bytes):
            every = orjson.loads(b"[%s]" % b",".join(texts))
        else:
            every = orjson.loads(f"[{','.join(texts)}]")
        if len(every) == len(texts) and set(map(type, every)) == {dict}:
            return every
    except (ValueError, TypeError):
        pass
    return [_values(text) for text in texts]


class Rows:
    """The rows of one run as they were when this was made, in the order of their steps.

    A run that goes on gets more: none of them is in one answer and not in the next.
    """

    def __init__(self, source: Source, head: Head):
        self._source = source
        self._head = head
        self._waiting: list[Row] = [row for left in head.left for row in left.rows]
        newest = next(source.select(head.project, "SELECT MAX(id) AS id FROM metrics ORDER BY 1"), (None,))[0]
        self._which = f"FROM metrics WHERE run_id = {_quoted(head.id)} AND id <= {newest or 0} "

    def parts(self) -> Iterator[Part]:
        """Steps and values, many rows at a time."""
        if self._waiting:
            merged = self._merged()
            yield [step for step, *_ in merged], [values for *_, values in merged]
            return
        arrived = self._select(f"step, {self._source.text_of('metrics')}")
        while part := list(itertools.islice(arrived, AT_ONCE)):
            steps, texts = zip(*part, strict=True)
            yield steps, _all_values(texts)

    def times(self) -> list[float]:
        """When each of them was logged, in seconds since 1970.

        Apart from the others: of a million rows it takes a second, and hardly anybody asks for it.
        """
        if self._waiting:
            return [seconds_of(at) for _, at, _ in self._merged()]
        return [seconds_of(at) for (at,) in self._select("timestamp")]

    def having(self, text: str) -> Iterator[dict[str, Any]]:
        """The values of those in which a text stands, and of all that have not been delivered."""
        if self._waiting:
            yield from (values for *_, values in self._merged(text))
        else:
            yield from (_values(row) for (row,) in self._select(self._source.text_of("metrics"), text))

    def _select(self, columns: str, having: str = "") -> Iterator[tuple[Any, ...]]:
        among = f"AND instr(CAST(metrics AS TEXT), {_quoted(having)}) " if having else ""
        return self._source.select(
            self._head.project, f"SELECT {columns} {self._which}{among}ORDER BY step, id"
        )

    def _merged(self, having: str = "") -> list[tuple[int, Any, dict[str, Any]]]:
        """Step, time and values of each: those that have arrived, and those that wait."""
        columns = f"log_id, step, timestamp, {self._source.text_of('metrics')}"
        arrived = list(self._select(columns, having))
        known = {log_id for log_id, *_ in arrived if log_id}
        merged = [(step, at, _values(text)) for _, step, at, text in arrived]
        merged += [(step, at, values) for log_id, step, at, values in self._waiting if log_id not in known]
        return sorted(merged, key=lambda row: row[0])


def _json(key: str) -> str:
    return orjson.dumps(key).decode() + ":"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
