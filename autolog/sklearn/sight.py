"""One evaluation: predictions of a recorded model beside a truth, as the user has passed them.

What they passed is evaluated, and nothing else. What belongs to it and costs little is asked of the model
once more: the scores of predicted labels, the labels of scores.
"""

from __future__ import annotations

import functools
import sys
import weakref
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.core.evaluations import name_here
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation as record_evaluation_of
from autolog.core.results import record_pictures
from autolog.core.training import find_run
from autolog.sklearn import folds
from autolog.sklearn.budget import Aborted, Rows, affordable_rows, length, predicted_by
from autolog.sklearn.contents import Seen
from autolog.sklearn.described import classes_of, record_evaluated, task_of
from autolog.sklearn.known import TrainingData, content_of, is_full, mark_of, read_of, training_data
from autolog.sklearn.sets import Set, set_of
from autolog.sklearn.values import Values

__all__ = ["Sight", "evaluate", "recalled", "record_evaluation"]

MOSTLY = 0.9  # of the rows have the label of their highest score
SEEN_BYTES = 2**16  # of a truth that is kept beside its predictions
AGAIN = 32  # rows that are predicted once more where they have not


@dataclass(slots=True)
class Sight:
    """Predictions beside a truth."""

    which: Set
    is_whole: bool
    """Whether it is all of the set, as it was predicted and with the weights that it is evaluated with."""
    classes: Any = None
    """Of the model, if it is."""


def recalled(seen: Seen, truth: Any, weight: Any) -> Sight | None:
    """What :func:`evaluate` has said before, where it would say the same: one metric follows another."""
    known = seen.prediction.recalled
    if known is None or not _may_be_recalled(seen, weight):
        return None
    sight, content = known
    return sight if content == content_of(truth, SEEN_BYTES) else None


def _may_be_recalled(seen: Seen, weight: Any) -> bool:
    """Whether it is the model's labels as they are, and nothing but the truth tells what is made of them."""
    if seen.is_owner or seen.of_batches or weight is not None or name_here() is not None:
        return False
    return seen.value is seen.whole and seen.method == "predict" and seen.is_as_predicted


def _recall(seen: Seen, sight: Sight, truth: Any, weight: Any, known: TrainingData) -> Sight:
    if not known.is_divided and "labels" in sight.which.done and _may_be_recalled(seen, weight):
        content = content_of(truth, SEEN_BYTES)
        seen.prediction.recalled = (sight, content) if content is not None else None
    return sight


def evaluate(seen: Seen, truth: Any, weight: Any, metric: str | None = None) -> Sight | None:
    """Record an evaluation of what the user passed, and of nothing else.

    Args:
        metric: the name of scikit-learn's function that they passed it to.

    Returns:
        Which set it is of. None: that is not known.
    """
    run, estimator = seen.run, seen.prediction.estimator()
    known = training_data.get(run)
    if known is None:
        return None
    labels = seen.method == "predict" or seen.derived is not None
    task, classes = _nature(seen, known, metric)
    scores = None
    if seen.method not in ("predict", "fit_predict"):
        value = seen.whole if labels else seen.value
        scores = _whole_scores(run, value, seen.whole, truth, seen.classes if labels else classes)
        if scores is not None and seen.method == "predict_log_proba":
            scores = np.exp(scores)
    is_whole = scores is not None
    if labels:
        # (Several outputs may lie column by column: these `ravel` would copy.)
        is_same = seen.value is seen.whole or _is_same(np.ravel(seen.value), np.ravel(seen.whole))
        is_whole = (is_same or seen.derived is not None) and not seen.is_owner
    # Some of the rows, or a part of the scores against a truth of the user's making, are no evaluation.
    which = set_of(run, truth if is_whole else None, _read_of(seen), seen.data)
    if which is None:
        return None
    if which.trainings != known.fits:
        which.trainings, which.done, which.values = known.fits, set(), Values(which.name)
    if not is_whole:
        return Sight(which, False, known.classes)
    mark_of_weight = mark_of(weight)
    if not which.done:
        which.weight = mark_of_weight
    if which.weight != mark_of_weight:
        return Sight(which, False, known.classes)
    is_evaluated = task in ("classification", "regression") and (labels or task == "classification")
    if known.is_divided and is_evaluated and estimator is not None:
        which.model = which.model or weakref.ref(estimator)
        if which.model() is not estimator:
            _record_another(
                run, estimator, which, seen.value if labels else None, scores, truth, weight, task
            )
            return Sight(which, False, known.classes)
    if labels and "labels" in which.done and which.derived != seen.derived:
        if which.derived is None:
            return Sight(which, False, known.classes)
        # Two kinds of labels for one set: what stands for the model is what it says by itself.
        which.done.clear()
        if seen.derived is not None:
            own = replace(seen, value=seen.whole, derived=None)
            task, classes = _nature(own, known, metric)
            if task is not None:
                _record_whole(own, which, scores, truth, weight, task, classes)
            return Sight(which, False, known.classes)
    kind = "labels" if labels else "scores"
    if task is not None and is_evaluated and kind not in which.done:
        which.done.add(kind)
        _record_whole(seen, which, scores, truth, weight, task, classes)
    return _recall(seen, Sight(which, True, known.classes), truth, weight, known)


