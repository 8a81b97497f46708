"""Predicted classes: one label for each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autolog.capture.evaluation.curves import SHOWN, Curves, most_frequent, series
from autolog.capture.evaluation.distribution import histogram
from autolog.capture.evaluation.extremes import confused, extremes
from autolog.capture.evaluation.inputs import (
    Array,
    are_indices,
    are_probabilities,
    as_labels,
    as_numbers,
    as_weights,
    concatenated,
    have_scores,
    listed,
    missing,
    named,
    same_length,
    unique,
    weighs_something,
)
from autolog.capture.evaluation.rates import rates
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.figures import Chart

CHART_CLASSES = 50  # up to here a confusion matrix shows every class ...
CONFUSED_CLASSES = 30  # ... and beyond it these many
TABLE_CLASSES = 200
_BINS = 10  # of the calibration curve


def classification(
    y_true: Any,
    y_pred: Any = None,
    *,
    scores: Any = None,
    classes: Any = None,
    sample_weight: Any = None,
) -> Evaluation:
    """Evaluate predicted classes.

    With two classes `precision`, `recall` and `f1` are those of the positive class, the larger label. With
    more there are `precision_macro` and `f1_macro`, means over the classes; the recall's is
    `balanced_accuracy`. Scores give `roc_auc` and `average_precision`, with more than two classes
    `roc_auc_ovr` and `average_precision_macro`: means over the classes, each against the rest.
    Probabilities give `log_loss` and `brier`.

    The table `best_and_worst` has the 10 rows whose true class was given the lowest probability, and
    the 10 of the highest; without probabilities 10 rows that were predicted wrong, of the most
    frequent confusions. Rows that weigh nothing are not among them.

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
    work = Classification(y_true, y_pred, scores, classes, sample_weight)
    work.count()
    work.tabulate()
    if work.scores is not None:
        work.score()
    if "best_and_worst" not in work.tables:
        work.show_confused()
    return work.result()


