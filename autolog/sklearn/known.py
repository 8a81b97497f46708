"""What is remembered of the data that was trained on, to know it again in an evaluation."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from autolog.capture import datasets
from autolog.capture.datasets import Read
from autolog.capture.overlap import KnownRows, Overlap
from autolog.capture.rows import Rows
from autolog.capture.rows import read as read_rows
from autolog.core.recording import Recording

__all__ = [
    "MOST_BATCHES",
    "Content",
    "Sighting",
    "TrainingData",
    "content_of",
    "is_full",
    "mark_of",
    "place_of",
    "read_of",
    "training_data",
]

MOST_BATCHES = 1_000  # of a loop that are known again
KNOWN_BYTES = 2**20  # of numbers whose mark is not reckoned again at once
MOST_MARKS = 16  # that are kept for that

_LEAKED = "{0:,} of {1:,} rows that were looked up also occur in the training data"
_SAY = "Say what it is: with autolog.evaluation('test'): ..."
_DIVIDED = (
    "rows of a cross-validation's data: whether the model of a fold has learned from them cannot be known."
    f" {_SAY}"
)
_UNKNOWN = (
    "{0:,} of {1:,} rows occur in the training data, of whose rows {2:.0%} have an equal one: whether this"
    f" set was held out cannot be known. {_SAY}"
)
_TOO_FEW = (
    "of the training rows a sample is remembered, and it could hold none of these few rows: whether this"
    f" set was held out cannot be known. {_SAY}"
)
_NOT_COMPUTED = (
    "of rows that Dask computes only where you ask, be it here or in the training, nobody can tell which ones"
    f" they are: whether this set was held out cannot be known. {_SAY}"
)
_OTHER_PRECISION = (
    "its numbers are of another precision than the training data, which is gone: whether this set was"
    f" held out cannot be known. {_SAY}"
)


class Sighting(NamedTuple):
    """What data is that a model was evaluated on."""

    name: str | None
    """``train``, ``train/part``, or ``eval``: it cannot be known; None: it is held out."""
    note: str | None = None


@dataclass
class TrainingData:
    """What is remembered of the data of a fit, to know it again in an evaluation."""

    X: str | None
    y: str | None
    known: KnownRows | None = None
    """The rows of X."""
    is_boolean: bool = False
    """Whether y is yes and no."""
    task: str | None = None
    classes: Any = None
    rows: int | None = None
    fit_seconds: float = 0.0
    spent: float = 0.0
    """Seconds of work, by our table, that were spent on calling the model once more."""
    wished: float = 0.0
    """The same, and what was left out: of a loop."""
    fits: int = 0
    is_loop: bool = False
    """Of ``partial_fit`` or ``warm_start``: more of the same comes."""
    place: weakref.ref[Any] | None = None
    """X itself: looked at once more where an evaluation's numbers are of another precision."""
    is_divided: bool = False
    """Of a cross-validation: each model has learned from a part of it."""
    is_lazy: bool = False
    """X is known by what it is computed from."""
    more: set[tuple[str | None, str | None]] = field(default_factory=set)
    """Of a loop, the data of its further calls."""

    def add(self, X: Any, y: Any, *, full: bool) -> None:
        """Of a loop, the data of one more call."""
        read = read_of(X, full=full)
        mark = (None if read is None else read.mark, mark_of(y, full=full))
        if mark in self.more or mark == (self.X, self.y):
            return
        self.more.add(mark)
        if self.known is not None and read is not None and read.rows is not None:
            self.known = self.known.joined(read.rows)

    def name_of(self, X: Any, read: Read | None, mark_of_y: str | None, *, full: bool = False) -> Sighting:
        """What data is: by its content, whatever form it has and however its rows were picked.

        Args:
            X: the data, None if it is gone.
            read: what was read of it; None: then the target alone must tell.
            mark_of_y: of its target.
            full: whether it was read without a bound.
        """
        seen = self._name_of(X, read, mark_of_y, full)
        is_training = seen.name is not None and seen.name.startswith("train")
        return Sighting("eval", _DIVIDED) if is_training and self.is_divided else seen

    def _name_of(self, X: Any, read: Read | None, mark_of_y: str | None, full: bool) -> Sighting:
        mark = None if read is None else read.mark
        if mark_of_y == self.y and mark in (self.X, None):
            return Sighting("train")
        if any(mark_of_y == y and mark in (known, None) for known, y in self.more):
            return Sighting("train/part")
        known, rows = self.known, (None if X is None or read is None else read.rows)
        if rows is None or known is None:
            if mark is not None and mark == self.X:
                return Sighting("train")
            is_lazy = self.is_lazy or (read is not None and read.is_lazy)
            return Sighting("eval", _NOT_COMPUTED) if is_lazy else Sighting(None)
        overlap = known.overlap(rows)
        if overlap.verdict == "held out" and {rows.precision, known.precision} in ({4, 8}, {2, 4}, {2, 8}):
            alike = self._overlap_in_lower_precision(X, rows, known, full)
            if alike is None:
                return Sighting("eval", _OTHER_PRECISION)
            overlap = alike
        if overlap.verdict == "training":
            return Sighting("train" if overlap.is_whole else "train/part")
        if overlap.verdict == "unknown" and not overlap.looked_up:
            return Sighting("eval", _TOO_FEW)
        if overlap.verdict == "unknown":
            return Sighting("eval", _UNKNOWN.format(overlap.found, overlap.looked_up, known.twins))
        return Sighting(None, _LEAKED.format(overlap.found, overlap.looked_up) if overlap.found else None)

    def _overlap_in_lower_precision(self, X: Any, rows: Rows, known: KnownRows, full: bool) -> Overlap | None:
        """A copy in float32 has other numbers: it is compared with the training's, if they are there."""
        low = min(rows.precision, known.precision)
        if known.precision > low:
            whole = self.place() if self.place is not None else None
            found = None if whole is None or self.more else read_rows(whole, full=full, precision=low)
            if found is None:
                return None
            known = KnownRows.of(found)
        looked_up = rows if rows.precision == low else read_rows(X, full=full, precision=low)
        return None if looked_up is None else known.overlap(looked_up)