def _nature(seen: Seen, known: TrainingData, metric: str | None) -> tuple[str | None, Any]:
    """What the predictions are: of which task, and with which classes."""
    if seen.derived is not None:
        # Rounded numbers are labels or still numbers, as the metric takes them: counts have an error, too.
        return (seen.classes is None and _task_of_metric(metric)) or "classification", seen.classes
    task, classes, estimator = known.task, known.classes, seen.prediction.estimator()
    if task is None and estimator is not None:  # one of the models of a cross-validation
        task, classes = task_of(estimator), classes_of(estimator)
    return (task or _task_of_metric(metric)), classes


def _task_of_metric(name: str | None) -> str | None:
    """What a metric is for, which tells what an estimator is that says nothing of itself."""
    if name is None or name.endswith("dcg_score"):  # of relevances
        return None
    for kind in ("classification", "ranking", "regression"):
        if hasattr(sys.modules.get(f"sklearn.metrics._{kind}"), name):
            return "regression" if kind == "regression" else "classification"
    return None


def _read_of(seen: Seen) -> Any:
    """What one pass over the data has found, once for all metrics of a prediction."""
    if seen.of_batches:
        return read_of(seen.data, full=is_full(seen.run))
    prediction = seen.prediction
    if prediction.mark is None and seen.data is not None:
        prediction.mark = read_of(seen.data, full=is_full(seen.run))
    return prediction.mark


def _record_whole(
    seen: Seen, which: Set, scores: Any, truth: Any, weight: Any, task: str, classes: Any
) -> None:
    """Record the evaluation of a whole set.

    Args:
        scores: all of the scores, if it is those.
    """
    run, estimator, X = seen.run, seen.prediction.estimator(), seen.data
    by_labels = seen.method == "predict" or seen.derived is not None
    predicted = seen.value if by_labels else None
    # What is asked of the model once more must be of the model that made the prediction.
    is_the_same = estimator is not None and find_run(estimator) is run and seen.is_as_predicted
    if task == "classification" and X is not None and is_the_same:
        try:
            if predicted is None:
                predicted = _predicted(run, estimator, X, which)
            elif "scores" not in which.done:
                scores = _scores(run, estimator, X, truth, which)
        except Exception as error:  # the model's own: the data has changed under it, say
            run.note_lost(f"{which.name}/roc", f"{type(error).__name__}: {error}"[:300])
        both = predicted is not None and scores is not None
        if both and not _are_of_one_data(run, estimator, seen, X, predicted, scores, classes):
            run.note_lost(f"{which.name}/roc", "the data has changed since it was predicted")
            predicted, scores = (seen.value, None) if by_labels else (None, scores)
    if predicted is not None:
        which.done.add("labels")
    if which.derived != seen.derived:
        which.derived = seen.derived
        own = "the model's own" if predicted is not None else "several; the first ones are shown"
        run.describe({f"evaluation/labels/{which.name}": which.derived or own})
    if weight is not None:
        run.note(which.name, "weighted, by the sample weights that were given")
    if not (which.is_described or which.name.startswith("train")):
        which.is_described = True
        record_evaluated(run, which.name, X, truth, _read_of(seen))
    try:
        result = evaluation.evaluate(
            truth,
            predicted,
            scores=scores,
            classes=classes if scores is not None else None,
            sample_weight=weight,
            task=task,
        )
    except ValueError as error:
        run.note_lost(which.name, f"not evaluated: {error}")
        return
    if predicted is None:
        result = _of_scores_only(result)
    if scores is not None:
        which.done.add("scores")
        run.note_no_more(f"{which.name}/roc")
    which.values.computed(result.metrics)
    record_evaluation(run, which.name, _with_inputs(run, result, X))
    if which.name == "val" and weight is None and not seen.of_batches:
        read = seen.prediction.mark.rows if seen.prediction.mark is not None else None
        folds.evaluated(run, read, truth, predicted, scores, task, classes)
    numbers = {f"{which.name}/{key}": value for key, value in result.metrics.items()}
    folds.told(run, numbers)
    if which.model is not None:
        folds.told_of_one(run, estimator, numbers)


