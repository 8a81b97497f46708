"""Held-out predictions, from the validation or test that runs anyway: those alone of which it is known what
they were to be.

That is said by a step that returns predictions and targets in a dict; by a loss or a metric that both are
given to (see :mod:`autolog.torch.heard`); for a batch ``(x, y)`` and what the module gave back for it,
``self(x)``, by what the module logs: its accuracy or its loss is the one of these. Where the module logs an
accuracy or a loss that is another one, they are not evaluated. Nothing is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from autolog.core.recording import Recording
from autolog.lightning.metrics import HeldMetrics
from autolog.lightning.names import canonical
from autolog.torch.agreement import Losses, differs, guesses
from autolog.torch.evaluation import Kept, Known, record_evaluation, why_left_out
from autolog.torch.heard import Heard, HeardCall, metrics_of

__all__ = ["HeldOut", "length"]

_PREDICTIONS = ("preds", "pred", "predictions", "y_hat", "y_pred", "logits", "outputs", "output", "probs")
_TARGETS = ("targets", "target", "labels", "label", "y", "y_true")
MOST_HEARD = 3  # pairs of targets and predictions in a batch


@dataclass
class _Pair:
    """Targets and predictions that came together in every batch.

    Attributes:
        name: of the loss or metric that they were given to.
        kept: they themselves.
        readings: what they may be taken for.
        losses: what the loss has returned.
        batches: in how many batches they came.
        why_not: why nothing is made of them.
    """

    name: str
    kept: Kept
    readings: list[Known]
    losses: Losses = field(default_factory=Losses)
    batches: int = 0
    why_not: str | None = None


class _OfLoader:
    """What is known of one data loader's predictions."""

    def __init__(self) -> None:
        self.returned = _Pair("the step", Kept(), [Known()])
        # Rows of a single 1 may be labels or a class, numbers beside numbers amounts or labels.
        readings = [Known(), Known("classes"), Known("amounts", ignored=None)]
        self.whole = _Pair("the module", Kept(), readings)
        self.heard: list[_Pair] = []
        self.lengths: list[int] = []  # samples of each batch
        self.has_too_many = False


