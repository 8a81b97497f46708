"""Predictions that a user has copied or changed on the way to a metric: known again by their content.

A list, a column of a frame, another type, batches put together: what was predicted is equal to what one of
the kept predictions holds (``outputs.py``). If two runs have predicted the same, nobody can tell which of
them is meant, and it is neither. Labels that the user has made from scores (a threshold, ``argmax``,
``round``) equal nothing that was predicted: they are only compared with the last prediction of their thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autolog.core.recording import Recording
from autolog.sklearn.inside import attribute
from autolog.sklearn.outputs import Prediction, kept_predictions, latest_prediction

__all__ = ["Ambiguous", "Seen", "parts_of", "seen_by_content"]

LEAST_DERIVED = 50  # rows: fewer may well be divided alike by scores of another model
LEAST_LABELS = 20  # rows: the labels of fewer may well be those of other rows, or of another model
MOSTLY_DISTINCT = 0.9  # of scores, so that they are known in any order
MOST_VALUES = 4_000_000  # of what a user hands on that are compared
MOST_BATCHES = 1_000  # predictions that are looked through for batches
MOST_IDLE = 100  # of them that are none


@dataclass(frozen=True)
class Seen:
    """What a metric was given, known as predictions of a run."""

    run: Recording
    prediction: Prediction
    value: Any
    """What was given: ``whole`` or a view of it; of derived labels, these."""
    whole: Any
    """All that was predicted."""
    data: Any
    """What was predicted of, None if it is gone."""
    is_owner: bool = False
    """Whether ``whole`` is only the owner of the memory of what was predicted."""
    of_batches: bool = False
    """Whether it is several predictions, of which ``prediction`` is the last one."""
    derived: str | None = None
    """How the user has made labels of it."""
    classes: Any = None
    """Of derived labels: in the order of the scores' columns."""

    @property
    def is_as_predicted(self) -> bool:
        """Whether it is what the model says, as it is now."""
        is_changed = self.derived is not None or self.prediction.is_changed
        return not is_changed and self.prediction.fits == self.run.trainings

    @property
    def method(self) -> str:
        """Which method has predicted it."""
        return self.prediction.method


class Ambiguous(Exception):  # noqa: N818 - it is no fault, and never leaves the room
    """Predictions that more than one recorded run has made."""

    def __init__(self, runs: Sequence[Recording]):
        super().__init__()
        self.runs = runs


def seen_by_content(value: Any) -> Seen | None:
    """The predictions that these are equal to, or made from; None: there are none.

    Raises:
        Ambiguous: several runs have predicted this.
    """
    rows = _rows_of(value)
    if not 1 < rows <= MOST_VALUES:
        return None
    alike, batches, last = kept_predictions(rows), list(_batches_of(rows)), latest_prediction()
    if last is not None and (last.values is None or len(last.values) != rows):
        last = None
    if not (alike or batches or last is not None) or (given := _plain(value)) is None:
        return None
    found = [seen for one in alike if (seen := _equal(one, given)) is not None]
    found = found or [seen for made in batches if (seen := _put_together(made, given)) is not None]
    runs = {id(seen.run): seen.run for seen in found}
    if len(runs) > 1:
        raise Ambiguous(list(runs.values()))
    if not found:
        return _derived(last, given) if last is not None else None
    # One run may have predicted the same of two sets of data: of which these are we do not know.
    newest = found[-1]
    return newest if all(_are_of_one(newest, seen) for seen in found[:-1]) else None


def _rows_of(value: Any) -> int:
    """How many predictions it may be. (A ranking's metric takes those of all rows as one row.)"""
    if not hasattr(value, "__len__") or isinstance(value, (str, bytes)):
        return 0
    try:
        is_one_row = len(value) == 1 and not hasattr(value, "iloc") and hasattr(value[0], "__len__")
        return len(value[0]) if is_one_row else len(value)
    except (LookupError, TypeError):  # a single number in an array, a sparse matrix, a mapping
        return 0


def _plain(value: Any) -> Any:
    """Values as an array, if they are some that a model may have predicted, and not all the same."""
    try:
        array = np.asarray(value[0] if len(value) == 1 else value)
        says_something = bool((array != array[:1]).any())  # nothing tells one constant from another
    except Exception:  # of another library, rows of several lengths, or missing values
        return None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    is_known_kind = array.ndim in (1, 2) and array.dtype.kind in "biufUO"
    return array if is_known_kind and says_something else None


