"""The user's own numbers: what a metric function or a ``score`` has returned, under its own name.

What we compute of an evaluation stands beside them (:mod:`autolog.capture.evaluation`); where that is the
same number, it is there already.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FrameType, FunctionType
from typing import Any

from autolog.capture.params import sanitize
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.process import background, hooks
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Hook
from autolog.sklearn import folds

__all__ = [
    "Awaited",
    "Values",
    "name_of_metric",
    "name_of_score",
    "observe_check",
    "observe_value",
    "record_value",
    "wait_for_value",
]

MOST_CALLS = 200  # of metrics with one name, arguments and data, or on a part of it: rows of a table
MOST_NUMBERS = 100  # names of the user's own, by arguments: the others are rows of that table, too
MOST_ENTRIES = 1_000  # of a value with an entry for each class, label or output
CLOSE = 1e-9

# Where what we compute ourselves has a shorter name than scikit-learn's function.
_SHORT = {
    "brier_score_loss": "brier",
    "mean_absolute_error": "mae",
    "mean_squared_error": "mse",
    "root_mean_squared_error": "rmse",
}
_KINDS = ("multi_class", "average")  # arguments that make another metric of it: they stand in its name
_CHOICES = ("labels", "pos_label")  # which classes it is of: without them it is no number of that name
_NOT_CHOSEN = {"warn", "deprecated"}  # what scikit-learn sets a parameter to whose default is going to change


@dataclass
class Values:
    """The numbers of a run on one set of data."""

    name: str
    """Of the set: ``val``."""
    numbers: dict[str, float] = field(default_factory=dict)
    """By their names without the set's: what we have computed and what the user has."""
    arguments: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """That the user's were computed with."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    is_waiting: bool = False
    """Whether the table of calls will be written."""
    entries: dict[str, tuple[Mapping[str, Any], list[Any]]] = field(default_factory=dict)
    """Of what has a value for each class or output: the arguments, and the values told last."""

    def computed(self, numbers: Mapping[str, float]) -> None:
        """We have evaluated the set."""
        self.numbers.update(numbers)

    def holds(self, name: str, value: float) -> bool:
        """Whether this number stands there already: as ``f1_macro`` it is none of ``accuracy``'s."""
        known = [key for key in self.numbers if key == name or key.startswith(f"{name}_")]
        return any(_is_close(self.numbers[key], value) for key in known)


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE) or (math.isnan(one) and math.isnan(other))


# Names ----------------------------------------------------------------------------------------------


def name_of_metric(function: str, arguments: Mapping[str, Any]) -> str:
    """``f1_score(average="weighted")`` is ``f1_weighted``, of ``roc_auc_score`` ``roc_auc_ovo`` is a kind.

    Args:
        arguments: those that are not the function's defaults, without the data.
    """
    name = _SHORT.get(function) or function.removesuffix("_score")
    if not arguments:
        return name
    kinds = [arguments.get(key) for key in _KINDS]
    name = "_".join([name, *(kind for kind in kinds if isinstance(kind, str))])
    # (scikit-learn's own scorers say `pos_label=None`, which chooses nothing.)
    return _with_arguments(name, {key: arguments[key] for key in _CHOICES if arguments.get(key) is not None})


def _with_arguments(name: str, arguments: Mapping[str, Any]) -> str:
    """A name that tells a metric from the same one with other arguments: ``fbeta_macro_beta2``."""
    parts = [name]
    for key, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            parts.append(key if value is not False else f"no_{key}")
        else:
            parts.append(str(value) if isinstance(value, str) else f"{key}{value:g}")
    return "_".join(parts)


def name_of_score(estimator: Any) -> tuple[str, Mapping[str, Any]]:
    """What its ``score`` returns is called, and the arguments of that metric. ``score``: it has no name.

    Not every ``scoring`` is that of ``score``: ``RidgeCV`` and ``HistGradientBoostingClassifier`` use theirs
    in the fit alone, and have the ``score`` of every regressor and classifier.
    """
    is_of_its_kind = getattr(getattr(type(estimator), "score", None), "__module__", None) == "sklearn.base"
    scoring = None if is_of_its_kind else getattr(estimator, "scoring", None)
    if isinstance(scoring, str) and scoring in _NOT_CHOSEN:
        return "score", {}
    if isinstance(scoring, str):
        return scoring, {}
    function = getattr(scoring, "_score_func", None)
    if function is not None:
        arguments = dict(getattr(scoring, "_kwargs", {}))
        name = name_of_metric(_name_of(function), arguments)
        return (f"neg_{name}" if getattr(scoring, "_sign", 1) < 0 else name), arguments
    return _name_of(scoring) if callable(scoring) else "score", {}


