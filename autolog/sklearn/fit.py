"""What is recorded of a ``fit``, around it."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from autolog.capture import evaluation, model
from autolog.core.callbacks import given_by, is_wanted
from autolog.core.inner import inner_room, library_of
from autolog.core.kept import staged
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.results import record_finals
from autolog.core.training import (
    Frame,
    Loop,
    Training,
    bind_run,
    end_abandoned_loops,
    find_run,
    loop_of,
    recorded,
)
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome
from autolog.sklearn import folds
from autolog.sklearn.boosting import Given, given_to
from autolog.sklearn.budget import Aborted, affordable_rows, predicted_by
from autolog.sklearn.callback import callback_of, know_model, say_if_left_behind
from autolog.sklearn.clusters import record_clusters
from autolog.sklearn.described import (
    classes_of,
    is_being_checked,
    is_fitted_by_a_library,
    is_model,
    name_of,
    record_data,
    record_parameters,
    task_of,
    to_the_final_one,
)
from autolog.sklearn.given import data_of, record_arguments
from autolog.sklearn.inside import final_estimator, is_estimator, steps_of
from autolog.sklearn.known import MOST_BATCHES, is_full, training_data
from autolog.sklearn.learned import record_curves, record_importances, record_selected
from autolog.sklearn.outcome import record_criteria, record_outcome
from autolog.sklearn.outputs import remember_clusters
from autolog.sklearn.search import record_search

__all__ = ["observe_fit", "observe_partial_fit"]

TRAINING_ROWS = 2_000  # that training metrics rest on at most
ONLY_OURS = 2  # references: the loop's, and that of the call which counts them


def observe_fit(call: Call) -> Frame:
    """One run per outermost fit of something that predicts; of a ``warm_start`` loop, one for all of it."""
    if not _is_ours_to_record(call.subject):
        yield from _passed_on(call.subject)
        return
    goes_on = getattr(call.subject, "warm_start", None) is True
    yield from _observe(call, call.subject, "fit", goes_on)


def observe_partial_fit(call: Call) -> Frame:
    """One run per estimator, for all of its calls."""
    if not _is_ours_to_record(call.subject):
        yield from _passed_on(call.subject)
        return
    yield from _observe(call, call.subject, "partial_fit", goes_on=True)


def _passed_on(estimator: Any) -> Frame:
    """A fit that is no run. The models inside of scikit-learn's own preprocessing are none either."""
    is_preprocessing = type(estimator).__module__.startswith("sklearn.") and not is_model(estimator)
    if is_preprocessing or is_fitted_by_a_library():
        with watching("sklearn"):
            yield
    else:
        yield


def _is_ours_to_record(estimator: Any) -> bool:
    if watching.active("sklearn") or not is_model(estimator):
        return False
    if not is_wanted("sklearn", callback_of(estimator)):
        return False
    return not (is_being_checked() or is_fitted_by_a_library())


def _observe(call: Call, estimator: Any, method: str, goes_on: bool) -> Frame:
    with watching("sklearn"):  # first: if this run cannot be opened, its inner fits are no runs either
        try:
            end_abandoned_loops()
            loop = _loop_of(estimator, method) if goes_on else None
            training = loop.training if loop else _begin(estimator)
        except Exception:
            yield
            raise
        if loop is None and goes_on:
            loop = _Loop(training, estimator, method)
        X, y = data_of(call)

        run = training.run

        def before() -> None:
            if loop is not None and loop.calls:
                return
            _record_given(run, estimator, call, X, y)

        def after(outcome: Outcome, seconds: float) -> None:
            if outcome.error is not None:
                return
            if inspect.iscoroutine(outcome.result):  # of Dask's estimators with an asynchronous client
                run.note("model", "not recorded: what the fit has returned is waited for by you")
                return
            known = training_data.get(run)
            if known is not None:
                known.fit_seconds += seconds
                known.fits += 1
                run.trainings = known.fits
                known.is_loop = goes_on
                known.task, known.classes = task_of(estimator), classes_of(estimator)
                if loop is not None and loop.calls and len(known.more) < MOST_BATCHES:
                    known.add(X, y, full=is_full(run))
            for part in (estimator, *_parts(estimator)):
                bind_run(part, run)
            if loop is not None:
                loop.record_call(X, y, seconds)
                return
            with shield("scikit-learn: folds"):
                folds.fitted(training, estimator)
            if task_of(estimator) == "clustering":
                with shield("scikit-learn: clusters"):
                    remember_clusters(run, estimator, outcome.result)
            given = Given()
            with shield("scikit-learn: evaluation sets"):
                given = given_to(run, call)
            _record_fitted(run, estimator, given)
            _record_seconds(run, seconds)
            with shield("scikit-learn: clusters"):
                if task_of(estimator) == "clustering":
                    record_clusters(run, estimator, X)
            with shield("scikit-learn: metrics on the training data"):
                _record_training_metrics(run, estimator, X, y)
                record_criteria(run, estimator, X)
            with shield("scikit-learn: model artifact"):
                _record_model(run, estimator)

        yield from recorded("scikit-learn", training, before=before, after=after, more_to_come=goes_on)


def _record_given(run: Recording, estimator: Any, call: Call, X: Any, y: Any) -> None:
    with shield("scikit-learn: parameters"):
        record_parameters(run, estimator)
        record_arguments(run, call)
    with shield("scikit-learn: data"):
        record_data(run, X, y)


def _begin(estimator: Any) -> Training:
    callback = callback_of(estimator)
    given = given_by(callback)
    # What a library trains in a callback of the user's is another model beside the one that it trains itself.
    may_wrap = library_of(to_the_final_one(estimator)[-1]) is None
    training = begin_training(
        estimator, name_of(estimator), framework="sklearn", given=given, may_wrap=may_wrap
    )
    know_model(training.run, estimator)
    if callback is not None:
        with shield("scikit-learn: TrackioCallback"):
            say_if_left_behind(training.run)
    return training


