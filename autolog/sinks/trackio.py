"""Delivers the journal to Trackio: in bulk, idempotently, in another process.

The only file that imports trackio, and only there (see helper.py). A run of ours is not a
``trackio.Run``: that one costs a thread and two monitors per run, sends its config once, and loses what
a server did not take. How delivery goes is in delivery.py; here are the places it goes to.

Private names of Trackio that are used here, each with the test that fails when Trackio changes it
(tests/sinks/test_trackio_contract.py):

- ``sqlite_storage.SQLiteStorage.init_db`` and the columns of its tables ``metrics``, ``configs``,
  ``system_metrics``, ``alerts``: the public ``Run.log`` cannot set a log id, a time, or a second config.
- ``SQLiteStorage.commit_artifact_version``: ``Run.log_artifact`` needs a Run.
- ``SQLiteStorage.get_run_config``: to go on with the config of a run opened elsewhere.
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
import functools
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson

from autolog.sinks import Record
from autolog.sinks.delivery import Channel, Destination, Place, RunState, birth_of, iso
from autolog.sinks.helper import Helper, import_paths

__all__ = ["AmbientRun", "TrackioSink", "ambient_run", "data_directory"]

# concurrent.futures.thread refuses to be imported once the interpreter is shutting down, and Trackio's import
# brings it along. A program that ends at once imports Trackio then: so it is imported here, before.

REQUEST_SECONDS = 10.0
SAMPLE_SECONDS = 2.0  # that a sample of the machine's load waits for the helper


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
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._tokens = tokens or (lambda destination: None)
        self._closed = False
        self.write_through = False
        self.unwritten = 0  # records that no disk has taken by the end

    def write(self, record: Record) -> None:
        """See :class:`autolog.sinks.Sink`.

        Raises:
            OSError: at a run's opening, when the journal cannot be made.
        """
        if self._closed:  # the process is ending: a thread of the user's that still logs is not told off
            return
        channel = self._of_run.get(record["run"]) or self._channel_of(record["run"])
        if record["kind"] == "open":
            to: Destination = tuple(record["to"])
            if channel is None or channel.destination != to:
                channel = self._of_run[record["run"]] = self._channel(to)
        if channel is None:
            raise KeyError(f"run {record['run']} has not been opened here")
        channel.journal.append(record)

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
        self._closed = True
        for channel in self._all():
            channel.close()
            self.unwritten += channel.journal.waiting
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
        self._lock = threading.RLock()

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """See :class:`autolog.sinks.Sink`. A local URL answers while ``trackio show`` runs."""
        channel = self._channel_of(run_id)
        kind, where = channel.destination if channel is not None else ("local", "")
        port = os.environ.get("GRADIO_SERVER_PORT", "7860")  # where `trackio show` begins to look
        base = {"local": f"http://127.0.0.1:{port}", "server": where}.get(kind) or _space_url(where)
        query = urlencode({"project": project, "selected_run_id": run_id, "selected_run": name})
        return f"{base}/run?{query}"

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        for channel in self._all():
            if not channel.helper.is_busy(SAMPLE_SECONDS):  # with an upload, say: then with another one's
                values: dict[str, float] = channel.helper.ask(_load_of_the_machine)
                return values
        return {}

    def journal_of(self, run_id: str) -> Path | None:
        """The journal that this run is written to."""
        channel = self._channel_of(run_id)
        return channel.journal.path if channel is not None else None

    @staticmethod
    def _journals() -> Path:
        return data_directory() / "autolog" / "journal"

    def _all(self) -> list[Channel]:
        return list(self._channels.values())

    def _channel_of(self, run_id: str) -> Channel | None:
        """The run's channel. Nearly always there is one for all, and no run has to be remembered."""
        return self._of_run.get(run_id) or next(iter(self._channels.values()), None)

    def _channel(self, destination: Destination) -> Channel:
        with self._lock:
            if destination not in self._channels:
                token = functools.partial(self._tokens, destination)
                helper = Helper({"TRACKIO_DIR": str(data_directory())})
                place = functools.partial(_Elsewhere, helper, destination, token, self.private)
                channel = Channel(
                    destination, self._journals(), place, helper, write_through=self.write_through
                )
                if self._channels.setdefault(destination, channel) is not channel:
                    channel.close()  # a signal handler was faster
            return self._channels[destination]


