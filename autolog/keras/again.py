"""A training that the user goes on with in a loop: ``for _ in range(10): model.fit(x, y, epochs=1)``.

To Keras each of these calls is a training of its own; together they are one run. They are the same training
if the same line calls ``fit`` again with the same model, compiled and trained as the last call has left it,
and with the same data. Anything else (data of other folds, weights that were set back) is another training.
"""

from __future__ import annotations

import sys
import weakref
from types import CodeType
from typing import Any, NamedTuple

import keras

import autolog
from autolog.core.current import innermost
from autolog.core.recording import Recording
from autolog.core.training import Training
from autolog.process import guard
from autolog.process.hooks import NOWHERE, Call

__all__ = ["epochs_of", "gone_on", "line_of", "remember_epochs", "remember_fit"]

FEW = 64  # numbers of the first weights, by which it is known whether they are as they were


class _Fit(NamedTuple):
    """A ``fit`` that has returned."""

    run: weakref.ref[Recording]
    owns: bool
    line: tuple[CodeType, int]
    parts: list[weakref.ref[Any]]  # optimizer, compiled loss, data
    weights: bytes


_last: weakref.WeakKeyDictionary[Any, _Fit] = weakref.WeakKeyDictionary()
_epochs: weakref.WeakKeyDictionary[Recording, int] = weakref.WeakKeyDictionary()


def gone_on(call: Call, given: Recording | None) -> Training | None:
    """The training that this call goes on with, if it does."""
    model = call.subject
    last = _last.get(model)
    run = last.run() if last is not None else None
    if last is None or run is None or run.is_closed or run.is_training:
        return None
    around = given or innermost()
    if run.status != ("finished" if last.owns else "running") or around not in (None, run):
        return None
    parts = [reference() for reference in last.parts]
    now = _parts(call)
    if len(now) != len(parts) or any(one is not other for one, other in zip(now, parts, strict=True)):
        return None
    if _line() != last.line or _weights(model) != last.weights:
        return None
    run.go_on()
    run.is_training = True
    guard.charge(run)
    return Training(run, owns=last.owns)


def remember_fit(call: Call, training: Training, line: tuple[CodeType, int] | None) -> None:
    """This call has returned."""
    model = call.subject
    _last.pop(model, None)
    try:
        parts = [weakref.ref(part) for part in _parts(call)]
    except TypeError:  # data that nobody can refer to weakly
        return
    if line is not None and parts and training.checkpoint is None:
        run = weakref.ref(training.run)
        _last[model] = _Fit(run, training.owns, line, parts, _weights(model))


def epochs_of(run: Recording) -> int:
    """How many epochs stand in a run."""
    return _epochs.get(run, 0)


def remember_epochs(run: Recording, epochs: int) -> None:
    """So many epochs stand in it now."""
    _epochs[run] = epochs


def _parts(call: Call) -> list[Any]:
    model = call.subject
    data = [leaf for leaf in keras.tree.flatten([call.get("x"), call.get("y")]) if leaf is not None]
    compiled = [getattr(model, "optimizer", None), getattr(model, "_compile_loss", None)]
    return [part for part in (*compiled, *data) if part is not None]


def _weights(model: Any) -> bytes:
    variables = model.trainable_variables
    if not variables:
        return b""
    few = keras.ops.ravel(variables[0].value)[:FEW]
    found: bytes = keras.ops.convert_to_numpy(few).tobytes()
    return found


def _line() -> tuple[CodeType, int] | None:
    """Where the user has called ``fit``: the first frame that is not ours."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((NOWHERE, _OURS)):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code, frame.f_lasti) if frame is not None else None


_OURS = autolog.__path__[0]


def line_of(call: Call) -> tuple[CodeType, int] | None:
    """See :class:`_Fit`. Of a ``fit`` that a callback of ours has found running it is not known."""
    return None if getattr(call, "is_running", False) else _line()
