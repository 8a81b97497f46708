"""A training, or a cross-validation, of a library that boosts trees: what is the same of all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from autolog.capture.params import scalar
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.training import Frame, recorded
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["HeardPart", "Part", "continued_from", "describe_given", "heard", "heard_by", "one_run"]

_MOST_AT_THE_TOP = 50


class Part(Protocol):
    """What records one call: made before it, told how it ended."""

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The call has returned, or raised."""


class HeardPart(Part, Protocol):
    """One that hears of each round."""

    def ears(self) -> Any:
        """What is to stand among the callbacks."""


_heard_by: ContextVar[Part | None] = ContextVar("autolog_boosted", default=None)


def heard_by() -> Part | None:
    """What records the call that this is inside of."""
    return _heard_by.get()


def one_run(
    framework: str,
    title: str,
    name: str,
    *,
    describe: Callable[[Recording], object],
    part: Callable[[Recording], Part],
    subject: Any = None,
    given: Recording | None = None,
    reason: Callable[[Outcome], BaseException | None] = lambda outcome: outcome.error,
) -> Frame:
    """The frame of a call that is a run of its own.

    Args:
        framework: by its name in the catalogue.
        title: the framework's name for people.
        name: what the run is called.
        describe: records what was set by hand.
        part: what records the call, made before it.
        subject: the model that is trained, where there is one before the call.
        given: the run that the user has given to a callback of ours.
        reason: see :func:`autolog.core.training.recorded`.
    """
    with watching(framework):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            training = begin_training(subject, name, framework=framework, given=given)
        except Exception:
            yield
            raise
        token = _heard_by.set(None)
        made: list[Part] = []

        def before() -> None:
            with shield(f"{title}: parameters"):
                describe(training.run)
            made.append(part(training.run))
            _heard_by.set(made[0])

        def after(outcome: Outcome, seconds: float) -> None:
            for one in made:
                one.ended(outcome, seconds)

        try:
            yield from recorded(title, training, before=before, after=after, reason=reason)
        finally:
            _heard_by.reset(token)


H = TypeVar("H", bound="HeardPart")


def heard(part: H, kind: type, call: Call, callbacks: list[Any]) -> H:
    """Put a part's ears before the user's callbacks, in a list of ours: each keeps its place from the end.

    Args:
        part: what records the call.
        kind: of ears. A library would refuse, or fail with, anything else among its callbacks.
        call: of the library.
        callbacks: the user's.
    """
    ears = part.ears()
    if not isinstance(ears, kind):
        raise TypeError(f"no ears but {ears!r}")
    call.replace("callbacks", [ears, *callbacks])
    return part


def describe_given(
    run: Recording, given: Mapping[str, Any], framework: str, version: str, model: str, *, seed: Any
) -> None:
    """What was set by hand, and what of it a person groups runs by.

    Args:
        run: where it is recorded.
        given: parameters, by one name each.
        framework: by its name in the catalogue.
        version: the installed one.
        model: its class, with the module.
        seed: is recorded if it is a whole number.
    """
    found = {
        "framework": framework,
        "framework/version": version,
        "model": model.rpartition(".")[2],
        "model/class": model,
    }
    run.describe({**found, **({"seed": seed} if isinstance(seed, int) else {})})
    run.params(given)
    plain = {f"params/{name}": scalar(value) for name, value in given.items()}
    plain = {name: value for name, value in plain.items() if value is not None}
    run.describe(dict(list(plain.items())[:_MOST_AT_THE_TOP]))


def continued_from(run: Recording, before: Any, earlier: Recording | None) -> None:
    """The model that a training goes on with.

    Args:
        run: where it is recorded.
        before: the model, or the path of its file; None: it begins anew.
        earlier: the run of that model, if it is known.
    """
    if before is None:
        return
    is_path = isinstance(before, (str, os.PathLike))
    known = earlier.name if earlier is not None else None
    text = os.fspath(before) if is_path else known or type(before).__name__
    run.describe({"model/continued_from": text})
