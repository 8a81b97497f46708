"""What is recorded around ``lightgbm.train`` and ``lightgbm.cv``."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from autolog.core.callbacks import callback_among, callbacks_of, given_by, is_wanted
from autolog.core.placing import begin_training
from autolog.core.training import Frame, bind_run, find_run, recorded
from autolog.lightgbm.described import describe, name_of
from autolog.lightgbm.recorder import CrossValidation, Ears, Fit
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_cv", "observe_folds", "observe_train"]

_cross_validation: ContextVar[CrossValidation | None] = ContextVar("autolog_lightgbm_cv", default=None)

# Whose trainings are a part of something larger: a fit that scikit-learn's room records, a worker's share.
_OF_ESTIMATORS = "lightgbm.sklearn"
_OF_WORKERS = "lightgbm.dask"


def observe_train(call: Call) -> Frame:
    """One run per training."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("lightgbm", given) or _belongs_to_another():
        yield
        return
    with watching("lightgbm"):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            training = begin_training(None, name_of(call), framework="lightgbm", given=given_by(given))
        except Exception:
            yield
            raise
        run = training.run
        fit: list[Fit] = []

        def before() -> None:
            with shield("LightGBM: parameters"):
                describe(run, call, earlier=find_run(call.get("init_model")))
            fit.append(Fit(run, call, callbacks))
            _put_in(fit[0].ears(), call, callbacks)

        def after(outcome: Outcome, seconds: float) -> None:
            if outcome.error is None:
                bind_run(outcome.result, run)
            for one in fit:
                one.ended(outcome, seconds)

        yield from recorded("LightGBM", training, before=before, after=after)


def _put_in(ears: Any, call: Call, callbacks: list[Any]) -> None:
    """Before the user's callbacks, in a list of ours: each gets the same place from its end as without us."""
    if not isinstance(ears, Ears):  # LightGBM would fail with anything else
        raise TypeError(f"no ears but {ears!r}")
    call.replace("callbacks", [ears, *callbacks])


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("lightgbm", given) or _belongs_to_another():
        yield
        return
    with watching("lightgbm"):
        try:
            training = begin_training(None, name_of(call, "cv"), framework="lightgbm", given=given_by(given))
        except Exception:
            yield
            raise
        run = training.run
        token = _cross_validation.set(None)
        cv: list[CrossValidation] = []

        def before() -> None:
            with shield("LightGBM: parameters"):
                describe(run, call, earlier=find_run(call.get("init_model")))
            cv.append(CrossValidation(run, call, callbacks))
            _cross_validation.set(cv[0])
            _put_in(cv[0].ears(), call, callbacks)

        def after(outcome: Outcome, seconds: float) -> None:
            for one in cv:
                one.ended(outcome, seconds)

        try:
            yield from recorded("LightGBM", training, before=before, after=after)
        finally:
            _cross_validation.reset(token)


def observe_folds(results: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """What each fold has reported of a round."""
    results = kwargs.get("raw_results", results)
    if (cv := _cross_validation.get()) is not None:
        with shield("LightGBM: folds"):
            cv.folds_told(results)


def _belongs_to_another() -> bool:
    """Whether it is inside of a fit that is a run already, or is one worker's share of a training."""
    modules = list(callers_in("lightgbm"))
    return _OF_WORKERS in modules or (_OF_ESTIMATORS in modules and watching.active("sklearn"))
