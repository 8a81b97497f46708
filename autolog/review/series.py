"""A metric's values, as they were logged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from autolog.capture.summary import is_better_small, is_metric

__all__ = ["Series", "columns_of"]


@dataclass(frozen=True)
class Series:
    """The values of one metric, in the order of their steps.

    Attributes:
        key: as in docs/keys.md.
        steps: of each value.
        times: of each value, in seconds since 1970.
        values: the numbers, NaN and infinities among them.
    """

    key: str
    steps: list[int]
    times: list[float]
    values: list[float]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """Step and value of each."""
        return iter(zip(self.steps, self.values, strict=True))

    def __repr__(self) -> str:
        return f"<{self.key}: {len(self)} values, last {self.last:.6g}>"

    @property
    def last(self) -> float:
        """The value that was logged last."""
        return self.values[-1]

    @property
    def best(self) -> float:
        """The smallest of a loss or an error, the largest of anything else. NaN: there is no number."""
        numbers = [value for value in self.values if not math.isnan(value)]
        if not numbers:
            return float("nan")
        return min(numbers) if is_better_small(self.key) else max(numbers)


def columns_of(rows: Iterable[tuple[int, Any, dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Rows by their keys: for each metric its steps, times and values; of everything else what came last.

    Rows with the same keys are put together first: so a million of them take a second.
    """
    groups: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
    for number, (step, at, values) in enumerate(rows):
        groups.setdefault(tuple(values), []).append((number, step, at, *values.values()))
    metrics: dict[str, list[tuple[Any, ...]]] = {}
    last: dict[str, tuple[int, Any]] = {}
    for keys, group in groups.items():
        numbers, steps, times, *columns = zip(*group, strict=True)
        for key, column in zip(keys, columns, strict=True):
            kinds = set(map(type, column))
            if kinds <= {float, int}:
                metrics.setdefault(key, []).append((numbers, steps, times, column))
                continue
            found = [place for place, value in enumerate(column) if is_metric(value)]
            if found:
                metrics.setdefault(key, []).append(
                    tuple([of[place] for place in found] for of in (numbers, steps, times, column))
                )
            others = [place for place, value in enumerate(column) if not is_metric(value)]
            if others and last.get(key, (-1, None))[0] < numbers[others[-1]]:
                last[key] = numbers[others[-1]], column[others[-1]]
    return (
        {key: _in_order(parts) for key, parts in metrics.items()},
        {key: value for key, (_, value) in last.items()},
    )


def _in_order(parts: list[tuple[Any, ...]]) -> tuple[list[int], list[Any], list[float]]:
    if len(parts) == 1:
        _, steps, times, values = parts[0]
    else:
        together = sorted(row for part in parts for row in zip(*part, strict=True))
        _, steps, times, values = zip(*together, strict=True)
    return list(steps), list(times), [value if type(value) is float else float(value) for value in values]
