"""Predicted labels: any number of them for each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autolog.capture.evaluation.classes import CONFUSED_CLASSES, TABLE_CLASSES
from autolog.capture.evaluation.curves import SHOWN, Curves, most_frequent
from autolog.capture.evaluation.inputs import (
    Array,
    as_array,
    as_columns,
    as_weights,
    column_names,
    have_scores,
    is_continuous,
    is_indicator,
    listed,
    missing,
    names_for,
    same_length,
    weighs_something,
)
from autolog.capture.evaluation.rates import rates, ratio
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.figures import Chart


def multilabel(
    y_true: Any,
    y_pred: Any = None,
    *,
    scores: Any = None,
    labels: Any = None,
    sample_weight: Any = None,
) -> Evaluation:
    """Evaluate predictions of several labels per row.

    `accuracy` is that of whole rows; `precision_macro`, `recall_macro` and `f1_macro` are means over all
    labels. `roc_auc_macro` and `average_precision_macro`, which need scores, are means over the labels for
    which they are defined.

    Args:
        y_true: 0 and 1 of any type, shape (n, k), dense or sparse, or a frame of such columns.
        y_pred: The same; from the scores when None.
        scores: Probabilities or decision values, shape (n, k); or k arrays of shape (n, 2), as
            scikit-learn's multi-output estimators predict them.
        labels: Names of the labels, shape (k,); those of the frame's columns when None, or numbers.
        sample_weight: Weights, shape (n,), not negative.

    Raises:
        ValueError: There is nothing to evaluate, the shapes differ, or there are other values than 0 and 1.
    """
    work = _Multilabel(y_true, y_pred, scores, labels, sample_weight)
    work.count()
    if work.scores is not None:
        work.score()
    return Evaluation("multilabel", len(work.true), work.metrics, work.tables, work.charts, tuple(work.notes))


@dataclass
class _Multilabel:
    """One evaluation in progress: what rows have are booleans, a column for each label."""

    y_true: Any
    y_pred: Any
    raw_scores: Any
    labels: Any
    sample_weight: Any
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        true, keep = _indicator(self.y_true, "y_true")
        self.k = true.shape[1]
        scores = None if self.raw_scores is None else _scores(self.raw_scores, self.k)
        weight = as_weights(self.sample_weight)
        if self.y_pred is not None:
            predicted, known = _indicator(self.y_pred, "y_pred")
        elif scores is not None:
            known = have_scores(scores)
            probable = known.any() and scores[known].min() >= 0 and scores[known].max() <= 1
            predicted = scores > (0.5 if probable else 0.0)
        else:
            raise ValueError("y_pred or scores is needed to evaluate labels")
        same_length(y_true=true, y_pred=predicted, scores=scores, sample_weight=weight)
        for name, other in (("y_pred", predicted), ("scores", scores)):
            if other is not None and other.shape != true.shape:
                raise ValueError(f"y_true has {self.k} labels and {name} has {other.shape[1]}")
        keep &= known
        if not keep.all():
            self.notes.append(f"{int((~keep).sum()):,} rows that lack a label were left out")
            true, predicted = true[keep], predicted[keep]
            scores = None if scores is None else scores[keep]
            weight = None if weight is None else weight[keep]
            if not len(true):
                raise ValueError("there is nothing to evaluate: no row has all of its labels")
        weighs_something(weight)
        self.true: Array = true
        self.predicted: Array = predicted
        self.scores: Array | None = scores
        self.weight: Array | None = weight
        given = column_names(self.y_true) if self.labels is None else self.labels
        self.names: list[str] = names_for(given, self.k, "labels")
        self.support = self.total(true)
        self.often: list[int] = most_frequent(self.support.tolist(), self.k)

    def total(self, matrix: Array) -> Array:
        """How many rows, or what weight of them, have each label: shape (k,)."""
        found: Array = matrix.sum(axis=0) if self.weight is None else self.weight @ matrix
        return found

    def mean(self, values: Array) -> float:
        """The mean over rows, weighted."""
        return float(np.average(values, weights=self.weight))

    def count(self) -> None:
        """Everything that follows from labels alone."""
        both, wrong = self.true & self.predicted, self.true != self.predicted
        hits, guessed, support = self.total(both), self.total(self.predicted), self.support
        precision, recall, f1 = rates(hits, guessed, support)
        f1_of_rows = ratio(2 * both.sum(axis=1), self.true.sum(axis=1) + self.predicted.sum(axis=1))
        self.metrics |= {
            "accuracy": self.mean(~wrong.any(axis=1)),
            "hamming_loss": self.mean(wrong.mean(axis=1)),
            "precision_macro": float(precision.mean()),
            "recall_macro": float(recall.mean()),
            "f1_macro": float(f1.mean()),
            "f1_micro": float(ratio(2 * hits.sum(), support.sum() + guessed.sum())),
            "f1_weighted": float(ratio((f1 * support).sum(), support.sum())),
            "f1_samples": self.mean(f1_of_rows),
        }
        self.listed = sorted(self.often[:TABLE_CLASSES])
        if len(self.listed) < self.k:
            self.notes.append(f"tables keep the {TABLE_CLASSES} most frequent of {self.k} labels")
        everything = len(self.true) if self.weight is None else self.weight.sum()
        per_class = {"precision": precision.round(4), "recall": recall.round(4), "f1": f1.round(4)}
        self.tables["per_class"] = self._table("class", {**per_class, "support": support})
        self.tables["confusion_by_label"] = self._table(
            "label",
            {
                # Sums of weights are not exact.
                "true_negatives": np.maximum(everything - guessed - support + hits, 0),
                "false_positives": guessed - hits,
                "false_negatives": support - hits,
                "true_positives": hits,
            },
        )
        shown = self.often[:CONFUSED_CLASSES]
        self.charts["f1_by_label"] = Chart(
            "bars",
            "F1 by label" + (f" ({len(shown)} most frequent)" if len(shown) < self.k else ""),
            {"names": [self.names[i] for i in shown], "values": f1[shown].round(4).tolist(), "x_label": "F1"},
        )

    def _table(self, key: str, columns: dict[str, Array]) -> list[dict[str, Any]]:
        lists = {name: values.tolist() for name, values in columns.items()}
        return [
            {key: self.names[i], **{name: values[i] for name, values in lists.items()}} for i in self.listed
        ]

    def score(self) -> None:
        """Everything that needs scores."""
        assert self.scores is not None
        scores, true, weight = self.scores, self.true, self.weight
        known = have_scores(scores)
        if not known.all():
            lost = len(known) - int(known.sum())
            self.notes.append(f"{lost:,} rows without a score have no part in what scores tell")
            scores, true, weight = scores[known], true[known], None if weight is None else weight[known]
        if not len(true):
            return
        shown = self.often[:SHOWN]
        if len(shown) < self.k:
            self.notes.append(f"curves show the {SHOWN} most frequent labels")
        curves = Curves()
        for i, name in enumerate(self.names):
            curves.add(name, scores[:, i], true[:, i], weight, i in shown)
        self.charts |= curves.charts()
        for key in ("roc_auc", "average_precision"):
            if defined := [area for area in getattr(curves, key) if area is not None]:
                self.metrics[f"{key}_macro"] = float(np.mean(defined))
        one_sided = [name for name, area in zip(self.names, curves.roc_auc, strict=True) if area is None]
        if one_sided:
            self.notes.append(
                "roc_auc_macro is without the labels that all rows have or none, "
                f"average_precision_macro without the latter: {listed(one_sided)}"
            )
        for row, i in zip(self.tables["per_class"], self.listed, strict=True):
            area = curves.roc_auc[i]
            row["roc_auc"] = None if area is None else round(area, 4)


def _indicator(values: Any, name: str) -> tuple[Array, Array]:
    """Which labels each row has, booleans of shape (n, k), and whether all of them are known, shape (n,)."""
    array = as_array(values, name)
    matrix = array[:, None] if array.ndim == 1 else array
    if not is_indicator(matrix):
        more = "; pass probabilities as scores" if is_continuous(matrix) else ""
        raise ValueError(f"{name} must be a matrix of 0 and 1 alone{more}")
    gone = missing(matrix)
    if gone.any():
        matrix = np.where(gone, 0, matrix)
    has: Array = matrix == 1
    return has, np.logical_not(gone.any(axis=1))


def _scores(scores: Any, k: int) -> Array:
    """Scores of shape (n, k), also from k arrays of shape (n, 2)."""
    if not are_by_label(scores):
        return as_columns(scores, "scores")
    if len(scores) != k:
        raise ValueError(f"y_true has {k} labels and scores has {len(scores)}")
    # One column alone is of a label that never varied in the training: it tells rows apart in neither case.
    columns = [as_columns(column, "scores") for column in scores]
    same_length(**{f"scores[{i}]": column for i, column in enumerate(columns)})
    if any(column.shape[1] > 2 for column in columns):
        raise ValueError("scores must be of two classes for each label, shape (n, 2)")
    return np.column_stack([column[:, -1] for column in columns])


def are_by_label(scores: Any) -> bool:
    """Whether scores are a matrix for each label, as scikit-learn's multi-output estimators predict them."""
    if isinstance(scores, np.ndarray):
        return scores.ndim == 3
    return isinstance(scores, (list, tuple)) and len(scores) > 0 and np.ndim(scores[0]) == 2