def _are_of_one(one: Seen, other: Seen) -> bool:
    if one.prediction.method != other.prediction.method or one.prediction.fits != other.prediction.fits:
        return False
    return one.data is other.data or (one.data is not None and _is_equal_data(one.data, other.data))


def _is_equal_data(one: Any, other: Any) -> bool:
    """Whether it is the same data: a user asks twice for the same part of theirs."""
    if type(one) is not type(other) or getattr(one, "shape", None) != getattr(other, "shape", None):
        return False
    if type(one) is np.ndarray:
        return bool(np.array_equal(one, other))
    return bool(one.equals(other)) if hasattr(one, "equals") else False


# Equal ----------------------------------------------------------------------------------------------


def _equal(prediction: Prediction, given: Any) -> Seen | None:
    """The prediction, if it holds just these values."""
    values, run = prediction.values, prediction.run()
    if values is None or run is None:
        return None
    part = _part_like(values, given)
    if part is None or not _holds(part, given):
        return None
    if part.dtype.kind != "f" and len(part) < LEAST_LABELS:
        return None
    return Seen(run, prediction, part, values, prediction.data)


def _part_like(values: Any, given: Any) -> Any:
    """What was predicted, or its column of the second of two classes: whichever is shaped like the given."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and given.ndim == 1:
        values = values[:, 1] if values.shape[1] == 2 else None
    return values if values is not None and values.shape == given.shape else None


def _holds(values: Any, given: Any) -> bool:
    """Whether two arrays hold the same, after a change of type in which no whole number is lost."""
    if (values.dtype.kind in "UO") != (given.dtype.kind in "UO"):
        return False
    if values.dtype.kind == given.dtype.kind == "f" and given.dtype.itemsize < values.dtype.itemsize:
        with np.errstate(over="ignore"):
            values = values.astype(given.dtype)
    try:
        return np.array_equal(values[0], given[0]) and np.array_equal(values, given)
    except (TypeError, ValueError):  # missing values say neither yes nor no
        return False


# Put together ---------------------------------------------------------------------------------------


def _batches_of(rows: int) -> Iterator[list[Prediction]]:
    """The last predictions of each model that have so many rows together, if it is more than one."""
    of_model: dict[tuple[Any, ...], list[Prediction]] = {}
    left: dict[tuple[Any, ...], int] = {}
    idle = 0
    for prediction in reversed(kept_predictions(newest=MOST_BATCHES)):
        # (The reference tells models apart that are gone: all of one model's predictions hold the same.)
        model, values = id(prediction.estimator), prediction.values
        key = model, prediction.method, prediction.fits, prediction.is_changed
        missing = left.get(key, rows)
        if values is None or missing <= 0:
            idle += 1
            if idle > MOST_IDLE:  # a program that predicts much, and not in batches
                break
            continue
        of_model.setdefault(key, []).append(prediction)
        left[key] = missing - len(values)
    for key, made in of_model.items():
        if left[key] == 0 and len(made) > 1:
            yield made[::-1]


def _put_together(batches: Sequence[Prediction], given: Any) -> Seen | None:
    """The batches as one prediction, if they hold these values one after the other."""
    run, values = batches[-1].run(), [batch.values for batch in batches]
    if run is None or any(one is None or one.shape[1:] != values[0].shape[1:] for one in values):
        return None
    whole = np.concatenate(values)
    part = _part_like(whole, given)
    if part is None or not _holds(part, given):
        return None
    return Seen(run, batches[-1], part, whole, _joined([batch.data for batch in batches]), of_batches=True)


def _joined(parts: Sequence[Any]) -> Any:
    """The data of batches in one piece; None where a part is gone, or nobody knows how."""
    kinds = {type(part) for part in parts}
    if kinds == {np.ndarray}:
        return np.concatenate(parts)
    if len(kinds) == 1 and type(parts[0]).__module__.partition(".")[0] == "pandas":
        import pandas as pd

        return pd.concat(parts)
    return None


def parts_of(value: Any) -> list[Prediction]:
    """The last predictions of several models that together are these values: each model's of a fold.

    They lie one after the other, or anywhere (``oof[fold] = ...``) if they are scores that tell rows apart.
    Empty: there are none.
    """
    rows = _rows_of(value)
    if not LEAST_LABELS <= rows <= MOST_VALUES:
        return []
    given: Any = None
    for method in ("predict_proba", "decision_function", "predict"):
        parts = _last_of_models(rows, method)
        if len(parts) < 2:
            continue
        given = _plain(value) if given is None else given
        if given is None or given.ndim != 1:
            return []
        columns = [_column_of(part.values) for part in parts]
        if any(column is None for column in columns):
            continue
        whole = np.concatenate(columns)
        if _holds(whole, given) or (_tells_rows_apart(given) and _holds(np.sort(whole), np.sort(given))):
            return parts
    return []


def _last_of_models(rows: int, method: str) -> list[Prediction]:
    """The last prediction of each of the last models, in their order, if they have so many rows together."""
    parts: list[Prediction] = []
    models: set[int] = set()
    for prediction in reversed(kept_predictions(newest=MOST_BATCHES)):
        if prediction.values is None or prediction.method != method or id(prediction.estimator) in models:
            continue
        models.add(id(prediction.estimator))
        parts.append(prediction)
        rows -= len(prediction.values)
        if rows <= 0:
            break
    return parts[::-1] if rows == 0 else []


def _column_of(values: Any) -> Any:
    if values.ndim == 2:
        return values[:, -1] if values.shape[1] <= 2 else None
    return values


def _tells_rows_apart(scores: Any) -> bool:
    return bool(scores.dtype.kind == "f" and len(np.unique(scores)) >= MOSTLY_DISTINCT * len(scores))


# Made from it ---------------------------------------------------------------------------------------


def _derived(last: Prediction, given: Any) -> Seen | None:
    """Labels that the user has made from what was predicted last in this thread."""
    run, values = last.run(), last.values
    if run is None or values is None or len(given) < LEAST_DERIVED:
        return None
    if given.ndim != 1 or values.dtype.kind != "f" or not np.isfinite(values).all():
        return None
    ways = (_by_rounding, _by_threshold) if last.method == "predict" else (_by_argmax, _by_threshold)
    made = next((made for way in ways if (made := way(values, given, last)) is not None), None)
    if made is None:
        return None
    how, labels, classes = made
    return Seen(run, last, labels, values, last.data, derived=how, classes=classes)


_Made = tuple[str, Any, Any]
"""How labels were made; the labels; and the classes in the order of the scores' columns, if it is scores."""


