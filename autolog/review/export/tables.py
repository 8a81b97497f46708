"""Runs as tables: CSV for anything, Parquet for what reads columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from autolog.review.recorded import PROPERTIES, RecordedRun
from autolog.review.series import Series
from autolog.review.values import file_names, plain_json

__all__ = ["write_csv", "write_parquet"]

Columns = dict[str, list[Any]]
"""A table, a column at a time: all of the same length."""


TAKEN = {*PROPERTIES, "parent", "notes", "words", "config"}
"""Columns of every run: a number of its result that is called so stands under ``result/``."""


def write_csv(runs: Sequence[RecordedRun], folder: Path) -> None:
    """Into a folder: numbers with all of their digits, nested values as JSON, nothing where none is."""
    _write_all(runs, folder, ".csv", _write_csv)


def write_parquet(runs: Sequence[RecordedRun], folder: Path) -> None:
    """Into a folder: a column of several types becomes one of texts.

    Raises:
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise ImportError("to='parquet' needs pyarrow: pip install pyarrow") from error
    _write_all(runs, folder, ".parquet", _write_parquet)


def _write_all(
    runs: Sequence[RecordedRun], folder: Path, suffix: str, write: Callable[[Columns, Path], None]
) -> None:
    write(_as_columns([_row(run) for run in runs]), folder / f"runs{suffix}")
    write(_long([(run, run.metrics) for run in runs]), folder / f"metrics{suffix}")
    if any(run.system for run in runs):
        write(_long([(run, run.system) for run in runs]), folder / f"system{suffix}")
    for run, of in zip(runs, file_names(run.name for run in runs), strict=True):
        for name, path in zip(run.tables, file_names(run.tables), strict=True):
            below = folder / "tables" / of
            below.mkdir(parents=True, exist_ok=True)
            write(_as_columns(run.tables[name]), below / f"{path}{suffix}")


def _row(run: RecordedRun) -> dict[str, Any]:
    return {
        **{key: getattr(run, key) for key in PROPERTIES},
        "parent": run.parent_id,
        **{f"result/{key}" if key in TAKEN else key: value for key, value in run.result.items()},
        **{f"params/{key}": value for key, value in run.params.items()},
        "notes": run.notes,
        "words": run.words,
        "config": run.config,
    }


def _long(runs: Iterable[tuple[RecordedRun, Mapping[str, Series]]]) -> Columns:
    """A row for each value."""
    table: Columns = {name: [] for name in ("run_id", "run", "key", "step", "time", "value")}
    for run, metrics in runs:
        for key, series in metrics.items():
            count = len(series)
            table["run_id"] += [run.id] * count
            table["run"] += [run.name] * count
            table["key"] += [key] * count
            table["step"] += series.steps
            table["time"] += series.times
            table["value"] += series.values
    return table


def _as_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _write_csv(table: Columns, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        written = csv.writer(file)
        written.writerow(table)
        written.writerows(zip(*(map(_cell, column) for column in table.values()), strict=True))


def _cell(value: Any) -> Any:
    return _json(value) if isinstance(value, (dict, list, tuple)) else value


def _write_parquet(table: Columns, path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    arrays = {name: pyarrow.array(_of_one_type(column)) for name, column in table.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), path)


def _of_one_type(column: list[Any]) -> list[Any]:
    """A column of whole and other numbers is one of numbers, if these lose no digit by it; of anything else
    that is mixed, of texts.
    """
    kinds = {type(value) for value in column if value is not None}
    if kinds == {int, float} and all(float(value) == value for value in column if type(value) is int):
        return [None if value is None else float(value) for value in column]
    if kinds <= {int} and any(abs(value) >= 2**63 for value in column if value is not None):
        return [None if value is None else str(value) for value in column]
    if len(kinds) > 1 or not kinds <= {int, float, bool, str}:
        return [v if v is None or isinstance(v, str) else _json(v) for v in column]
    return column


def _json(value: Any) -> str:
    return orjson.dumps(plain_json(value), option=orjson.OPT_NON_STR_KEYS, default=str).decode()
