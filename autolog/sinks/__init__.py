"""Where a run's records go. core/run.py writes to a :class:`Sink` and knows nothing else of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

__all__ = ["Record", "Sink"]

Record = dict[str, Any]
"""What a run says, one thing at a time. ``kind`` and ``run`` (its id) are always there; then by kind:

=========  ==========================================================================================
open       time, project, name, group, parent, to (destination), adopted (opened by the user with Trackio
           itself), joined (opened by another process of ours), resumed (gone on with, so many times, after
           the process that had it before was interrupted), shared (other processes own it as well)
config     values: keys to add to or replace in the run's config; what delivering the run costs is added to
           ``autolog/overhead_seconds`` by the sink
row        id, time, step, values: metrics (numbers) and tables by key
chart      id, time, step, key, chart: a picture's data, drawn by the sink (capture/figures.py)
html       id, time, step, key, text: a picture that is drawn already
alert      id, time, step, title, text, level
system     id, time, values
artifact   id, time, name, type, files {name in the artifact: path}, staged (files are ours to delete),
           references {name: URI}, aliases, metadata
finish     time, status
=========  ==========================================================================================
"""


class Sink(Protocol):
    """What core/run.py needs of a place for records. No method may block the caller for long."""

    def write(self, record: Record) -> None:
        """Take one record, from any thread, at once."""

    def stage(self, run_id: str) -> Path:
        """A folder on disk for files that travel with this run's artifacts."""

    def sync(self, timeout: float) -> bool:
        """Wait until everything written so far would survive the death of this process."""

    def deliver(self, timeout: float) -> bool:
        """Wait until everything written so far has arrived. False: it has not, yet."""

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """Where a person looks at this run."""

    def sample_system(self) -> dict[str, float]:
        """The machine's load now, under the sink's own names; empty when it cannot be told."""
