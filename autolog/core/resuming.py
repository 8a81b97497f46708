"""Finds the run that an interrupted training goes on with, by the checkpoint that it starts from.

What is remembered of a place is one small file of ours, beside the journals, under the hash of its absolute
path: never anything in the user's own folder. What is old is forgotten; so is what has ended well, where a
framework would go on from it by itself (Keras' ``BackupAndRestore``).
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from autolog.core import live
from autolog.core.recording import Recording
from autolog.sinks.identity import Identity, destination_of

__all__ = ["Checkpoint", "Left", "forget", "left_at", "remember"]

MOST_PLACES = 200
REMEMBERED_SECONDS = 90 * 86_400.0


@dataclass(frozen=True)
class Checkpoint:
    """Where a training saves itself, to go on from there after an interruption.

    Attributes:
        path: a file or folder.
        exists: whether there is something to go on from.
    """

    path: Path
    exists: bool


@dataclass(frozen=True)
class Left:
    """A run as its process has left it, and which process that was.

    Attributes:
        run: who it is.
        path: of the checkpoint.
        journal: that it was written to.
        host, pid, started: of the process; ``started`` is its time of creation, since numbers come again.
    """

    run: Identity
    path: str
    journal: str
    host: str
    pid: int
    started: float

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process has left it: after an exception, or Ctrl-C in a notebook."""
        return self.pid == os.getpid() and self.started == _started(self.pid)

    @property
    def is_going_on(self) -> bool:
        """Whether somebody may still write to it: another process, or a training of this one."""
        from autolog.sinks.journal import STALE_SECONDS, hostname

        if self.host != hostname():
            try:
                return os.stat(self.journal).st_mtime > time.time() - STALE_SECONDS
            except OSError:
                return False
        if self.is_of_this_process:
            return live.is_live(self.run.id)
        return self.started == _started(self.pid)


def remember(checkpoint: Checkpoint, run: Recording) -> None:
    """This place belongs to this run from now on.

    Raises:
        OSError: it cannot be written.
    """
    from autolog.sinks.journal import hostname

    if not run.ticket().is_recorded:  # into memory: nobody finds it there again
        return
    sink: Any = run.sink
    left = {
        **asdict(run.identity),
        "path": os.path.abspath(checkpoint.path),
        "journal": str(sink.journal_of(run.id)),
        "host": hostname(),
        "pid": os.getpid(),
        "started": _started(os.getpid()) or 0.0,
    }
    file = _file_of(checkpoint)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    new.write_bytes(orjson.dumps(left))
    new.replace(file)
    _forget_old(file.parent)


def left_at(checkpoint: Checkpoint) -> Left | None:
    """The run that this place belongs to; None: of none that is known."""
    try:
        known = orjson.loads(_file_of(checkpoint).read_bytes())
        known["destination"] = destination_of(known["destination"])
        run = Identity(**{item.name: known.pop(item.name) for item in fields(Identity) if item.name in known})
        return Left(run=run, **known)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def forget(checkpoint: Checkpoint) -> None:
    """The training has ended well: the next one here is another."""
    _file_of(checkpoint).unlink(missing_ok=True)


def _file_of(checkpoint: Checkpoint) -> Path:
    from autolog.sinks.trackio.directory import our_folder

    name = hashlib.sha256(os.path.abspath(checkpoint.path).encode("utf-8", "surrogateescape")).hexdigest()
    return our_folder() / "checkpoints" / f"{name[:32]}.json"


def _forget_old(folder: Path) -> None:
    ages = {}
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process forgets, too
            ages[file] = file.stat().st_mtime
    oldest = time.time() - REMEMBERED_SECONDS
    for number, file in enumerate(sorted(ages, key=lambda file: -ages[file])):
        if number >= MOST_PLACES or ages[file] < oldest:
            file.unlink(missing_ok=True)


def _started(pid: int) -> float | None:
    """When the process with this number was started; None: there is none that runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None
