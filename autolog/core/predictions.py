"""Predictions of a recorded model that are evaluated.

Where the data that is predicted holds its target, one prediction is an evaluation. Where it does not, the
truth comes with a metric: what a recorded model has returned, or labels made of it, is known again there.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autolog.capture import datasets, evaluation
from autolog.capture.kinds import is_lazy, not_computed
from autolog.core.evaluations import name_here
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation
from autolog.core.sets import Facts, plain_target, record_data, sets_of
from autolog.process.guard import charge, shield

__all__ = [
    "Prediction",
    "evaluate",
    "is_known",
    "know",
    "latest_of",
    "observe_metric",
    "one_column",
    "with_scores",
]

KEPT = 8  # predictions whose copies are known again
KEPT_VALUES = 200_000  # of one of them
MOST_ASKED = 20_000  # rows that a model is asked for its probabilities of
HALF = 0.5

_PREDICTIONS = ("y_pred", "y_score", "y_proba", "y_prob", "probas_pred")


@dataclass(eq=False)
class Prediction:
    """What a recorded model has returned.

    Attributes:
        run: of the model.
        task: ``classification`` or ``regression``.
        values: labels, amounts, or probabilities of shape (rows,), (rows, classes).
        are_scores: whether they are probabilities.
        classes: of each column, if they are other than 0, 1, ...
        are_labels: whether each column is a label of its own, which a row has or has not.
        data: what was predicted; None: it is gone.
        ask: asks the model for its probabilities of data, where these are its labels.
        thread: in which it was predicted.
        is_evaluated: a metric was of it.
    """

    run: weakref.ref[Recording]
    task: str
    values: Any
    are_scores: bool
    classes: Any = None
    are_labels: bool = False
    data: weakref.ref[Any] | None = None
    ask: Callable[[Any], Any] | None = None
    thread: int = field(default_factory=threading.get_ident)
    is_evaluated: bool = False

    @property
    def labels(self) -> Any:
        """What is predicted of each row."""
        if not self.are_scores:
            return self.values
        is_of_two = self.values.ndim == 1 or self.are_labels
        places = (self.values > HALF).astype(int) if is_of_two else self.values.argmax(axis=1)
        return places if self.classes is None else np.asarray(self.classes)[places]


# By an array's id; and whether it is the transpose of what was returned.
_by_array: dict[int, tuple[weakref.ref[Any], Prediction, bool]] = {}
_latest: deque[Prediction] = deque(maxlen=KEPT)

# Of a run: by what each set was evaluated, and whether scores were among it.
_evaluated: weakref.WeakKeyDictionary[Recording, dict[str, tuple[str, bool]]] = weakref.WeakKeyDictionary()


def evaluate(run: Recording, prediction: Prediction, facts: Facts | None, y: Any, weight: Any = None) -> None:
    """Record an evaluation: of a set that was evaluated by the same numbers it says nothing new."""
    charge(run)
    name = sets_of(run).name(facts, y)
    if lazy := [value for value in (y, weight) if is_lazy(value)]:
        run.note(name, f"not evaluated: {not_computed(lazy[0])}")
        return
    mark = datasets.read(prediction.labels).mark
    done = _evaluated.setdefault(run, {})
    before, had_scores = done.get(name, ("", False))
    if before == mark and (had_scores or not prediction.are_scores):
        return
    done[name] = mark, prediction.are_scores
    if facts is not None and name != "train" and name_here() is None:
        record_data(run, name, facts, y, weight=weight, more={})
    if weight is not None:
        run.note(name, "weighted, by the weights of the data")
    result = evaluation.evaluate(
        plain_target(y),
        prediction.labels,
        scores=prediction.values if prediction.are_scores else None,
        classes=prediction.classes,
        sample_weight=weight,
        task=prediction.task,
    )
    record_evaluation(run, name, result)


def know(result: Any, prediction: Prediction, X: Any = None) -> None:
    """From now on a metric of this array is an evaluation.

    Args:
        X: what was predicted.
    """
    try:
        prediction.data = None if X is None else weakref.ref(X)
    except TypeError:  # a list, say
        prediction.data = None
    _refer(result, prediction)
    # A column of it is a view of the array that owns the memory, which may be another one: NumPy keeps no
    # chain of views.
    owner = getattr(result, "base", None)
    if isinstance(owner, np.ndarray) and owner is not X and owner.size == result.size:
        _refer(owner, prediction, transposed=owner.shape != result.shape)
    prediction.values = one_column(result).copy() if result.size <= KEPT_VALUES else result[:0]
    _latest.append(prediction)


def _refer(array: Any, prediction: Prediction, *, transposed: bool = False) -> None:
    key, table = id(array), _by_array
    table[key] = weakref.ref(array, lambda _: table.pop(key, None)), prediction, transposed


def with_scores(prediction: Prediction, X: Any) -> Prediction:
    """The same by its probabilities, if its model can be asked for them, and they mean the same labels.

    Args:
        X: what was predicted; None: it is gone.
    """
    if prediction.ask is None or X is None or len(prediction.values) > MOST_ASKED:
        return prediction
    scores = replace(prediction, values=prediction.ask(X), are_scores=True)
    return scores if np.array_equal(scores.labels, prediction.labels) else prediction


def one_column(values: Any) -> Any:
    """Labels of shape (rows, 1) as (rows,)."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def latest_of(run: Recording, rows: int) -> Prediction | None:
    """What a run's model has predicted last, of so many rows, if all of it is kept."""
    return next((one for one in _newest_first() if one.run() is run and len(one.values) == rows), None)


