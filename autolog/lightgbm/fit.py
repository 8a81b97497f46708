"""What is recorded around ``lightgbm.train`` and ``lightgbm.cv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.boosted import heard, heard_by, one_run
from autolog.core.callbacks import callback_among, callbacks_of, given_by, is_wanted
from autolog.core.training import Frame, find_run
from autolog.lightgbm.described import describe, name_of
from autolog.lightgbm.recorder import CrossValidation, Ears, Fit
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call

__all__ = ["observe_cv", "observe_folds", "observe_train"]

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
    yield from one_run(
        "lightgbm",
        "LightGBM",
        name_of(call),
        describe=lambda run: describe(run, call, earlier=find_run(call.get("init_model"))),
        part=lambda run: heard(Fit(run, call, callbacks), Ears, call, callbacks),
        given=given_by(given),
    )


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if not is_wanted("lightgbm", given) or _belongs_to_another():
        yield
        return
    yield from one_run(
        "lightgbm",
        "LightGBM",
        name_of(call, "cv"),
        describe=lambda run: describe(run, call, earlier=find_run(call.get("init_model"))),
        part=lambda run: heard(CrossValidation(run, call, callbacks), Ears, call, callbacks),
        given=given_by(given),
    )


def observe_folds(results: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """What each fold has reported of a round."""
    results = kwargs.get("raw_results", results)
    if isinstance(cv := heard_by(), CrossValidation):
        with shield("LightGBM: folds"):
            cv.folds_told(results)


def _belongs_to_another() -> bool:
    """Whether it is inside of a fit that is a run already, or is one worker's share of a training."""
    modules = list(callers_in("lightgbm"))
    return _OF_WORKERS in modules or (_OF_ESTIMATORS in modules and watching.active("sklearn"))
