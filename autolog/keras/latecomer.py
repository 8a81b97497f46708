"""A ``fit`` that began before our hook was there.

In ``model.fit(..., callbacks=[TrackioCallback()])`` Python looks ``model.fit`` up first and makes the
callback then: the first one in a process comes too late to have that very call hooked. So it finds the
running call in the frames above it, and drives what the hook would have driven. How such a training fails is
not seen: once its call is on the stack no more, its run has failed.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Generator
from contextvars import Context, copy_context
from types import FrameType
from typing import Any

import keras

from autolog.core import current, training
from autolog.core.recording import Recording
from autolog.keras.fit import joined_late, observe_fit
from autolog.process.guard import shield
from autolog.process.hooks import Outcome

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


class _Driver:
    """What drives the recording of such a training, in a context of its own: its end may never be told."""

    def __init__(self, model: Any, frames: Generator[None, Outcome, None], context: Context, run: Recording):
        self._model = weakref.ref(model)
        self._frames = frames
        self._context = context
        self._thread = threading.get_ident()
        self._leave = current.enter(run)
        joined_late.add(model)
        current.ask_before(self.end_if_over)

    def end(self, error: BaseException | None) -> None:
        """The training has ended."""
        if not current.ask_no_more(self.end_if_over):
            return
        self._leave()
        model = self._model()
        if model is not None:
            joined_late.discard(model)
        with shield("Keras: the training's end"):
            try:
                self._context.run(self._frames.send, Outcome(error=error))
            except StopIteration:
                pass

    def end_if_over(self) -> None:
        """It has failed, if its call is on its thread's stack no more."""
        model = self._model()
        frame = sys._current_frames().get(self._thread)
        if model is None or _fit_above(frame, model) is None:
            self.end(RuntimeError("how this training failed was not seen"))


class _Last(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the recording after all others."""

    async_safe = True

    def __init__(self, driver: _Driver):
        super().__init__()
        self._driver = driver

    def on_train_end(self, logs: Any = None) -> None:
        self._driver.end(None)


def join(model: Any) -> None:
    """Record the ``fit`` of this model that is running in this thread."""
    current.end_what_is_over()
    frame = _fit_above(sys._getframe(), model)
    if frame is None or model in joined_late:
        return
    given = frame.f_locals
    live: Any = given["callbacks"]
    found = RunningFit(model, {name: given[name] for name in _names(frame) if name in given}, live)
    frames, context = observe_fit(found), copy_context()  # type: ignore[arg-type]
    try:
        context.run(next, frames)
    except StopIteration:
        return
    run = training.find_run(model)
    if run is not None:
        live.callbacks.append(_Last(_Driver(model, frames, context, run)))


def _fit_above(frame: FrameType | None, model: Any) -> FrameType | None:
    """The running ``fit`` of this model in whose callbacks we are, if there is one above this frame."""
    while frame is not None:
        if frame.f_code.co_name == "fit":
            given = frame.f_locals
            has_begun = isinstance(given.get("callbacks"), keras.callbacks.CallbackList)
            if given.get("self") is model and has_begun:
                return frame
        frame = frame.f_back
    return None


def _names(frame: FrameType) -> tuple[str, ...]:
    code = frame.f_code
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
