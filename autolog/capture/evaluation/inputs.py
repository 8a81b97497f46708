"""Targets, predictions and scores of any type become arrays, or an error says why they cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture.kinds import is_lazy, not_computed

Array = npt.NDArray[Any]

_MOST_CELLS = 20_000_000  # of a sparse matrix that is made dense
_NUMBERS = (int, float, np.integer, np.floating)
_SEVERAL = "several labels per row (multilabel) must be a matrix of 0 and 1"


def as_array(values: Any, name: str) -> Array:
    """Any column of values, or a matrix of them, as an array that keeps its labels what they are.

    Returns:
        Shape (n,) for one column, (n, k) for several; never empty.

    Raises:
        ValueError: It is empty, no column, or its rows are of different lengths.
    """
    if is_lazy(values):
        raise ValueError(f"{name}: {not_computed(values)}")
    if hasattr(values, "detach"):  # torch: gradients and devices stay behind
        values = values.detach().cpu()
    if hasattr(values, "toarray"):  # scipy's sparse matrices
        if np.prod(values.shape, dtype=float) > _MOST_CELLS:
            raise ValueError(f"{name} is too large to be made dense: {values.shape}")
        values = values.toarray()
    if not isinstance(values, np.ndarray) and not hasattr(values, "__array__"):
        values = list(values) if isinstance(values, Iterable) else values
        strings = isinstance(values, list) and any(isinstance(value, str) for value in values)
        if strings and not all(isinstance(value, str) for value in values):
            mixed = np.empty(len(values), dtype=object)  # NumPy would turn 1 into "1"
            mixed[:] = values
            return mixed
    try:
        array: Array = np.asarray(values)
        rows = values if isinstance(values, list) and array.dtype.kind == "U" and array.ndim == 2 else ()
        if any(not isinstance(value, str) for row in rows for value in row):
            array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise ValueError(f"{name} has rows of different lengths; {_SEVERAL}") from error
    if array.ndim == 0:
        raise ValueError(f"{name} must have one entry per sample, got a single value")
    if not array.size:
        raise ValueError(f"there is nothing to evaluate: {name} is empty")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def column_names(values: Any) -> list[str] | None:
    """The names of a pandas or polars frame's columns; None for anything else."""
    columns = getattr(values, "columns", None)
    return named(list(columns)) if columns is not None and hasattr(values, "__array__") else None


def as_labels(values: Any, name: str) -> Array:
    """Labels of one output, shape (n,); one-hot rows become the places of their ones."""
    array = as_array(values, name)
    if array.ndim == 1:
        return array
    if is_one_hot(array):
        decoded: Array = array.argmax(axis=1)
        return decoded
    if is_indicator(array):
        raise ValueError(f"{name} has several labels per row (multilabel), not one")
    raise ValueError(f"{name} must have shape (n,), got {array.shape}")


def as_numbers(values: Any, name: str) -> Array:
    """Floats of one or two dimensions; what is missing is NaN."""
    array = as_array(values, name)
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        if array.dtype.kind == "O" and (gone := missing(array)).any():
            array = np.where(gone, np.nan, array)  # pandas.NA is no number
        try:
            if array.dtype.kind == "c":
                raise TypeError("NumPy would drop what is imaginary")
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{name} must be numbers, got {array.dtype}") from error
    if array.ndim > 2:
        raise ValueError(f"{name} must have one or two dimensions, got shape {array.shape}")
    return array


def as_columns(values: Any, name: str) -> Array:
    """Floats of shape (n, outputs)."""
    array = as_numbers(values, name).astype(np.float64, copy=False)
    return array[:, None] if array.ndim == 1 else array


def as_weights(values: Any) -> Array | None:
    """Weights of shape (n,), or None.

    Raises:
        ValueError: One is negative or not finite, or there is more than one per row.
    """
    if values is None:
        return None
    weight = as_numbers(values, "sample_weight").astype(np.float64, copy=False)
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be one finite, non-negative number per row")
    return weight


def same_length(**columns: Array | None) -> None:
    """Refuse columns of different lengths.

    Raises:
        ValueError: With each one's length.
    """
    lengths = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"lengths differ: {said}; expected the same for all")


def weighs_something(weight: Array | None) -> None:
    """Refuse weights that are all zero.

    Raises:
        ValueError: They are.
    """
    if weight is not None and weight.sum() <= 0:
        raise ValueError("there is nothing to evaluate: all sample weights are zero")


# --------------------------------------------------------------------------- what values are


def is_one_hot(array: Array) -> bool:
    """Whether a matrix holds numbers 0 and 1, and a single 1 in each row."""
    return array.dtype.kind in "biuf" and is_indicator(array) and bool((array.sum(axis=1) == 1).all())


def is_indicator(array: Array) -> bool:
    """Whether an array is a matrix of 0 and 1 alone, of whatever type; missing values may be among them."""
    if array.ndim != 2:
        return False
    if array.dtype.kind == "O":
        return all(value in (0, 1) for value in array[~missing(array)])
    if array.dtype.kind not in "biuf":
        return False
    known = array == 0
    known |= array == 1
    return bool(known.all() or (array.dtype.kind == "f" and (known | np.isnan(array)).all()))


