"""What recorded estimators have returned from ``predict`` and its like: remembered, and known again.

An array that a user hands on as it is, or a view of it, is known by its identity (:func:`output_of`). What
they have copied or changed on the way is known by its content (``contents.py``); for that the values are
kept, and the data that they were predicted of, for as long as there is room.
"""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

from autolog.capture.datasets import Read
from autolog.capture.kinds import is_lazy
from autolog.core.recording import Recording
from autolog.core.training import find_run
from autolog.sklearn.budget import length

__all__ = [
    "Output",
    "Prediction",
    "Scoring",
    "forget_latest",
    "kept_predictions",
    "latest",
    "latest_prediction",
    "observe_decision_function",
    "observe_inverse_transform",
    "observe_predict",
    "observe_predict_log_proba",
    "observe_predict_proba",
    "output_of",
    "remember_clusters",
    "scored_here",
    "set_latest",
]

KEPT_BYTES = 16_000_000  # of predictions, and as many of the data that they are of
LARGEST_BYTES = 64_000_000  # of data that are kept for the last prediction alone
VIEWED_BYTES = 1_000_000  # of the whole that kept data may be a part of
ROOM = 7 / 8  # of it is kept when the oldest have gone: so they are counted now and then alone
OBJECT_BYTES = 64  # about what an object in an array or a list takes
OVERHEAD = 16_000  # bytes that a prediction counts beside its values: so a thousand are kept at most


class Prediction:
    """One call of ``predict`` or its like. Made at every one, so it is small: it has no dict of its own."""

    __slots__ = (
        "X",
        "estimator",
        "fits",
        "is_changed",
        "is_of_much",
        "living",
        "mark",
        "method",
        "number",
        "recalled",
        "run",
        "shape",
        "values",
    )

    number: int  # in the order of the calls
    run: weakref.ref[Recording]
    estimator: weakref.ref[Any]
    method: str
    fits: int  # how often the model had been trained by then
    is_changed: bool  # to other labels or units than those of the model
    X: Any  # or a weak reference to it, where there is no room
    shape: Any  # of X by then
    mark: Read | None  # what X is known by, once it was asked for
    values: Any  # a copy of what was returned; None: it is not kept
    recalled: Any  # what was found of it beside a truth, see sight.py
    living: int  # arrays of the user's that it is known by
    is_of_much: bool  # X is more than we would keep, or a view of that

    @property
    def data(self) -> Any:
        """What was predicted, if it is still there as it was. (A frame may have got a column since.)"""
        X = self.X() if isinstance(self.X, weakref.ref) else self.X
        return X if _form_of(X) == self.shape else None


def _form_of(X: Any) -> Any:
    """The shape of data. (Dask does not always know its own, and gives it a new name when it changes.)"""
    return getattr(X, "_name", None) if is_lazy(X) else getattr(X, "shape", None)


class Output(weakref.ref[Any]):
    """A weak reference to an array that a recorded estimator returned, and where it came from."""

    __slots__ = ("is_owner", "key", "prediction", "run", "transposed")

    key: int
    run: Recording
    prediction: Prediction
    is_owner: bool  # it refers to the array that owns the memory of what was returned
    transposed: bool  # ... which is the owner's transpose

    @property
    def whole(self) -> Any:
        """All that was returned."""
        array = self()
        return array.T if array is not None and self.transposed else array


_outputs: dict[int, Output] = {}


class _Thread(threading.local):
    latest: tuple[Recording, weakref.ref[Any]] | None = None
    prediction: Prediction | None = None


_thread = _Thread()


def latest() -> tuple[Recording | None, Any]:
    """The run whose model was asked last in this thread, and that model."""
    if _thread.latest is None:
        return None, None
    run, model = _thread.latest
    return run, model()


def latest_prediction() -> Prediction | None:
    """The last one that was made in this thread."""
    return _thread.prediction


def set_latest(run: Recording, subject: Any) -> None:
    """This run's models were asked, out of our sight."""
    _thread.latest = (run, weakref.ref(subject))


def forget_latest() -> None:
    """What is drawn next in this thread, or made of scores, is of somebody else's model."""
    _thread.latest = _thread.prediction = None


Observer = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], None]


