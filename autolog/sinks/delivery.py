"""Delivery: what the journal holds is put together by run and brought to a place, in bulk and idempotently.

A :class:`Channel` per destination holds one journal and one thread. Each record has an id of its own, so
that nothing is lost and nothing doubled however often it is tried. What a destination is made of is the
business of its :class:`Place`; see trackio.py.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Container, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from autolog.process import forks, threads
from autolog.process.threads import Bell
from autolog.sinks import Record
from autolog.sinks.helper import DRAWING_SECONDS, Helper, draw
from autolog.sinks.journal import Journal, Tail, one_at_a_time, try_lock

__all__ = ["Channel", "Destination", "Place", "RunState", "birth_of", "discard_staged", "iso", "take_over"]

logger = logging.getLogger("autolog")

DELIVER_SECONDS = 0.5
REST_SECONDS = 30.0  # while nothing comes: whoever wakes up holds the user's threads up, see journal.py
LONGEST_PAUSE = 30.0
SWEEP_SECONDS = 5.0
HALF_MADE_SECONDS = 3_600.0
CONFIGS_KEPT = 500
MUCH_SECONDS = 0.010
SHARED_SECONDS = 5.0  # that others' change to a shared run's config is waited for
MOST_REFUSALS = 10  # two minutes and a half, with the pauses in between
JOURNAL_BYTES = 16_000_000  # delivered; then the journal begins anew

Destination = tuple[str, str]
"""``("local", "")``, ``("server", "https://host")`` or ``("space", "user/space")``."""


class Place(Protocol):
    """A destination, as far as delivery needs to know it. Everything may be delivered twice."""

    recalls: bool
    """Whether a config that was delivered can be read back."""

    def rows(self, run: RunState, rows: list[Record], config: dict[str, Any] | None) -> None:
        """Metrics and tables; a config replaces the one that stands there, and may come without rows."""

    def system(self, run: RunState, rows: list[Record]) -> None:
        """The machine's load."""

    def alerts(self, run: RunState, alerts: list[Record]) -> None:
        """What a person should see."""

    def media(self, run: RunState, step: int, name: str, text: str) -> str:
        """Put a file where the dashboard looks for it; returns the path that a row refers to it by."""

    def artifact(self, run: RunState, record: Record) -> None:
        """A version of an artifact."""

    def config(self, run: RunState) -> dict[str, Any] | None:
        """The config that stands there already."""


