"""Delivery: what journals hold is put together by run and brought to a place, in bulk and idempotently.

By worth, over all runs: first rows, config and status of every run, then pictures, then files. Each record
has an id of its own, so that nothing is lost and nothing doubled however often it is tried. What a
destination is made of is the business of its :class:`autolog.sinks.place.Place`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from autolog.sinks import AlertRecord, ConfigRecord, FinishRecord, OpenRecord, Record
from autolog.sinks.backlog import WORTH, Backlog, Outcome, Slow
from autolog.sinks.batch import Batch, discard_staged
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination
from autolog.sinks.journal import (
    VERSION,
    Cursor,
    Going,
    Journal,
    Line,
    Orphan,
    Tail,
    head_of,
    one_at_a_time,
    remove,
    takers_of,
)
from autolog.sinks.place import Config, Place
from autolog.sinks.state import RunState
from autolog.sinks.takeover import taken_over

__all__ = ["Arrived", "Delivery"]

logger = logging.getLogger("autolog")

HALF_MADE_SECONDS = 3_600.0
CONFIGS_KEPT = 500
MOST_REFUSALS = 10  # two minutes and a half, with the pauses in between
TAKERS_SECONDS = 5.0
JOURNAL_BYTES = 16_000_000  # delivered; then the journal begins anew


@dataclass
class Arrived:
    """What has been brought to a place: of which runs, and how much."""

    runs: set[str] = field(default_factory=set)
    rows: int = 0
    pictures: int = 0
    files: int = 0

    def add(self, other: Arrived) -> None:
        """And what has been brought to another one."""
        self.runs |= other.runs
        self.rows, self.pictures = self.rows + other.rows, self.pictures + other.pictures
        self.files += other.files

    def take(self, outcome: Outcome) -> None:
        """One more picture or file, unless it was left out or lost."""
        if outcome.record is None or outcome.left_out is not None:
            return
        self.runs.add(outcome.slow.run.id)
        if outcome.record["kind"] == "artifact":
            self.files += not outcome.lost
        else:
            self.pictures += len(outcome.rows) or not outcome.lost


@dataclass(eq=False)
class Source:
    """A journal that is being delivered.

    Attributes:
        orphan: as it was found; None: it is our own.
        cursor: what of it has arrived.
        waiting: its pictures and files that have not, by their offset.
        begun: the part of it that is being delivered: where it ends, and what is left of it. On a line that
            breaks all the time a part that began from its start each time would never end.
        taken_over: the runs in it that another process goes on with.
        marks: what is said of runs that have no end in it; None: not before all else has arrived.
    """

    path: Path
    orphan: Orphan | None = None
    cursor: Cursor = field(default_factory=Cursor)
    waiting: dict[int, Slow] = field(default_factory=dict)
    begun: tuple[int, dict[str, Batch]] | None = None
    taken_over: set[str] = field(default_factory=set)
    marks: dict[str, Batch] | None = None

    def begin_again(self) -> None:
        """Read the part anew that is being delivered."""
        for batch in self.begun[1].values() if self.begun else ():
            batch.run.pending -= len(batch.slow)
        self.begun = None

    def keep(self) -> None:
        """Keep what has arrived for whoever delivers the rest."""
        if not self.waiting:
            self.cursor.whole = self.cursor.rows
            self.cursor.arrived.clear()
        self.cursor.keep(self.path)


class Delivery:
    """Brings to one destination what this process' journal holds, and what others have left for it.

    Args:
        directory: where the journals are.
        make_place: makes the :class:`Place`; called by whoever delivers first, since it takes a while.
        helper: the process that the place may live in.
        backlog: brings what takes long.
        write_through, when_stirred: see :class:`Journal`.

    Attributes:
        journal: this process' own.
        has_company: whether other processes write here, and may leave something.
        arrived: what has been brought since somebody has asked.
    """

    def __init__(
        self,
        destination: Destination,
        directory: Path,
        make_place: Callable[[], Place],
        helper: Helper,
        backlog: Backlog,
        *,
        write_through: bool,
        when_stirred: Callable[[], object],
    ):
        self.destination = destination
        self.directory = directory
        self.helper = helper
        self.backlog = backlog
        self.has_company = False
        self.arrived = Arrived()
        self.runs: dict[str, RunState] = {}
        self.journal = Journal(directory, self.head, write_through=write_through, when_stirred=when_stirred)
        self._make_place = make_place
        self._ours = Source(self.journal.path)
        self._left: dict[Path, Source] = {}
        self._arriving: tuple[list[Outcome], dict[str, Batch]] | None = None
        self.brought: Counter[str] = Counter()  # how many pictures and files are no longer to come, by run
        self._number = 0  # of the last picture or file that was found
        self._is_tidy = False
        self._has_lost = False
        self._said_newer: set[Path] = set()

    def head(self, going: Going) -> list[Line]:
        """What a journal begins with, for whoever may find it: where to, and who is open.

        The journal itself knows best who that is: what it says may not have been delivered yet.
        """
        to = list(self.destination)
        head: list[Line] = [{"kind": "journal", "run": "", "to": to, "version": VERSION}]
        for run_id, (record, values) in going.items():
            known = self.runs[run_id].config if run_id in self.runs else {}
            head += [record, _config_record(run_id, {**known, **values}, time.time())]
        return head

    @functools.cached_property
    def place(self) -> Place:
        """Where it goes, once it is made."""
        return self._make_place()

    @property
    def is_local(self) -> bool:
        """Whether it stays on this machine."""
        return self.destination[0] == "local"

    @property
    def has_left(self) -> bool:
        """Whether something is on its way that others have left."""
        return bool(self._left)

    @property
    def has_only_slow(self) -> bool:
        """Whether nothing of ours is to be done but what the backlog does, and tells us when it has."""
        path = self.journal.path
        owes = self._ours.begun or self._arriving
        return not owes and self._ours.path == path and self._ours.cursor.rows >= path.stat().st_size

    @property
    def is_idle(self) -> bool:
        """Whether all that is known of has arrived."""
        return not self._left and self._is_ours_done

    @property
    def _is_ours_done(self) -> bool:
        return not self._ours.waiting and not self.backlog.brought and self.has_only_slow

    @property
    def has_lost(self) -> bool:
        """Whether something was never stored."""
        return self._has_lost or any(run.losses for run in list(self.runs.values()))

    def has_ended(self, run_id: str) -> bool:
        """Whether it has been delivered that this run has ended."""
        run = self.runs.get(run_id)
        return run is not None and not run.running

    def close(self) -> None:
        """Give up the journals; remove ours if all of it is delivered and every run in it has ended."""
        self.journal.close()
        with contextlib.suppress(OSError):  # it was taken away
            of_ours = [run for run in self.runs.values() if run.journal == self._ours.path]
            if self._is_ours_done and not any(run.running for run in of_ours):
                remove(self.journal.path)
        for source in self._left.values():
            _unlock(source)

    # Rows, config, status ---------------------------------------------------------------------------

    def deliver_ours(self) -> None:
        """Deliver what this process has logged, all but pictures and files."""
        if self._ours.path != self.journal.path:  # it was taken away; whoever has it delivers it
            self._ours.begin_again()
            self._ours = Source(self.journal.path)
        self._deliver_rows(self._ours)
        if self._ours.cursor.rows > JOURNAL_BYTES and not self._ours.waiting:
            self._cut()

    def _deliver_rows(self, source: Source) -> None:
        """Deliver what stands behind the cursor, and move it on: only over what has arrived."""
        while True:
            if source.begun is None:
                ahead = Tail(source.path, source.cursor.rows)
                records = ahead.read_placed()
                if ahead.offset == source.cursor.rows:
                    return
                source.begun = ahead.offset, self._batches(records, source)
                _expect(source.begun[1])
            end, batches = source.begun
            self._deliver_batches(batches)
            for batch in batches.values():
                self.arrived.runs.add(batch.run.id)
                self.arrived.rows += batch.count
                source.waiting.update((slow.offset, slow) for slow in batch.slow)
            source.cursor.rows, source.begun = end, None
            source.keep()
            for batch in batches.values():
                self.backlog.add(batch.slow)

    def _batches(
        self, records: list[tuple[int, Line]], source: Source, *, recall: bool = True
    ) -> dict[str, Batch]:
        batches: dict[str, Batch] = {}
        for offset, record in _still_valid(records, source):
            run = self._state(record, source.path, recall)
            if run is not None:
                run.take(record)
                batch = batches.setdefault(run.id, Batch(run, self.helper))
                batch.take(record)
                if record["kind"] in WORTH and not source.cursor.has(offset):
                    batch.take_slow(self._slow(run, source, offset, record))
        return batches

    def _slow(self, run: RunState, source: Source, offset: int, record: Record) -> Slow:
        self._number += 1
        return Slow.of(run, source.path, offset, record, self._number)

    def _deliver_batches(self, batches: dict[str, Batch]) -> None:
        """After a failure the same batches come again, less what has arrived of them."""
        refused = [batch for batch in batches.values() if not batch.deliver(self.place)]
        for batch in refused:
            batch.refusals += 1
            # A run that is refused alone must not keep the others waiting for ever.
            batch.is_alone = batch.is_alone or len(refused) < len(batches)
            if batch.is_alone and batch.refusals >= MOST_REFUSALS:
                batch.give_up()
        if any(batch.refusal for batch in refused):
            raise ConnectionError(f"it refuses what it is given: {refused[0].refusal}")
        self._let_go()

    def _state(self, record: Record, journal: Path, recall: bool) -> RunState | None:
        run = self.runs.get(record["run"])
        if run is None and record["kind"] == "open":
            run = self.runs[record["run"]] = RunState(record, self.directory)
            run.forgotten = run.identity.joined or run.identity.resumed > 0
        if run is not None and recall:
            self._recall(run)
        if run is not None and record["kind"] == "open" and not record["joined"]:
            run.record = record
            run.journal = journal
            run.running = True
        elif run is not None and record["kind"] == "open":
            run.is_of_several = True
        return run

    def _recall(self, run: RunState) -> None:
        if run.forgotten:
            run.recall(self.place)

    def _let_go(self) -> None:
        """Of many finished runs only the newest keep their config in memory; it is read back if need be."""
        if len(self.runs) > CONFIGS_KEPT and self.place.recalls:
            kept = [run for run in self.runs.values() if not run.forgotten and not run.running]
            for run in kept[:-CONFIGS_KEPT]:
                run.forget()

    def say_what_the_disk_lost(self) -> None:
        """Say in each run how many of its records no disk has taken."""
        for run_id, count in list(self.journal.lost.items()):
            del self.journal.lost[run_id]
            self._has_lost = True
            known = self.runs[run_id].config.get("autolog/lost", {}) if run_id in self.runs else {}
            lost = {**known, "journal": f"{count} records: {self.journal.last_error}"}
            self.journal.append(_config_record(run_id, {"autolog/lost": lost}, time.time()))

    def _cut(self) -> None:
        """Begin the journal anew when all of it has arrived."""
        Cursor().keep(self._ours.path)  # first: of a crash in between nothing may be passed over
        size = self.journal.restart(expected=self._ours.cursor.rows)
        if size is not None:
            self._ours.cursor.rows = size
        self._ours.keep()

    # Pictures and files -----------------------------------------------------------------------------

    @property
    def last_found(self) -> int:
        """The number of the last picture or file that is known of."""
        return self._number

    def has_brought(self, number: int) -> bool:
        """Whether all pictures and files up to this one have arrived."""
        sources = [self._ours, *self._left.values()]
        first = min((slow.number for source in sources for slow in source.waiting.values()), default=None)
        return first is None or first > number

    def take_what_was_brought(self) -> None:
        """Say in the runs what the backlog has brought."""
        while self.backlog.brought or self._arriving is not None:
            if self._arriving is None:
                ready = list(self.backlog.brought)
                for outcome in ready:
                    self._recall(outcome.slow.run)  # before they are taken: the place may be away
                outcomes = [self.backlog.brought.popleft() for _ in ready]
                batches: dict[str, Batch] = {}
                for outcome in outcomes:
                    run = outcome.slow.run
                    batch = batches.setdefault(run.id, Batch(run, self.helper))
                    run.is_anothers = self._is_anothers(run, outcome.slow.journal)
                    batch.take_outcome(outcome)
                self._arriving = outcomes, batches
            outcomes, batches = self._arriving
            self._deliver_batches(batches)
            self._arriving = None
            self._strike_off(outcomes)

    def _is_anothers(self, run: RunState, journal: Path) -> bool:
        """Whether another process goes on with a run that somebody has left in this journal."""
        return run.journal != self._ours.path and run.id in taken_over(journal)

    def _strike_off(self, outcomes: list[Outcome]) -> None:
        touched: dict[Path, Source] = {}
        for outcome in outcomes:
            self.brought[outcome.slow.run.id] += 1
            self.arrived.take(outcome)
            source = self._source_of(outcome.slow)
            if source is not None and source.waiting.pop(outcome.slow.offset, None) is not None:
                source.cursor.arrived.add(outcome.slow.offset)
                touched[source.path] = source
        for source in touched.values():
            source.keep()
        for outcome in outcomes:  # not before: who comes after a crash needs them once more
            if outcome.record is not None and outcome.record["kind"] == "artifact":
                discard_staged(outcome.record)
        for source in touched.values():  # before anybody is told that all has arrived
            self._let_go_of(source)

    def _source_of(self, slow: Slow) -> Source | None:
        return self._ours if slow.journal == self._ours.path else self._left.get(slow.journal)

    # What others have left --------------------------------------------------------------------------

    def sweep(self) -> None:
        """Deliver the rows of what processes that are gone have left for this destination.

        Their pictures and files come with ours, by worth. A journal of which all has arrived is removed.
        """
        found = False
        for orphan in self.journal.orphans():
            found = True
            if orphan.path in self._left or not self.is_for_us(orphan.path):
                orphan.file.close()
            else:
                self._left[orphan.path] = Source(orphan.path, orphan)
        self.has_company = len(list(self.directory.glob("*.jsonl"))) > 1
        if not found and not self._left:
            self._tidy()
        failure: Exception | None = None
        for source in list(self._left.values()):
            try:
                self._deliver_left(source)
            except Exception as error:
                failure = error
        if failure is not None:
            raise failure

    def is_for_us(self, path: Path) -> bool:
        """Whether what this journal holds goes to where we deliver, in a way that we know."""
        to, version = head_of(path)
        if version > VERSION and path not in self._said_newer:
            self._said_newer.add(path)
            logger.warning(
                "autolog: %s was written by a newer version of autolog; it is left for that one to deliver.",
                path,
            )
        return to == self.destination and version <= VERSION

    def _deliver_left(self, source: Source) -> None:
        if not source.path.exists():  # its process had closed it, and then removed it itself
            source.begin_again()
            del self._left[source.path]
            _unlock(source)
            return
        with one_at_a_time(takers_of(source.path), TAKERS_SECONDS):  # nobody goes on with a run meanwhile
            self._go_on_with(source)
            self._deliver_rows(source)
            self._mark_unfinished(source)
        self._let_go_of(source)
        if source.waiting and source.orphan is not None and not source.orphan.is_locked:
            source.path.touch()  # that it is being delivered can be seen by its age alone

    def _let_go_of(self, source: Source) -> None:
        """Remove a journal that somebody has left, if all of it has arrived."""
        if not source.waiting and source.marks == {} and self._left.pop(source.path, None) is not None:
            with one_at_a_time(takers_of(source.path), TAKERS_SECONDS):
                remove(source.path)
            _unlock(source)

    def _go_on_with(self, source: Source) -> None:
        """Read what is delivered of it already: who its runs are, and which pictures and files are left.

        And again when another process goes on with one of its runs meanwhile.
        """
        gone_on_with = taken_over(source.path)
        if source.begun is None and source.cursor == Cursor():
            source.cursor = Cursor.of(source.path)
            source.taken_over = gone_on_with
            tail = Tail(source.path)
            while tail.offset < source.cursor.rows and (
                records := tail.read_placed(source.cursor.rows - tail.offset)
            ):
                batches = self._batches(records, source, recall=False)  # no place is asked: it may be away
                _expect(batches)
                for batch in batches.values():
                    batch.run.forgotten = True  # what stands at the place is said with what was lost
                    source.waiting.update((slow.offset, slow) for slow in batch.slow)
                    self.backlog.add(batch.slow)
        elif gone_on_with != source.taken_over:
            source.taken_over = gone_on_with
            source.begin_again()

    def _mark_unfinished(self, source: Source) -> None:
        """Say of the runs that have no end in it what is known of their process."""
        if source.marks is None:
            source.marks = {}
            now = time.time()
            for run in list(self.runs.values()):
                if run.id in source.taken_over:
                    run.is_anothers = run.journal != self._ours.path
                elif run.journal == source.path and run.running:
                    self._recall(run)
                    batch = source.marks[run.id] = Batch(run, self.helper)
                    has_ended = source.orphan is None or source.orphan.has_ended
                    for record in _crash(run, now) if has_ended else _no_sign(run, now, source):
                        run.take(record)
                        batch.take(record)
        if source.marks:
            self._deliver_batches(source.marks)
            source.marks = {}

    def _tidy(self) -> None:
        """Once: remove files that a killed process had not finished, if there is nobody whose they may be."""
        if self._is_tidy:
            return
        self._is_tidy = True
        ours = self.journal.path.stem.rpartition("-")[0]
        if all(path.stem.rpartition("-")[0] == ours for path in self.directory.glob("*.jsonl")):
            half_made = [*self.directory.glob("*.new"), *(self.directory.parent / "files").glob("*")]
            for path in half_made:
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < time.time() - HALF_MADE_SECONDS:
                        path.unlink() if path.is_file() else shutil.rmtree(path)


def _expect(batches: dict[str, Batch]) -> None:
    """From now on these runs wait for the pictures and files of these batches."""
    for batch in batches.values():
        batch.run.pending += len(batch.slow)


def _crash(run: RunState, now: float) -> Iterator[Record]:
    alert: AlertRecord = {
        "kind": "alert",
        "run": run.id,
        "id": f"{run.id}-crashed",
        "time": now,
        "step": run.last_step,
        "title": f"{run.identity.name} crashed",
        "text": "Its process ended without finishing it. What was recorded until then is here.",
        "level": "error",
    }
    yield alert
    # What an owner that came after this process has said of the end of a shared run holds.
    ended, status = run.ended
    finish: FinishRecord = {
        "kind": "finish",
        "run": run.id,
        "id": f"{run.id}-ended",
        "time": now,
        "status": status if ended > run.record["time"] else "crashed",
    }
    yield finish
    if run.identity.adopted and run.config.get("status") == "running":  # else it is a word of the user's own
        yield _config_record(run.id, {"status": finish["status"]}, now)


def _no_sign(run: RunState, now: float, source: Source) -> Iterator[Record]:
    assert source.orphan is not None
    host = source.path.stem.rsplit("-", 2)[0]
    since = datetime.fromtimestamp(source.orphan.last_sign, UTC)
    text = f"no sign of it from host {host} since {since:%Y-%m-%d %H:%M} UTC; whether it goes on is not known"
    notes = {**run.config.get("autolog/notes", {}), "process": text}
    yield _config_record(run.id, {"autolog/notes": notes}, now)


def _still_valid(lines: list[tuple[int, Line]], source: Source) -> Iterator[tuple[int, Record]]:
    """Of a run that another process goes on with: what was logged, but not its config and end."""
    for offset, line in lines:
        if line["kind"] == "journal":
            continue
        if line["run"] not in source.taken_over:
            yield offset, line
        elif line["kind"] == "open":
            yield offset, cast(OpenRecord, {**line, "joined": True})
        elif line["kind"] not in ("config", "finish"):
            yield offset, line


def _config_record(run_id: str, values: Config, now: float) -> ConfigRecord:
    return {"kind": "config", "run": run_id, "id": f"{run_id}-known", "time": now, "values": values}


def _unlock(source: Source) -> None:
    if source.orphan is not None:
        source.orphan.file.close()
