"""A table of any kind as numbers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["EncodedTable", "cells_of", "columns_of", "key_of"]

MISSING = "missing"


class EncodedTable:
    """A table as numbers, and back: whoever mixes rows can mix those of numbers only.

    A column of anything else is numbered by its values.

    Args:
        X: an array or a frame of pandas or polars, shape (rows, columns).

    Attributes:
        encoded: the numbers, shape (rows, columns).
    """

    def __init__(self, X: Any):
        self._X = X
        self._known: dict[int, list[Any]] = {}
        self._whole: set[int] = set()
        columns = []
        for n, column in enumerate(columns_of(X)):
            if column.dtype.kind in "biu":
                self._whole.add(n)
            if column.dtype.kind in "biuf":
                columns.append(column.astype(float))
            else:
                places: dict[Any, int] = {}
                keys = [key_of(value) for value in column]
                for key in keys:
                    places.setdefault(key, len(places))
                first = {places[key]: value for key, value in reversed(list(zip(keys, column, strict=True)))}
                self._known[n] = [first[place] for place in range(len(places))]
                columns.append(np.array([places[key] for key in keys], dtype=float))
        self.encoded = np.column_stack(columns)

    def is_whole(self, column: int) -> bool:
        """Whether it takes whole numbers alone."""
        return column in self._whole

    def values_of(self, column: int) -> list[tuple[float, Any]] | None:
        """The values of a column that is none of numbers, each after its number: all but what is missing."""
        known = self._known.get(column)
        if known is None:
            return None
        return [(float(n), value) for n, value in enumerate(known) if key_of(value) not in (MISSING, "<NA>")]

    def decoded(self, encoded: Any) -> Any:
        """Rows of such numbers, as a table of the kind that it was."""
        X = self._X
        if isinstance(X, np.ndarray) and not self._known:
            return encoded.astype(X.dtype)
        columns = [self._column(n, encoded[:, n]) for n in range(encoded.shape[1])]
        if isinstance(X, np.ndarray):
            whole = np.empty(encoded.shape, dtype=object)
            for n, column in enumerate(columns):
                whole[:, n] = column
            return whole
        if not hasattr(X, "iloc"):  # of polars
            frame = type(X)(dict(zip(X.columns, columns, strict=True)))
            return frame.fill_nan(None).cast(
                dict(X.schema)
            )  # a whole number may be missing, but is never NaN
        frame = type(X)(dict(enumerate(columns)))  # by number, since two may have one name
        frame = frame.astype(dict(enumerate(X.dtypes)))
        frame.columns = X.columns
        return frame

    def _column(self, n: int, codes: Any) -> Any:
        known = self._known.get(n)
        if known is None:
            return codes
        return [known[int(code)] for code in codes]


def key_of(value: Any) -> Any:
    """What a value counts as: all that is missing is one value."""
    try:
        if value is None or bool(value != value):  # noqa: PLR0124 - what is no number differs from itself
            return MISSING
        hash(value)
    except (TypeError, ValueError):  # pandas' NA is neither equal nor not; a list has no hash
        return repr(value)
    return (type(value).__name__, value)


def columns_of(X: Any) -> list[Any]:
    """Its columns as arrays, of numbers where all of their values are."""
    if isinstance(X, np.ndarray):
        columns = [X[:, n] for n in range(X.shape[1])]
    else:
        several = (X.iloc[:, n] if hasattr(X, "iloc") else X[X.columns[n]] for n in range(X.shape[1]))
        columns = [np.asarray(column) for column in several]
    return [_as_numbers(column) for column in columns]


def _as_numbers(column: Any) -> Any:
    if column.dtype.kind != "O":
        return column
    if all(isinstance(value, (int, float, np.number)) for value in column):
        return column.astype(float)
    return column


def cells_of(X: Any) -> Any:
    """All cells, as shape (rows, features), of any kind."""
    columns = columns_of(X)
    whole = np.empty((len(columns[0]), len(columns)), dtype=object)
    for n, column in enumerate(columns):
        whole[:, n] = column
    return whole
