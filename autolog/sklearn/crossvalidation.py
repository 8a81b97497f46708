"""``cross_val_score`` and its like: one run, with the folds as a table.

They are functions that users import before ``enable()``, so they are not patched. But each of them hands its
folds to scikit-learn's own ``Parallel``, as a generator that says where it is from; the run begins there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from numbers import Real
from types import FrameType
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.capture.figures import Chart
from autolog.capture.kinds import is_lazy, not_computed
from autolog.capture.params import label, sanitize
from autolog.core.callbacks import given_by, is_wanted
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.training import Frame, bind_run, recorded
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome
from autolog.sklearn.callback import callback_of
from autolog.sklearn.described import (
    is_being_checked,
    is_fitted_by_a_library,
    name_of,
    record_data,
    record_parameters,
    task_of,
)
from autolog.sklearn.outputs import set_latest
from autolog.sklearn.sight import record_evaluation
from autolog.sklearn.unseen import know_predictions

__all__ = ["observe_parallel"]

_FUNCTIONS = {
    "cross_validate",
    "cross_val_predict",
    "learning_curve",
    "validation_curve",
    "permutation_test_score",
}
# What the folds are for, in a run's name.
_SHORT = {
    "cross_validate": "cv",
    "cross_val_predict": "cv",
    "learning_curve": "learning",
    "validation_curve": "validation",
    "permutation_test_score": "permutations",
}
_RAISE_WHERE_ALL_FAIL = {"cross_validate", "learning_curve"}
_MODULES = {"sklearn.model_selection._validation", "sklearn.inspection._permutation_importance"}


def observe_parallel(call: Call) -> Frame:
    """A run around the folds of a cross-validation; any other ``Parallel`` is left alone."""
    function, given = _asked(call.get("iterable"))
    if function == "permutation_importance":
        with watching("sklearn"):  # shuffled features are no data to be evaluated on
            yield
        return
    callback = callback_of(given["estimator"]) if function in _FUNCTIONS else None
    silent = not is_wanted("sklearn", callback) or is_being_checked() or is_fitted_by_a_library()
    if function not in _FUNCTIONS or silent:
        yield
        return
    with watching("sklearn"):
        try:
            name = name_of(given["estimator"], _SHORT.get(function, function))
            training = begin_training(
                call.subject, name, framework="sklearn", given=given_by(callback), may_wrap=True
            )
        except Exception:
            yield
            raise
        tasks: list[_Task] = []
        if function != "permutation_test_score":
            noted = _noted(call.get("iterable"), tasks)
            if isinstance(noted, Iterator):  # it goes into the user's call in place of their own
                call.replace("iterable", noted)

        run = training.run

        def before() -> None:
            record_parameters(run, given["estimator"])
            run.describe({"cv/function": function})
            record_data(run, given.get("X"), given.get("y"), is_divided=True)

        def after(outcome: Outcome, seconds: float) -> None:
            results = outcome.result
            if results is None:  # it has raised
                return
            set_latest(run, call.subject)
            run.log_once({"vitals/cv_seconds": seconds}, step=run.last_step)
            run.note("model", "not kept: cross-validation throws its models away")
            if function == "cross_val_predict":
                _record_predictions(run, given, tasks, results)
            elif function == "permutation_test_score":
                rows = [{"permutation": n, "score": float(score)} for n, score in enumerate(results)]
                record_long_table(run, "cv/permutations", rows)
                run.log({"cv/permuted_score_mean": float(np.mean(results))}, step=run.last_step)
                run.note("cv/score", "the score without permutation is computed before this run begins")
            else:
                _record_folds(run, function, given, tasks, results)

        def reason(outcome: Outcome) -> BaseException | None:
            return outcome.error or _failure_of_all(function, outcome.result)

        yield from recorded("scikit-learn", training, before=before, after=after, reason=reason)


def observe_permutation(call: Call) -> Frame:
    """One fit of ``permutation_test_score``: none of it is a run."""
    with watching("sklearn"):
        yield


def _asked(iterable: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Which function of scikit-learn's made this generator of tasks, and what it was given."""
    frame = getattr(iterable, "gi_frame", None)
    if frame is None or frame.f_globals.get("__name__") not in _MODULES:
        return None, {}
    given = frame.f_locals
    if "estimator" not in given:
        return None, {}
    function = iterable.gi_code.co_qualname.split(".")[0]
    return function, {**given, "encoder": _encoder_of(function)}  # a copy: the frame is cleared at its end


