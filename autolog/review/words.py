"""A person's words on a run that was recorded: notes, and tags."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from autolog.core.settings import current
from autolog.review.source import SourceError
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Identity
from autolog.sinks.place import Config, Row
from autolog.sinks.trackio.elsewhere import Elsewhere

if TYPE_CHECKING:
    from autolog.review.recorded import RecordedRun

__all__ = ["add_note", "set_tags"]


def add_note(run: RecordedRun, text: str) -> None:
    """Add words to a run: a row of it, so that it may still go on. Trackio shows them among its reports.

    Raises:
        ValueError: no words.
        SourceError: they cannot be written there.
    """
    if not text.strip():
        raise ValueError("a note has words: none were given")
    steps = [series.steps[-1] for series in run.metrics.values() if series.steps]
    row: Row = {
        "id": uuid.uuid4().hex,
        "time": time.time(),
        "step": max(steps, default=0),
        "values": {"note": {"_type": "trackio.markdown", "_value": text}},
        "as_stored": True,
    }
    _write(run, [row], None)


def set_tags(run: RecordedRun, tags: Iterable[str]) -> None:
    """Replace a run's tags, which stand in its config.

    Raises:
        SourceError: its own process still writes it, or it is not all delivered: they would be lost.
    """
    if run.status == "running" or run.waiting:
        why = "is still running" if run.status == "running" else "has not all arrived"
        raise SourceError(
            f"{run.name} {why}: its tags would be written over. "
            "Tag it when it has ended, after `autolog sync`."
        )
    config = {**run.config, "tags": list(dict.fromkeys(tags))}
    if not config["tags"]:
        del config["tags"]
    _write(run, [], config)
    run.config.clear()
    run.config.update(config)


def _write(run: RecordedRun, rows: list[Row], config: Config | None) -> None:
    destination = run.destination
    token = current().write_token if destination[0] == "server" else None
    # Adopted: the config is in Trackio's spelling already.
    identity = Identity(run.id, run.name, run.project, destination=destination, adopted=True)
    folder = {"TRACKIO_DIR": run.place} if destination[0] == "local" else {}  # it may be another than ours
    helper = Helper(folder)
    try:
        Elsewhere(helper, destination, lambda: token, False).rows(identity, rows, config)
    except Exception as error:
        raise SourceError(f"{run.place} does not take it: {error}") from error
    finally:
        helper.close()
