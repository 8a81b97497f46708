"""Trackio's files on this machine: SQLite, or fragments where its locks cannot be trusted."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row
from autolog.sinks.trackio.directory import data_directory
from autolog.sinks.trackio.rows import alert_entry, entry, metric_entries, recalled, stored_config
from autolog.sinks.trackio.stores import CHANGED, Public, Store, another, artifact_of, store_for

__all__ = ["Inbox", "Local", "manifest_of", "media_file", "shown"]


class Local:
    """Trackio's SQLite files on this machine."""

    recalls = True

    def __init__(self, make_store: Callable[[str], Store] = store_for) -> None:
        self._make_store = make_store
        self._stores: dict[str, Store] = {}
        self._blobs: dict[str, _Blobs] = {}

    def _store(self, project: str) -> Store:
        store = self._stores.get(project)
        if store is None or not store.is_there:
            store = self._stores[project] = self._make_store(project)
        return store

    def note(self, run: Identity) -> str | None:
        return self._store(run.project).note

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        self._store(run.project).rows(run, rows, config)

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        self._store(run.project).system(run, rows)

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        self._store(run.project).alerts(run, alerts)

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        path = media_file(run, step, name, page)
        return shown(path, caption)

    def media(self, run: Identity, step: int, path: str, folder: str | None = None) -> None:
        """It is there already."""

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        try:
            _commit(run, record)
        except CHANGED as error:
            Public(another(error)).artifact(run, record)

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
        return recalled(run, self._store(run.project).config(run))


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


def media_file(run: Identity, step: int, name: str, text: str) -> Path:
    """Write a file where the dashboard looks for the media of a step."""
    path = _media_folder(run, step) / name
    path.write_text(text, encoding="utf-8")
    return path


def _media_folder(run: Identity, step: int) -> Path:
    try:
        from trackio.media.utils import get_project_media_path

        folder: Path = get_project_media_path(project=run.project, run=run.name, step=step)
    except CHANGED:  # then where it has always been
        folder = data_directory() / "media" / run.project / run.name / str(step)
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def shown(path: Path, caption: str | None) -> dict[str, Any]:
    """The value by which a row shows a page of HTML that lies there."""
    from trackio import utils

    media = getattr(utils, "MEDIA_DIR", data_directory() / "media")
    where = str(path.relative_to(media))
    return {"_type": "trackio.html", "file_path": where, "caption": caption}


class Inbox(Local):
    """Trackio's jsonl mode, for directories where SQLite's locks cannot be trusted."""

    recalls = False

    def __init__(self) -> None:
        from trackio.fragments import FragmentWriter

        super().__init__()
        self._writer = FragmentWriter()

    def note(self, run: Identity) -> str | None:
        return None

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


def _commit(run: Identity, record: ArtifactRecord) -> None:
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


def manifest_of(project: str, record: ArtifactRecord) -> Any:
    """What Trackio keeps of an artifact's files, which are copied."""
    return artifact_of(record)._build_manifest(project)