def _name_of(function: Any) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    return "score" if name == "<lambda>" else str(name)


# What a metric returns --------------------------------------------------------------------------------
#
# The function that checks a metric's arguments shows them to us (see ``evaluation.py``). What the metric
# then returns is seen by a hook inside of it, which is put in at the first call that matters. So it does not
# matter where and when a program has imported the metric, and there is no list of metrics.


@dataclass(slots=True)
class Awaited:
    """A metric that is being computed on predictions of a recorded model.

    Attributes:
        data: the names of the arguments that are the data.
        is_whole: whether it is of all of the set, as the model predicted it.
        classes: of the model.
        rows: that it is computed on.
        derived: how the user has made labels of the predictions; None: it is the predictions.
    """

    run: Recording
    values: Values
    data: frozenset[str]
    is_whole: bool
    classes: Any
    rows: int | None
    derived: str | None = None


class _Here(threading.local):
    awaited: Awaited | None = None
    checked: tuple[Any, str | None] = (None, None)


_here = _Here()

# What shows us its results, by the identity of the constraints that its arguments are checked with, and those
# themselves, so that nothing else takes their place: each function has its own.
_shown: dict[int, tuple[Any, weakref.ref[Any]]] = {}

_CHECKS = "sklearn.utils._param_validation"
CHECK = "validate_parameter_constraints"


def observe_check(constraints: Any, name: str | None) -> None:
    """The arguments of this function are being checked now. Nobody waits for what the last one returns."""
    _here.awaited = None
    _here.checked = constraints, name


def wait_for_value(awaited: Awaited | None) -> None:
    """What the metric returns that is being checked now is of interest; None: it is not."""
    _here.awaited = awaited if awaited is not None and _is_watched() else None


def _is_watched() -> bool:
    """Whether the metric that is being checked now shows us what it returns, from now on at the latest."""
    constraints, name = _here.checked
    _, reference = _shown.get(key := id(constraints), (None, None))
    known = reference() if reference is not None else None
    if known is not None and known.__qualname__ == name and _is_ours(known):
        return True
    function = _watched_by_frame()
    if function is None:
        return False
    _shown[key] = constraints, weakref.ref(function, lambda _: _shown.pop(key, None))
    return True