class Channel:
    """One destination: its journal, and the thread that delivers it.

    Args:
        directory: where the journals are.
        place: makes the :class:`Place`; called on the thread that delivers, since it takes a while.
        helper: the process that the place may live in.
    """

    def __init__(
        self,
        destination: Destination,
        directory: Path,
        place: Callable[[], Place],
        helper: Helper | None = None,
        *,
        write_through: bool = False,
    ):
        self.destination = destination
        self.directory = directory
        self._make_place = place
        self._runs: dict[str, RunState] = {}
        self._bell = Bell()
        _bells.add(self._bell)
        self.journal = Journal(
            self.directory, self._head, write_through=write_through, when_stirred=self._bell.ring
        )
        self._delivered = Tail(self.journal.path)
        self.helper = helper or Helper()
        self._drawer = Helper(niceness=10)  # a picture is half a second, and may come later
        # Of each journal the part that is being delivered: from where, to where, and what is left of it. On a
        # line that breaks all the time a part that began from its start each time would never end.
        self._begun: dict[Path, tuple[int, int, dict[str, _Batch]]] = {}
        self._taken_over: dict[Path, set[str]] = {}  # runs of a journal that another one goes on with
        self._asked: list[Bell] = []
        self._rows_delivered: set[Path] = set()  # of those journals that others have left
        self._has_company = False  # other processes write here, and may leave something
        self._closed = False
        self._failures = 0
        self._is_tidy = False
        self._thread: threading.Thread | None = None
        if not write_through:
            self._thread = threads.start("autolog-deliver", self._loop)

    def _head(self) -> list[Record]:
        """What a journal begins with, for whoever may find it: where to, and who is open."""
        head: list[Record] = [{"kind": "journal", "run": "", "to": list(self.destination)}]
        for run in list(self._runs.values()):
            if run.running and run.journal == self._delivered.path:
                head += [run.record, {"kind": "config", "run": run.id, "values": run.config}]
        return head

    @functools.cached_property
    def _place(self) -> Place:
        return self._make_place()

    def ask(self) -> Callable[[float], bool]:
        """Ask for everything appended so far to be delivered; returns how to wait for it."""
        if self._thread is None:
            return self.journal.sync
        done = Bell()

        def wait(timeout: float) -> bool:
            end = time.monotonic() + timeout
            if not self.journal.sync(timeout):
                return False
            self._asked.append(done)
            self._bell.ring()
            return done.wait(max(0.0, end - time.monotonic()))

        return wait

    def close(self) -> None:
        """Give up the journal; remove it if all of it is delivered and every run in it has ended."""
        self._closed = True
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(timeout=0.2)
        self.helper.close()
        self._drawer.close()
        self.journal.close()
        whole = self._delivered.offset >= self.journal.path.stat().st_size
        if whole and not any(run.running for run in self._runs.values()):
            _remove(self.journal.path)

    def _loop(self) -> None:
        last_sweep = 0.0
        while not self._closed:
            asked, self._asked = self._asked, []
            try:
                if not last_sweep and not self._is_local:
                    # What is older goes first: a server dates rows by when they come.
                    with contextlib.suppress(Exception):  # said below, where it is tried again
                        self._sweep()
                self._deliver_ours()
                self._say_what_the_disk_lost()
                if asked or time.monotonic() - last_sweep > SWEEP_SECONDS:
                    self._sweep()
                    last_sweep = time.monotonic()
                self._failures = 0
                for done in asked:
                    done.ring()
            except Exception as error:
                self._failures += 1
                self._asked = asked + self._asked
                if not self._closed:  # else whatever it waited for was ended with the program
                    _say_once(self.destination, error)
            rest = SWEEP_SECONDS if self._has_company or _has_forked else REST_SECONDS
            self._bell.wait(rest if self._may_rest() else _pause(self._failures))

    def _may_rest(self) -> bool:
        """Whether there is nothing to be done until the journal says that something has come."""
        if self._failures or not self.journal.is_resting:  # asked first: what comes after this, stirs
            return False
        with contextlib.suppress(OSError):  # it was taken away
            path = self.journal.path
            return self._delivered.path == path and self._delivered.offset >= path.stat().st_size
        return False

    @property
    def _is_local(self) -> bool:
        return self.destination[0] == "local"

    def _deliver_ours(self) -> None:
        if self._delivered.path != self.journal.path:  # it was taken away; whoever has it delivers it
            self._delivered = Tail(self.journal.path)
        self._deliver(self._delivered)

    def _deliver(self, delivered: Tail, until: Container[str] = ()) -> None:
        """Deliver what stands behind ``delivered``, and move it on: only over what has arrived.

        Args:
            until: in parts that end with a record of these kinds; between them what is ours is delivered.
        """
        place, path = self._place, delivered.path
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
            _cursor(path).write_text(str(delivered.offset))
            for batch in begun[2].values():  # not before: who comes after a crash needs them once more
                for record in batch.arrived:
                    discard_staged(record)
            if delivered is self._delivered and delivered.offset > JOURNAL_BYTES:
                self._cut()
            if until and self._is_local:
                self._deliver_ours()

    def _say_what_the_disk_lost(self) -> None:
        for run_id, count in list(self.journal.lost.items()):
            del self.journal.lost[run_id]
            known = self._runs[run_id].config.get("autolog/lost", {}) if run_id in self._runs else {}
            lost = {**known, "journal": f"{count} records: {self.journal.last_error}"}
            self.journal.append({"kind": "config", "run": run_id, "values": {"autolog/lost": lost}})

    def _cut(self) -> None:
        """Begin the journal anew when all of it has arrived."""
        _cursor(self.journal.path).write_text("0")  # first: of a crash in between nothing may be passed over
        size = self.journal.restart(self._head(), expected=self._delivered.offset)
        if size is not None:
            self._delivered.offset = size
        _cursor(self.journal.path).write_text(str(self._delivered.offset))

    def _batches(self, records: list[Record], journal: Path) -> dict[str, _Batch]:
        batches: dict[str, _Batch] = {}
        for record in self._still_valid(records, journal):
            run = self._state(record, journal)
            if run is not None:
                run.take(record)
                batches.setdefault(run.id, _Batch(run, self.helper, self._drawer)).take(record)
        return batches

    def _still_valid(self, records: list[Record], journal: Path) -> list[Record]:
        """Of a run that another process goes on with: what was logged, but not its config and end."""
        taken_over = self._taken_over.get(journal)
        if not taken_over:
            return records
        return [
            {**record, "joined": True} if record["kind"] == "open" and record["run"] in taken_over else record
            for record in records
            if record["run"] not in taken_over or record["kind"] not in ("config", "finish")
        ]

    def _deliver_batches(self, batches: dict[str, _Batch], place: Place) -> None:
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
        run = self._runs.get(record["run"])
        if run is None and record["kind"] == "open":
            run = self._runs[record["run"]] = RunState(record, self.directory)
            run.forgotten = record["joined"] or bool(record.get("resumed"))
        if run is not None and run.forgotten:
            run.config = self._place.config(run) or run.config
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
        if len(self._runs) > CONFIGS_KEPT and self._place.recalls:
            kept = [run for run in self._runs.values() if not run.forgotten and not run.running]
            for run in kept[:-CONFIGS_KEPT]:
                run.config, run.forgotten = {}, True

    def _sweep(self) -> None:
        """Deliver what processes that are gone have left for this destination."""
        left = list(self.journal.left())
        self._has_company = len(list(self.directory.glob("*.jsonl"))) > 1
        if not left:
            self._tidy()
        failure: Exception | None = None
        try:
            ours = [path for path, _ in left if _destination_of(path) == self.destination]
            for deliver in (self._deliver_rows_of, self._deliver_left):
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
                with contextlib.suppress(_Refused):  # which is counted in its place
                    batch.deliver_rows(self._place)
        self._rows_delivered.add(path)

    def _deliver_left(self, path: Path) -> None:
        tail = self._opened(path)
        self._deliver(tail, until=_SLOW)
        for run in list(self._runs.values()):
            if (
                run.journal == path
                and run.running
                and not run.adopted
                and run.id not in self._taken_over[path]
            ):
                self._mark_crashed(run)
        _remove(path)

    def _opened(self, path: Path) -> Tail:
        """What is left of a journal that somebody has left; what is delivered of it is known."""
        tail = Tail(path)
        taken_over = _taken_over(path)
        if taken_over != self._taken_over.get(path, set()):
            self._begun.pop(path, None)  # it was begun before
        self._taken_over[path] = taken_over
        try:
            delivered = int(_cursor(path).read_text())
        except (OSError, ValueError):
            delivered = 0
        while tail.offset < delivered and (records := tail.read(delivered - tail.offset)):
            for record in self._still_valid(records, path):
                if (run := self._state(record, path)) is not None:
                    run.take(record)
        return tail

    def _mark_crashed(self, run: RunState) -> None:
        now = time.time()
        finish = {"kind": "finish", "run": run.id, "time": now, "status": "crashed"}
        alert = {
            "kind": "alert",
            "run": run.id,
            "id": f"{run.id}-crashed",
            "time": now,
            "step": run.last_step,
            "title": f"{run.name} crashed",
            "text": "Its process ended without finishing it. What was recorded until then is here.",
            "level": "error",
        }
        assert run.journal is not None
        self._deliver_batches(self._batches([alert, finish], run.journal), self._place)


