"""What is recorded around ``xgboost.train`` and ``xgboost.cv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.boosted import heard, heard_by, one_run
from autolog.core.callbacks import callback_among, callbacks_of, given_by, is_wanted, without_ours
from autolog.core.training import Frame, find_run
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call
from autolog.xgboost.described import describe, name_of
from autolog.xgboost.recorder import CrossValidation, Distributed, Ears, Fit

__all__ = ["observe_cv", "observe_distributed", "observe_folds", "observe_train"]

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
    yield from one_run(
        "xgboost",
        "XGBoost",
        name_of(call),
        describe=lambda run: describe(run, call, earlier=find_run(call.get("xgb_model"))),
        part=lambda run: heard(Fit(run, call, callbacks), Ears, call, callbacks),
        given=given_by(given),
    )


def observe_distributed(call: Call) -> Frame:
    """One run per training by Dask's workers: of the callbacks, which go to them, ours stays here."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if given is not None:
        with shield("XGBoost: TrackioCallback"):
            call.replace("callbacks", without_ours(callbacks))
    if not is_wanted("xgboost", given):
        yield
        return
    yield from one_run(
        "xgboost",
        "XGBoost",
        name_of(call),
        describe=lambda run: describe(run, call, earlier=find_run(call.get("xgb_model"))),
        part=lambda run: Distributed(run, call, callbacks),
        given=given_by(given),
    )


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("xgboost", given) or _belongs_to_another():
        yield
        return
    yield from one_run(
        "xgboost",
        "XGBoost",
        name_of(call, "cv"),
        describe=lambda run: describe(run, call),
        part=lambda run: heard(CrossValidation(run, call, callbacks), Ears, call, callbacks),
        given=given_by(given),
    )


def observe_folds(lines: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """What each fold has reported of a round."""
    if isinstance(cv := heard_by(), CrossValidation):
        with shield("XGBoost: folds"):
            cv.folds_told(lines)


def _belongs_to_another() -> bool:
    """Whether it is inside of a fit that is a run already, or is one worker's share of a training."""
    modules = list(callers_in("xgboost"))
    is_fit = _OF_ESTIMATORS in modules and watching.active("sklearn")
    return is_fit or any(module.startswith(_OF_WORKERS) for module in modules)
