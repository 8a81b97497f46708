"""One destination's own journal and thread: the thread delivers what comes, and sleeps when nothing does."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from autolog.process import forks, threads
from autolog.process.threads import Bell
from autolog.sinks.delivery import Delivery
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination
from autolog.sinks.place import Place

__all__ = ["Channel"]

logger = logging.getLogger("autolog")

DELIVER_SECONDS = 0.5
REST_SECONDS = 30.0  # while nothing comes: whoever wakes up holds the user's threads up, see journal.py
LONGEST_PAUSE = 30.0
SWEEP_SECONDS = 5.0


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
        self.helper = helper or Helper()
        self._bell = Bell()
        _bells.add(self._bell)
        self._delivery = Delivery(
            destination,
            directory,
            place,
            self.helper,
            write_through=write_through,
            when_stirred=self._bell.ring,
        )
        self.journal = self._delivery.journal
        self._asked: list[Bell] = []
        self._closed = False
        self._failures = 0
        self._thread: threading.Thread | None = None
        if not write_through:
            self._thread = threads.start("autolog-deliver", self._loop)

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
        self._delivery.close()

    def _loop(self) -> None:
        last_sweep = 0.0
        while not self._closed:
            asked, self._asked = self._asked, []
            try:
                if not last_sweep and not self._delivery.is_local:
                    # What is older goes first: a server dates rows by when they come.
                    with contextlib.suppress(Exception):  # said below, where it is tried again
                        self._delivery.sweep()
                self._delivery.deliver_ours()
                self._delivery.say_what_the_disk_lost()
                if asked or time.monotonic() - last_sweep > SWEEP_SECONDS:
                    self._delivery.sweep()
                    last_sweep = time.monotonic()
                self._failures = 0
                for done in asked:
                    done.ring()
            except Exception as error:
                self._failures += 1
                self._asked = asked + self._asked
                if not self._closed:  # else whatever it waited for was ended with the program
                    _say_once(self.destination, error)
            rest = SWEEP_SECONDS if self._delivery.has_company or _has_forked else REST_SECONDS
            self._bell.wait(rest if self._may_rest() else _pause(self._failures))

    def _may_rest(self) -> bool:
        """Whether there is nothing to be done until the journal says that something has come."""
        if self._failures or not self.journal.is_resting:  # asked first: what comes after this, stirs
            return False
        with contextlib.suppress(OSError):  # it was taken away
            return self._delivery.is_done
        return False


_has_forked = False  # then children leave what they have logged to this process
_bells: weakref.WeakSet[Bell] = weakref.WeakSet()  # of its channels


def _children_may_come() -> None:
    global _has_forked
    _has_forked = True
    for bell in list(_bells):
        bell.ring()  # who rests is to rest for a shorter time


forks.when_forked("delivery", in_parent=_children_may_come)


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