def _load_of_the_machine() -> dict[str, float]:
    from trackio import cpu, gpu

    values: dict[str, float] = dict(cpu.collect_cpu_metrics())
    if gpu.gpu_available():
        values.update(gpu.collect_gpu_metrics())
    return values


# Places ---------------------------------------------------------------------------------------------


class _Named(NamedTuple):
    """Of a run what its records need at a place."""

    id: str
    name: str
    project: str


class _Elsewhere:
    """A place as another process has it: Trackio is imported there, and written to from there."""

    def __init__(
        self, helper: Helper, destination: Destination, token: Callable[[], str | None], private: bool
    ):
        self._helper = helper
        self._destination, self._token, self._private = destination, token, private
        self.recalls: bool = self._ask("recalls")

    def _ask(self, what: str, run: RunState | None = None, *args: Any) -> Any:
        named = () if run is None else (_Named(run.id, run.name, run.project), *args)
        # The token goes with each question: as it is known now, and through a pipe, where nobody sees it.
        return self._helper.ask(_at_place, self._destination, self._token(), self._private, what, named)

    def rows(self, run: RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        self._ask("rows", run, rows, config)

    def system(self, run: RunState, rows: list[Record]) -> None:
        self._ask("system", run, rows)

    def alerts(self, run: RunState, alerts: list[Record]) -> None:
        self._ask("alerts", run, alerts)

    def media(self, run: RunState, step: int, name: str, text: str) -> str:
        where: str = self._ask("media", run, step, name, text)
        return where

    def artifact(self, run: RunState, record: Record) -> None:
        self._ask("artifact", run, record)

    def config(self, run: RunState) -> dict[str, Any] | None:
        config: dict[str, Any] | None = self._ask("config", run)
        return config


_here: dict[tuple[int, Destination], Place] = {}  # in the process that has the places
_tokens_here: dict[Destination, str | None] = {}


def _at_place(
    destination: Destination, token: str | None, private: bool, what: str, args: tuple[Any, ...]
) -> Any:
    """Ask a place that lives in this process."""
    _tokens_here[destination] = token
    here = os.getpid(), destination  # a connection does not survive a fork
    if here not in _here:
        _here[here] = _place_for(destination, functools.partial(_tokens_here.get, destination), private)
    if what == "recalls":
        return _here[here].recalls
    return getattr(_here[here], what)(*args)


class _Database:
    """A project's SQLite file, in Trackio's schema.

    Trackio's own ``bulk_log`` goes through the whole schema and a lock file at every call: 3.3 ms for one row
    of one run. Here Trackio makes the file once; rows then go straight in.
    """

    def __init__(self, project: str):
        from trackio.sqlite_storage import SQLiteStorage

        self.path = SQLiteStorage.init_db(project)
        self._file = os.stat(self.path).st_ino
        self._connection = sqlite3.connect(self.path, timeout=10.0)
        self._connection.execute("PRAGMA synchronous = NORMAL")

    def insert(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with self._connection:  # one transaction
            self._connection.executemany(statement, rows)

    @property
    def is_there(self) -> bool:
        """Whether the file is still the one that was opened: a person may delete a project at any time."""
        try:
            return os.stat(self.path).st_ino == self._file
        except OSError:
            return False


class _Local:
    """Trackio's SQLite files on this machine."""

    recalls = True

    def __init__(self) -> None:
        self._databases: dict[str, _Database] = {}

    def _database(self, project: str) -> _Database:
        database = self._databases.get(project)
        if database is None or not database.is_there:
            database = self._databases[project] = _Database(project)
        return database

    def rows(self, run: RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        database = self._database(run.project)
        database.insert(
            "INSERT OR IGNORE INTO metrics (timestamp, run_id, run_name, step, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(iso(r["time"]), run.id, run.name, r["step"], _json(r["values"]), r["id"]) for r in rows],
        )
        if config is not None:
            database.insert(
                "INSERT OR REPLACE INTO configs (run_id, run_name, config, created_at) VALUES (?, ?, ?, ?)",
                [(run.id, run.name, _json(config), iso(time.time()))],
            )

    def system(self, run: RunState, rows: list[Record]) -> None:
        self._database(run.project).insert(
            "INSERT OR IGNORE INTO system_metrics (timestamp, run_id, run_name, metrics, log_id)"
            " VALUES (?, ?, ?, ?, ?)",
            [(iso(r["time"]), run.id, run.name, _json(r["values"]), r["id"]) for r in rows],
        )

    def alerts(self, run: RunState, alerts: list[Record]) -> None:
        self._database(run.project).insert(
            "INSERT OR IGNORE INTO alerts (timestamp, run_id, run_name, title, text, level, step, alert_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (iso(a["time"]), run.id, run.name, a["title"], a["text"], a["level"], a["step"], a["id"])
                for a in alerts
            ],
        )

    def media(self, run: RunState, step: int, name: str, text: str) -> str:
        """Put a file where the dashboard looks for it; returns the path that a row refers to it by."""
        from trackio.media.utils import get_project_media_path
        from trackio.utils import MEDIA_DIR

        path = get_project_media_path(project=run.project, run=run.name, step=step) / name
        path.write_text(text, encoding="utf-8")
        return str(path.relative_to(MEDIA_DIR))

    def artifact(self, run: RunState, record: Record) -> None:
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

    def config(self, run: RunState) -> dict[str, Any] | None:
        """The config that stands there already."""
        from trackio.sqlite_storage import SQLiteStorage

        config: dict[str, Any] | None = SQLiteStorage.get_run_config(run.project, run.name, run_id=run.id)
        return config


class _Inbox(_Local):
    """Trackio's jsonl mode, for directories where SQLite's locks cannot be trusted."""

    recalls = False

    def __init__(self) -> None:
        from trackio.fragments import FragmentWriter

        super().__init__()
        self._writer = FragmentWriter()

    def rows(self, run: RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        from trackio.fragments import metric_record

        entries = [
            {**_entry(run, row), "metrics": row["values"], "step": row["step"], "log_id": row["id"]}
            for row in rows or [birth_of(run.id)]  # which carries the config
        ]
        entries[-1]["config"] = config
        self._writer.write_local([metric_record(entry) for entry in entries])

    def system(self, run: RunState, rows: list[Record]) -> None:
        from trackio.fragments import system_metric_record

        self._writer.write_local(
            [
                system_metric_record({**_entry(run, row), "metrics": row["values"], "log_id": row["id"]})
                for row in rows
            ]
        )

    def alerts(self, run: RunState, alerts: list[Record]) -> None:
        from trackio.fragments import alert_record

        self._writer.write_local([alert_record(_alert_entry(run, alert)) for alert in alerts])


class _Remote(_Local):
    """A self-hosted server or a Space, over Trackio's HTTP API."""

    def __init__(self, destination: Destination, token: Callable[[], str | None], private: bool):
        super().__init__()
        self._kind, self._where = destination
        self._ask_for_token = token
        self._private = private
        self._client_made: Any = None
        self._at_once = 2_000  # rows per request

    def _call(self, api_name: str, /, **arguments: Any) -> Any:
        """Ask the server.

        Raises:
            OSError: it is away, or does not let us in: all is kept, and tried again.
            Exception: it has read this, and does not take it.
        """
        client = self._client()
        try:
            return client.predict(api_name=api_name, hf_token=self._hf_token(), **arguments)
        except Exception as error:
            self._client_made = None  # the next try begins with a new connection
            raise self._understood(api_name, error) from error

    def _understood(self, api_name: str, error: Exception) -> Exception:
        """What an answer means. A proxy before a server that is away gives 404, 502 or a page of its own."""
        answer = getattr(error, "response", None)
        if answer is None:
            if isinstance(error, RuntimeError) and "does not support" in str(error):  # a 404
                if self._is_trackio():
                    return NotImplementedError(f"the server's Trackio knows no {api_name}: it is too old")
                return ConnectionError(f"{self._where} knows no {api_name}: is this a Trackio server?")
            return ConnectionError(str(error)) if isinstance(error, json.JSONDecodeError) else error
        try:
            said = str(answer.json()["error"])
        except (ValueError, KeyError, TypeError):
            said = ""
        if answer.status_code == 413:  # too large for a proxy: in parts it may pass
            return ValueError(f"{self._where} takes no request of this size")
        # Trackio answers 400 to what it checks, a write token among it, and 500 to any other fault.
        if said and answer.status_code in (400, 422, 500) and "write_token" not in said:
            return ValueError(said)
        return ConnectionError(said or str(error))

    @property
    def _token(self) -> str | None:
        """As it is known now: a wrong one may have been mended since the last try."""
        return self._ask_for_token()

    def _is_trackio(self) -> bool:
        import httpx

        try:
            base = self._where if self._kind == "server" else _space_url(self._where)
            answer = httpx.get(f"{base}/version", timeout=REQUEST_SECONDS)
            return bool(answer.json().get("api_version"))
        except Exception:
            return False

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
        if self._token is None:
            prepare_space(self._where, self._private)
            return
        # Trackio takes the Hub's token from its environment alone. In ours everybody would see it.
        program = "import sys; from autolog.sinks.trackio import prepare_space; "
        program += "prepare_space(sys.argv[1], sys.argv[2] == 'True')"
        paths = os.pathsep.join(import_paths())
        done = subprocess.run(
            [sys.executable, "-c", program, self._where, str(self._private)],
            env={**os.environ, "HF_TOKEN": self._token, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ConnectionError(f"the Space {self._where}: {done.stderr.strip()[-300:]}")

    def _hf_token(self) -> str | None:
        if self._kind != "space":
            return None
        import huggingface_hub

        token: str | None = self._token or huggingface_hub.get_token()
        return token

    def rows(self, run: RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        entries = [
            {**_entry(run, row), "metrics": row["values"], "step": row["step"], "log_id": row["id"]}
            for row in rows or [birth_of(run.id)]  # which carries the config
        ]
        # A server keeps the first config of a request, so only one is sent: the last.
        entries[0]["config"] = config
        self._in_parts("/bulk_log", entries)

    def _in_parts(self, api_name: str, entries: list[dict[str, Any]]) -> None:
        """On a thin line a large request never ends in time: after each that did not, they are smaller."""
        while entries:
            part = entries[: self._at_once]
            try:
                self._call(api_name, logs=part)
            except Exception as error:
                if "Timeout" in type(error).__name__:
                    self._at_once = max(1, len(part) // 2)
                raise
            entries = entries[len(part) :]

    def system(self, run: RunState, rows: list[Record]) -> None:
        entries = [{**_entry(run, r), "metrics": r["values"], "log_id": r["id"]} for r in rows]
        self._in_parts("/bulk_log_system", entries)

    def alerts(self, run: RunState, alerts: list[Record]) -> None:
        self._call("/bulk_alert", alerts=[_alert_entry(run, alert) for alert in alerts])

    def media(self, run: RunState, step: int, name: str, text: str) -> str:
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

    def artifact(self, run: RunState, record: Record) -> None:
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

    def config(self, run: RunState) -> dict[str, Any] | None:
        summary = self._client().predict(
            api_name="/get_run_summary", project=run.project, run=run.name, run_id=run.id
        )
        config: dict[str, Any] | None = (summary or {}).get("config")
        return config


def prepare_space(space_id: str, private: bool) -> None:
    """Make a Space with a bucket, unless it is there, with the Hub's token of this process."""
    from trackio import deploy, utils

    space, _, bucket = utils.preprocess_space_and_dataset_ids(space_id, None, None)
    bucket = deploy.resolve_auto_bucket_id(space, bucket)
    deploy.create_space_if_not_exists(space, None, bucket, private)


def _place_for(destination: Destination, token: Callable[[], str | None], private: bool) -> Place:
    if destination[0] != "local":
        return _Remote(destination, token, private)
    from trackio.utils import get_storage_mode

    return _Inbox() if get_storage_mode() == "jsonl" else _Local()


# Small things ---------------------------------------------------------------------------------------


def _entry(run: RunState, record: Record) -> dict[str, Any]:
    return {
        "project": run.project,
        "run": run.name,
        "run_id": run.id,
        "timestamp": iso(record["time"]),
    }


def _alert_entry(run: RunState, alert: Record) -> dict[str, Any]:
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


def _json(values: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(values)
    except TypeError:  # an integer beyond 64 bits: the slow encoder knows a way
        return json.dumps(values).encode()


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
    def itself(self) -> Any:
        """The ``trackio.Run``."""
        return self._run

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
    return AmbientRun(run) if run is not None and not hasattr(run, "stands_for") else None


def make_current(stand_in: Any) -> Callable[[], None]:
    """Make this Trackio's current run, whatever was; returns how to undo.

    A run that is opened meanwhile stays what it is: somebody else's.
    """
    from trackio.context_vars import current_run

    before = current_run.get()
    current_run.set(stand_in)

    def undo() -> None:
        if current_run.get() in (stand_in, None):
            current_run.set(before)

    return undo
