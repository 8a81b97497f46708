"""What a model says of its features, as a table and a picture: the weightiest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from autolog.capture.chart import Chart
from autolog.core.recording import Recording
from autolog.core.results import record_long_table

__all__ = ["CHART_BARS", "largest", "names_among", "record_bars"]

CHART_BARS = 20
TABLE_ROWS = 10_000


def record_bars(
    run: Recording,
    key: str,
    title: str,
    names: Callable[[int], str],
    columns: Mapping[str, Any],
    *,
    label: str | None = None,
) -> None:
    """One number or several for each feature, as ``model/<key>_table`` and the picture ``model/<key>``.

    Args:
        names: the name of a feature, by its place.
        columns: arrays of shape (features,). The first one decides which features weigh most, and is drawn.
        label: what the picture's axis is called. None: as the first column.
    """
    first = next(iter(columns))
    chosen = largest(run, key, np.abs(columns[first]))
    rows = [
        {"feature": names(n), **{name: float(values[n]) for name, values in columns.items()}} for n in chosen
    ]
    record_long_table(run, f"model/{key}_table", rows, shown=CHART_BARS, has_picture=True)
    top = rows[:CHART_BARS]
    data = {
        "names": [row["feature"] for row in top],
        "values": [row[first] for row in top],
        "x_label": label or first.capitalize(),
    }
    run.figure(f"model/{key}", Chart("bars", title, data))


def largest(run: Recording, key: str, weight: Any) -> Any:
    """Which features to show, the weightiest first."""
    if len(weight) <= TABLE_ROWS:
        return np.argsort(-weight, kind="stable")
    run.note(f"model/{key}", f"the {TABLE_ROWS:,} weightiest of {len(weight):,} features")
    few = np.argpartition(-weight, TABLE_ROWS)[:TABLE_ROWS]
    return few[np.argsort(-weight[few], kind="stable")]


def names_among(known: Iterable[Any], count: int) -> Callable[[int], str]:
    """The name of each of so many features, by the first names that are as many."""
    for names in known:
        if names is not None and len(names) == count:
            return lambda n: str(names[n])
    return lambda n: f"x{n}"
