"""Ways to write a project's rows: straight into Trackio's tables, by its own functions, by what it documents.

The first that holds in the installed version is taken. The others are slower, and a run says so. It is looked
at when a project is first written to, so that no version of Trackio has to be held back for our sake.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Protocol

from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row, birth_of
from autolog.sinks.trackio.database import Database, UnknownSchemaError, log_by_trackio
from autolog.sinks.trackio.rows import iso, stored, stored_config

__all__ = ["CHANGED", "Public", "Store", "another", "store_for"]


class Store(Protocol):
    """Where a project's rows are written, see :class:`autolog.sinks.place.Place`."""

    @property
    def note(self) -> str | None: ...

    @property
    def is_there(self) -> bool: ...

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None: ...

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None: ...

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None: ...

    def config(self, run: Identity) -> dict[str, Any] | None: ...


def store_for(project: str) -> Store:
    """The fastest way to write to this project that holds."""
    try:
        return Database(project)
    except CHANGED as error:
        why = another(error)
    try:
        return Calls(why)
    except CHANGED as error:
        return Public(f"{why}; {error}")


CHANGED = (AttributeError, ImportError, TypeError, UnknownSchemaError)
"""By which it shows that something of Trackio's is gone, or takes something else."""


def another(error: Exception) -> str:
    """In words that this version of Trackio is not one that we know."""
    import trackio

    return f"Trackio {trackio.__version__} is not as autolog knows it: {error}"


def artifact_of(record: ArtifactRecord) -> Any:
    """An artifact as Trackio has it; its files are copied, what it refers to is not."""
    from trackio import Artifact

    names = {"type": record["type"], "description": record.get("description"), "metadata": record["metadata"]}
    artifact = Artifact(record["name"], **names)
    for name, path in record["files"].items():
        if os.path.isdir(path):
            artifact.add_dir(path, name=name)
        else:
            artifact.add_file(path, name=name)
    for name, uri in record["references"].items():
        artifact.add_reference(uri, name=name, checksum=False)
    return artifact


class Calls:
    """Trackio's own functions to write many rows: what its server calls.

    Raises:
        AttributeError: it has no such function.
        TypeError: one does not take what we give it.
    """

    is_there = True

    _NEEDED: ClassVar = {
        "bulk_log": "project run metrics_list steps timestamps config log_ids run_id",
        "bulk_log_system": "project run metrics_list timestamps log_ids run_id",
        "bulk_alert": "project run titles texts levels steps timestamps alert_ids run_id",
        "get_run_config": "project run run_id",
    }

    def __init__(self, why: str):
        from trackio.sqlite_storage import SQLiteStorage

        for name, needed in self._NEEDED.items():
            taken = inspect.signature(getattr(SQLiteStorage, name)).parameters
            if missing := set(needed.split()) - taken.keys():
                raise TypeError(f"its {name} takes no {', '.join(sorted(missing))}")
        self._storage: Any = SQLiteStorage
        self.note = f"{why}. It was stored by Trackio's own functions, which are slower"

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        if rows or config is not None:
            given = None if config is None else stored_config(run, config)
            log_by_trackio(run, rows or [birth_of(run.id)], given)

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        self._storage.bulk_log_system(
            project=run.project,
            run=run.name,
            metrics_list=[row["values"] for row in rows],
            timestamps=[iso(row["time"]) for row in rows],
            log_ids=[row["id"] for row in rows],
            run_id=run.id,
        )

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        self._storage.bulk_alert(
            project=run.project,
            run=run.name,
            titles=[alert["title"] for alert in alerts],
            texts=[alert["text"] for alert in alerts],
            levels=[alert["level"] for alert in alerts],
            steps=[alert["step"] for alert in alerts],
            timestamps=[iso(alert["time"]) for alert in alerts],
            alert_ids=[alert["id"] for alert in alerts],
            run_id=run.id,
        )

    def config(self, run: Identity) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._storage.get_run_config(run.project, run.name, run_id=run.id)
        return found


class Public:
    """What Trackio documents: a run of its own that is opened anew for each part of ours, by its name.

    It knows neither our ids nor our times: what is delivered once more after a crash is there twice.
    """

    is_there = True

    def __init__(self, why: str):
        self.note = (
            f"{why}. It was stored by trackio.init and trackio.log, which are slower, and know only the time "
            "at which it was stored"
        )
        self._done: set[str] = set()
        self._configs: dict[str, dict[str, Any]] = {}

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        if config is not None:
            self._configs[run.id] = stored_config(run, config)
        if new := [row for row in rows if row["id"] not in self._done]:
            with self._opened(run) as theirs:
                for row in new:
                    theirs.log(stored(row), step=row["step"])
        elif config is not None:
            with self._opened(run) as theirs:
                theirs.log({}, step=0)
        self._done.update(row["id"] for row in new)

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        with self._opened(run) as theirs:
            for row in rows:
                theirs.log_system(row["values"])

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        from trackio import AlertLevel

        with self._opened(run) as theirs:
            for alert in alerts:
                theirs.alert(alert["title"], alert["text"], AlertLevel(alert["level"]))

    def config(self, run: Identity) -> dict[str, Any] | None:
        return self._configs.get(run.id)

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        """A version of an artifact."""
        with self._opened(run) as theirs:
            theirs.log_artifact(artifact_of(record), aliases=record["aliases"])

    @contextlib.contextmanager
    def _opened(self, run: Identity) -> Iterator[Any]:
        import trackio

        config = self._configs.get(run.id, {})
        theirs = trackio.init(
            project=run.project,
            name=run.name,
            group=run.group,
            config={key: value for key, value in config.items() if not key.startswith("_")},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            yield theirs
        finally:
            trackio.finish()
