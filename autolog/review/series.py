"""A metric's values, as they were logged."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from autolog.capture.summary import is_better_small, is_metric

__all__ = ["Part", "Series", "columns_of"]

Part = tuple[Sequence[int], Sequence[dict[str, Any]]]
"""Some rows: the step of each, and its values."""


@dataclass(frozen=True)
class Series:
    """The values of one metric, in the order of their steps.

    Attributes:
        key: as in docs/keys.md.
        steps: of each value.
        values: the numbers, NaN and infinities among them.
    """

    key: str
    steps: list[int]
    values: list[float]
    _times: Callable[[], list[float]] = field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """Step and value of each."""
        return iter(zip(self.steps, self.values, strict=True))

    def __repr__(self) -> str:
        return f"<{self.key}: {len(self)} values, last {self.last:.6g}>"

    @property
    def times(self) -> list[float]:
        """Of each value, in seconds since 1970."""
        return self._times()

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


def columns_of(
    parts: Iterable[Part], times: Callable[[], list[float]]
) -> tuple[dict[str, Series], dict[str, Any]]:
    """Rows by their keys: for each metric its series; of everything else what came last.

    A million rows are held in parts till the end, in tuples of numbers and texts: what the interpreter looks
    for garbage in would be gone through again and again while they grow.

    Args:
        parts: of the rows, in the order of their steps.
        times: of each row, in seconds since 1970; called when somebody asks for them, and once.
    """
    every_time = functools.cache(times)
    every_step: list[tuple[int, ...]] = []
    found: dict[str, list[tuple[Iterable[int], tuple[Any, ...]]]] = {}  # the rows of a key, its values there
    count = 0
    for of_steps, rows in parts:
        numbers = range(count, count + len(rows))
        count += len(rows)
        every_step.append(tuple(of_steps))
        if len(keys := set(map(tuple, rows))) == 1:  # the same in all of them: a column at a time
            for key in keys.pop():
                found.setdefault(key, []).append((numbers, tuple([row[key] for row in rows])))
        else:
            here: dict[str, tuple[list[int], list[Any]]] = {}
            for number, row in zip(numbers, rows, strict=True):
                for key, value in row.items():
                    places, values = here.setdefault(key, ([], []))
                    places.append(number)
                    values.append(value)
            for key, (places, values) in here.items():
                found.setdefault(key, []).append((tuple(places), tuple(values)))
    steps = list(chain.from_iterable(every_step))
    metrics: dict[str, Series] = {}
    last: dict[str, Any] = {}
    for key, several in sorted(found.items()):
        at = list(chain.from_iterable(places for places, _ in several))
        column = list(chain.from_iterable(values for _, values in several))
        kinds = set(map(type, column))
        if not kinds <= {float, int}:
            others = [value for value in column if not is_metric(value)]
            if others:
                last[key] = others[-1]
            at = [place for place, value in zip(at, column, strict=True) if is_metric(value)]
            column = [value for value in column if is_metric(value)]
        if column:
            held = column if kinds == {float} else [float(value) for value in column]
            if len(at) == len(steps):
                metrics[key] = Series(key, steps, held, every_time)
            else:
                of_key = [steps[place] for place in at]
                metrics[key] = Series(key, of_key, held, functools.partial(_times_at, every_time, at))
    return metrics, last


def _times_at(every_time: Callable[[], list[float]], places: list[int]) -> list[float]:
    every = every_time()
    return [every[place] for place in places]
