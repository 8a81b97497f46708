"""What is recorded of a ``fit``, around it."""

from __future__ import annotations

import inspect
import sys
import time
import weakref
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from autolog.capture import datasets, evaluation, model
from autolog.capture.params import sanitize
from autolog.core.guard import shield, watching
from autolog.core.hooks import Call, Outcome
from autolog.core.ownership import Training, begin_training, bind_run, conclude
from autolog.core.run import Run

__all__ = ["TrainingData", "affordable_rows", "mark_of", "observe_fit", "task_of", "training_data"]

TRAINING_ROWS = 2_000  # that training metrics rest on at most
PROBE_ROWS = 32  # predicted first, to know what the rest would cost
LEAST_BUDGET_SECONDS = 0.050


def observe_fit(call: Call) -> Generator[None, Outcome, None]:
    """One run per outermost fit of something that predicts."""
    estimator = call.subject
    if watching.active("sklearn") or not _is_model(estimator) or _is_being_checked():
        yield
        return
    with watching("sklearn"):  # first: if this run cannot be opened, its inner fits are no runs either
        try:
            training = begin_training(estimator, type(estimator).__name__)
        except Exception:
            yield
            raise
        yield from _observe(training, call, estimator)


def _observe(training: Training, call: Call, estimator: Any) -> Generator[None, Outcome, None]:
    run = training.run
    error: BaseException | None = None
    try:
        X, y = call.get("X"), call.get("y", call.get("Y"))
        with shield("scikit-learn: parameters"):
            _record_parameters(run, estimator)
        with shield("scikit-learn: data"):
            _record_data(run, X, y)
        with training.current():
            started = time.perf_counter()
            outcome = yield
            seconds = time.perf_counter() - started
        error = outcome.error
        if error is None:
            _record_result(run, estimator, X, y, seconds)
    except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
        error = interrupt
        raise
    finally:
        with shield("scikit-learn: the run's end"):  # a fault here must not take the interrupt's place
            conclude(training, error)


def _record_result(run: Run, estimator: Any, X: Any, y: Any, seconds: float) -> None:
    for part in (estimator, *_parts(estimator)):
        bind_run(part, run)
    with shield("scikit-learn: model"):
        _record_fitted(run, estimator, seconds)
    with shield("scikit-learn: search results"):
        _record_search(run, estimator)
    with shield("scikit-learn: metrics on the training data"):
        _record_training_metrics(run, estimator, X, y)
    with shield("scikit-learn: model artifact"):
        _record_model(run, estimator)


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

    run.describe(
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
    run.describe(dict(list(by_hand.items())[:50]))


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

    X: str | None
    y: str | None
    fit_seconds: float = 0.0


training_data: weakref.WeakKeyDictionary[Run, TrainingData] = weakref.WeakKeyDictionary()


def mark_of(values: Any) -> str | None:
    """A fingerprint of values, whether they come as a list, an array or a column of a frame."""
    if values is None:
        return None
    if getattr(values, "ndim", None) == 1 and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif isinstance(values, (list, tuple)):
        import numpy as np

        values = np.asarray(values)
    return datasets.fingerprint(values)


def _record_data(run: Run, X: Any, y: Any) -> None:
    training_data[run] = TrainingData(mark_of(X), mark_of(y))
    if not run.settings.log_data:
        return
    described = datasets.describe(X, y)
    run.describe({"data/train": described.config()})
    for what in described.notes:
        run.note("data/train", what)
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
    run.describe({"model/summary": model.summary(estimator)})


def _record_search(run: Run, search: Any) -> None:
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping):
        return
    columns = {key: list(results[key]) for key in sorted(results, key=_column_order) if key != "params"}
    rows = [dict(zip(columns, row, strict=False)) for row in zip(*columns.values(), strict=False)]
    if len(rows) > 1_000:
        run.note("search/cv_results", f"the first 1,000 of {len(rows)} candidates")
    run.table("search/cv_results", rows[:1_000], step=0)
    run.describe({"search/candidates": len(rows)})
    if hasattr(search, "best_params_"):
        run.describe({"best/params": search.best_params_})
        for key, value in search.best_params_.items():
            run.describe({f"best/{key}": sanitize(value)})
    if hasattr(search, "best_score_"):
        run.log({"cv/best_score": search.best_score_}, step=0)
    if hasattr(search, "refit_time_"):
        run.log({"perf/refit_seconds": search.refit_time_}, step=0)


def _column_order(name: str) -> int:
    """What a person looks for first: the rank, the parameters, the scores; times and splits after them."""
    beginnings = ("rank_", "param_", "mean_test_", "std_test_", "mean_train_")
    return next((n for n, start in enumerate(beginnings) if name.startswith(start)), len(beginnings))


