"""How good predictions are: metrics, tables and charts from arrays, by NumPy alone.

Definitions follow scikit-learn's `sklearn.metrics` (with `zero_division=0`), so that a number
here is the number a user gets there. What is undefined for the given data is left out and said
in the notes, never replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from autolog.capture.figures import Chart

Array = npt.NDArray[Any]

_CURVE_POINTS = 200
_SCATTER_POINTS = 1_000
_CURVES = 10  # classes with a curve of their own
_CHART_CLASSES = 50  # up to here a confusion matrix shows every class ...
_CONFUSED_CLASSES = 30  # ... and beyond it these many
_TABLE_CLASSES = 200
_BINS = 10  # of the calibration curve


@dataclass(frozen=True)
class Evaluation:
    """What is known about a set of predictions."""

    task: str
    """`classification` or `regression`."""
    rows: int
    """Samples that the metrics rest on."""
    metrics: dict[str, float]
    """Scores by scikit-learn's names."""
    tables: dict[str, list[dict[str, Any]]]
    """`confusion_matrix` and `per_class`, one dict per row."""
    charts: dict[str, Chart]
    """Pictures as data, to be rendered elsewhere."""
    notes: tuple[str, ...]
    """What was left out, shortened or assumed."""


def evaluate(
    y_true: Any,
    y_pred: Any,
    *,
    scores: Any = None,
    classes: Any = None,
    sample_weight: Any = None,
) -> Evaluation:
    """Evaluate predictions as a regression or a classification, whichever they are.

    They are a regression when the targets, or the predictions, are floats that are not all whole
    numbers (`load_diabetes` has whole targets: only the predictions tell). Scores, or classes,
    make it a classification.

    Args:
        y_true: Targets, shape (n,), (n, 1), or (n, outputs) for regression; one-hot rows count
            as classes.
        y_pred: Predictions of the same shape; None when there are scores.
        scores: See `classification`.
        classes: See `classification`.
        sample_weight: Weights, shape (n,).

    Raises:
        ValueError: There is nothing to evaluate, the lengths differ, or the targets are multilabel.
    """
    if scores is None and classes is None and y_pred is not None:
        true, predicted = _array(y_true, "y_true"), _array(y_pred, "y_pred")
        if _is_continuous(true) or (true.dtype.kind in "iuf" and _is_continuous(predicted)):
            return regression(true, predicted, sample_weight=sample_weight)
    return classification(y_true, y_pred, scores=scores, classes=classes, sample_weight=sample_weight)


# --------------------------------------------------------------------------- classification


def classification(
    y_true: Any,
    y_pred: Any = None,
    *,
    scores: Any = None,
    classes: Any = None,
    sample_weight: Any = None,
) -> Evaluation:
    """Evaluate predicted classes.

    With two classes precision, recall and F1 are those of the positive class, the larger label;
    with more they are macro averages. `roc_auc` and `average_precision` need scores (one-vs-rest,
    macro, with more than two classes), `log_loss` and `brier` need probabilities.

    Args:
        y_true: Labels of any type, shape (n,); one-hot rows, shape (n, k), are decoded.
        y_pred: Predicted labels, shape (n,); from the scores when None.
        scores: Probabilities or decision values, shape (n,) for the positive class or (n, k).
        classes: The label of each column of `scores`, shape (k,), as in `estimator.classes_`;
            names for labels 0 ... k-1 do as well.
        sample_weight: Weights, shape (n,), not negative.

    Raises:
        ValueError: There is nothing to evaluate, the lengths differ, or the targets are multilabel.
    """
    work = _Classification(y_true, y_pred, scores, classes, sample_weight)
    work.count()
    if work.scores is not None:
        work.score()
    return work.result()


