"""The interface of a place: what delivery asks of a destination, wherever that is."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Sequence
from typing import Any, NotRequired, Protocol, TypedDict

from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.identity import Identity

__all__ = ["Config", "Place", "Row", "birth_of", "is_transient"]


class Row(TypedDict):
    """What a place stores at a step of a run. A value is a number, a table (a list of rows), or a picture.

    A picture is whatever :meth:`Place.picture` has returned. With ``as_stored`` a list is no table.
    """

    id: str
    time: float
    step: int
    values: dict[str, Any]
    as_stored: NotRequired[bool]


Config = dict[str, Any]
"""A run's config. Of a run that autolog opened it has two keys beside the user's, which cannot begin with an
underscore: ``_created`` (seconds since 1970, or the place's own text) and ``_group``."""


class Place(Protocol):
    """A destination. Everything may be delivered twice."""

    recalls: bool
    """Whether a config that was delivered can be read back."""

    def note(self, run: Identity) -> str | None:
        """What is to be said in a run of how it is stored; None: nothing, it is as it is meant."""

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        """Metrics and tables; a config replaces the one that stands there, and may come without rows."""

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        """The machine's load."""

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        """What a person should see."""

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        """Put a page of HTML where a person looks for it; returns the value by which a row shows it."""

    def media(self, run: Identity, step: int, path: str, folder: str | None = None) -> None:
        """Put a file of Trackio's media folder there too, under the name that the rows know it by.

        With ``folder`` it is one of the project's own files, and goes there.
        """

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        """A version of an artifact."""

    def stored(self, run: Identity) -> int:
        """How many bytes the artifacts of this run's project take, as far as it is known here."""

    def added(self, run: Identity, record: ArtifactRecord) -> int:
        """By how many bytes this one would make them more: what is there already costs nothing."""

    def config(self, run: Identity) -> Config | None:
        """The config that stands there already."""


def birth_of(run_id: str) -> Row:
    """The first row of a run that has none: empty, and always the same one."""
    return {"id": f"{run_id}-0", "time": 0.0, "step": 0, "values": {}}


# What a path that is too long or not to be named answers, however often it is tried.
_FINAL = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help: the disk, a lock, the network; not a value that nobody takes."""
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in _FINAL:
        return False
    return isinstance(error, (OSError, sqlite3.OperationalError)) or type(error).__module__.startswith(
        ("httpx", "httpcore", "huggingface_hub")
    )
