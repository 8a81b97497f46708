"""The backlog: pictures and files, which take long, brought to a place one after the other by their worth.

What a thread of its own brings it only makes and copies; what the run says of it, its row and its config, is
written by whoever delivers rows. So one thread alone writes what a run says, and no row waits for a picture.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autolog.capture.chart import can_be_drawn
from autolog.capture.made import Piece
from autolog.process import threads
from autolog.process.threads import Bell
from autolog.sinks import ArtifactRecord, ChartRecord, HtmlRecord, MadeRecord, MediaRecord
from autolog.sinks.helper import DRAWING_SECONDS, Helper, draw, make_all, raisable
from autolog.sinks.journal import record_at
from autolog.sinks.place import Place, Row, is_transient
from autolog.sinks.state import RunState
from autolog.sinks.storage import why_left_out

__all__ = ["WORTH", "Backlog", "Outcome", "Slow", "name_of"]

SlowRecord = ChartRecord | HtmlRecord | MadeRecord | MediaRecord | ArtifactRecord

# What a person sees first comes first; its kinds are those that take long.
WORTH = {"chart": 1, "html": 1, "made": 1, "media": 1, "artifact": 2}
LAST = 3  # what is made of all that has arrived
FILES = WORTH["artifact"]

START_SECONDS = 2.0  # a short program keeps its cores for itself
LONGEST_PAUSE = 30.0


@dataclass(eq=False)
class Slow:
    """A record that takes long: where it stands in a journal, until its turn comes.

    Attributes:
        number: in the order in which they were logged.
    """

    run: RunState
    journal: Path
    offset: int
    worth: int
    number: int

    @classmethod
    def of(cls, run: RunState, journal: Path, offset: int, record: Any, number: int) -> Slow:
        """A record of a journal."""
        worth = LAST if record.get("comes_last") else WORTH[record["kind"]]
        return cls(run, journal, offset, worth, number)


@dataclass(eq=False)
class Outcome:
    """What has become of one.

    Attributes:
        record: as the journal had it; None: somebody has taken the journal, and delivers it.
        rows: by which the run shows a picture, or several.
        lost: what can never be brought, and why.
        left_out: why it is not brought, on purpose.
        seconds: of CPU that it has cost.
    """

    slow: Slow
    record: SlowRecord | None
    rows: list[Row] = field(default_factory=list)
    lost: list[tuple[str, Exception]] = field(default_factory=list)
    left_out: str | None = None
    seconds: float = 0.0


class Backlog:
    """Brings what takes long, on a thread and in processes of low priority.

    Args:
        make_place: makes the place; called on that thread.
        drawer: the process that draws, and that the place may live in.
        when_brought: called on that thread after each one.

    Attributes:
        brought: what is done, for whoever delivers rows.
        error: why it does not go on now; None: it does.
    """

    def __init__(self, make_place: Callable[[], Place], drawer: Helper, when_brought: Callable[[], object]):
        self.drawer = drawer
        self.brought: deque[Outcome] = deque()
        self.error: Exception | None = None
        self._make_place = make_place
        self._when_brought = when_brought
        self._waiting: dict[tuple[str, int], deque[Slow]] = {}  # by run and worth
        self._lock = threading.Lock()
        self._bell = Bell()
        self._begins = 0.0  # by the monotonic clock
        self._is_urged = False
        self._has_come = False  # a picture or file, ever
        self._failures = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def add(self, several: list[Slow]) -> None:
        """Take these on; the first of all has to wait a little."""
        if not several:
            return
        with self._lock:
            for slow in several:
                self._waiting.setdefault((slow.run.id, slow.worth), deque()).append(slow)
        if not self._has_come:
            self._has_come = True
            self._begins = 0.0 if self._is_urged else time.monotonic() + START_SECONDS
        self.begin()
        self._bell.ring()

    def begin(self) -> None:
        """Its thread waits from now on. What comes at the exit comes too late to begin one."""
        if self._thread is None:
            self._thread = threads.start("autolog-pictures", self._loop)

    def urge(self) -> None:
        """Somebody waits for it: begin now."""
        if not self._is_urged:
            self._is_urged, self._begins = True, 0.0
            self._bell.ring()

    def close(self) -> None:
        """The program ends, whatever is left."""
        self._is_closed = True
        self.drawer.close()
        self._bell.ring()

    def join(self, seconds: float) -> None:
        """Wait until its thread has ended."""
        if self._thread is not None:
            self._thread.join(seconds)

    @functools.cached_property
    def _place(self) -> Place:
        return self._make_place()

    def _loop(self) -> None:
        while not self._is_closed:
            wait = self._begins - time.monotonic()
            if wait > 0:
                self._bell.wait(wait)
                continue
            slow = self._next()
            if slow is None:
                self._bell.wait(None)
                continue
            try:
                outcome = self._bring(slow)
            except Exception as error:  # for now
                self._failures += 1
                self.error = error
                self._when_brought()
                self._bell.wait(min(LONGEST_PAUSE, 0.5 * 2 ** min(self._failures, 8)))
                continue
            self._failures, self.error = 0, None
            self._forget(slow)
            self.brought.append(outcome)
            self._when_brought()

    def _next(self) -> Slow | None:
        """By worth. Of equals those of the newest run that has ended; but files as they were logged.

        Trackio numbers the versions of an artifact as they arrive, and the last one is its `latest`.
        """
        with self._lock:
            return min((queue[0] for queue in self._waiting.values()), key=_turn, default=None)

    def _forget(self, slow: Slow) -> None:
        key = slow.run.id, slow.worth
        with self._lock:
            self._waiting[key].popleft()
            if not self._waiting[key]:
                del self._waiting[key]

    def _bring(self, slow: Slow) -> Outcome:
        """Bring it.

        Raises:
            Exception: trying again may help.
        """
        began = time.thread_time()
        self.drawer.take_seconds()
        try:
            record = record_at(slow.journal, slow.offset)
        except FileNotFoundError:
            return Outcome(slow, None)
        outcome = Outcome(slow, record)  # type: ignore[arg-type]
        try:
            if outcome.record is not None and outcome.record["kind"] == "artifact":
                outcome.left_out = why_left_out(self._place, slow.run, outcome.record)
            if outcome.left_out is None and outcome.record is not None:
                self._put(outcome, outcome.record)
        except Exception as error:
            if self._is_closed or is_transient(error):
                raise
            outcome.lost.append((name_of(outcome.record), error))
        outcome.seconds = time.thread_time() - began + self.drawer.take_seconds()
        return outcome

    def _put(self, outcome: Outcome, record: SlowRecord) -> None:
        run = outcome.slow.run
        if record["kind"] == "artifact":
            self._place.artifact(run.identity, record)
        elif record["kind"] == "media":
            self._place.media(run.identity, record["step"], record["path"], record.get("folder"))
        elif record["kind"] == "made":
            asked = record["by"], record["given"], can_be_drawn()
            pieces, failed = self.drawer.ask(make_all, *asked, longest=DRAWING_SECONDS)
            outcome.lost += [(part, raisable(told)) for part, told in failed]
            outcome.rows += [
                self._shown(run, record, f"{record['id']}-{number}", piece)
                for number, piece in enumerate(pieces)
            ]
        else:
            if record["kind"] == "html":
                text = record["text"]
            else:
                text = self.drawer.ask(draw, record["chart"], longest=DRAWING_SECONDS)
            piece = Piece(record["key"], text, record.get("caption"))
            outcome.rows.append(self._shown(run, record, record["id"], piece))

    def _shown(
        self, run: RunState, record: ChartRecord | HtmlRecord | MadeRecord, row_id: str, piece: Piece
    ) -> Row:
        """A row with a table; or with a picture, which is put where the row says that it is."""
        value: Any = piece.value
        if isinstance(value, str):
            page = value if value.lstrip()[:5].lower() in ("<!doc", "<html") else _PAGE.format(value)
            where = record["step"], f"{row_id}.html"
            value = self._place.picture(run.identity, *where, page, piece.caption)
        return {"id": row_id, "time": record["time"], "step": record["step"], "values": {piece.key: value}}


def name_of(record: Any) -> str:
    """What a record is called when something is to be said of it."""
    name = record.get("key") or record.get("name") or record.get("title") or ""
    return f"{record['kind']} {name}".strip()


def _turn(slow: Slow) -> tuple[int, float, int]:
    newest_first = 0.0 if slow.worth == FILES else -slow.run.finished_at
    return slow.worth, newest_first, slow.number


_PAGE = (
    '<!doctype html><html><head><meta charset="utf-8"><style>body{{margin:0;background:#fff;'
    "font-family:system-ui,sans-serif}}svg{{max-width:100%;max-height:100vh;display:block;margin:auto}}</style></head><body>{}</body></html>"
)
