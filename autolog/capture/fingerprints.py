"""What data is known by: 16 characters that follow from its content alone.

Tables and columns are known by their rows' hashes (see ``rows``), other objects by what they consist of,
and else by their pickle. Iterators and loaders are never consumed, they are known by their type.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture import rows
from autolog.capture.cells import Table, UnreadableError, bits_of_cells
from autolog.capture.kinds import column_of, is_frame, is_lazy, is_mapping, is_series

__all__ = ["Read", "combined", "fingerprint", "read", "spread"]

_CELLS = 20_000  # nested objects that are hashed in full
_ITEMS = 2_048  # that stand for more of them
_WIDE = 500  # columns of a frame with nested objects
_PICKLED = 4 * 2**20  # bytes of a pickle


@dataclass(eq=False)
class Read:
    """What one pass over a value has found."""

    fingerprint: str
    """Of cells, shape, and column names where there are names."""
    mark: str
    """Of the cells alone: a frame and its array have the same, a column and its frame, too."""
    rows: rows.Rows | None
    """None for what has no rows that could be told apart."""
    sampled: bool = False
    """Whether a part stands for the whole."""
    notes: tuple[str, ...] = ()
    """What could not be read, and why."""
    is_lazy: bool = False
    """Whether nobody has looked inside: it is known by what it is computed from."""


def fingerprint(*values: Any, full: bool = False) -> str:
    """Identify data by its content: 16 hexadecimal characters, the same in every process.

    Equal data has equal fingerprints, be it a NumPy array of any memory layout, a list of rows, a frame of
    pandas or polars (without its index) or a sparse matrix: what counts is the value of each cell, the shape,
    and the names of the columns where there are names. The types of equal numbers do not count: 1, 1.0 and
    True are one value; None, NaN, NaT and pandas.NA are one, too. Mappings, sets and nested lists are known
    by what they hold, other objects by their pickle, and by their type where they have none.

    Up to 100 MB of numbers and 10 MB of texts (eight bytes each, and their characters) are read whole; beyond
    that every k-th row, as many as fit. BLAKE2b of a 64-bit hash per row: for accidents, not forgeries.

    Args:
        values: The parts of one data set, in order, such as `X, y`.
        full: Read whole whatever the size.
    """
    return combined([read(value, full=full) for value in values])


def combined(parts: Sequence[Read]) -> str:
    """The fingerprint of a data set of these parts."""
    return _digest(" ".join(part.fingerprint for part in parts))


def read(value: Any, *, full: bool = False) -> Read:
    """Read a value once; never raises, never iterates over what is no table, list, mapping or set.

    Args:
        value: Data of any kind.
        full: Whatever its size.
    """
    if is_lazy(value):  # known by the name that Dask has given it: of what it is computed from
        known = _digest(f"lazy {type(value).__qualname__} {getattr(value, '_name', '')}")
        return Read(known, known, None, is_lazy=True)
    try:
        found = rows.read(value, full=full)
        if found is not None:
            return Read(_digest(_text_of(found)), found.mark, found, found.is_sampled)
    except Exception:
        found = None  # what there is to say of it is said below
    hasher = _Hasher(full)
    try:
        hasher.feed(value)
    except Exception as error:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        hasher.notes.append(f"fingerprint: of {name} by its type: {type(error).__name__}: {error}"[:300])
        hasher.text(name)
    known = hasher.hash.hexdigest()
    return Read(known, known, None, hasher.sampled, tuple(hasher.notes))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _text_of(found: rows.Rows) -> str:
    return f"rows {found.shape} {found.names or ''} {found.mark}"


class _Hasher:
    """One fingerprint in the making."""

    def __init__(self, full: bool) -> None:
        self.hash = hashlib.blake2b(digest_size=8)
        self.full = full
        self.sampled = False
        self.cells = _CELLS
        self.notes: list[str] = []
        self.known = Table()

    def text(self, text: str) -> None:
        content = text.encode("utf-8", "surrogatepass")
        self.hash.update(b"%d:" % len(content))  # "ab", "c" is not "a", "bc"
        self.hash.update(content)

    def table(self, found: rows.Rows) -> None:
        self.sampled |= found.is_sampled
        self.text(_text_of(found))

    def feed(self, value: Any) -> None:
        try:
            self.text(f"cell {bits_of_cells([value], self.known)[0]}")
            return
        except UnreadableError:
            pass
        if (found := rows.read(value, full=self.full)) is not None:
            self.table(found)
        elif is_frame(value):  # with nested objects in it
            self.frame(value)
        elif is_series(value):
            self.sequence(value.to_list())
        elif isinstance(value, np.ndarray) and value.dtype.hasobject and not value.dtype.names:
            self.text(f"array {value.shape}")
            self.sequence(value.reshape(-1).tolist())
        elif isinstance(value, bytearray):
            self.feed(bytes(value))
        elif isinstance(value, (list, tuple)):
            self.sequence(value)
        elif is_mapping(value):
            self.text(f"mapping {len(value)}")
            for key in list(value.keys())[:_ITEMS]:  # (to iterate over a loader would draw its order)
                self.text(str(key))
                self.feed(value[key])
        elif isinstance(value, (set, frozenset)):
            self.text("set " + " ".join(sorted(fingerprint(item) for item in value)))
        else:
            self.pickled(value)

    def sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        self.text(f"sequence {len(value)}")
        for index in self.chosen(value):
            self.feed(value[index])

    def chosen(self, value: list[Any] | tuple[Any, ...]) -> npt.NDArray[Any]:
        """Which of many nested objects to look at."""
        size = len(value)
        few = [value[index] for index in spread(size, min(size, 20))]
        largest = max((int(getattr(item, "nbytes", 0) or 0) for item in few), default=0)
        most = min(self.cells, max(8, rows.NUMBERS // max(1, largest)))
        if size <= most or self.full:
            self.cells -= min(self.cells, size)
            return np.arange(size)
        self.sampled = True
        count = min(size, _ITEMS if most >= _ITEMS else max(8, min(most, _ITEMS)))
        self.cells = max(0, self.cells - count)
        return spread(size, count)

    def frame(self, frame: Any) -> None:
        self.text(f"frame {frame.shape}")
        width = frame.shape[1]
        places = spread(width, min(width, _WIDE)).tolist()
        self.sampled |= len(places) < width
        for place in places:
            self.text(str(frame.columns[place]))
            self.feed(column_of(frame, place))

    def pickled(self, value: Any) -> None:
        kind = type(value)
        self.text(f"{kind.__module__}.{kind.__qualname__}")
        if isinstance(value, Iterator):
            return
        own = getattr(value, "_fingerprint", None)
        if isinstance(own, str):  # Hugging Face datasets know theirs
            self.text(own)
            return
        buffer = _Buffer()
        try:
            pickler = pickle.Pickler(buffer, protocol=5)
            # Without the memo, equal strings give equal bytes whether or not they are one object.
            pickler.fast = True
            pickler.dump(value)
        except _FullError:
            self.sampled = True
        except Exception as error:
            self.notes.append(f"fingerprint: of {kind.__name__} by its type: {error}"[:300])
            return
        self.hash.update(buffer.getbuffer())


class _FullError(Exception):
    pass


class _Buffer(io.BytesIO):
    def write(self, data: Any) -> int:
        room = _PICKLED - self.tell()
        written = super().write(memoryview(data).cast("B")[:room])
        if self.tell() >= _PICKLED:
            raise _FullError
        return written


def spread(size: int, count: int) -> npt.NDArray[Any]:
    """So many evenly spaced places of a larger number."""
    return np.linspace(0, size - 1, count).astype(np.intp) if size else np.arange(0)
