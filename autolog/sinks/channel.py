"""One destination's own journal and thread: the thread delivers what comes, and sleeps when nothing does."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Set
from pathlib import Path

from autolog.process import forks, threads
from autolog.process.threads import Bell
from autolog.sinks import Record
from autolog.sinks.backlog import Backlog
from autolog.sinks.delivery import Arrived, Delivery
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination, in_words
from autolog.sinks.journal import is_left, is_of_child
from autolog.sinks.place import Place

__all__ = ["Channel", "children_may_come"]

logger = logging.getLogger("autolog")

START_SECONDS = 1.0
DELIVER_SECONDS = 0.5
REST_SECONDS = 30.0  # while nothing comes: whoever wakes up holds the user's threads up, see journal.py
LONGEST_PAUSE = 30.0
SWEEP_SECONDS = 5.0


class Channel:
    """One destination: its journal, and the thread that delivers it.

    Args:
        directory: where the journals are.
        place: makes the :class:`Place`; called on the thread that delivers, since it takes a while.
        helper: the process that this place may live in.
        slow_place: makes the place that pictures and files are brought to, if it is another one.
        drawer: the process that draws them, in which that place may live.
    """

    def __init__(
        self,
        destination: Destination,
        directory: Path,
        place: Callable[[], Place],
        helper: Helper | None = None,
        *,
        slow_place: Callable[[], Place] | None = None,
        drawer: Helper | None = None,
        write_through: bool = False,
    ):
        self.destination = destination
        self.directory = directory
        self.helper, self.drawer = helper or Helper(), drawer or Helper()
        self._bell = Bell()
        _bells.add(self._bell)
        self._backlog = Backlog(slow_place or place, self.drawer, self._bell.ring)
        self._delivery = Delivery(
            destination,
            directory,
            place,
            self.helper,
            self._backlog,
            write_through=write_through,
            when_stirred=self._bell.ring,
        )
        self.journal = self._delivery.journal
        self._asked: list[Bell] = []
        self._opened: set[str] = set()  # the runs that were written here
        self._slow: Counter[str] = Counter()  # how many pictures and files were, by run
        self._promised: list[tuple[int, Bell]] = []  # with the last picture or file that is waited for
        self._closed = False
        self._failures = 0
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        if not write_through:
            self._backlog.begin()
            self._thread = threads.start("autolog-deliver", self._loop)

    @property
    def is_idle(self) -> bool:
        """Whether everything has arrived that is known of."""
        return not self.journal.waiting and self._thread is not None and self._delivery.is_idle

    @property
    def has_lost(self) -> bool:
        """Whether something was never stored."""
        return self._delivery.has_lost

    @property
    def error(self) -> Exception | None:
        """Why it does not go on now; None: it does."""
        return self._failure or self._backlog.error

    def count(self, record: Record) -> None:
        """One more run, or one more picture or file of one, that is written here."""
        if record["kind"] == "open":
            self._opened.add(record["run"])
        else:
            self._slow[record["run"]] += 1

    def take_arrived(self) -> Arrived:
        """What has arrived since this was asked last."""
        arrived, self._delivery.arrived = self._delivery.arrived, Arrived()
        return arrived

    def needs(self, running: Set[str] = frozenset()) -> tuple[int, int, int]:
        """How many runs were written here; how many still need rows; how many pictures or files.

        Args:
            running: of which more rows will come in any case.
        """
        opened = set(self._opened)
        rows = sum(not self._delivery.has_ended(run) for run in opened - running)
        slow = sum(count > self._delivery.brought[run] for run, count in self._slow.copy().items())
        return len(opened), rows, slow

    def ask(self) -> Callable[[float], bool]:
        """Ask for all that was appended so far, and what others have left; returns how to wait for it."""
        if self._thread is None:
            return self.journal.sync
        done = Bell()

        def wait(timeout: float) -> bool:
            end = time.monotonic() + timeout
            if not self.journal.sync(timeout):
                return False
            self._asked.append(done)
            self._bell.ring()
            return done.wait(max(0.0, end - time.monotonic())) and self._others_are_done(end)

        return wait

    def _others_are_done(self, end: float) -> bool:
        """Wait until nobody delivers here what somebody has left, and no child of ours has more to leave."""
        while any(self._is_awaited(path) for path in self.directory.glob("*.jsonl")):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
            if _has_children:
                self._asked.append(Bell())  # what a child leaves meanwhile is ours to deliver
                self._bell.ring()
        return True

    def _is_awaited(self, journal: Path) -> bool:
        if journal == self.journal.path or not self._delivery.is_for_us(journal):
            return False
        return is_left(journal) or (_has_children and is_of_child(journal))

    def close(self) -> None:
        """Give up the journal; remove it if all of it is delivered and every run in it has ended."""
        self._closed = True
        self._backlog.close()
        self.helper.close()
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(timeout=0.2)
        self._backlog.join(0.2)
        self._delivery.close()

    def _hold_back(self) -> None:
        """Nobody waits yet: a program that has just begun keeps its cores for itself."""
        end = time.monotonic() + START_SECONDS
        while not (self._closed or self._asked) and (left := end - time.monotonic()) > 0:
            self._bell.wait(left)

    def _loop(self) -> None:
        last_sweep = 0.0
        self._hold_back()
        while not self._closed:
            asked, self._asked = self._asked, []
            if asked or self._promised:
                self._backlog.urge()
            try:
                if not last_sweep and not self._delivery.is_local:
                    # What is older goes first: a server dates rows by when they come.
                    with contextlib.suppress(Exception):  # said below, where it is tried again
                        self._delivery.sweep()
                self._delivery.deliver_ours()
                self._delivery.say_what_the_disk_lost()
                if asked or self._delivery.has_left or time.monotonic() - last_sweep > SWEEP_SECONDS:
                    self._delivery.sweep()
                    last_sweep = time.monotonic()
                self._delivery.take_what_was_brought()
                self._failures, self._failure = 0, None
                self._promise(asked)
                if self._backlog.error is not None:
                    _say_once(self.destination, self._backlog.error)
            except Exception as error:
                self._failures, self._failure = self._failures + 1, error
                self._asked = asked + self._asked
                if not self._closed:  # else whatever it waited for was ended with the program
                    _say_once(self.destination, error)
            rest = SWEEP_SECONDS if self._delivery.has_company or _has_children else REST_SECONDS
            self._bell.wait(rest if self._may_rest() else _pause(self._failures))

    def _promise(self, asked: list[Bell]) -> None:
        """Tell those who wait as soon as the pictures and files that are known of by now are there, too."""
        self._promised += [(self._delivery.last_found, bell) for bell in asked]
        kept = [one for one in self._promised if not self._delivery.has_brought(one[0])]
        for number, bell in self._promised:
            if (number, bell) not in kept:
                bell.ring()
        self._promised = kept

    def _may_rest(self) -> bool:
        """Whether there is nothing to be done until the journal says that something has come."""
        if self._failures or not self.journal.is_resting:  # asked first: what comes after this, stirs
            return False
        with contextlib.suppress(OSError):  # it was taken away
            return self._delivery.has_only_slow
        return False


_has_children = False  # then they leave what they have logged to this process
_bells: weakref.WeakSet[Bell] = weakref.WeakSet()  # of its channels


def children_may_come() -> None:
    """From now on other processes may leave something here."""
    global _has_children
    _has_children = True
    for bell in list(_bells):
        bell.ring()  # who rests is to rest for a shorter time


forks.when_forked("delivery", in_parent=children_may_come)


def _pause(failures: int) -> float:
    pause: float = DELIVER_SECONDS * 2 ** min(failures, 8)
    return min(LONGEST_PAUSE, pause)


_said: set[Destination] = set()


def _say_once(destination: Destination, error: Exception) -> None:
    if destination not in _said:
        _said.add(destination)
        logger.warning(
            "autolog: records cannot be delivered to %s now (%s: %s). They are kept on disk and tried again.",
            in_words(destination),
            type(error).__name__,
            error,
        )
