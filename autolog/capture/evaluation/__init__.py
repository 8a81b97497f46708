"""How good predictions are: metrics, tables and charts from arrays, by NumPy alone.

Definitions follow scikit-learn's `sklearn.metrics` (with `zero_division=0`), so that a number
here is the number a user gets there. What is undefined for the given data is left out and said
in the notes, never replaced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from autolog.capture.evaluation.amounts import of_outputs, regression
from autolog.capture.evaluation.classes import classification
from autolog.capture.evaluation.inputs import (
    Array,
    are_indices,
    as_array,
    column_names,
    is_continuous,
    is_indicator,
    is_one_hot,
)
from autolog.capture.evaluation.labels import are_by_label, multilabel
from autolog.capture.evaluation.outputs import multioutput, task_of
from autolog.capture.evaluation.pictures import (
    are_many,
    of_errors,
    of_labels,
    of_pixels,
    reconstruction,
    segmentation,
)
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.evaluation.samples import with_inputs
from autolog.capture.evaluation.scores import probabilities, thinned

__all__ = [
    "Evaluation",
    "are_many",
    "classification",
    "evaluate",
    "multilabel",
    "multioutput",
    "of_errors",
    "of_labels",
    "of_pixels",
    "probabilities",
    "reconstruction",
    "regression",
    "segmentation",
    "thinned",
    "with_inputs",
]


def evaluate(
    y_true: Any,
    y_pred: Any,
    *,
    scores: Any = None,
    classes: Any = None,
    sample_weight: Any = None,
    task: str | None = None,
) -> Evaluation:
    """Evaluate predictions by the function that is for what they are.

    Without a task they are a regression when the targets, or the predictions, are floats that are not
    all whole numbers (`load_diabetes` has whole targets: only the predictions tell). Scores, or
    classes, make it a classification. Then a matrix of 0 and 1 is multilabel, unless each row has a
    single 1; another matrix is multi-output. A matrix of one column is a single output.

    Args:
        y_true: Targets, shape (n,), (n, 1), or (n, k) for several outputs, several labels or one-hot rows;
            arrays, sparse matrices, lists, series or frames, whose columns then name labels or outputs.
        y_pred: Predictions of the same shape; None when there are scores.
        scores: See `classification` and `multilabel`; of multi-output classes they have no part.
        classes: See `classification`; names of the labels when there are several.
        sample_weight: Weights, shape (n,).
        task: `classification` or `regression`; from the values when None.

    Raises:
        ValueError: There is nothing to evaluate, the lengths differ, or the shapes do not go together.
    """
    if task not in (None, "classification", "regression"):
        raise ValueError(f"task must be 'classification', 'regression' or None, got {task!r}")
    true = as_array(y_true, "y_true")
    predicted = None if y_pred is None else as_array(y_pred, "y_pred")
    names = column_names(y_true)
    if task is None and scores is None and classes is None and predicted is not None:
        task = task_of(true, predicted)
    if task == "regression":
        return of_outputs(true, predicted, names, sample_weight)
    if true.ndim == 1 or _has_one_label(true, predicted, scores):
        return classification(true, predicted, scores=scores, classes=classes, sample_weight=sample_weight)
    if is_indicator(true) and (predicted is None or is_indicator(predicted) or is_continuous(predicted)):
        labels = _names_of_labels(classes, names)
        return multilabel(true, predicted, scores=scores, labels=labels, sample_weight=sample_weight)
    found = multioutput(true, predicted, names=names, sample_weight=sample_weight, task="classification")
    if scores is None:
        return found
    return replace(
        found, notes=(*found.notes, "scores were left out: they are not evaluated for several outputs")
    )


def _has_one_label(true: Array, predicted: Array | None, scores: Any) -> bool:
    """Whether rows of 0 and 1 are classes, and are predicted as such."""
    single = predicted is None or predicted.ndim == 1 or is_one_hot(predicted)
    return is_one_hot(true) and single and not are_by_label(scores)


def _names_of_labels(classes: Any, columns: list[str] | None) -> Any:
    """Classes name labels if they are one name for each, and not merely their numbers."""
    given = [] if classes is None else classes.tolist() if hasattr(classes, "tolist") else list(classes)
    if any(np.ndim(label) for label in given) or are_indices(given, len(given)):
        return columns
    return given
