"""What an output of a model is (classes, labels or numbers), and its evaluation as such.

The model's loss and metrics say it: of ``"accuracy"`` the one that Keras has made of it. Where neither does
(a loss of the user's own), targets and predictions may: one-hot rows beside probabilities. Everything else is
numbers. What a loss does not count is not counted: masked places, rows without a weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from autolog.capture import evaluation
from autolog.capture.evaluation import Evaluation
from autolog.keras.described import name_of

__all__ = ["LeftOut", "Task", "metrics_of"]

MOST_NUMBERS = 1_000  # of one row
SMALLEST_MASK = 8  # pixels of a side
CLOSE = 1e-3  # how far apart the same accuracy is, computed in batches or in another precision
ROUNDED = 0.05  # how far half precision takes the sum of a row of probabilities from 1

_OF_CLASSES = ("crossentropy", "hinge", "focal", "dice", "tversky")  # in the names of losses


class LeftOut(Exception):  # noqa: N818 - nobody has failed
    """Nothing is evaluated, for this reason."""


def metrics_of(model: Any, output: str, index: int) -> list[Any]:
    """The metrics of an output as Keras has resolved them, but for those that are weighted."""
    compiled = getattr(model, "_compile_metrics", None)
    if compiled is None or not compiled.built:
        return []
    names = getattr(model, "output_names", None) or []
    groups = compiled._flat_metrics
    place = names.index(output) if output in names else index
    group = groups[place] if place < len(groups) else None
    return list(group.metrics) if group is not None else []


@dataclass
class _Rows:
    """Targets, shape (n,) or (n, k), and predictions, shape (n, k), of what counts."""

    truth: Any
    predicted: Any
    kept: Any  # their places among all; None: all are there
    are_places: bool  # of a sequence or a picture, instead of whole rows

    def only(self, keep: Any) -> _Rows:
        if keep.all():
            return self
        places = np.flatnonzero(keep)
        kept = places if self.kept is None else self.kept[places]
        return _Rows(self.truth[places], self.predicted[places], kept, self.are_places)


class Task:
    """One output of a model.

    Args:
        loss: as the model was compiled with it; None: it has none for this output.
        metrics: as Keras has resolved them.
        place: the key of the data.
        told: what Keras has told of it, by key.
    """

    def __init__(self, loss: Any, metrics: list[Any], place: str, told: Mapping[str, float]):
        self._loss = loss
        self._kind = str(name_of(loss)).lower().replace("_", "")
        self._metrics = metrics
        self._place = place
        self._told = told
        self._notes: list[str] = []
        one_of = (keras.metrics.CategoricalAccuracy, keras.metrics.SparseCategoricalAccuracy)
        self._is_one_of = any(isinstance(metric, one_of) for metric in metrics)
        of_classes = any(isinstance(metric, keras.metrics.BinaryAccuracy) for metric in metrics)
        self._is_said = self._is_one_of or of_classes or any(word in self._kind for word in _OF_CLASSES)

    def evaluate(
        self, truth: Any, predicted: Any, counts: Any, classes: Any, inputs: Any = None
    ) -> Evaluation:
        """The evaluation of all rows, or of all places in them, that count.

        Args:
            truth: targets of the whole output, as the model was given them.
            predicted: its predictions.
            counts: which of its rows or places count; None: all.
            classes: names of the classes, where the data knows them.
            inputs: pictures that it was predicted from, if they are some: shown beside predicted ones.

        Raises:
            LeftOut: it is not evaluated.
            ValueError: it cannot be.
        """
        if predicted.dtype not in (np.float32, np.float64):  # half precision, two kinds of it
            predicted = predicted.astype("float32")
        if len(truth) != len(predicted):
            raise ValueError(
                f"{len(predicted):,} predictions and {len(truth):,} targets; expected the same number"
            )
        if predicted.ndim < 2:
            predicted = predicted.reshape(-1, 1)
        self._compare(truth, predicted, counts)
        rows = _rows(truth, predicted, counts)
        ignored = getattr(self._loss, "ignore_class", None)
        if rows is not None and ignored is not None and rows.truth.ndim == 1:
            rows = rows.only(rows.truth != ignored)
        if rows is not None and not len(rows.truth):
            raise LeftOut("all of it is masked, or weighs nothing")
        kind = "numbers" if rows is None else self._kind_of(rows.truth, rows.predicted)
        if rows is None or kind == "numbers":
            result = self._numbers(truth, predicted, counts, inputs)
        elif kind in ("sparse", "one-hot", "binary") and _are_masks(predicted):
            result = self._masks(kind, truth, predicted, counts, classes, inputs)
        else:
            if kind != "sparse" and rows.truth.ndim == 2 and rows.predicted.shape[1] > 1 and kind != "labels":
                rows = rows.only(self._have_a_class(rows.truth))
            result = self._classes(kind, rows, classes)
        ours, theirs = result.metrics.get("accuracy"), self._told.get(f"{self._place}/accuracy")
        if ours is not None and theirs is not None and abs(ours - theirs) > CLOSE:
            self._notes.append(
                f"accuracy is Keras' own ({theirs:.4g}); that of the classes and places shown is {ours:.4g}"
            )
        return replace(result, notes=(*result.notes, *self._notes))

    def _compare(self, truth: Any, predicted: Any, counts: Any) -> None:
        """Whether these are the predictions whose accuracy Keras has told: if not, they are not shown."""
        for metric in self._metrics:
            told = self._told.get(f"{self._place}/{metric.name}")
            right = _right(metric, truth, predicted)
            if told is None or right is None or not right.size:
                continue
            # Whether a metric without weights counts what is masked differs by version.
            found = [float(right.mean())]
            if counts is not None and counts.any():
                found.append(float(right[_places(counts, right.shape)].mean()))
            if min(abs(one - told) for one in found) > max(CLOSE, 1.5 / len(truth)):
                raise LeftOut(
                    f"{metric.name} of these predictions is {found[0]:.4g}, and Keras has told {told:.4g}"
                )

    # What it is -------------------------------------------------------------------------------------

    def _kind_of(self, truth: Any, predicted: Any) -> str:
        """``sparse``, ``one-hot``, ``binary`` (one column), ``margins``, ``labels`` or ``numbers``."""
        if truth.ndim == 1 and predicted.shape[1] > 1:
            if not (self._is_said or _are_shares(predicted)):
                raise LeftOut(f"nothing says what {predicted.shape[1]} predictions for one target are")
            if not _are_whole(truth):
                raise LeftOut("its targets are no numbers of classes")
            return "sparse"
        if "hinge" in self._kind and predicted.shape[1] == 1:
            return "margins"
        if predicted.shape[1] == 1:
            return self._kind_of_column(truth, predicted)
        return self._kind_of_columns(truth, predicted)

    def _kind_of_column(self, truth: Any, predicted: Any) -> str:
        if not self._is_said:
            both = _are_hard(truth) and truth.min() != truth.max()
            return "binary" if both and predicted.min() >= 0 and predicted.max() <= 1 else "numbers"
        return "binary" if self._are_labels(truth) else "numbers"

    def _kind_of_columns(self, truth: Any, predicted: Any) -> str:
        is_one_hot = _are_hard(truth) and bool((truth.sum(axis=1) <= 1).all()) and truth.any()
        if not self._is_said:
            shares = _are_shares(predicted) and _are_shares(truth)
            return "one-hot" if shares and (is_one_hot or self._are_smoothed(truth)) else "numbers"
        if is_one_hot and (self._is_one_of or _are_shares(predicted)):
            return "one-hot"
        if "categorical" not in self._kind and self._are_labels(truth):
            return "labels"
        if is_one_hot or self._are_smoothed(truth):
            return "one-hot"
        if _are_hard(truth):
            raise LeftOut("a row of its targets has several classes")
        return "numbers"

    def _are_labels(self, truth: Any) -> bool:
        """Whether targets are 0 or 1; two values around 0.5 are these, softened."""
        if _are_hard(truth):
            return True
        values = np.unique(truth)
        if len(values) == 2 and 0 <= values[0] < 0.5 < values[1] <= 1:
            self._notes.append(f"soft targets ({values[0]:.4g} and {values[1]:.4g}) count as 0 and 1")
            return True
        self._notes.append("evaluated as numbers: its targets are no labels, but amounts")
        return False

    def _are_smoothed(self, truth: Any) -> bool:
        """Whether each row of targets says one class nearly for sure."""
        if _are_shares(truth) and bool((truth.max(axis=1) > 0.5).all()):
            self._notes.append("soft targets count as the class of the largest one")
            return True
        if self._is_said:
            self._notes.append("evaluated as numbers: its targets are no classes, but shares of them")
        return False

    def _have_a_class(self, truth: Any) -> Any:
        has = truth.any(axis=1)
        if not has.all():
            self._notes.append(f"{int((~has).sum()):,} rows without a class were left out")
        return has

    # Its evaluation ---------------------------------------------------------------------------------

    def _classes(self, kind: str, rows: _Rows, classes: Any) -> Evaluation:
        truth, predicted = rows.truth, rows.predicted
        if rows.are_places:  # every step of a sequence, every pixel of a mask, as a row of its own
            truth, predicted, notes = evaluation.thinned(truth, predicted)
            self._notes += notes
        if kind == "margins":
            result = evaluation.classification(
                truth.reshape(-1) > (truth.min() >= 0) / 2, predicted[:, 0] > 0
            )
        else:
            scores = self._probabilities(predicted, kind in ("binary", "labels"))
            if kind == "binary":
                labels = (truth.reshape(-1) > 0.5).astype(int)
                result = evaluation.classification(labels, scores=scores[:, 0], classes=[0, 1])
            elif kind == "labels":
                labels = (truth > 0.5).astype(int)
                result = evaluation.multilabel(labels, (scores > 0.5).astype(int), scores=scores)
            else:
                places = truth.argmax(axis=1) if kind == "one-hot" else truth.astype(int)
                result = _of_classes(places, scores, classes)
        if rows.are_places:
            return replace(result, samples=[])
        return result if rows.kept is None else _among_all(result, rows.kept)

    def _probabilities(self, predicted: Any, are_independent: bool) -> Any:
        """Logits become probabilities. Where the loss does not say which they are, their range does."""
        logits = None
        if isinstance(self._loss, keras.losses.Loss):
            logits = self._loss.get_config().get("from_logits")
        return evaluation.probabilities(predicted, are_logits=logits, are_independent=are_independent)

    def _masks(
        self, kind: str, truth: Any, predicted: Any, counts: Any, classes: Any, inputs: Any
    ) -> Evaluation:
        """A class for each pixel."""
        shape = predicted.shape[:-1]
        counted = np.ones(shape, bool) if counts is None else _places(counts, shape).astype(bool)
        if kind == "one-hot":
            counted, true = counted & truth.any(axis=-1), truth.argmax(axis=-1)
        else:
            true = (truth > 0.5 if kind == "binary" else truth).reshape(shape).astype(int)
        if kind == "binary":
            guesses = (self._probabilities(predicted, True)[..., 0] > 0.5).astype(int)
        else:
            guesses = predicted.argmax(axis=-1)
        void = getattr(self._loss, "ignore_class", None)
        void = -1 if void is None else int(void)
        true = np.where(counted, true, void)
        names = _names(classes, 2 if kind == "binary" else predicted.shape[-1])
        ignored = [void] if (true == void).any() else []
        return evaluation.segmentation(true, guesses, classes=names, ignored=ignored, inputs=inputs)

    def _numbers(self, truth: Any, predicted: Any, counts: Any, inputs: Any) -> Evaluation:
        is_by_row = counts is None or counts.ndim == 1
        if evaluation.are_many(truth) and truth.size == predicted.size and is_by_row:
            if "crossentropy" in self._kind:  # levels of grey, say
                predicted = self._probabilities(predicted, True)
            if counts is not None:
                truth, predicted = truth[counts], predicted[counts]
                inputs = None if inputs is None else inputs[counts]
            if not len(truth):
                raise LeftOut("all of it is masked, or weighs nothing")
            return evaluation.reconstruction(truth, predicted, inputs)
        if (numbers := predicted[0].size) > MOST_NUMBERS:
            raise LeftOut(f"of numbers, {MOST_NUMBERS:,} per row at most; it has {numbers:,}")
        kept = None
        if counts is not None and counts.ndim > 1:
            counts = _places(counts, predicted.shape[:-1]).reshape(-1)
            truth, predicted = (part.reshape(len(counts), -1)[counts] for part in (truth, predicted))
        elif counts is not None:
            truth, predicted, kept = truth[counts], predicted[counts], np.flatnonzero(counts)
        rows = len(truth)
        if not rows:
            raise LeftOut("all of it is masked, or weighs nothing")
        result = evaluation.evaluate(truth.reshape(rows, -1), predicted.reshape(rows, -1), task="regression")
        return result if kept is None else _among_all(result, kept)


def _rows(truth: Any, predicted: Any, counts: Any) -> _Rows | None:
    """Each row, or each place of a sequence or picture; None: targets and predictions do not match so."""
    last = predicted.shape[-1]
    places = predicted.reshape(-1, last)
    if truth.shape == predicted.shape and last > 1:
        targets = truth.reshape(-1, last)
    elif truth.size == len(places):
        targets = truth.reshape(-1)
    else:
        return None
    rows = _Rows(targets, places, None, predicted.ndim > 2)
    return rows if counts is None else rows.only(_places(counts, predicted.shape[:-1]).reshape(-1))


def _places(counts: Any, shape: tuple[int, ...]) -> Any:
    """Which of these places count, where that is known of whole rows, or steps."""
    return np.broadcast_to(counts.reshape(counts.shape + (1,) * (len(shape) - counts.ndim)), shape)


def _are_masks(predicted: Any) -> bool:
    return bool(predicted.ndim == 4 and min(predicted.shape[1:3]) >= SMALLEST_MASK)


def _names(classes: Any, count: int) -> list[Any]:
    """Those of the classes, if there is one for each; else their numbers."""
    are_names = isinstance(classes, (list, tuple)) and len(set(classes)) == count
    return [str(label) for label in classes] if are_names else list(range(count))


def _of_classes(places: Any, scores: Any, classes: Any) -> Evaluation:
    names = _names(classes, scores.shape[1])
    places = np.asarray(names)[places]
    return evaluation.classification(places, scores=scores, classes=names)


def _among_all(result: Evaluation, kept: Any) -> Evaluation:
    """Rows of the tables by their places among all, not among those that count."""
    tables = {
        key: [{**row, "row": int(kept[row["row"]])} if "row" in row else row for row in rows]
        for key, rows in result.tables.items()
    }
    return replace(result, tables=tables, samples=[int(kept[row]) for row in result.samples])


def _right(metric: Any, truth: Any, predicted: Any) -> Any:
    """Of one of Keras' accuracies: which rows or places it counts as right."""
    if isinstance(metric, keras.metrics.BinaryAccuracy) and truth.size == predicted.size:
        threshold = metric.get_config().get("threshold", 0.5)
        right = (predicted > threshold) == truth.reshape(predicted.shape)
        return right.mean(axis=-1)
    if isinstance(metric, keras.metrics.SparseCategoricalAccuracy):
        chosen = predicted.argmax(axis=-1)
        return chosen == truth.reshape(chosen.shape) if truth.size == chosen.size else None
    if isinstance(metric, keras.metrics.CategoricalAccuracy) and truth.shape == predicted.shape:
        return truth.argmax(axis=-1) == predicted.argmax(axis=-1)
    return None


def _are_hard(values: Any) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _are_whole(values: Any) -> bool:
    return values.dtype.kind in "iub" or bool((values == np.floor(values)).all())


def _are_shares(values: Any) -> bool:
    """Whether the numbers of each row are probabilities of which one is true."""
    return bool(values.min() >= 0) and bool((abs(values.sum(axis=1) - 1) < ROUNDED).all())
