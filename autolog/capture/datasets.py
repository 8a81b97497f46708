"""Data sets in a few facts: shape, types, balance, the first rows, and a fingerprint.

Everything is bounded: up to 16 MB is read whole, beyond that evenly spaced rows stand for the
rest. Iterators and loaders are never consumed, they are described by their type.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture.params import mask, sanitize

Array = npt.NDArray[Any]

_WHOLE = 16 * 2**20  # bytes that are hashed in full
_CELLS = 20_000  # Python objects that are hashed in full
_ROWS = 2_048  # rows that stand for a larger table
_WIDE = 500  # columns that stand for a wider frame
_SAMPLE = 4 * 2**20  # bytes that they may have
_SORTED = 2_000_000  # entries of a sparse matrix that are put in order first
_TARGETS = 100_000  # values that a target's balance is computed from
_COLUMNS = 200
_CLASSES = 100


@dataclass(frozen=True)
class Dataset:
    """What is known about one set of data."""

    rows: int | None
    """Samples; None when only iterating would tell."""
    columns: list[str] | None
    """Column names, at most 200, for data that has names."""
    shape: tuple[int, ...]
    """Empty when there is none."""
    kind: str
    """The type's name: `ndarray`, `DataFrame`, `csr_matrix`, `list`, ..."""
    dtypes: dict[str, str]
    """By column, at most 200 of them; under `*` where all share one."""
    target: dict[str, Any] | None
    """`classes`: count per class, at most 100 of them; or `mean`, `std`, `min` and `max`. With
    `sampled`, the number of rows they rest on, when those are not all."""
    missing: int | None
    """NaN and None in the features, when counting them is cheap."""
    fingerprint: str
    """See `fingerprint`; of features and target together."""
    sampled: bool
    """Whether the fingerprint or the balance rests on a part of the rows."""
    head: list[dict[str, Any]]
    """The first rows, with the target, at most 50 columns of them."""
    notes: tuple[str, ...] = ()
    """What could not be found out, and why."""

    def config(self) -> dict[str, Any]:
        """Return the facts that belong in a run's config: small, JSON, and without rows."""
        dtypes: dict[str, Any] = self.dtypes
        if len(dtypes) > 20:
            dtypes = dict(Counter(dtypes.values()).most_common())
        columns = self.columns
        if columns is not None and len(columns) > 50:
            columns = [*columns[:50], f"… (+{len(columns) - 50} items)"]
        found = {
            "kind": self.kind,
            "rows": self.rows,
            "shape": list(self.shape),
            "columns": columns,
            "dtypes": dtypes,
            "target": self.target,
            "missing": self.missing,
            "fingerprint": self.fingerprint,
            "sampled": self.sampled,
        }
        return {key: value for key, value in found.items() if value is not None}


def fingerprint(*values: Any) -> str:
    """Identify data by its content, types and shape: 16 hexadecimal characters.

    The same in every process and for every memory layout. Covers NumPy arrays, lists, mappings,
    pandas and polars frames and series (without their index), SciPy's sparse formats and CPU
    tensors; other objects by their pickle, and by their type where they have none. Values larger
    than 16 MB are represented by up to 2,048 evenly spaced rows and their shape. BLAKE2b.

    Args:
        values: The parts of one data set, in order, such as `X, y`.
    """
    return _Hasher().digest(values)


def describe(X: Any, y: Any = None, *, head: int = 5) -> Dataset:
    """Describe features and, when given, their target; never raises, never iterates.

    Args:
        X: Features or samples: an array, frame, sparse matrix, list, mapping of columns, tensor;
            anything else is described by its type.
        y: Targets, one per row.
        head: Rows to keep.
    """
    hasher = _Hasher()
    parts = (X,) if y is None else (X, y)
    notes: list[str] = []

    def attempt(what: str, step: Callable[[], Any], default: Any) -> Any:
        try:
            return step()
        except Exception as error:
            notes.append(f"{what}: {type(error).__name__}: {mask(str(error))[:200]}")
            return default

    shape = attempt("shape", lambda: _shape(X), ())
    target, target_sampled = (
        (None, False) if y is None else attempt("target", lambda: _target(y), (None, False))
    )
    return Dataset(
        rows=shape[0] if shape else None,
        columns=attempt("columns", lambda: _columns(X), None),
        shape=shape,
        kind=type(X).__name__,
        dtypes=attempt("dtypes", lambda: _dtypes(X), {}),
        target=target,
        missing=attempt("missing", lambda: _missing(X), None),
        fingerprint=hasher.digest(parts),
        sampled=hasher.sampled or target_sampled,
        head=attempt("head", lambda: _head(X, y, head), []),
        notes=(*notes, *hasher.notes),
    )


