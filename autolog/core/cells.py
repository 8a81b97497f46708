"""Values of rows and tables: metrics by name, steps, cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from autolog.capture.params import REDACTED, is_secret, label, metric, sanitize
from autolog.process.interrupts import came_by_signal
from autolog.sinks.trackio.names import known_metric_keys, metric_key

__all__ = ["brief", "clean_table", "csv_cells", "flatten", "table_rows", "whole_step"]


MOST_NESTED = 10  # mappings in mappings: one that holds itself has no end


def flatten(
    metrics: Mapping[str, Any], prefix: str, values: dict[str, Any], others: list[str], depth: int = 0
) -> None:
    """Put values by name into ``values``; names of nested mappings are joined by ``/``.

    Args:
        others: gets the names of the values that are not plain numbers yet.

    Raises:
        TypeError: ``metrics`` is no mapping.
    """
    if type(metrics) is not dict and not isinstance(metrics, Mapping):  # the second costs more to ask
        raise TypeError(
            f"log: expected a mapping of names to values, got {type(metrics).__name__}. "
            'Write run.log({"loss": 0.1}).'
        )
    known = known_metric_keys.get  # looked up once: this loop is most of what logging a row costs
    for name, value in metrics.items():
        key = name if not prefix and type(name) is str else f"{prefix}{name}"
        if type(value) is float or (type(value) is int and -(2**63) <= value < 2**64):
            values[known(key) or metric_key(key)] = value
        elif isinstance(value, float):  # NumPy's
            values[known(key) or metric_key(key)] = float(value)
        elif not (isinstance(value, Mapping) and _goes_below(value, f"{key}/", values, others, depth + 1)):
            values[metric_key(key)] = value
            others.append(metric_key(key))


def _goes_below(
    metrics: Mapping[str, Any], prefix: str, values: dict[str, Any], others: list[str], depth: int
) -> bool:
    """Put what is in a nested mapping into ``values``. False: it stays one value."""
    try:
        if depth > MOST_NESTED or "_type" in metrics:  # that is a value in Trackio's own form
            return False
        flatten(metrics, prefix, values, others, depth)
    except Exception as error:  # of a mapping with a will of its own
        if came_by_signal(error):
            raise
        return False
    return True


def whole_step(step: Any) -> int:
    """A step as SQLite takes it.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is negative, or has more than 64 bits.
    """
    try:
        number = step if type(step) is int else metric(step)
        whole = int(number)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"step={step!r}: expected a whole number.") from None
    if whole != number:
        raise TypeError(f"step={step!r}: expected a whole number.")
    if not 0 <= whole < 2**63:
        raise ValueError(f"step={step}: expected a step that is not negative and fits into 64 bits.")
    return whole


def table_rows(key: str, rows: Any, columns: Iterable[str] | None) -> list[Mapping[str, Any]]:
    """A table's rows as mappings.

    Args:
        rows: a list of dicts, a list of lists with ``columns``, or a pandas or polars DataFrame.

    Raises:
        TypeError: something else.
    """
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        try:
            rows = rows.to_dict(orient="records")  # pandas
        except TypeError:
            rows = rows.to_dicts()  # polars
    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Iterable):
        raise TypeError(
            f"table {key!r}: expected a list of dicts, a list of lists with columns=, or a DataFrame; "
            f"got {type(rows).__name__}."
        )
    names = None if columns is None else [str(column) for column in columns]
    result: list[Mapping[str, Any]] = []
    for row in rows:
        if isinstance(row, Mapping):
            result.append(row)
        elif isinstance(row, (list, tuple)) and names is not None and len(row) == len(names):
            result.append(dict(zip(names, row, strict=False)))
        else:
            raise TypeError(
                f"table {key!r}: a row is {type(row).__name__} {str(row)[:80]}; expected dicts, or lists "
                f"as long as columns= ({len(names) if names is not None else 'not given'})."
            )
    return result


def clean_table(key: str, rows: Any, columns: Iterable[str] | None) -> list[dict[str, Any]]:
    """A table as it is stored: cells are plain values, secrets are masked, every row has every column.

    Raises:
        TypeError: see :func:`table_rows`.
    """
    names: dict[Any, tuple[str, bool]] = {}  # the same ones in every row
    clean = [
        {
            names[name][0]: _cell(names[name][1], value)
            for name, value in row.items()
            if name in names or names.setdefault(name, (label(name), is_secret(str(name))))
        }
        for row in table_rows(key, rows, columns)
    ]
    heads = dict.fromkeys(name for row in clean for name in row)
    if any(row.keys() != heads.keys() for row in clean):
        # The dashboard takes the heads from the first row, and each row's cells in their order.
        clean = [{name: row.get(name) for name in heads} for row in clean]
    return clean


def csv_cells(rows: list[dict[str, Any]]) -> list[list[Any]]:
    """A table as lines of cells, the heads first; secrets are masked."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    secret = {name: is_secret(str(name)) for name in names}
    heads = [label(name) for name in names]
    return [heads, *([_cell(secret[name], row.get(name)) for name in names] for row in rows)]


def brief(value: Any) -> Any:
    """A number as a person reads it."""
    return float(f"{value:.7g}") if isinstance(value, float) and math.isfinite(value) else value


def _cell(is_secret: bool, value: Any) -> Any:
    if is_secret:
        return REDACTED
    if type(value) in (float, bool) or (type(value) is int and abs(value) < 2**63):
        return value
    return sanitize(value, limit=2_000)