training_data: weakref.WeakKeyDictionary[Recording, TrainingData] = weakref.WeakKeyDictionary()


def place_of(values: Any) -> weakref.ref[Any] | None:
    """A weak reference to data, where it takes one."""
    try:
        return weakref.ref(values)
    except TypeError:  # a list, say
        return None


def read_of(values: Any, *, full: bool = False) -> Read | None:
    """What one pass over data finds; None if there is none."""
    return None if values is None else datasets.read(values, full=full)


def mark_of(values: Any, *, full: bool = False) -> str | None:
    """What values are known by, whether they come as a list, an array or a column of a frame."""
    global _marks
    if values is None:
        return None
    content = content_of(values, KNOWN_BYTES)
    if content is None:
        return datasets.read(values, full=full).mark
    key = content, full
    for known, mark in _marks:
        if known == key:
            return mark
    whole, dtype, shape = content
    mark = datasets.read(np.frombuffer(whole, dtype).reshape(shape), full=full).mark
    _marks = ((key, mark), *_marks[: MOST_MARKS - 1])
    return mark


Content = tuple[bytes, str, tuple[int, ...]]
"""A copy of numbers, their type and shape."""

# Several metrics in a row are given the same truth. It is known by its content: it may have changed. It is
# compared with a few, one by one, which ends at the first byte that differs: a hash would take longer.
_marks: tuple[tuple[tuple[Content, bool], str], ...] = ()


def content_of(values: Any, most: int) -> Content | None:
    """What tells numbers from others, bit by bit; None: they are more bytes than that, or are none."""
    plain = values.to_numpy() if _is_column_of_numbers(values) else values
    if type(plain) is np.ndarray and plain.nbytes <= most and plain.dtype.kind in "biuf":
        return plain.tobytes(), plain.dtype.str, plain.shape
    return None


def _is_column_of_numbers(values: Any) -> bool:
    return isinstance(getattr(values, "dtype", None), np.dtype) and hasattr(values, "to_numpy")


def is_full(run: Recording) -> bool:
    """Whether this run's data is read without a bound."""
    return run.settings.fingerprint == "full"
