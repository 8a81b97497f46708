"""The journal: records on disk first, a lock that tells the living from the dead.

One append-only file of JSON lines per process, ``<host>-<pid>-<random>.jsonl`` in
``<TRACKIO_DIR>/autolog-data/journal``.
A caller appends to a queue (a microsecond, no lock, no disk); one thread writes the queue out every
``FLUSH_SECONDS``. When nothing comes any more it rests: a thread that wakes up asks for the interpreter, and
until it has it, each operation of the user's that lets go of the interpreter for a moment pays for waking it
(a fifth of a model's prediction of one row).

The process holds a lock on its file for as long as it lives, so a file that can be locked belongs to nobody
any more: whatever is left in it is delivered by the next process, and a run in it that never finished has
crashed.

Locks mean nothing across hosts, and on some network file systems nothing at all. There a file is taken for
one that is left when it has not been touched for ``STALE_SECONDS``: a living process touches its own. That
proves nothing: of a run in it is said since when there is no sign of its process, and no more. A process that
was suspended for longer than that finds its file gone, and begins another one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import orjson

from autolog.process import threads
from autolog.process.threads import Bell
from autolog.sinks import JournalRecord, OpenRecord, Record
from autolog.sinks.identity import Destination, destination_of

try:
    import fcntl
except ImportError:  # Windows: no such lock, so a left journal is known by its age
    fcntl = None  # type: ignore[assignment]

__all__ = ["FLUSH_SECONDS", "VERSION", "Cursor", "Journal", "Line", "Orphan", "Tail"]

logger = logging.getLogger("autolog")

Line = JournalRecord | Record
Going = dict[str, tuple[OpenRecord, dict[str, Any]]]  # by run: how it was opened, and its config since then

VERSION = 3  # of a journal, as its first record says; those of 0.1 say none

FLUSH_SECONDS = 0.2  # SIGKILL loses at most half a second: this, and the time of one write
RESTLESS_FLUSHES = 5  # with nothing to write; then the thread rests until something comes
REST_SECONDS = 20.0
TOUCH_SECONDS = 30.0
STALE_SECONDS = 600.0
CLOSED = 0.0  # when a journal was last touched whose process has given it up

# While a disk takes nothing, this many records wait in memory; then the oldest are given up, and counted.
MAX_WAITING = 500_000


@dataclass
class Orphan:
    """A journal that nobody seems to write any more.

    Attributes:
        file: open; whoever takes it closes it.
        is_locked: whether ``file`` holds the lock, which proves that its process is gone.
        has_ended: whether that is known of its process, by the lock or by its own word.
        last_sign: when it was last seen alive, in seconds since 1970, by the clock of the disk.
    """

    path: Path
    file: IO[bytes]
    is_locked: bool
    has_ended: bool
    last_sign: float


class Journal:
    """The journal of this process.

    Args:
        directory: made if it is not there.
        head: makes the first records of a file, given what is going on; they are in it before anybody can
            find it.
        write_through: write in the caller's thread, at once. For forked children and pool workers, which
            may be ended without a chance to run another thread.
        when_stirred: called by the thread that writes when it has rested and something has come.

    Attributes:
        path: the file. Another one if this one was taken away.
        is_resting: whether nothing has come for a while.
        locks_work: whether a lock tells on this disk that a process lives.
        lost: records given up because the disk took nothing for too long, by run.
        going: the runs that are open by what was written. Another file begins with them.

    Raises:
        OSError: the directory or file cannot be made (at the opening only).
    """

    def __init__(
        self,
        directory: Path,
        head: Callable[[Going], list[Line]] = lambda going: [],
        *,
        write_through: bool = False,
        when_stirred: Callable[[], object] = lambda: None,
    ):
        self.write_through = write_through
        self.lost: Counter[str] = Counter()
        self.last_error: OSError | None = None
        self._directory = directory
        self._head = head
        self.going: Going = {}
        self._open()
        self._queue: deque[Record | Bell] = deque()
        self._drain_lock = threading.RLock()  # a signal handler may come back to it
        self._bell = Bell()
        self._closed = False
        self.is_resting = False
        self._when_stirred = when_stirred
        self._thread: threading.Thread | None = None
        if not write_through:
            self._thread = threads.start("autolog-journal", self._loop)

    def _open(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self.path = self._directory / f"{hostname()}-{os.getpid()}-{os.urandom(4).hex()}.jsonl"
        # Locked under another name first: under its own it could be taken for one that is left.
        new = self.path.with_suffix(".new")
        self._file: IO[bytes] = new.open("ab", buffering=0)
        self._torn = False  # the last write was cut: the next one begins on a new line
        self._touched = time.monotonic()
        self.locks_work = try_lock(self._file) and not _can_be_locked(new)
        self._write(b"".join(_encode(record) for record in self._head(self.going)))
        new.rename(self.path)

    def append(self, record: Record) -> None:
        """Take a record. Never blocks (unless ``write_through``), never raises for the disk's sake."""
        self._queue.append(record)
        if self.is_resting:
            self._bell.ring()
        if self.write_through or self._closed:
            self._drain()

    @property
    def waiting(self) -> int:
        """Records that are not in the file yet."""
        return sum(isinstance(item, dict) for item in list(self._queue))

    def sync(self, timeout: float) -> bool:
        """Wait until everything appended so far is in the file. False: the disk did not take it in time."""
        if self.write_through or self._closed:
            return self._drain()
        reached = Bell()
        self._queue.append(reached)
        self._bell.ring()
        return reached.wait(timeout)

    def restart(self, expected: int) -> int | None:
        """Begin the file anew, if it is as long as expected: if nothing came since.

        Returns:
            The new length in bytes; None: something came, the file is as it was.
        """
        with self._drain_lock:
            if os.fstat(self._file.fileno()).st_size != expected:
                return None
            self._file.truncate(0)
            self._write(b"".join(_encode(record) for record in self._head(self.going)))
            return os.fstat(self._file.fileno()).st_size

    def orphans(self) -> Iterator[Orphan]:
        """Journals that nobody seems to write any more. Each is taken by it: nobody else gets it."""
        for path in sorted(self._directory.glob("*.jsonl")):
            try:
                file = path.open("r+b", buffering=0)
                last_sign = os.fstat(file.fileno()).st_mtime
                if self.locks_work and path.stem.rsplit("-", 2)[0] == hostname():
                    if try_lock(file):
                        yield Orphan(path, file, is_locked=True, has_ended=True, last_sign=last_sign)
                        continue
                elif self._is_stale(path):
                    has_ended = last_sign == CLOSED
                    yield Orphan(self._claim(path), file, False, has_ended=has_ended, last_sign=last_sign)
                    continue
                file.close()
            except OSError:  # another process was faster
                continue

    def close(self) -> None:
        """Write what is left and give up the lock."""
        self._closed = True
        self._bell.ring()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)
            if self._thread.is_alive():  # a disk that answers nothing: what it has not taken is lost
                return
        self._drain()
        self._file.close()
        with contextlib.suppress(OSError):
            os.utime(self.path, (CLOSED, CLOSED))  # where locks do not work, this tells

    def disown(self) -> None:
        """Leave the file to the process that owns it (in a forked child): close our copy, write nothing."""
        self._queue.clear()
        self._file.close()

    def _is_stale(self, path: Path) -> bool:
        """By the clock of the disk that both files are on."""
        self._touch()
        return os.stat(path).st_mtime < os.stat(self.path).st_mtime - STALE_SECONDS

    def _claim(self, path: Path) -> Path:
        """Take a journal that cannot be locked: under a new name, which one process alone succeeds in.

        It goes on to say whose it was: who takes it after us must not find it by a lock.
        """
        ours = path.with_stem(f"{path.stem.rpartition('-')[0]}-{os.urandom(4).hex()}")
        for beside in (cursor_of, takers_of):
            with contextlib.suppress(OSError):
                beside(path).rename(beside(ours))
        path.rename(ours)
        os.utime(ours)
        return ours

    def _touch(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self.path)
        self._touched = time.monotonic()

    def _is_taken(self) -> bool:
        """Whether the file is gone: taken by another host while we were suspended, or deleted."""
        try:
            return os.stat(self.path).st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return True

    def _loop(self) -> None:
        flushes = 0  # with nothing to write
        while not self._closed:
            self._wait(REST_SECONDS if flushes >= RESTLESS_FLUSHES else FLUSH_SECONDS)
            flushes = 0 if self._queue else flushes + 1
            if not self._drain():
                time.sleep(FLUSH_SECONDS)  # a full disk: do not spin on it
            elif time.monotonic() - self._touched > TOUCH_SECONDS:
                self._touch()

    def _wait(self, seconds: float) -> None:
        """Until something is asked for; while it rests, until something comes."""
        self.is_resting = seconds > FLUSH_SECONDS
        # What came before `is_resting` was seen has woken nobody.
        self._bell.wait(FLUSH_SECONDS if self._queue else seconds)
        was_resting, self.is_resting = self.is_resting, False
        if was_resting and self._queue:
            self._when_stirred()

    def _drain(self) -> bool:
        """Write the queue out. False: the disk refused; everything is still in the queue."""
        with self._drain_lock:
            while self._queue:
                batch: list[Record | Bell] = []
                while self._queue and len(batch) < 5_000:
                    batch.append(self._queue.popleft())
                lines = [_encode(item) for item in batch if isinstance(item, dict)]
                try:
                    if self._is_taken():
                        self._file.close()
                        self._open()
                    self._write(b"".join(lines))
                    self._note_what_goes_on(batch)
                except (OSError, ValueError) as error:
                    self._keep_waiting(batch, error)
                    return False
                for item in batch:
                    if isinstance(item, Bell):
                        item.ring()
            return True

    def _note_what_goes_on(self, batch: list[Record | Bell]) -> None:
        for item in batch:
            if isinstance(item, Bell):
                continue
            if item["kind"] == "open":
                self.going[item["run"]] = item, {}
            elif item["kind"] == "config" and item["run"] in self.going:
                self.going[item["run"]][1].update(item["values"])
            elif item["kind"] == "finish":
                self.going.pop(item["run"], None)

    def _keep_waiting(self, batch: list[Record | Bell], error: Exception) -> None:
        """The disk takes nothing: the newest records wait in memory, until it does again."""
        if self.last_error is None:
            logger.warning(
                "autolog: %s takes nothing (%s). Records wait in memory; the training goes on.",
                self._directory,
                error,
            )
        self.last_error = error if isinstance(error, OSError) else OSError(str(error))
        self._queue.extendleft(reversed(batch))
        while len(self._queue) > MAX_WAITING:
            given_up = self._queue.popleft()
            if isinstance(given_up, dict):
                self.lost[given_up["run"]] += 1

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._torn:
            data = b"\n" + data
        view = memoryview(data)
        while view:
            try:
                written = self._file.write(view)
            except OSError:
                self._torn = self._torn or len(view) < len(data)
                raise
            view = view[written or 0 :]
        self._torn = False


