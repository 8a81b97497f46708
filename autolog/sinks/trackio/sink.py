"""The process's sink to Trackio."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see below
import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from autolog.sinks import NotOpenedError, Record
from autolog.sinks.backlog import WORTH
from autolog.sinks.channel import Channel, children_may_come
from autolog.sinks.delivery import Arrived
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination, destination_of
from autolog.sinks.trackio.afterwards import leave
from autolog.sinks.trackio.directory import data_directory, journals, our_folder
from autolog.sinks.trackio.elsewhere import Elsewhere
from autolog.sinks.trackio.remote import known_space, space_url

__all__ = ["Left", "TrackioSink"]

# concurrent.futures.thread refuses to be imported once the interpreter is shutting down, and Trackio's import
# brings it along. A program that ends at once imports Trackio then: so it is imported here, before.

_COUNTED = {"open", *WORTH}

_nothing = contextlib.nullcontext()

SAMPLE_SECONDS = 2.0  # that a sample of the machine's load waits for the helper


@dataclass
class Left:
    """What has not arrived when a program ends.

    Attributes:
        runs: how many runs the program had.
        rows: how many of them still need rows, or their config and status.
        slow: how many still need pictures or files.
        is_any: whether anything is left, of earlier programs as well.
        goes_on: whether a process that stays behind delivers it.
        unwritten: records that no disk has taken.
    """

    runs: int = 0
    rows: int = 0
    slow: int = 0
    is_any: bool = False
    goes_on: bool = True
    unwritten: int = 0

    def add(self, needs: tuple[int, int, int], goes_on: bool) -> None:
        """Of one more place."""
        self.runs, self.rows, self.slow = self.runs + needs[0], self.rows + needs[1], self.slow + needs[2]
        self.is_any, self.goes_on = True, self.goes_on and goes_on


class TrackioSink:
    """The process's way to Trackio: a channel per destination.

    Args:
        tokens: the token for a destination, asked for whenever it is needed.
        is_private: whether a Space that has to be made is private.
    """

    def __init__(
        self,
        tokens: Callable[[Destination], str | None] = lambda destination: None,
        is_private: Callable[[Destination], bool] = lambda destination: True,
    ):
        self._channels: dict[Destination, Channel] = {}
        self._of_run: dict[str, Channel] = {}
        self._open_runs: set[str] = set()
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._tokens = tokens
        self._is_private = is_private
        self._closed = False
        self.write_through = False

    def write(self, record: Record) -> None:
        """See :class:`autolog.sinks.Sink`.

        Raises:
            OSError: at a run's opening, when the journal cannot be made.
            NotOpenedError: it belongs to a run that was not opened since the journals were given up.
        """
        if self._closed:  # the process is ending: a thread of the user's that still logs is not told off
            return
        with self._lock if self.write_through else _nothing:  # another thread may give up the journals
            self._write(record)

    def _write(self, record: Record) -> None:
        channel = self._of_run.get(record["run"]) or self._channel_of(record["run"])
        if record["kind"] == "open":
            to = destination_of(record["to"])
            if channel is None or channel.destination != to:
                channel = self._of_run[record["run"]] = self._channel(to)
        if channel is None:
            raise NotOpenedError(f"run {record['run']} has not been opened here")
        if record["kind"] in _COUNTED:
            channel.count(record)
        if record["kind"] == "open" and not record["joined"]:
            self._open_runs.add(record["run"])
        elif record["kind"] == "finish":
            self._open_runs.discard(record["run"])
        channel.journal.append(record)

    def stage(self, run_id: str) -> Path:
        """See :class:`autolog.sinks.Sink`."""
        folder = our_folder() / "files" / run_id  # for processes elsewhere, too
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def sync(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        end = time.monotonic() + timeout
        synced = [channel.journal.sync(max(0.0, end - time.monotonic())) for channel in self._all()]
        return all(synced)

    def deliver(self, timeout: float) -> bool:
        """See :class:`autolog.sinks.Sink`."""
        end = time.monotonic() + timeout
        waits = [channel.ask() for channel in self._all()]
        arrived = [wait(max(0.0, end - time.monotonic())) for wait in waits]
        return all(arrived)

    def so_far(self) -> tuple[Arrived, Left]:
        """What has arrived since this was asked last, and what has not yet, of all that was written."""
        arrived, left = Arrived(), Left()
        for channel in self._all():
            arrived.add(channel.take_arrived())
            if not channel.is_idle:
                left.add(channel.needs(self._open_runs), goes_on=True)
        return arrived, left

    @property
    def has_lost(self) -> bool:
        """Whether something was never stored, and will not be."""
        return any(channel.has_lost for channel in self._all())

    def open(self, destination: Destination, *, in_any_case: bool = False) -> bool:
        """Deliver to this place as well: if earlier programs have left something here, or in any case."""
        if in_any_case or any(journals().glob("*.jsonl")):
            self._channel(destination)
        return destination in self._channels

    def close(self, timeout: float, leave_seconds: float = 0.0) -> Left:
        """Remove what is delivered. The rest stays in the journals, for the next process or one that is left.

        Args:
            timeout: seconds that are waited for delivery, or if a process is left, for the disk.
            leave_seconds: how long a process that is left behind may go on; 0: none is left.

        Returns:
            What has not arrived.
        """
        if not all(channel.journal.locks_work for channel in self._all()):
            leave_seconds = 0.0  # nobody could tell what is left
        has_arrived = self.deliver(timeout) if not leave_seconds else self.sync(timeout) and False
        self._closed = True
        left = Left()
        for channel in self._all():
            is_idle, needs = channel.is_idle, channel.needs()
            channel.close()
            left.unwritten += channel.journal.waiting
            if is_idle or has_arrived:
                continue
            to = channel.destination
            goes_on = leave_seconds > 0 and leave(to, self._tokens(to), self._is_private(to), leave_seconds)
            left.add(needs, goes_on)
        self._channels.clear()
        self._of_run.clear()
        return left

    def expect_others(self) -> None:
        """Other processes may leave something to this one."""
        children_may_come()

    def leave_to_parent(self, *, if_idle: bool = False) -> None:
        """Give up the journals without delivering: another process of this family will.

        Args:
            if_idle: only if no run of this process is open.
        """
        with self._lock:
            if if_idle and self._open_runs:
                return
            for channel in self._all():
                channel.journal.close()
            self._channels.clear()
            self._of_run.clear()

    def disown(self) -> None:
        """In a forked child: the journals and threads are the parent's."""
        for channel in self._all():
            channel.journal.disown()
        self._open_runs.clear()
        self._channels.clear()
        self._of_run.clear()
        self._lock = threading.RLock()

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """See :class:`autolog.sinks.Sink`. A local URL answers while ``trackio show`` runs."""
        channel = self._channel_of(run_id)
        kind, where = channel.destination if channel is not None else ("local", "")
        port = os.environ.get("GRADIO_SERVER_PORT", "7860")  # where `trackio show` begins to look
        if kind == "space":
            space = known_space(where, self._tokens((kind, where)))
            if space is None:  # nobody has said yet whose it is
                return None
            where = space_url(space)
        base = f"http://127.0.0.1:{port}" if kind == "local" else where
        query = urlencode({"project": project, "selected_run_id": run_id, "selected_run": name})
        return f"{base}/run?{query}"

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        for channel in self._all():
            if not channel.drawer.is_busy(SAMPLE_SECONDS):  # with an upload, say: then with another one's
                try:
                    values: dict[str, float] = channel.drawer.ask(_load_of_the_machine)
                except OSError:
                    if self._closed:  # the program ends meanwhile
                        return {}
                    raise
                return values
        return {}

    def journal_of(self, run_id: str) -> Path | None:
        """The journal that this run is written to."""
        channel = self._channel_of(run_id)
        return channel.journal.path if channel is not None else None

    def _all(self) -> list[Channel]:
        return list(self._channels.values())

    def _channel_of(self, run_id: str) -> Channel | None:
        """The run's channel. Nearly always there is one for all, and no run has to be remembered."""
        return self._of_run.get(run_id) or next(iter(self._channels.values()), None)

    def _channel(self, destination: Destination) -> Channel:
        with self._lock:
            if destination not in self._channels:
                channel = self._made(destination)
                if self._channels.setdefault(destination, channel) is not channel:
                    channel.close()  # a signal handler was faster
            return self._channels[destination]

    def _made(self, destination: Destination) -> Channel:
        token, private = functools.partial(self._tokens, destination), self._is_private(destination)
        environment = {"TRACKIO_DIR": os.path.abspath(data_directory())}
        # A numerical library waits for its threads at each step: beside one that draws it took three times as
        # long, at niceness 10 a fifth longer, at 19 a twentieth.
        helper, drawer = Helper(environment), Helper(environment, niceness=19)
        return Channel(
            destination,
            journals(),
            functools.partial(Elsewhere, helper, destination, token, private),
            helper,
            slow_place=functools.partial(Elsewhere, drawer, destination, token, private),
            drawer=drawer,
            write_through=self.write_through,
        )


def _load_of_the_machine() -> dict[str, float]:
    from trackio import cpu, gpu

    values: dict[str, float] = dict(cpu.collect_cpu_metrics())
    if gpu.gpu_available():
        values.update(gpu.collect_gpu_metrics())
    return values
