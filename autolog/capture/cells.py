"""Each cell of a table as 64 bits: equal values have equal bits, whatever types they come in.

Numbers (truths among them) are the bits of their value in float64: 1, 1.0 and True are one value. A whole
number that float64 cannot hold exactly differs from its neighbours all the same. 0.0 and -0.0 are one value,
and so are None, NaN, NaT and pandas.NA: it is missing. A text is hashed, the same in every process.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MISSING", "Table", "UnreadableError", "bits_of", "bits_of_cells", "plain"]

Array = npt.NDArray[Any]

MISSING = np.uint64(0x7FF8000000000000)  # as float64: a NaN
_MIX = np.uint64(0xD6E8FEB86659FD93)
_TIME, _SPAN = np.uint64(0x54494D45), np.uint64(0x5350414E)
_EXACT = 2**53  # whole numbers up to here are exact in float64
_REMEMBERED = 2**16  # distinct cells whose bits are kept
_NUMBERS = {bool, int, float, np.bool_, np.int64, np.int32, np.float64, np.float32}


class UnreadableError(Exception):
    """A cell of a kind that has no bits: a list, an object of the user's."""


# Arrays of numbers ------------------------------------------------------------------------------------


def bits_of(numbers: Array, precision: int = 8) -> Array:
    """The bits of numbers, truths or times: a new array, in C order.

    Args:
        numbers: of any numeric type, or datetime64, or timedelta64.
        precision: bytes of the floating-point numbers that they are rounded to first, 2, 4 or 8.
    """
    kind = numbers.dtype.kind
    if kind in "mM":
        return _bits_of_times(numbers)
    if kind == "c":
        imaginary = bits_of(numbers.imag, precision)
        imaginary *= _MIX
        imaginary ^= bits_of(numbers.real, precision)
        imaginary[np.isnan(numbers)] = MISSING
        return imaginary
    if precision < 8:
        with np.errstate(over="ignore"):  # what is too large for it is infinite
            numbers = numbers.astype(f"f{precision}")
    # The sum makes 0.0 of -0.0.
    values = np.add(numbers, 0.0, dtype=np.float64, order="C", casting="unsafe")
    bits = values.view(np.uint64)
    if numbers.dtype.kind == "f":
        missing = np.isnan(values)
        if missing.any():
            bits[missing] = MISSING
        if numbers.dtype.itemsize > 8:  # more digits than float64 has
            with np.errstate(invalid="ignore"):
                rest = np.where(np.isfinite(values), (numbers - values).astype(np.float64) + 0.0, 0.0)
            bits ^= rest.view(np.uint64) * _MIX
    elif numbers.dtype.itemsize == 8 and values.size and np.abs(values).max() >= _EXACT:
        bits ^= _rest(np.ascontiguousarray(numbers), values) * _MIX
    return bits


def _rest(whole: Array, values: Array) -> Array:
    """What float64 has lost of whole numbers."""
    held = np.minimum(values, 0.0).astype(np.int64).view(np.uint64)
    held += np.clip(values, 0.0, 2.0**64 - 2048).astype(np.uint64)
    rest: Array = whole.astype(whole.dtype.newbyteorder("="), copy=False).view(np.uint64) - held
    return rest


def _bits_of_times(times: Array) -> Array:
    """Microseconds, and what is finer than that: the same for every unit."""
    name = "M8" if times.dtype.kind == "M" else "m8"
    micros = np.ascontiguousarray(times).astype(f"{name}[us]")
    missing = np.isnat(micros)
    bits = bits_of(micros.view(np.int64))
    if np.datetime_data(times.dtype)[0] in ("ns", "ps", "fs", "as"):
        rest = (times - micros.astype(times.dtype)).astype("m8[ns]").view(np.int64)
        bits ^= bits_of(rest) * _MIX
    bits ^= _TIME if name == "M8" else _SPAN
    bits[missing] = MISSING
    return bits


# Lists of anything ------------------------------------------------------------------------------------


class Table(dict[Any, int]):
    """The bits of single cells, computed once for each value."""

    def __init__(self, precision: int = 8):
        super().__init__()
        self.precision = precision

    def __missing__(self, cell: Any) -> int:
        bits = _bits_of_cell(cell, self.precision)
        if len(self) < _REMEMBERED:
            self[cell] = bits
        return bits


