"""``cross_val_score`` and its like: one run, with the folds as a table.

They are functions that users import before ``enable()``, so they are not patched. But each of them hands its
folds to scikit-learn's own ``Parallel``, as a generator that says where it is from; the run begins there.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.capture.figures import Chart
from autolog.core.catalogue import is_on
from autolog.core.guard import shield, watching
from autolog.core.hooks import Call, Outcome
from autolog.core.ownership import begin_training, bind_run
from autolog.core.run import Run
from autolog.sklearn.described import is_being_checked, record_data, record_parameters, task_of
from autolog.sklearn.evaluation import record_evaluation, set_latest
from autolog.sklearn.fit import recorded

__all__ = ["observe_parallel"]

_FUNCTIONS = {
    "cross_validate",
    "cross_val_predict",
    "learning_curve",
    "validation_curve",
    "permutation_test_score",
}
_MODULES = {"sklearn.model_selection._validation", "sklearn.inspection._permutation_importance"}


def observe_parallel(call: Call) -> Generator[None, Outcome, None]:
    """A run around the folds of a cross-validation; any other ``Parallel`` is left alone."""
    function, given = _asked(call.get("iterable"))
    if function == "permutation_importance":
        with watching("sklearn"):  # shuffled features are no data to be evaluated on
            yield
        return
    silent = watching.active("sklearn") or not is_on("sklearn") or is_being_checked()
    if function not in _FUNCTIONS or silent:
        yield
        return
    with watching("sklearn"):
        try:
            training = begin_training(call.subject, f"{type(given['estimator']).__name__}-{function}")
        except Exception:
            yield
            raise
        tasks: list[_Task] = []
        if function != "permutation_test_score":
            noted = _noted(call.get("iterable"), tasks)
            if isinstance(noted, Iterator):  # it goes into the user's call in place of his own
                call.replace("iterable", noted)

        def before(run: Run) -> None:
            record_parameters(run, given["estimator"])
            run.describe({"cv/function": function})
            record_data(run, given.get("X"), given.get("y"))

        def after(run: Run, results: Any, seconds: float) -> None:
            set_latest(run, call.subject)
            run.log({"perf/cv_seconds": seconds}, step=run.last_step)
            run.note("model", "not kept: cross-validation throws its models away")
            if function == "cross_val_predict":
                _record_predictions(run, given, tasks, results)
            elif function == "permutation_test_score":
                rows = [{"permutation": n, "score": float(score)} for n, score in enumerate(results)]
                run.long_table("cv/permutations", rows)
                run.log({"cv/permuted_score_mean": float(np.mean(results))}, step=run.last_step)
                run.note("cv/score", "the score without permutation is computed before this run begins")
            else:
                _record_folds(run, function, tasks, results)

        yield from recorded(training, before, after)


def _asked(iterable: Any) -> tuple[str | None, Mapping[str, Any]]:
    """Which function of scikit-learn's made this generator of tasks, and what it was given."""
    frame = getattr(iterable, "gi_frame", None)
    if frame is None or frame.f_globals.get("__name__") not in _MODULES:
        return None, {}
    given = frame.f_locals
    if "estimator" not in given:
        return None, {}
    return iterable.gi_code.co_qualname.split(".")[0], given


# The folds ----------------------------------------------------------------------------------------


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


def _record_folds(run: Run, function: str, tasks: list[_Task], results: Any) -> None:
    rows: list[dict[str, Any]] = []
    for number, (task, result) in enumerate(zip(tasks, results, strict=False)):
        if not isinstance(result, Mapping):  # learning_curve with partial_fit: an array per fold
            run.note("cv/folds", "not recorded: learned incrementally")
            return
        row: dict[str, Any] = {"fold": number, **task.parameters}
        row |= {"train_rows": task.train_rows, "test_rows": len(task.test)}
        for part in ("test", "train"):
            scores = result.get(f"{part}_scores", {})
            scores = scores if isinstance(scores, Mapping) else {"score": scores}
            row |= {f"{part}_{name}": float(value) for name, value in scores.items()}
        row |= {f"{part}_seconds": result.get(f"{part}_time") for part in ("fit", "score")}
        if result.get("fit_error"):
            row["error"] = str(result["fit_error"]).strip().splitlines()[-1]
            run.note("cv/folds", f"fold {number} failed: {row['error']}")
        rows.append({key: value for key, value in row.items() if value is not None})
        if (fitted := result.get("estimator")) is not None:
            bind_run(fitted, run)
    run.long_table("cv/folds", rows)
    scores = [key for key in (rows[0] if rows else ()) if key.startswith(("test_", "train_"))]
    scores = [key for key in scores if not key.endswith("_rows")]
    if function == "cross_validate":
        for number, row in enumerate(rows):
            run.log({f"cv/{key}": row[key] for key in scores}, step=number)
        for key in scores:
            values = [row[key] for row in rows]
            spread = {f"cv/{key}_mean": float(np.mean(values)), f"cv/{key}_std": float(np.std(values))}
            run.log(spread, step=run.last_step)
    else:
        _record_curve(run, function, rows, scores)


def _record_curve(run: Run, function: str, rows: list[dict[str, Any]], scores: list[str]) -> None:
    """The mean score over the folds, against the rows or the parameter."""
    along = "train_rows" if function == "learning_curve" else next(k for k in rows[0] if k not in _ROW)
    places = list(dict.fromkeys(row[along] for row in rows))
    numeric = all(isinstance(place, (int, float)) for place in places)
    series = []
    for key in scores:
        means = [float(np.mean([row[key] for row in rows if row[along] == place])) for place in places]
        series.append({"name": key, "x": places if numeric else list(range(len(places))), "y": means})
        best = int(np.nanargmax(means)) if not all(map(np.isnan, means)) else 0
        run.log({f"cv/{key}_best_mean": means[best]}, step=run.last_step)
    data = {"series": series, "x_label": along, "y_label": "Mean score of the folds", "markers": True}
    title = function.replace("_", " ").capitalize()
    run.figure(f"cv/{function}", Chart("curve", title, data))


_ROW = {"fold", "train_rows", "test_rows", "fit_seconds", "score_seconds", "error"}


def _record_predictions(run: Run, given: Mapping[str, Any], tasks: list[_Task], results: Any) -> None:
    """Predictions for rows that their model has not seen: an evaluation of all the folds together."""
    task, method = task_of(given["estimator"]), given.get("method", "predict")
    y = given.get("y")
    if task in (None, "clustering") or y is None or len(tasks) != len(results):
        return
    truth = np.concatenate([np.asarray(y)[fold.test] for fold in tasks])
    predicted = np.concatenate([np.asarray(result) for result in results])
    scores = None if task == "regression" or method == "predict" else predicted
    if method == "predict_log_proba":
        scores = np.exp(predicted)
    try:
        found = evaluation.evaluate(
            truth,
            predicted if scores is None else None,
            scores=scores,
            classes=None if scores is None else np.unique(np.asarray(y)),
            task=task,
        )
    except ValueError as error:  # several outputs, say
        run.note("cv", f"not evaluated: {error}")
        return
    record_evaluation(run, "cv", found)
