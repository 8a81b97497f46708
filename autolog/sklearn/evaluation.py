"""Finds the run that an evaluation by the user belongs to, and records the evaluation there.

What a recorded estimator returns from ``predict`` and its like is remembered (``outputs.py``). When such an
array (or a column of it) arrives in one of scikit-learn's metrics, together with the truth, this is an
evaluation of that run; one sighting is enough, the rest is computed here.
"""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.core.evaluations import name_here, say_main
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation as record_evaluation_of
from autolog.core.results import record_pictures
from autolog.core.training import find_run
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome
from autolog.sklearn import folds
from autolog.sklearn.budget import Aborted, Rows, affordable_rows, length, predicted_by
from autolog.sklearn.described import task_of
from autolog.sklearn.known import content_of, is_full, mark_of, read_of, training_data
from autolog.sklearn.outputs import Output, Scoring, output_of, scored_here, set_latest
from autolog.sklearn.sets import Set, set_of
from autolog.sklearn.unseen import say_if_unknown
from autolog.sklearn.values import (
    Awaited,
    Values,
    name_of_scorer,
    observe_check,
    record_value,
    wait_for_value,
)

__all__ = ["observe_metric", "observe_score", "record_evaluation"]

# What the prediction has been called in one version or another; a name out of use holds a mere text.
_PREDICTIONS = ("y_pred", "y_score", "y_proba", "y_prob", "probas_pred")
MOSTLY = 0.9  # of the rows have the label of their highest score
AGAIN = 32  # rows that are predicted once more where they have not
SEEN_BYTES = 2**16  # of a truth that is kept beside its predictions


def observe_score(call: Call) -> Generator[None, Outcome, None]:
    """The outermost ``score`` is an evaluation: of the data that it is given, with the number it returns."""
    run = find_run(call.subject)
    if run is None or scored_here.get() is not None or _is_asked_by_sklearn():
        yield
        return
    scoring = Scoring(run, call.subject, call.get("X"))
    token = scored_here.set(scoring)
    try:
        outcome = yield
    finally:
        scored_here.reset(token)
    if outcome.error is None:
        with shield("scikit-learn: score"):
            charge(run)
            _record_score(scoring, call.get("y"), call.get("sample_weight"), outcome.result)


def _is_asked_by_sklearn() -> bool:
    """Whether a function of scikit-learn's is at work, which lets those that it calls check nothing."""
    from sklearn import get_config

    return bool(get_config()["skip_parameter_validation"])


def _record_score(scoring: Scoring, y: Any, weight: Any, value: Any) -> None:
    run, subject, sight = scoring.run, scoring.estimator, scoring.sight
    output = output_of(scoring.predicted)
    if sight is None and y is not None and output is not None:  # its scorer asks no metric of scikit-learn's
        sight = _evaluate(output, scoring.predicted, y, weight)
    if sight is None:
        which = set_of(run, y, read_of(scoring.X, full=is_full(run)), scoring.X)
        sight = _Sight(which, True) if which is not None else None
    if sight is None:
        return
    name, arguments = name_of_scorer(getattr(subject, "scoring", None))
    plain = name.removeprefix("neg_")
    same = value if name == plain else -value
    values = sight.which.values
    if name == "score":
        if any(math.isclose(same, known, rel_tol=1e-9) for known in values.numbers.values()):
            return
    elif values.holds(plain, same):
        return
    record_value(run, values, name, arguments, value, is_whole=sight.is_whole)