# --------------------------------------------------------------------------- fingerprint


class _Hasher:
    """One fingerprint in the making."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=8)
        self.sampled = False
        self.cells = _CELLS
        self.notes: list[str] = []

    def digest(self, values: tuple[Any, ...]) -> str:
        for value in values:
            try:
                self.feed(value)
            except Exception as error:
                name = f"{type(value).__module__}.{type(value).__qualname__}"
                self.notes.append(
                    f"fingerprint: of {name} by its type: {type(error).__name__}: {error}"[:300]
                )
                self.text(name)
        return self.hash.hexdigest()

    def text(self, text: str) -> None:
        content = text.encode("utf-8", "surrogatepass")
        self.hash.update(b"%d:" % len(content))  # "ab", "c" is not "a", "bc"
        self.hash.update(content)

    def feed(self, value: Any) -> None:
        if value is None or isinstance(value, (bool, int, float, complex, str)):
            self.text(f"{type(value).__name__} {value}")
        elif isinstance(value, (bytes, bytearray)):
            self.array(np.frombuffer(value, dtype=np.uint8))
        elif isinstance(value, np.ndarray):
            self.array(value)
        elif isinstance(value, np.generic):
            self.array(np.asarray(value))
        elif _is_frame(value):
            self.frame(value)
        elif _is_series(value):
            self.text(type(value).__name__)
            self.column(value, None)
        elif isinstance(value, (list, tuple)):
            self.sequence(value)
        elif _is_mapping(value):
            self.text(f"mapping {len(value)}")
            for key in list(value)[:_ROWS]:
                self.text(str(key))
                self.feed(value[key])
        elif isinstance(value, (set, frozenset)):
            self.text("set " + " ".join(sorted(fingerprint(item) for item in value)))
        elif hasattr(value, "tocsr") and hasattr(value, "nnz"):
            self.sparse(value)
        elif (tensor := _tensor(value)) is not None:
            self.array(tensor)
        else:
            self.pickled(value)

    def array(self, array: Array, budget: int = _WHOLE) -> None:
        self.text(f"array {array.dtype.str} {array.shape}")
        if array.dtype.hasobject or array.dtype.kind in "OT":
            flat = array.reshape(-1)
            for item in flat[self.chosen(len(flat))].tolist():
                self.feed(item)
        else:
            self.block(array, budget)

    def block(self, array: Array, budget: int) -> None:
        if array.nbytes <= budget:
            self.content(array)
            return
        self.sampled = True
        budget = min(budget, _SAMPLE)
        row = max(1, array.nbytes // len(array))
        rows = min(len(array), _ROWS, max(8, budget // row))
        chosen = _spread(len(array), rows)
        if rows * row <= budget:
            self.content(array[chosen])
        else:  # rows that are large themselves
            for index in chosen:
                self.block(array[index], budget // rows)

    def content(self, array: Array) -> None:
        """The bytes in row order, a piece at a time where that takes a copy."""
        if array.flags.c_contiguous:
            self.hash.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
            return
        step = max(1, 2**20 * len(array) // max(1, array.nbytes))
        for start in range(0, len(array), step):
            piece = np.ascontiguousarray(array[start : start + step])
            self.hash.update(piece.reshape(-1).view(np.uint8).data)

    def sequence(self, value: list[Any] | tuple[Any, ...]) -> None:
        self.text(f"{type(value).__name__} {len(value)}")
        for index in self.chosen(len(value)):
            self.feed(value[index])

    def chosen(self, size: int) -> Array:
        """Which of so many Python objects to look at."""
        if size <= self.cells:
            self.cells -= size
            return np.arange(size)
        self.sampled = True
        rows = min(size, _ROWS if self.cells >= _ROWS else 8)
        self.cells = max(0, self.cells - rows)
        return _spread(size, rows)

    def frame(self, frame: Any) -> None:
        self.text(f"{type(frame).__name__} {frame.shape}")
        rows, width = frame.shape
        places = _spread(width, min(width, _WIDE)).tolist()
        self.sampled |= len(places) < width
        chosen = None
        if rows * width > 100 * _CELLS or _object_cells(frame) > _CELLS:
            chosen = _spread(rows, min(rows, max(8, _ROWS * 100 // max(100, len(places)))))
            self.sampled = True
        for place in places:
            self.text(str(frame.columns[place]))
            self.column(_column(frame, place), chosen)

    def column(self, series: Any, chosen: Array | None) -> None:
        self.text(str(series.dtype))
        if chosen is None and len(series) > _CELLS and not _is_plain(series):
            chosen = _spread(len(series), _ROWS)
            self.sampled = True
        if chosen is not None:
            series = series.take(chosen) if hasattr(series, "take") else series.gather(chosen)
        array = np.asarray(series)
        self.cells = max(self.cells, len(array))  # bounded above, by rows
        self.array(array)

    def sparse(self, matrix: Any) -> None:
        self.text(f"{matrix.format} {matrix.shape} {matrix.nnz} {matrix.dtype}")
        if matrix.format in ("csr", "csc") and matrix.nnz <= _SORTED and not matrix.has_sorted_indices:
            matrix = matrix.copy()  # the same data, which some models put in order as they learn from it
            matrix.sort_indices()
        found = False
        for name in ("data", "indices", "indptr", "row", "col", "offsets"):
            part = getattr(matrix, name, None)
            if isinstance(part, np.ndarray) and not part.dtype.hasobject:
                found = True
                self.text(name)
                self.block(part, _WHOLE // 2)
        if not found and matrix.nnz <= _CELLS:
            self.sparse(matrix.tocsr())

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
        room = _SAMPLE - self.tell()
        written = super().write(memoryview(data).cast("B")[:room])
        if self.tell() >= _SAMPLE:
            raise _FullError
        return written


def _spread(size: int, count: int) -> Array:
    return np.linspace(0, size - 1, count).astype(np.intp) if size else np.arange(0)


# --------------------------------------------------------------------------- kinds of data


def _is_frame(value: Any) -> bool:
    return any(
        (module := sys.modules.get(name)) is not None and isinstance(value, module.DataFrame)
        for name in ("pandas", "polars")
    )


def _is_series(value: Any) -> bool:
    return any(
        (module := sys.modules.get(name)) is not None and isinstance(value, module.Series)
        for name in ("pandas", "polars")
    )


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and not hasattr(value, "tocsr")  # SciPy's dok is a dict


def _column(frame: Any, place: int) -> Any:
    # By position, since pandas lets several columns share one name.
    return frame.iloc[:, place] if hasattr(frame, "iloc") else frame.to_series(place)


def _is_plain(series: Any) -> bool:
    return isinstance(series.dtype, np.dtype) and not series.dtype.hasobject


def _object_cells(frame: Any) -> int:
    """Cells that become Python objects, or a conversion, when they are read."""
    dtypes = frame.dtypes
    return sum(not isinstance(d, np.dtype) or d.hasobject for d in dtypes) * len(frame)


def _tensor(value: Any) -> Array | None:
    """A tensor's memory as an array; None where that would move or copy it."""
    device = getattr(getattr(value, "device", None), "type", None)
    if device != "cpu" or not callable(getattr(value, "detach", None)):
        return None
    array = value.detach().numpy()
    return array if isinstance(array, np.ndarray) else None


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return tuple(int(size) for size in shape)
    if _is_mapping(value):
        first = next(iter(value.values()), None)
        inner = getattr(first, "shape", None)
        return (int(inner[0] if inner else len(first)),) if first is not None else ()
    if isinstance(value, (list, tuple)):
        width = {len(row) if isinstance(row, (list, tuple)) else -1 for row in value[:100]}
        regular = len(width) == 1 and -1 not in width
        return (len(value), width.pop()) if regular else (len(value),)
    # A loader has a length too, but of batches: only what can be indexed counts samples.
    return (len(value),) if hasattr(value, "__getitem__") else ()