def _by_threshold(values: Any, given: Any, last: Prediction) -> _Made | None:
    """Whether the labels divide the scores into the lower and the higher ones."""
    if values.ndim == 2 and values.shape[1] > 2:
        return None
    scores = values if values.ndim == 1 else values[:, -1]
    try:
        labels = np.unique(given)
    except TypeError:  # of several types
        return None
    if len(labels) != 2:
        return None
    own = attribute(last.estimator(), "classes_")
    are_own = own is not None and np.array_equal(labels, own)
    if not (are_own or (labels.dtype.kind != "U" and np.array_equal(labels, [0, 1]))):
        return None
    is_high = given == labels[1]
    low, high = float(scores[~is_high].max()), float(scores[is_high].min())
    if low >= high:
        return None
    classes = np.asarray(own) if are_own else labels  # `scores > 0.3` stands for the classes 0 and 1
    how = f"a threshold of {_shortest_between(low, high)}"
    return how, classes[is_high.astype(int)], None if last.method == "predict" else classes


def _shortest_between(low: float, high: float) -> str:
    """The number with the fewest digits from ``low`` to ``high``."""
    middle = (low + high) / 2
    for digits in range(17):
        if low <= float(text := f"{middle:.{digits}f}") <= high:
            return text.replace("-0", "0") if float(text) == 0 else text
    return repr(middle)


def _by_rounding(values: Any, given: Any, last: Prediction) -> _Made | None:
    return ("rounding", given, None) if _holds(np.round(values), given) else None


def _by_argmax(values: Any, given: Any, last: Prediction) -> _Made | None:
    if values.ndim != 2:
        return None
    places = values.argmax(axis=1)
    for labels in (attribute(last.estimator(), "classes_"), np.arange(values.shape[1])):
        if (
            labels is not None
            and len(labels) == values.shape[1]
            and _holds(np.asarray(labels)[places], given)
        ):
            return "the highest score", given, np.asarray(labels)
    return None
