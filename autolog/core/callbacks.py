"""What the native callbacks of all frameworks have in common: the run they are given, and their hooks.

A framework tells a callback little of how a call ends, and nothing of what is done with its result; the hooks
around the call see that. So a callback of ours does not record: it says that the call is to be recorded, and
in which run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from autolog.core import catalogue
from autolog.core.opening import given_run
from autolog.core.recording import Recording
from autolog.core.run import Run, recording_of
from autolog.process.hooks import Call

__all__ = ["NativeCallback", "callback_among", "callbacks_of", "given_by", "is_wanted", "without_ours"]


class NativeCallback:
    """A callback of ours, by which a user has the calls recorded that they give it to.

    Attributes:
        run: the run to write to. None: the one that is open, else a new one per training.
    """

    run: Run | None

    def write_to(self, run: Run | None, *frameworks: str) -> None:
        """Take the run, and put in the hooks of these frameworks.

        Raises:
            TypeError: ``run`` is none of autolog's runs.
            RunError: ``run`` is finished.
        """
        given_run(type(self).__name__, run)
        self.run = run
        for framework in frameworks:
            catalogue.arm(framework)


def callback_among(callbacks: Iterable[Any]) -> NativeCallback | None:
    """The first callback of ours among a framework's."""
    return next((callback for callback in callbacks if isinstance(callback, NativeCallback)), None)


def callbacks_of(call: Call) -> list[Any]:
    """The callbacks that a call is given, in a list of ours.

    An iterator, which is used up by looking, is handed on as a list; what is none of that, as it is.
    """
    given = call.get("callbacks")
    if given is None or not isinstance(given, Iterable):
        return []
    if not isinstance(given, Collection):
        given = list(given)
        call.replace("callbacks", given)
    return list(given)


def without_ours(callbacks: list[Any]) -> list[Any] | None:
    """The user's own, where a callback of ours is not to be called; None: there are no others."""
    return [one for one in callbacks if not isinstance(one, NativeCallback)] or None


def given_by(callback: NativeCallback | None) -> Recording | None:
    """The run that the user has given to a callback of ours."""
    return recording_of(callback.run) if callback is not None and callback.run is not None else None


def is_wanted(framework: str, callback: NativeCallback | None) -> bool:
    """Whether a call is to be recorded: it carries a callback of ours, or every call is."""
    return callback is not None or catalogue.is_on(framework)