def _columns(value: Any) -> list[str] | None:
    if _is_frame(value):
        return [str(name) for name in value.columns[:_COLUMNS]]
    if _is_mapping(value):
        return [str(name) for name in list(value)[:_COLUMNS]]
    return None


def _dtypes(value: Any) -> dict[str, str]:
    if _is_frame(value):
        pairs = zip(value.columns[:_COLUMNS], list(value.dtypes)[:_COLUMNS], strict=True)
        return {str(name): str(dtype) for name, dtype in pairs}
    if _is_mapping(value):
        return {str(key): _dtype(value[key]) for key in list(value)[:_COLUMNS]}
    return {"*": found} if (found := _dtype(value)) else {}


def _dtype(value: Any) -> str:
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return str(dtype).removeprefix("torch.")
    if isinstance(value, (list, tuple)):
        first: Any = value[0] if value else None
        while isinstance(first, (list, tuple)) and first:
            first = first[0]
        return type(first).__name__
    return ""


def _missing(value: Any) -> int | None:
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "iub":
            return 0
        cheap = value.dtype.kind == "f" and value.nbytes <= _WHOLE
        return int(np.isnan(value).sum()) if cheap else None
    if _is_frame(value) and value.shape[0] * value.shape[1] <= 10 * _CELLS:
        if hasattr(value, "null_count"):
            return int(sum(value.null_count().row(0)))
        return int(value.isna().to_numpy().sum())
    return None


