"""Delivers the journal to Trackio: in bulk, idempotently, off the caller's thread.

The only file that imports trackio, and only on the delivering thread. A run of ours is not a
``trackio.Run``: that one costs a thread and two monitors per run, sends its config once, and loses what
a server did not take. Here a :class:`Channel` per destination holds one journal and one thread; what is
in the journal is written under the run's own id, each record under an id of its own, so that nothing is
lost and nothing doubled however often it is tried.

Private names of Trackio that are used here, each with the test that fails when Trackio changes it
(tests/sinks/test_trackio_contract.py):

- ``sqlite_storage.SQLiteStorage.bulk_log / bulk_log_system / bulk_alert``: the public ``Run.log`` cannot set
  a log id, a time, or a second config. ``commit_artifact_version``: ``Run.log_artifact`` needs a Run.
- ``sqlite_storage.SQLiteStorage.get_run_config``: to go on with the config of a run opened elsewhere.
- ``artifact.Artifact._build_manifest``: same reason.
- ``fragments.FragmentWriter`` and the ``*_record`` functions: Trackio's jsonl mode.
- ``media.utils.get_project_media_path``, ``utils.MEDIA_DIR``: media under names of our own, so that a second
  try overwrites instead of doubling.
- ``remote_client.RemoteClient`` and the API names ``/bulk_log``, ``/bulk_log_system``, ``/bulk_alert``,
  ``/bulk_upload_media``, ``/check_artifact_blobs``, ``/bulk_upload_artifact_blob``, ``/artifact_log``, which
  Trackio's clients in other languages use too.
- ``deploy.resolve_auto_bucket_id``, ``deploy.create_space_if_not_exists`` and
  ``utils.preprocess_space_and_dataset_ids``: what ``trackio.init`` does before it logs to a Space.
- ``context_vars.current_run`` and the run's ``_server_base_url``, ``_space_id``, ``_write_token``: to find
  and join the run that the user opened himself.
- the config keys ``_Group``, ``_Created``, ``_Username``, which the dashboard reads.
- ``cpu.collect_cpu_metrics``, ``gpu.collect_gpu_metrics``: Trackio's own names for the machine's load.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see below
import contextlib
import functools
import logging
import os
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from autolog.capture.figures import Chart, render
from autolog.sinks import Record
from autolog.sinks.journal import Journal, Tail, left_journals

__all__ = ["AmbientRun", "Destination", "TrackioSink", "ambient_run", "data_directory"]

logger = logging.getLogger("autolog")

# concurrent.futures.thread refuses to be imported once the interpreter is shutting down, and Trackio's import
# brings it along. A program that ends at once imports Trackio then: so it is imported here, before.

DELIVER_SECONDS = 0.5
REQUEST_SECONDS = 10.0
LONGEST_PAUSE = 30.0
SWEEP_SECONDS = 5.0

Destination = tuple[str, str]
"""``("local", "")``, ``("server", "https://host")`` or ``("space", "user/space")``."""


def data_directory() -> Path:
    """Trackio's directory here: the one it has fixed if it is imported, else the one it will take."""
    utils = sys.modules.get("trackio.utils")
    if utils is not None and hasattr(utils, "TRACKIO_DIR"):
        return Path(utils.TRACKIO_DIR)
    if os.environ.get("TRACKIO_DIR"):
        return Path(os.environ["TRACKIO_DIR"])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return Path(os.path.expandvars(os.path.expanduser(home))) / "trackio"


