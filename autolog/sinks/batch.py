"""One run's records of one part of a journal: brought to a place together; says what could not be."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import TypeVar

from autolog.sinks import AlertRecord, ArtifactRecord, Record, SystemRecord
from autolog.sinks.backlog import WORTH, Outcome, Slow, name_of
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Identity
from autolog.sinks.place import Place, Row, birth_of, is_transient
from autolog.sinks.state import RunState

__all__ = ["Batch", "Refused", "discard_staged"]

logger = logging.getLogger("autolog")

R = TypeVar("R")


class Batch:
    """One run's records of one batch: rows and config; of pictures and files what the run says of them.

    Attributes:
        slow: pictures and files, to be brought once it is there what they belong to.
        count: how many rows it has taken.
    """

    def __init__(self, run: RunState, helper: Helper):
        self.run = run
        self._helper = helper
        self.refusals = 0
        self.refusal: Exception | None = None
        self.is_alone = False  # others were taken while this one was refused
        self.config_changed = False
        self.rows: list[Row] = []
        self.system: list[SystemRecord] = []
        self.alerts: list[AlertRecord] = []
        self.slow: list[Slow] = []
        self.count = 0
        self._lost_ones: list[tuple[str, Exception]] = []
        self._since = 0.0

    def take(self, record: Record) -> None:
        """One more record of this run."""
        if record["kind"] == "row":
            self.rows.append(record)
            self.count += 1
            self.config_changed = self.config_changed or self.run.has_another_result
        elif record["kind"] == "system":
            self.system.append(record)
        elif record["kind"] == "alert":
            self.alerts.append(record)
        elif record["kind"] == "open":
            self.config_changed = self.config_changed or not record["joined"]
        elif record["kind"] not in WORTH:
            self.config_changed = True

    def take_slow(self, slow: Slow) -> None:
        """A picture or a file that is to be brought."""
        self.slow.append(slow)
        # What has ended says how much is still to come; what goes on says so when it says anything.
        self.config_changed = self.config_changed or not self.run.running

    def take_outcome(self, outcome: Outcome) -> None:
        """What has become of a picture or file."""
        self.run.pending -= 1
        self.run.seconds += outcome.seconds
        self.rows += outcome.rows
        self._lost_ones += outcome.lost
        record = outcome.record
        if outcome.left_out is not None and record is not None and record["kind"] == "artifact":
            self.run.left_out[record["name"]] = outcome.left_out
            self.config_changed = True
            _say_left_out(self.run, record["name"], outcome.left_out)
        told = self.run.told_pending
        is_due = told is None or (told > 0 and self.run.pending in (0, told // 2))
        self.config_changed = self.config_changed or is_due

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

    def _count_time(self) -> None:
        now = time.thread_time()
        self.run.seconds += now - self._since + self._helper.take_seconds()
        self._since = now

    def give_up(self) -> None:
        """Nobody takes this run."""
        assert self.refusal is not None
        _say_lost(self.run, "anything", self.refusal)
        self.run.pending -= len(self.slow)
        self.__init__(self.run, self._helper)  # type: ignore[misc]

    def _deliver(self, place: Place) -> None:
        self.config_changed = self.config_changed and not self.run.is_anothers
        if self.rows or self.config_changed:
            rows = self.rows or self._birth()
            self._put_rows(place, rows, with_config=self.config_changed)
            self.rows, self.config_changed = [], False
        if self.system:
            self._put(place.system, place, self.system)
            self.system = []
        if self.alerts:
            self._put(place.alerts, place, self.alerts)
            self.alerts = []
        while self._lost_ones:
            self._lost(place, *self._lost_ones[0])
            del self._lost_ones[0]
        self._count_time()
        if self.run.has_become_dearer():
            self._put_config(place)

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
        if self.run.is_anothers:
            return
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
                self._lost(place, name_of(records[0]), error)

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


def _say_lost(run: RunState, what: str, error: Exception) -> None:
    run.losses += 1
    logger.warning(
        "autolog: %s of run %s cannot be recorded: %s: %s",
        what[:200],
        run.identity.name,
        type(error).__name__,
        error,
    )


_said_left_out = False  # once: each run has a note of its own


def _say_left_out(run: RunState, what: str, why: str) -> None:
    global _said_left_out
    if not _said_left_out:
        _said_left_out = True
        name, project = run.identity.name, run.identity.project
        text = "autolog: %s of run %s in project %s is %s. Each run has a note of what it has left out."
        logger.warning(text, what, name, project, why)


def discard_staged(record: ArtifactRecord) -> None:
    """Delete an artifact's files, if they are ours, once they have arrived or are left out."""
    if record["staged"]:
        for path in record["files"].values():
            with contextlib.suppress(OSError):
                os.unlink(path)
                folder = os.path.dirname(path)
                os.rmdir(folder)  # goes with the last file in it, as does that of the run
                os.rmdir(os.path.dirname(folder))