@dataclass
class _Classification:
    """One evaluation in progress: labels are indices into `labels` throughout."""

    y_true: Any
    y_pred: Any
    raw_scores: Any
    classes: Any
    sample_weight: Any
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        truth = _labels(self.y_true, "y_true")
        predicted = None if self.y_pred is None else _labels(self.y_pred, "y_pred")
        scores = None if self.raw_scores is None else _numbers(self.raw_scores, "scores")
        if predicted is None and scores is None:
            raise ValueError("y_pred or scores is needed to evaluate a classification")
        if scores is not None and scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        weight = _weights(self.sample_weight)
        _same_length(y_true=truth, y_pred=predicted, scores=scores, sample_weight=weight)

        keep = ~_missing(truth)
        if predicted is not None:
            keep &= ~_missing(predicted)
        if not keep.all():
            self.notes.append(f"{int((~keep).sum()):,} rows without a label were left out")
            truth = truth[keep]
            predicted = None if predicted is None else predicted[keep]
            scores = None if scores is None else scores[keep]
            weight = None if weight is None else weight[keep]
            if not len(truth):
                raise ValueError("there is nothing to evaluate: no row has a label")
        self.scores: Array | None = scores
        self.weight: Array | None = weight
        self._encode(truth, predicted)

    def _encode(self, truth: Array, predicted: Array | None) -> None:
        given = None if self.classes is None else _labels(self.classes, "classes").tolist()
        columns = 0 if self.scores is None else 2 if self.scores.ndim == 1 else self.scores.shape[1]
        both = truth if predicted is None else _concatenated(truth, predicted)
        present, codes = _unique(both)
        names: list[str] | None = None
        if given is not None and not set(present) & set(given) and _are_indices(present, len(given)):
            given, names = list(range(len(given))), [str(name) for name in given]
        known = given if given is not None else None
        if known is None and columns > len(present) and _are_indices(present, columns):
            known = list(range(columns))
        labels = list(present) if known is None else list(known)
        if known is not None:
            extra = [label for label in present if label not in set(known)]
            if extra:
                self.notes.append(f"labels outside the given classes: {_listed(extra)}")
                labels += extra
        place = {label: index for index, label in enumerate(labels)}
        codes = np.array([place[label] for label in present], dtype=np.intp)[codes]
        self.labels: list[Any] = labels
        self.names: list[str] = _names(labels if names is None else [*names, *labels[len(names) :]])
        self.true: Array = codes[: len(truth)]
        if self.scores is not None and columns != len(labels):
            at_hand = len(known) if known is not None else len(labels)
            if columns != at_hand:
                self.notes.append(
                    f"scores were left out: they have {columns} columns for {at_hand} classes; "
                    "pass classes to name the columns"
                )
                self.scores = None
        self.columns: int = columns
        if predicted is not None:
            self.predicted: Array = codes[len(truth) :]
        elif self.scores is None:
            raise ValueError(self.notes[-1])
        elif self.scores.ndim == 1:
            cut = 0.5 if _are_probabilities(self.scores) else 0.0
            self.predicted = (self.scores > cut).astype(np.intp)
        else:
            self.predicted = self.scores.argmax(axis=1)

    @property
    def k(self) -> int:
        return len(self.labels)

    def total(self, values: Array, weighted: bool = True) -> Array:
        """How often, or with what weight, each class occurs: shape (k,)."""
        return np.bincount(values, self.weight if weighted else None, minlength=self.k)

    def count(self) -> None:
        """Everything that follows from labels alone."""
        right = self.true == self.predicted
        hits = np.bincount(self.true[right], None if self.weight is None else self.weight[right], self.k)
        support, guessed = self.total(self.true), self.total(self.predicted)
        precision, recall = _ratio(hits, guessed), _ratio(hits, support)
        f1 = _ratio(2 * hits, support + guessed)
        weight = float(support.sum())
        if weight <= 0:
            raise ValueError("there is nothing to evaluate: all sample weights are zero")
        occurs = self.total(self.true, weighted=False) > 0
        seen = occurs | (self.total(self.predicted, weighted=False) > 0)

        self.metrics["accuracy"] = float(hits.sum() / weight)
        self.metrics["balanced_accuracy"] = float(recall[support > 0].mean())
        if self.k == 2:
            chosen = np.array([False, True])
            self.notes.append(f"precision, recall and f1 are those of class {self.names[1]}")
        else:
            chosen = seen
        if self.k > 1:
            self.metrics["precision"] = float(precision[chosen].mean())
            self.metrics["recall"] = float(recall[chosen].mean())
            self.metrics["f1"] = float(f1[chosen].mean())
        if int(occurs.sum()) == 1:
            self.notes.append(f"only one class occurs in y_true: {self.names[int(occurs.argmax())]}")
        surprise = np.flatnonzero(seen & ~occurs)
        if len(surprise):
            names = [self.names[index] for index in surprise]
            self.notes.append(f"predicted but never true: {_listed(names)}")

        self.tables["per_class"] = [
            {"class": name, "precision": p, "recall": r, "f1": f, "support": s}
            for name, p, r, f, s in zip(
                self.names,
                precision.round(4).tolist(),
                recall.round(4).tolist(),
                f1.round(4).tolist(),
                support.tolist(),
                strict=True,
            )
        ]
        self._confusion(support + guessed - 2 * hits)

    def _confusion(self, errors: Array) -> None:
        most = np.sort(np.argsort(-errors, kind="stable")[:_CONFUSED_CLASSES])
        everything = np.arange(self.k)
        in_chart = everything if self.k <= _CHART_CLASSES else most
        in_table = everything if self.k <= _TABLE_CLASSES else most
        for what, kept in (("chart", in_chart), ("table", in_table)):
            if len(kept) < self.k:
                self.notes.append(
                    f"the confusion matrix ({what}) keeps the {len(kept)} most confused of {self.k} classes"
                )
        counts = self._pairs(in_table)
        names = [self.names[index] for index in in_table]
        self.tables["confusion_matrix"] = [
            # Named so, since a dashboard moves columns called "0" and "1" in front of all others.
            {"true": name, **{f"predicted {p}": n for p, n in zip(names, row, strict=True)}}
            for name, row in zip(names, counts.tolist(), strict=True)
        ]
        if len(in_chart) < len(in_table):
            counts = counts[np.ix_(in_chart, in_chart)]
        self.charts["confusion_matrix"] = Chart(
            "confusion_matrix",
            "Confusion matrix" + (" (most confused classes)" if len(in_chart) < self.k else ""),
            {"labels": [self.names[index] for index in in_chart], "counts": counts.tolist()},
        )

    def _pairs(self, kept: Array) -> Array:
        size = len(kept)
        slot = np.full(self.k, -1)
        slot[kept] = np.arange(size)
        true, predicted = slot[self.true], slot[self.predicted]
        inside = (true >= 0) & (predicted >= 0)
        weight = None if self.weight is None else self.weight[inside]
        pairs = true[inside] * size + predicted[inside]
        return np.bincount(pairs, weight, minlength=size * size).reshape(size, size)

    def score(self) -> None:
        """Everything that needs scores."""
        assert self.scores is not None
        scores, true, weight = self.scores, self.true, self.weight
        finite = np.isnan(scores.reshape(len(scores), -1)).sum(axis=1) == 0
        if not finite.all():
            lost = len(finite) - int(finite.sum())
            self.notes.append(f"{lost:,} rows without a score have no part in what scores tell")
            scores, true = scores[finite], true[finite]
            weight = None if weight is None else weight[finite]
        if not len(true):
            return
        probabilities = _are_probabilities(scores)
        if not probabilities:
            self.notes.append("scores are not probabilities: no log_loss, brier or calibration")
        binary = self.columns == 2
        if binary and scores.ndim == 2:
            scores = scores[:, 1]
        table = scores[None, :] if scores.ndim == 1 else np.ascontiguousarray(scores.T)
        positives = [1] if binary else list(range(self.columns))
        self._curves(table, positives, true, weight)
        if probabilities:
            self._probabilities(scores, true, weight)

    def _curves(self, table: Array, positives: Sequence[int], true: Array, weight: Array | None) -> None:
        occurring = self.total(self.true, weighted=False)
        shown = set(sorted(positives, key=lambda c: -occurring[c])[:_CURVES])
        if len(shown) < len(positives):
            self.notes.append(f"curves show the {_CURVES} most frequent classes")
        areas: list[float] = []
        precisions: list[float] = []
        roc: list[dict[str, Any]] = []
        trade: list[dict[str, Any]] = []
        absent: list[str] = []
        for row, positive in enumerate(positives):
            hits, misses = _cumulated(table[row], true == positive, weight)
            if hits[-1] <= 0 or misses[-1] <= 0:
                absent.append(self.names[positive])
                continue
            recall, fallout = hits / hits[-1], misses / misses[-1]
            precision = _ratio(hits, hits + misses)
            x, y = np.concatenate(([0.0], fallout)), np.concatenate(([0.0], recall))
            areas.append(float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)))
            precisions.append(float(np.sum(np.diff(recall, prepend=0.0) * precision)))
            if positive in shown:
                name = self.names[positive]
                roc.append(_series(f"{name} (AUC {areas[-1]:.3f})", x, y))
                up = np.concatenate(([0.0], recall)), np.concatenate(([1.0], precision))
                trade.append(_series(f"{name} (AP {precisions[-1]:.3f})", *up))
        if absent:
            self.notes.append(
                f"roc_auc and average_precision were left out: y_true holds only one side of "
                f"{_listed(absent)}"
            )
        else:
            self.metrics["roc_auc"] = float(np.mean(areas))
            self.metrics["average_precision"] = float(np.mean(precisions))
        unit = {"x_range": [0, 1], "y_range": [0, 1]}
        if roc:
            axes = {"x_label": "False positive rate", "y_label": "True positive rate"}
            self.charts["roc"] = Chart(
                "curve", "ROC curve", {"series": roc, **axes, **unit, "diagonal": True}
            )
            axes = {"x_label": "Recall", "y_label": "Precision"}
            self.charts["precision_recall"] = Chart(
                "curve", "Precision-recall curve", {"series": trade, **axes, **unit}
            )

    def _probabilities(self, scores: Array, true: Array, weight: Array | None) -> None:
        within = true < self.columns
        if not within.all():
            self.notes.append("log_loss and brier were left out: some labels have no score")
            return
        smallest = np.finfo(scores.dtype).eps
        rows = np.arange(len(true))
        if scores.ndim == 1:
            of_true = np.where(true == 1, scores, 1 - scores)
            squared = (1 - of_true) ** 2
            said, event = scores, (true == 1).astype(float)
            axes = ("Predicted probability", f"Share of class {self.names[1]}")
        else:
            of_true = scores[rows, true]
            squared = (scores**2).sum(axis=1) - 2 * of_true + 1
            said, event = scores.max(axis=1), (scores.argmax(axis=1) == true).astype(float)
            axes = ("Confidence of the predicted class", "Share predicted right")
        clipped = np.clip(of_true, smallest, 1 - smallest).astype(float)
        self.metrics["log_loss"] = float(np.average(-np.log(clipped), weights=weight))
        self.metrics["brier"] = float(np.average(squared, weights=weight))

        # Equal-width bins, as in sklearn.calibration.calibration_curve(strategy="uniform").
        place = np.minimum((said * _BINS).astype(int), _BINS - 1)
        mass = np.ones(len(true)) if weight is None else weight
        size = np.bincount(place, mass, _BINS)
        filled = size > 0
        x = np.bincount(place, mass * said, _BINS)[filled] / size[filled]
        y = np.bincount(place, mass * event, _BINS)[filled] / size[filled]
        self.charts["calibration"] = Chart(
            "curve",
            "Calibration",
            {
                "series": [_series("", x, y)],
                "x_label": axes[0],
                "y_label": axes[1],
                "x_range": [0, 1],
                "y_range": [0, 1],
                "diagonal": True,
                "markers": True,
            },
        )

    def result(self) -> Evaluation:
        return Evaluation(
            "classification",
            len(self.true),
            self.metrics,
            self.tables,
            self.charts,
            tuple(self.notes),
        )


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