def _watched_by_frame() -> Any:
    """The function of that metric, in which our hook stands; None: it cannot be put in."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not (frame.f_globals.get("__name__") == _CHECKS and "func" in frame.f_locals):
        frame = frame.f_back
    if frame is None:
        return None
    function = frame.f_locals["func"]
    if _is_ours(function):
        return function
    decorated = getattr(sys.modules.get(function.__module__), function.__name__, None)
    if not isinstance(decorated, FunctionType) or decorated.__code__ is not frame.f_code:
        return None
    hook = Hook(
        function.__module__,
        f"{function.__name__}.func",
        observe_value,
        kind="asked",
        outermost_of="sklearn",
        along=f"{_CHECKS}.{CHECK}",
        optional=True,
    )
    hooks.install([hook])  # once more, where a function of that name was there before, and was defined anew
    function = frame.f_locals["func"]
    return function if _is_ours(function) else None


def _is_ours(function: Any) -> bool:
    return hooks.hook_of(function) is not None


def observe_value() -> Callable[[Call, Any], None] | None:
    """A metric function without its check of arguments. A metric that it calls itself is not awaited."""
    awaited, _here.awaited = _here.awaited, None
    return None if awaited is None else functools.partial(_returned, awaited)


def _returned(awaited: Awaited, call: Call, value: Any) -> None:
    arguments: Mapping[str, Any] = {}
    if not call.arguments.keys() <= awaited.data:
        arguments = {key: given for key, given in call.changed().items() if key not in awaited.data}
    name = name_of_metric(call.function, arguments)
    is_plain = awaited.is_whole and awaited.derived is None and isinstance(value, float)
    known = awaited.values.numbers.get(name) if is_plain else None
    if known is not None and _is_close(known, value):
        return  # as most often: to open a shield takes longer than all of this
    with shield("scikit-learn: the value of a metric", awaited.run):
        record_value(
            awaited.run,
            awaited.values,
            name,
            arguments,
            value,
            is_whole=awaited.is_whole,
            derived=awaited.derived,
            classes=_classes_of(awaited, call) if getattr(value, "ndim", 0) else None,
            rows=awaited.rows,
        )


def _classes_of(awaited: Awaited, call: Call) -> Any:
    """Which class each entry of a metric's value is of: those that occur, in order, not those of the model.

    None: the entries are of labels or of outputs.
    """
    import numpy as np

    if awaited.classes is None or (labels := call.get("labels")) is not None:
        return labels if awaited.classes is not None else None
    names = awaited.data & call.arguments.keys() - {"sample_weight"}
    columns = [column for name in names if (column := np.asarray(call.arguments[name])).ndim == 1]
    return np.unique(np.concatenate(columns)) if columns else None


# Recording ------------------------------------------------------------------------------------------


def record_value(
    run: Recording,
    values: Values,
    name: str,
    arguments: Mapping[str, Any],
    value: Any,
    *,
    is_whole: bool = True,
    derived: str | None = None,
    classes: Any = None,
    rows: int | None = None,
) -> None:
    """What the user has computed on a set of data that a run was evaluated on.

    Args:
        name: of the metric, see :func:`name_of_metric`.
        arguments: of the call, without the data and the defaults.
        is_whole: whether it is of all of the set, as the model predicted it.
        derived: how the user has made labels of the predictions, if they have. Each is a row of the calls:
            a user may try a hundred thresholds.
        classes: for a value with an entry of each.
        rows: that it is computed on.
    """
    is_whole = is_whole and derived is None
    if not isinstance(value, (str, bool)) and not _is_number(value):
        if is_whole:
            _record_entries(run, values, name, arguments, value, classes)
        return
    if not _is_number(value):
        return
    number = float(value)
    more = {key: value for key, value in arguments.items() if key not in _KINDS}
    plain = sanitize(more) if more else more
    if is_whole and name in values.numbers and values.arguments.get(name, {}) != plain:
        if _is_close(values.numbers[name], number):
            return
        more = {key: value for key, value in plain.items() if key not in _CHOICES}
        name = _with_arguments(name, more)
    if is_whole and name not in values.numbers and len(values.arguments) < MOST_NUMBERS:
        if values.holds(name, number):
            return
        values.numbers[name], values.arguments[name] = number, plain
        key = f"{values.name}/{name}"
        run.log({key: number}, step=run.step_of_model)
        folds.told(run, {key: number})
        if plain:
            run.describe({f"arguments/{key}": plain})
        return
    if is_whole and name in values.numbers and _is_close(values.numbers[name], number):
        return
    shown = ", ".join(f"{key}={one!r}" for key, one in plain.items())
    row = {"metric": name, "value": number, "rows": rows, "arguments": shown}
    of = "the whole" if is_whole else "a part, or with other weights"
    _record_call(run, values, row | {"of": f"labels by {derived}" if derived is not None else of})


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        getattr(value, "ndim", None) == 0 and value.dtype.kind in "fiu"
    )


def _record_call(run: Recording, values: Values, row: dict[str, Any]) -> None:
    """A call that is not the run's own number: of a part, or once more with another result."""
    if len(values.calls) >= MOST_CALLS:
        run.note(f"{values.name}/calls", f"the first {MOST_CALLS} calls are recorded")
        return
    values.calls.append(row)
    if not values.is_waiting:  # a program may make hundreds in a loop: few of them see the table written
        values.is_waiting = True
        background.later("calls of metrics", functools.partial(_write_calls, run, values))


def _write_calls(run: Recording, values: Values) -> None:
    values.is_waiting = False  # first: what comes from now on needs a job of its own
    charge(run)
    record_long_table(run, f"{values.name}/calls", list(values.calls))


def _record_entries(
    run: Recording, values: Values, name: str, arguments: Mapping[str, Any], value: Any, classes: Any
) -> None:
    """A value for each class, label or output: a table."""
    import numpy as np

    array = np.asarray(value) if hasattr(value, "dtype") else None
    if array is None or array.dtype.kind not in "fiu" or not 0 < len(array) <= MOST_ENTRIES:
        return
    are_classes = classes is not None and len(classes) == len(array)
    names = list(map(str, classes)) if are_classes else list(map(str, range(len(array))))
    plain = sanitize({key: value for key, value in arguments.items() if key not in _KINDS})
    if values.entries.get(name, (plain,))[0] != plain:  # as with one number
        name = _with_arguments(name, {key: value for key, value in plain.items() if key not in _CHOICES})
    if values.entries.get(name) == (known := (plain, [names, array.tolist()])):
        return
    key = f"{name}_by_class" if are_classes else f"{name}_by_output"
    if array.ndim == 1:
        rows = [{"of": of, name: entry} for of, entry in zip(names, array.tolist(), strict=True)]
    elif array.shape[1:] == (2, 2):  # multilabel_confusion_matrix
        cells = ("true_negatives", "false_positives", "false_negatives", "true_positives")
        rows = [
            {"of": of, **dict(zip(cells, entry, strict=True))}
            for of, entry in zip(names, array.reshape(-1, 4).tolist(), strict=True)
        ]
        key = name
    else:
        return  # curves and matrices, which an evaluation draws
    values.entries[name] = known
    record_long_table(run, f"{values.name}/{key}", rows)
