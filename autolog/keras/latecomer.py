"""A ``fit`` that began before our hook was there.

In ``model.fit(..., callbacks=[TrackioCallback()])`` Python looks ``model.fit`` up first and makes the
callback then: the first one in a process comes too late to have that very call hooked. So it finds the
running call in the frames above it, and drives what the hook would have driven. How such a training fails is
not seen: its run ends when Keras lets go of its callbacks.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from types import FrameType
from typing import Any

import keras

from autolog.core.guard import shield
from autolog.core.hooks import Outcome
from autolog.keras.fit import observe_fit

__all__ = ["RunningFit", "join"]


class RunningFit:
    """The arguments of a ``fit`` that is running, as an observer asks a call for them."""

    is_running = True

    def __init__(self, subject: Any, arguments: dict[str, Any], live: keras.callbacks.CallbackList):
        self.subject = subject
        self._arguments = arguments
        self._live = live

    def get(self, name: str, default: Any = None) -> Any:
        """The argument; Keras may have split validation data off by now."""
        return self._arguments.get(name, default)

    def replace(self, name: str, value: Any) -> None:
        """Our ears come last among the callbacks that Keras is calling."""
        assert name == "callbacks"
        self._live.callbacks.append(value.callbacks[-1])


class _Last(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the recording after all others. What drives it lives as long as Keras holds this."""

    async_safe = True

    def __init__(self, recording: Generator[None, Outcome, None]):
        super().__init__()
        self._recording = recording

    def on_train_end(self, logs: Any = None) -> None:
        with shield("Keras: the training's end"):
            try:
                self._recording.send(Outcome())
            except StopIteration:
                pass


def join(model: Any) -> None:
    """Record the ``fit`` of this model that is running in this thread."""
    found = _running_fit(model)
    if found is None:
        return
    recording = observe_fit(found)  # type: ignore[arg-type]
    try:
        next(recording)
    except StopIteration:
        return
    found.get("callbacks").callbacks.append(_Last(recording))


def _running_fit(model: Any) -> RunningFit | None:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_locals.get("self") is model:
            given = frame.f_locals
            live = given.get("callbacks")
            if isinstance(live, keras.callbacks.CallbackList):
                return RunningFit(model, {name: given[name] for name in _names(frame) if name in given}, live)
        frame = frame.f_back
    return None


def _names(frame: FrameType) -> tuple[str, ...]:
    code = frame.f_code
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
