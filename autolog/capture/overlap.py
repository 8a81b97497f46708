"""Whether data was trained on: told by how many of its rows are among the training rows.

Some rows of held-out data are found there, too, where rows repeat, and some more where it leaks. So the
number that is found is compared with what training rows would find, and with what held-out rows would: as
many as there are training rows that have a twin among the others.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from autolog.capture.rows import Rows

__all__ = ["KnownRows", "Overlap", "SeenRows", "Verdict", "judged"]

Array = npt.NDArray[Any]
Verdict = Literal["training", "held out", "unknown"]

KEPT = 1_000_000  # row hashes, 8 MB
KEPT_OF_A_LOOP = 250_000  # which are copied whenever more come
KEPT_OF_MANY = 2**14  # of all data that many models have seen
KEPT_OF_ONE = 2**13  # of one of many
IMPROBABLE = 1e-6
LEAKED = 0.1  # share of held-out rows that may be training rows as well: it is still held out, with a leak


def judged(found: int, looked_up: int, *, twins: float, known: int, share: float = 1.0) -> Verdict:
    """What data is, of which so many rows were found among the training rows.

    Args:
        found: rows that are among those of the training that are known.
        looked_up: rows that were looked for.
        twins: share of the known training rows that have an equal one among the others: what a held-out
            row finds by chance.
        known: training rows that ``twins`` rests on.
        share: of all training rows, those that are known; 1: all.
    """
    if not looked_up:
        return "unknown"
    part = found / looked_up
    of_training = share + (1 - share) * twins  # what training rows find
    noise = 3 * math.sqrt(of_training * (1 - of_training) / looked_up)
    is_like_training = found == looked_up or abs(part - of_training) <= noise
    if is_like_training:
        chance = twins if found == looked_up else max(twins, LEAKED * share)
        return "training" if _by_chance(part, looked_up, chance) < IMPROBABLE else "unknown"
    spread = 3 * math.sqrt(twins * (1 - twins) * (1 / looked_up + 1 / max(1, known)))
    return "held out" if part <= twins + spread + LEAKED * share else "unknown"


def _by_chance(part: float, count: int, chance: float) -> float:
    """How probable it is at most that such a part of so many or more is found (Chernoff's bound).

    Where all are found this is exactly ``chance ** count``.
    """
    if part <= chance:
        return 1.0
    if chance <= 0:
        return 0.0
    distance = part * math.log(part / chance)
    if part < 1:
        distance += (1 - part) * math.log((1 - part) / (1 - chance))
    return math.exp(-count * distance)


@dataclass(frozen=True)
class Overlap:
    """How much of some data is known from the training."""

    verdict: Verdict
    found: int
    looked_up: int
    is_whole: bool = False
    """All of the training data, in whichever order."""


@dataclass(eq=False)
class KnownRows:
    """The rows of training data, by their hashes: a million at most, chosen by the hashes themselves.

    So the rows that are looked up are chosen as those were that are kept.
    """

    hashes: Array
    """In no order, until they have been asked for."""
    mask: int
    """Kept are the hashes of which these bits are zero."""
    rows: int
    """That were read."""
    shape: tuple[int, ...]
    """Of a row: width, and every how many of its columns were read."""
    share: float
    """Of all training rows, those that were read."""
    precision: int
    pooled_twins: float | None = None
    """Where more data has joined: what was found on the way."""

    @classmethod
    def of(cls, rows: Rows) -> KnownRows:
        """Those of some data. Of equal data that is in use already, the same object."""
        key = f"{rows.mark} {rows.precision} {rows.shape}"
        if (known := _in_use.get(key)) is None:
            hashes, mask = _bounded(rows.hashes, 0)
            shape = (rows.width, rows.columns_step)
            known = cls(hashes, mask, len(rows.hashes), shape, 1 / rows.step, rows.precision)
            _in_use[key] = known
        return known

    @cached_property
    def ordered(self) -> Array:
        """The hashes in order."""
        self.hashes = np.sort(self.hashes)
        return self.hashes

    @cached_property
    def twins(self) -> float:
        """Share of the rows that have an equal one among the others."""
        if self.pooled_twins is not None:
            return self.pooled_twins
        same = self.ordered[1:] == self.ordered[:-1]
        twins = np.zeros(len(self.ordered), dtype=np.bool_)
        twins[1:] |= same
        twins[:-1] |= same
        return float(twins.mean()) if len(twins) else 0.0

    def overlap(self, rows: Rows) -> Overlap:
        """Look the rows of other data up."""
        if (rows.width, rows.columns_step) != self.shape:
            return Overlap("held out", 0, 0)
        hashes = _masked(rows.hashes, self.mask)
        found = 0
        if len(self.ordered):
            places = np.minimum(np.searchsorted(self.ordered, hashes), len(self.ordered) - 1)
            found = int((self.ordered[places] == hashes).sum())
        verdict = judged(found, len(hashes), twins=self.twins, known=len(self.hashes), share=self.share)
        is_whole = (
            verdict == "training"
            and self.share == 1
            and rows.step == 1
            and len(rows.hashes) == self.rows
            and len(hashes) == len(self.hashes)
            and bool((np.sort(hashes) == self.ordered).all())
        )
        return Overlap(verdict, found, len(hashes), is_whole)

    def sample(self) -> KnownRows:
        """A few of them, to be kept of one of many models."""
        hashes, mask = _bounded(self.hashes, self.mask, KEPT_OF_ONE)
        return KnownRows(np.sort(hashes), mask, self.rows, self.shape, self.share, self.precision)

    def is_within(self, other: KnownRows) -> bool:
        """Whether the other has all of these rows, as often as they are here, as far as both are known."""
        if other.shape != self.shape:
            return False
        mask = self.mask | other.mask
        these, others = _masked(self.ordered, mask), _masked(other.ordered, mask)
        for some in (these[:_FIRST_LOOK], these):  # mostly the first few say that it has not
            if not len(some):
                return False
            times = np.arange(len(some)) - np.searchsorted(some, some)
            places = np.searchsorted(others, some) + times
            if places.max() >= len(others) or not (others[places] == some).all():
                return False
        return True

    def joined(self, rows: Rows) -> KnownRows:
        """Together with more data of the same training; itself if it knows that already.

        How many rows have twins is pooled: of the new ones, how many were found before they came in.
        """
        overlap = self.overlap(rows)
        if overlap.verdict == "training" or (rows.width, rows.columns_step) != self.shape:
            return self
        new = KnownRows.of(rows)
        chance = overlap.found / overlap.looked_up if overlap.looked_up else 0.0
        count = self.rows + new.rows
        pooled = (self.rows * self.twins + new.rows * max(chance, new.twins)) / max(1, count)
        more = _masked(new.ordered, self.mask)
        hashes = np.insert(self.ordered, np.searchsorted(self.ordered, more), more)
        hashes, mask = _bounded(hashes, self.mask | new.mask, KEPT_OF_A_LOOP)
        share, precision = min(self.share, new.share), max(self.precision, new.precision)
        joined = KnownRows(hashes, mask, count, self.shape, share, precision, pooled)
        joined.ordered = hashes
        return joined


_FIRST_LOOK = 256  # rows


class SeenRows:
    """The distinct rows that many models have learned from or were evaluated on: a sample, by the hashes."""

    def __init__(self) -> None:
        self._hashes: Array = np.empty(0, dtype=np.uint64)
        self._mask = 0
        self._shape: tuple[int, ...] | None = None

    def add(self, rows: KnownRows) -> None:
        """Some more. Rows of another shape are of no use."""
        if rows.shape != (self._shape or rows.shape):
            return
        self._shape = rows.shape
        hashes, mask = _bounded(rows.hashes, rows.mask | self._mask, KEPT_OF_MANY)
        hashes = np.union1d(_masked(self._hashes, mask), hashes)
        self._hashes, self._mask = _bounded(hashes, mask, KEPT_OF_MANY)

    def share(self, rows: KnownRows) -> float:
        """Which part of these rows is among them, as far as both are known."""
        looked_up = _masked(rows.hashes, rows.mask | self._mask)
        if rows.shape != self._shape or not len(looked_up) or not len(self._hashes):
            return 0.0
        places = np.minimum(np.searchsorted(self._hashes, looked_up), len(self._hashes) - 1)
        return float((self._hashes[places] == looked_up).mean())


_in_use: weakref.WeakValueDictionary[str, KnownRows] = weakref.WeakValueDictionary()


def _masked(hashes: Array, mask: int) -> Array:
    return hashes[hashes & np.uint64(mask) == 0] if mask else hashes


def _bounded(hashes: Array, mask: int, most: int | None = None) -> tuple[Array, int]:
    most = KEPT if most is None else most
    hashes = _masked(hashes, mask)
    while len(hashes) > most and mask < 2**20:
        mask = 2 * mask + 1
        hashes = _masked(hashes, mask)
    return hashes[:most], mask  # what is too many even so is a few rows, very often
