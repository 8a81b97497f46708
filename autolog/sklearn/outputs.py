"""What recorded estimators have returned from ``predict`` and its like: remembered, and known again."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from autolog.capture.datasets import Read
from autolog.core.recording import Recording
from autolog.core.training import find_run
from autolog.sklearn.budget import length

__all__ = [
    "Output",
    "Scoring",
    "forget_latest",
    "latest",
    "observe_decision_function",
    "observe_predict",
    "observe_predict_log_proba",
    "observe_predict_proba",
    "output_of",
    "remember_clusters",
    "scored_here",
    "set_latest",
]

HELD_VALUES = 8_000_000  # numbers, 64 MB
SMALL_VALUES = 500  # numbers that are not counted


class Output(weakref.ref[Any]):
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


_outputs: dict[int, Output] = {}


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


def forget_latest() -> None:
    """What is drawn next in this thread is of somebody else's model."""
    _thread.latest = None


def _forget(output: Output) -> None:
    global _held
    _outputs.pop(output.key, None)
    _held -= _holding.pop(output.key, 0)


Observer = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], None]


def _observe_output(method: str) -> Observer:
    """The observer of one predict-like method."""

    def observe(estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        run, scoring = find_run(estimator), scored_here.get()
        if run is None and scoring is not None and length(result) == length(scoring.X):
            run = scoring.run  # the inner model of one that hands `score` on: RFE, RANSAC
        if run is None:
            forget_latest()
            return
        if getattr(result, "shape", (0,))[0] == 1:  # it is served, not evaluated: every microsecond counts
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
scored_here: ContextVar[Scoring | None] = ContextVar("autolog_sklearn_scored", default=None)


@dataclass
class Scoring:
    """A call of ``score``: whose, about which data, and what was predicted of them for it."""

    run: Recording
    estimator: Any
    X: Any
    predicted: Any = None
    sight: Any = None  # what the metric inside of it is of


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
        output = Output(array, _forget)
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


def _hold(output: Output) -> None:
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


def output_of(value: Any) -> Output | None:
    """The remembered output that this array is, or is a view of (``proba[:, 1]``, ``predicted[:10]``)."""
    for known in (value, getattr(value, "base", None)):
        output = _outputs.get(id(known))
        if known is not None and output is not None and output() is known:
            return output
    return None


def remember_clusters(run: Recording, estimator: Any, result: Any) -> None:
    """What a clustering says of the data that it was fitted on: to know it again beside a truth."""
    for labels in (getattr(estimator, "labels_", None), result):
        if labels is not None and labels is not estimator:
            _remember(labels, run, estimator, "fit_predict", None)
