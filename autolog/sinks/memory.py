"""A sink that keeps records in memory: for our tests and the users' own."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from autolog.capture.chart import Chart
from autolog.capture.made import make
from autolog.capture.summary import MORE
from autolog.sinks import UNSHOWN_TABLE, AlertRecord, ArtifactRecord, MadeRecord, OpenRecord, Record, Sink
from autolog.sinks.identity import Identity

__all__ = ["MemoryRun", "MemorySink"]


class MemoryRun:
    """One run, put together from its records.

    Attributes:
        identity: who it is, as it was opened.
        status: of the last ``finish`` record, else ``"running"``.
        config: all config values, the last of a key.
        rows: ``(step, values)`` in order.
        tables, charts, html: by key, the last one.
        drawn: ``(step, key)`` of every chart, in order.
        alerts, artifacts, system: records in order.
    """

    def __init__(self, record: OpenRecord):
        self.identity = Identity.of_record(record)
        self.status = "running"
        self.config: dict[str, Any] = {}
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.charts: dict[str, dict[str, Any]] = {}
        self.drawn: list[tuple[int, str]] = []
        self.html: dict[str, str] = {}
        self.alerts: list[AlertRecord] = []
        self.artifacts: list[ArtifactRecord] = []
        self.system: list[dict[str, float]] = []

    @property
    def id(self) -> str:
        """As in Trackio."""
        return self.identity.id

    @property
    def name(self) -> str:
        """As in Trackio."""
        return self.identity.name

    @property
    def project(self) -> str:
        """As in Trackio."""
        return self.identity.project

    @property
    def group(self) -> str | None:
        """As it was given at the opening."""
        return self.identity.group

    @property
    def parent(self) -> str | None:
        """The id of the run that it is a child of."""
        return self.identity.parent

    @property
    def metrics(self) -> dict[str, Any]:
        """The last value of every metric, also of those that are no chart."""
        rows = {key: value for _, values in self.rows for key, value in values.items()}
        return {**rows, **self.config.get(MORE, {})}

    def values(self, key: str) -> list[Any]:
        """Every value of one metric, in order."""
        more = self.config.get(MORE, {})
        return [values[key] for _, values in [*self.rows, (0, more)] if key in values]

    def __repr__(self) -> str:
        return f"<MemoryRun {self.name} {self.status}>"

    def _take(self, record: Record) -> None:
        if record["kind"] == "config":
            self.config.update(record["values"])
            self.status = self.config.get("status", self.status)
        elif record["kind"] == "row":
            values = dict(record["values"])
            if not record.get("as_stored"):
                for key in [key for key, value in values.items() if isinstance(value, list)]:
                    self.tables[key] = values.pop(key)
                for key, value in list(values.items()):
                    if isinstance(value, dict) and value.get("_type") == UNSHOWN_TABLE:
                        self.tables[key] = values.pop(key)["_value"]
            if values:
                self.rows.append((record["step"], values))
        elif record["kind"] == "chart":
            self.charts[record["key"]] = record["chart"]
            self.drawn.append((record["step"], record["key"]))
        elif record["kind"] == "html":
            self.html[record["key"]] = record["text"]
        elif record["kind"] == "made":
            self._take_made(record)
        elif record["kind"] == "alert":
            self.alerts.append(record)
        elif record["kind"] == "artifact":
            self.artifacts.append(record)
        elif record["kind"] == "system":
            self.system.append(record["values"])
        elif record["kind"] == "finish":
            self.status = record["status"]

    def _take_made(self, record: MadeRecord) -> None:
        """Made anew by whoever looks at the runs."""
        pieces, failed = make(record["by"], record["given"])
        lost = {part: f"{type(error).__name__}: {error}" for part, error in failed}
        if lost:
            self.config["autolog/lost"] = {**self.config.get("autolog/lost", {}), **lost}
        for piece in pieces:
            if isinstance(piece.value, Chart):
                self.charts[piece.key] = vars(piece.value)
                self.drawn.append((record["step"], piece.key))
            elif isinstance(piece.value, str):
                self.html[piece.key] = piece.value
            elif isinstance(piece.value, list):
                self.tables[piece.key] = piece.value


class MemorySink(Sink):
    """Keeps every record.

    Examples:
        >>> sink = autolog.MemorySink()
        >>> with autolog.enabled("sklearn", sink=sink):
        ...     LogisticRegression().fit(X, y)
        >>> autolog.finish()
        >>> sink.runs[0].config["status"]
        'finished'
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._folder: Path | None = None

    @property
    def runs(self) -> list[MemoryRun]:
        """The runs so far, in the order of their opening."""
        runs: dict[str, MemoryRun] = {}
        with self._lock:
            records = list(self.records)
        for record in records:
            if record["kind"] == "open":
                runs.setdefault(record["run"], MemoryRun(record))
            elif record["run"] in runs:
                runs[record["run"]]._take(record)
        return list(runs.values())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.records.clear()

    def write(self, record: Record) -> None:
        """See :class:`autolog.sinks.Sink`."""
        with self._lock:
            self.records.append(record)

    def stage(self, run_id: str) -> Path:
        """See :class:`autolog.sinks.Sink`."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="autolog-"))
                weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        folder = self._folder / run_id
        folder.mkdir(parents=True, exist_ok=True)  # at the process's end the finalizer may have been first
        return folder

    def sync(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        return True

    def deliver(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        return True

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        import psutil

        return {"cpu/utilization": psutil.cpu_percent()}
