"""Held-out predictions, from the validation or test that runs anyway.

What a step returns is taken if it is a dict of predictions and targets. Else a batch is taken for
``(inputs, targets)``, and what the module itself gave back for it (``self(x)``), or its part that was called
last with one prediction per sample (``self.net(x)``). Nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch

from autolog.core.recording import Recording
from autolog.lightning.metrics import HeldMetrics
from autolog.lightning.names import canonical
from autolog.torch.evaluation import Kept, record_evaluation

__all__ = ["HeldOut"]

_PREDICTIONS = ("preds", "pred", "predictions", "y_hat", "y_pred", "logits", "outputs", "output", "probs")
_TARGETS = ("targets", "target", "labels", "label", "y", "y_true")


class HeldOut:
    """Targets and predictions of the last evaluation, per data loader, on the device they are on.

    Attributes:
        metrics: what torchmetrics has kept of it in the module.
    """

    def __init__(self, run: Recording):
        self._run = run
        self.metrics = HeldMetrics()
        self._kept: dict[int, Kept] = {}
        self._handles: list[Any] = []
        self._whole: Any = None  # what the module gave back for this batch
        self._part: Any = None  # and the part of it that was called last
        self._is_open = False
        self._has_seen = False  # an evaluation that was not recorded yet

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}, "_handles": [], "_whole": None, "_part": None}

    def begin(self, module: Any) -> None:
        """An evaluation begins."""
        self._kept = {}
        self._is_open = self._has_seen = True
        self.metrics.begin(module)

    def listen(self, module: Any) -> None:
        """A batch of it begins. Between two the module has no hook of ours: TorchScript takes none."""
        if self._is_open and getattr(module, "_compiler_ctx", None) is None:  # else compiled with its steps
            self._listen(module)

    def end(self) -> bool:
        """It has ended. Returns whether there was one."""
        self._stop_listening()
        was_open, self._is_open = self._is_open, False
        return was_open

    def take(self, outputs: Any, batch: Any, loader: int) -> None:
        """One batch of it, and what the step returned for it."""
        self._stop_listening()
        if not self._is_open:
            return
        whole, part = self._whole, self._part
        self._whole = self._part = None
        truth, predicted = _returned(outputs)
        inputs = None
        if isinstance(batch, (list, tuple)) and len(batch) == 2:
            inputs = batch[0]
            if truth is None:
                truth, predicted = batch[1], whole if whole is not None else part
        if isinstance(truth, torch.Tensor) and isinstance(predicted, torch.Tensor):
            self._kept.setdefault(loader, Kept()).add(truth.detach(), predicted.detach(), inputs)

    def seen_all(self, module: Any) -> None:
        """All of its batches were taken; the module's own end of it is still to come."""
        if self._is_open:
            self.metrics.end(module)

    def record(self, name: str, trainer: Any) -> None:
        """What can be said of the last evaluation's predictions; nothing if there was none since the last."""
        has_seen, self._has_seen = self._has_seen, False
        if not has_seen:
            return
        if trainer.world_size > 1:
            why = f"what is made from predictions is of rank 0's share, one of {trainer.world_size}"
            self._run.note(name, why)
        self.metrics.record(self._run, name)
        if not self._kept:
            why = (
                "not recorded: a step neither returns predictions and targets (`preds`, `target`) nor calls "
                "the module on a batch (x, y), or the module is compiled"
            )
            self._run.note(f"{name}/confusion_matrix", why)
            return
        for loader, kept in self._kept.items():
            place = name if len(self._kept) == 1 else f"{name}/{loader}"
            told = {canonical(key, name): float(one) for key, one in trainer.callback_metrics.items()}
            record_evaluation(self._run, place, kept, told)
        self._kept = {}

    def _listen(self, module: Any) -> None:
        self._stop_listening()

        def whole(output: Any) -> None:
            self._whole = output

        def part(output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim and output.is_floating_point():
                self._part = output

        self._handles = [module.register_forward_hook(_Ear(whole))]
        self._handles += [child.register_forward_hook(_Ear(part)) for child in module.children()]

    def _stop_listening(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []


class _Ear:
    """A hook in a module. Copies and pickles of the module that are made meanwhile are not heard.

    They have a function of Python's own in its place, which does nothing, and is there without autolog, too.
    """

    def __init__(self, hear: Callable[[Any], None]):
        self._hear = hear

    def __call__(self, module: Any, args: Any, output: Any) -> None:
        self._hear(output)

    def __reduce__(self) -> Any:
        return getattr, (nullcontext(), "__exit__")


def _returned(outputs: Any) -> tuple[Any, Any]:
    """Targets and predictions of a step that returns them."""
    if not isinstance(outputs, Mapping):
        return None, None
    truth = next((outputs[name] for name in _TARGETS if name in outputs), None)
    predicted = next((outputs[name] for name in _PREDICTIONS if name in outputs), None)
    return (truth, predicted) if truth is not None and predicted is not None else (None, None)
