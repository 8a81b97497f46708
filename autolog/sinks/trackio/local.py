"""Trackio's files on this machine: SQLite, or fragments where its locks cannot be trusted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row
from autolog.sinks.trackio.database import Database
from autolog.sinks.trackio.rows import (
    alert_entry,
    as_json,
    entry,
    holds_traces,
    iso,
    metric_entries,
    recalled,
    stored,
    stored_config,
)

__all__ = ["Inbox", "Local", "manifest_of", "media_file", "shown"]


class Local:
    """Trackio's SQLite files on this machine."""

    recalls = True

    def __init__(self) -> None:
        self._databases: dict[str, Database] = {}
        self._blobs: dict[str, _Blobs] = {}

    def _database(self, project: str) -> Database:
        database = self._databases.get(project)
        if database is None or not database.is_there:
            database = self._databases[project] = Database(project)
        return database

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        database = self._database(run.project)
        values = [stored(row) for row in rows]
        database.insert(
            "INSERT OR IGNORE INTO metrics (timestamp, run_id, run_name, step, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [
                (iso(r["time"]), run.id, run.name, r["step"], as_json(v), r["id"])
                for r, v in zip(rows, values, strict=True)
                if not holds_traces(v)
            ],
        )
        for row, value in zip(rows, values, strict=True):
            if holds_traces(value):
                _put_traces(run, row, value)
        if config is not None:
            database.insert(
                "INSERT OR REPLACE INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)",
                [(run.id, run.name, as_json(stored_config(run, config)), iso(time.time()))],
            )

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        self._database(run.project).insert(
            "INSERT OR IGNORE INTO system_metrics (timestamp, run_id, run_name, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?)",
            [(iso(r["time"]), run.id, run.name, as_json(r["values"]), r["id"]) for r in rows],
        )

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        self._database(run.project).insert(
            "INSERT OR IGNORE INTO alerts (timestamp, run_id, run_name, title, text, level, step, alert_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (iso(a["time"]), run.id, run.name, a["title"], a["text"], a["level"], a["step"], a["id"])
                for a in alerts
            ],
        )

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        path = media_file(run, step, name, page)
        return shown(path, caption)

    def media(self, run: Identity, step: int, path: str) -> None:
        """It is there already."""

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.commit_artifact_version(
            project=run.project,
            name=record["name"],
            type=record["type"],
            description=record.get("description"),
            manifest=manifest_of(run.project, record),
            metadata=record["metadata"],
            aliases=record["aliases"],
            run_name=run.name,
            run_id=run.id,
        )

    def stored(self, run: Identity) -> int:
        """Of a server or Space: what this machine has sent there, of which Trackio keeps a copy here."""
        if run.project not in self._blobs:
            self._blobs[run.project] = _Blobs(run.project)
        return self._blobs[run.project].size()

    def added(self, run: Identity, record: ArtifactRecord) -> int:
        from trackio import cas

        found = dict(cas.hash_file(Path(path)) for path in record["files"].values())
        there = {digest for digest in found if cas.blob_path(run.project, digest).is_file()}
        return sum(size for digest, size in found.items() if digest not in there)

    def config(self, run: Identity) -> Config | None:
        return recalled(run, self._database(run.project).config(run.id))


class _Blobs:
    """The files of a project's artifacts: Trackio names them by what is in them, in folders by that name.

    Others store artifacts there as well, so they are looked at each time; of the folders those that changed.
    """

    def __init__(self, project: str):
        from trackio import cas

        self._root = cas.blob_path(project, "0" * 64).parents[1]
        self._sizes: dict[str, tuple[int, int]] = {}  # by folder: when it changed, and its bytes then

    def size(self) -> int:
        """In bytes."""
        before, self._sizes = self._sizes, {}
        for folder in _entries(self._root):
            if folder.is_dir():
                changed = _size_and_time(folder)[1]
                known = before.get(folder.name)
                if known is None or known[0] != changed:
                    known = changed, sum(_size_and_time(file)[0] for file in _entries(folder))
                self._sizes[folder.name] = known
        return sum(size for _, size in self._sizes.values())


def _entries(folder: Any) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:  # not yet, or no longer
        return []


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        found = entry.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _put_traces(run: Identity, row: Row, values: dict[str, Any]) -> None:
    """A row with traces, by Trackio's own way: it keeps them in a table of theirs, with a text to search."""
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage.bulk_log(
        project=run.project,
        run=run.name,
        metrics_list=[values],
        steps=[row["step"]],
        timestamps=[iso(row["time"])],
        log_ids=[row["id"]],
        run_id=run.id,
    )


def media_file(run: Identity, step: int, name: str, text: str) -> Path:
    """Write a file where the dashboard looks for the media of a step."""
    from trackio.media.utils import get_project_media_path

    path: Path = get_project_media_path(project=run.project, run=run.name, step=step) / name
    path.write_text(text, encoding="utf-8")
    return path


def shown(path: Path, caption: str | None) -> dict[str, Any]:
    """The value by which a row shows a page of HTML that lies there."""
    from trackio.utils import MEDIA_DIR

    where = str(path.relative_to(MEDIA_DIR))
    return {"_type": "trackio.html", "file_path": where, "caption": caption}


class Inbox(Local):
    """Trackio's jsonl mode, for directories where SQLite's locks cannot be trusted."""

    recalls = False

    def __init__(self) -> None:
        from trackio.fragments import FragmentWriter

        super().__init__()
        self._writer = FragmentWriter()

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        from trackio.fragments import metric_record

        entries = metric_entries(run, rows)
        entries[-1]["config"] = None if config is None else stored_config(run, config)
        self._writer.write_local([metric_record(entry) for entry in entries])

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        from trackio.fragments import system_metric_record

        self._writer.write_local(
            [
                system_metric_record({**entry(run, row), "metrics": row["values"], "log_id": row["id"]})
                for row in rows
            ]
        )

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        from trackio.fragments import alert_record

        self._writer.write_local([alert_record(alert_entry(run, alert)) for alert in alerts])

    def config(self, run: Identity) -> Config | None:
        return None


def manifest_of(project: str, record: ArtifactRecord) -> Any:
    """What Trackio keeps of an artifact's files, which are copied."""
    from trackio import Artifact

    artifact = Artifact(record["name"], type=record["type"])
    for name, path in record["files"].items():
        if os.path.isdir(path):
            artifact.add_dir(path, name=name)
        else:
            artifact.add_file(path, name=name)
    for name, uri in record["references"].items():
        artifact.add_reference(uri, name=name, checksum=False)
    return artifact._build_manifest(project)
