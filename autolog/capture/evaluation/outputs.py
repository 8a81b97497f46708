"""Predictions of several outputs: several targets for each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.capture.evaluation.amounts import of_outputs
from autolog.capture.evaluation.classes import Classification, classification
from autolog.capture.evaluation.inputs import (
    Array,
    are_numbers,
    as_array,
    as_weights,
    column_names,
    is_continuous,
    missing,
    names_for,
    same_length,
    weighs_something,
)
from autolog.capture.evaluation.result import Evaluation


def multioutput(
    y_true: Any,
    y_pred: Any,
    *,
    names: Any = None,
    sample_weight: Any = None,
    task: str | None = None,
) -> Evaluation:
    """Evaluate several outputs for each row, numbers or classes.

    Numbers are evaluated as by `regression`. Of classes, `accuracy` is that of whole rows and
    `accuracy_mean` the mean over the outputs. The table `per_output` says it of each; one output
    alone is evaluated as a single one.

    Args:
        y_true: Targets, shape (n, outputs), or a frame; classes may be of another type in each output.
        y_pred: Predictions of the same shape.
        names: Names of the outputs, shape (outputs,); those of the frame's columns when None, or numbers.
        sample_weight: Weights, shape (n,), not negative.
        task: `classification` or `regression`; from the values when None.

    Raises:
        ValueError: There is nothing to evaluate, or the shapes differ.
    """
    if y_pred is None:
        raise ValueError("y_pred is needed to evaluate several outputs")
    true, predicted = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    names = column_names(y_true) if names is None else names
    if (task or task_of(true, predicted)) == "regression":
        return of_outputs(true, predicted, names, sample_weight)
    if true.ndim == 1:
        return classification(true, predicted, sample_weight=sample_weight)
    return _classes(true, predicted, names, as_weights(sample_weight))


def task_of(true: Array, predicted: Array) -> str:
    """A regression is what has floats that are not whole, in the truth or as predictions of numbers."""
    continuous = is_continuous(true) or (is_continuous(predicted) and are_numbers(true))
    return "regression" if continuous else "classification"


def _classes(true: Array, predicted: Array, names: Any, weight: Array | None) -> Evaluation:
    same_length(y_true=true, y_pred=predicted, sample_weight=weight)
    if true.ndim != 2 or true.shape != predicted.shape:
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}, not both (n, outputs)")
    notes: list[str] = []
    keep = ~(missing(true) | missing(predicted)).any(axis=1)
    if not keep.all():
        notes.append(f"{int((~keep).sum()):,} rows that lack a label were left out")
        true, predicted = true[keep], predicted[keep]
        weight = None if weight is None else weight[keep]
        if not len(true):
            raise ValueError("there is nothing to evaluate: no row has all of its labels")
    weighs_something(weight)
    exact = np.ones(len(true), dtype=bool)
    per_output: list[dict[str, Any]] = []
    for output, name in enumerate(names_for(names, true.shape[1], "outputs")):
        one = Classification(true[:, output], predicted[:, output], sample_weight=weight)
        one.count()
        exact &= one.true == one.predicted
        found = {key: one.metrics[key] for key in ("accuracy", "balanced_accuracy")}
        per_output.append({"output": name, **found, "f1_macro": float(one.rates[2][one.seen].mean())})
    metrics = {
        "accuracy": float(np.average(exact, weights=weight)),
        "accuracy_mean": float(np.mean([row["accuracy"] for row in per_output])),
    }
    return Evaluation("classification", len(true), metrics, {"per_output": per_output}, {}, tuple(notes))