# Beside a journal stand two files, which come and go with it.


def cursor_of(journal: Path) -> Path:
    """The file that says how much of a journal has been delivered: see :class:`Cursor`."""
    return journal.with_suffix(".delivered")


@dataclass
class Cursor:
    """How much of a journal has been delivered.

    What is soon done goes first, so pictures and files arrive later than what stands behind them.

    Attributes:
        rows: the offset up to which all but pictures and files has arrived, in bytes.
        whole: the offset up to which they have, too.
        arrived: the offsets of pictures and files behind it that have arrived.
    """

    rows: int = 0
    whole: int = 0
    arrived: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, journal: Path) -> Cursor:
        """As it was kept, by this version or an earlier one, which wrote one number for both."""
        try:
            known = orjson.loads(cursor_of(journal).read_bytes())
            if isinstance(known, int):
                return cls(known, known)
            return cls(int(known["rows"]), int(known["whole"]), {int(at) for at in known["arrived"]})
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def keep(self, journal: Path) -> None:
        """For whoever delivers the rest."""
        kept = {"rows": self.rows, "whole": self.whole, "arrived": sorted(self.arrived)}
        cursor_of(journal).write_bytes(orjson.dumps(kept))

    def has(self, offset: int) -> bool:
        """Whether the picture or file at this offset has arrived."""
        return offset < self.whole or offset in self.arrived


