"""The evaluations of a loop of one's own, as far as they tell what they are of.

Between ``model.eval()`` and ``model.train()``, without gradients, losses are heard (``heard.py``). Which data
it was, and that the predictions were the model's, is said by what the user logs then: ``{"val/loss": ...}``,
if that is the loss of what was heard, or the accuracy. The last one of each set is evaluated when the loop
ends.
"""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch

from autolog.core import hooked
from autolog.core.recording import Recording
from autolog.process import forks
from autolog.process.guard import shield
from autolog.process.hooks import Hook, uninstall
from autolog.torch.agreement import Losses, differs
from autolog.torch.evaluation import Kept, Known, record_evaluation, why_left_out
from autolog.torch.heard import Heard, HeardCall

__all__ = ["HOOKS", "Validation"]

MOST_HEARD = 3  # losses by their names
_SETS = {"val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test", "eval": "eval"}
_KEY = re.compile(rf"({'|'.join(_SETS)})[_/.\- ](.+)", re.IGNORECASE)


class _Stream:
    """What a loss was called with, batch by batch."""

    def __init__(self, known: Known):
        self.kept = Kept(known)
        self.losses = Losses()
        self.lengths: list[int] = []
        self.is_left_out = False


class Validation:
    """Listens to the evaluations of a loop's models.

    Args:
        run: where they are recorded.
        steps: says how many steps were made.
    """

    def __init__(self, run: Recording, steps: Callable[[], int]):
        self._run = run
        self._steps = steps
        self._models: list[weakref.ref[Any]] = []
        self._heard: Heard | None = None
        self._streams: dict[str, _Stream] = {}
        self._found: dict[str, tuple[_Stream, dict[str, float], int]] = {}  # by set; with its step
        self._names: set[str] = set()  # of all that the user has logged of a set
        self._unknown: str | None = None
        self._step = 0  # at which the weights were that are evaluated

    def add(self, model: Any) -> None:
        """Listen to one more model."""
        if not self._models:
            _listeners.append(self)
            hooked.put_in("torch", HOOKS, "torch")
        self._models.append(weakref.ref(model))

    def stop(self) -> None:
        """Listen no more."""
        self.pause()
        if self in _listeners:
            _listeners.remove(self)
        if not _listeners:
            uninstall(HOOKS)

    def pause(self) -> None:
        """The evaluation has ended, or a step of the training was made."""
        if self._heard is not None:
            self._heard.end()
            self._heard = None

    def turned(self, model: Any, *, trains: bool) -> None:
        """``model.train()`` or ``model.eval()`` was called."""
        if not any(known() is model for known in self._models):
            return
        self.pause()
        if not trains:
            self._streams, self._step = {}, self._steps()
            self._heard = Heard(self._hear)
            self._heard.begin()

    def _hear(self, call: HeardCall) -> None:
        if torch.is_grad_enabled() or call.result is None:
            return
        if call.name not in self._streams and len(self._streams) >= MOST_HEARD:
            return
        known = Known(call.kind, call.is_probabilities, call.ignored)
        stream = self._streams.setdefault(call.name, _Stream(known))
        stream.is_left_out = (
            stream.is_left_out or why_left_out(call) is not None or stream.kept.known != known
        )
        if not stream.is_left_out:
            stream.kept.add(call.truth, call.scores, copied=True)
            stream.losses.add(call.result, len(call.truth))
            stream.lengths.append(len(call.truth))

    def logged(self, metrics: Mapping[str, Any]) -> None:
        """The user has logged something: perhaps what was heard."""
        self._names |= {place for key in metrics if (place := _place(key))}
        if not self._streams:
            return
        told = {place: value for key, given in metrics.items() for place, value in _told(key, given)}
        for name in dict.fromkeys(key.partition("/")[0] for key in told):
            of_set = {key: value for key, value in told.items() if key.startswith(f"{name}/")}
            agreeing = [stream for stream in self._streams.values() if self._is_of(stream, of_set, name)]
            if agreeing:
                self._found[name] = agreeing[0], of_set, self._step
                self._streams, self._unknown = {}, None
                return
            self._unknown = name

    def _is_of(self, stream: _Stream, told: Mapping[str, float], name: str) -> bool:
        if stream.is_left_out or stream.kept.is_empty:
            return False
        losses = stream.losses.whole(stream.lengths)
        return differs(told, name, stream.kept, stream.kept.known, stream.lengths, losses) == ""

    def record(self) -> None:
        """The loop has ended."""
        found, self._found = self._found, {}
        for name, (stream, told, step) in found.items():
            theirs = dict.fromkeys(self._names, math.nan)  # whatever its value, and when they logged it
            record_evaluation(self._run, name, stream.kept, {**theirs, **told}, step=step)
        if self._unknown is not None and self._unknown not in found:
            why = (
                "not recorded: what is logged is not of what a loss was called with between model.eval() and "
                "model.train(). Call watch.evaluate(y, scores)"
            )
            self._run.note(f"{self._unknown}/confusion_matrix", why)


def _place(key: Any) -> str | None:
    found = _KEY.fullmatch(key) if isinstance(key, str) else None
    return None if found is None else f"{_SETS[found[1].lower()]}/{found[2].lower()}"


def _told(key: Any, value: Any) -> list[tuple[str, float]]:
    """``val_loss`` is ``val/loss``; nothing, if it is of no set of data, or no number."""
    place = _place(key)
    if place is None:
        return []
    try:
        return [(place, float(value))]
    except (TypeError, ValueError, RuntimeError):  # no number: a picture, a tensor of several
        return []


def observe_train(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """``model.train()``, or ``model.eval()``, which is ``model.train(False)``."""
    if torch.compiler.is_compiling():  # a model that turns a part of itself, in the midst of its graph
        return
    trains = bool(args[0] if args else kwargs.get("mode", True))
    for listener in list(_listeners):
        with shield("torch: an evaluation"):
            listener.turned(model, trains=trains)


HOOKS = [
    Hook(
        "torch.nn.modules.module",
        "Module.train",
        observe_train,
        kind="after",
        records="evaluations of a loop of one's own",
    )
]

_listeners: list[Validation] = []
forks.when_forked("rooms", in_child=_listeners.clear)
