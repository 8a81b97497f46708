"""One pass over data gives each row a 64-bit hash: by that data is known, and the rows it shares with others.

The hash of a row follows from the values of its cells alone: not from the container (array, list,
frame, sparse matrix), its memory layout, the types of equal numbers, or the process. Up to 100 MB of
numbers and 10 MB of texts and other objects are read whole, beyond that every k-th row.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture.cells import Table, UnreadableError, bits_of, bits_of_cells, plain
from autolog.capture.kinds import column_of, is_frame, is_series, is_sparse, tensor_of

__all__ = ["Rows", "read"]

Array = npt.NDArray[Any]

NUMBERS = 100_000_000  # bytes of numbers that are read whole
OBJECTS = 10_000_000  # bytes of texts and other objects, of eight each and their characters
FEWEST = 16  # rows that are read of any table: beyond that, every k-th column of them
_CHUNK = 2**18  # cells that are converted at a time
_TILE = 2**15  # cells that are hashed at a time: they stay in the cache
_LOOKED_AT = 200  # cells whose lengths stand for those of a column


@dataclass(eq=False)
class Rows:
    """What one pass has found."""

    hashes: Array
    """One per row that was read, in order, uint64."""
    shape: tuple[int, ...]
    """Of all the data."""
    names: tuple[str, ...] | None = None
    """Of the columns, if they have any: a mere numbering is none."""
    step: int = 1
    """Every so many rows were read; 1: all."""
    columns_step: int = 1
    """The same of columns, for data whose single rows are very large."""
    precision: int = 0
    """Bytes of the floating-point numbers in it; 0: there are none."""

    @property
    def is_sampled(self) -> bool:
        """Whether a part stands for the whole."""
        return self.step > 1 or self.columns_step > 1

    @property
    def width(self) -> int:
        """Cells of a row."""
        return math.prod(self.shape[1:])

    @cached_property
    def mark(self) -> str:
        """Of equal cells the same, whatever their columns are called: 16 hexadecimal characters."""
        content = hashlib.blake2b(b"%d %d:" % (self.shape[0] if self.shape else 1, self.width), digest_size=8)
        content.update(self.hashes.astype("<u8", copy=False).data)
        return content.hexdigest()


def read(value: Any, *, full: bool = False, precision: int = 8) -> Rows | None:
    """Hash the rows of a table, or of a column; None for anything else.

    Args:
        value: a NumPy array (a row is all behind the first axis), a list of cells or of equally long
            rows, a frame or series of pandas or polars, a sparse matrix, a tensor in this memory.
        full: without a bound.
        precision: bytes that floating-point numbers are rounded to first, 2, 4 or 8.

    Raises:
        Exception: whatever a container raises that cannot be read.
    """
    table = _table_of(value)
    if table is None:
        return None
    try:
        return _hashed(table, full, precision)
    except UnreadableError:
        return None


def _hashed(table: _Data, full: bool, precision: int) -> Rows:
    step, columns_step = (1, 1) if full else _steps(table)
    part = table.every(step) if step > 1 else table
    sums = np.zeros(part.count, dtype=np.uint64)
    part.add_to(sums, _Adder(Table(precision), precision, columns_step))
    return Rows(sums, table.shape, table.names, step, columns_step, min(table.precision, precision))


def _steps(table: _Data) -> tuple[int, int]:
    """Every how many rows, and columns, are read to stay within the bounds."""
    numbers, objects = table.weights()
    if numbers <= NUMBERS and objects <= OBJECTS:
        return 1, 1
    count = max(1, table.count)
    wished = max(1, -(-numbers // NUMBERS), -(-objects // OBJECTS))
    step = min(wished, max(1, count // FEWEST))
    kept = numbers * -(-count // step) // count
    return int(step), int(max(1, -(-kept // NUMBERS)) if table.may_skip_columns else 1)


# The hash of a row ------------------------------------------------------------------------------------
#
# A sum over its cells: each cell's 64 bits, stirred, times an odd number of the column's own. So it does not
# matter which cell comes first, and a zero adds nothing: sparse data counts as dense data does.

_STIR = np.uint64(0x9E3779B97F4A7C15)
_HALF, _REST = np.uint64(32), np.uint64(29)


def _stir(bits: Array) -> None:
    """Let each bit count for all: of small whole numbers nearly all are zero. In place; zero stays zero."""
    bits ^= bits >> _HALF
    bits *= _STIR
    bits ^= bits >> _REST


def _factors(start: int, stop: int) -> Array:
    """An odd number for each column: the splitmix64 of its place."""
    if stop <= len(_FIRST):
        return _FIRST[start:stop]
    return _splitmix(np.arange(start + 1, stop + 1, dtype=np.uint64))


def _splitmix(numbers: Array) -> Array:
    # https://prng.di.unimi.it/splitmix64.c
    bits = numbers * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    odd: Array = (bits ^ (bits >> np.uint64(31))) | np.uint64(1)
    return odd


_FIRST = _splitmix(np.arange(1, 1025, dtype=np.uint64))


@dataclass
class _Adder:
    """Adds cells to the sums of their rows."""

    texts: Table
    precision: int
    columns_step: int = 1

    def numbers(self, sums: Array, cells: Array, first: int) -> None:
        """Add rows of numbers, whose first column has this place."""
        count, width = cells.shape
        columns = max(1, min(width, _TILE))
        rows = max(1, _TILE // columns)
        for left in range(0, width, columns):
            factors = _factors(first + left, first + min(left + columns, width))
            for top in range(0, count, rows):
                tile = cells[top : top + rows, left : left + columns]
                self.bits(sums[top : top + rows], bits_of(tile, self.precision), factors)

    def bits(self, sums: Array, bits: Array, factors: Array) -> None:
        """Add rows of cells that are 64 bits each already; they are changed."""
        _stir(bits)
        sums += np.einsum("ij,j->i", bits, factors)

    def column(self, sums: Array, values: Any, place: int) -> None:
        """Add one column: an array, a list, or a series."""
        factors = _factors(place, place + 1)
        for top in range(0, len(sums), _TILE):
            part = values if len(sums) <= _TILE else _slice(values, top, top + _TILE)
            bits = bits_of_cells(plain(part), self.texts)
            self.bits(sums[top : top + _TILE], bits.reshape(-1, 1), factors)


def _slice(values: Any, start: int, stop: int) -> Any:
    return values.iloc[start:stop] if hasattr(values, "iloc") else values[start:stop]


# The containers ---------------------------------------------------------------------------------------


@dataclass
class _Data:
    """A table of one kind."""

    value: Any
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    precision: int = 0
    may_skip_columns: bool = field(default=False, kw_only=True)

    @property
    def count(self) -> int:
        return self.shape[0] if self.shape else 1

    def every(self, step: int) -> _Data:
        """Every so many rows, one of them."""
        return type(self)(self.value[::step], (-(-self.count // step), *self.shape[1:]))

    def weights(self) -> tuple[int, int]:
        """Bytes of numbers, and of objects with their characters (as a few of them have)."""
        raise NotImplementedError

    def add_to(self, sums: Array, adder: _Adder) -> None:
        """Add all cells to the sums of their rows."""
        raise NotImplementedError


class _Numbers(_Data):
    """An array of numbers, times or truths, of any number of axes."""

    def weights(self) -> tuple[int, int]:
        return self.value.nbytes, 0

    def add_to(self, sums: Array, adder: _Adder) -> None:
        width = math.prod(self.shape[1:])
        rows = max(1, _CHUNK // max(1, width))
        for top in range(0, self.count, rows):
            cells = self.value[top : top + rows]
            if cells.ndim != 2:  # what is not contiguous is copied by this: a few rows at a time
                cells = cells.reshape(-1, width)
            adder.numbers(sums[top : top + rows], cells[:, :: adder.columns_step], 0)


class _Objects(_Data):
    """An array of texts or other objects."""

    def weights(self) -> tuple[int, int]:
        step = max(1, self.count // _LOOKED_AT)
        few = self.value[::step].reshape(-1)
        return 0, _weight(few[:: max(1, len(few) // _LOOKED_AT)], self.value.size)

    def add_to(self, sums: Array, adder: _Adder) -> None:
        flat = self.value.reshape(self.count, -1)
        for place in range(flat.shape[1]):
            adder.column(sums, flat[:, place], place)


class _List(_Data):
    """A list of cells, or of rows of the same length."""

    def weights(self) -> tuple[int, int]:
        few = self.value[:: max(1, self.count // _LOOKED_AT)]
        if len(self.shape) == 2:
            few = [cell for row in few for cell in row][: 4 * _LOOKED_AT]
        cells = self.count * (self.shape[1] if len(self.shape) == 2 else 1)
        is_numbers = all(isinstance(cell, (bool, int, float, np.number)) for cell in few)
        return (8 * cells, 0) if is_numbers else (0, _weight(few, cells))

    def add_to(self, sums: Array, adder: _Adder) -> None:
        if len(self.shape) == 1:
            adder.column(sums, self.value, 0)
            return
        rows = max(1, _TILE // max(1, self.shape[1]))
        for top in range(0, self.count, rows):
            for place, cells in enumerate(zip(*self.value[top : top + rows], strict=True)):
                adder.column(sums[top : top + rows], list(cells), place)


class _Frame(_Data):
    """A frame of pandas or polars."""

    def every(self, step: int) -> _Data:
        part = self.value.iloc[::step] if hasattr(self.value, "iloc") else self.value.gather_every(step)
        return _Frame(part, tuple(part.shape))

    def weights(self) -> tuple[int, int]:
        numbers = objects = 0
        for place, dtype in enumerate(self.value.dtypes):
            if (size := _size_of(dtype)) is not None:
                numbers += size * self.count
            elif self.count:
                objects += _weight_of_column(column_of(self.value, place))
        return numbers, objects

    def add_to(self, sums: Array, adder: _Adder) -> None:
        if _is_uniform(self.value):  # mostly one array inside, of which nothing is copied
            rows = max(1, _CHUNK // max(1, self.shape[1]))
            for top in range(0, self.count, rows):
                adder.numbers(sums[top : top + rows], self.value.iloc[top : top + rows].to_numpy(), 0)
            return
        for place in range(self.shape[1]):
            adder.column(sums, column_of(self.value, place), place)


class _Series(_Data):
    """One column of pandas or polars."""

    def every(self, step: int) -> _Data:
        part = self.value.iloc[::step] if hasattr(self.value, "iloc") else self.value.gather_every(step)
        return _Series(part, (len(part),))

    def weights(self) -> tuple[int, int]:
        size = _size_of(self.value.dtype)
        return (0, _weight_of_column(self.value)) if size is None else (size * self.count, 0)

    def add_to(self, sums: Array, adder: _Adder) -> None:
        adder.column(sums, self.value, 0)


class _Sparse(_Data):
    """A sparse matrix: the sum goes over what it holds, in whichever order."""

    step: int = 1

    def every(self, step: int) -> _Data:
        part = _Sparse(self.value, (-(-self.count // step), self.shape[1]))
        part.step = step
        return part

    def weights(self) -> tuple[int, int]:
        return int(self.value.nnz) * 8, 0

    def add_to(self, sums: Array, adder: _Adder) -> None:
        for rows, columns, cells in _entries(self.value):
            at, places, found = rows, columns, cells
            if self.step > 1:
                kept = at % self.step == 0
                at, places, found = at[kept] // self.step, places[kept], found[kept]
            bits = bits_of(found, adder.precision)
            _stir(bits)
            bits *= _splitmix(places.astype(np.uint64) + np.uint64(1))
            np.add.at(sums, at, bits)


def _entries(matrix: Any) -> Iterator[tuple[Array, Array, Array]]:
    """Rows, columns and values of what a matrix holds, some at a time."""
    if matrix.format not in ("csr", "csc", "coo"):
        matrix = matrix.tocsr()
    if not matrix.has_canonical_format and not _is_unique(matrix):
        matrix = matrix.tocsr(copy=True)  # some cells are sums of several entries
        matrix.sum_duplicates()
    for start in range(0, len(matrix.data), _CHUNK):
        part = slice(start, min(start + _CHUNK, len(matrix.data)))
        if matrix.format == "coo":
            yield matrix.row[part], matrix.col[part], matrix.data[part]
            continue
        first = int(np.searchsorted(matrix.indptr, part.start, side="right")) - 1
        last = int(np.searchsorted(matrix.indptr, part.stop, side="left"))
        sizes = np.diff(np.clip(matrix.indptr[first : last + 1], part.start, part.stop))
        along, across = np.repeat(np.arange(first, last), sizes), matrix.indices[part]
        rows, columns = (along, across) if matrix.format == "csr" else (across, along)
        yield rows, columns, matrix.data[part]


def _is_unique(matrix: Any) -> bool:
    """Whether a matrix whose indices stand in no order has each cell once."""
    if matrix.format == "coo":
        return False  # so it is put in order
    ordered = type(matrix)(
        (np.empty(len(matrix.indices), dtype=np.bool_), matrix.indices.copy(), matrix.indptr),
        shape=matrix.shape,
    )
    ordered.sort_indices()
    return bool(ordered.has_canonical_format)


def _table_of(value: Any) -> _Data | None:
    """The reader of a value, if it is a table or a column."""
    if isinstance(value, np.ndarray):
        kind = value.dtype.kind
        if kind in "biufcmM":
            precision = _float_size(value.dtype) or 0
            return _Numbers(np.atleast_1d(value), value.shape, None, precision, may_skip_columns=True)
        return _Objects(np.atleast_1d(value), value.shape) if kind in "OUST" else None
    if is_frame(value):
        floats = [size for dtype in value.dtypes if (size := _float_size(dtype))]
        return _Frame(value, tuple(value.shape), _names(value), max(floats, default=0))
    if is_series(value):
        return _Series(value, (len(value),), None, _float_size(value.dtype) or 0)
    if isinstance(value, (list, tuple)):
        return _list_of(value)
    if is_sparse(value):
        return _Sparse(value, tuple(map(int, value.shape))) if len(value.shape) == 2 else None
    tensor = tensor_of(value)
    return None if tensor is None else _table_of(tensor)


def _list_of(value: Sequence[Any]) -> _Data | None:
    if not value or not isinstance(value[0], (list, tuple)):
        return _List(value, (len(value),))
    width = len(value[0])
    if all(isinstance(row, (list, tuple)) and len(row) == width for row in value):
        return _List(value, (len(value), width))
    return None


def _names(frame: Any) -> tuple[str, ...] | None:
    columns = list(frame.columns)
    numbered: Callable[[int], Any] = (lambda n: n) if hasattr(frame, "iloc") else (lambda n: f"column_{n}")
    return None if all(name == numbered(n) for n, name in enumerate(columns)) else tuple(map(str, columns))


def _is_uniform(frame: Any) -> bool:
    kinds = set(frame.dtypes)
    return len(kinds) == 1 and isinstance(kind := kinds.pop(), np.dtype) and kind.kind in "biufcmM"


def _size_of(dtype: Any) -> int | None:
    """Bytes of a column's cell; None where cells are objects, or may be as long as they like."""
    if isinstance(dtype, np.dtype):
        return dtype.itemsize if dtype.kind in "biufcmM" else None
    if hasattr(dtype, "is_numeric"):  # of polars
        return 8 if dtype.is_integer() or dtype.is_float() or dtype.is_temporal() else None
    return 8 if getattr(dtype, "kind", "O") in "biufmM" else None


def _float_size(dtype: Any) -> int | None:
    if isinstance(dtype, np.dtype):
        return min(8, dtype.itemsize) if dtype.kind == "f" else None
    return {"Float32": 4, "Float64": 8}.get(str(dtype))


def _weight_of_column(series: Any) -> int:
    step = max(1, len(series) // _LOOKED_AT)
    few = series.iloc[::step] if hasattr(series, "iloc") else series.gather_every(step)
    return _weight(few.to_list(), len(series))


def _weight(few: Any, count: int) -> int:
    """Bytes of so many cells, by the lengths of a few of them."""
    texts = sum(len(cell) for cell in few if isinstance(cell, (str, bytes)))
    return count * 8 + count * texts // max(1, len(few))