def takers_of(journal: Path) -> Path:
    """The file that names the runs of a journal that another process goes on with."""
    return journal.with_suffix(".resumed")


def remove(journal: Path) -> None:
    """Remove a journal, and what stands beside it."""
    for path in (journal, cursor_of(journal), takers_of(journal)):
        with contextlib.suppress(OSError):
            path.unlink()


class Tail:
    """Reads a journal that may still be written: whole lines only, from an offset on."""

    def __init__(self, path: Path, offset: int = 0):
        self.path = path
        self.offset = offset

    def read(self, limit: int = 4_000_000) -> list[Line]:
        """The next records. A torn or foreign line is passed over.

        Args:
            limit: about so many bytes at most.
        """
        return [record for _, record in self.read_placed(limit)]

    def read_placed(self, limit: int = 4_000_000) -> list[tuple[int, Line]]:
        """The next records, each with the offset at which it begins."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(limit)
            while data and b"\n" not in data:  # one line longer than the limit
                more = file.read(limit)
                if not more:
                    break
                data += more
        records: list[tuple[int, Line]] = []
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            if (record := _decode(line)) is not None:
                records.append((self.offset, record))
            self.offset += len(line)
        return records


def head_of(journal: Path) -> tuple[Destination | None, int]:
    """Where what a journal holds goes, and the version that it was written by (1: of 0.1, it says none)."""
    with contextlib.suppress(FileNotFoundError):  # it has just been removed
        for record in Tail(journal).read(4096):
            if record["kind"] == "journal":
                return destination_of(record["to"]), record.get("version", 1)
    return None, 1


def record_at(journal: Path, offset: int) -> Line | None:
    """The record that begins at this offset.

    Raises:
        FileNotFoundError: there is no such journal any more.
    """
    with journal.open("rb") as file:
        file.seek(offset)
        return _decode(file.readline())


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock of a journal without waiting. False: its process lives, or there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def one_at_a_time(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of a directory or file, so that of this machine's processes one does what is done inside.

    Without locks, or after ``timeout`` seconds of somebody else's, it is done all the same.
    """
    if fcntl is None:
        yield
        return
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT)
    try:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.005)
            except OSError:  # a disk that knows no locks
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked meanwhile holds the file open, too
        os.close(file)