def is_known(values: Any) -> bool:
    """Whether these are predictions of a model that is recorded here."""
    return _find(values) is not None


def _find(values: Any) -> tuple[Prediction, Any] | None:
    """What an array is that a metric is given, and all that was returned."""
    arrays: tuple[Any, ...] = values, getattr(values, "base", None)
    for array in arrays:
        known = _by_array.get(id(array))
        alive = known[0]() if known is not None else None
        if known is not None and alive is not None and id(alive) == id(array):
            return known[1], alive.T if known[2] else alive
    if not _latest or np.ndim(values) != 1:
        return None
    given = np.asarray(values)
    alike = [prediction for prediction in _newest_first() if _is_of(prediction, given)]
    if not alike:
        return None
    # Models may predict the same: then it is most likely that of this thread, and of the model that has not
    # been evaluated. (What is said of equal predictions is true of each.)
    here = threading.get_ident()
    found = min(alike, key=lambda one: (one.thread != here, one.is_evaluated))
    return found, found.values


def _newest_first() -> list[Prediction]:
    return list(_latest)[::-1]  # a copy, made in one go: other threads predict meanwhile


def _is_of(prediction: Prediction, given: Any) -> bool:
    if len(prediction.values) != len(given):
        return False
    return any(
        own.shape == given.shape and np.array_equal(own, given)
        for own in (prediction.labels, prediction.values)
    )


def observe_metric(constraints: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A metric is about to be computed, its arguments are checked: is it of something that is known here?"""
    if not _latest:
        return
    given = args[0] if args else kwargs.get("params", {})
    truth = given.get("y_true")
    if truth is None or is_lazy(truth):
        return
    with shield("a metric of predictions"):
        for argument in _PREDICTIONS:
            value = given.get(argument)
            found = None if value is None or isinstance(value, str) or is_lazy(value) else _find(value)
            if found is None:
                continue
            prediction, whole = found
            run = prediction.run()
            if run is not None and len(whole) == len(truth) == len(value):
                X = prediction.data() if prediction.data is not None else None
                facts = Facts.of(X) if X is not None else None
                prediction.is_evaluated = True
                seen = replace(prediction, values=one_column(whole))
                evaluate(run, with_scores(seen, X), facts, truth, given.get("sample_weight"))
            return