def _record_training_metrics(run: Run, estimator: Any, X: Any, y: Any) -> None:
    task = task_of(estimator)
    if not run.settings.evaluate_training_data or task is None or y is None or X is None:
        return
    rows = affordable_rows(run, estimator, "predict", X, at_most=TRAINING_ROWS)
    if isinstance(rows, str):
        run.note("train/metrics", f"left out: {rows}")
        return
    measure = evaluation.classification if task == "classification" else evaluation.regression
    try:
        result = measure(rows.of(y), estimator.predict(rows.of(X)))
    except ValueError as error:  # several outputs, say
        run.note("train/metrics", f"left out: {error}")
        return
    run.log({f"train/{name}": value for name, value in result.metrics.items()}, step=0)
    if rows.sampled:
        run.note("train/metrics", f"of {rows.count} evenly spaced rows of {rows.whole}")


# Calling the user's model once more ---------------------------------------------------------------


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

        if hasattr(values, "tocsr"):
            values = values.tocsr()  # not every sparse format can be indexed
        return _safe_indexing(values, np.linspace(0, self.whole - 1, self.count).astype(int))


def affordable_rows(
    run: Run, estimator: Any, method: str, X: Any, *, at_most: int | None = None
) -> _Rows | str:
    """How many rows we may call this method with, of our own accord; a text: none, and why.

    Only a model whose prediction is known to change nothing: scikit-learn's own and its boosting kin, with
    no code or random generator of the user's inside. And only inside the budget: ``Settings.budget`` of the
    fit's own seconds, 50 ms at least, as one row and a few foretell. With ``at_most`` fewer rows will do;
    without it, all or none.
    """
    whole = _length(X)
    if not whole or not hasattr(estimator, method):
        return f"there is no {method}"
    if (stranger := _stranger_in(estimator)) is not None:
        return f"{method} of a {stranger} may have effects of its own, and is the user's to call"
    wanted = min(whole, at_most or whole)
    known = training_data.get(run)
    budget = max(LEAST_BUDGET_SECONDS, run.settings.budget * (known.fit_seconds if known else 0.0))
    one, few = _Rows(1, whole), _Rows(min(PROBE_ROWS, wanted), whole)
    call = getattr(estimator, method)
    fixed = _seconds(call, one.of(X))
    if budget / 4 < fixed < 4 * budget:  # the first call of all may have been cold
        fixed = _seconds(call, one.of(X))
    # One row tells what a call costs at all, a few what a row costs. What may take many times the budget
    # for those few is not asked for them.
    short = f"{method} of {wanted} rows would pass the budget"
    if fixed > budget / 4:
        return short
    spent = _seconds(call, few.of(X))
    per_row = max(0.0, spent - fixed) / max(1, few.count - 1)
    if spent + per_row * (wanted - few.count) <= budget:
        return _Rows(wanted, whole)
    return few if at_most and spent <= budget else short


def _seconds(function: Callable[[Any], Any], argument: Any) -> float:
    started = time.perf_counter()
    function(argument)
    return time.perf_counter() - started


_KNOWN_PACKAGES = {"sklearn", "xgboost", "lightgbm", "catboost", "numpy", "scipy", "functools"}


def _stranger_in(value: Any, depth: int = 0) -> str | None:
    """The first thing in an estimator's parameters that is code of the user's, or a random generator."""
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex)) or depth > 8:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        return next((s for item in list(value)[:100] if (s := _stranger_in(item, depth + 1))), None)
    if isinstance(value, Mapping):
        return _stranger_in(list(value.values()), depth + 1)
    kind = value if callable(value) and hasattr(value, "__module__") else type(value)
    name = f"{getattr(kind, '__name__', type(value).__name__)}"
    package = str(getattr(kind, "__module__", None) or "").split(".")[0]
    if package not in _KNOWN_PACKAGES or "random" in str(type(value).__module__):
        return name
    if hasattr(value, "get_params") and not isinstance(value, type):
        return _stranger_in(list(value.get_params(deep=False).values()), depth + 1)
    return None


def _record_model(run: Run, estimator: Any) -> None:
    if not run.settings.log_models or not run.records:
        return
    path = run.stage("model.joblib")
    try:
        size = model.dump(estimator, path, limit=run.settings.artifact_limit)
    except Exception as error:  # a lambda or a local class inside: nothing that pickles
        run.note("model", f"not kept: {type(error).__name__}: {error}")
        return
    if size is None:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    run.staged_artifact(f"model-{type(estimator).__name__}", "model", {"model.joblib": path}, {"bytes": size})