def are_numbers(array: Array) -> bool:
    """Whether all values that are not missing are numbers, and no booleans."""
    if array.dtype.kind == "O":
        return all(
            _is_missing(v) or (isinstance(v, _NUMBERS) and not isinstance(v, bool)) for v in array.flat
        )
    return array.dtype.kind in "iuf"


def is_continuous(array: Array) -> bool:
    """Whether there are floats among the values that are no whole numbers."""
    if array.dtype.kind == "O":  # a column of numbers in which some are missing
        return any(
            isinstance(v, (float, np.floating)) and np.isfinite(v) and v != np.floor(v) for v in array.flat
        )
    if array.dtype.kind != "f":
        return False
    finite = array[np.isfinite(array)]
    return bool((finite != np.floor(finite)).any())


def are_probabilities(scores: Array) -> bool:
    """Whether scores, shape (n,) or (n, k), are between 0 and 1, and add up to 1 over classes."""
    if scores.size == 0 or not (scores.min() >= 0 and scores.max() <= 1):
        return False
    return scores.ndim == 1 or bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def have_scores(scores: Array) -> Array:
    """Which rows have all their scores, shape (n, k) or (n,), and no NaN."""
    if not np.isnan(scores.min()):  # much faster than to look at each row
        return np.ones(len(scores), dtype=bool)
    known: Array = np.logical_not(np.isnan(scores.reshape(len(scores), -1)).any(axis=1))
    return known


def are_indices(labels: Sequence[Any], size: int) -> bool:
    """Whether all labels are whole numbers from 0 to below `size`."""
    return all(isinstance(label, int) and 0 <= label < size for label in labels)


def missing(values: Array) -> Array:
    """Which values are NaN, None, NaT or pandas.NA: booleans of the same shape."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind == "O":
        found = np.fromiter((_is_missing(v) for v in values.flat), dtype=bool, count=values.size)
        return found.reshape(values.shape)
    return np.zeros(values.shape, dtype=bool)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - true of NaN and NaT alone
    except TypeError:  # pandas.NA has no truth
        return True
    except ValueError:  # nor has an array, but it is there
        return False


# --------------------------------------------------------------------------- labels


def concatenated(one: Array, other: Array) -> Array:
    """Two columns of labels as one, in which equal labels are equal still, and others are not."""
    numeric = one.dtype.kind in "biuf" and other.dtype.kind in "biuf"
    if numeric and one.dtype.kind != other.dtype.kind:
        # Floats, which NumPy would make of them, hold whole numbers up to here.
        numeric = all(a.dtype.kind == "f" or np.abs(a.astype(float)).max() < 2**53 for a in (one, other))
    if numeric or one.dtype.kind == other.dtype.kind:
        return np.concatenate((one, other))
    return np.concatenate((one.astype(object), other.astype(object)))


def unique(values: Array) -> tuple[list[Any], Array]:
    """The distinct labels in order, and for each value its place among them.

    Raises:
        ValueError: A label is a list, or another thing that can be no label.
    """
    if values.dtype.kind in "biuf":
        exact = values.dtype.kind == "f" and np.abs(values).max() <= 2**53
        if exact and (values == np.floor(values)).all():
            values = values.astype(np.int64)  # 1.0 is class 1
        if values.dtype.kind in "iu":
            low, high = int(values.min()), int(values.max())
            if high - low < 10_000 and high < 2**63:  # counting beats sorting
                shifted = (values.astype(np.int64) - low).astype(np.intp)
                found = np.flatnonzero(np.bincount(shifted))
                place = np.zeros(high - low + 1, dtype=np.intp)
                place[found] = np.arange(len(found))
                return (found + low).tolist(), place[shifted]
        labels, codes = np.unique(values, return_inverse=True)
        return labels.tolist(), codes
    seen: dict[Any, int] = {}
    try:
        first = np.fromiter((seen.setdefault(v, len(seen)) for v in values.tolist()), np.intp, len(values))
    except TypeError as error:
        raise ValueError(f"labels must be single values, but {error}; {_SEVERAL}") from error
    ordered = sorted(seen, key=_order)
    place = np.empty(len(seen), dtype=np.intp)
    place[[seen[label] for label in ordered]] = np.arange(len(seen))
    return ordered, place[first]


def _order(label: Any) -> tuple[str, Any]:
    """A total order over labels of any type; numbers before strings."""
    if isinstance(label, (bool, int, float)):
        return "", label
    return type(label).__name__, label if isinstance(label, (str, bytes)) else repr(label)


def named(labels: Sequence[Any]) -> list[str]:
    """Labels as text that tells them apart."""
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):  # 1 and "1"
        names = [repr(label) for label in labels]
    return names


def names_for(given: Any, count: int, what: str) -> list[str]:
    """A name for each of several columns: the given ones, or their numbers.

    Raises:
        ValueError: There is another number of names.
    """
    if given is None:
        return [str(number) for number in range(count)]
    names = list(given)
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} {what}; expected one for each")
    return named(names)


def listed(names: Iterable[Any]) -> str:
    """At most ten names in a row, and how many more there are."""
    every = [str(name)[:60] for name in names]
    more = f" and {len(every) - 10} more" if len(every) > 10 else ""
    return ", ".join(every[:10]) + more