def bits_of_cells(cells: Any, table: Table) -> Array:
    """The bits of one column's cells.

    Args:
        cells: an array of one axis, a list, or a ``Column``.
        table: what is known of single values.

    Raises:
        UnreadableError: a cell of another kind.
    """
    if isinstance(cells, Column):
        bits: Array = bits_of_cells(cells.values, table)
        if cells.codes is not None:
            bits = np.append(bits, MISSING)[np.asarray(cells.codes)]  # the code -1 is the last one
        else:
            bits[cells.missing] = MISSING
        return bits
    if isinstance(cells, np.ndarray):
        if cells.dtype.kind in "biufcmM":
            return bits_of(cells, table.precision)
        cells = cells.tolist()
    kinds = set(map(type, cells))
    if kinds <= _NUMBERS:
        array = np.asarray(cells)
        is_exact = array.dtype.kind in "biu" or kinds <= {float, np.float64, np.float32}
        if array.dtype.kind == "f" and not is_exact:
            is_exact = bool((np.abs(array) < _EXACT).all())
        if is_exact:
            return bits_of(array, table.precision)
    try:
        return np.fromiter(map(table.__getitem__, cells), np.uint64, len(cells))
    except TypeError as error:  # it cannot be hashed: a list, an array
        raise UnreadableError from error


def _bits_of_cell(cell: Any, precision: int) -> int:
    if isinstance(cell, str):
        content = cell.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")
    if isinstance(cell, bytes):
        return _hash(b"bytes", cell)
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return int(MISSING)
    if isinstance(cell, (datetime.date, datetime.timedelta, np.datetime64, np.timedelta64)):
        return int(bits_of(_time(cell).reshape(1), precision)[0])
    if isinstance(cell, (Number, np.bool_)):
        return _bits_of_number(cell, precision)
    raise UnreadableError(type(cell).__name__)


def _bits_of_number(cell: Any, precision: int) -> int:
    array = np.asarray(cell)
    if array.dtype.kind not in "biufc":  # Decimal, Fraction, and whole numbers of any length
        try:
            number = float(cell)
        except OverflowError:
            number = math.copysign(math.inf, cell > 0 or -1)
        array = np.asarray(number)
        if precision == 8 and not math.isnan(number) and number != cell:
            if not isinstance(cell, int) and (math.isinf(number) or int(cell) != cell):
                return _hash(b"number", str(cell).encode())
            whole = int(cell)
            if not -(2**63) <= whole < 2**64:
                return _hash(b"number", whole.to_bytes(whole.bit_length() // 8 + 1, "little", signed=True))
            array = np.asarray(whole)
    return int(bits_of(array.reshape(1), precision)[0])


def _time(cell: Any) -> Array:
    if isinstance(cell, (np.datetime64, np.timedelta64)):
        return np.asarray(cell)
    if hasattr(cell, "to_numpy") and getattr(cell, "tzinfo", None) is None:  # pandas', with nanoseconds
        return np.asarray(cell.to_numpy())
    if isinstance(cell, datetime.datetime) and cell.tzinfo is not None:
        if hasattr(cell, "tz_convert"):
            return np.asarray(cell.tz_convert(None).to_numpy())
        cell = cell.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(cell, datetime.timedelta):
        return np.asarray(np.timedelta64(cell))
    return np.asarray(np.datetime64(cell))


def _hash(kind: bytes, content: bytes) -> int:
    """Of what is no text: those are many, and to be of a kind doubles the time."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, person=kind).digest(), "little")


# Columns of frames ------------------------------------------------------------------------------------


class Column:
    """Values of which some are missing, or categories with the code of each cell (-1: missing)."""

    def __init__(self, values: Any, *, missing: Any = None, codes: Any = None):
        self.values = values
        self.missing = missing
        self.codes = codes


def plain(values: Any) -> Any:
    """A series of pandas or polars as an array, a list or a ``Column``; anything else as it is."""
    if isinstance(values, (np.ndarray, list, tuple)):
        return values
    return _of_pandas(values) if hasattr(values, "iloc") else _of_polars(values)


def _of_pandas(series: Any) -> Any:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return series.to_numpy()
    if hasattr(series, "cat") and hasattr(dtype, "categories"):
        return Column(plain(series.cat.categories.to_series()), codes=series.cat.codes.to_numpy())
    if hasattr(dtype, "tz"):
        return series.dt.tz_convert(None).to_numpy()
    if getattr(dtype, "kind", "O") in "biuf":
        missing = series.isna().to_numpy()
        kind = getattr(dtype, "numpy_dtype", np.dtype(object))
        if kind.kind in "biuf":
            return Column(series.to_numpy(dtype=kind, na_value=kind.type(0)), missing=missing)
    return series.to_numpy(dtype=object).tolist()


def _of_polars(series: Any) -> Any:
    dtype = series.dtype
    is_number = dtype.is_integer() or dtype.is_float()
    if is_number or str(dtype) == "Boolean":
        if not series.null_count():
            return series.to_numpy()
        return Column(
            series.fill_null(0 if is_number else False).to_numpy(), missing=series.is_null().to_numpy()
        )
    if str(dtype).startswith(("Date", "Duration")):
        return series.to_numpy()
    return series.to_list()
