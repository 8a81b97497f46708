"""What is recorded around a fit of CatBoost's, and around ``catboost.cv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catboost import CatBoostError

from autolog.catboost.described import describe, describe_cv, name_of, name_of_cv
from autolog.catboost.recorder import CrossValidation, Fit, record_search
from autolog.core.boosted import one_run
from autolog.core.callbacks import callback_among, callbacks_of, given_by, is_wanted, without_ours
from autolog.core.training import Frame, find_run
from autolog.process.context import watching
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_cv", "observe_fit", "observe_search"]


def observe_fit(call: Call) -> Frame:
    """One run per fit."""
    callbacks = callbacks_of(call)
    given = callback_among(callbacks)
    if given is not None:  # for one that only lets the training go on CatBoost would make it slower
        with shield("CatBoost: TrackioCallback"):
            call.replace("callbacks", without_ours(callbacks))
    # What trains inside of scikit-learn's own is the training of what is outermost.
    if not is_wanted("catboost", given) or watching.active("sklearn"):
        yield
        return
    earlier = find_run(call.get("init_model"))
    yield from one_run(
        "catboost",
        "CatBoost",
        name_of(call),
        describe=lambda run: describe(run, call, earlier=earlier),
        part=lambda run: Fit(run, call),
        subject=call.subject,
        given=given_by(given),
        reason=_reason,
    )


def _reason(outcome: Outcome) -> BaseException | None:
    """Ctrl-C in a callback of the user's arrives as an error of CatBoost's, which has its name at the end."""
    error = outcome.error
    is_interrupt = isinstance(error, CatBoostError) and str(error).rstrip().endswith("KeyboardInterrupt")
    return KeyboardInterrupt() if is_interrupt else error


def observe_cv(call: Call) -> Frame:
    """One run per cross-validation."""
    if not is_wanted("catboost", None) or watching.active("sklearn"):
        yield
        return
    yield from one_run(
        "catboost",
        "CatBoost",
        name_of_cv(call),
        describe=lambda run: describe_cv(run, call),
        part=lambda run: CrossValidation(run, call),
    )


def observe_search(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A search of CatBoost's own: what it has found goes into the run of the fit at its end.

    Without that fit (``refit=False``) the model is what it was, and its run, if it has one, is of that.
    """
    run = find_run(model) if kwargs["refit"] else None
    if run is None or watching.active("sklearn"):
        return
    with shield("CatBoost: a search"):
        charge(run)
        record_search(run, result)
