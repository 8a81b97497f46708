"""Finds the run that an evaluation by the user belongs to, and records the evaluation there.

What a recorded estimator returns from ``predict`` and its like is remembered, weakly. When such an array
(or a column of it) arrives in one of scikit-learn's metrics, together with the truth, this is an
evaluation of that run; one sighting is enough, the rest is computed here.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.capture.datasets import Read
from autolog.core.catalogue import is_on
from autolog.core.current import open_here, trained_here
from autolog.core.evaluations import name_here, say_main
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation as record_evaluation_of
from autolog.core.results import record_pictures
from autolog.core.training import find_run
from autolog.process.context import watched
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome
from autolog.sklearn import folds
from autolog.sklearn.budget import Aborted, Rows, affordable_rows, length, predicted_by
from autolog.sklearn.described import task_of
from autolog.sklearn.known import Sighting, is_full, mark_of, read_of, training_data
from autolog.sklearn.values import Awaited, Values, name_of_scorer, record_value, wait_for_value

__all__ = [
    "know_predictions",
    "latest",
    "name_set",
    "observe_decision_function",
    "observe_metric",
    "observe_predict",
    "observe_predict_log_proba",
    "observe_predict_proba",
    "observe_score",
    "record_evaluation",
    "remember_clusters",
    "set_latest",
]

HELD_VALUES = 8_000_000  # numbers, 64 MB
SMALL_VALUES = 500  # numbers that are not counted
MOSTLY = 0.9  # of the rows
AGAIN = 32  # rows
MOST_SETS = 20  # evaluation sets of one run; further ones are counted, not recorded

# What the prediction has been called in one version or another; a name out of use holds a mere text.
_PREDICTIONS = ("y_pred", "y_score", "y_proba", "y_prob", "probas_pred")


class _Output(weakref.ref[Any]):
    """A weak reference to an array that a recorded estimator returned, and where it came from.

    Made at every ``predict``, so it is one small object: no closure, no dict of its own.
    """

    __slots__ = ("X", "estimator", "fits", "is_owner", "key", "mark", "method", "run", "shape", "transposed")

    key: int
    is_owner: bool  # it refers to the array that owns the memory of what was returned
    transposed: bool  # ... which is the owner's transpose
    run: Recording
    estimator: weakref.ref[Any]
    method: str
    fits: int  # how often the model had been trained by then
    X: Any  # or a weak reference to it, see _held
    shape: Any  # of X by then
    mark: Read | None  # what X is known by, once it was asked for

    @property
    def data(self) -> Any:
        """What was predicted, if it is still there as it was. (A frame may have got a column since.)"""
        X = self.X() if isinstance(self.X, weakref.ref) else self.X
        return X if getattr(X, "shape", None) == self.shape else None

    @property
    def whole(self) -> Any:
        """All that was returned."""
        array = self()
        return array.T if array is not None and self.transposed else array


_outputs: dict[int, _Output] = {}


class _Thread(threading.local):
    latest: tuple[Recording, weakref.ref[Any]] | None = None


_thread = _Thread()


def latest() -> tuple[Recording | None, Any]:
    """The run whose model was asked last in this thread, and that model."""
    if _thread.latest is None:
        return None, None
    run, model = _thread.latest
    return run, model()


def set_latest(run: Recording, subject: Any) -> None:
    """This run's models were asked, out of our sight."""
    _thread.latest = (run, weakref.ref(subject))


def _forget(output: _Output) -> None:
    global _held
    _outputs.pop(output.key, None)
    _held -= _holding.pop(output.key, 0)


Observer = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], None]


