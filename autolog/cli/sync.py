"""``autolog sync``: deliver everything that is left on disk, to whatever places."""

from __future__ import annotations

import time
from typing import TextIO

from autolog.core.settings import Settings
from autolog.process import apart
from autolog.sinks.identity import Destination
from autolog.sinks.journal import head_of
from autolog.sinks.trackio.afterwards import deliver_left
from autolog.sinks.trackio.directory import data_directory, journals

__all__ = ["sync"]


def sync(timeout: float, out: TextIO) -> int:
    """Deliver what is left; returns 0 if all of it has arrived.

    Args:
        timeout: seconds, for all places together.
        out: where it is said.
    """
    apart.begin()
    end = time.monotonic() + timeout
    places = {to for path in journals().glob("*.jsonl") if (to := head_of(path)[0]) is not None}
    if not places:
        print(f"Nothing is left in {data_directory()}.", file=out)
        return 0
    arrived = []
    for place in sorted(places):
        done = deliver_left(place, _token_for(place), True, end - time.monotonic())
        arrived.append(done)
        where = place[1] or f"Trackio's files in {data_directory()}"
        print(f"{where}: {'everything has arrived.' if done else 'not everything has arrived.'}", file=out)
    return 0 if all(arrived) else 1


def _token_for(place: Destination) -> str | None:
    """Of a server the write token that the environment names; a Space takes the Hub's own."""
    return Settings.from_environment().write_token if place[0] == "server" else None
