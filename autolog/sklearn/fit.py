"""What is recorded of a ``fit``, around it."""

from __future__ import annotations

import inspect
import sys
import time
import weakref
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from autolog.capture import datasets, evaluation, model
from autolog.capture.params import sanitize
from autolog.core.guard import random_state_untouched, shield, watching
from autolog.core.hooks import Call, Outcome
from autolog.core.ownership import begin_training, bind_run, conclude
from autolog.core.run import Run

__all__ = ["TrainingData", "affordable_rows", "observe_fit", "task_of", "training_data"]

TRAINING_ROWS = 2_000  # that training metrics rest on at most
PROBE_ROWS = 100  # predicted first, to know what the rest would cost
LEAST_BUDGET_SECONDS = 0.010


def observe_fit(call: Call) -> Generator[None, Outcome, None]:
    """One run per outermost fit of something that predicts."""
    estimator = call.subject
    if watching.active("sklearn") or not _is_model(estimator) or _is_being_checked():
        yield
        return
    training = begin_training(estimator, type(estimator).__name__)
    run = training.run
    X, y = call.get("X"), call.get("y", call.get("Y"))
    with shield("scikit-learn: parameters"):
        _record_parameters(run, estimator)
    with shield("scikit-learn: data"):
        _record_data(run, X, y)
    with training.current(), watching("sklearn"):
        started = time.perf_counter()
        outcome = yield
        seconds = time.perf_counter() - started
    if outcome.error is None:
        fitted = [estimator, *_parts(estimator)]
        for part in fitted:
            bind_run(part, run)
        with shield("scikit-learn: model"):
            _record_fitted(run, estimator, seconds)
        with shield("scikit-learn: search results"):
            _record_search(run, estimator)
        with shield("scikit-learn: metrics on the training data"):
            _record_training_metrics(run, estimator, X, y, seconds)
        with shield("scikit-learn: model artifact"):
            _record_model(run, estimator)
    conclude(training, outcome.error)


# Which fits ---------------------------------------------------------------------------------------


def _is_model(estimator: Any) -> bool:
    """Whether fitting this is a training: it predicts or clusters. A scaler or an encoder does not.

    What it is counts beside what it can do: a stacking classifier has no ``predict`` before its fit.
    """
    can = any(hasattr(estimator, name) for name in ("predict", "fit_predict", "score_samples"))
    return can or task_of(estimator) is not None


def _is_being_checked() -> bool:
    """Whether scikit-learn's ``check_estimator`` is fitting, thousands of times, for its own ends."""
    if "sklearn.utils.estimator_checks" not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "sklearn.utils.estimator_checks":
            return True
        frame = frame.f_back
    return False


def task_of(estimator: Any) -> str | None:
    """``classification``, ``regression``, or None for anything else."""
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        return "classification"
    return "regression" if is_regressor(estimator) else None


def _parts(estimator: Any) -> list[Any]:
    """The inner estimators that the user may go on with by themselves, and that score for the outer one."""
    parts: list[Any] = []
    inner = getattr(estimator, "best_estimator_", None)
    steps = getattr(estimator, "steps", None)
    if inner is None and isinstance(steps, list) and steps:
        inner = steps[-1][1]
    if inner is not None and hasattr(inner, "get_params"):
        parts += [inner, *_parts(inner)]
    return parts


# Before -------------------------------------------------------------------------------------------


def _record_parameters(run: Run, estimator: Any) -> None:
    import sklearn

    run.config(
        {
            "framework": "sklearn",
            "framework/version": sklearn.__version__,
            "model": type(estimator).__name__,
            "model/class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
        }
    )
    everything = estimator.get_params(deep=True)
    run.params(everything)
    # What a person has set stands at the top level, where one can group and filter by it.
    by_hand = {f"params/{key}": value for key, value in _set_by_hand(estimator, everything).items()}
    run.config(dict(list(by_hand.items())[:50]))


def _set_by_hand(estimator: Any, everything: Mapping[str, Any]) -> dict[str, Any]:
    """The scalar parameters that differ from their defaults, by scikit-learn's ``step__name``."""
    found: dict[str, Any] = {}
    for key, value in everything.items():
        owner_key, _, name = key.rpartition("__")
        owner = everything.get(owner_key) if owner_key else estimator
        if not isinstance(value, (str, int, float, bool)) or owner is None:
            continue
        parameter = inspect.signature(type(owner).__init__).parameters.get(name)
        if parameter is None or (parameter.default is not value and parameter.default != value):
            found[key] = value
    return found


@dataclass
class TrainingData:
    """What is remembered of the data of a fit, to know it again in an evaluation."""

    rows: int | None
    target: str | None  # fingerprint of y
    fit_seconds: float = 0.0


training_data: weakref.WeakKeyDictionary[Run, TrainingData] = weakref.WeakKeyDictionary()


def _record_data(run: Run, X: Any, y: Any) -> None:
    target = datasets.fingerprint(y) if y is not None else None
    training_data[run] = TrainingData(_length(X), target)
    if not run.settings.log_data:
        return
    described = datasets.describe(X, y)
    run.config({"data/train": described.config()})
    if not run.keeps("data"):
        run.note("data/head", "not sent to the server: Settings.share does not name 'data'")
    elif described.head:
        run.table("data/head", described.head, step=0)


