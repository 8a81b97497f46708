"""Which models and checkpoints are kept where a project's artifacts come to ``Settings.storage_limit``.

Trackio takes no version of an artifact back, and which run will be the best is known late. So what is stored
stays, what comes later is left out, and the last tenth is for what a person looks for first.
"""

from __future__ import annotations

import os

from autolog.sinks import ArtifactRecord
from autolog.sinks.place import Place
from autolog.sinks.state import RunState

__all__ = ["is_kept", "why_left_out"]

_FIRST = {"best", "last", "latest"}  # aliases of checkpoints
_TENTH = ", its last tenth for the best model of a search, the best and last checkpoint, and failed runs"


def is_kept(size: int, stored: int, limit: int, comes_first: bool) -> bool:
    """Whether so many bytes more are kept."""
    return size == 0 or stored + size <= (limit if comes_first else limit - limit // 10)


def why_left_out(place: Place, run: RunState, record: ArtifactRecord) -> str | None:
    """Why this artifact is not to be brought to the place; None: it is."""
    if "limit" not in record:  # the user has asked for it
        return None
    limit, first = record["limit"], _comes_first(run, record)
    stored = place.stored(run.identity)
    size = sum(os.stat(path).st_size for path in record["files"].values())
    if is_kept(size, stored, limit, first):
        return None
    size = place.added(run.identity, record)  # only here: it reads the files whole
    if is_kept(size, stored, limit, first):
        return None
    tenth = "" if first else _TENTH
    return (
        f"left out: {size:,} bytes, beside {stored:,} that the project's artifacts take. "
        f"Settings.storage_limit is {limit:,} bytes{tenth}; a larger one keeps the next ones"
    )


def _comes_first(run: RunState, record: ArtifactRecord) -> bool:
    return record.get("is_best", False) or not _FIRST.isdisjoint(record["aliases"]) or run.has_failed
