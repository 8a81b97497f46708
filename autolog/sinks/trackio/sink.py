"""The process's sink to Trackio."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - see below
import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from autolog.sinks import Record
from autolog.sinks.channel import Channel
from autolog.sinks.helper import Helper
from autolog.sinks.identity import Destination, destination_of
from autolog.sinks.trackio.directory import data_directory
from autolog.sinks.trackio.elsewhere import Elsewhere
from autolog.sinks.trackio.remote import space_url

__all__ = ["TrackioSink"]

# concurrent.futures.thread refuses to be imported once the interpreter is shutting down, and Trackio's import
# brings it along. A program that ends at once imports Trackio then: so it is imported here, before.

SAMPLE_SECONDS = 2.0  # that a sample of the machine's load waits for the helper


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
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._tokens = tokens
        self._is_private = is_private
        self._closed = False
        self.write_through = False
        self.unwritten = 0  # records that no disk has taken by the end

    def write(self, record: Record) -> None:
        """See :class:`autolog.sinks.Sink`.

        Raises:
            OSError: at a run's opening, when the journal cannot be made.
        """
        if self._closed:  # the process is ending: a thread of the user's that still logs is not told off
            return
        channel = self._of_run.get(record["run"]) or self._channel_of(record["run"])
        if record["kind"] == "open":
            to = destination_of(record["to"])
            if channel is None or channel.destination != to:
                channel = self._of_run[record["run"]] = self._channel(to)
        if channel is None:
            raise KeyError(f"run {record['run']} has not been opened here")
        channel.journal.append(record)

    def stage(self, run_id: str) -> Path:
        """See :class:`autolog.sinks.Sink`."""
        folder = data_directory() / "autolog" / "files" / run_id
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

    def close(self, timeout: float) -> bool:
        """Deliver and remove what is delivered; what is not stays in the journal for the next process."""
        done = self.deliver(timeout)
        self._closed = True
        for channel in self._all():
            channel.close()
            self.unwritten += channel.journal.waiting
        self._channels.clear()
        self._of_run.clear()
        return done

    def leave_to_parent(self) -> None:
        """Give up the journals without delivering: another process of this family will."""
        for channel in self._all():
            channel.journal.close()
        self._channels.clear()
        self._of_run.clear()

    def disown(self) -> None:
        """In a forked child: the journals and threads are the parent's."""
        for channel in self._all():
            channel.journal.disown()
        self._channels.clear()
        self._of_run.clear()
        self._lock = threading.RLock()

    def url(self, project: str, name: str, run_id: str) -> str | None:
        """See :class:`autolog.sinks.Sink`. A local URL answers while ``trackio show`` runs."""
        channel = self._channel_of(run_id)
        kind, where = channel.destination if channel is not None else ("local", "")
        port = os.environ.get("GRADIO_SERVER_PORT", "7860")  # where `trackio show` begins to look
        base = {"local": f"http://127.0.0.1:{port}", "server": where}.get(kind) or space_url(where)
        query = urlencode({"project": project, "selected_run_id": run_id, "selected_run": name})
        return f"{base}/run?{query}"

    def sample_system(self) -> dict[str, float]:
        """See :class:`autolog.sinks.Sink`."""
        for channel in self._all():
            if not channel.helper.is_busy(SAMPLE_SECONDS):  # with an upload, say: then with another one's
                values: dict[str, float] = channel.helper.ask(_load_of_the_machine)
                return values
        return {}

    def journal_of(self, run_id: str) -> Path | None:
        """The journal that this run is written to."""
        channel = self._channel_of(run_id)
        return channel.journal.path if channel is not None else None

    @staticmethod
    def _journals() -> Path:
        return data_directory() / "autolog" / "journal"

    def _all(self) -> list[Channel]:
        return list(self._channels.values())

    def _channel_of(self, run_id: str) -> Channel | None:
        """The run's channel. Nearly always there is one for all, and no run has to be remembered."""
        return self._of_run.get(run_id) or next(iter(self._channels.values()), None)

    def _channel(self, destination: Destination) -> Channel:
        with self._lock:
            if destination not in self._channels:
                token = functools.partial(self._tokens, destination)
                helper = Helper({"TRACKIO_DIR": str(data_directory())})
                place = functools.partial(
                    Elsewhere, helper, destination, token, self._is_private(destination)
                )
                channel = Channel(
                    destination, self._journals(), place, helper, write_through=self.write_through
                )
                if self._channels.setdefault(destination, channel) is not channel:
                    channel.close()  # a signal handler was faster
            return self._channels[destination]


def _load_of_the_machine() -> dict[str, float]:
    from trackio import cpu, gpu

    values: dict[str, float] = dict(cpu.collect_cpu_metrics())
    if gpu.gpu_available():
        values.update(gpu.collect_gpu_metrics())
    return values
