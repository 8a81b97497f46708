"""The journal: records on disk first, a lock that tells the living from the dead.

One append-only file of JSON lines per process, ``<TRACKIO_DIR>/autolog/journal/<host>-<pid>-<random>.jsonl``.
A caller appends to a queue (a microsecond, no lock, no disk); one thread writes the queue out every
``FLUSH_SECONDS``. The process holds a lock on its file for as long as it lives, so a file that can be
locked belongs to nobody any more: whatever is left in it is delivered by the next process, and a run in
it that never finished has crashed.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from autolog.sinks import Record

try:
    import fcntl
except ImportError:  # Windows: no lock, so a left journal is delivered by its age
    fcntl = None  # type: ignore[assignment]

__all__ = ["FLUSH_SECONDS", "Journal", "Tail", "left_journals", "try_lock"]

FLUSH_SECONDS = 0.2  # SIGKILL loses at most half a second: this, and the time of one write

# While a disk takes nothing, this many records wait in memory; then the oldest are given up, and counted.
MAX_WAITING = 500_000


class Journal:
    """The journal of this process.

    Args:
        directory: made if it is not there.
        head: the first record; it is in the file before anybody can find the file.
        write_through: write in the caller's thread, at once. For forked children and pool workers, which
            may be ended without a chance to run another thread.

    Attributes:
        path: the file.
        lost: records given up because the disk took nothing for too long.

    Raises:
        OSError: the directory or file cannot be made (at the opening only).
    """

    def __init__(self, directory: Path, head: Record | None = None, *, write_through: bool = False):
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{hostname()}-{os.getpid()}-{os.urandom(4).hex()}.jsonl"
        self.write_through = write_through
        self.lost = 0
        self.last_error: OSError | None = None
        # Locked under another name first: under its own it could be taken for one that is left.
        new = self.path.with_suffix(".new")
        self._file: IO[bytes] = new.open("ab", buffering=0)
        try_lock(self._file)
        if head is not None:
            self._file.write(_encode(head))
        new.rename(self.path)
        self._queue: deque[Record | threading.Event] = deque()
        self._drain_lock = threading.RLock()  # a signal handler may come back to it
        self._wake = threading.Event()
        self._closed = False
        self._torn = False  # the last write was cut: the next one begins on a new line
        self._thread: threading.Thread | None = None
        if not write_through:
            self._thread = threading.Thread(target=self._loop, name="autolog-journal", daemon=True)
            self._thread.start()

    def append(self, record: Record) -> None:
        """Take a record. Never blocks (unless ``write_through``), never raises for the disk's sake."""
        self._queue.append(record)
        if self.write_through or self._closed:
            self._drain()

    def sync(self, timeout: float) -> bool:
        """Wait until everything appended so far is in the file. False: the disk did not take it in time."""
        if self.write_through or self._closed:
            return self._drain()
        reached = threading.Event()
        self._queue.append(reached)
        self._wake.set()
        return reached.wait(timeout)

    def restart(self, records: list[Record], expected: int) -> int | None:
        """Begin the file anew with these records, if it is as long as expected: if nothing came since.

        Returns:
            The new length in bytes; None: something came, the file is as it was.
        """
        with self._drain_lock:
            if os.fstat(self._file.fileno()).st_size != expected:
                return None
            self._file.truncate(0)
            self._write(b"".join(_encode(record) for record in records))
            return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Write what is left and give up the lock."""
        self._closed = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)
        self._drain()
        self._file.close()

    def abandon(self) -> None:
        """Leave the file to the process that owns it (in a forked child): close our copy, write nothing."""
        self._queue.clear()
        self._file.close()

    def _loop(self) -> None:
        while not self._closed:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            if not self._drain():
                time.sleep(FLUSH_SECONDS)  # a full disk: do not spin on it

    def _drain(self) -> bool:
        """Write the queue out. False: the disk refused; everything is still in the queue."""
        with self._drain_lock:
            while self._queue:
                batch: list[Record | threading.Event] = []
                while self._queue and len(batch) < 5_000:
                    batch.append(self._queue.popleft())
                lines = [_encode(item) for item in batch if isinstance(item, dict)]
                try:
                    self._write(b"".join(lines))
                except (OSError, ValueError) as error:
                    self.last_error = error if isinstance(error, OSError) else OSError(str(error))
                    self._queue.extendleft(reversed(batch))
                    while len(self._queue) > MAX_WAITING:
                        self._queue.popleft()
                        self.lost += 1
                    return False
                for item in batch:
                    if isinstance(item, threading.Event):
                        item.set()
            return True

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


class Tail:
    """Reads a journal that may still be written: whole lines only, from an offset on."""

    def __init__(self, path: Path, offset: int = 0):
        self.path = path
        self.offset = offset

    def read(self, limit: int = 4_000_000) -> list[Record]:
        """The next records, of at most about ``limit`` bytes. A torn or foreign line is passed over."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(limit)
            while data and b"\n" not in data:  # one line longer than the limit
                more = file.read(limit)
                if not more:
                    break
                data += more
        end = data.rfind(b"\n") + 1
        self.offset += end
        return [record for line in data[:end].split(b"\n") if (record := _decode(line)) is not None]


def left_journals(directory: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Journals of this host whose process is gone, each with its file, locked. The caller closes it."""
    for path in sorted(directory.glob(f"{hostname()}-*.jsonl")):
        try:
            file = path.open("ab", buffering=0)
        except OSError:
            continue
        if try_lock(file):
            yield path, file
        else:
            file.close()


def try_lock(file: IO[bytes]) -> bool:
    """Take the lock of a journal without waiting. False: its process lives."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def hostname() -> str:
    """This host, as it stands in a journal's name: locks mean nothing across hosts."""
    return "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:40] or "host"


def _encode(record: Record) -> bytes:
    try:
        return orjson.dumps(_finite(record), option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError, RecursionError):
        # Integers beyond 64 bits, lone surrogates: the slow encoder knows a way.
        return (json.dumps(_finite(record), default=repr) + "\n").encode("ascii")


def _decode(line: bytes) -> Record | None:
    if not line:
        return None
    try:
        record = orjson.loads(line)
    except ValueError:
        try:
            record = json.loads(line)
        except ValueError:
            return None
    return record if isinstance(record, dict) and "kind" in record and "run" in record else None


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
