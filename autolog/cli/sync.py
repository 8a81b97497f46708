"""``autolog sync``: deliver everything that is left on disk, to whatever places."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from autolog.core.settings import SettingError, Settings
from autolog.process import apart
from autolog.review.left import count_left
from autolog.sinks.identity import Destination, in_words
from autolog.sinks.journal import VERSION, head_of, hostname, is_left
from autolog.sinks.trackio.afterwards import Delivered, deliver_left
from autolog.sinks.trackio.directory import data_directory, journals

__all__ = ["sync"]


def sync(timeout: float, as_json: bool) -> int:
    """Deliver what is left, and say what cannot be delivered, and why.

    Args:
        timeout: seconds, for all places together.
        as_json: whether what became of each place is printed as JSON.

    Returns:
        0: all of it has arrived; 1: not all; 130: somebody has pressed Ctrl-C.
    """
    apart.begin()
    end = time.monotonic() + timeout
    places = sorted({to for path in journals().glob("*.jsonl") if (to := head_of(path)[0]) is not None})
    told: list[dict[str, Any]] = []
    try:
        for place in places:
            said = _say(place, _delivered(place, end - time.monotonic()))
            told.append(said)
            if not as_json:
                print(_in_a_line(said), flush=True)
    except KeyboardInterrupt:
        _wipe()
        print("Stopped. What has arrived is not sent again; the rest: autolog sync", file=sys.stderr)
        return 130
    if as_json:
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    elif not told:
        print(f"Nothing is left in {data_directory()}.")
    return 0 if all(one["is_all"] for one in told) else 1


def _delivered(place: Destination, seconds: float) -> Delivered:
    try:
        return deliver_left(place, _token_for(place), True, seconds, lambda: _progress(place))
    finally:
        _wipe()


def _token_for(place: Destination) -> str | None:
    """Of a server the write token that the environment names; a Space takes the Hub's own."""
    try:
        return Settings.from_environment().write_token if place[0] == "server" else None
    except SettingError:  # of some other setting, which delivering has no need of
        return None


# What is told ---------------------------------------------------------------------------------------


def _progress(place: Destination) -> None:
    """On a terminal the number of records that are left, in place of the last one."""
    if sys.stderr.isatty():
        left = sum(count_left(path) for path in _journals_for(place) if is_left(path))
        print(f"\r\x1b[K{in_words(place)}: {left:,} records are left", end="", file=sys.stderr, flush=True)


def _wipe() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _in_a_line(said: dict[str, Any]) -> str:
    all_or_not = "everything has arrived" if said["is_all"] else "not everything has arrived"
    arrived = f" ({said['arrived']})" if said["arrived"] else ""
    return f"{said['to']}: {'; '.join([all_or_not + arrived, *said['left']])}"


def _say(place: Destination, delivered: Delivered) -> dict[str, Any]:
    arrived = delivered.arrived
    counts = ((arrived.rows, "row"), (arrived.pictures, "picture"), (arrived.files, "file"))
    parts = [f"{n:,} {what}{'s' * (n != 1)}" for n, what in ((len(arrived.runs), "run"), *counts) if n]
    left = list(_left(place, delivered))
    return {
        "to": in_words(place),
        "arrived": ", ".join(parts),
        "left": left,
        "is_all": delivered.is_all and not left,
    }


def _left(place: Destination, delivered: Delivered) -> Iterator[str]:
    """What has not arrived, and why, by reason."""
    rest = newer = elsewhere = 0
    for path in _journals_for(place):
        if head_of(path)[1] > VERSION:
            newer += 1
        elif is_left(path):
            rest += count_left(path)
        elif path.stem.rsplit("-", 2)[0] != hostname():
            elsewhere += 1
    if rest or not delivered.is_all:
        why = delivered.why
        reason = f"{type(why).__name__}: {why}" if why is not None else "time was short: --timeout"
        yield f"{rest:,} records are left ({reason})"
    if newer:
        yield f"{_journals(newer)} of a newer autolog: pip install --upgrade trackio-autolog"
    if elsewhere:
        yield f"{_journals(elsewhere)} of other machines: taken over ten minutes after the last sign of them"


def _journals(count: int) -> str:
    return "1 journal is" if count == 1 else f"{count} journals are"


def _journals_for(place: Destination) -> list[Path]:
    return [path for path in sorted(journals().glob("*.jsonl")) if head_of(path)[0] == place]