@dataclass
class Classification:
    """One evaluation in progress: labels are indices into `labels` throughout."""

    y_true: Any
    y_pred: Any
    raw_scores: Any = None
    classes: Any = None
    sample_weight: Any = None
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    charts: dict[str, Chart] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        truth = as_labels(self.y_true, "y_true")
        predicted = None if self.y_pred is None else as_labels(self.y_pred, "y_pred")
        scores = None if self.raw_scores is None else as_numbers(self.raw_scores, "scores")
        if predicted is None and scores is None:
            raise ValueError("y_pred or scores is needed to evaluate a classification")
        weight = as_weights(self.sample_weight)
        same_length(y_true=truth, y_pred=predicted, scores=scores, sample_weight=weight)

        keep = ~missing(truth)
        if predicted is not None:
            keep &= ~missing(predicted)
        elif scores is not None:
            keep &= have_scores(scores)
        self.rows: Array | None = None  # places in what was passed in, where they differ
        if not keep.all():
            self.notes.append(f"{int((~keep).sum()):,} rows without a label were left out")
            self.rows = np.flatnonzero(keep)
            truth = truth[keep]
            predicted = None if predicted is None else predicted[keep]
            scores = None if scores is None else scores[keep]
            weight = None if weight is None else weight[keep]
            if not len(truth):
                raise ValueError("there is nothing to evaluate: no row has a label")
        weighs_something(weight)
        self.scores: Array | None = scores
        self.weight: Array | None = weight
        self._encode(truth, predicted)

    def _encode(self, truth: Array, predicted: Array | None) -> None:
        given = None if self.classes is None else as_labels(self.classes, "classes").tolist()
        columns = 0 if self.scores is None else 2 if self.scores.ndim == 1 else self.scores.shape[1]
        both = truth if predicted is None else concatenated(truth, predicted)
        present, codes = unique(both)
        names: list[str] | None = None
        if given is not None and not set(present) & set(given) and are_indices(present, len(given)):
            given, names = list(range(len(given))), [str(name) for name in given]
        known = given if given is not None else None
        if known is None and columns > len(present) and are_indices(present, columns):
            known = list(range(columns))
        labels = list(present) if known is None else list(known)
        if known is not None:
            extra = [label for label in present if label not in set(known)]
            if extra:
                self.notes.append(f"labels outside the given classes: {listed(extra)}")
                labels += extra
        place = {label: index for index, label in enumerate(labels)}
        codes = np.array([place[label] for label in present], dtype=np.intp)[codes]
        self.labels: list[Any] = labels
        self.names: list[str] = named(labels if names is None else [*names, *labels[len(names) :]])
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
            cut = 0.5 if are_probabilities(self.scores) else 0.0
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
        """Metrics that follow from labels alone."""
        right = self.true == self.predicted
        self.hits = np.bincount(self.true[right], None if self.weight is None else self.weight[right], self.k)
        self.support, self.guessed = self.total(self.true), self.total(self.predicted)
        self.rates = precision, recall, f1 = rates(self.hits, self.guessed, self.support)
        self.occurs = self.total(self.true, weighted=False) > 0
        self.seen = self.occurs | (self.total(self.predicted, weighted=False) > 0)

        self.metrics["accuracy"] = float(self.hits.sum() / self.support.sum())
        self.metrics["balanced_accuracy"] = float(recall[self.support > 0].mean())
        if self.k == 2:
            of_positive = {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
            self.metrics |= {key: float(value) for key, value in of_positive.items()}
        elif self.k > 2:
            self.metrics["precision_macro"] = float(precision[self.seen].mean())
            self.metrics["f1_macro"] = float(f1[self.seen].mean())

    def tabulate(self) -> None:
        """Tables and the chart of the same, and what is to be said of the labels."""
        if self.k == 2:
            self.notes.append(f"precision, recall and f1 are those of class {self.names[1]}")
        if int(self.occurs.sum()) == 1:
            self.notes.append(f"only one class occurs in y_true: {self.names[int(self.occurs.argmax())]}")
        surprise = np.flatnonzero(self.seen & ~self.occurs)
        if len(surprise):
            names = [self.names[index] for index in surprise]
            self.notes.append(f"predicted but never true: {listed(names)}")

        self.tables["per_class"] = [
            {"class": name, "precision": p, "recall": r, "f1": f, "support": s}
            for name, p, r, f, s in zip(
                self.names,
                *(rate.round(4).tolist() for rate in self.rates),
                self.support.tolist(),
                strict=True,
            )
        ]
        self._confusion(self.support + self.guessed - 2 * self.hits)

    def _confusion(self, errors: Array) -> None:
        most = np.sort(np.argsort(-errors, kind="stable")[:CONFUSED_CLASSES])
        everything = np.arange(self.k)
        in_chart = everything if self.k <= CHART_CLASSES else most
        in_table = everything if self.k <= TABLE_CLASSES else most
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
        scores, true, predicted, weight = self.scores, self.true, self.predicted, self.weight
        places = np.arange(len(true))
        known = have_scores(scores)
        if not known.all():
            lost = len(known) - int(known.sum())
            self.notes.append(f"{lost:,} rows without a score have no part in what scores tell")
            scores, true, predicted, places = scores[known], true[known], predicted[known], places[known]
            weight = None if weight is None else weight[known]
        if not len(true) or (weight is not None and weight.sum() <= 0):
            return
        probabilities = are_probabilities(scores)
        if not probabilities:
            self.notes.append("scores are not probabilities: no log_loss, brier or calibration")
        binary = self.columns == 2
        if binary and scores.ndim == 2:
            scores = scores[:, 1]
        self._curves(scores, [1] if binary else list(range(self.columns)), true, weight)
        if probabilities:
            of_true = _given_to(scores, true)
            confidence = _given_to(scores, predicted)
            likeliest = predicted if self.y_pred is None or scores.ndim == 1 else scores.argmax(axis=1)
            self._probabilities(scores, likeliest, of_true, true, weight)
            self._confidence(confidence, true == predicted, weight)
            self._show_extremes(of_true, confidence, weight, places)
        elif binary:
            self._by_class(scores, true, weight)

    def _curves(self, scores: Array, positives: list[int], true: Array, weight: Array | None) -> None:
        table = scores[None, :] if scores.ndim == 1 else np.ascontiguousarray(scores.T)
        occurring = self.total(self.true, weighted=False)[positives]
        shown = most_frequent(occurring.tolist(), SHOWN)
        if len(shown) < len(positives):
            self.notes.append(f"curves show the {SHOWN} most frequent classes")
        curves = Curves()
        for row, positive in enumerate(positives):
            curves.add(self.names[positive], table[row], true == positive, weight, row in shown)
        absent = [self.names[p] for p, area in zip(positives, curves.roc_auc, strict=True) if area is None]
        roc_auc, average_precision = "roc_auc", "average_precision"
        if len(positives) > 1:
            roc_auc, average_precision = "roc_auc_ovr", "average_precision_macro"
        if absent:
            self.notes.append(
                f"{roc_auc} and {average_precision} were left out: y_true holds only one side of"
                f" {listed(absent)}"
            )
        else:
            self.metrics[roc_auc] = float(np.mean(curves.roc_auc))  # type: ignore[arg-type]
            self.metrics[average_precision] = float(np.mean(curves.average_precision))  # type: ignore[arg-type]
        self.charts |= curves.charts()

    def _probabilities(
        self, scores: Array, likeliest: Array, of_true: Array, true: Array, weight: Array | None
    ) -> None:
        if (true >= self.columns).any():
            self.notes.append("log_loss and brier were left out: some labels have no score")
            return
        smallest = np.finfo(scores.dtype).eps
        if scores.ndim == 1:
            squared = (1 - of_true) ** 2
            said, event = scores, (true == 1).astype(float)
            axes = ("Predicted probability", f"Share of class {self.names[1]}")
        else:
            squared = (scores**2).sum(axis=1) - 2 * of_true + 1
            said, event = _given_to(scores, likeliest), (likeliest == true).astype(float)
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
                "series": [series("", x, y)],
                "x_label": axes[0],
                "y_label": axes[1],
                "x_range": [0, 1],
                "y_range": [0, 1],
                "diagonal": True,
                "markers": True,
            },
        )

    def _confidence(self, confidence: Array, right: Array, weight: Array | None) -> None:
        # The same bins whatever the model, so that models can be compared; half of them where the
        # more likely of two classes is the predicted one.
        start = 0.5 if self.columns == 2 and confidence.min() >= 0.5 else 0.0
        self._histogram(
            "Confidence of the predicted class",
            {"right": right, "wrong": ~right},
            confidence,
            weight,
            "Probability given to the predicted class",
            np.linspace(start, 1, round(40 * (1 - start)) + 1),
        )

    def _by_class(self, scores: Array, true: Array, weight: Array | None) -> None:
        sides = {self.names[code]: true == code for code in range(self.k)}
        self._histogram(
            "Scores by true class", sides, scores, weight, f"Score for class {self.names[1]}", None
        )

    def _histogram(
        self,
        title: str,
        sides: dict[str, Array],
        values: Array,
        weight: Array | None,
        x_label: str,
        edges: Array | None,
    ) -> None:
        sides = {f"{name} ({int(side.sum()):,})": side for name, side in sides.items() if side.any()}
        chart = histogram(
            title,
            {name: values[side] for name, side in sides.items()},
            x_label,
            weights=None if weight is None else {name: weight[side] for name, side in sides.items()},
            edges=edges,
            shares=True,  # the wrong ones are few, and so is the class that one looks for
        )
        if chart is not None:
            self.charts["distribution"] = chart

    def _show_extremes(self, of_true: Array, confidence: Array, weight: Array | None, places: Array) -> None:
        for kind, found in zip(("worst", "best"), extremes(of_true, weight), strict=True):
            for place in found:
                self._show(
                    kind,
                    int(places[place]),
                    probability_of_true=round(float(of_true[place]), 6),
                    confidence=round(float(confidence[place]), 6),
                )

    def show_confused(self) -> None:
        """Rows that were predicted wrong, where no probability tells how wrong."""
        for place in confused(self.true, self.predicted, self.weight):
            self._show("worst", place)

    def _show(self, kind: str, place: int, **more: float) -> None:
        row = place if self.rows is None else int(self.rows[place])
        true, predicted = self.names[self.true[place]], self.names[self.predicted[place]]
        line = {"kind": kind, "row": row, "true": true, "predicted": predicted, **more}
        self.tables.setdefault("best_and_worst", []).append(line)
        self.samples.append(row)

    def result(self) -> Evaluation:
        return Evaluation(
            "classification",
            len(self.true),
            self.metrics,
            self.tables,
            self.charts,
            tuple(self.notes),
            self.samples,
        )


def _given_to(scores: Array, classes: Array) -> Array:
    """The probability that was given to each row's class, shape (n,); zero for a class without scores."""
    if scores.ndim == 1:
        return np.where(classes == 1, scores, np.where(classes == 0, 1 - scores, 0))
    last, rows = scores.shape[1] - 1, np.arange(len(scores))
    if classes.max() <= last:
        return scores[rows, classes]
    return np.where(classes <= last, scores[rows, np.minimum(classes, last)], 0)
