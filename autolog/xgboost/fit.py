"""What is recorded around ``xgboost.train`` and ``xgboost.cv``."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from autolog.core.callbacks import callback_among, callbacks_of, given_by, is_wanted
from autolog.core.placing import begin_training
from autolog.core.training import Frame, bind_run, find_run, recorded
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome
from autolog.xgboost.described import describe, name_of
from autolog.xgboost.recorder import CrossValidation, Ears, Fit

__all__ = ["observe_cv", "observe_folds", "observe_train"]

_cross_validation: ContextVar[CrossValidation | None] = ContextVar("autolog_xgboost_cv", default=None)

# Whose trainings are a part of something larger: a fit that scikit-learn's room records, a worker's share.
_OF_ESTIMATORS = "xgboost.sklearn"
_OF_WORKERS = ("xgboost.dask", "xgboost.spark")


def observe_train(call: Call) -> Frame:
    """One run per training."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("xgboost", given) or _belongs_to_another():
        yield
        return
    with watching("xgboost"):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            training = begin_training(None, name_of(call), framework="xgboost", given=given_by(given))
        except Exception:
            yield
            raise
        run = training.run
        fit: list[Fit] = []

        def before() -> None:
            with shield("XGBoost: parameters"):
                describe(run, call, earlier=find_run(call.get("xgb_model")))
            fit.append(Fit(run, call, callbacks))
            _put_in(fit[0].ears(), call, callbacks)

        def after(outcome: Outcome, seconds: float) -> None:
            if outcome.error is None:
                bind_run(outcome.result, run)
            for one in fit:
                one.ended(outcome, seconds)

        yield from recorded("XGBoost", training, before=before, after=after)


def _put_in(ears: Any, call: Call, callbacks: list[Any]) -> None:
    """Before the user's callbacks, in a list of ours."""
    if not isinstance(ears, Ears):  # XGBoost would refuse all of them
        raise TypeError(f"no ears but {ears!r}")
    call.replace("callbacks", [ears, *callbacks])


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("xgboost", given) or _belongs_to_another():
        yield
        return
    with watching("xgboost"):
        try:
            training = begin_training(None, name_of(call, "cv"), framework="xgboost", given=given_by(given))
        except Exception:
            yield
            raise
        run = training.run
        token = _cross_validation.set(None)
        cv: list[CrossValidation] = []

        def before() -> None:
            with shield("XGBoost: parameters"):
                describe(run, call)
            cv.append(CrossValidation(run, call, callbacks))
            _cross_validation.set(cv[0])
            _put_in(cv[0].ears(), call, callbacks)

        def after(outcome: Outcome, seconds: float) -> None:
            for one in cv:
                one.ended(outcome, seconds)

        try:
            yield from recorded("XGBoost", training, before=before, after=after)
        finally:
            _cross_validation.reset(token)


def observe_folds(lines: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """What each fold has reported of a round."""
    if (cv := _cross_validation.get()) is not None:
        with shield("XGBoost: folds"):
            cv.folds_told(lines)


def _belongs_to_another() -> bool:
    """Whether it is inside of a fit that is a run already, or is one worker's share of a training."""
    modules = list(callers_in("xgboost"))
    is_fit = _OF_ESTIMATORS in modules and watching.active("sklearn")
    return is_fit or any(module.startswith(_OF_WORKERS) for module in modules)
