"""Evaluation of what a torch model has predicted, kept batch by batch on its device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from autolog.capture import evaluation
from autolog.capture.evaluation import Evaluation
from autolog.core.evaluations import name_of, say_main
from autolog.core.recording import Recording
from autolog.core.results import not_told
from autolog.core.results import record_evaluation as record_evaluation_of
from autolog.torch.heard import HeardCall, Kind
from autolog.torch.reduced import MOST_COUNTED, Counts, Errors, Labels, as_array, classes_second

__all__ = [
    "Kept",
    "Known",
    "decided",
    "evaluate_given",
    "evaluated",
    "metrics_of",
    "record_evaluation",
    "why_left_out",
]

MOST_VALUES = 8_000_000  # numbers of targets and predictions that are kept, 32 MB
SMALLEST_MASK = 8  # pixels of a side
MOST_INPUTS = 8_000_000  # and of inputs
IGNORED = -100  # a target that torch's losses take for none


@dataclass(frozen=True)
class Known:
    """What is known of targets and predictions, beside their values.

    Attributes:
        kind: see :class:`autolog.torch.heard.HeardCall`; None: as they look.
        is_probabilities: whether scores are probabilities; None: as they look.
        ignored: the target that counts for none.
    """

    kind: Kind | None = None
    is_probabilities: bool | None = None
    ignored: int | None = IGNORED


def why_left_out(call: HeardCall) -> str | None:
    """Why nothing is made of what a loss or a metric was called with; None: it is evaluated."""
    if call.weights is not None:
        return "its numbers have weights"
    if not call.truth.ndim or (
        call.kind == "classes" and call.scores.ndim < 2 and call.scores.is_floating_point()
    ):
        return "it is of single samples"
    return None


class Kept:
    """Targets, predictions and inputs of an evaluation.

    Args:
        known: what is known of them.

    Attributes:
        too_large: whether they were too many to be kept.
        counts: of classes that were too many to be kept.
        labels: of masks of several labels that were too many to be kept.
        errors: of rows of many amounts that were too many to be kept.
    """

    def __init__(self, known: Known | None = None) -> None:
        self.known = known or Known()
        self._truth: list[torch.Tensor] = []
        self._predicted: list[torch.Tensor] = []
        self._inputs: list[Any] | None = []
        self._values = self._input_values = 0
        self.too_large = False
        self._counts: Counts | None = None
        self.labels: Labels | None = None
        self.errors: Errors | None = None
        self._are_logits = False
        self._is_of_labels = False
        self.is_uneven = False

    @property
    def counts(self) -> Any:
        """How often which class was taken for which, (classes, classes), the true ones by row; or None."""
        if self.labels is not None and self.labels.counts is not None:
            return self.labels.counts.sum(0)  # of all labels together
        return None if self._counts is None else self._counts.counts

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be said of them: they were too many."""
        has_errors = self.errors is not None and not self.errors.is_lost
        return self.too_large and self.counts is None and not has_errors

    def add(
        self, truth: torch.Tensor, predicted: torch.Tensor, inputs: Any = None, *, copied: bool = False
    ) -> None:
        """One batch.

        Args:
            copied: whether copies are kept: a step may yet change what it has.
        """
        if self.too_large:
            self._reduce(truth, predicted, inputs)
            return
        self._values += truth.numel() + predicted.numel()
        if self._values > MOST_VALUES:
            self._begin_to_reduce(truth, predicted)
            self._reduce(truth, predicted, inputs)
            return
        self._truth.append(truth.detach().clone() if copied else truth)
        self._predicted.append(predicted.detach().clone() if copied else predicted)
        if isinstance(inputs, torch.Tensor):
            self._input_values += inputs.numel()
        is_short = isinstance(inputs, torch.Tensor) and self._input_values <= MOST_INPUTS
        is_text = isinstance(inputs, (list, tuple)) and all(isinstance(text, str) for text in inputs)
        if self._inputs is not None and (is_short or is_text):
            self._inputs.append(inputs.detach() if isinstance(inputs, torch.Tensor) else list(inputs))
        else:
            self._inputs = None

    def reduce_uneven(self) -> None:
        """Sum up masks and pictures that have another size in each batch: they go into no array."""
        shapes = {part.shape[1:] for part in self._truth}
        if len(shapes) > 1 and min(map(len, shapes)) > 1 and self._predicted[0].is_floating_point():
            self.is_uneven = True
            self._begin_to_reduce(self._truth[0], self._predicted[0])

    def _begin_to_reduce(self, truth: torch.Tensor, predicted: torch.Tensor) -> None:
        scores = classes_second(truth, predicted)
        classes = scores.shape[1] if scores.ndim > 1 else 0
        ignored = self.known.ignored
        inputs = self._inputs or [None] * len(self._truth)
        before = list(zip(self._truth, self._predicted, inputs, strict=True))
        is_one_each = truth.numel() == predicted.numel()
        if is_one_each and self.known.kind != "classes" and self._are_labels(truth):
            if _are_whole(truth, ignored) and predicted.is_floating_point():
                masks = _one_mask(truth)
                if _are_masks(masks):
                    self._counts = Counts(2, ignored) if masks is not truth or masks.ndim == 3 else None
                    self.labels = Labels(ignored) if self._counts is None else None
            elif evaluation.are_many(truth) and predicted.is_floating_point():
                self.errors = Errors()
            parts = [*self._predicted, predicted]
            looks = any(bool((part < 0).any() or (part > 1).any()) for part in parts)
            self._are_logits = (
                looks if self.known.is_probabilities is None else not self.known.is_probabilities
            )
        elif is_one_each and self.known.kind != "classes" and truth.is_floating_point():
            self.errors = Errors() if evaluation.are_many(truth) else None
        elif 1 < classes <= MOST_COUNTED and (is_one_each or not truth.is_floating_point()):
            self._counts = Counts(classes, ignored)
        self._truth, self._predicted, self._inputs, self.too_large = [], [], None, True
        self._is_of_labels = is_one_each and self.known.kind != "classes" and self._are_labels(truth)
        for batch in before:
            self._reduce(*batch)

    def _are_labels(self, truth: torch.Tensor) -> bool:
        is_unknown = self.known.kind is None and truth.is_floating_point()
        return self.known.kind == "labels" or (is_unknown and _are_whole(truth, None))

    def _reduce(self, truth: torch.Tensor, predicted: torch.Tensor, inputs: Any) -> None:
        into = self._counts or self.labels or self.errors
        if into is None:
            return
        if not self._is_of_labels:
            if truth.is_floating_point() and isinstance(into, Counts):
                if truth.shape != predicted.shape or not _are_choices(truth):
                    into.counts = None  # shares of classes
                    return
                truth = truth.argmax(1)
            if not isinstance(into, Labels):
                into.add(truth, predicted, inputs)
            return
        if truth.numel() != predicted.numel() or (
            not isinstance(into, Errors) and not _are_whole(truth, self.known.ignored)
        ):
            self._counts = self.labels = self.errors = None
            return
        likely = predicted.float().sigmoid() if self._are_logits else predicted.float()
        likely = likely.reshape(truth.shape)
        if isinstance(into, Errors):
            into.add(truth, likely, inputs)
        elif isinstance(into, Counts):
            into.count(_one_mask(truth), (_one_mask(likely) > 0.5).long(), inputs)
        else:
            into.count(truth, likely > 0.5, inputs)

    def arrays(self) -> tuple[Any, Any]:
        """Targets and predictions as NumPy arrays.

        Raises:
            ValueError: batches of different shapes.
        """
        truth, predicted = self._truth, self._predicted
        if self.known.kind == "classes" and len({part.shape[1:] for part in truth}) > 1:  # of sequences
            rows = [_rows(*batch) for batch in zip(truth, predicted, strict=True)]
            truth, predicted = [row[0] for row in rows], [row[1] for row in rows]
        return _joined(truth), _joined(predicted)

    def batches(self) -> list[tuple[Any, Any]]:
        """Targets and predictions of each batch as NumPy arrays."""
        return [(_joined([a]), _joined([b])) for a, b in zip(self._truth, self._predicted, strict=True)]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added."""
        return not self._truth and not self.too_large

    @property
    def has_scores(self) -> bool:
        """Whether predictions are scores, and not the classes themselves."""
        return bool(self._predicted) and self._predicted[0].is_floating_point()

    def inputs(self) -> Any:
        """All of the inputs as an array; None: they are not kept, or no tensors of one shape."""
        parts = self._inputs or [None]
        if any(not isinstance(part, torch.Tensor) or part.shape[1:] != parts[0].shape[1:] for part in parts):
            return None
        return as_array(torch.cat(parts))

    def chosen(self, samples: list[int], of: int) -> list[Any] | None:
        """The inputs of these of so many rows, texts or tensors; None: they are not of one row each."""
        if not self._inputs or not samples or sum(len(batch) for batch in self._inputs) != of:
            return None
        if isinstance(self._inputs[0], list):
            texts = [text for batch in self._inputs for text in batch]
            return [texts[sample] for sample in samples]
        edges = np.cumsum([0, *(len(batch) for batch in self._inputs)])
        rows = []
        for sample in samples:
            batch = int(np.searchsorted(edges, sample, side="right")) - 1
            rows.append(self._inputs[batch][sample - int(edges[batch])])
        return rows


def record_evaluation(
    run: Recording,
    name: str,
    kept: Kept,
    told: Mapping[str, float],
    *,
    classes: list[str] | None = None,
    shown: Callable[[list[Any]], Any] = list,
    step: int | None = None,
) -> None:
    """Metrics, tables and pictures of predictions.

    Args:
        name: of the data, ``val`` or ``test``.
        kept: the predictions.
        told: metrics that the training has told itself, by their keys: they are not said again.
        classes: names of the classes, where they are known.
        shown: makes of chosen inputs what a person can read.
        step: the step of the weights that predicted; None: the run's last.
    """
    if not kept.too_large:
        kept.reduce_uneven()
    if kept.is_lost:
        why = "its batches have different shapes" if kept.is_uneven else "the data is too large to be kept"
        run.note(f"{name}/confusion_matrix", f"left out: {why}")
        return
    truth: Any = None
    try:
        if kept.too_large:
            result = _reduced(kept, classes)
        else:
            truth, predicted = kept.arrays()
            result = evaluated(truth, predicted, classes, kept.known, kept.inputs())
    except ValueError as error:
        run.note_lost(name, f"not evaluated: {error}")
        return
    if result.samples and truth is not None and result.rows == len(truth) and run.keeps("predictions"):
        chosen = kept.chosen(result.samples, result.rows)
        if chosen is not None:
            result = evaluation.with_inputs(result, _readable(shown(chosen)))
    record_evaluation_of(run, name, replace(result, metrics=not_told(result.metrics, name, told)), step=step)


def evaluate_given(
    run: Recording, y_true: Any, scores: Any, name: str | None, classes: list[str] | None, *, step: int
) -> Mapping[str, float]:
    """Evaluate what the user gives, see :meth:`autolog.torch.Watch.evaluate`.

    Raises:
        TypeError: neither tensors nor arrays; not a name.
        ValueError: they do not go together; not a name.
    """
    named = name_of(name)
    truth, predicted = _given("y_true", y_true), _given("scores", scores)
    if len(truth) != len(predicted):
        raise ValueError(
            f"evaluate: y_true has {len(truth):,} rows and scores has {len(predicted):,}; "
            "expected the same number."
        )
    if not truth.size:
        raise ValueError("evaluate: y_true is empty; expected at least one row.")
    if (
        predicted.dtype.kind == "f" and not np.isfinite(predicted).any()
    ):  # a training that has diverged goes on
        run.note_lost(named.text, f"not evaluated at step {step}: no score is finite")
        return {}
    try:
        result = evaluated(truth, predicted, classes)
    except ValueError as error:
        shapes = f"y_true of shape {truth.shape} and scores of shape {predicted.shape}"
        raise ValueError(f"evaluate: {shapes} do not go together: {error}.") from None
    record_evaluation_of(run, named.text, result, step=step)
    say_main(run, named)
    return result.metrics


def _given(what: str, values: Any) -> Any:
    """Tensors, arrays, or a list of those of batches, as one array."""
    if isinstance(values, (list, tuple)) and values and hasattr(values[0], "shape") and values[0].ndim:
        parts = [_given(what, part) for part in values]
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                f"evaluate: the batches of {what} have different shapes: {parts[0].shape}, ...; expected the "
                "same in all, but for the first number."
            )
        return np.concatenate(parts)
    if isinstance(values, torch.Tensor):
        if values.is_meta:
            raise TypeError(f"evaluate: {what} is on the meta device; expected a tensor that has values.")
        values = values.to_dense() if values.layout != torch.strided else values
    array = as_array(values) if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise TypeError(
            f"evaluate: {what} is {type(values).__name__}; expected a tensor, an array, or a list of them."
        )
    return array


def _readable(rows: Any) -> Any:
    """Tensors of one shape as one array."""
    if all(isinstance(row, torch.Tensor) for row in rows):
        return as_array(torch.stack(rows)) if len({row.shape for row in rows}) == 1 else []
    return rows


def evaluated(
    truth: Any,
    predicted: Any,
    classes: list[str] | None = None,
    known: Known | None = None,
    inputs: Any = None,
) -> Evaluation:
    """Classification or regression, as it is known, or as targets and predictions look; of pictures as such.

    Args:
        truth: whole numbers are classes, in shape (n,), or (n, k) of 0 and 1 for labels; floats are amounts,
            except 0.0 and 1.0 beside one score for each.
        predicted: shape (n, classes), (n,) or (n, 1); of classes probabilities or logits, or their numbers.
        classes: their names, where they are known.
        known: what is known of them.
        inputs: what was predicted from, shape (n, ...), if that is kept: it is shown beside pictures.

    Raises:
        ValueError: the shapes do not go together, or targets are shares of classes or labels.
    """
    if not truth.size:
        raise ValueError("there is nothing to evaluate: no target is left")
    known = known or Known()
    kind = known.kind or _kind(truth, predicted)
    if kind != "classes":
        return _one_number_each(truth, predicted, kind, known, inputs, classes)
    if predicted.dtype.kind in "iub":
        if _are_masks(truth) and truth.shape == predicted.shape:
            return _masks(*_numbered(truth, predicted, known), known, inputs)
        if known.kind is not None or truth.ndim > 2:
            shape = truth.shape
            truth, predicted, notes = _counted(truth.reshape(-1), predicted.reshape(-1), known.ignored)
            return _without_rows(_noted(evaluation.classification(truth, predicted), notes), shape)
        return evaluation.classification(truth, predicted)
    if truth.shape == predicted.shape:
        truth = _class_of(truth)
    elif truth.ndim == predicted.ndim:
        truth = _one_mask(truth)
    predicted = classes_second(truth, predicted)
    if (
        truth.dtype.kind not in "iub"
        or predicted.ndim < 2
        or truth.size * predicted.shape[1] != predicted.size
    ):
        raise ValueError(f"the predictions have shape {predicted.shape} and the targets {truth.shape}")
    if _are_masks(truth):
        return _masks(truth, predicted.argmax(1), predicted.shape[1], known, inputs, classes)
    notes, shape = (), truth.shape
    if predicted.ndim > 2:
        predicted = np.moveaxis(predicted, 1, -1).reshape(-1, predicted.shape[1])
        truth, predicted, notes = evaluation.thinned(truth.reshape(-1), predicted)
    truth, predicted, more = _counted(truth.reshape(-1), predicted, known.ignored)
    if truth.min() < 0 or truth.max() >= predicted.shape[1]:
        raise ValueError(
            f"the targets go from {truth.min()} to {truth.max()}, and the scores are of the classes 0 to "
            f"{predicted.shape[1] - 1}"
        )
    names = _names(classes, predicted.shape[1])
    truth = np.asarray(names)[truth]
    scores = evaluation.probabilities(predicted, are_logits=_are_logits(known))
    result = evaluation.classification(truth, scores=scores, classes=names)
    return _without_rows(_noted(result, (*notes, *more)), shape)


def metrics_of(kept: Kept, classes: list[str] | None = None) -> Mapping[str, float]:
    """The metrics of :func:`evaluated` that need no order of the scores: for one evaluation of many.

    Args:
        classes: their names, where they are known.

    Returns:
        Empty, if they are too many to be kept and were not counted, or do not go together.
    """
    try:
        if not kept.too_large:
            kept.reduce_uneven()
        if kept.is_lost:
            return {}
        if kept.too_large:
            return _reduced(kept, classes).metrics
        truth, predicted = kept.arrays()
        known = kept.known
        kind = known.kind or _kind(truth, predicted)
        if kind == "amounts" or _are_masks(_one_mask(truth)):
            return evaluated(truth, predicted, classes, known).metrics
        if np.isnan(predicted).any():  # a training that has diverged
            return {}
        true, guesses = decided(truth, predicted, known)
        true, guesses = true.astype(int), guesses.astype(int)
        if kind == "labels" and true.shape[1] > 1:
            return evaluation.multilabel(true, guesses).metrics
        if predicted.dtype.kind in "iub":
            return evaluation.classification(true.reshape(-1), guesses.reshape(-1)).metrics
        count = 2 if kind == "labels" else classes_second(truth, predicted).shape[1]
        if count > MOST_COUNTED:
            return {}
        counted = Counts(count, known.ignored)
        counted.count(torch.as_tensor(true), torch.as_tensor(guesses), None)
        return {} if counted.counts is None else of_counts(as_array(counted.counts), classes).metrics
    except ValueError:
        return {}


def decided(truth: Any, predicted: Any, known: Known) -> tuple[Any, Any]:
    """The true and the predicted class of each row that counts, or of each label, as :func:`evaluated`.

    Raises:
        ValueError: they are amounts, or do not go together.
    """
    kind = known.kind or _kind(truth, predicted)
    is_decided = predicted.dtype.kind in "iub"
    if kind == "amounts":
        raise ValueError("amounts")
    if kind == "labels":
        guesses = predicted if is_decided else _likely(predicted, known) > 0.5
        if guesses.size != truth.size:
            raise ValueError(f"the predictions have shape {predicted.shape} and the targets {truth.shape}")
        truth, guesses = truth.reshape(len(truth), -1), guesses.reshape(len(truth), -1).astype(int)
    elif is_decided:
        truth, guesses = truth.reshape(-1), predicted.reshape(-1)
    else:
        truth = _class_of(truth) if truth.shape == predicted.shape else truth
        guesses = classes_second(truth, predicted).argmax(1).reshape(-1)
        truth = truth.reshape(-1)
    if len(truth) != len(guesses):
        raise ValueError(f"the predictions have shape {predicted.shape} and the targets {truth.shape}")
    if known.ignored is None or truth.ndim > 1:
        return truth, guesses
    return truth[truth != known.ignored], guesses[truth != known.ignored]


def _kind(truth: Any, predicted: Any) -> Kind:
    if predicted.dtype.kind in "iub":
        return "classes"
    if truth.shape == predicted.shape or truth.reshape(-1).shape == predicted.reshape(-1).shape:
        return "labels" if bool(np.isin(truth, (0, 1)).all()) else "amounts"
    return "classes"


def _class_of(shares: Any) -> Any:
    """The classes of rows that have a single 1.

    Raises:
        ValueError: rows that share a sample among classes.
    """
    if not (np.isin(shares, (0, 1)).all() and (shares.sum(1) == 1).all()):
        raise ValueError("the targets are shares of classes, and not one class for each row")
    return shares.argmax(1)


def _counted(truth: Any, predicted: Any, ignored: int | None) -> tuple[Any, Any, tuple[str, ...]]:
    """Without the targets that count for none, and what is to be said of it.

    Raises:
        ValueError: none is left.
    """
    counted = truth != ignored
    if ignored is None or counted.all():
        return truth, predicted, ()
    if not counted.any():
        raise ValueError(f"each target is {ignored}, which the loss ignores")
    left_out = f"without the {int((~counted).sum()):,} targets that are {ignored}: the loss ignores them"
    return truth[counted], predicted[counted], (left_out,)


def _noted(result: Evaluation, notes: tuple[str, ...]) -> Evaluation:
    return replace(result, notes=(*result.notes, *notes))


def _without_rows(result: Evaluation, shape: tuple[int, ...]) -> Evaluation:
    """Of places of pictures none is a row of a table; those of sequences are."""
    if len(shape) < 3:
        return result
    tables = {key: table for key, table in result.tables.items() if key != "best_and_worst"}
    return replace(result, tables=tables, samples=[])


def _reduced(kept: Kept, classes: list[str] | None) -> Evaluation:
    if kept.labels is not None:
        found = as_array(kept.labels.counts)
        return evaluation.of_labels(found, _names(classes, len(found)))
    if kept.errors is not None:
        return evaluation.of_errors(*kept.errors.told(), kept.errors.few.columns())
    assert kept._counts is not None
    counts, few = as_array(kept.counts), kept._counts.few.columns()
    if not _are_masks(few.get("target")):
        return of_counts(counts, classes)
    ignored = () if kept.known.ignored is None else (kept.known.ignored,)
    return evaluation.of_pixels(counts, _names(classes, len(counts)), few=few, ignored=ignored)


def _are_masks(truth: Any) -> bool:
    """Of pictures, or of volumes."""
    return truth is not None and truth.ndim > 2 and min(truth.shape[-2:]) >= SMALLEST_MASK


def _one_mask(truth: Any) -> Any:
    """Without the axis of its only channel."""
    return truth[:, 0] if truth.ndim > 3 and truth.shape[1] == 1 else truth


def _are_whole(truth: torch.Tensor, ignored: int | None) -> bool:
    """Whether each is yes or no, or counts for none."""
    known = (truth == 0) | (truth == 1)
    return bool((known if ignored is None else known | (truth == ignored)).all())


def _are_choices(shares: torch.Tensor) -> bool:
    return _are_whole(shares, None) and bool((shares.sum(1) == 1).all())


def _numbered(truth: Any, predicted: Any, known: Known) -> tuple[Any, Any, int]:
    """Masks of classes whose numbers may be large, numbered anew if they are, and how many these are."""
    names = np.union1d(truth, predicted)
    names = names[names != known.ignored] if known.ignored is not None else names
    if len(names) > MOST_COUNTED:
        raise ValueError(f"{len(names):,} different numbers, which are not classes")
    if not len(names) or names[0] < 0 or names[-1] < MOST_COUNTED:
        return truth, predicted, 1 + int(max(truth.max(), predicted.max(), 0))
    places = [np.searchsorted(names, masks) for masks in (truth, predicted)]
    if known.ignored is not None:
        places[0] = np.where(truth == known.ignored, known.ignored, places[0])
    return places[0], places[1], len(names)


def _names(classes: list[str] | None, count: int) -> list[Any]:
    """Those of the classes, if there is one for each; else their numbers."""
    return classes if classes is not None and len(set(classes)) == count else list(range(count))


def of_counts(counts: Any, classes: list[str] | None = None) -> Evaluation:
    """Classification, from how often which class was taken for which.

    Args:
        counts: shape (classes, classes), the true ones by row.
        classes: their names, where they are known.

    Raises:
        ValueError: nothing was counted.
    """
    names = _names(classes, len(counts))
    labels = np.asarray(names)
    # Of many classes most are never taken for each other; each one is there with itself.
    truth, guesses = np.nonzero((counts > 0) | np.eye(len(counts), dtype=bool))
    result = evaluation.classification(
        labels[truth], labels[guesses], classes=names, sample_weight=counts[truth, guesses]
    )
    why = "counted batch by batch: what needs every score (ROC, best and worst) is left out, it was too large"
    tables = {key: table for key, table in result.tables.items() if key != "best_and_worst"}
    return replace(result, tables=tables, samples=[], rows=int(counts.sum()), notes=(*result.notes, why))


def _masks(
    truth: Any, guesses: Any, count: int, known: Known, inputs: Any, classes: list[str] | None = None
) -> Evaluation:
    """A class for each pixel."""
    ignored = () if known.ignored is None or not (truth == known.ignored).any() else (known.ignored,)
    return evaluation.segmentation(
        truth, guesses, classes=_names(classes, count), ignored=ignored, inputs=inputs
    )


def _one_number_each(
    truth: Any, predicted: Any, kind: Kind, known: Known, inputs: Any, classes: list[str] | None
) -> Evaluation:
    rows, are_many = len(truth), evaluation.are_many(truth)
    if kind == "amounts" and are_many:
        return evaluation.reconstruction(truth, predicted, inputs)
    if kind == "amounts":
        return evaluation.evaluate(truth.reshape(rows, -1), predicted.reshape(rows, -1), task="regression")
    if (are_many or truth.ndim > 2) and predicted.size == truth.size:
        likely = (_likely(predicted, known) if predicted.dtype.kind == "f" else predicted).reshape(
            truth.shape
        )
        if not np.isin(
            truth, [0, 1, *((known.ignored,) if known.ignored is not None else ())]
        ).all():  # levels of grey, under a loss of labels
            return evaluation.reconstruction(truth, likely, inputs)
        masks, guesses = _one_mask(truth), _one_mask(likely) > 0.5
        if _are_masks(masks) and (masks is not truth or masks.ndim == 3):
            return _masks(masks.astype(int), guesses.astype(int), 2, known, inputs, None)
        if _are_masks(masks):
            each = Labels(known.ignored)
            each.count(torch.as_tensor(truth), torch.as_tensor(guesses), None)
            return evaluation.of_labels(as_array(each.counts), _names(classes, truth.shape[1]))
    several, shape = truth.ndim == 2 and truth.shape[1] > 1, truth.shape
    if not several:
        truth, predicted, _ = _counted(truth.reshape(-1), predicted.reshape(-1), known.ignored)
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("the targets of labels are not all 0 or 1")
    truth = truth.astype(int)
    labels = classes if several and classes is not None and len(classes) == truth.shape[1] else None
    if predicted.dtype.kind in "iub":
        return (
            evaluation.multilabel(truth, predicted, labels=labels)
            if several
            else _without_rows(evaluation.classification(truth, predicted), shape)
        )
    scores = _likely(predicted, known)
    if several:
        return evaluation.multilabel(truth, (scores > 0.5).astype(int), scores=scores, labels=labels)
    flat, scores, notes = evaluation.thinned(truth, scores)
    result = evaluation.classification(flat, scores=scores, classes=[0, 1])
    return _without_rows(_noted(result, notes), shape)


def _likely(scores: Any, known: Known) -> Any:
    """Of each label by itself."""
    return evaluation.probabilities(scores, are_logits=_are_logits(known), are_independent=True)


def _are_logits(known: Known) -> bool | None:
    return None if known.is_probabilities is None else not known.is_probabilities


def _rows(truth: torch.Tensor, predicted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each place of a sequence as a row."""
    if predicted.ndim > 2 and truth.shape != predicted.shape:
        predicted = classes_second(truth, predicted).movedim(1, -1).flatten(0, -2)
    elif predicted.ndim > 1 and truth.shape == predicted.shape:
        predicted = predicted.flatten()
    return truth.flatten(), predicted


def _joined(parts: list[torch.Tensor]) -> Any:
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"the batches have different shapes: {sorted(shapes)[:3]}")
    return as_array(torch.cat([part.reshape(1) if not part.ndim else part for part in parts]))