# --------------------------------------------------------------------------- target and head


def _target(y: Any) -> tuple[dict[str, Any] | None, bool]:
    if isinstance(y, (list, tuple)):
        sampled = len(y) > _TARGETS
        values: Any = [y[index] for index in _spread(len(y), _TARGETS)] if sampled else y
        mixed = any(isinstance(value, str) for value in values[:100])
        array = np.asarray(values, dtype=object if mixed else None)
    else:
        sampled = _shape(y)[0] > _TARGETS
        if sampled and not isinstance(y, np.ndarray) and hasattr(y, "__getitem__"):
            array = np.asarray(y[:: -(-_shape(y)[0] // _TARGETS)])
        else:
            tensor = None if isinstance(y, np.ndarray) else _tensor(y)
            array = np.asarray(y if tensor is None else tensor)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if len(array) > _TARGETS:
        array = array[_spread(len(array), _TARGETS)]
    if array.ndim != 1:
        return {"outputs": int(np.prod(array.shape[1:]))}, sampled
    found = _balance(array)
    if found is not None and sampled:
        found["sampled"] = len(array)
    return found, sampled


def _balance(array: Array) -> dict[str, Any] | None:
    if array.dtype.kind in "OUST":
        counts = Counter(str(value) for value in array.tolist())
        found = dict(sorted(counts.most_common(_CLASSES)))
        if len(counts) > _CLASSES:
            found[f"… (+{len(counts) - _CLASSES} classes)"] = len(array) - sum(found.values())
        return {"classes": _texts(found)}
    if array.dtype.kind not in "biuf" or not len(array):
        return None
    if array.dtype.kind == "f":
        array = array[np.isfinite(array)]
        if not len(array):
            return None
    if array.dtype.kind != "f" or bool((array == np.floor(array)).all()):
        labels, sizes = np.unique(array, return_counts=True)
        # Whole numbers with many values are a count or a price, unless they are class numbers.
        if len(labels) <= (_CLASSES if array.dtype.kind != "f" else 20):
            integers = labels.astype(np.int64) if array.dtype.kind == "f" else labels
            names = map(str, integers.tolist())
            return {"classes": dict(zip(names, sizes.tolist(), strict=True))}
    values = array.astype(np.float64, copy=False)
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }


def _texts(counts: dict[str, int]) -> dict[str, int]:
    cleaned = sanitize([*counts], limit=100, items=_CLASSES + 1)
    return dict(zip(cleaned, counts.values(), strict=True))


def rows(X: Any, count: int) -> list[dict[str, Any]]:
    """The first rows of features or samples, as values that go into a table: at most 50 columns."""
    return _head(X, None, count)


def _head(X: Any, y: Any, count: int) -> list[dict[str, Any]]:
    rows = _first_rows(X, count)
    if y is not None and rows:
        name = getattr(y, "name", None)
        name = name if isinstance(name, str) and name not in rows[0] else "target"
        for row, target in zip(rows, _first(y, count), strict=False):
            row[name] = target
    return [{str(k): _cell(v) for k, v in row.items()} for row in rows]


def _cell(value: Any) -> Any:
    if type(value) is float and math.isfinite(value):
        return float(f"{value:.7g}")  # as a person reads it: 17 digits a column would not fit on a page
    return value if type(value) in (int, float, bool) else sanitize(value, limit=200, items=20)


def _first_rows(X: Any, count: int) -> list[dict[Any, Any]]:
    if _is_frame(X):
        names = list(X.columns[:50])
        columns = [_first(_column(X, index), count) for index in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if _is_mapping(X):
        parts = {key: _first(X[key], count) for key in list(X)[:50]}
        size = min(map(len, parts.values()), default=0)
        return [{key: part[index] for key, part in parts.items()} for index in range(size)]
    is_table = isinstance(X, (np.ndarray, list, tuple)) and len(_shape(X)) == 2
    if is_table or hasattr(X, "tocsr"):
        part = X.tocsr()[:count, :50].toarray() if hasattr(X, "tocsr") else X[:count]
        rows = [list(row)[:50] if isinstance(row, (list, tuple)) else row[:50].tolist() for row in part]
        return [{f"x{index}": cell for index, cell in enumerate(row)} for row in rows]
    return [{"value": value} for value in _first(X, count)]


def _first(values: Any, count: int) -> list[Any]:
    """The first entries of one column or list of samples, without iterating over a loader."""
    if not isinstance(values, (list, tuple)) and not isinstance(getattr(values, "shape", None), tuple):
        return []
    part = values[:count]
    if isinstance(getattr(part, "shape", None), tuple) and len(part.shape) == 1:
        return list(part.to_list() if hasattr(part, "to_list") else part.tolist())
    return list(part)