def observe_metric(constraints: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A metric is about to be computed, its arguments are checked: is it of something we recorded?"""
    given = args[0] if args else kwargs.get("params", {})
    name = kwargs.get("caller_name", args[1] if len(args) > 1 else None)
    observe_check(constraints, name)
    if "labels_true" in given and "labels_pred" in given:
        labels = given["labels_true"], given["labels_pred"]
        wait_for_value(_evaluate_clusters(*labels))
        say_if_unknown(name, labels[0], labels[1:])
        return
    sides = _sides_of(given)
    for truth, argument in sides:
        output = output_of(given[argument])
        # The two the other way round make no difference for many metrics, but the number is another one.
        is_exchanged = argument == "y_true"
        if output is not None and (not is_exchanged or output.method == "predict"):
            if not _is_comparison(output, given[truth]):
                _see(output, given, argument, truth, is_its_own=not is_exchanged)
            return
    if sides:
        predicted = [given[argument] for argument in _PREDICTIONS if argument in given]
        say_if_unknown(name, given[sides[0][0]], predicted)


def _is_comparison(output: Output, truth: Any) -> bool:
    """Whether the truth is what a model has predicted, too: how far two models agree evaluates neither.

    Unless the user says that it is the truth: by a name, by ``score``, or by a training on it.
    """
    other = output_of(truth)
    if other is None or other.method != "predict" or name_here() is not None or scored_here.get() is not None:
        return False
    with shield("scikit-learn: a comparison of predictions"):
        known = training_data.get(output.run)
        if known is not None and known.y == mark_of(truth):
            return False
        why = "a metric of one model's predictions beside another's is in no run, except by a name:"
        output.run.note("comparison", f"{why} with autolog.evaluation('beside_the_other'): ...")
    return True


def _sides_of(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which arguments of a metric may be the truth and what is predicted of it, the likelier ones first.

    Empty: it is no metric. Most functions of scikit-learn check their arguments in the same way.
    """
    if "y_true" in given:
        others = [("y_true", argument) for argument in given if argument != "y_true"]
        return [*others, ("y_pred", "y_true")] if "y_pred" in given else others
    if {"y1", "y2"} <= given.keys():  # cohen_kappa_score does not tell them apart
        return [("y1", "y2"), ("y2", "y1")]
    return []


def _see(output: Output, given: Mapping[str, Any], argument: str, truth: str, *, is_its_own: bool) -> None:
    """Evaluate predictions that a metric is given.

    Args:
        argument, truth: the names of the two sides.
        is_its_own: whether the metric's number is one of these predictions.
    """
    if (model := output.estimator()) is not None:
        set_latest(output.run, model)
    sight = _seen(output, given[argument], given[truth], given.get("sample_weight"))
    if sight is not None:  # nothing is read or recorded: to open a shield would take longer than all of it
        _expect(output, sight, given, argument, truth, is_its_own)
        return
    with shield("scikit-learn: evaluation"):
        charge(output.run)
        sight = _evaluate(output, given[argument], given[truth], given.get("sample_weight"))
        _remember(output, sight, given[argument], given[truth], given.get("sample_weight"))
        _expect(output, sight, given, argument, truth, is_its_own)


def _expect(
    output: Output,
    sight: _Sight | None,
    given: Mapping[str, Any],
    argument: str,
    truth: str,
    is_its_own: bool,
) -> None:
    """The number that this metric will return is of this sight."""
    scoring = scored_here.get()
    if scoring is not None:  # its number is what `score` returns
        scoring.sight = sight
    elif sight is not None and is_its_own:
        data, rows = frozenset((argument, truth, "sample_weight")), length(given[truth])
        wait_for_value(Awaited(output.run, sight.which.values, data, sight.is_whole, sight.classes, rows))


# Of a run: what is known of its clusters beside a truth, by the names of the data and a mark of the truth.
_clusters: weakref.WeakKeyDictionary[Recording, dict[Any, Values]] = weakref.WeakKeyDictionary()


def _evaluate_clusters(truth: Any, labels: Any) -> Awaited | None:
    """A clustering of ours is compared with a truth that the user has."""
    for one, other in ((truth, labels), (labels, truth)):  # most of these scores do not mind the order
        output = output_of(other)
        if output is None or output.method not in ("predict", "fit_predict") or output() is not other:
            continue  # a part of the labels is no evaluation of the clustering
        with shield("scikit-learn: evaluation of clusters"):
            run = output.run
            charge(run)
            known = training_data.get(run)
            is_training = known is not None and mark_of(output.data, full=is_full(run)) == known.X
            name = "train" if output.method == "fit_predict" or is_training else "val"
            if (given := name_here()) is not None:
                name = given.text
                say_main(run, given)
            of_run = _clusters.setdefault(run, {})
            key = name, mark_of(one), output.fits
            if key not in of_run:
                of_run[key] = Values(name)
                of_run[key].computed(found := _compared(one, other))
                numbers = {f"{name}/{metric}": value for metric, value in found.items()}
                run.log(numbers, step=run.last_step)
                folds.told(run, numbers)
            data = frozenset({"labels_true", "labels_pred"})
            return Awaited(run, of_run[key], data, True, None, length(one))
    return None


def _compared(truth: Any, labels: Any) -> dict[str, float]:
    from sklearn import metrics

    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(truth, labels)
    found = {
        "adjusted_rand": metrics.adjusted_rand_score(truth, labels),
        "normalized_mutual_info": metrics.normalized_mutual_info_score(truth, labels),
        "homogeneity": homogeneity,
        "completeness": completeness,
        "v_measure": v_measure,
    }
    return {name: float(value) for name, value in found.items()}


# One evaluation -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sight:
    """Predictions beside a truth."""

    which: Set
    is_whole: bool
    """Whether it is all of the set, as it was predicted and with the weights that it is evaluated with."""
    classes: Any = None
    """Of the model, if it is."""


def _seen(output: Output, value: Any, truth: Any, weight: Any) -> _Sight | None:
    """What :func:`_evaluate` would return where it has recorded all before: one metric follows another."""
    if output.seen is None or output() is not value or weight is not None or name_here() is not None:
        return None
    sight, content = output.seen
    is_current = output.fits == output.run.trainings and content == content_of(truth, SEEN_BYTES)
    return sight if is_current else None


def _remember(output: Output, sight: _Sight | None, value: Any, truth: Any, weight: Any) -> None:
    """What :func:`_evaluate` has said of predictions, if it would say the same until the next training."""
    known = training_data.get(output.run)
    if sight is None or not sight.is_whole or weight is not None or name_here() is not None:
        return
    if output.is_owner or output() is not value or known is None or known.is_divided:
        return
    if "labels" in sight.which.done and output.method == "predict":
        content = content_of(truth, SEEN_BYTES)
        output.seen = (sight, content) if content is not None else None


def _evaluate(output: Output, value: Any, truth: Any, weight: Any) -> _Sight | None:
    """Record an evaluation of what the user passed, and of nothing else.

    Args:
        value: the user's own argument: the output, or a view of it.

    Returns:
        Which set it is of. None: that is not known.
    """
    run, estimator, whole = output.run, output.estimator(), output.whole
    known = training_data.get(run)
    if whole is None or known is None:
        return None
    labels = output.method == "predict"
    task, classes = known.task, known.classes
    if task is None and estimator is not None:  # one of the models of a cross-validation
        task, classes = task_of(estimator), getattr(estimator, "classes_", None)
    X = output.data
    if output.mark is None and X is not None:
        output.mark = read_of(X, full=is_full(run))
    scores = None if labels else _whole_scores(value, whole, truth, classes)
    if scores is not None and output.method == "predict_log_proba":
        scores = np.exp(scores)
    is_whole = scores is not None
    if labels:
        # (Several outputs may lie column by column: these `ravel` would copy.)
        is_same = value is whole or _is_same(np.ravel(value), np.ravel(whole))
        is_whole = is_same and not output.is_owner
    # Some of the rows, or a part of the scores against a truth of the user's making, are no evaluation.
    which = set_of(run, truth if is_whole else None, output.mark, X)
    if which is None:
        return None
    if which.trainings != known.fits:
        which.trainings, which.done, which.values = known.fits, set(), Values(which.name)
    if not is_whole:
        return _Sight(which, False)
    mark_of_weight = mark_of(weight)
    kind = "labels" if labels else "scores"
    if not which.done:
        which.weight = mark_of_weight
    if which.weight != mark_of_weight:
        return _Sight(which, False)
    is_evaluated = task in ("classification", "regression") and (labels or task == "classification")
    if known.is_divided and is_evaluated and estimator is not None:
        which.model = which.model or weakref.ref(estimator)
        if which.model() is not estimator:
            _record_another(run, estimator, which, value if labels else None, scores, truth, weight, task)
            return _Sight(which, False)
    if is_evaluated and kind not in which.done:
        which.done.add(kind)
        _record_whole(output, which, value, scores, truth, weight, task, classes)
    return _Sight(which, True, known.classes)


def _record_whole(
    output: Output, which: Set, value: Any, scores: Any, truth: Any, weight: Any, task: Any, classes: Any
) -> None:
    """Record the evaluation of a whole set.

    Args:
        value: what was predicted: labels, numbers, or scores.
        scores: all of the scores, if it is those.
    """
    run, estimator, X = output.run, output.estimator(), output.data
    predicted = value if output.method == "predict" else None
    # What is asked of the model once more must be of the model that made the prediction.
    is_the_same = estimator is not None and find_run(estimator) is run and output.fits == run.trainings
    if task == "classification" and X is not None and is_the_same:
        try:
            if predicted is None:
                predicted = _predicted(run, estimator, X, which)
            elif "scores" not in which.done:
                scores = _scores(run, estimator, X, truth, which)
        except Exception as error:  # the model's own: the data has changed under it, say
            run.note_lost(f"{which.name}/roc", f"{type(error).__name__}: {error}"[:300])
        both = predicted is not None and scores is not None
        if both and not _are_of_one_data(estimator, output, X, predicted, scores, classes):
            run.note_lost(f"{which.name}/roc", "the data has changed since it was predicted")
            predicted, scores = (value, None) if output.method == "predict" else (None, scores)
    if predicted is not None:
        which.done.add("labels")
    if weight is not None:
        run.note(which.name, "weighted, by the sample weights that were given")
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
        run.note_no_more(f"{which.name}/roc")
    which.values.computed(result.metrics)
    record_evaluation(run, which.name, _with_inputs(run, result, X))
    if which.name == "val" and weight is None:
        read = output.mark.rows if output.mark is not None else None
        folds.evaluated(run, read, truth, predicted, scores, task, classes)
    numbers = {f"{which.name}/{key}": value for key, value in result.metrics.items()}
    folds.told(run, numbers)
    if which.model is not None:
        folds.told_of_one(run, estimator, numbers)


def _are_of_one_data(
    estimator: Any, output: Output, X: Any, predicted: Any, scores: Any, classes: Any
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
    again, before = getattr(estimator, output.method)(rows.of(X)), rows.of(output.whole)
    if output.method == "predict":
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


def _whole_scores(value: Any, whole: Any, truth: Any, classes: Any) -> Any:
    """All scores, if the user passed all of them, or the positive class's column of two, with labels.

    Of any other part we cannot know which class the user takes for the positive one.
    """
    if classes is None or not _are_labels(truth, classes):
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


def _are_labels(truth: Any, classes: Any) -> bool:
    """Whether a truth holds the model's own labels. (A mask ``y == 1`` equals 0 and 1, but is none.)"""
    truth, classes = np.asarray(truth), np.asarray(classes)
    if truth.shape[1:] == (1,):
        truth = truth[:, 0]  # a target as a column is the same target
    if truth.ndim != 1 or classes.ndim != 1 or (truth.dtype.kind == "b") != (classes.dtype.kind == "b"):
        return False
    known = set(classes.tolist())
    return all(label in known for label in set(truth.tolist()))


def _scores(run: Recording, estimator: Any, X: Any, truth: Any, which: Set) -> Any:
    """Class scores of the same rows, when they cost no more than the budget."""
    classes = getattr(estimator, "classes_", None)
    if X is None or classes is None or not _are_labels(truth, classes):
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
