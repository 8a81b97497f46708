"""What delivery must remember of a run while its records go by: who it is, and its whole config."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autolog.capture.summary import MORE, in_reading_order, is_metric, result_of
from autolog.sinks import OpenRecord, Record
from autolog.sinks.identity import Identity
from autolog.sinks.journal import one_at_a_time
from autolog.sinks.place import Config, Place

__all__ = ["RunState"]

logger = logging.getLogger("autolog")

SCHEMA_KEY, PENDING_KEY = "autolog/schema", "autolog/pending"

MUCH_SECONDS = 0.010
SHARED_SECONDS = 5.0  # that others' change to a shared run's config is waited for


class RunState:
    """What delivery must remember of a run: who it is, and its whole config.

    Args:
        record: with which a process opened it.
        directory: where the journals of this machine's processes are, for one that several of them own.
    """

    def __init__(self, record: OpenRecord, directory: Path | None = None):
        self.record = record
        self.identity = Identity.of_record(record)
        self._directory = directory
        # Each process knows its own part.
        self.is_of_several = self.identity.shared or self.identity.joined
        self.journal: Path | None = None  # the one whose process owns the run
        self.running = False
        self.ended = (0.0, "crashed")  # when and how, as the last of its owners says
        self.pending = 0  # pictures and files that are still to come
        self.told_pending: int | None = None  # by the config that was put together last
        self.is_anothers = False  # who has read the config where it stands, and is the one to change it
        self.losses = 0  # of what no place has taken
        self.left_out: dict[str, str] = {}  # artifacts that are not kept on purpose, and why
        self.is_born = False  # whether the place has a row of it: a run is what has one
        self.note: str | None = None  # how the place stores it, if not as it is meant
        self.last_step = 0
        self.told_result: dict[str, Any] = {}  # by the config that was put together last
        self._latest: dict[str, Any] = {}  # metrics
        self._has_own_result = False  # of the user's
        self.config: Config = {}
        self.changes: list[Config] = []  # of a shared run: what has not been written yet
        self.forgotten = False  # whether the config stands only at the place, and is read when needed
        self.seconds = 0.0  # of CPU that delivering it has cost
        self._overhead: tuple[float, float | None] | None = None  # of the caller's time: seconds, percent
        self._told_seconds = 0.0  # of delivery, by the config that was put together last
        if not self.identity.adopted:  # the user's own run has its own
            self.config = {"_created": record["time"], "_group": record["group"]}

    @property
    def id(self) -> str:
        """The run's."""
        return self.identity.id

    @property
    def finished_at(self) -> float:
        """When it ended, in seconds since 1970; 0: it has not."""
        return 0.0 if self.running else self.ended[0]

    @property
    def has_failed(self) -> bool:
        """Whether it has ended badly, as far as it is known by now."""
        return self.finished_at > 0 and self.ended[1] in ("failed", "killed", "crashed")

    def ordered_config(self) -> Config:
        """The config as a person reads it: what one groups by first, the long tail after it."""
        config = {**self.config, SCHEMA_KEY: self.identity.schema}
        self.told_pending = self.pending
        if self.pending:
            config[PENDING_KEY] = self.pending
        if self.note:
            config["autolog/notes"] = {**config.get("autolog/notes", {}), "storage": self.note}
        if self.left_out:  # each time: what the run itself notes is written as a whole
            config["autolog/notes"] = {**config.get("autolog/notes", {}), **self.left_out}
        if self._overhead is not None:
            self._told_seconds = self.seconds
            callers, percent = self._overhead
            seconds = callers + self.seconds
            config = {**config, "autolog/overhead_seconds": round(seconds, 6)}
            if percent is not None:
                share = percent * seconds / callers if callers else percent
                config["autolog/overhead_percent"] = round(share, 2)
        if not self._has_own_result and (result := self.result()):
            config["result"] = self.told_result = result
        return in_reading_order(config)

    def result(self) -> dict[str, Any]:
        """What the run is about, as far as its metrics have gone by here."""
        latest = self._latest
        if (best := self.config.get("best/objective")) is not None:
            # Of a study that several processes work on none has seen all trials; its config knows.
            latest = {
                key: best if key.startswith("objective/") and key.endswith("/best") else value
                for key, value in latest.items()
            }
        return result_of(latest, self.config.get("evaluation/main"))

    @property
    def has_another_result(self) -> bool:
        """Whether it has ended, and was evaluated since its config was put together."""
        return not self.running and not self._has_own_result and self.result() != self.told_result

    def has_become_dearer(self) -> bool:
        """Whether it has ended, and its delivery has cost more since its config was put together."""
        more = self.seconds - self._told_seconds
        return not self.running and self._overhead is not None and more > MUCH_SECONDS

    def recall(self, place: Place) -> None:
        """Take in what stands at the place by now, but for what is ours to say."""
        self.config.update(place.config(self.identity) or {})
        self.config.pop(PENDING_KEY, None)
        result = self.config.get("result")
        is_ours = isinstance(result, dict) and all(map(is_metric, result.values()))
        if is_ours and not self._has_own_result:
            self._latest = {**self.config.pop("result"), **self._latest}
        elif result is not None:
            self._has_own_result = True
        self.forgotten = False

    def forget(self) -> None:
        """Keep no config in memory: it is read back if need be."""
        self.config, self._latest, self.forgotten = {}, {}, True

    def change(self, values: Config) -> None:
        """Keys to add or replace."""
        self.config = _together(self.config, values) if self.is_of_several else {**self.config, **values}
        if self.identity.shared:
            self.changes.append(values)

    @contextlib.contextmanager
    def whole_config(self, place: Place) -> Iterator[Config]:
        """The config that is to be put. Of a shared run it is upon what others have made of it by now.

        They wait until ours stands there. A change that tells of a time (``as_of``) gives way to one of a
        later time, whichever comes last.
        """
        if self.told_pending is None:
            self.note = place.note(self.identity)
            if self.note is not None:
                _say_once(self.note)
        if not self.identity.shared or not place.recalls or self._directory is None:
            yield self.ordered_config()
            return
        with one_at_a_time(self._directory, SHARED_SECONDS):
            self.recall(place)
            for values in self.changes:
                if values.get("as_of", "") >= self.config.get("as_of", "") or "as_of" not in values:
                    self.config = _together(self.config, values)
            yield self.ordered_config()
            self.changes.clear()  # not before it has arrived

    def take(self, record: Record) -> None:
        """A record of this run."""
        if record["kind"] == "config":
            values = dict(record["values"])
            self._has_own_result = self._has_own_result or "result" in values
            if "group" in values:
                values["_group"] = values.pop("group")
            if "autolog/overhead_seconds" in values:
                self._overhead = values["autolog/overhead_seconds"], values.get("autolog/overhead_percent")
            self._latest.update(values.get(MORE, {}))
            self.change(values)
        elif record["kind"] == "finish":
            self.running = False
            self.ended = max(self.ended, (record["time"], record["status"]))
            if not self.identity.adopted:  # there the user may have a word of their own under this name
                self.change({"status": record["status"]})
        elif record["kind"] == "row":
            self.last_step = max(self.last_step, record["step"])
            self._latest.update({k: v for k, v in record["values"].items() if is_metric(v)})


@functools.cache
def _say_once(note: str) -> None:
    logger.warning("autolog: %s.", note)


# Of these each process writes all that it knows of.
_GROWING = ("params", "tags", MORE, "children", "autolog/notes", "autolog/faults", "autolog/lost")


def _together(config: Config, values: Config) -> Config:
    """A config with keys of another process's: what grows is what both have, the rest is the later one's."""
    config = {**config, **values, **{key: config[key] for key in _GROWING if key in config}}
    for key in _GROWING:
        old, new = config.get(key), values.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            config[key] = {**old, **new}
        elif isinstance(old, list) and isinstance(new, list):
            config[key] = [*old, *(item for item in new if item not in old)]
        elif key in values:
            config[key] = new
    return config