def _are_of_one_data(
    run: Recording, estimator: Any, seen: Seen, X: Any, predicted: Any, scores: Any, classes: Any
) -> bool:
    """Whether labels and scores, one of which we have asked for now, are of the same data.

    A user may have changed it in place since the other was predicted. Mostly the labels are those of the
    highest scores. Where they are not, a few rows of what was predicted are predicted again.
    """
    scores = np.asarray(scores)
    places = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).astype(int)
    likeliest = np.asarray(classes)[places]
    if np.mean(likeliest == np.ravel(predicted)) >= MOSTLY:
        return True
    rows = Rows(min(len(places), AGAIN), len(places))
    again, before = predicted_by(run, estimator, seen.method, rows.of(X)), rows.of(seen.whole)
    if seen.method == "predict":
        return bool(np.array_equal(again, before))
    return bool(np.allclose(again, before, rtol=1e-3, atol=1e-6))


def _record_another(
    run: Recording,
    estimator: Any,
    which: Set,
    predicted: Any,
    scores: Any,
    truth: Any,
    weight: Any,
    task: Any,
) -> None:
    """Another model of the same cross-validation on the same set: the run's numbers become their means."""
    classes = getattr(estimator, "classes_", None) if scores is not None else None
    try:
        result = evaluation.evaluate(
            truth, predicted, scores=scores, classes=classes, sample_weight=weight, task=task
        )
    except ValueError as error:
        run.note_lost(which.name, f"not evaluated: {error}")
        return
    found = result if predicted is not None else _of_scores_only(result)
    folds.told_of_one(run, estimator, {f"{which.name}/{key}": value for key, value in found.metrics.items()})


def _with_inputs(run: Recording, result: evaluation.Evaluation, X: Any) -> evaluation.Evaluation:
    """The best and worst predictions beside what they were made from."""
    if X is None or length(X) is None or not result.samples or not run.keeps("predictions"):
        return result
    from sklearn.utils import _safe_indexing

    chosen = X.tocsr() if hasattr(X, "tocsr") else X
    return evaluation.with_inputs(result, _safe_indexing(chosen, result.samples))


def _of_scores_only(result: evaluation.Evaluation) -> evaluation.Evaluation:
    """What rests on the scores alone: the model's labels need not be the ones of the highest score."""
    metrics = {k: v for k, v in result.metrics.items() if k in _SCORE_METRICS}
    charts = {k: v for k, v in result.charts.items() if k != "confusion_matrix"}
    return replace(result, metrics=metrics, charts=charts, tables={})


_SCORE_METRICS = {
    "average_precision",
    "average_precision_macro",
    "brier",
    "log_loss",
    "roc_auc",
    "roc_auc_macro",
    "roc_auc_ovr",
}