# A loop of short trainings --------------------------------------------------------------------------


class _Loop(Loop):
    """Calls of ``partial_fit``, or of ``fit`` with ``warm_start``: one row per call."""

    def __init__(self, training: Training, estimator: Any, method: str):
        super().__init__(training)
        self.estimator = estimator
        self.method = method
        self.calls = 0

    def record_call(self, X: Any, y: Any, seconds: float) -> None:
        self.calls += 1
        row: dict[str, Any] = {f"vitals/{self.method}_seconds": seconds}
        loss = getattr(self.estimator, "loss_", None)
        if isinstance(loss, float) and self.method == "partial_fit":  # else it is in the curve, at the end
            row["train/loss"] = loss
        self.recording.log(row)
        if self.calls & (self.calls - 1) == 0:  # at doubling counts, so that it costs less and less
            with shield("scikit-learn: metrics on the training data"):
                _record_training_metrics(self.recording, self.estimator, X, y)

    def is_abandoned(self) -> bool:
        return sys.getrefcount(self.estimator) <= ONLY_OURS

    def record_the_whole(self) -> None:
        run, estimator = self.recording, self.estimator
        run.describe({f"model/{self.method}_calls": self.calls})
        with shield("scikit-learn: parameters"):
            run.params(estimator.get_params(deep=True))  # of a warm start they change on the way
        # Of partial_fit the steps are calls.
        _record_fitted(run, estimator, Given(), with_curves=self.method == "fit")
        with shield("scikit-learn: model artifact"):
            _record_model(run, estimator)


def _loop_of(estimator: Any, method: str) -> _Loop | None:
    """The loop that this call goes on with."""
    loop = loop_of(find_run(estimator))
    return loop if isinstance(loop, _Loop) and loop.method == method else None


# What was learned -----------------------------------------------------------------------------------


def _parts(estimator: Any) -> list[Any]:
    """The inner estimators that the user may go on with by themselves, and that score for the outer one."""
    parts: list[Any] = []
    inner = getattr(estimator, "best_estimator_", None)
    if inner is None and (steps := steps_of(estimator)):
        inner = steps[-1][1]
    if is_estimator(inner):
        parts += [inner, *_parts(inner)]
    return parts


def _record_fitted(run: Recording, estimator: Any, given: Given, *, with_curves: bool = True) -> None:
    with shield("scikit-learn: learning curves"):  # first: their steps are iterations
        if with_curves:
            record_curves(run, estimator, given)
    with shield("scikit-learn: model"):
        run.describe({"model/summary": model.summary(estimator)})
        record_outcome(run, estimator)
    with shield("scikit-learn: importances"):
        record_importances(run, estimator)
        record_selected(run, estimator)
    with shield("scikit-learn: search results"):
        record_search(run, estimator)
    with shield("scikit-learn: a model of another library"):
        final = final_estimator(estimator)
        if (room := inner_room(final)) is not None:
            room.record_inner(run, final, is_whole=final is estimator)


def _record_seconds(run: Recording, seconds: float) -> None:
    found = {"vitals/fit_seconds": seconds}
    run.log_once(found, step=run.last_step)
    folds.told(run, found)


def _record_training_metrics(run: Recording, estimator: Any, X: Any, y: Any) -> None:
    task = task_of(estimator)
    if not run.settings.evaluate_training_data or task in (None, "clustering") or y is None or X is None:
        return
    if type(estimator).__module__.startswith("sklearn.semi_supervised"):
        run.note("train/metrics", "left out: some of the targets stand for none")
        return
    rows = affordable_rows(run, estimator, "predict", X, at_most=TRAINING_ROWS)
    if isinstance(rows, str):
        run.note("train/metrics", f"left out: {rows}")
        return
    try:
        result = evaluation.evaluate(
            rows.of(y), predicted_by(run, estimator, "predict", rows.of(X)), task=task
        )
    except Aborted as aborted:
        run.note("train/metrics", str(aborted))
        return
    except ValueError as error:  # several outputs, say
        run.note_lost("train/metrics", f"not evaluated: {error}")
        return
    found = {f"train/{name}": value for name, value in result.metrics.items()}
    record_finals(run, found, of_all=not rows.sampled)
    folds.told(run, found)
    if rows.sampled:
        run.note("train/metrics", f"of {rows.count} evenly spaced rows of {rows.whole}")


def _record_model(run: Recording, estimator: Any) -> None:
    if not run.settings.log_models or not run.records:
        return
    path = run.stage("model.pkl")
    try:
        size = model.dump(estimator, path, limit=run.settings.artifact_limit)
    except Exception as error:  # a lambda or a local class inside: nothing that pickles
        run.note_lost("model", f"not kept: {type(error).__name__}: {error}")
        return
    if size is None:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    files = {"model.pkl": path}
    with shield("scikit-learn: a model in its library's own format"):
        files |= _native_file(run, final_estimator(estimator), run.settings.artifact_limit - size)
    run.staged_artifact(
        f"model-{type(estimator).__name__}",
        "model",
        files,
        {"bytes": sum(Path(file).stat().st_size for file in files.values())},
        is_best=hasattr(estimator, "best_estimator_"),
    )


def _native_file(run: Recording, final: Any, limit: int) -> dict[str, Any]:
    """The model as its library writes it, beside the pickle, which another version may not read."""
    if (room := inner_room(final)) is None:
        return {}
    file = room.native_file(final)
    too_large = f"{file.name} is not kept: larger than Settings.artifact_limit with model.pkl"
    path = staged(run, file, limit, "model/native", too_large)
    return {file.name: path} if path is not None else {}