def _observe_output(method: str) -> Observer:
    """The observer of one predict-like method."""

    def observe(estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        run, scoring = find_run(estimator), _scored.get()
        if run is None and scoring is not None and length(result) == length(scoring.X):
            run = scoring.run  # the inner model of one that hands `score` on: RFE, RANSAC
        if run is None:
            _thread.latest = None  # what is drawn next is of somebody else's model
            return
        if (
            getattr(result, "shape", (0,))[0] == 1
        ):  # one row is served, not evaluated; every microsecond counts
            return
        X = args[0] if args else kwargs.get("X")
        if scoring is not None and scoring.run is run:
            estimator, X = scoring.estimator, scoring.X
            if method == "predict":
                scoring.predicted = result
        _remember(result, run, estimator, method, X)
        if getattr(result, "ndim", 1) == 2:
            # A column of it is a view of the array that owns the memory, which may be another one: NumPy
            # keeps no chain of views. Unless that is the user's own data.
            owner = getattr(result, "base", None)
            if owner is not None and owner is not X and owner is not getattr(X, "base", None):
                transposed = owner.T.shape == result.shape and owner.T.strides == result.strides
                if transposed or (owner.shape == result.shape and owner.strides == result.strides):
                    _remember(owner, run, estimator, method, X, is_owner=True, transposed=transposed)

    return observe


# Inside a call of `score`. A pipeline asks its last step, and that with data of its own making.
_scored: ContextVar[_Scoring | None] = ContextVar("autolog_sklearn_scored", default=None)


@dataclass
class _Scoring:
    """A call of ``score``: whose, about which data, and what was predicted of them for it."""

    run: Recording
    estimator: Any
    X: Any
    predicted: Any = None
    sight: _Sight | None = None


def observe_score(call: Call) -> Generator[None, Outcome, None]:
    """The outermost ``score`` is an evaluation: of the data that it is given, with the number it returns."""
    run = find_run(call.subject)
    if run is None or _scored.get() is not None or _is_asked_by_sklearn():
        yield
        return
    scoring = _Scoring(run, call.subject, call.get("X"))
    token = _scored.set(scoring)
    try:
        outcome = yield
    finally:
        _scored.reset(token)
    if outcome.error is None:
        with shield("scikit-learn: score"):
            charge(run)
            _record_score(scoring, call.get("y"), call.get("sample_weight"), outcome.result)


def _is_asked_by_sklearn() -> bool:
    """Whether a function of scikit-learn's is at work, which lets those that it calls check nothing."""
    from sklearn import get_config

    return bool(get_config()["skip_parameter_validation"])


def _record_score(scoring: _Scoring, y: Any, weight: Any, value: Any) -> None:
    run, subject, sight = scoring.run, scoring.estimator, scoring.sight
    output = _output_of(scoring.predicted)
    if (
        sight is None and y is not None and output is not None
    ):  # a scorer that asks no metric of scikit-learn's
        sight = _evaluate(output, scoring.predicted, y, weight)
    if sight is None:
        which = _set_of(run, y, read_of(scoring.X, full=is_full(run)), scoring.X)
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


observe_predict = _observe_output("predict")
observe_predict_proba = _observe_output("predict_proba")
observe_predict_log_proba = _observe_output("predict_log_proba")
observe_decision_function = _observe_output("decision_function")


def _remember(
    array: Any,
    run: Recording,
    estimator: Any,
    method: str,
    X: Any,
    *,
    is_owner: bool = False,
    transposed: bool = False,
) -> None:
    try:
        output = _Output(array, _forget)
    except TypeError:  # a list, say: nothing to know it again by
        return
    output.key = id(array)
    output.is_owner = is_owner
    output.transposed = transposed
    output.run = run
    output.estimator = weakref.ref(estimator)
    _thread.latest = (run, output.estimator)
    output.method = method
    output.fits = run.trainings
    output.X, output.shape, output.mark = X, getattr(X, "shape", None), None
    _outputs[output.key] = output
    _hold(output)


# The data of predictions is kept for as long as they live, to tell which set they are of: `predict(X[rows])`
# would be gone by the time of the metric. All of it together is bounded; what is older becomes weak.
_holding: dict[int, int] = {}  # numbers held, by output
_held = 0  # about their sum; threads may miscount it, so it is counted anew before anything is let go


def _hold(output: _Output) -> None:
    global _held  # the process has one memory
    size = getattr(output.X, "size", None)
    if not isinstance(size, int):
        size = len(output.X) if hasattr(output.X, "__len__") else 0
    if size <= SMALL_VALUES:
        return
    _holding[output.key] = size
    _held += size
    if _held > HELD_VALUES:
        _held = sum(list(_holding.values()))
    while _held > HELD_VALUES and _holding:
        key = next(iter(_holding))
        _held -= _holding.pop(key, 0)
        if (oldest := _outputs.get(key)) is not None:
            try:
                oldest.X = weakref.ref(oldest.X)
            except TypeError:
                oldest.X = None


def _output_of(value: Any) -> _Output | None:
    """The remembered output that this array is, or is a view of (``proba[:, 1]``, ``predicted[:10]``)."""
    for known in (value, getattr(value, "base", None)):
        output = _outputs.get(id(known))
        if known is not None and output is not None and output() is known:
            return output
    return None


def observe_metric(constraints: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A metric is about to be computed, its arguments are checked: is it of something we recorded?"""
    given = args[0] if args else kwargs.get("params", {})
    name = kwargs.get("caller_name", args[1] if len(args) > 1 else None)
    wait_for_value(None)
    if {"labels_true", "labels_pred"} <= given.keys():
        labels = given["labels_true"], given["labels_pred"]
        wait_for_value(_evaluate_clusters(*labels))
        _say_if_unknown(name, labels[0], labels[1:])
        return
    sides = _sides_of(given)
    for truth, argument in sides:
        output = _output_of(given[argument])
        # The two the other way round make no difference for many metrics, but the number is another one.
        is_exchanged = argument == "y_true"
        if output is not None and (not is_exchanged or output.method == "predict"):
            if not _is_comparison(output, given[truth]):
                _see(output, given, argument, truth, is_its_own=not is_exchanged)
            return
    if sides:
        predicted = [given[argument] for argument in _PREDICTIONS if argument in given]
        _say_if_unknown(name, given[sides[0][0]], predicted)


def _is_comparison(output: _Output, truth: Any) -> bool:
    """Whether the truth is what a model has predicted, too: how far two models agree evaluates neither.

    Unless the user says that it is the truth: by a name, by ``score``, or by a training on it.
    """
    other = _output_of(truth)
    if other is None or other.method != "predict" or name_here() is not None or _scored.get() is not None:
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

    None: it is no metric, most functions of scikit-learn check their arguments in the same way.
    """
    if "y_true" in given:
        others = [("y_true", argument) for argument in given if argument != "y_true"]
        return [*others, ("y_pred", "y_true")] if "y_pred" in given else others
    if {"y1", "y2"} <= given.keys():  # cohen_kappa_score does not tell them apart
        return [("y1", "y2"), ("y2", "y1")]
    return []


def _see(output: _Output, given: Mapping[str, Any], argument: str, truth: str, *, is_its_own: bool) -> None:
    """Evaluate predictions that a metric is given.

    Args:
        argument, truth: the names of the two sides.
        is_its_own: whether the metric's number is one of these predictions.
    """
    with shield("scikit-learn: evaluation"):
        run = output.run
        charge(run)
        _thread.latest = (run, output.estimator)
        sight = _evaluate(output, given[argument], given[truth], given.get("sample_weight"))
        scoring = _scored.get()
        if scoring is not None:  # its number is what `score` returns
            scoring.sight = sight
        elif sight is not None and is_its_own:
            known = training_data.get(run)
            classes = known.classes if known is not None else None
            data = frozenset({argument, truth, "sample_weight"})
            wait_for_value(
                Awaited(run, sight.which.values, data, sight.is_whole, classes, length(given[truth]))
            )


def remember_clusters(run: Recording, estimator: Any, result: Any) -> None:
    """What a clustering says of the data that it was fitted on: to know it again beside a truth."""
    for labels in (getattr(estimator, "labels_", None), result):
        if labels is not None and labels is not estimator:
            _remember(labels, run, estimator, "fit_predict", None)


# Of a run: what is known of its clusters beside a truth, by the names of the data and a mark of the truth.
_clusters: weakref.WeakKeyDictionary[Recording, dict[Any, Values]] = weakref.WeakKeyDictionary()


def _evaluate_clusters(truth: Any, labels: Any) -> Awaited | None:
    """A clustering of ours is compared with a truth that the user has."""
    for one, other in ((truth, labels), (labels, truth)):  # most of these scores do not mind the order
        output = _output_of(other)
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


# What is not seen -----------------------------------------------------------------------------------

MOST_PREDICTED = 20  # times that ``cross_val_predict`` is remembered

_UNKNOWN = (
    "was called with predictions that are of no recorded model of scikit-learn's kind. Train the model while"
    " autolog is on, and hand on what its predict has returned as it is; or log the value:"
    " run.log({{'{0}': value}})"
)

_predicted_by_folds: deque[tuple[str | None, str]] = deque(maxlen=MOST_PREDICTED)  # marks


def know_predictions(values: Any) -> None:
    """Predictions that are evaluated already, of which the user gets a copy."""
    _predicted_by_folds.append(_mark_of_predictions(values))


def _mark_of_predictions(values: Any) -> tuple[str | None, str]:
    """With their type: a user's own ``scores > 0.3`` may equal what was predicted, but is no copy of it."""
    return mark_of(values), str(getattr(values, "dtype", ""))


def _say_if_unknown(name: str, truth: Any, predicted: Sequence[Any]) -> None:
    """Say in the run that goes on here, or was the last one here, that this metric is not of it.

    (Inside of a framework's training the framework records what the user makes of it.)
    """
    trained = trained_here()
    run = open_here() or (trained if trained in training_data else None)
    if run is None or watched.get() or name in _said.get(run, ()):
        return
    with shield("scikit-learn: a metric of unknown predictions"):
        if any(_output_of(value) is not None for value in (truth, *predicted)) or _is_one_row(truth):
            return
        if not is_on("sklearn") or not _is_called_by_user():
            return
        if _predicted_by_folds and any(
            _mark_of_predictions(value) in _predicted_by_folds for value in predicted
        ):
            return
        charge(run)
        run.note(name, _UNKNOWN.format(name))
        _said.setdefault(run, set()).add(name)


# Of a run: the metrics of which it has said so.
_said: weakref.WeakKeyDictionary[Recording, set[str]] = weakref.WeakKeyDictionary()


def _is_one_row(value: Any) -> bool:
    return length(value) == 1  # it is not remembered: it is served, not evaluated


def _is_called_by_user() -> bool:
    """Whether it is no library that asks for the metric: a scorer, a display, another framework."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] != "autolog" and module != "sklearn.utils._param_validation":
            folders = Path(frame.f_code.co_filename).parts
            return not (module.startswith("sklearn.") or _LIBRARIES.intersection(folders))
        frame = frame.f_back
    return False


_LIBRARIES = {"site-packages", "dist-packages"}


# One evaluation -----------------------------------------------------------------------------------


@dataclass
class _Set:
    """A set of data that a run was evaluated on."""

    name: str
    done: set[str] = field(default_factory=set)  # "labels", "scores"
    weight: str | None = None  # a mark of the weights that it was evaluated with
    model: weakref.ref[Any] | None = None  # that was evaluated first, of several in one run
    given: bool = False  # to the fit, by the user
    is_named: bool = False  # by the user, see autolog.evaluation
    trainings: int = 0  # of the model, by then: once it has learned more, the same data says something new
    values: Values = field(init=False)

    def __post_init__(self) -> None:
        self.values = Values(self.name)


@dataclass
class _Sight:
    """Predictions beside a truth."""

    which: _Set
    is_whole: bool
    """Whether it is all of the set, as it was predicted and with the weights that it is evaluated with."""


_sets: weakref.WeakKeyDictionary[Recording, dict[Any, _Set]] = weakref.WeakKeyDictionary()

# Those with a name of the user's, who may call the same data by two names in turn.
_named: weakref.WeakKeyDictionary[Recording, dict[Any, _Set]] = weakref.WeakKeyDictionary()


def _evaluate(output: _Output, value: Any, truth: Any, weight: Any) -> _Sight | None:
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
    which = _set_of(run, truth if is_whole else None, output.mark, X)
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
    return _Sight(which, True)


def _record_whole(
    output: _Output, which: _Set, value: Any, scores: Any, truth: Any, weight: Any, task: Any, classes: Any
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
    estimator: Any, output: _Output, X: Any, predicted: Any, scores: Any, classes: Any
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
    which: _Set,
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


def _predicted(run: Recording, estimator: Any, X: Any, which: _Set) -> Any:
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


def _set_of(run: Recording, truth: Any, read: Read | None, X: Any) -> _Set | None:
    """The evaluation set that this is: the training data, or a held-out set by order of sight.

    Args:
        truth: None: whichever it is.
        read: what is known of X; None: it is gone.
    """
    full = is_full(run)
    mark = (None if read is None else read.mark, mark_of(truth, full=full))
    sets = _sets.setdefault(run, {})
    if (name := name_here()) is not None:
        named = _named.setdefault(run, {})
        one = named.setdefault((mark, name.text), _Set(name.text, is_named=True))
        if truth is not None:
            sets[mark] = one
        say_main(run, name)
        return one
    if truth is None:
        mark = next((known for known in sets if known[0] == mark[0]), mark)
    elif mark not in sets and (mark[0], None) in sets:  # by now only parts of it were seen
        sets[mark] = sets.pop((mark[0], None))
    if mark not in sets:
        known = training_data.get(run)
        seen = known.name_of(X, read, mark[1], full=full) if known is not None else Sighting(None)
        if seen.name is not None and seen.name.startswith("train"):
            sets[mark] = _Set(seen.name)
            return sets[mark]
        # Where the fit had an evaluation set of its own, what comes later is another one.
        first = seen.name or ("test" if any(s.given for s in sets.values()) else "val")
        others = [s.name.partition("/")[0] for s in sets.values() if not (s.given or s.is_named)]
        number = 1 + sum((name == "eval") == (first == "eval") for name in others if name != "train")
        if number > MOST_SETS:
            run.note("evaluation", f"only the first {MOST_SETS} evaluation sets are recorded")
            return None
        sets[mark] = _Set(first if number == 1 else f"{first}/set-{number}")
        if seen.note is not None:
            run.note(sets[mark].name, seen.note)
    return sets[mark]


def name_set(run: Recording, X: Any, y: Any, name: str) -> None:
    """An evaluation set that was given to the fit."""
    full = is_full(run)
    _sets.setdefault(run, {})[mark_of(X, full=full), mark_of(y, full=full)] = _Set(name, given=True)


def _scores(run: Recording, estimator: Any, X: Any, truth: Any, which: _Set) -> Any:
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
