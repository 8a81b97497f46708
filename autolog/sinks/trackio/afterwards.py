"""What goes on after the program: a process that delivers what the program has left on disk, and ends.

It is a process like any other that delivers: it opens a channel of its own, and finds what others have left.
One at a time does so for each directory and destination. Killed, it leaves the journals as they were.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolog.process import apart
from autolog.sinks.channel import Channel
from autolog.sinks.delivery import Arrived
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination
from autolog.sinks.journal import VERSION, head_of, try_lock
from autolog.sinks.trackio.directory import data_directory, journals
from autolog.sinks.trackio.elsewhere import Elsewhere, place_for

__all__ = ["Delivered", "deliver_left", "is_delivering", "leave"]

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Delivered:
    """What has become of what was left for a place.

    Attributes:
        is_all: whether all of it has arrived.
        arrived: what has.
        why: what the place, or the way to it, has said last against the rest; None: nothing.
    """

    is_all: bool
    arrived: Arrived
    why: Exception | None


@dataclass(frozen=True)
class _Asked:
    destination: Destination
    token: str | None
    private: bool
    seconds: float


def leave(destination: Destination, token: str | None, private: bool, seconds: float) -> bool:
    """Start the process, for at most so many seconds. False: none can be started.

    What it has to know goes through a pipe: a token in its environment or arguments everybody could read.
    """
    environment = {"TRACKIO_DIR": os.path.abspath(data_directory())}
    process = apart.start("autolog.sinks.trackio.afterwards:main", environment=environment)
    if process is None or process.stdin is None:
        return False
    try:
        process.stdin.write(pickle.dumps(_Asked(destination, token, private, seconds)))
        process.stdin.close()
    except OSError:
        return False
    process.returncode = 0  # nobody waits for it: no warning that it still runs
    return True


def deliver_left(
    destination: Destination,
    token: str | None,
    private: bool,
    seconds: float,
    at_each_look: Callable[[], object] = lambda: None,
) -> Delivered:
    """Deliver what programs that are gone have left for this destination, in this process of ours.

    Args:
        seconds: at most.
        at_each_look: called about once a second, as long as something is left.
    """
    end = time.monotonic() + seconds
    drawer = Helper({"TRACKIO_DIR": str(data_directory())}, niceness=10)
    channel = Channel(
        destination,
        journals(),
        lambda: place_for(destination, lambda: token, private),
        slow_place=lambda: Elsewhere(drawer, destination, lambda: token, private),
        drawer=drawer,
    )
    installed = _installed()
    try:
        arrived = channel.ask()
        while not (done := arrived(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))):
            if time.monotonic() >= end or _installed() != installed or not channel.directory.exists():
                break
            at_each_look()
        return Delivered(done and not channel.has_lost, channel.take_arrived(), channel.error)
    finally:
        channel.close()


def main() -> None:
    """The process."""
    asked: _Asked = pickle.load(sys.stdin.buffer)
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    apart.begin()
    end = time.monotonic() + asked.seconds
    is_done = False
    while not is_done:
        with _alone(asked.destination) as is_alone:
            if is_alone:  # else whoever is here looks once more before it goes
                seconds = end - time.monotonic()
                done = deliver_left(asked.destination, asked.token, asked.private, seconds).is_all
        is_done = not is_alone or not done or not _are_left(asked.destination)
    os._exit(0)  # there is nothing to be tidied


def is_delivering(destination: Destination) -> bool:
    """Whether such a process is at work for this destination."""
    try:
        with _lock_of(destination).open("rb") as file:
            return not try_lock(file)
    except OSError:  # there never was one
        return False


@contextlib.contextmanager
def _alone(destination: Destination) -> Iterator[bool]:
    with _lock_of(destination).open("ab") as file:
        yield try_lock(file)


def _lock_of(destination: Destination) -> Path:
    name = hashlib.sha256("\n".join(destination).encode()).hexdigest()[:16]
    return journals() / f"{name}.delivering"


def _are_left(destination: Destination) -> bool:
    for path in journals().glob("*.jsonl"):
        with contextlib.suppress(OSError), path.open("r+b") as file:
            if head_of(path) == (destination, VERSION) and try_lock(file):
                return True
    return False


def _installed() -> Any:
    """What tells this version of autolog from the one that may be installed in the meantime."""
    try:
        found = os.stat(Path(__file__).parents[2] / "__init__.py")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
