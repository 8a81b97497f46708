"""Takes a run over from a process that has ended: then its old journal no longer says how it ended."""

from __future__ import annotations

import time
from pathlib import Path

from autolog.sinks.journal import Tail, is_left, one_at_a_time, takers_of, try_lock
from autolog.sinks.place import Config
from autolog.sinks.state import RunState

__all__ = ["take_over", "taken_over"]


def take_over(journal: Path, run_id: str, timeout: float) -> Config | None:
    """Go on with a run of a process that is gone: from now on what its journal says of its end is past.

    Returns:
        The run's config as the journal tells it; empty if the journal has been delivered, and stands where
        it was delivered to. None: its process lives, for longer than ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            with journal.open("r+b") as file:
                if try_lock(file) or is_left(journal):  # then whoever delivers it holds this lock
                    return _taken(journal, run_id, end - time.monotonic())
        except FileNotFoundError:
            return {}
        if time.monotonic() > end:
            return None
        time.sleep(0.02)


def _taken(journal: Path, run_id: str, timeout: float) -> Config:
    takers = takers_of(journal)
    with one_at_a_time(takers, timeout):  # whoever delivers it asks for the takers before it says an end
        if not journal.exists():
            takers.unlink(missing_ok=True)
            return {}
        with takers.open("a") as file:
            file.write(f"{run_id}\n")
        return _config_in(journal, run_id)


def _config_in(journal: Path, run_id: str) -> Config:
    run: RunState | None = None
    tail = Tail(journal)
    while records := tail.read():
        for record in records:
            if record["run"] == run_id and record["kind"] != "journal":
                if record["kind"] == "open" and run is None:
                    run = RunState(record)
                elif run is not None:
                    run.take(record)
    return run.config if run is not None else {}


def taken_over(journal: Path) -> set[str]:
    """The runs of this journal that another process goes on with."""
    try:
        return set(takers_of(journal).read_text().split())
    except OSError:
        return set()
