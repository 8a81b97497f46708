"""Data sets in a few facts: shape, types, balance, the first rows, and a fingerprint.

Everything is bounded. Iterators and loaders are never consumed, they are described by their type.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture.fingerprints import Read, combined, fingerprint, read, spread
from autolog.capture.kinds import column_of, is_frame, is_lazy, is_mapping, not_computed, tensor_of
from autolog.capture.params import mask, sanitize

__all__ = ["Dataset", "Read", "describe", "fingerprint", "read", "rows"]

Array = npt.NDArray[Any]

_COUNTED = 16 * 2**20  # bytes of an array in which what is missing is counted
_COUNTED_CELLS = 200_000  # the same of a frame
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


def describe(
    X: Any, y: Any = None, *, head: int = 5, full: bool = False, parts: Sequence[Read] | None = None
) -> Dataset:
    """Describe features and, when given, their target; never raises, never iterates.

    Args:
        X: Features or samples: an array, frame, sparse matrix, list, mapping of columns, tensor;
            anything else is described by its type.
        y: Targets, one per row.
        head: Rows to keep.
        full: Whether the fingerprint is of all cells, whatever the size.
        parts: X and y as they have been read already.
    """
    if parts is None:
        parts = [read(value, full=full) for value in ((X,) if y is None else (X, y))]
    notes = [f"not read: {not_computed(value)}" for value in (X, y) if is_lazy(value)][:1]

    def attempt(what: str, step: Callable[[], Any], default: Any) -> Any:
        try:
            return step()
        except Exception as error:
            notes.append(f"{what}: {type(error).__name__}: {mask(str(error))[:200]}")
            return default

    shape = attempt("shape", lambda: _shape(X), ())
    target, target_sampled = (
        (None, False) if y is None or is_lazy(y) else attempt("target", lambda: _target(y), (None, False))
    )
    return Dataset(
        rows=shape[0] if shape else None,
        columns=attempt("columns", lambda: _columns(X), None),
        shape=shape,
        kind=type(X).__name__,
        dtypes=attempt("dtypes", lambda: _dtypes(X), {}),
        target=target,
        missing=attempt("missing", lambda: _missing(X), None),
        fingerprint=combined(parts),
        sampled=target_sampled or any(part.sampled for part in parts),
        head=[] if is_lazy(X) or is_lazy(y) else attempt("head", lambda: _head(X, y, head), []),
        notes=(*notes, *(note for part in parts for note in part.notes)),
    )


# --------------------------------------------------------------------------- kinds of data


def _shape(value: Any) -> tuple[int, ...]:
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):  # (Dask does not always know its own)
        return tuple(int(size) for size in shape) if all(isinstance(s, Integral) for s in shape) else ()
    if is_mapping(value):
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
    if _has_columns(value):
        return [str(name) for name in value.columns[:_COLUMNS]]
    if is_mapping(value):
        return [str(name) for name in list(value.keys())[:_COLUMNS]]
    return None


def _dtypes(value: Any) -> dict[str, str]:
    if _has_columns(value):
        pairs = zip(value.columns[:_COLUMNS], list(value.dtypes)[:_COLUMNS], strict=True)
        return {str(name): str(dtype) for name, dtype in pairs}
    if is_mapping(value):
        return {str(key): _dtype(value[key]) for key in list(value.keys())[:_COLUMNS]}
    return {"*": found} if (found := _dtype(value)) else {}


def _has_columns(value: Any) -> bool:
    return is_frame(value) or (is_lazy(value) and hasattr(value, "columns"))


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
        cheap = value.dtype.kind == "f" and value.nbytes <= _COUNTED
        return int(np.isnan(value).sum()) if cheap else None
    if is_frame(value) and value.shape[0] * value.shape[1] <= _COUNTED_CELLS:
        if hasattr(value, "null_count"):
            return int(sum(value.null_count().row(0)))
        return int(value.isna().to_numpy().sum())
    return None


# --------------------------------------------------------------------------- target and head


def _target(y: Any) -> tuple[dict[str, Any] | None, bool]:
    if isinstance(y, (list, tuple)):
        sampled = len(y) > _TARGETS
        values: Any = [y[index] for index in spread(len(y), _TARGETS)] if sampled else y
        mixed = any(isinstance(value, str) for value in values[:100])
        array = np.asarray(values, dtype=object if mixed else None)
    else:
        sampled = _shape(y)[0] > _TARGETS
        if sampled and not isinstance(y, np.ndarray) and hasattr(y, "__getitem__"):
            array = np.asarray(y[:: -(-_shape(y)[0] // _TARGETS)])
        else:
            tensor = None if isinstance(y, np.ndarray) else tensor_of(y)
            array = np.asarray(y if tensor is None else tensor)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if len(array) > _TARGETS:
        array = array[spread(len(array), _TARGETS)]
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
    rows: list[dict[Any, Any]] = _first_rows(X, count)
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
    if is_frame(X):
        names = list(X.columns[:50])
        columns = [_first(column_of(X, index), count) for index in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if is_mapping(X):
        parts = {key: _first(X[key], count) for key in list(X.keys())[:50]}
        size = min(map(len, parts.values()), default=0)
        return [{key: part[index] for key, part in parts.items()} for index in range(size)]
    is_table = isinstance(X, (np.ndarray, list, tuple)) and len(_shape(X)) == 2
    if is_table or hasattr(X, "tocsr"):
        part = X.tocsr()[:count, :50].toarray() if hasattr(X, "tocsr") else X[:count]
        rows = part[:, :50].tolist() if isinstance(part, np.ndarray) else [list(row)[:50] for row in part]
        names = [f"x{index}" for index in range(max(map(len, rows), default=0))]
        return [dict(zip(names, row, strict=False)) for row in rows]
    return [{"value": value} for value in _first(X, count)]


def _first(values: Any, count: int) -> list[Any]:
    """The first entries of one column or list of samples, without iterating over a loader."""
    if not isinstance(values, (list, tuple)) and not isinstance(getattr(values, "shape", None), tuple):
        return []
    part = values[:count]
    if isinstance(getattr(part, "shape", None), tuple) and len(part.shape) == 1:
        return list(part.to_list() if hasattr(part, "to_list") else part.tolist())
    return list(part)