_SLOW = ("chart", "html", "artifact")  # records that may take as long as all others together


def _holds(tail: Tail, kinds: Container[str]) -> bool:
    while records := tail.read():
        if any(record["kind"] in kinds for record in records):
            return True
    return False


# Runs that are gone on with -------------------------------------------------------------------------


def take_over(journal: Path, run_id: str, timeout: float) -> dict[str, Any] | None:
    """Go on with a run of a process that is gone: from now on what its journal says of its end is past.

    Returns:
        The run's config as the journal tells it; empty if the journal has been delivered, and stands where
        it was delivered to. None: somebody is delivering it, for longer than ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            with journal.open("r+b") as file:
                if try_lock(file) and journal.exists():  # who delivers it holds this lock
                    with _takers(journal).open("a") as takers:
                        takers.write(f"{run_id}\n")
                    return _config_in(journal, run_id)
        except FileNotFoundError:
            return {}
        if time.monotonic() > end:
            return None
        time.sleep(0.02)


def _config_in(journal: Path, run_id: str) -> dict[str, Any]:
    run: RunState | None = None
    tail = Tail(journal)
    while records := tail.read():
        for record in records:
            if record["run"] == run_id:
                if record["kind"] == "open" and run is None:
                    run = RunState(record)
                elif run is not None:
                    run.take(record)
    return run.config if run is not None else {}


def _takers(journal: Path) -> Path:
    return journal.with_suffix(".resumed")


def _taken_over(journal: Path) -> set[str]:
    try:
        return set(_takers(journal).read_text().split())
    except OSError:
        return set()


_has_forked = False  # then children leave what they have logged to this process
_bells: weakref.WeakSet[Bell] = weakref.WeakSet()  # of its channels


def _children_may_come() -> None:
    global _has_forked
    _has_forked = True
    for bell in list(_bells):
        bell.ring()  # who rests is to rest for a shorter time


forks.when_forked("delivery", in_parent=_children_may_come)


# What is put together for delivery ------------------------------------------------------------------


class RunState:
    """What delivery must remember of a run: who it is, and its whole config.

    Args:
        record: with which a process opened it.
        directory: where the journals of this machine's processes are, for one that several of them own.
    """

    def __init__(self, record: Record, directory: Path | None = None):
        self.record = record
        self._directory = directory
        self.id: str = record["run"]
        self.project: str = record["project"]
        self.name: str = record["name"]
        self.adopted: bool = record["adopted"]
        self.shared = bool(record.get("shared"))
        self.is_of_several = self.shared or bool(record.get("joined"))  # each process knows its own part
        self.journal: Path | None = None  # the one whose process owns the run
        self.running = False
        self.is_born = False  # whether the place has a row of it: a run is what has one
        self.last_step = 0
        self.config: dict[str, Any] = {}
        self.changes: list[dict[str, Any]] = []  # of a shared run: what has not been written yet
        self.forgotten = False  # whether the config stands only at the place, and is read when needed
        self.seconds = 0.0  # of CPU that delivering it has cost
        self._overhead: tuple[float, float] | None = None  # of the caller's time: seconds, percent
        self._told_seconds = 0.0  # of delivery, by the config that was put together last
        if not self.adopted:  # the user's own run has its own
            self.config = {
                "_Username": None,
                "_Created": iso(record["time"]),
                "_Group": record["group"],
            }

    def ordered_config(self) -> dict[str, Any]:
        """The config as a person reads it: what one groups by first, the long tail after it."""
        config = self.config
        if self._overhead is not None:
            self._told_seconds = self.seconds
            callers, percent = self._overhead
            seconds = callers + self.seconds
            config = {
                **config,
                "autolog/overhead_seconds": round(seconds, 6),
                "autolog/overhead_percent": round(percent * seconds / callers, 2) if callers else percent,
            }
        return dict(sorted(config.items(), key=lambda item: isinstance(item[1], (dict, list))))

    def has_become_dearer(self) -> bool:
        """Whether it has ended, and its delivery has cost more since its config was put together."""
        more = self.seconds - self._told_seconds
        return not self.running and self._overhead is not None and more > MUCH_SECONDS

    def change(self, values: dict[str, Any]) -> None:
        self.config = _together(self.config, values) if self.is_of_several else {**self.config, **values}
        if self.shared:
            self.changes.append(values)

    @contextlib.contextmanager
    def whole_config(self, place: Place) -> Iterator[dict[str, Any]]:
        """The config that is to be put. Of a shared run it is upon what others have made of it by now.

        They wait until ours stands there. A change that tells of a time (``as_of``) gives way to one of a
        later time, whichever comes last.
        """
        if not self.shared or not place.recalls or self._directory is None:
            yield self.ordered_config()
            return
        with one_at_a_time(self._directory, SHARED_SECONDS):
            self.config.update(place.config(self) or {})
            for values in self.changes:
                if values.get("as_of", "") >= self.config.get("as_of", "") or "as_of" not in values:
                    self.config = _together(self.config, values)
            yield self.ordered_config()
            self.changes.clear()  # not before it has arrived

    def take(self, record: Record) -> None:
        if record["kind"] == "config":
            values = dict(record["values"])
            if "group" in values:
                values["_Group"] = values.pop("group")
            if "autolog/overhead_seconds" in values:
                self._overhead = values["autolog/overhead_seconds"], values["autolog/overhead_percent"]
            self.change(values)
        elif record["kind"] == "finish":
            self.running = False
            self.change({"status": record["status"]})
        elif record["kind"] == "row":
            self.last_step = max(self.last_step, record["step"])


# Of these each process writes all that it knows of.
_GROWING = ("params", "tags", "children", "autolog/notes", "autolog/faults", "autolog/lost")


def _together(config: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A config with keys of another process's: what grows is what both have, the rest is the later one's."""
    config = {**config, **values, **{key: config[key] for key in _GROWING if key in config}}
    for key in _GROWING:
        old, new = config.get(key), values.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            config[key] = {**old, **new}
        elif isinstance(old, list) and isinstance(new, list):
            config[key] = [*old, *(item for item in new if item not in old)]
        elif key in values:
            config[key] = new
    return config


