"""Only for pickles of version 0.1, which name what is below: a run, or one that is not open yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.opening import Opening, rejoin
from autolog.core.run import Run
from autolog.core.writer import Ticket
from autolog.sinks.identity import Identity, destination_of

__all__ = ["Opening", "run_of_ticket"]


def run_of_ticket(ticket: Mapping[str, Any]) -> Run:
    """The run, to write to from this process."""
    identity = Identity(
        id=ticket["id"],
        name=ticket["name"],
        project=ticket["project"],
        group=ticket["group"],
        destination=destination_of(ticket["destination"]),
    )
    return rejoin(Ticket(identity, ticket["pid"], ticket["recorded"], ticket["settings"])).face