def is_left(journal: Path) -> bool:
    """Whether the process that wrote it is gone, as this machine knows; somebody may be delivering it."""
    host, pid, _ = journal.stem.rsplit("-", 2)
    return host == hostname() and not _lives(int(pid))


def is_of_child(journal: Path) -> bool:
    """Whether the process that writes it was started by this one, or by one that was."""
    import psutil  # not before there are children

    host, pid, _ = journal.stem.rsplit("-", 2)
    try:
        above = psutil.Process(int(pid)).parents() if host == hostname() else []
    except psutil.Error:  # it is gone, or none of ours
        return False
    return os.getpid() in [process.pid for process in above]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")  # ended, and nobody has asked how


def _can_be_locked(path: Path) -> bool:
    """Whether a file that is locked can be locked once more: then locks mean nothing on this disk."""
    with path.open("ab") as file:
        return try_lock(file)


def hostname() -> str:
    """This host, as it stands in a journal's name."""
    return "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40] or "host"


def _encode(record: Line) -> bytes:
    try:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
        if b"null" in line:  # which is also what orjson makes of NaN and of infinities
            line = orjson.dumps(_finite(record), option=orjson.OPT_APPEND_NEWLINE)
        return line
    except (TypeError, ValueError, RecursionError):
        # Integers beyond 64 bits, lone surrogates: the slow encoder knows a way.
        return (json.dumps(_finite(record), default=repr) + "\n").encode("ascii")


def _decode(line: bytes) -> Line | None:
    if not line:
        return None
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line)
        except ValueError:
            return None
    is_record = isinstance(record, dict) and "kind" in record and "run" in record
    return cast(Line, record) if is_record else None


def _finite(value: Any) -> Any:
    """NaN and infinities as the texts that Trackio reads back as numbers; JSON has no others."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
