"""One run's records of one part of a journal: brought to a place together; says what could not be."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from autolog.sinks import AlertRecord, ArtifactRecord, ChartRecord, HtmlRecord, Record, SystemRecord
from autolog.sinks.helper import DRAWING_SECONDS, Helper, draw
from autolog.sinks.identity import Identity
from autolog.sinks.place import Place, Row, birth_of, is_transient
from autolog.sinks.state import RunState

__all__ = ["Batch", "Refused", "discard_staged"]

logger = logging.getLogger("autolog")

R = TypeVar("R")
T = TypeVar("T")


class Batch:
    """One run's records of one batch."""

    def __init__(self, run: RunState, helper: Helper, drawer: Helper):
        self.run = run
        self._helper, self._drawer = helper, drawer
        self.refusals = 0
        self.refusal: Exception | None = None
        self.is_alone = False  # others were taken while this one was refused
        self.config_changed = False
        self.rows: list[Row] = []
        self.pictures: list[ChartRecord | HtmlRecord] = []
        self.system: list[SystemRecord] = []
        self.alerts: list[AlertRecord] = []
        self.artifacts: list[ArtifactRecord] = []
        self.arrived: list[ArtifactRecord] = []  # whose staged files may go
        self._since = 0.0

    def take(self, record: Record) -> None:
        """One more record of this run."""
        if record["kind"] == "row":
            self.rows.append(record)
        elif record["kind"] == "chart" or record["kind"] == "html":
            self.pictures.append(record)
        elif record["kind"] == "system":
            self.system.append(record)
        elif record["kind"] == "alert":
            self.alerts.append(record)
        elif record["kind"] == "artifact":
            self.artifacts.append(record)
        elif record["kind"] == "open":
            self.config_changed = self.config_changed or not record["joined"]
        else:
            self.config_changed = True

    def deliver(self, place: Place) -> bool:
        """Deliver, and forget what has arrived: after an error the next call goes on from there.

        Returns:
            False: the place takes nothing at all of this run, see ``refusal``.
        """
        self._since = time.thread_time()
        self._helper.take_seconds()  # of Trackio's import, which is nobody's
        try:
            self._deliver(place)
        except Refused as refused:
            self.refusal = refused.error
            return False
        finally:
            self._count_time()
        self.refusal = None
        return True

    def deliver_rows(self, place: Place) -> None:
        """Deliver what needs no drawing and no copy."""
        self._since = time.thread_time()
        self._deliver_rows(place)
        self._count_time()

    def _count_time(self) -> None:
        now = time.thread_time()
        self.run.seconds += now - self._since
        self.run.seconds += self._helper.take_seconds() + self._drawer.take_seconds()
        self._since = now

    def give_up(self) -> None:
        """Nobody takes this run."""
        assert self.refusal is not None
        _say_lost(self.run, "anything", self.refusal)
        self.__init__(self.run, self._helper, self._drawer)  # type: ignore[misc]

    def _deliver(self, place: Place) -> None:
        self._deliver_rows(place)  # they do not wait for pictures, which on a busy machine take long
        while self.pictures:
            row = self._attempt(self._picture, place, self.pictures[0])
            self.rows += [row] if row is not None else []
            del self.pictures[0]
        self._deliver_rows(place)
        if self.system:
            self._put(place.system, place, self.system)
            self.system = []
        if self.alerts:
            self._put(place.alerts, place, self.alerts)
            self.alerts = []
        while self.artifacts:
            self._attempt(self._artifact, place, self.artifacts[0])
            self.arrived.append(self.artifacts.pop(0))
        self._count_time()
        if self.run.has_become_dearer():
            self._put_config(place)

    def _deliver_rows(self, place: Place) -> None:
        if self.rows or self.config_changed:
            self._count_time()
            rows = self.rows or self._birth()
            self._put_rows(place, rows, with_config=self.config_changed)
            self.rows, self.config_changed = [], False

    def _picture(self, place: Place, record: ChartRecord | HtmlRecord) -> Row:
        """Have a chart drawn, and put it where the dashboard looks for it."""
        if record["kind"] == "html":
            text = record["text"]
        else:
            text = self._drawer.ask(draw, record["chart"], longest=DRAWING_SECONDS)
        page = text if text.lstrip()[:5].lower() in ("<!doc", "<html") else _PAGE.format(text)
        value = place.picture(
            self.run.identity, record["step"], f"{record['id']}.html", page, record.get("caption")
        )
        values = {record["key"]: value}
        return {"id": record["id"], "time": record["time"], "step": record["step"], "values": values}

    def _artifact(self, place: Place, record: ArtifactRecord) -> None:
        place.artifact(self.run.identity, record)

    def _put_rows(self, place: Place, rows: list[Row], *, with_config: bool) -> None:
        """Rows and config. What nobody takes is found by halving: it must not keep the rest from arriving."""
        try:
            if with_config:
                with self.run.whole_config(place) as config:
                    place.rows(self.run.identity, rows, config)
            else:
                place.rows(self.run.identity, rows, None)
            self.run.is_born = self.run.is_born or bool(rows)
        except Exception as error:
            if is_transient(error):
                raise
            if with_config:
                self._put_rows(place, rows, with_config=False)
                self._put_config(place)  # which says by now what was lost
            elif len(rows) > 1:
                self._put_rows(place, rows[: len(rows) // 2], with_config=False)
                self._put_rows(place, rows[len(rows) // 2 :], with_config=False)
            else:
                self._lost(place, ", ".join(rows[0]["values"]), error)

    def _put_config(self, place: Place) -> None:
        try:
            with self.run.whole_config(place) as config:
                place.rows(self.run.identity, self._birth(), config)
        except Exception as error:
            if is_transient(error):
                raise
            _say_lost(self.run, "config", error)

    def _put(self, several: Callable[[Identity, list[R]], None], place: Place, records: list[R]) -> None:
        try:
            several(self.run.identity, records)
        except Exception as error:
            if is_transient(error):
                raise
            if len(records) > 1:
                self._put(several, place, records[: len(records) // 2])
                self._put(several, place, records[len(records) // 2 :])
            else:
                self._lost(place, _name_of(records[0]), error)

    def _attempt(self, do: Callable[[Place, R], T], place: Place, record: R) -> T | None:
        """One picture or artifact that cannot be made must not keep the rest from arriving."""
        try:
            return do(place, record)
        except Exception as error:
            if is_transient(error):
                raise
            self._lost(place, _name_of(record), error)
            return None

    def _birth(self) -> list[Row]:
        """What a run begins with that has no row yet."""
        return [] if self.run.is_born else [birth_of(self.run.id)]

    def _lost(self, place: Place, what: str, error: Exception) -> None:
        """Say in the run what has been lost, and why: if the place takes anything of this run at all."""
        try:
            place.rows(self.run.identity, [birth_of(self.run.id)], None)
        except Exception as again:
            if is_transient(again):
                raise
            raise Refused(error) from again
        _say_lost(self.run, what, error)
        lost = {
            **self.run.config.get("autolog/lost", {}),
            what[:200]: f"{type(error).__name__}: {error}"[:500],
        }
        self.run.change({"autolog/lost": dict(list(lost.items())[:50])})
        self._put_config(place)


class Refused(Exception):  # noqa: N818 - it never leaves this file
    """A place takes nothing of a run, not even its first, empty row: so it is not for one record's sake."""

    def __init__(self, error: Exception):
        self.error = error


def _name_of(record: Any) -> str:
    name = record.get("key") or record.get("name") or record.get("title") or ""
    return f"{record['kind']} {name}".strip()


def _say_lost(run: RunState, what: str, error: Exception) -> None:
    logger.warning(
        "autolog: %s of run %s cannot be recorded: %s: %s",
        what[:200],
        run.identity.name,
        type(error).__name__,
        error,
    )


_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><style>body{{margin:0;background:#fff;'
    "font-family:system-ui,sans-serif}}svg{{max-width:100%;max-height:100vh;display:block;margin:auto}}</style></head><body>{}</body></html>"
)


def discard_staged(record: ArtifactRecord) -> None:
    """Delete an artifact's files, if they are ours and have arrived."""
    if record["staged"]:
        for path in record["files"].values():
            with contextlib.suppress(OSError):
                os.unlink(path)
                folder = os.path.dirname(path)
                os.rmdir(folder)  # goes with the last file in it, as does that of the run
                os.rmdir(os.path.dirname(folder))