def _predicted(run: Recording, estimator: Any, X: Any, which: Set) -> Any:
    """The model's own labels of the same rows, when they cost no more than the budget."""
    if X is None:
        return None
    rows = affordable_rows(run, estimator, "predict", X)
    if isinstance(rows, str):
        run.note(f"{which.name}/confusion_matrix", f"left out: {rows}")
        return None
    try:
        return predicted_by(run, estimator, "predict", X)
    except Aborted as aborted:
        run.note(f"{which.name}/confusion_matrix", str(aborted))
        return None


def _whole_scores(run: Recording, value: Any, whole: Any, truth: Any, classes: Any) -> Any:
    """All scores, if the user passed all of them, or the positive class's column of two, with labels.

    Of any other part we cannot know which class the user takes for the positive one.
    """
    if classes is None or not _are_labels(run, truth, classes):
        return None
    if _is_same(value, whole):
        return whole
    positive = whole[:, 1] if whole.ndim == 2 and whole.shape[1] == 2 else None
    return whole if positive is not None and _is_same(value, positive) else None


def _is_same(one: Any, other: Any) -> bool:
    """Whether two arrays are the same part of the same memory."""
    if one is other:
        return True
    if one.shape != other.shape or one.strides != other.strides:
        return False
    start: bool = one.__array_interface__["data"] == other.__array_interface__["data"]
    return start


def _are_labels(run: Recording, truth: Any, classes: Any) -> bool:
    """Whether a truth holds the model's own labels. (A mask ``y == 1`` equals 0 and 1, but is none.)"""
    truth, classes = np.asarray(truth), np.asarray(classes)
    if truth.shape[1:] == (1,):
        truth = truth[:, 0]  # a target as a column is the same target
    if truth.ndim != 1 or classes.ndim != 1:
        return False
    seen, own = set(truth.tolist()), set(classes.tolist())
    known = training_data.get(run)  # scikit-learn makes 0 and 1 of the booleans of a nullable column
    are_booleans = _are_booleans(own) or (known is not None and known.is_boolean)
    return seen <= own and _are_booleans(seen) == are_booleans


def _are_booleans(labels: set[Any]) -> bool:
    """Whether labels are yes and no, also as objects: those of a nullable column."""
    return all(isinstance(label, bool) for label in labels)


def _scores(run: Recording, estimator: Any, X: Any, truth: Any, which: Set) -> Any:
    """Class scores of the same rows, when they cost no more than the budget."""
    classes = getattr(estimator, "classes_", None)
    if X is None or classes is None or not _are_labels(run, truth, classes):
        return None
    for method in ("predict_proba", "decision_function"):
        if hasattr(estimator, method):
            rows = affordable_rows(run, estimator, method, X)
            if isinstance(rows, str):
                run.note(f"{which.name}/roc", f"left out: {rows}")
                return None
            which.done.add("scores")
            try:
                return predicted_by(run, estimator, method, X)
            except Aborted as aborted:
                run.note(f"{which.name}/roc", str(aborted))
                return None
    return None


# Recording it -------------------------------------------------------------------------------------


def record_evaluation(run: Recording, name: str, result: evaluation.Evaluation) -> None:
    """An evaluation under the name of its set. In a loop of trainings the pictures wait for the last one."""
    known = training_data.get(run)
    if known is None or not known.is_loop or run.status != "running":
        record_evaluation_of(run, name, result)
        return
    record_evaluation_of(run, name, replace(result, tables={}, charts={}))
    waiting = _waiting.setdefault(run, {})
    if not waiting:
        run.at_end(functools.partial(_record_waiting, waiting, run))
    waiting[name] = result


# What is drawn when a loop of trainings has ended: its last evaluation, by set.
_waiting: weakref.WeakKeyDictionary[Recording, dict[str, evaluation.Evaluation]] = weakref.WeakKeyDictionary()


def _record_waiting(waiting: dict[str, evaluation.Evaluation], run: Recording) -> None:
    for name, result in waiting.items():
        record_pictures(run, name, result)
