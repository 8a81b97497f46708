"""What differs between runs: parameters, results, data, code, packages, machine, command."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autolog.capture.summary import is_better_small
from autolog.review.recorded import RecordedRun, flat
from autolog.review.source import SourceError

__all__ = ["SECTIONS", "Difference", "code_diff", "differences"]

SECTIONS = ("result", "parameters", "model", "data", "code", "packages", "machine", "command", "cost")


@dataclass(frozen=True)
class Difference:
    """One key that is not the same in all of several runs.

    Attributes:
        section: one of :data:`SECTIONS`.
        values: of each run, None where it has none.
        best: the place of the run that is better by it; None: nobody can tell, or they are equal.
    """

    section: str
    key: str
    values: tuple[Any, ...]
    best: int | None = None


def differences(runs: Sequence[RecordedRun]) -> list[Difference]:
    """All that differs between these runs, by section."""
    found: list[Difference] = []
    for section, said in (
        ("result", [_numbers(run) for run in runs]),
        ("parameters", _parameters(runs)),
        *((name, [_config(run, name) for run in runs]) for name in ("model", "data", "code")),
        ("packages", [_packages(run) for run in runs]),
        *((name, [_config(run, name) for run in runs]) for name in ("machine", "command")),
        ("cost", [_cost(run) for run in runs]),
    ):
        for key in _keys(said):
            values = tuple(of.get(key) for of in said)
            if section == "data" and None in values and not key.endswith(("/rows", "/batches")):
                continue  # that one of them has no such data is said by one line
            if any(not _same(values[0], value) for value in values[1:]):
                rated = section in ("result", "cost")
                found.append(Difference(section, key, values, _best(key, values) if rated else None))
    return found


def code_diff(before: RecordedRun, after: RecordedRun) -> list[str]:
    """The unified diff of the code that was kept of two runs; empty: it is the same, or was not kept."""
    try:
        old, new = before.code(), after.code()
    except SourceError as error:
        return [f"The code cannot be compared: {error}."]
    lines: list[str] = []
    for name in sorted({*old, *new}):
        lines += difflib.unified_diff(
            old.get(name, "").splitlines(),
            new.get(name, "").splitlines(),
            f"{before.name}/{name}",
            f"{after.name}/{name}",
            lineterm="",
        )
    return lines


_OF = {
    "model": ("model", "loss", "optimizer", "scheduler", "framework"),
    "data": ("data/",),
    "code": ("git/",),
    "machine": ("python", "platform", "host", "device", "cpu_count", "memory_gb", "environment", "precision"),
    "command": ("run/",),
}
# Many lines, which the diff of the code tells; and what follows from the model's class, or from its number.
_OURS = ("git/untracked", "model/summary", "model/name")


def _config(run: RecordedRun, section: str) -> dict[str, Any]:
    """The keys of a section, nested ones with their names joined."""
    wanted = {
        key: value for key, value in run.config.items() if key.startswith(_OF[section]) and key not in _OURS
    }
    found = dict(flat(wanted))
    if section == "data":  # the classes' counts follow from the rows
        found = {key: value for key, value in found.items() if "/target/classes/" not in key}
    return found


def _parameters(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Of different models only what both have, or what a person has set: the rest comes with the model."""
    every = [run.params for run in runs]
    if len({str(run.config.get("model/class", run.config.get("model"))) for run in runs}) > 1:
        common = set.intersection(*map(set, every))
        wanted = common.union(*(run.params_set for run in runs))
        every = [{key: value for key, value in params.items() if key in wanted} for params in every]
    return every


def _numbers(run: RecordedRun) -> dict[str, Any]:
    """What was measured of the model: not how it went, and not what it cost."""
    held = {key: s.last for key, s in run.metrics.items() if not key.startswith(_NOT_RESULTS)}
    held = {key: value for key, value in held.items() if "/" in key or key in run.result}
    first = {key: held.get(key, value) for key, value in run.result.items()}
    return {**first, **held}


_NOT_RESULTS = (
    "vitals/",
    "perf/",  # of runs of version 2
    "lr",
    "grad_norm",
    "param_norm",
    "epoch",
    "cpu/",
    "gpu/",
    "system/",
    "rounds/",
    "trials/",
)


def _cost(run: RecordedRun) -> dict[str, Any]:
    told = {key: s.last for key, s in run.metrics.items() if key.startswith(("vitals/", "perf/"))}
    told = {key: value for key, value in told.items() if key.endswith(("seconds", "per_second"))}
    return {**({} if run.seconds is None else {"seconds": run.seconds}), **told}


def _packages(run: RecordedRun) -> dict[str, Any]:
    try:
        return dict(run.packages())
    except SourceError:  # its file is gone
        return {}


def _keys(said: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(key for of in said for key in of)


_NUMBERED = re.compile(r"(?<=[a-z])_\d+$")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    if isinstance(one, str) and isinstance(other, str):  # Keras numbers what it names: adam, adam_1
        return _NUMBERED.sub("", one) == _NUMBERED.sub("", other)
    return bool(one == other)


def _best(key: str, values: Sequence[Any]) -> int | None:
    numbers = [v for v in values if isinstance(v, (int, float)) and not math.isnan(v)]
    if len(set(numbers)) < 2 or key.endswith(("_std", "_seen", "flos", "_share", "sample")):
        return None  # a spread, an amount: neither is better
    return list(values).index(min(numbers) if is_better_small(key) else max(numbers))