def _length(values: Any) -> int | None:
    shape = getattr(values, "shape", None)
    if shape:
        return int(shape[0])
    return len(values) if hasattr(values, "__len__") else None


# After --------------------------------------------------------------------------------------------


def _record_fitted(run: Run, estimator: Any, seconds: float) -> None:
    if (known := training_data.get(run)) is not None:
        known.fit_seconds = seconds
    run.log({"perf/fit_seconds": seconds}, step=0)
    run.config({"model/summary": model.summary(estimator)})


def _record_search(run: Run, search: Any) -> None:
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping):
        return
    columns = {key: list(results[key]) for key in sorted(results, key=_column_order) if key != "params"}
    rows = [dict(zip(columns, row, strict=False)) for row in zip(*columns.values(), strict=False)]
    if len(rows) > 1_000:
        run.note("search/cv_results", f"the first 1,000 of {len(rows)} candidates")
    run.table("search/cv_results", rows[:1_000], step=0)
    run.log({"search/candidates": len(rows)}, step=0)
    if hasattr(search, "best_params_"):
        run.config({"best/params": search.best_params_})
        for key, value in search.best_params_.items():
            run.config({f"best/{key}": sanitize(value)})
    if hasattr(search, "best_score_"):
        run.log({"cv/best_score": search.best_score_}, step=0)
    if hasattr(search, "refit_time_"):
        run.log({"perf/refit_seconds": search.refit_time_}, step=0)


def _column_order(name: str) -> int:
    """What a person looks for first: the rank, the parameters, the scores; times and splits after them."""
    beginnings = ("rank_", "param_", "mean_test_", "std_test_", "mean_train_")
    return next((n for n, start in enumerate(beginnings) if name.startswith(start)), len(beginnings))


def _record_training_metrics(run: Run, estimator: Any, X: Any, y: Any, seconds: float) -> None:
    task = task_of(estimator)
    if not run.settings.evaluate_training_data or task is None or y is None or X is None:
        return
    rows = affordable_rows(run, estimator, "predict", X, seconds, at_most=TRAINING_ROWS)
    if rows is None:
        run.note("train/metrics", "left out: predicting the training data would pass the budget")
        return
    with random_state_untouched():
        predicted = estimator.predict(rows.of(X))
    measure = evaluation.classification if task == "classification" else evaluation.regression
    result = measure(rows.of(y), predicted)
    run.log({f"train/{name}": value for name, value in result.metrics.items()}, step=0)
    if rows.sampled:
        run.note("train/metrics", f"of {rows.count} evenly spaced rows of {rows.whole}")


@dataclass
class _Rows:
    """Evenly spaced rows: the same ones every time, without touching any random state."""

    count: int
    whole: int

    @property
    def sampled(self) -> bool:
        return self.count < self.whole

    def of(self, values: Any) -> Any:
        if not self.sampled:
            return values
        import numpy as np
        from sklearn.utils import _safe_indexing

        return _safe_indexing(values, np.linspace(0, self.whole - 1, self.count).astype(int))


def affordable_rows(
    run: Run, estimator: Any, method: str, X: Any, seconds: float, *, at_most: int | None = None
) -> _Rows | None:
    """How many rows this method may be called with inside the run's budget; None: not at all.

    The budget is ``Settings.budget`` of the fit's own seconds, 10 ms at least. The first hundred rows
    tell what the rest would cost. With ``at_most`` fewer rows will do; without it, all or none.
    """
    whole = _length(X)
    if not whole or _draws_from_shared_state(estimator):
        return None
    wanted = min(whole, at_most or whole)
    budget = max(LEAST_BUDGET_SECONDS, run.settings.budget * seconds)
    probe = _Rows(min(PROBE_ROWS, wanted), whole)
    started = time.perf_counter()
    with random_state_untouched():
        getattr(estimator, method)(probe.of(X))
    spent = time.perf_counter() - started
    if wanted <= probe.count:
        return _Rows(wanted, whole)
    # Half of it is taken as a cost per row: most of a small call is overhead that does not grow.
    if spent > budget / 2 or spent * wanted / probe.count / 2 > budget:
        return _Rows(probe.count, whole) if at_most and spent <= budget else None
    return _Rows(wanted, whole)


def _draws_from_shared_state(estimator: Any) -> bool:
    """Whether predicting might draw from a generator object that the user shares with other things."""
    from numpy.random import Generator as NumpyGenerator
    from numpy.random import RandomState

    values = estimator.get_params(deep=True).values()
    return any(isinstance(value, (RandomState, NumpyGenerator)) for value in values)


def _record_model(run: Run, estimator: Any) -> None:
    if not run.settings.log_models or not run.records:
        return
    path = run.stage("model.joblib")
    size = model.dump(estimator, path, limit=run.settings.artifact_limit)
    if size is None:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    run.staged_artifact(f"model-{type(estimator).__name__}", "model", {"model.joblib": path}, {"bytes": size})