def _series(name: str, x: Array, y: Array) -> dict[str, Any]:
    """A line with at most 200 points, chosen evenly along its length, ends included."""
    if len(x) > _CURVE_POINTS:
        length = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        wanted = np.linspace(0, length[-1], _CURVE_POINTS)
        chosen = np.unique(np.minimum(np.searchsorted(length, wanted), len(x) - 1))
        chosen[0], chosen[-1] = 0, len(x) - 1
        x, y = x[chosen], y[chosen]
    return {"name": name, "x": x.round(6).tolist(), "y": y.round(6).tolist()}


# --------------------------------------------------------------------------- regression


def regression(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> Evaluation:
    """Evaluate predicted numbers.

    Several outputs are averaged uniformly, as scikit-learn does by default; `max_error` is the
    largest over all of them.

    Args:
        y_true: Targets, shape (n,) or (n, outputs).
        y_pred: Predictions of the same shape.
        sample_weight: Weights, shape (n,), not negative.

    Raises:
        ValueError: There is nothing to evaluate, or the shapes differ.
    """
    notes: list[str] = []
    true, predicted = _columns(y_true, "y_true"), _columns(y_pred, "y_pred")
    weight = _weights(sample_weight)
    _same_length(y_true=true, y_pred=predicted, sample_weight=weight)
    if true.shape != predicted.shape:
        raise ValueError(f"y_true has {true.shape[1]} outputs and y_pred has {predicted.shape[1]}")
    finite = np.isfinite(true).all(axis=1) & np.isfinite(predicted).all(axis=1)
    if not finite.all():
        notes.append(f"{int((~finite).sum()):,} rows that are not finite were left out")
        true, predicted = true[finite], predicted[finite]
        weight = None if weight is None else weight[finite]
        if not len(true):
            raise ValueError("there is nothing to evaluate: no row is finite")
    if weight is not None and weight.sum() <= 0:
        raise ValueError("there is nothing to evaluate: all sample weights are zero")
    error = true - predicted
    absolute = np.abs(error)
    squared = np.average(error**2, axis=0, weights=weight)
    metrics = {
        "mae": float(np.average(absolute, axis=0, weights=weight).mean()),
        "mse": float(squared.mean()),
        "rmse": float(np.sqrt(squared).mean()),
        "max_error": float(absolute.max()),
        "median_absolute_error": float(_median(absolute, weight).mean()),
    }
    spread = np.average((true - np.average(true, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    if len(true) < 2 or (true == true[0]).all(axis=0).any():
        notes.append("r2 was left out: it is undefined for a constant target")
    else:
        metrics["r2"] = float((1 - squared / spread).mean())
    charts = _regression_charts(true.ravel(), predicted.ravel(), notes)
    return Evaluation("regression", len(true), metrics, {}, charts, tuple(notes))


def _regression_charts(true: Array, predicted: Array, notes: list[str]) -> dict[str, Chart]:
    if len(true) > _SCATTER_POINTS:
        notes.append(f"charts show {_SCATTER_POINTS:,} of {len(true):,} points, evenly spaced")
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
        return np.median(values, axis=0)
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


# --------------------------------------------------------------------------- inputs


def _array(values: Any, name: str) -> Array:
    """Any column of values as an array that keeps its labels what they are."""
    if hasattr(values, "detach"):  # torch: gradients and devices stay behind
        values = values.detach().cpu()
    if not isinstance(values, np.ndarray) and not hasattr(values, "__array__"):
        values = list(values) if isinstance(values, Iterable) else values
        strings = isinstance(values, list) and any(isinstance(value, str) for value in values)
        if strings and not all(isinstance(value, str) for value in values):
            mixed = np.empty(len(values), dtype=object)  # NumPy would turn 1 into "1"
            mixed[:] = values
            return mixed
    try:
        array: Array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} has rows of different lengths: {_MULTILABEL}") from error
    if array.ndim == 0:
        raise ValueError(f"{name} must have one entry per sample, got a single value")
    if not len(array):
        raise ValueError(f"there is nothing to evaluate: {name} is empty")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


_MULTILABEL = "multilabel targets are not supported here, evaluate one column at a time"


def _labels(values: Any, name: str) -> Array:
    array = _array(values, name)
    if array.ndim == 1:
        return array
    if array.ndim == 2 and array.dtype.kind in "biuf" and ((array == 0) | (array == 1)).all():
        if (array.sum(axis=1) == 1).all():
            decoded: Array = array.argmax(axis=1)
            return decoded
        raise ValueError(f"{name} has several labels per row: {_MULTILABEL}")
    raise ValueError(f"{name} must have shape (n,), got {array.shape}; {_MULTILABEL}")


def _numbers(values: Any, name: str) -> Array:
    array = _array(values, name)
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be numbers, got {array.dtype}") from error
    if array.ndim > 2:
        raise ValueError(f"{name} must have one or two dimensions, got shape {array.shape}")
    return array


def _columns(values: Any, name: str) -> Array:
    array = _numbers(values, name).astype(np.float64, copy=False)
    return array[:, None] if array.ndim == 1 else array


def _weights(values: Any) -> Array | None:
    if values is None:
        return None
    weight = _numbers(values, "sample_weight").astype(np.float64, copy=False)
    if weight.ndim != 1 or not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError("sample_weight must be one finite, non-negative number per row")
    return weight


def _same_length(**columns: Array | None) -> None:
    lengths = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise ValueError(f"lengths differ: {said}")


def _missing(values: Array) -> Array:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "O":
        return np.fromiter((_is_missing(v) for v in values), dtype=bool, count=len(values))
    return np.zeros(len(values), dtype=bool)


def _is_missing(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # noqa: PLR0124 - true of NaN and NaT alone
    except TypeError:  # pandas.NA has no truth
        return True


def _concatenated(one: Array, other: Array) -> Array:
    numeric = one.dtype.kind in "biuf" and other.dtype.kind in "biuf"
    if numeric or one.dtype.kind == other.dtype.kind:
        return np.concatenate((one, other))
    return np.concatenate((one.astype(object), other.astype(object)))


def _unique(values: Array) -> tuple[list[Any], Array]:
    """The distinct labels in order, and for each value its place among them."""
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
    first = np.fromiter((seen.setdefault(v, len(seen)) for v in values.tolist()), np.intp, len(values))
    ordered = sorted(seen, key=_order)
    place = np.empty(len(seen), dtype=np.intp)
    place[[seen[label] for label in ordered]] = np.arange(len(seen))
    return ordered, place[first]


def _order(label: Any) -> tuple[str, Any]:
    """A total order over labels of any type; numbers before strings."""
    if isinstance(label, (bool, int, float)):
        return "", label
    return type(label).__name__, label if isinstance(label, (str, bytes)) else repr(label)


def _names(labels: Sequence[Any]) -> list[str]:
    names = [str(label) for label in labels]
    if len(set(names)) < len(names):  # 1 and "1"
        names = [repr(label) for label in labels]
    return names


def _are_indices(labels: Sequence[Any], size: int) -> bool:
    return all(isinstance(label, int) and 0 <= label < size for label in labels)


def _is_continuous(values: Array) -> bool:
    if values.dtype.kind != "f":
        return False
    finite = values[np.isfinite(values)]
    return bool((finite != np.floor(finite)).any())


def _are_probabilities(scores: Array) -> bool:
    if scores.size == 0 or not (scores.min() >= 0 and scores.max() <= 1):
        return False
    return scores.ndim == 1 or bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3))


def _ratio(over: Array, under: Array) -> Array:
    """Division that is zero where there is nothing to divide by (zero_division=0)."""
    return np.divide(over, under, out=np.zeros(len(under)), where=under > 0)


def _listed(names: Iterable[Any]) -> str:
    every = [str(name)[:60] for name in names]
    more = f" and {len(every) - 10} more" if len(every) > 10 else ""
    return ", ".join(every[:10]) + more