class TrackioSink:
    """The process's way to Trackio: a channel per destination."""

    def __init__(self, tokens: Callable[[Destination], str | None] | None = None):
        self.private = True
        self._channels: dict[Destination, Channel] = {}
        self._of_run: dict[str, Channel] = {}
        self._lock = threading.Lock()
        self._tokens = tokens or (lambda destination: None)
        self.write_through = False

    def write(self, record: Record) -> None:
        """See :class:`autolog.sinks.Sink`.

        Raises:
            OSError: at a run's opening, when the journal cannot be made.
        """
        if record["kind"] == "open":
            self._of_run[record["run"]] = self._channel(tuple(record["to"]))
        self._of_run[record["run"]].journal.append(record)

    def stage(self, run_id: str) -> Path:
        """See :class:`autolog.sinks.Sink`."""
        folder = data_directory() / "autolog" / "files" / run_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sync(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        end = time.monotonic() + timeout
        synced = [channel.journal.sync(max(0.0, end - time.monotonic())) for channel in self._all()]
        return all(synced)

    def deliver(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        end = time.monotonic() + timeout
        waits = [channel.ask() for channel in self._all()]
        arrived = [wait(max(0.0, end - time.monotonic())) for wait in waits]
        return all(arrived)

    def close(self, timeout: float) -> bool:
        """Deliver and remove what is delivered; what is not stays in the journal for the next process."""
        done = self.deliver(timeout)
        for channel in self._all():
            channel.close()
        self._channels.clear()
        self._of_run.clear()
        return done

    def release(self) -> None:
        """Give up the journals without delivering: another process of this family will."""
        for channel in self._all():
            channel.journal.close()
        self._channels.clear()
        self._of_run.clear()

    def abandon(self) -> None:
        """In a forked child: the journals and threads are the parent's."""
        for channel in self._all():
            channel.journal.abandon()
        self._channels.clear()
        self._of_run.clear()
        self._lock = threading.Lock()

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """See :class:`autolog.sinks.Sink`. A local URL answers while ``trackio show`` runs."""
        channel = self._of_run.get(run_id)
        kind, where = channel.destination if channel is not None else ("local", "")
        port = os.environ.get("GRADIO_SERVER_PORT", "7860")  # where `trackio show` begins to look
        base = {"local": f"http://127.0.0.1:{port}", "server": where}.get(kind) or _space_url(where)
        query = urlencode({"project": project, "selected_run_id": run_id, "selected_run": name})
        return f"{base}/run?{query}"

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        from trackio import cpu, gpu

        values: dict[str, float] = dict(cpu.collect_cpu_metrics())
        if gpu.gpu_available():
            values.update(gpu.collect_gpu_metrics())
        return values

    def writer_seconds(self, run_id: str) -> float:
        """See :class:`autolog.sinks.Sink`."""
        channel = self._of_run.get(run_id)
        return channel.seconds.get(run_id, 0.0) if channel is not None else 0.0

    def _all(self) -> list[Channel]:
        return list(self._channels.values())

    def _channel(self, destination: Destination) -> Channel:
        with self._lock:
            if destination not in self._channels:
                place = functools.partial(_place_for, destination, self._tokens(destination), self.private)
                self._channels[destination] = Channel(destination, place, write_through=self.write_through)
            return self._channels[destination]


class Channel:
    """One destination: its journal, and the thread that delivers it.

    Args:
        place: makes the :class:`_Place`; called on the thread that delivers, since it imports Trackio.
    """

    def __init__(self, destination: Destination, place: Callable[[], _Place], *, write_through: bool = False):
        self.destination = destination
        self._make_place = place
        self.directory = data_directory() / "autolog" / "journal"
        self.journal = Journal(self.directory, write_through=write_through)
        self.journal.append({"kind": "journal", "run": "", "to": list(destination)})
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._runs: dict[str, _RunState] = {}
        self._delivered = Tail(self.journal.path)
        self._asked: list[threading.Event] = []
        self._wake = threading.Event()
        self._closed = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        if not write_through:
            self._thread = threading.Thread(target=self._loop, name="autolog-deliver", daemon=True)
            self._thread.start()

    @functools.cached_property
    def _place(self) -> _Place:
        return self._make_place()

    def ask(self) -> Callable[[float], bool]:
        """Ask for everything appended so far to be delivered; returns how to wait for it."""
        if self._thread is None:
            return self.journal.sync
        done = threading.Event()

        def wait(timeout: float) -> bool:
            end = time.monotonic() + timeout
            if not self.journal.sync(timeout):
                return False
            self._asked.append(done)
            self._wake.set()
            return done.wait(max(0.0, end - time.monotonic()))

        return wait

    def close(self) -> None:
        """Give up the journal; remove it if all of it is delivered and every run in it has ended."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=0.2)
        self.journal.close()
        whole = self._delivered.offset >= self.journal.path.stat().st_size
        if whole and not any(run.running for run in self._runs.values()):
            _remove(self.journal.path)

    def _loop(self) -> None:
        last_sweep = 0.0
        while not self._closed:
            asked, self._asked = self._asked, []
            try:
                self._deliver(self._delivered)
                if asked or time.monotonic() - last_sweep > SWEEP_SECONDS:
                    self._sweep()
                    last_sweep = time.monotonic()
                self._failures = 0
                for done in asked:
                    done.set()
            except Exception as error:
                self._failures += 1
                self._asked = asked + self._asked
                _say_once(self.destination, error)
            self._wake.wait(_pause(self._failures))
            self._wake.clear()

    def _deliver(self, delivered: Tail) -> None:
        """Deliver what stands behind ``delivered``, and move it on: only over what has arrived."""
        place = self._place
        while True:
            ahead = Tail(delivered.path, delivered.offset)
            records = ahead.read()
            if ahead.offset == delivered.offset:
                return
            self._deliver_batch(records, delivered.path, place)
            delivered.offset = ahead.offset
            _cursor(delivered.path).write_text(str(delivered.offset))

    def _deliver_batch(self, records: list[Record], journal: Path, place: _Place) -> None:
        # After a failure the same batch comes again: taking a record twice must change nothing.
        before = time.thread_time()
        batches: dict[str, _Batch] = {}
        for record in records:
            run = self._state(record, journal)
            if run is not None:
                run.take(record)
                batches.setdefault(run.id, _Batch(run)).take(record)
        for batch in batches.values():
            batch.deliver(place)
        spent = time.thread_time() - before
        total = sum(batch.size for batch in batches.values()) or 1
        for run_id, batch in batches.items():
            self.seconds[run_id] += spent * batch.size / total

    def _state(self, record: Record, journal: Path) -> _RunState | None:
        run = self._runs.get(record["run"])
        if run is None and record["kind"] == "open":
            run = self._runs[record["run"]] = _RunState(record)
            if record["joined"]:
                run.config.update(self._place.config(run) or {})
        if run is not None and record["kind"] == "open" and not record["joined"]:
            run.journal = journal
            run.running = True
        return run

    def _sweep(self) -> None:
        """Deliver what processes that are gone have left for this destination."""
        left = list(left_journals(self.directory))
        try:
            for path, _ in left:
                if _destination_of(path) == self.destination:
                    self._deliver_left(path)
                    _remove(path)
        finally:
            for _, file in left:
                file.close()

    def _deliver_left(self, path: Path) -> None:
        tail = Tail(path)
        try:
            delivered = int(_cursor(path).read_text())
        except (OSError, ValueError):
            delivered = 0
        while tail.offset < delivered and (records := tail.read(delivered - tail.offset)):
            for record in records:
                if (run := self._state(record, path)) is not None:
                    run.take(record)
        self._deliver(tail)
        for run in list(self._runs.values()):
            if run.journal == path and run.running and not run.adopted:
                self._mark_crashed(run)

    def _mark_crashed(self, run: _RunState) -> None:
        now = time.time()
        finish = {"kind": "finish", "run": run.id, "time": now, "status": "crashed"}
        alert = {
            "kind": "alert",
            "run": run.id,
            "id": f"{run.id}-crashed",
            "time": now,
            "step": run.last_step,
            "title": f"{run.name} crashed",
            "text": "Its process ended without finishing it. What was recorded until then is here.",
            "level": "error",
        }
        assert run.journal is not None
        self._deliver_batch([alert, finish], run.journal, self._place)


# What is put together for delivery ------------------------------------------------------------------


class _RunState:
    """What delivery must remember of a run: who it is, and its whole config."""

    def __init__(self, record: Record):
        self.id: str = record["run"]
        self.project: str = record["project"]
        self.name: str = record["name"]
        self.joined: bool = record["joined"]
        self.adopted: bool = record["adopted"]
        self.journal: Path | None = None  # the one whose process owns the run
        self.running = False
        self.last_step = 0
        self.config: dict[str, Any] = {}
        if not self.adopted:  # the user's own run has its own
            self.config = {
                "_Username": None,
                "_Created": _iso(record["time"]),
                "_Group": record["group"],
            }

    def ordered_config(self) -> dict[str, Any]:
        """The config as a person reads it: what one groups by first, the long tail after it."""
        return dict(sorted(self.config.items(), key=lambda item: isinstance(item[1], (dict, list))))

    def take(self, record: Record) -> None:
        if record["kind"] == "config":
            values = dict(record["values"])
            if "group" in values:
                self.config["_Group"] = values.pop("group")
            self.config.update(values)
        elif record["kind"] == "finish":
            self.running = False
            self.config["status"] = record["status"]
        elif record["kind"] == "row":
            self.last_step = max(self.last_step, record["step"])


class _Batch:
    """One run's records of one batch."""

    def __init__(self, run: _RunState):
        self.run = run
        self.size = 0
        self.config_changed = False
        self.rows: list[Record] = []
        self.pictures: list[Record] = []
        self.system: list[Record] = []
        self.alerts: list[Record] = []
        self.artifacts: list[Record] = []

    def take(self, record: Record) -> None:
        self.size += 1
        kind = record["kind"]
        if kind in ("open", "config", "finish"):
            self.config_changed = self.config_changed or not (self.run.joined and kind == "open")
        else:
            {
                "row": self.rows,
                "chart": self.pictures,
                "html": self.pictures,
                "system": self.system,
                "alert": self.alerts,
                "artifact": self.artifacts,
            }[kind].append(record)

    def deliver(self, place: _Place) -> None:
        run = self.run
        rows = [
            {
                **row,
                "values": {k: _table(v) if isinstance(v, list) else v for k, v in row["values"].items()},
            }
            for row in self.rows
        ]
        for picture in self.pictures:
            row = self._attempt(_picture, place, run, picture)
            if row is not None:
                rows.append(row)
        if self.config_changed and not rows:
            # A run is what has a row: its first is empty, and always the same one.
            rows.append(_row(f"{run.id}-0", 0.0, 0, {}))
        if rows:
            place.rows(run, rows, run.ordered_config() if self.config_changed else None)
        if self.system:
            place.system(run, self.system)
        if self.alerts:
            place.alerts(run, self.alerts)
        for artifact in self.artifacts:
            self._attempt(_artifact, place, run, artifact)

    def _attempt(
        self, do: Callable[[_Place, _RunState, Record], Any], place: _Place, run: _RunState, record: Record
    ) -> Any:
        """One picture or artifact that cannot be made must not keep the rest from arriving."""
        try:
            return do(place, run, record)
        except Exception as error:
            if _is_transient(error):
                raise
            what = str(record.get("key") or record.get("name"))
            why = f"{type(error).__name__}: {error}"
            logger.warning("autolog: %s %r of run %s was lost: %s", record["kind"], what, run.name, why)
            run.config["autolog/lost"] = {**run.config.get("autolog/lost", {}), what: why}
            place.rows(run, [_row(f"{run.id}-0", 0.0, 0, {})], run.ordered_config())
            return None


def _row(log_id: str, at: float, step: int, values: dict[str, Any]) -> Record:
    return {"id": log_id, "time": at or time.time(), "step": step, "values": values}


def _table(rows: list[Any]) -> dict[str, Any]:
    return {"_type": "trackio.table", "_value": rows}


_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><style>body{{margin:0;background:#fff;'
    "font-family:system-ui,sans-serif}}svg{{max-width:100%;max-height:100vh;display:block;margin:auto}}</style></head><body>{}</body></html>"
)


def _picture(place: _Place, run: _RunState, record: Record) -> Record:
    """Draw a chart (here, on the delivering thread) and put it where the dashboard looks for it."""
    text = record["text"] if record["kind"] == "html" else render(Chart(**record["chart"]))
    page = text if text.lstrip()[:5].lower() in ("<!doc", "<html") else _PAGE.format(text)
    where = place.media(run, record["step"], f"{record['id']}.html", page)
    value = {"_type": "trackio.html", "file_path": where, "caption": record.get("caption")}
    return _row(record["id"], record["time"], record["step"], {record["key"]: value})


def _artifact(place: _Place, run: _RunState, record: Record) -> None:
    place.artifact(run, record)


# Places ---------------------------------------------------------------------------------------------


class _Place:
    """A destination, as far as delivery needs to know it. Local SQLite is the plain case."""

    def rows(self, run: _RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.bulk_log(
            project=run.project,
            run=run.name,
            run_id=run.id,
            metrics_list=[row["values"] for row in rows],
            steps=[row["step"] for row in rows],
            timestamps=[_iso(row["time"]) for row in rows],
            log_ids=[row["id"] for row in rows],
            config=config,
        )

    def system(self, run: _RunState, rows: list[Record]) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.bulk_log_system(
            project=run.project,
            run=run.name,
            run_id=run.id,
            metrics_list=[row["values"] for row in rows],
            timestamps=[_iso(row["time"]) for row in rows],
            log_ids=[row["id"] for row in rows],
        )

    def alerts(self, run: _RunState, alerts: list[Record]) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.bulk_alert(
            project=run.project,
            run=run.name,
            run_id=run.id,
            titles=[alert["title"] for alert in alerts],
            texts=[alert["text"] for alert in alerts],
            levels=[alert["level"] for alert in alerts],
            steps=[alert["step"] for alert in alerts],
            timestamps=[_iso(alert["time"]) for alert in alerts],
            alert_ids=[alert["id"] for alert in alerts],
        )

    def media(self, run: _RunState, step: int, name: str, text: str) -> str:
        """Put a file where the dashboard looks for it; returns the path that a row refers to it by."""
        from trackio.media.utils import get_project_media_path
        from trackio.utils import MEDIA_DIR

        path = get_project_media_path(project=run.project, run=run.name, step=step) / name
        path.write_text(text, encoding="utf-8")
        return str(path.relative_to(MEDIA_DIR))

    def artifact(self, run: _RunState, record: Record) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        SQLiteStorage.commit_artifact_version(
            project=run.project,
            name=record["name"],
            type=record["type"],
            description=record.get("description"),
            manifest=_manifest(run.project, record),
            metadata=record["metadata"],
            aliases=record["aliases"],
            run_name=run.name,
            run_id=run.id,
        )
        _discard_staged(record)

    def config(self, run: _RunState) -> dict[str, Any] | None:
        """The config that stands there already."""
        from trackio.sqlite_storage import SQLiteStorage

        config: dict[str, Any] | None = SQLiteStorage.get_run_config(run.project, run.name, run_id=run.id)
        return config


class _Inbox(_Place):
    """Trackio's jsonl mode, for directories where SQLite's locks cannot be trusted."""

    def __init__(self) -> None:
        from trackio.fragments import FragmentWriter

        self._writer = FragmentWriter()

    def rows(self, run: _RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        from trackio.fragments import metric_record

        entries = [
            {**_entry(run, row), "metrics": row["values"], "step": row["step"], "log_id": row["id"]}
            for row in rows
        ]
        entries[-1]["config"] = config
        self._writer.write_local([metric_record(entry) for entry in entries])

    def system(self, run: _RunState, rows: list[Record]) -> None:
        from trackio.fragments import system_metric_record

        self._writer.write_local(
            [
                system_metric_record({**_entry(run, row), "metrics": row["values"], "log_id": row["id"]})
                for row in rows
            ]
        )

    def alerts(self, run: _RunState, alerts: list[Record]) -> None:
        from trackio.fragments import alert_record

        self._writer.write_local([alert_record(_alert_entry(run, alert)) for alert in alerts])


class _Remote(_Place):
    """A self-hosted server or a Space, over Trackio's HTTP API."""

    def __init__(self, destination: Destination, token: str | None, private: bool):
        self._kind, self._where = destination
        self._token = token
        self._private = private
        self._client_made: Any = None

    def _call(self, api_name: str, /, **arguments: Any) -> Any:
        try:
            return self._client().predict(api_name=api_name, hf_token=self._hf_token(), **arguments)
        except Exception:
            self._client_made = None  # the next try begins with a new connection
            raise

    def _client(self) -> Any:
        if self._client_made is None:
            from trackio.remote_client import RemoteClient

            if self._kind == "server" and not self._token:
                raise PermissionError(
                    f"{self._where} needs a write token: put write_token into the URL, "
                    "or set TRACKIO_WRITE_TOKEN"
                )
            try:
                if self._kind == "space":
                    self._prepare_space()
                self._client_made = RemoteClient(
                    self._where,
                    hf_token=self._hf_token(),
                    write_token=self._token if self._kind == "server" else None,
                    httpx_kwargs={"timeout": REQUEST_SECONDS},
                )
            except Exception as error:
                # Whatever it is called: nobody has been spoken to yet, so nothing has been refused.
                raise ConnectionError(str(error)) from error
        return self._client_made

    def _prepare_space(self) -> None:
        """Make the Space, private unless told otherwise, with a bucket that keeps its data."""
        from trackio import deploy, utils

        space, _, bucket = utils.preprocess_space_and_dataset_ids(self._where, None, None)
        bucket = deploy.resolve_auto_bucket_id(space, bucket)
        deploy.create_space_if_not_exists(space, None, bucket, self._private)

    def _hf_token(self) -> str | None:
        if self._kind != "space":
            return None
        import huggingface_hub

        token: str | None = self._token or huggingface_hub.get_token()
        return token

    def rows(self, run: _RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        entries = [
            {**_entry(run, row), "metrics": row["values"], "step": row["step"], "log_id": row["id"]}
            for row in rows
        ]
        # A server keeps the first config of a request, so only one is sent: the last.
        entries[0]["config"] = config
        for part in _parts(entries):
            self._call("/bulk_log", logs=part)

    def system(self, run: _RunState, rows: list[Record]) -> None:
        entries = [{**_entry(run, r), "metrics": r["values"], "log_id": r["id"]} for r in rows]
        for part in _parts(entries):
            self._call("/bulk_log_system", logs=part)

    def alerts(self, run: _RunState, alerts: list[Record]) -> None:
        self._call("/bulk_alert", alerts=[_alert_entry(run, alert) for alert in alerts])

    def media(self, run: _RunState, step: int, name: str, text: str) -> str:
        from gradio_client import handle_file

        # The same path here and there: the row refers to it, and the server stores it by its name.
        where = super().media(run, step, name, text)
        from trackio.utils import MEDIA_DIR

        path = MEDIA_DIR / where
        try:
            upload = {
                "project": run.project,
                "run": run.name,
                "run_id": run.id,
                "step": step,
                "relative_path": None,
                "uploaded_file": handle_file(str(path)),
            }
            self._call("/bulk_upload_media", uploads=[upload])
        finally:
            path.unlink(missing_ok=True)
        return where

    def artifact(self, run: _RunState, record: Record) -> None:
        from gradio_client import handle_file
        from trackio import cas, references

        manifest = _manifest(run.project, record)
        digests = [e["digest"] for e in manifest if not references.is_reference_entry(e)]
        answer = self._call("/check_artifact_blobs", project=run.project, digests=digests)
        missing = set(digests) - set((answer or {}).get("present", []))
        for digest in sorted(missing):
            blob = handle_file(str(cas.blob_path(run.project, digest)))
            upload = {"digest": digest, "uploaded_file": blob}
            self._call("/bulk_upload_artifact_blob", project=run.project, uploads=[upload])
        self._call(
            "/artifact_log",
            project=run.project,
            name=record["name"],
            type=record["type"],
            description=record.get("description"),
            metadata=record["metadata"],
            manifest=manifest,
            aliases=record["aliases"],
            run_name=run.name,
            run_id=run.id,
        )
        _discard_staged(record)

    def config(self, run: _RunState) -> dict[str, Any] | None:
        summary = self._client().predict(
            api_name="/get_run_summary", project=run.project, run=run.name, run_id=run.id
        )
        config: dict[str, Any] | None = (summary or {}).get("config")
        return config


def _place_for(destination: Destination, token: str | None, private: bool) -> _Place:
    if destination[0] != "local":
        return _Remote(destination, token, private)
    from trackio.utils import get_storage_mode

    return _Inbox() if get_storage_mode() == "jsonl" else _Place()


# Small things ---------------------------------------------------------------------------------------


def _entry(run: _RunState, record: Record) -> dict[str, Any]:
    return {
        "project": run.project,
        "run": run.name,
        "run_id": run.id,
        "timestamp": _iso(record["time"]),
    }


def _alert_entry(run: _RunState, alert: Record) -> dict[str, Any]:
    fields = {key: alert[key] for key in ("title", "text", "level", "step")}
    return {**_entry(run, alert), **fields, "alert_id": alert["id"]}


def _manifest(project: str, record: Record) -> Any:
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


def _discard_staged(record: Record) -> None:
    if record["staged"]:
        for path in record["files"].values():
            with contextlib.suppress(OSError):
                os.unlink(path)
                os.rmdir(os.path.dirname(path))  # goes with the last file in it


def _parts(entries: list[dict[str, Any]], size: int = 2_000) -> Iterable[list[dict[str, Any]]]:
    for start in range(0, len(entries), size):
        yield entries[start : start + size]


def _is_transient(error: BaseException) -> bool:
    """Whether trying again may help: the disk, a lock, the network; not a value that nobody takes."""
    if isinstance(error, FileNotFoundError):
        return False
    return isinstance(error, (OSError, sqlite3.OperationalError)) or type(error).__module__.startswith(
        ("httpx", "httpcore", "huggingface_hub")
    )


def _pause(failures: int) -> float:
    pause: float = DELIVER_SECONDS * 2 ** min(failures, 8)
    return min(LONGEST_PAUSE, pause)


_said: set[Destination] = set()


def _say_once(destination: Destination, error: Exception) -> None:
    if destination not in _said:
        _said.add(destination)
        logger.warning(
            "autolog: records cannot be delivered to %s now (%s: %s). They are kept on disk and tried again.",
            destination[1] or "the local Trackio database",
            type(error).__name__,
            error,
        )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _cursor(journal: Path) -> Path:
    return journal.with_suffix(".delivered")


def _remove(journal: Path) -> None:
    for path in (journal, _cursor(journal)):
        with contextlib.suppress(OSError):
            path.unlink()


def _destination_of(journal: Path) -> Destination | None:
    for record in Tail(journal).read(4096):
        if record["kind"] == "journal":
            kind, where = record["to"]
            return kind, where
    return None


def _space_url(space: str) -> str:
    user, _, name = space.partition("/")
    return f"https://{user}-{name}".lower().replace("_", "-").replace(".", "-") + ".hf.space"


# The user's own Trackio run -------------------------------------------------------------------------


class AmbientRun:
    """A ``trackio.Run`` that the user, or another integration, has opened in this context."""

    def __init__(self, run: Any):
        self._run = run
        self._ours: set[str] = set()
        self.id: str = run.id
        self.name: str = run.name
        self.project: str = run.project
        self.group: str | None = run.group
        self.token: str | None = getattr(run, "_write_token", None)
        space, server = getattr(run, "_space_id", None), getattr(run, "_server_base_url", None)
        self.destination: Destination = (
            ("space", space) if space else ("server", server) if server else ("local", "")
        )

    @property
    def config(self) -> dict[str, Any]:
        """Its config as it stands; ours are added to it, so that whoever writes last writes both."""
        config: dict[str, Any] = self._run.config
        return config

    def add_config(self, values: dict[str, Any]) -> dict[str, Any]:
        """Add keys that the user has not set; returns what was added."""
        added = {k: v for k, v in values.items() if k not in self.config or k in self._ours}
        self.config.update(added)
        self._ours.update(added)
        return added


def ambient_run() -> AmbientRun | None:
    """The Trackio run open in this context, without importing Trackio to find out."""
    variables = sys.modules.get("trackio.context_vars")
    if variables is None:
        return None
    run = variables.current_run.get()
    return AmbientRun(run) if run is not None else None