class _Batch:
    """One run's records of one batch."""

    def __init__(self, run: RunState, helper: Helper, drawer: Helper):
        self.run = run
        self._helper, self._drawer = helper, drawer
        self.refusals = 0
        self.refusal: Exception | None = None
        self.is_alone = False  # others were taken while this one was refused
        self.config_changed = False
        self.rows: list[Record] = []
        self.pictures: list[Record] = []
        self.system: list[Record] = []
        self.alerts: list[Record] = []
        self.artifacts: list[Record] = []
        self.arrived: list[Record] = []  # artifacts whose staged files may go
        self._since = 0.0

    def take(self, record: Record) -> None:
        kind = record["kind"]
        if kind in ("open", "config", "finish"):
            self.config_changed = self.config_changed or not (kind == "open" and record.get("joined"))
        else:
            {
                "row": self.rows,
                "chart": self.pictures,
                "html": self.pictures,
                "system": self.system,
                "alert": self.alerts,
                "artifact": self.artifacts,
            }[kind].append(record)

    def deliver(self, place: Place) -> bool:
        """Deliver, and forget what has arrived: after an error the next call goes on from there.

        Returns:
            False: the place takes nothing at all of this run, see ``refusal``.
        """
        self._since = time.thread_time()
        self._helper.take_seconds()  # of Trackio's import, which is nobody's
        try:
            self._deliver(place)
        except _Refused as refused:
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
            self._attempt(_artifact, place, self.artifacts[0])
            self.arrived.append(self.artifacts.pop(0))
        self._count_time()
        if self.run.has_become_dearer():
            self._put_config(place)

    def _deliver_rows(self, place: Place) -> None:
        if self.rows or self.config_changed:
            self._count_time()
            rows = [_row_of(row) for row in self.rows] or self._birth()
            self._put_rows(place, rows, with_config=self.config_changed)
            self.rows, self.config_changed = [], False

    def _picture(self, place: Place, run: RunState, record: Record) -> Record:
        """Have a chart drawn, and put it where the dashboard looks for it."""
        if record["kind"] == "html":
            text = record["text"]
        else:
            text = self._drawer.ask(draw, record["chart"], longest=DRAWING_SECONDS)
        page = text if text.lstrip()[:5].lower() in ("<!doc", "<html") else _PAGE.format(text)
        where = place.media(run, record["step"], f"{record['id']}.html", page)
        value = {"_type": "trackio.html", "file_path": where, "caption": record.get("caption")}
        return _row(record["id"], record["time"], record["step"], {record["key"]: value})

    def _put_rows(self, place: Place, rows: list[Record], *, with_config: bool) -> None:
        """Rows and config. What nobody takes is found by halving: it must not keep the rest from arriving."""
        try:
            if with_config:
                with self.run.whole_config(place) as config:
                    place.rows(self.run, rows, config)
            else:
                place.rows(self.run, rows, None)
            self.run.is_born = self.run.is_born or bool(rows)
        except Exception as error:
            if _is_transient(error):
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
                place.rows(self.run, self._birth(), config)
        except Exception as error:
            if _is_transient(error):
                raise
            _say_lost(self.run, "config", error)

    def _put(
        self, several: Callable[[RunState, list[Record]], None], place: Place, records: list[Record]
    ) -> None:
        try:
            several(self.run, records)
        except Exception as error:
            if _is_transient(error):
                raise
            if len(records) > 1:
                self._put(several, place, records[: len(records) // 2])
                self._put(several, place, records[len(records) // 2 :])
            else:
                self._lost(place, _name_of(records[0]), error)

    def _attempt(self, do: Callable[[Place, RunState, Record], Any], place: Place, record: Record) -> Any:
        """One picture or artifact that cannot be made must not keep the rest from arriving."""
        try:
            return do(place, self.run, record)
        except Exception as error:
            if _is_transient(error):
                raise
            self._lost(place, _name_of(record), error)
            return None

    def _birth(self) -> list[Record]:
        """What a run begins with that has no row yet."""
        return [] if self.run.is_born else [birth_of(self.run.id)]

    def _lost(self, place: Place, what: str, error: Exception) -> None:
        """Say in the run what has been lost, and why: if the place takes anything of this run at all."""
        try:
            place.rows(self.run, [birth_of(self.run.id)], None)
        except Exception as again:
            if _is_transient(again):
                raise
            raise _Refused(error) from again
        _say_lost(self.run, what, error)
        lost = {
            **self.run.config.get("autolog/lost", {}),
            what[:200]: f"{type(error).__name__}: {error}"[:500],
        }
        self.run.change({"autolog/lost": dict(list(lost.items())[:50])})
        self._put_config(place)


class _Refused(Exception):  # noqa: N818 - it never leaves this file
    """A place takes nothing of a run, not even its first, empty row: so it is not for one record's sake."""

    def __init__(self, error: Exception):
        self.error = error


def _name_of(record: Record) -> str:
    name = record.get("key") or record.get("name") or record.get("title") or ""
    return f"{record['kind']} {name}".strip()


def _say_lost(run: RunState, what: str, error: Exception) -> None:
    logger.warning(
        "autolog: %s of run %s cannot be recorded: %s: %s", what[:200], run.name, type(error).__name__, error
    )


def birth_of(run_id: str) -> Record:
    """The first row of a run that has none: empty, and always the same one."""
    return _row(f"{run_id}-0", 0.0, 0, {})


def _row(log_id: str, at: float, step: int, values: dict[str, Any]) -> Record:
    return {"id": log_id, "time": at or time.time(), "step": step, "values": values}


def _row_of(row: Record) -> Record:
    """A row as Trackio stores it: a list of rows is a table."""
    if list not in map(type, row["values"].values()):  # nearly all are numbers alone
        return row
    values = {
        key: {"_type": "trackio.table", "_value": value} if isinstance(value, list) else value
        for key, value in row["values"].items()
    }
    return {**row, "values": values}


_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><style>body{{margin:0;background:#fff;'
    "font-family:system-ui,sans-serif}}svg{{max-width:100%;max-height:100vh;display:block;margin:auto}}</style></head><body>{}</body></html>"
)


def _artifact(place: Place, run: RunState, record: Record) -> None:
    place.artifact(run, record)


# Small things ---------------------------------------------------------------------------------------


def discard_staged(record: Record) -> None:
    """Delete an artifact's files, if they are ours and have arrived."""
    if record["staged"]:
        for path in record["files"].values():
            with contextlib.suppress(OSError):
                os.unlink(path)
                folder = os.path.dirname(path)
                os.rmdir(folder)  # goes with the last file in it, as does that of the run
                os.rmdir(os.path.dirname(folder))


# What a path that is too long or not to be named answers, however often it is tried.
_FINAL = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


def _is_transient(error: BaseException) -> bool:
    """Whether trying again may help: the disk, a lock, the network; not a value that nobody takes."""
    if isinstance(error, FileNotFoundError) or getattr(error, "errno", None) in _FINAL:
        return False
    return isinstance(error, (OSError, sqlite3.OperationalError)) or type(error).__module__.startswith(
        ("httpx", "httpcore", "huggingface_hub")
    )


def _pause(failures: int) -> float:
    pause: float = DELIVER_SECONDS * 2 ** min(failures, 8)
    return min(LONGEST_PAUSE, pause)


_said: set[Destination] = set()


def _say_once(destination: Destination, error: Exception) -> None:
    if destination not in _said:
        _said.add(destination)
        logger.warning(
            "autolog: records cannot be delivered to %s now (%s: %s). They are kept on disk and tried again.",
            destination[1] or "the local Trackio database",
            type(error).__name__,
            error,
        )


def iso(at: float) -> str:
    """A time as Trackio writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def _cursor(journal: Path) -> Path:
    return journal.with_suffix(".delivered")


def _remove(journal: Path) -> None:
    for path in (journal, _cursor(journal), _takers(journal)):
        with contextlib.suppress(OSError):
            path.unlink()


def _destination_of(journal: Path) -> Destination | None:
    for record in Tail(journal).read(4096):
        if record["kind"] == "journal":
            kind, where = record["to"]
            return kind, where
    return None