def _encoder_of(function: str) -> Any:
    """What ``cross_val_predict`` has numbered the classes with, for probabilities."""
    if function != "cross_val_predict":
        return None
    frame: FrameType | None = sys._getframe(1)
    for _ in range(12):  # the engine's frames are between
        if frame is None:
            return None
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") in _MODULES:
            return frame.f_locals.get("le")
        frame = frame.f_back
    return None


# The folds ----------------------------------------------------------------------------------------


def _failure_of_all(function: str | None, results: Any) -> BaseException | None:
    """What scikit-learn is about to raise because no fold could be fitted: when the run has ended already."""
    if function not in _RAISE_WHERE_ALL_FAIL or not results:
        return None
    if not all(isinstance(result, Mapping) and result.get("fit_error") for result in results):
        return None
    return ValueError(f"All the {len(results)} fits failed. The last one: {_last_line(results[-1])}")


def _last_line(result: Mapping[str, Any]) -> str:
    return str(result["fit_error"]).strip().splitlines()[-1]


class _Task:
    """What is remembered of one fold: no data, only how much of it."""

    def __init__(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]):
        # (estimator, X, y, train, test, ...) or, by name, train=, test=
        train = kwargs.get("train", args[3] if len(args) > 4 else ())
        self.test: Any = kwargs.get("test", args[4] if len(args) > 4 else ())
        self.train_rows = len(train)
        self.parameters: Mapping[str, Any] = kwargs.get("parameters") or {}


def _noted(tasks: Iterable[Any], notes: list[_Task]) -> Iterator[Any]:
    """The same tasks, as lazily as they come."""
    for task in tasks:
        with shield("scikit-learn: a fold"):
            notes.append(_Task(*task))
        yield task


def _record_folds(
    run: Recording, function: str, given: Mapping[str, Any], tasks: list[_Task], results: Any
) -> None:
    rows: list[dict[str, Any]] = []
    scores: list[dict[str, float]] = []
    for number, (task, result) in enumerate(zip(tasks, results, strict=False)):
        if not isinstance(result, Mapping):  # learning_curve with partial_fit: an array per fold
            run.note("cv/folds", "not recorded: learned incrementally")
            return
        found: dict[str, float] = {}
        for part in ("test", "train"):
            values = result.get(f"{part}_scores", {})
            values = values if isinstance(values, Mapping) else {"score": values}
            found |= {f"{part}_{name}": float(value) for name, value in values.items()}
        row: dict[str, Any] = {"fold": number, **task.parameters}
        row |= {"train_rows": task.train_rows, "test_rows": len(task.test), **found}
        seconds = {f"{part}_seconds": result.get(f"{part}_time") for part in ("fit", "score")}
        row |= {key: value for key, value in seconds.items() if value is not None}
        if result.get("fit_error"):
            row["error"] = _last_line(result)
            run.note("cv/folds", f"fold {number} failed: {row['error']}")
        rows.append(row)
        scores.append(found)
        if (fitted := result.get("estimator")) is not None:
            bind_run(fitted, run)
    record_long_table(run, "cv/folds", rows)
    # A fold that failed may lack the scores that the others have.
    by_score = {key: [found.get(key, math.nan) for found in scores] for found in scores for key in found}
    if function == "cross_validate":
        for key, values in by_score.items():
            if gone := sum(map(math.isnan, values)):
                run.note(f"cv/{key}", f"{gone} of {len(values)} folds have no score, and so there is no mean")
            run.log({f"cv/{key}_mean": float(np.mean(values))}, step=run.last_step)
            run.log_once({f"cv/{key}_std": float(np.std(values))}, step=run.last_step)
    elif function == "learning_curve":
        sizes = [task.train_rows for task in tasks]
        _record_curve(run, function, "train_rows", list(dict.fromkeys(sizes)), sizes, by_score)
    else:
        # Each fold goes through all values in their order: by that they are told apart, not by equality,
        # which arrays, NaN and estimators have in ways of their own.
        count = len(given["param_range"])
        places = [value for task in tasks[:count] for value in task.parameters.values()]
        numbers = [number % count for number in range(len(tasks))]
        _record_curve(run, function, str(given["param_name"]), places, numbers, by_score)