def _observe_output(method: str) -> Observer:
    """The observer of one predict-like method."""

    def observe(estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        run, scoring = find_run(estimator), scored_here.get()
        if run is None and scoring is not None and length(result) == length(scoring.X):
            run = scoring.run  # the inner model of one that hands `score` on: RFE, RANSAC
        if run is None or is_lazy(result):
            forget_latest()
            return
        if getattr(result, "shape", (0,))[0] == 1:  # it is served, not evaluated: every microsecond counts
            return
        X = args[0] if args else kwargs.get("X")
        if _is_inner():
            return
        if scoring is not None and scoring.run is run:
            estimator, X = scoring.estimator, scoring.X
            if method == "predict":
                scoring.predicted = result
        prediction = _remember(result, run, estimator, method, X)
        if getattr(result, "ndim", 1) == 2:
            # A column of it is a view of the array that owns the memory, which may be another one: NumPy
            # keeps no chain of views. Unless that is the user's own data.
            owner = getattr(result, "base", None)
            if owner is not None and owner is not X and owner is not getattr(X, "base", None):
                transposed = owner.T.shape == result.shape and owner.T.strides == result.strides
                if transposed or (owner.shape == result.shape and owner.strides == result.strides):
                    _refer(owner, run, prediction, is_owner=True, transposed=transposed)

    return observe


_METHODS = {"predict", "predict_proba", "predict_log_proba", "decision_function"}


def _is_inner() -> bool:
    """Whether a recorded estimator has asked itself, or one inside of it, for a prediction of its own."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("autolog."):
        frame = frame.f_back
    if frame is None or frame.f_code.co_name not in _METHODS:
        return False
    return find_run(frame.f_locals.get("self")) is not None


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


def observe_inverse_transform(
    transformer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """Predictions are put back into the labels, or the units, of the data: they are the same predictions."""
    given = args[0] if args else next(iter(kwargs.values()), None)
    output = output_of(given)
    whole = output.whole if output is not None else None
    if (
        output is None
        or given is None
        or whole is None
        or output.prediction.method != "predict"
        or output.is_owner
    ):
        return
    if np.size(given) == np.size(whole) == np.size(result):
        known = output.prediction
        prediction = _remember(result, output.run, known.estimator, "predict", known.data)
        prediction.is_changed, prediction.fits = True, known.fits


observe_predict = _observe_output("predict")
observe_predict_proba = _observe_output("predict_proba")
observe_predict_log_proba = _observe_output("predict_log_proba")
observe_decision_function = _observe_output("decision_function")

_numbers = itertools.count()


def _remember(result: Any, run: Recording, estimator: Any, method: str, X: Any) -> Prediction:
    prediction = Prediction()
    prediction.number = next(_numbers)
    prediction.run = weakref.ref(run)
    # (By a reference if it may be gone: a user has kept what it predicted alone.)
    prediction.estimator = estimator if isinstance(estimator, weakref.ref) else weakref.ref(estimator)
    prediction.method = method
    prediction.fits, prediction.is_changed = run.trainings, False
    prediction.X, prediction.shape, prediction.mark = X, _form_of(X), None
    prediction.values, prediction.recalled = None, None
    prediction.living, prediction.is_of_much = 0, False
    _thread.latest, _thread.prediction = (run, prediction.estimator), prediction
    _refer(result, run, prediction)
    _keep(prediction, result)
    return prediction


def _refer(
    array: Any, run: Recording, prediction: Prediction, *, is_owner: bool = False, transposed: bool = False
) -> None:
    try:
        output = Output(array, _forget)
    except TypeError:  # a list, say
        return
    output.key, output.run, output.prediction = id(array), run, prediction
    output.is_owner, output.transposed = is_owner, transposed
    _outputs[output.key] = output
    prediction.living += 1


def _forget(output: Output) -> None:
    # Nothing of ours is called: what went wrong here, at any line of the user's, nobody could catch.
    _outputs.pop(output.key, None)
    prediction = output.prediction
    prediction.living -= 1
    # From now on it is we who keep the data. What was evaluated needs none, and of a view we would keep all.
    is_held = not isinstance(prediction.X, weakref.ref)
    if is_held and not prediction.living and (prediction.mark is not None or prediction.is_of_much):
        try:
            prediction.X = weakref.ref(prediction.X)
        except TypeError:
            prediction.X = None


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
        if labels is not None and labels is not estimator and not is_lazy(labels):
            _remember(labels, run, estimator, "fit_predict", None)


# What is kept -----------------------------------------------------------------------------------------
#
# Of each prediction a copy of its values, to know them again, and the data: `predict(X[rows])` would be gone
# by the time of the metric. Each is bounded, and the oldest go first. Data that goes is still found for as
# long as the user has it.


class _Store:
    """Predictions by their numbers, with a bound on what is kept of them."""

    def __init__(self, let_go: Callable[[Prediction], None]) -> None:
        self._let_go = let_go
        self._bytes = 0  # about: threads may miscount it
        self._kept: dict[int, tuple[Prediction, int]] = {}

    def add(self, prediction: Prediction, size: int) -> None:
        """Keep one more. It stays if it is larger than the bound, for as long as it is the newest."""
        self._kept[prediction.number] = prediction, size
        self._bytes += size
        if self._bytes > KEPT_BYTES:
            self._make_room()

    def newest(self, count: int) -> list[Prediction]:
        """So many, in their order."""
        numbers = list(itertools.islice(reversed(self._kept), count))
        kept = (self._kept.get(number) for number in reversed(numbers))
        return [one[0] for one in kept if one is not None]

    def _make_room(self) -> None:
        self._bytes = sum(size for _, size in list(self._kept.values()))
        while self._bytes > KEPT_BYTES * ROOM and len(self._kept) > 1:
            number = next(iter(self._kept), -1)
            if (oldest := self._kept.pop(number, None)) is not None:
                self._bytes -= oldest[1]
                self._let_go(oldest[0])


def _let_data_go(prediction: Prediction) -> None:
    if isinstance(prediction.X, weakref.ref):  # it has gone with its predictions
        return
    try:
        prediction.X = weakref.ref(prediction.X)
    except TypeError:
        prediction.X = None


def _let_values_go(prediction: Prediction) -> None:
    alike = _by_length.get(len(prediction.values))
    if alike is not None:
        alike.pop(prediction.number, None)
        if not alike:
            _by_length.pop(len(prediction.values), None)
    prediction.values = None


_data, _values = _Store(_let_data_go), _Store(_let_values_go)
_by_length: dict[int, dict[int, Prediction]] = {}


def kept_predictions(rows: int | None = None, *, newest: int = 0) -> list[Prediction]:
    """Those whose values are kept, in the order of their calls: all of so many rows, or the newest few."""
    if rows is not None:
        return list(_by_length.get(rows, {}).values())
    return _values.newest(newest)


def _keep(prediction: Prediction, result: Any) -> None:
    size = _bytes_of(prediction.X)
    if size is None or size > LARGEST_BYTES:
        _let_data_go(prediction)
    else:
        owned = _bytes_of_owner(prediction.X, size)
        prediction.is_of_much = size > KEPT_BYTES or owned > max(size, VIEWED_BYTES)
        _data.add(prediction, size if prediction.is_of_much else owned)
    if type(result) is not np.ndarray or result.ndim not in (1, 2) or result.dtype.kind not in "biufUO":
        return
    size = result.nbytes if result.dtype.kind != "O" else result.size * OBJECT_BYTES
    if size + OVERHEAD <= KEPT_BYTES:
        prediction.values = result.copy()
        _by_length.setdefault(len(result), {})[prediction.number] = prediction
        _values.add(prediction, size + OVERHEAD)


def _bytes_of(X: Any) -> int | None:
    """About how many bytes are kept alive with data; None: that is not known."""
    if isinstance(X, np.ndarray):
        return X.nbytes
    if isinstance(X, (list, tuple)):
        return len(X) * OBJECT_BYTES
    size = getattr(X, "size", None)  # of a frame, or a sparse matrix: its numbers
    return size * 8 if isinstance(size, int) else None


def _bytes_of_owner(X: Any, size: int) -> int:
    """The same of all that data is a view of, if it is one.

    Args:
        size: of the data alone.
    """
    if hasattr(X, "columns"):  # a frame has no public and cheap way to tell: one column's memory says it
        blocks = getattr(getattr(X, "_mgr", None), "blocks", None)
        X = blocks[0].values if blocks else None
        size = size if isinstance(X, np.ndarray) else VIEWED_BYTES + 1  # as if it were of a large one
    while isinstance(getattr(X, "base", None), np.ndarray):
        X = X.base
    return max(size, X.nbytes) if isinstance(X, np.ndarray) else size
