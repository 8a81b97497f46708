"""ROC and precision-recall curves, and the areas under them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autolog.capture.evaluation.inputs import Array
from autolog.capture.evaluation.rates import ratio
from autolog.capture.figures import Chart

SHOWN = 10
"""Classes with a curve of their own."""
_POINTS = 200


@dataclass
class Curves:
    """One ROC and one precision-recall curve for each of some classes."""

    roc_auc: list[float | None] = field(default_factory=list)
    """Area under the ROC curve of each; None for a class that all rows have, or none."""
    average_precision: list[float | None] = field(default_factory=list)
    """The same of the precision-recall curve; None for a class that no row has."""
    _roc: list[dict[str, Any]] = field(default_factory=list)
    _trade: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, scores: Array, positive: Array, weight: Array | None, shown: bool) -> None:
        """Measure one class.

        Args:
            name: What its curve is called.
            scores: Higher where the class is more likely, shape (n,), without NaN.
            positive: The rows that have it, booleans of shape (n,).
            weight: Shape (n,), or None.
            shown: Whether the charts have it.
        """
        hits, misses = _cumulated(scores, positive, weight)
        area = average = None
        if hits[-1] > 0:
            recall, precision = hits / hits[-1], ratio(hits, hits + misses)
            average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
            if misses[-1] > 0:
                x = np.concatenate(([0.0], misses / misses[-1]))
                y = np.concatenate(([0.0], recall))
                area = float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))
                if shown:
                    self._roc.append(series(f"{name} (AUC {area:.3f})", x, y))
                    up = np.concatenate(([1.0], precision))
                    self._trade.append(series(f"{name} (AP {average:.3f})", y, up))
        self.roc_auc.append(area)
        self.average_precision.append(average)

    def charts(self) -> dict[str, Chart]:
        """`roc` and `precision_recall`, if there is a curve."""
        if not self._roc:
            return {}
        unit = {"x_range": [0, 1], "y_range": [0, 1]}
        roc = {"x_label": "False positive rate", "y_label": "True positive rate", **unit, "diagonal": True}
        trade = {"x_label": "Recall", "y_label": "Precision", **unit}
        return {
            "roc": Chart("curve", "ROC curve", {"series": self._roc, **roc}),
            "precision_recall": Chart("curve", "Precision-recall curve", {"series": self._trade, **trade}),
        }


def most_frequent(counts: Iterable[float], most: int) -> list[int]:
    """The places of the highest counts, the highest first, the earlier of equals first."""
    every = list(counts)
    return sorted(range(len(every)), key=lambda place: -every[place])[:most]


def series(name: str, x: Array, y: Array) -> dict[str, Any]:
    """A line with at most 200 points, chosen evenly along its length, ends included."""
    if len(x) > _POINTS:
        length = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        wanted = np.linspace(0, length[-1], _POINTS)
        chosen = np.unique(np.minimum(np.searchsorted(length, wanted), len(x) - 1))
        chosen[0], chosen[-1] = 0, len(x) - 1
        x, y = x[chosen], y[chosen]
    return {"name": name, "x": x.round(6).tolist(), "y": y.round(6).tolist()}


def _cumulated(scores: Array, positive: Array, weight: Array | None) -> tuple[Array, Array]:
    """True and false positives at each distinct threshold, from the highest score down.

    As `sklearn.metrics.confusion_matrix_at_thresholds`: equal scores fall together.
    """
    order = np.argsort(-scores)
    ordered, positive = scores[order], positive[order]
    last = np.concatenate((np.flatnonzero(ordered[1:] != ordered[:-1]), [len(ordered) - 1]))
    if weight is None:
        hits = np.cumsum(positive)[last].astype(float)
        return hits, last + 1.0 - hits
    weight = weight[order]
    hits = np.cumsum(weight * positive)[last]
    return hits, np.cumsum(weight * ~positive)[last]
