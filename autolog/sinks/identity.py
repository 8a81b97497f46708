"""Who a run is, as one value: in its process, a journal, a ticket, a checkpoint, at a place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["LOCAL", "SCHEMA", "Destination", "Identity", "in_words"]

SCHEMA = 3
"""The version of what a run's rows and config look like, see docs/keys.md. Version 1 did not say it here."""

Destination = tuple[str, str]
"""``("local", "")``, ``("server", "https://host")`` or ``("space", "user/space")``.

``("space", "@<who has the key>/space")`` is that of the user whose key it is: the Hub says their name."""

LOCAL: Destination = ("local", "")


def in_words(destination: Destination) -> str:
    """A place as a person calls it."""
    where = destination[1]
    if where.startswith("@"):
        return f"the Space {where.partition('/')[2]!r} of the user whose api_key was given"
    return where or "the local Trackio database"


@dataclass(frozen=True)
class Identity:
    """Who a run is.

    Attributes:
        id: unique, also in Trackio.
        name: readable, need not be unique.
        project, group: as in Trackio.
        parent: the id of the run that it is a child of, or None.
        destination: where its records go.
        adopted: whether the user opened it with Trackio itself.
        joined: whether another process of ours opened it, and this one writes to it too.
        resumed: how many times it was gone on with after an interruption.
        shared: whether several processes own it at the same time.
        schema: by which version of keys its records are written.
    """

    id: str
    name: str
    project: str
    group: str | None = None
    parent: str | None = None
    destination: Destination = LOCAL
    adopted: bool = False
    joined: bool = False
    resumed: int = 0
    shared: bool = False
    schema: int = SCHEMA

    def fields(self) -> dict[str, Any]:
        """As the record says it with which a run is opened: see :class:`autolog.sinks.OpenRecord`."""
        fields = dict(vars(self))  # (`asdict` copies each value, and takes ten times as long)
        del fields["id"]  # every record names its run
        fields["to"] = list(fields.pop("destination"))
        return fields

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Identity:
        """Of a record with which a run was opened, by this version or an earlier one."""
        return cls(
            id=record["run"],
            name=record["name"],
            project=record["project"],
            group=record["group"],
            parent=record.get("parent"),
            destination=destination_of(record.get("to", LOCAL)),
            adopted=record["adopted"],
            joined=record["joined"],
            resumed=record.get("resumed", 0),
            shared=record.get("shared", False),
            schema=record.get("schema", 1),
        )


def destination_of(to: Any) -> Destination:
    """A destination that came through JSON, where a pair is a list."""
    kind, where = to
    return kind, where
