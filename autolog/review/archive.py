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
LATEST = 4e9  # a time in seconds since 1970; what is beyond is none
QUIET_SECONDS = 600.0  # without a word from a run that nobody here can ask for


@dataclass
class Head:
    """What stands of a run before its rows are read.

    Attributes:
        first, last: when its first and last row were logged, in seconds since 1970; 0: there is none.
        rows: how many have arrived.
        left: what has not been delivered yet.
    """

    id: str
    name: str
    project: str
    config: dict[str, Any] = field(default_factory=dict)
    first: float = 0.0
    last: float = 0.0
    rows: int = 0
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
        times = "SELECT run_id, MIN(timestamp), MAX(timestamp), COUNT(*) FROM metrics GROUP BY 1 ORDER BY 1"
        for run, first, last, rows in self.source.select(project, times):
            head = heads.setdefault(run, Head(run, "", project))
            head.first, head.last, head.rows = seconds_of(first), seconds_of(last), rows
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

    def rows(self, head: Head, having: str = "") -> Iterator[tuple[int, Any, dict[str, Any]]]:
        """Step, time and values of each row, in the order of their steps.

        Args:
            having: only those in which this text stands, and whatever has not been delivered.
        """
        for steps, times, values in self.parts(head, having):
            yield from zip(steps, times, values, strict=True)

    def parts(self, head: Head, having: str = "") -> Iterator[Part]:
        """The same, many rows at a time."""
        waiting: list[Row] = [row for left in head.left for row in left.rows]
        arrived = self.source.select(
            head.project,
            f"SELECT step, timestamp, {self.source.text_of('metrics')}{', log_id' if waiting else ''} "
            f"FROM metrics WHERE run_id = {_quoted(head.id)} "
            f"{f'AND instr(CAST(metrics AS TEXT), {_quoted(having)}) ' if having else ''}ORDER BY step, id",
        )
        if not waiting:
            while part := list(itertools.islice(arrived, AT_ONCE)):
                steps, times, texts = zip(*part, strict=True)
                yield steps, times, _all_values(texts)
            return
        merged = [(step, at, _values(text), log_id) for step, at, text, log_id in arrived]
        known = {log_id for *_, log_id in merged if log_id}
        merged += [(step, at, values, id_) for id_, step, at, values in waiting if id_ not in known]
        merged.sort(key=lambda row: row[0])
        yield [row[0] for row in merged], [row[1] for row in merged], [row[2] for row in merged]

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


def _json(key: str) -> str:
    return orjson.dumps(key).decode() + ":"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
