"""An evaluation that the user makes finds its run, without a change to his code.

What a recorded estimator returns from ``predict`` and its like is remembered, weakly. When such an array
(or a column of it) arrives in one of scikit-learn's metrics, together with the truth, this is an
evaluation of that run; one sighting is enough, the rest is computed here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autolog.capture import datasets, evaluation
from autolog.core.guard import random_state_untouched, watching
from autolog.core.ownership import find_run
from autolog.core.run import Run
from autolog.sklearn.fit import affordable_rows, task_of, training_data

__all__ = [
    "observe_decision_function",
    "observe_metric",
    "observe_predict",
    "observe_predict_log_proba",
    "observe_predict_proba",
]

MOST_SETS = 20  # evaluation sets of one run; further ones are counted, not recorded

# fmt: off
_METRICS = frozenset(
    {
        "accuracy_score", "average_precision_score", "balanced_accuracy_score", "brier_score_loss",
        "classification_report", "confusion_matrix", "d2_absolute_error_score", "det_curve",
        "explained_variance_score", "f1_score", "fbeta_score", "hamming_loss", "jaccard_score",
        "log_loss", "matthews_corrcoef", "max_error", "mean_absolute_error",
        "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_log_error",
        "median_absolute_error", "precision_recall_curve", "precision_recall_fscore_support",
        "precision_score", "r2_score", "recall_score", "roc_auc_score", "roc_curve",
        "root_mean_squared_error", "top_k_accuracy_score", "zero_one_loss",
    }
)
# fmt: on
# What the prediction has been called in one version or another; a name out of use holds a mere text.
_PREDICTIONS = ("y_pred", "y_score", "y_proba", "y_prob", "probas_pred")


class _Output(weakref.ref[Any]):
    """A weak reference to an array that a recorded estimator returned, and where it came from.

    Made at every ``predict``, so it is one small object: no closure, no dict of its own.
    """

    __slots__ = ("X", "estimator", "key", "method", "run", "value")

    key: int
    value: weakref.ref[Any]
    run: Run
    estimator: weakref.ref[Any]
    method: str
    X: weakref.ref[Any] | None


_outputs: dict[int, _Output] = {}


def _forget(output: _Output) -> None:
    _outputs.pop(output.key, None)


Observer = Callable[[Any, tuple[Any, ...], Mapping[str, Any], Any], None]


def _observe_output(method: str) -> Observer:
    """The observer of one predict-like method."""

    def observe(estimator: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        run = find_run(estimator)
        if run is None or watching.active("sklearn"):
            return
        X = args[0] if args else kwargs.get("X")
        _remember(result, result, run, estimator, method, X)
        # A column of it is a view of the array that owns the memory, which may be another one: NumPy
        # keeps no chain of views. Unless that is the user's own data.
        owner = getattr(result, "base", None)
        if owner is not None and owner is not X and owner is not getattr(X, "base", None):
            _remember(owner, result, run, estimator, method, X)

    return observe


observe_predict = _observe_output("predict")
observe_predict_proba = _observe_output("predict_proba")
observe_predict_log_proba = _observe_output("predict_log_proba")
observe_decision_function = _observe_output("decision_function")


def _remember(known: Any, result: Any, run: Run, estimator: Any, method: str, X: Any) -> None:
    try:
        output = _Output(known, _forget)
        output.value = weakref.ref(result)
    except TypeError:  # a list, say: nothing to know it again by
        return
    output.key = id(known)
    output.run = run
    output.estimator = weakref.ref(estimator)
    output.method = method
    try:
        output.X = weakref.ref(X)
    except TypeError:
        output.X = None
    _outputs[output.key] = output


def _output_of(value: Any) -> _Output | None:
    """The remembered output that this array is, or is a view of (``proba[:, 1]``)."""
    for known in (value, getattr(value, "base", None)):
        output = _outputs.get(id(known))
        if known is not None and output is not None and output() is known:
            return output
    return None


def observe_metric(constraints: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A metric is about to be computed, its arguments are checked: is it of something we recorded?"""
    name = kwargs.get("caller_name", args[1] if len(args) > 1 else None)
    if name not in _METRICS or watching.active("sklearn"):
        return
    given = args[0] if args else kwargs.get("params", {})
    for argument in _PREDICTIONS:
        output = _output_of(given.get(argument))
        if output is not None:
            _evaluate(output, given["y_true"], given.get("sample_weight"))
            return


# One evaluation -----------------------------------------------------------------------------------


@dataclass
class _Set:
    """A set of data that a run was evaluated on."""

    name: str
    done: set[str] = field(default_factory=set)  # "labels", "scores"


_sets: weakref.WeakKeyDictionary[Run, dict[str, _Set]] = weakref.WeakKeyDictionary()


def _evaluate(output: _Output, truth: Any, weight: Any) -> None:
    run, estimator, value = output.run, output.estimator(), output.value()
    X = output.X() if output.X is not None else None
    if estimator is None or value is None:
        return
    task = task_of(estimator)
    which = _set_of(run, truth)
    kind = "labels" if output.method == "predict" else "scores"
    if which is None or kind in which.done or task is None:
        return
    if task == "regression":
        which.done.add(kind)
        result = evaluation.regression(truth, value, sample_weight=weight)
    else:
        scores = value if kind == "scores" else _scores(run, estimator, X)
        labels = value if kind == "labels" else None
        which.done.update({kind} if scores is None else {kind, "scores"})
        if output.method == "predict_log_proba":
            import numpy as np

            scores = np.exp(scores)
        result = evaluation.classification(
            truth,
            labels,
            scores=scores,
            classes=getattr(estimator, "classes_", None),
            sample_weight=weight,
        )
    _record(run, which.name, result)


def _set_of(run: Run, truth: Any) -> _Set | None:
    """The evaluation set that this truth is of: the training data, or a held-out set by order of sight."""
    mark = datasets.fingerprint(truth)
    sets = _sets.setdefault(run, {})
    if mark not in sets:
        known = training_data.get(run)
        if known is not None and known.target == mark:
            sets[mark] = _Set("train")
        else:
            held_out = 1 + sum(s.name != "train" for s in sets.values())
            if held_out > MOST_SETS:
                run.note("evaluation", f"only the first {MOST_SETS} evaluation sets are recorded")
                return None
            sets[mark] = _Set("val" if held_out == 1 else f"val/set-{held_out}")
    return sets[mark]


def _scores(run: Run, estimator: Any, X: Any) -> Any:
    """Class scores of the same rows, when they cost no more than the budget."""
    known = training_data.get(run)
    seconds = known.fit_seconds if known is not None else 0.0
    for method in ("predict_proba", "decision_function"):
        if X is not None and hasattr(estimator, method):
            rows = affordable_rows(run, estimator, method, X, seconds)
            if rows is None:
                run.note("val/roc", f"left out: {method} of the evaluation data would pass the budget")
                return None
            with random_state_untouched():
                return getattr(estimator, method)(X)
    return None


def _record(run: Run, name: str, result: evaluation.Evaluation) -> None:
    run.log({f"{name}/{key}": value for key, value in result.metrics.items()}, step=0)
    for key, rows in result.tables.items():
        # Two things under one key would hide each other in the dashboard.
        run.table(f"{name}/{key}{'_counts' if key in result.charts else ''}", rows, step=0)
    for key, chart in result.charts.items():
        run.figure(f"{name}/{key}", chart, step=0)
    for note in result.notes:
        run.note(name, note)
