"""What is recorded around a fit of CatBoost's, and around ``catboost.cv``."""

from __future__ import annotations

from typing import Any

from catboost import CatBoostError

from autolog.catboost.described import describe, describe_cv, name_of, name_of_cv
from autolog.catboost.recorder import CrossValidation, Fit
from autolog.core.callbacks import NativeCallback, callback_among, callbacks_of, given_by, is_wanted
from autolog.core.placing import begin_training
from autolog.core.training import Frame, find_run, recorded
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_cv", "observe_fit"]


def observe_fit(call: Call) -> Frame:
    """One run per fit."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if given is not None:
        with shield("CatBoost: TrackioCallback"):
            call.replace("callbacks", _without_ours(callbacks))
    # What trains inside of scikit-learn's own is the training of what is outermost.
    if not is_wanted("catboost", given) or watching.active("sklearn"):
        yield
        return
    model, earlier = call.subject, find_run(call.get("init_model"))
    with watching("catboost"):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            training = begin_training(model, name_of(call), framework="catboost", given=given_by(given))
        except Exception:
            yield
            raise
        fit: list[Fit] = []

        def before() -> None:
            with shield("CatBoost: parameters"):
                describe(training.run, call, earlier=earlier)
            fit.append(Fit(training.run, call))

        def after(outcome: Outcome, seconds: float) -> None:
            for one in fit:
                one.ended(outcome, seconds)

        yield from recorded("CatBoost", training, before=before, after=after, reason=_reason)


def _reason(outcome: Outcome) -> BaseException | None:
    """Ctrl-C in a callback of the user's arrives as an error of CatBoost's, which has its name at the end."""
    error = outcome.error
    is_interrupt = isinstance(error, CatBoostError) and str(error).rstrip().endswith("KeyboardInterrupt")
    return KeyboardInterrupt() if is_interrupt else error


def _without_ours(callbacks: list[Any]) -> list[Any] | None:
    """The user's: for one that only lets the training go on CatBoost would make it slower."""
    return [one for one in callbacks if not isinstance(one, NativeCallback)] or None


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    if not is_wanted("catboost", None) or watching.active("sklearn"):
        yield
        return
    with watching("catboost"):
        try:
            training = begin_training(None, name_of_cv(call), framework="catboost")
        except Exception:
            yield
            raise
        cv: list[CrossValidation] = []

        def before() -> None:
            with shield("CatBoost: parameters"):
                describe_cv(training.run, call)
            cv.append(CrossValidation(training.run, call))

        def after(outcome: Outcome, seconds: float) -> None:
            for one in cv:
                one.ended(outcome, seconds)

        yield from recorded("CatBoost", training, before=before, after=after)
