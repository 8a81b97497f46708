"""Rows, tables, alerts and configs in the format that Trackio stores."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from autolog.sinks import AlertRecord, SystemRecord
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row, birth_of

__all__ = [
    "alert_entry",
    "as_json",
    "entry",
    "holds_traces",
    "iso",
    "metric_entries",
    "recalled",
    "stored",
    "stored_config",
]


def iso(at: float) -> str:
    """A time as Trackio writes it. A row that begins a run has none of its own: it is now."""
    return datetime.fromtimestamp(at or time.time(), UTC).isoformat()


def entry(run: Identity, record: Row | SystemRecord | AlertRecord) -> dict[str, Any]:
    """What each of Trackio's entries begins with."""
    return {
        "project": run.project,
        "run": run.name,
        "run_id": run.id,
        "timestamp": iso(record["time"]),
    }


def alert_entry(run: Identity, alert: AlertRecord) -> dict[str, Any]:
    """An alert as Trackio's API takes it."""
    fields = {key: alert[key] for key in ("title", "text", "level", "step")}
    return {**entry(run, alert), **fields, "alert_id": alert["id"]}


def metric_entries(run: Identity, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as Trackio's API takes them. A config needs one that carries it: then the run's first row."""
    return [
        {**entry(run, row), "metrics": stored(row), "step": row["step"], "log_id": row["id"]}
        for row in rows or [birth_of(run.id)]
    ]


def stored(row: Row) -> dict[str, Any]:
    """A row's values as Trackio stores them: a list of rows is a table."""
    values = row["values"]
    if list not in map(type, values.values()) or row.get("as_stored"):  # nearly all are numbers alone
        return values
    return {
        key: {"_type": "trackio.table", "_value": value} if isinstance(value, list) else value
        for key, value in values.items()
    }


def holds_traces(values: dict[str, Any]) -> bool:
    """Whether a value is a trace of Trackio's, or a list with one."""
    for value in values.values():
        if type(value) is dict or type(value) is list:  # nearly all are numbers alone
            for item in value if type(value) is list else [value]:
                if isinstance(item, dict) and item.get("_type") == "trackio.trace":
                    return True
    return False


# The config keys that Trackio's dashboard reads, and what delivery calls them.
_CREATED, _GROUP, _USERNAME = "_Created", "_Group", "_Username"


def stored_config(run: Identity, config: Config) -> dict[str, Any]:
    """A config as Trackio stores it. That of the user's own run is in its spelling already."""
    if run.adopted:
        return config
    rest = dict(config)
    created = rest.pop("_created", None)
    return {
        _USERNAME: None,
        _CREATED: created if isinstance(created, str) else iso(created or 0.0),
        _GROUP: rest.pop("_group", None),
        **rest,
    }


def recalled(run: Identity, config: dict[str, Any] | None) -> Config | None:
    """A config that was stored, in delivery's spelling."""
    if config is None or run.adopted:
        return config
    rest = dict(config)
    ours = {"_created": rest.pop(_CREATED, None), "_group": rest.pop(_GROUP, None)}
    return {**ours, **rest}


def as_json(values: dict[str, Any]) -> bytes:
    """As the database holds it."""
    try:
        return orjson.dumps(values)
    except TypeError:  # an integer beyond 64 bits: the slow encoder knows a way
        return json.dumps(values).encode()