class HeldOut:
    """Targets and predictions of the last evaluation, per data loader, on the device they are on.

    Attributes:
        metrics: what torchmetrics has kept of it in the module.
    """

    def __init__(self, run: Recording):
        self._run = run
        self.metrics = HeldMetrics()
        self._of: dict[int, _OfLoader] = {}
        self._heard: Heard | None = None
        self._handles: list[Any] = []
        self._whole: list[Any] = []  # what the module gave back for this batch
        self._in_batch: dict[Any, tuple[_Pair, HeardCall]] = {}  # by where the tensors of this batch lie
        self._batch: Any = None
        self._loader = 0
        self._told: dict[str, Any] = {}
        self._step: int | None = None
        self._averages = False
        self._weights: Any = None  # a mark of those that have predicted, where they are averaged
        self._is_open = False
        self._has_seen = False  # an evaluation that was not recorded yet

    def __getstate__(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {
            "_of": {},
            "_heard": None,
            "_handles": [],
            "_whole": [],
            "_in_batch": {},
            "_batch": None,
        }
        return {**self.__dict__, **nothing, "_told": {}}

    def begin(self, module: Any, callbacks: Iterable[Any] = ()) -> None:
        """An evaluation begins.

        Args:
            module: whose it is.
            callbacks: of its Trainer, of which some give the module other weights when the training ends.
        """
        self._of = {}
        self._averages = any(_averages(callback) for callback in callbacks)
        self._weights = None
        self._told = {}
        self._is_open = self._has_seen = True
        self.metrics.begin(module)
        self._heard = Heard(self._hear, metrics_of(module))

    def listen(self, module: Any, batch: Any, loader: int) -> None:
        """A batch of it begins. Between two the module has no hook of ours: TorchScript takes none."""
        self._stop_listening()
        # A module that is compiled with its steps is not listened to: it would be compiled anew.
        if self._is_open and getattr(module, "_compiler_ctx", None) is None and self._heard is not None:
            self._batch, self._loader = batch, loader
            if self._averages and self._weights is None:  # now: they may be put back when it ends
                self._weights = _mark(module)
            self._handles = [module.register_forward_hook(_Ear(self._whole.append))]
            self._heard.begin()

    def end(self, trainer: Any, step: int | None) -> bool:
        """It has ended. Returns whether there was one.

        Args:
            trainer: whose it was.
            step: at which the weights were that have predicted; None: the run's last.
        """
        self._stop_listening()
        was_open, self._is_open = self._is_open, False
        if was_open:
            self._told, self._step = _logged_now(trainer), step
        return was_open

    def leave(self) -> None:
        """The call has ended, or goes on without us."""
        self._stop_listening()
        self._is_open = False

    def take(self, outputs: Any, batch: Any, loader: int) -> None:
        """One batch of it, and what the step returned for it."""
        whole, in_batch = self._whole, self._in_batch
        self._whole, self._in_batch = [], {}
        self._stop_listening()
        if not self._is_open:
            return
        of = self._of.setdefault(loader, _OfLoader())
        of.lengths.append(length(batch))
        for pair, _ in in_batch.values():
            pair.batches += 1
        inputs = _inputs(batch)
        truth, predicted = _returned(outputs)
        if isinstance(truth, torch.Tensor) and isinstance(predicted, torch.Tensor):
            of.returned.kept.add(truth.detach(), predicted.detach(), inputs, copied=True)
            of.returned.batches += 1
        is_known = of.returned.batches or any(pair.why_not is None for pair in of.heard)
        if not is_known and isinstance(batch, (list, tuple)) and len(batch) == 2 and len(whole) == 1:
            truth, predicted = batch[1], whole[0]
            if isinstance(truth, torch.Tensor) and isinstance(predicted, torch.Tensor):
                of.whole.kept.add(truth.detach(), predicted.detach(), inputs, copied=True)
                of.whole.batches += 1

    def are_of_other_weights(self, module: Any) -> bool:
        """Whether the module has other weights now than those that have predicted last."""
        return self._weights is not None and bool((self._weights != _mark(module)).any())

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
        self.metrics.record(self._run, name, self._step)
        found, self._of = self._of, {}
        told = {canonical(key, name): float(one) for key, one in self._told.items()}
        for loader, of in found.items():
            place = name if len(found) == 1 else f"{name}/{loader}"
            pair, why = _chosen(of, {} if trainer.world_size > 1 else told, place)
            if pair is None:
                self._run.note(f"{place}/confusion_matrix", why)
            else:
                record_evaluation(self._run, place, pair.kept, told, step=self._step)

    def _hear(self, call: HeardCall) -> None:
        """A loss or a metric was called in this batch: often several with the same tensors."""
        of = self._of.setdefault(self._loader, _OfLoader())
        known = Known(call.kind, call.is_probabilities, call.ignored)
        place = (_place(call.truth), _place(call.scores))
        if place in self._in_batch:
            pair, _ = self._in_batch[place]
            if pair.readings[0].kind == known.kind and known.ignored not in (
                None,
                *(reading.ignored for reading in pair.readings),
            ):
                pair.readings.append(known)
        else:
            number = len(self._in_batch)
            if of.has_too_many or number >= MOST_HEARD:
                of.has_too_many, of.heard = True, []
                return
            if number == len(of.heard):
                of.heard.append(_Pair(call.name, Kept(known), [known]))
            pair = of.heard[number]
            self._in_batch[place] = pair, call  # its tensors live as long as they are known by their place
            if pair.name != call.name:
                pair.why_not = "not the same losses or metrics are called in every batch"
            pair.why_not = pair.why_not or why_left_out(call) or _why_no_classes(call)
            if pair.why_not is None:
                pair.kept.add(call.truth, call.scores, _inputs(self._batch), copied=True)
            else:
                pair.kept = Kept(known)
            if call.result is not None:
                pair.losses.add(call.result, len(call.truth))

    def _stop_listening(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._heard is not None:
            self._heard.end()
        self._whole, self._in_batch, self._batch = [], {}, None


def _chosen(of: _OfLoader, told: Mapping[str, float], place: str) -> tuple[_Pair | None, str]:
    """The predictions that this data is evaluated by; or None, and why."""
    batches = len(of.lengths)
    if of.returned.batches:
        candidates = [of.returned]
    elif of.has_too_many:
        return None, f"not recorded: more than {MOST_HEARD} losses or metrics of different predictions"
    else:
        candidates = [pair for pair in of.heard if pair.why_not is None]
    whys = [f"{pair.name}: {pair.why_not}" for pair in of.heard if pair.why_not is not None]
    complete = [pair for pair in candidates if pair.batches == batches and not pair.kept.is_empty]
    if len(complete) < len(candidates):
        whys.append("predictions of a part of the batches alone")
    confirmed, unknown = [], []
    for pair in complete:
        said = _compared(pair, told, place, of.lengths)
        if said == "":
            confirmed.append(pair)
        elif said is None:
            unknown.append(pair)
        else:
            whys.append(f"the module logs {said}, which is not of what {pair.name} was called with")
    chosen = _one_of(confirmed or (unknown if len(complete) == len(unknown) else []))
    if chosen is not None:
        return chosen, ""
    if confirmed or unknown:
        names = ", ".join(pair.name for pair in complete)
        whys = [f"several targets or predictions ({names}), and what is logged does not say which are meant"]
    elif not complete and of.whole.batches == batches and batches:
        said = _compared(of.whole, told, place, of.lengths)
        if said == "":
            return of.whole, ""
        if said:
            whys.append(f"the module logs {said}, which is not of self(x) beside y")
    if not whys:
        whys.append(
            "a step neither returns predictions and targets (`preds`, `target`) nor calls a loss of torch's "
            "or a metric of torchmetrics' with them, and no accuracy that is logged says that self(x) is the "
            "prediction for y; or the module is compiled"
        )
    return None, f"not recorded: {'; '.join(dict.fromkeys(whys))}"


def _compared(pair: _Pair, told: Mapping[str, float], place: str, lengths: list[int]) -> str | None:
    """As :func:`differs`, for the reading of the pair that what is logged is of; which is then the pair's."""
    losses = pair.losses.whole(lengths)
    other: str | None = None
    for known in pair.readings:
        said = differs(told, place, pair.kept, known, lengths, losses)
        if said == "":
            pair.kept.known = known
            return said
        other = other or said
    return other


def _one_of(pairs: list[_Pair]) -> _Pair | None:
    """The only one, or the one with scores of several that say the same; None: they do not."""
    if len(pairs) < 2:
        return pairs[0] if pairs else None
    found = [None if pair.kept.too_large else guesses(pair.kept, pair.kept.known) for pair in pairs]
    first = found[0]
    for other in found[1:]:
        if (
            first is None
            or other is None
            or any(a.shape != b.shape for a, b in zip(first, other, strict=True))
        ):
            return None
        if (first[0] != other[0]).any() or np.mean(first[1] != other[1]) > 1e-3:  # one may be rounded
            return None
    return next((pair for pair in pairs if pair.kept.has_scores), pairs[0])


def _why_no_classes(call: HeardCall) -> str | None:
    """The losses of contrastive learning ask which row of the batch is meant, and not for a class."""
    truth, scores = call.truth, call.scores
    if (
        call.kind != "classes"
        or truth.ndim != 1
        or scores.ndim != 2
        or not len(scores) == scores.shape[1] > 2
    ):
        return None
    is_own = bool((truth == torch.arange(len(truth), device=truth.device)).all())
    return "its targets are the numbers of the batch's own rows" if is_own else None


def _logged_now(trainer: Any) -> dict[str, Any]:
    """What was logged in the evaluation that ends, and not in the training before it."""
    names = {result.meta.name for result in (trainer._results or {}).values()}
    found = {}
    for key, value in trainer.callback_metrics.items():
        name = key.partition("/dataloader_idx_")[0]
        if name in names or name.removesuffix("_epoch") in names:
            found[key] = value
    return found


def _averages(callback: Any) -> bool:
    names = ("StochasticWeightAveraging", "WeightAveraging")
    return any(base.__name__ in names for base in type(callback).__mro__)


def _mark(module: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([parameter.double().sum() for parameter in module.parameters()])


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _inputs(batch: Any) -> Any:
    return batch[0] if isinstance(batch, (list, tuple)) and len(batch) == 2 else None


def length(batch: Any) -> int:
    """How many samples a batch has: the length of its first tensor."""
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else 1
    if isinstance(batch, (list, tuple)):
        parts: Iterable[Any] = batch
    else:
        parts = batch.values() if isinstance(batch, Mapping) else ()
    for part in parts:
        if size := length(part):
            return size
    return 0


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
