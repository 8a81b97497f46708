"""A sink that keeps records in memory: for our tests and the users' own."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from autolog.sinks import Record

__all__ = ["MemoryRun", "MemorySink"]


class MemoryRun:
    """One run, put together from its records.

    Attributes:
        id, name, project, group, parent: as given at the opening.
        status: of the last ``finish`` record, else ``"running"``.
        config: all config values, the last of a key.
        rows: ``(step, values)`` in order.
        tables, charts, html: by key, the last one.
        drawn: ``(step, key)`` of every chart, in order.
        alerts, artifacts, system: records in order.
    """

    def __init__(self, record: Record):
        self.id: str = record["run"]
        self.name: str = record["name"]
        self.project: str = record["project"]
        self.group: str | None = record["group"]
        self.parent: str | None = record["parent"]
        self.status = "running"
        self.config: dict[str, Any] = {}
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.charts: dict[str, dict[str, Any]] = {}
        self.drawn: list[tuple[int, str]] = []
        self.html: dict[str, str] = {}
        self.alerts: list[Record] = []
        self.artifacts: list[Record] = []
        self.system: list[dict[str, float]] = []

    @property
    def metrics(self) -> dict[str, Any]:
        """The last value of every metric."""
        return {key: value for _, values in self.rows for key, value in values.items()}

    def values(self, key: str) -> list[Any]:
        """Every value of one metric, in order."""
        return [values[key] for _, values in self.rows if key in values]

    def __repr__(self) -> str:
        return f"<MemoryRun {self.name} {self.status}>"

    def _take(self, record: Record) -> None:
        kind = record["kind"]
        if kind == "config":
            self.config.update(record["values"])
            self.status = self.config.get("status", self.status)
        elif kind == "row":
            values = dict(record["values"])
            for key in [key for key, value in values.items() if isinstance(value, list)]:
                self.tables[key] = values.pop(key)
            if values:
                self.rows.append((record["step"], values))
        elif kind == "chart":
            self.charts[record["key"]] = record["chart"]
            self.drawn.append((record["step"], record["key"]))
        elif kind == "html":
            self.html[record["key"]] = record["text"]
        elif kind == "alert":
            self.alerts.append(record)
        elif kind == "artifact":
            self.artifacts.append(record)
        elif kind == "system":
            self.system.append(record["values"])
        elif kind == "finish":
            self.status = record["status"]


class MemorySink:
    """Keeps every record.

    Example:
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

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """See :class:`autolog.sinks.Sink`."""
        return None

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        import psutil

        return {"cpu/utilization": psutil.cpu_percent()}
