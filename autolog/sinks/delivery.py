"""Delivery: what journals hold is put together by run and brought to a place, in bulk and idempotently.

Each record has an id of its own, so that nothing is lost and nothing doubled however often it is tried. What
a destination is made of is the business of its :class:`autolog.sinks.place.Place`.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import cast

from autolog.sinks import AlertRecord, ConfigRecord, FinishRecord, OpenRecord, Record
from autolog.sinks.batch import Batch, Refused, discard_staged
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination, destination_of
from autolog.sinks.journal import Journal, Line, Tail, cursor_of, remove
from autolog.sinks.place import Config, Place
from autolog.sinks.state import RunState
from autolog.sinks.takeover import taken_over

__all__ = ["Delivery"]

HALF_MADE_SECONDS = 3_600.0
CONFIGS_KEPT = 500
MOST_REFUSALS = 10  # two minutes and a half, with the pauses in between
JOURNAL_BYTES = 16_000_000  # delivered; then the journal begins anew


class Delivery:
    """Brings to one destination what this process' journal holds, and what others have left for it.

    Args:
        directory: where the journals are.
        make_place: makes the :class:`Place`; called by whoever delivers first, since it takes a while.
        helper: the process that the place may live in.
        write_through, when_stirred: see :class:`Journal`.

    Attributes:
        journal: this process' own.
        has_company: whether other processes write here, and may leave something.
    """

    def __init__(
        self,
        destination: Destination,
        directory: Path,
        make_place: Callable[[], Place],
        helper: Helper,
        *,
        write_through: bool,
        when_stirred: Callable[[], object],
    ):
        self.destination = destination
        self.directory = directory
        self.helper = helper
        self.has_company = False
        self.runs: dict[str, RunState] = {}
        self.journal = Journal(directory, self.head, write_through=write_through, when_stirred=when_stirred)
        self._make_place = make_place
        self._ours = Tail(self.journal.path)
        self._drawer = Helper(niceness=10)  # a picture is half a second, and may come later
        # Of each journal the part that is being delivered: from where, to where, and what is left of it. On a
        # line that breaks all the time a part that began from its start each time would never end.
        self._begun: dict[Path, tuple[int, int, dict[str, Batch]]] = {}
        self._taken_over: dict[Path, set[str]] = {}  # runs of a journal that another one goes on with
        self._rows_delivered: set[Path] = set()  # of those journals that others have left
        self._is_tidy = False

    def head(self) -> list[Line]:
        """What a journal begins with, for whoever may find it: where to, and who is open."""
        head: list[Line] = [{"kind": "journal", "run": "", "to": list(self.destination)}]
        for run in list(self.runs.values()):
            if run.running and run.journal == self._ours.path:
                head += [run.record, _config_record(run.id, run.config)]
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
    def is_done(self) -> bool:
        """Whether all that stands in our journal has arrived."""
        path = self.journal.path
        return self._ours.path == path and self._ours.offset >= path.stat().st_size

    def close(self) -> None:
        """Give up the journal; remove it if all of it is delivered and every run in it has ended."""
        self.helper.close()
        self._drawer.close()
        self.journal.close()
        whole = self._ours.offset >= self.journal.path.stat().st_size
        if whole and not any(run.running for run in self.runs.values()):
            remove(self.journal.path)

    def deliver_ours(self) -> None:
        """Deliver what this process has logged."""
        if self._ours.path != self.journal.path:  # it was taken away; whoever has it delivers it
            self._ours = Tail(self.journal.path)
        self._deliver(self._ours)

    def _deliver(self, delivered: Tail, until: Container[str] = ()) -> None:
        """Deliver what stands behind ``delivered``, and move it on: only over what has arrived.

        Args:
            until: in parts that end with a record of these kinds; between them what is ours is delivered.
        """
        place, path = self.place, delivered.path
        while True:
            begun = self._begun.get(path)
            if begun is None or begun[0] != delivered.offset:
                ahead = Tail(path, delivered.offset)
                records = ahead.read(until=until)
                if ahead.offset == delivered.offset:
                    return
                begun = self._begun[path] = (delivered.offset, ahead.offset, self._batches(records, path))
            self._deliver_batches(begun[2], place)
            delivered.offset = begun[1]
            del self._begun[path]
            cursor_of(path).write_text(str(delivered.offset))
            for batch in begun[2].values():  # not before: who comes after a crash needs them once more
                for record in batch.arrived:
                    discard_staged(record)
            if delivered is self._ours and delivered.offset > JOURNAL_BYTES:
                self._cut()
            if until and self.is_local:
                self.deliver_ours()

    def say_what_the_disk_lost(self) -> None:
        """Say in each run how many of its records no disk has taken."""
        for run_id, count in list(self.journal.lost.items()):
            del self.journal.lost[run_id]
            known = self.runs[run_id].config.get("autolog/lost", {}) if run_id in self.runs else {}
            lost = {**known, "journal": f"{count} records: {self.journal.last_error}"}
            self.journal.append(_config_record(run_id, {"autolog/lost": lost}))

    def _cut(self) -> None:
        """Begin the journal anew when all of it has arrived."""
        cursor_of(self.journal.path).write_text(
            "0"
        )  # first: of a crash in between nothing may be passed over
        size = self.journal.restart(self.head(), expected=self._ours.offset)
        if size is not None:
            self._ours.offset = size
        cursor_of(self.journal.path).write_text(str(self._ours.offset))

    def _batches(self, records: list[Line], journal: Path) -> dict[str, Batch]:
        batches: dict[str, Batch] = {}
        for record in self._still_valid(records, journal):
            run = self._state(record, journal)
            if run is not None:
                run.take(record)
                batches.setdefault(run.id, Batch(run, self.helper, self._drawer)).take(record)
        return batches

    def _still_valid(self, lines: list[Line], journal: Path) -> list[Record]:
        """Of a run that another process goes on with: what was logged, but not its config and end."""
        records = [line for line in lines if line["kind"] != "journal"]
        elsewhere = self._taken_over.get(journal)
        if not elsewhere:
            return records
        return [
            cast(OpenRecord, {**record, "joined": True})
            if record["kind"] == "open" and record["run"] in elsewhere
            else record
            for record in records
            if record["run"] not in elsewhere or record["kind"] not in ("config", "finish")
        ]

    def _deliver_batches(self, batches: dict[str, Batch], place: Place) -> None:
        """After a failure the same batches come again, less what has arrived of them."""
        refused = [batch for batch in batches.values() if not batch.deliver(place)]
        for batch in refused:
            batch.refusals += 1
            # A run that is refused alone must not keep the others waiting for ever.
            batch.is_alone = batch.is_alone or len(refused) < len(batches)
            if batch.is_alone and batch.refusals >= MOST_REFUSALS:
                batch.give_up()
        if any(batch.refusal for batch in refused):
            raise ConnectionError(f"it refuses what it is given: {refused[0].refusal}")
        self._let_go()

    def _state(self, record: Record, journal: Path) -> RunState | None:
        run = self.runs.get(record["run"])
        if run is None and record["kind"] == "open":
            run = self.runs[record["run"]] = RunState(record, self.directory)
            run.forgotten = run.identity.joined or run.identity.resumed > 0
        if run is not None and run.forgotten:
            run.config = self.place.config(run.identity) or run.config
            run.forgotten = False
        if run is not None and record["kind"] == "open" and not record["joined"]:
            run.record = record
            run.journal = journal
            run.running = True
        elif run is not None and record["kind"] == "open":
            run.is_of_several = True
        return run

    def _let_go(self) -> None:
        """Of many finished runs only the newest keep their config in memory; it is read back if need be."""
        if len(self.runs) > CONFIGS_KEPT and self.place.recalls:
            kept = [run for run in self.runs.values() if not run.forgotten and not run.running]
            for run in kept[:-CONFIGS_KEPT]:
                run.config, run.forgotten = {}, True

    def sweep(self) -> None:
        """Deliver what processes that are gone have left for this destination."""
        left = list(self.journal.orphans())
        self.has_company = len(list(self.directory.glob("*.jsonl"))) > 1
        if not left:
            self._tidy()
        failure: Exception | None = None
        try:
            ours = [path for path, _ in left if _destination_of(path) == self.destination]
            for deliver in (self._deliver_rows_of, self._deliver_orphan):
                for path in ours:
                    try:
                        deliver(path)
                    except Exception as error:
                        failure = error
        finally:
            for _, file in left:
                file.close()
        if failure is not None:
            raise failure

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

    def _deliver_rows_of(self, path: Path) -> None:
        """Once: what is soon done, of all who have left something, before the first picture is drawn.

        Else short programs, each of which has time for a picture or two, would keep the runs of earlier ones
        waiting for ever. It comes once more, in its place.
        """
        tail = self._opened(path)
        if path in self._rows_delivered or not _holds(Tail(path, tail.offset), _SLOW):
            return
        while records := tail.read():
            for batch in self._batches(records, path).values():
                with contextlib.suppress(Refused):  # which is counted in its place
                    batch.deliver_rows(self.place)
        self._rows_delivered.add(path)

    def _deliver_orphan(self, path: Path) -> None:
        tail = self._opened(path)
        self._deliver(tail, until=_SLOW)
        for run in list(self.runs.values()):
            if (
                run.journal == path
                and run.running
                and not run.identity.adopted
                and run.id not in self._taken_over[path]
            ):
                self._mark_crashed(run)
        remove(path)

    def _opened(self, path: Path) -> Tail:
        """What is left of a journal that somebody has left; what is delivered of it is known."""
        tail = Tail(path)
        gone_on_with = taken_over(path)
        if gone_on_with != self._taken_over.get(path, set()):
            self._begun.pop(path, None)  # it was begun before
        self._taken_over[path] = gone_on_with
        try:
            delivered = int(cursor_of(path).read_text())
        except (OSError, ValueError):
            delivered = 0
        while tail.offset < delivered and (records := tail.read(delivered - tail.offset)):
            for record in self._still_valid(records, path):
                if (run := self._state(record, path)) is not None:
                    run.take(record)
        return tail

    def _mark_crashed(self, run: RunState) -> None:
        now = time.time()
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
        # What an owner that came after this process has said of the end of a shared run holds.
        ended, status = run.ended
        finish: FinishRecord = {
            "kind": "finish",
            "run": run.id,
            "id": f"{run.id}-ended",
            "time": now,
            "status": status if ended > run.record["time"] else "crashed",
        }
        assert run.journal is not None
        self._deliver_batches(self._batches([alert, finish], run.journal), self.place)


_SLOW = ("chart", "html", "artifact")  # records that may take as long as all others together


def _config_record(run_id: str, values: Config) -> ConfigRecord:
    return {"kind": "config", "run": run_id, "id": f"{run_id}-known", "time": time.time(), "values": values}


def _holds(tail: Tail, kinds: Container[str]) -> bool:
    while records := tail.read():
        if any(record["kind"] in kinds for record in records):
            return True
    return False


def _destination_of(journal: Path) -> Destination | None:
    for record in Tail(journal).read(4096):
        if record["kind"] == "journal":
            return destination_of(record["to"])
    return None
