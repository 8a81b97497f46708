"""Trackio's place for a destination, called in a process of its own."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

from autolog.sinks import AlertRecord, ArtifactRecord, SystemRecord
from autolog.sinks.helper import Helper, stop_if_alone
from autolog.sinks.identity import Destination, Identity
from autolog.sinks.place import Config, Place, Row
from autolog.sinks.trackio.database import is_known, storage_mode
from autolog.sinks.trackio.local import Inbox, Local
from autolog.sinks.trackio.remote import Remote
from autolog.sinks.trackio.stores import CHANGED, Public, another

__all__ = ["Elsewhere", "place_for"]


class Elsewhere:
    """A place as another process has it: Trackio is imported there, and written to from there."""

    def __init__(
        self, helper: Helper, destination: Destination, token: Callable[[], str | None], private: bool
    ):
        self._helper = helper
        self._destination, self._token, self._private = destination, token, private
        self.recalls: bool = self._ask("recalls")

    def _ask(self, what: str, run: Identity | None = None, *args: Any) -> Any:
        named = () if run is None else (run, *args)
        # The token goes with each question: as it is known now, and through a pipe, where nobody sees it.
        return self._helper.ask(_at_place, self._destination, self._token(), self._private, what, named)

    def note(self, run: Identity) -> str | None:
        note: str | None = self._ask("note", run)
        return note

    def rows(self, run: Identity, rows: Sequence[Row], config: Config | None) -> None:
        self._ask("rows", run, rows, config)

    def system(self, run: Identity, rows: Sequence[SystemRecord]) -> None:
        self._ask("system", run, rows)

    def alerts(self, run: Identity, alerts: Sequence[AlertRecord]) -> None:
        self._ask("alerts", run, alerts)

    def picture(self, run: Identity, step: int, name: str, page: str, caption: str | None) -> Any:
        return self._ask("picture", run, step, name, page, caption)

    def media(self, run: Identity, step: int, path: str, folder: str | None = None) -> None:
        self._ask("media", run, step, path, folder)

    def artifact(self, run: Identity, record: ArtifactRecord) -> None:
        self._ask("artifact", run, record)

    def stored(self, run: Identity) -> int:
        stored: int = self._ask("stored", run)
        return stored

    def added(self, run: Identity, record: ArtifactRecord) -> int:
        added: int = self._ask("added", run, record)
        return added

    def config(self, run: Identity) -> Config | None:
        config: Config | None = self._ask("config", run)
        return config


# In the process that has the places ---------------------------------------------------------------------


_places: dict[tuple[int, Destination], Place] = {}  # in the process that has the places
_tokens: dict[Destination, str | None] = {}


def _at_place(
    destination: Destination, token: str | None, private: bool, what: str, args: tuple[Any, ...]
) -> Any:
    """Ask a place that lives in this process."""
    stop_if_alone()
    _tokens[destination] = token
    where = os.getpid(), destination  # a connection does not survive a fork
    if where not in _places:
        _places[where] = place_for(destination, functools.partial(_tokens.get, destination), private)
    if what == "recalls":
        return _places[where].recalls
    return getattr(_places[where], what)(*args)


def place_for(destination: Destination, token: Callable[[], str | None], private: bool) -> Place:
    """The place for a destination, in this process."""
    if destination[0] != "local":
        return Remote(destination, token, private)
    try:
        return Local() if is_known() or storage_mode() == "sqlite" else Inbox()
    except CHANGED as error:
        why = another(error)
        return Local(lambda project: Public(why))