def _record_curve(
    run: Recording,
    function: str,
    along: str,
    places: list[Any],
    of: list[int],
    by_score: dict[str, list[float]],
) -> None:
    """The mean score over the folds, against the rows or the parameter.

    Args:
        places: where the curve has a point each.
        of: the point that each task belongs to.
    """
    x, caption = _axis(places)
    series = []
    for key, values in by_score.items():
        points: dict[int, list[float]] = {}
        for point, value in zip(of, values, strict=False):
            points.setdefault(point, []).append(value)
        means = [float(np.mean(point)) for point in points.values()]
        series.append({"name": key, "x": x, "y": means})
        best = int(np.nanargmax(means)) if not all(map(np.isnan, means)) else 0
        run.log({f"cv/{key}_best_mean": means[best]}, step=run.last_step)
    label_of_x = along if caption is None else f"{along} (by number, see the caption)"
    data = {"series": series, "x_label": label_of_x, "y_label": "Mean score of the folds", "markers": True}
    title = function.replace("_", " ").capitalize()
    run.figure(f"cv/{function}", Chart("curve", title, data), caption=caption)


def _axis(places: list[Any]) -> tuple[list[float], str | None]:
    """Where the points stand; values that are no numbers stand by their number, named in the caption."""
    if all(isinstance(place, Real) and not isinstance(place, bool) for place in places):
        return [float(place) for place in places], None
    names = [f"{number}: {label(sanitize(place, limit=40), 40)}" for number, place in enumerate(places)]
    return [float(number) for number in range(len(places))], ", ".join(names)


def _record_predictions(run: Recording, given: Mapping[str, Any], tasks: list[_Task], results: Any) -> None:
    """Predictions for rows that their model has not seen: an evaluation of all the folds together."""
    task, method = task_of(given["estimator"]), given.get("method", "predict")
    y = given.get("y")
    if task in (None, "clustering") or y is None or len(tasks) != len(results):
        return
    if is_lazy(y):
        run.note("cv", f"the predictions are not evaluated: {not_computed(y)}")
        return
    y = np.asarray(y)
    if (encoder := given.get("encoder")) is not None:
        y = np.asarray(encoder.classes_)[y]
    elif method != "predict" and task == "classification":
        run.note("cv", "the classes are numbered in their order: scikit-learn has done so, out of our sight")
    truth = np.concatenate([y[fold.test] for fold in tasks])
    predicted = np.concatenate([np.asarray(result) for result in results])
    know_predictions(predicted[np.argsort(np.concatenate([fold.test for fold in tasks]))])
    scores = None if task == "regression" or method == "predict" else predicted
    if method == "predict_log_proba":
        scores = np.exp(predicted)
    try:
        found = evaluation.evaluate(
            truth,
            predicted if scores is None else None,
            scores=scores,
            classes=None if scores is None else np.unique(y),
            task=task,
        )
    except ValueError as error:  # several outputs, say
        run.note_lost("cv", f"not evaluated: {error}")
        return
    record_evaluation(run, "cv", found)
