"""Predicted numbers: one for each row, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autolog.capture.evaluation.distribution import histogram
from autolog.capture.evaluation.extremes import extremes
from autolog.capture.evaluation.inputs import (
    Array,
    as_columns,
    as_weights,
    column_names,
    listed,
    names_for,
    same_length,
    weighs_something,
)
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.figures import Chart

_SCATTER_POINTS = 1_000


def regression(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> Evaluation:
    """Evaluate predicted numbers.

    Several outputs are averaged uniformly, as scikit-learn does by default; `max_error` is the
    largest over all of them. They have a table `per_output`; one output has a chart `distribution`
    and the table `best_and_worst`: 10 rows of the largest and 10 of the smallest absolute residual.

    Args:
        y_true: Targets, shape (n,) or (n, outputs).
        y_pred: Predictions of the same shape.
        sample_weight: Weights, shape (n,), not negative.

    Raises:
        ValueError: There is nothing to evaluate, or the shapes differ.
    """
    return of_outputs(y_true, y_pred, column_names(y_true), sample_weight)


def of_outputs(y_true: Any, y_pred: Any, names: Sequence[Any] | None, sample_weight: Any) -> Evaluation:
    """`regression`, whose outputs have names."""
    notes: list[str] = []
    if y_pred is None:
        raise ValueError("y_pred is needed to evaluate a regression")
    true, predicted = as_columns(y_true, "y_true"), as_columns(y_pred, "y_pred")
    weight = as_weights(sample_weight)
    same_length(y_true=true, y_pred=predicted, sample_weight=weight)
    if true.shape != predicted.shape:
        raise ValueError(
            f"y_true has {true.shape[1]} outputs and y_pred {predicted.shape[1]}; expected the same number"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        error = true - predicted
    finite = np.isfinite(error).all(axis=1)
    rows: Array | None = None  # places in what was passed in, where they differ
    if not finite.all():
        notes.append(f"{int((~finite).sum()):,} rows that are not finite were left out")
        rows = np.flatnonzero(finite)
        true, predicted, error = true[finite], predicted[finite], error[finite]
        weight = None if weight is None else weight[finite]
        if not len(true):
            raise ValueError("there is nothing to evaluate: no row is finite")
    weighs_something(weight)

    with np.errstate(over="ignore", invalid="ignore"):  # squares of huge numbers
        found = _measured(true, error, weight)
    metrics = {
        key: float(values.max() if key == "max_error" else values.mean()) for key, values in found.items()
    }
    if _is_constant(true, weight).any():
        notes.append("r2 was left out: it is undefined for a constant target")
        del metrics["r2"]
    if endless := [key for key, value in metrics.items() if not np.isfinite(value)]:
        notes.append(f"left out, since the numbers are too large: {listed(endless)}")
        metrics = {key: value for key, value in metrics.items() if key not in endless}

    charts = _scatters(true.ravel(), predicted.ravel(), notes)
    outputs = true.shape[1]
    if outputs > 1:
        notes.append(f"charts show all {outputs} outputs together")
        tables = {"per_output": _per_output(found, names_for(names, outputs, "outputs"))}
        return Evaluation("regression", len(true), metrics, tables, charts, tuple(notes))
    columns = {"true": true[:, 0], "predicted": predicted[:, 0]}
    weights = None if weight is None else dict.fromkeys(columns, weight)
    spread = histogram("Distribution of predictions and truth", columns, "Value", weights=weights)
    if spread is not None:
        charts["distribution"] = spread
    best_and_worst = _extremes(columns["true"], columns["predicted"], error[:, 0], weight, rows)
    samples = [row["row"] for row in best_and_worst]
    tables = {"best_and_worst": best_and_worst}
    return Evaluation("regression", len(true), metrics, tables, charts, tuple(notes), samples)


def _measured(true: Array, error: Array, weight: Array | None) -> dict[str, Array]:
    """Each metric of each output, shape (outputs,); NaN where it is undefined."""
    absolute = np.abs(error)
    squared = np.average(error**2, axis=0, weights=weight)
    spread = np.average((true - np.average(true, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    spread[_is_constant(true, weight) | (spread == 0)] = np.nan
    return {
        "mae": np.average(absolute, axis=0, weights=weight),
        "mse": squared,
        "rmse": np.sqrt(squared),
        "max_error": absolute.max(axis=0),
        "median_absolute_error": _median(absolute, weight),
        "r2": 1 - squared / spread,
    }


def _is_constant(true: Array, weight: Array | None) -> Array:
    counted = true if weight is None else true[weight > 0]
    constant: Array = (counted == counted[0]).all(axis=0)
    return constant


def _per_output(found: dict[str, Array], names: Sequence[str]) -> list[dict[str, Any]]:
    lists = {key: values.tolist() for key, values in found.items()}
    return [
        {
            "output": name,
            **{key: values[i] if np.isfinite(values[i]) else None for key, values in lists.items()},
        }
        for i, name in enumerate(names)
    ]


def _extremes(
    true: Array, predicted: Array, error: Array, weight: Array | None, rows: Array | None
) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "row": int(place if rows is None else rows[place]),
            "true": float(true[place]),
            "predicted": float(predicted[place]),
            "residual": float(error[place]),
        }
        for kind, found in zip(("worst", "best"), extremes(-np.abs(error), weight), strict=True)
        for place in found
    ]


def _scatters(true: Array, predicted: Array, notes: list[str]) -> dict[str, Chart]:
    if len(true) > _SCATTER_POINTS:
        notes.append(f"scatter charts show {_SCATTER_POINTS:,} of {len(true):,} points, evenly spaced")
        chosen = np.linspace(0, len(true) - 1, _SCATTER_POINTS).astype(int)
        true, predicted = true[chosen], predicted[chosen]
    return {
        "residuals": Chart(
            "scatter",
            "Residuals",
            {
                "x": predicted.tolist(),
                "y": (true - predicted).tolist(),
                "x_label": "Predicted",
                "y_label": "True minus predicted",
                "zero_line": True,
            },
        ),
        "predicted_vs_true": Chart(
            "scatter",
            "Predicted against true",
            {
                "x": true.tolist(),
                "y": predicted.tolist(),
                "x_label": "True",
                "y_label": "Predicted",
                "diagonal": True,
            },
        ),
    }


def _median(values: Array, weight: Array | None) -> Array:
    """Median per column; with weights the midpoint of the lower and the upper weighted median."""
    if weight is None:
        middle: Array = np.median(values, axis=0)
        return middle
    values, weight = values[weight > 0], weight[weight > 0]
    found = []
    for column in values.T:
        order = np.argsort(column, kind="stable")
        mass = np.cumsum(weight[order])
        half = mass[-1] / 2
        low = min(int(np.searchsorted(mass, half)), len(mass) - 1)
        high = low + 1 if np.isclose(mass[low], half) and low + 1 < len(mass) else low
        found.append((column[order[low]] + column[order[high]]) / 2)
    return np.array(found)
