"""Turns a call into a record: gives it ids, and goes on in forked and other processes. Below `recording`."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any, cast

from autolog.core import outlet
from autolog.core.settings import Settings
from autolog.process import forks, guard
from autolog.sinks import NotOpenedError, Record, Sink
from autolog.sinks.identity import Destination, Identity

__all__ = ["RunError", "Ticket", "Writer", "as_values"]

_at_fork = threading.RLock()  # while the first thread of a child that logs makes a run the child's


def _new_lock_in_child() -> None:
    global _at_fork
    _at_fork = threading.RLock()


forks.when_forked("writer", in_child=_new_lock_in_child)


class RunError(RuntimeError):
    """A run was used in a way that it does not allow; the message says how to mend it."""


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What another process needs to write to a run: plain values, which any pickler takes.

    Attributes:
        pid: of the process that has given it.
        is_recorded: whether what the other process writes is found by this one: a sink in memory is not.
        settings: those of the run, but its sink and its write token.
    """

    run: Identity
    pid: int
    is_recorded: bool
    settings: dict[str, Any]


def as_values(settings: Settings) -> dict[str, Any]:
    """Settings for another process: all but the sink and the write token."""
    names = [item.name for item in dataclasses.fields(settings)]
    return {name: getattr(settings, name) for name in names if name not in ("sink", "write_token")}


class Writer:
    """Writes the records of one run to its sink.

    Attributes:
        identity: who the run is.
        settings: those in force when it was opened.
        overhead_seconds: of the caller's time that we have taken so far.
        lock: for what belongs to the run; another one in a forked child.
    """

    def __init__(self, identity: Identity, *, sink: Sink | None, settings: Settings):
        self.identity = identity
        self.settings = settings
        self.overhead_seconds = 0.0
        self.lock = threading.RLock()  # a signal handler may come back to it
        self._sink = sink
        self._ids = itertools.count(1)
        self._run_id = identity.id  # at every record, where a look-up less counts
        self._id_prefix = f"{identity.id}-"
        self._pid = os.getpid()
        self._announced = False
        if not identity.joined:  # one that is joined says so with its first record, if it ever has one
            self.announce()

    @property
    def id(self) -> str:
        """Unique, also in Trackio."""
        return self.identity.id

    @property
    def name(self) -> str:
        """Readable, need not be unique."""
        return self.identity.name

    @property
    def project(self) -> str:
        """As in Trackio."""
        return self.identity.project

    @property
    def group(self) -> str | None:
        """As in Trackio."""
        return self.identity.group

    @property
    def destination(self) -> Destination:
        """The kind of place it goes to (``local``, ``server``, ``space``), and which one."""
        return self.identity.destination

    @property
    def is_local(self) -> bool:
        """Whether it stays on this machine."""
        return self.identity.destination[0] == "local"

    @property
    def records(self) -> bool:
        """Whether it records anything: not when autolog is switched off by the environment."""
        return self._sink is not None

    @property
    def sink(self) -> Sink | None:
        """Who takes its records."""
        return self._sink

    @property
    def url(self) -> str | None:
        """Where a person looks at it (locally: while ``trackio show`` runs); None if nowhere."""
        return self._sink.url(self.project, self.name, self.id) if self._sink is not None else None

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process has opened it, and may end it."""
        return self._pid == os.getpid() and not self.identity.joined

    def write(self, kind: str, **fields: Any) -> None:
        """Write one record: its kind's own fields, see :mod:`autolog.sinks`."""
        if self._sink is None:
            return
        guard.charge(self)
        if self._pid != os.getpid():
            self._go_on_in_child()
        if not self._announced and kind != "open":
            with self.lock:  # threads of a child may log their first records at the same time
                if not self._announced:
                    self.announce()
            if self._sink is None:
                return
        record = {
            "kind": kind,
            "run": self._run_id,
            "id": f"{self._id_prefix}{next(self._ids)}",
            "time": time.time(),
            **fields,
        }
        try:
            self._sink.write(cast(Record, record))
        except NotOpenedError:  # a worker has left its journal to its parent since
            self._go_on_in_another_journal()
            self._sink.write(cast(Record, record))
            outlet.leave_to_parent_soon()

    def announce(self) -> None:
        """Say who it is, before anything else is said."""
        identity = self.identity
        if identity.joined or identity.resumed or identity.shared:
            # Ids must not meet those that others have given to the same run.
            self._id_prefix = f"{identity.id}-{os.urandom(3).hex()}-"
        try:
            self.write("open", **identity.fields())
        except OSError as error:  # then the run takes everything, and records nothing
            outlet.say_unwritable(error, self._sink)
            self._sink = None
        self._announced = True

    def note_fault(self, message: str) -> None:
        """See :class:`autolog.process.guard.Account`."""
        raise NotImplementedError

    def sync(self) -> None:
        """Wait until all of it would survive the death of this process, as long as the settings say."""
        if self._sink is not None:
            self._sink.sync(self.settings.finish_timeout)

    def folder(self) -> Path:
        """Where its files wait; not among those that it had before it was gone on with.

        Raises:
            RunError: it records nothing.
        """
        if self._sink is None:
            raise RunError("a run that records nothing has no place for files")
        resumed = self.identity.resumed
        return self._sink.stage(f"{self.id}-{resumed}" if resumed else self.id)

    def stage(self, name: str) -> Path:
        """A path for a file of ours that is recorded as an artifact once it is written."""
        folder = self.folder() / os.urandom(4).hex()  # others write to the same run, too
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name

    def kept(self, files: dict[str, Path]) -> dict[str, Path]:
        """The files under names of our own (a second link, no copy): the user may delete theirs at once."""
        if self._sink is None or not all(file.is_file() for file in files.values()):
            return files
        kept: dict[str, Path] = {}
        try:
            folder = self.folder()
            for inside, file in files.items():
                kept[inside] = folder / f"{os.urandom(4).hex()}-{file.name}"[-200:]
                os.link(file, kept[inside])
        except OSError:
            # Another disk, or one that takes nothing: then they are copied when they are delivered, from
            # where they are.
            return files
        return kept

    def ticket(self) -> Ticket:
        """What another process needs to write to this run."""
        return Ticket(
            run=self.identity,
            pid=os.getpid(),
            is_recorded=self.records and self.settings.sink == "trackio",
            settings=as_values(self.settings),
        )

    def _go_on_in_another_journal(self) -> None:
        """Whoever opened it has said so in the one before."""
        self.identity = dataclasses.replace(self.identity, joined=True)
        self.announce()

    def _go_on_in_child(self) -> None:
        """A forked child: the same run, in this process' own journal."""
        with _at_fork:
            if self._pid != os.getpid():
                self.identity = dataclasses.replace(self.identity, joined=True)
                self._announced = False
                self.lock = threading.RLock()
                self._pid = os.getpid()  # last: whoever sees it sees the rest
