"""What losses of torch's and metrics of torchmetrics' are called with: targets and predictions, as is known.

Which tensor of a batch is the truth, and for whose answer, nobody can tell from the batch. Who calls
``cross_entropy(scores, y)`` has said it. A :class:`Heard` listens between ``begin`` and ``end``, on its own
thread: to all other calls, those of training steps above all, it is not there.

The functions of ``torch.nn.functional`` themselves stay as they are, for three reasons: scripts import them
by name before anybody listens; ``torch.compile`` looks at them, and would compile again; TorchScript reads
their source. What is replaced is the function of C++ that each of them looks up in its module with every
call, and that the compiler never sees: it takes ``cross_entropy`` as a whole.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from autolog.process.guard import shield

__all__ = ["Heard", "HeardCall", "Kind", "metrics_of"]

Kind = Literal["classes", "labels", "amounts"]


@dataclass(frozen=True)
class HeardCall:
    """What a loss or a metric was called with, the tensors as they were given: nothing is copied.

    Attributes:
        name: of the loss or metric.
        kind: ``classes``: a class for each row, scores of shape (n, classes, ...), or the classes themselves;
            ``labels``: yes or no for each number; ``amounts``.
        truth: targets; of classes whole numbers, or rows of shares in the shape of the scores.
        scores: predictions.
        is_probabilities: whether the scores are probabilities; None: their values say it.
        ignored: the target that counts for none.
        weights: of single numbers (not of classes or labels), where some are given.
        result: what a loss has returned, or None.
    """

    name: str
    kind: Kind
    truth: Any
    scores: Any
    is_probabilities: bool | None = None
    ignored: int | None = None
    weights: Any = None
    result: Any = None


class Heard:
    """Listens to losses and metrics that are called on this thread.

    Args:
        on_call: is shown each call, after it has returned.
        metrics: of torchmetrics, see :func:`metrics_of`.

    Example:
        >>> heard = Heard(print)
        >>> with heard:
        ...     validation_step(batch)
    """

    def __init__(self, on_call: Callable[[HeardCall], None], metrics: Iterable[Any] = ()):
        self._on_call = on_call
        self._metrics = list(metrics)
        self._replaced: list[tuple[dict[str, Any], Any, Any]] = []
        self._thread: int | None = None

    def begin(self) -> None:
        """Listen, until ``end``. One at a time on a thread: the last one that has begun."""
        self.end()
        self._thread = threading.get_ident()
        with _lock:
            if not _listeners:
                _put_in()
            _listeners[self._thread] = self
        for metric in self._metrics:
            held = vars(metric)
            original = held.get("update")  # of the object: torchmetrics puts one into each
            if original is not None:
                held["update"] = ours = self._heard_update(metric, original)
                self._replaced.append((held, original, ours))

    def end(self) -> None:
        """Listen no more."""
        for held, original, ours in self._replaced:
            if held.get("update") is ours:
                held["update"] = original
        self._replaced = []
        with _lock:
            if self._thread is not None and _listeners.get(self._thread) is self:
                del _listeners[self._thread]
                if not _listeners:
                    _take_out()
        self._thread = None

    def __enter__(self) -> Heard:
        self.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def __reduce__(self) -> Any:
        return Heard, (_nothing,)  # in another process nobody listens

    def tell(self, call: HeardCall) -> None:
        """Show a call, if it is one that is made for real, of tensors of its own."""
        with shield("torch: a loss or a metric"):
            if _is_for_real(call.truth, call.scores):
                self._on_call(call)

    def _heard_update(self, metric: Any, original: Callable[..., Any]) -> Callable[..., Any]:
        kind, is_probabilities = _kind_of(metric)
        ignored = getattr(metric, "ignore_index", None)

        @functools.wraps(original)
        def update(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if _listeners.get(threading.get_ident()) is self:
                predicted, truth = (*args, kwargs.get("preds"), kwargs.get("target"))[:2]
                if len(args) == 1:
                    truth = kwargs.get("target")
                told = HeardCall(type(metric).__name__, kind, truth, predicted, is_probabilities, ignored)
                self.tell(told)
            return result

        return update


def metrics_of(module: Any) -> list[Any]:
    """The metrics in a module that are of targets and predictions, but for those of samples drawn anew."""
    drawn = tuple(
        f"{name}." for name, part in module.named_modules() if type(part).__name__ == "BootStrapper"
    )
    return [
        part
        for name, part in module.named_modules()
        if type(part).__module__.startswith(("torchmetrics.classification.", "torchmetrics.regression."))
        and _kind_of(part)[0] is not None
        and not name.startswith(drawn)
    ]


_AMOUNTS = ("MeanSquaredError", "MeanAbsoluteError", "R2Score", "PearsonCorrCoef", "ExplainedVariance")


def _kind_of(metric: Any) -> tuple[Any, bool | None]:
    """By the names that torchmetrics gives its classes."""
    for base in type(metric).__mro__:
        if base.__module__.startswith("torchmetrics.classification."):
            if base.__name__.startswith("Multiclass"):
                return "classes", None
            if base.__name__.startswith(("Binary", "Multilabel")):
                return "labels", None
        if base.__name__ in _AMOUNTS and base.__module__.startswith("torchmetrics.regression."):
            return "amounts", None
    return None, None


def _nothing(call: HeardCall) -> None:
    """By name, so that it can be pickled."""


def _is_for_real(truth: Any, scores: Any) -> bool:
    """Whether these are tensors with values that may be read.

    None are those that the compiler, an export or functorch computes with, tensors of many processes, and
    what a CUDA graph is being recorded from.
    """
    for tensor in (truth, scores):
        if not isinstance(tensor, torch.Tensor):
            return False
        plain = torch._C._disabled_torch_dispatch_impl
        if type(tensor).__torch_dispatch__ is not plain or tensor.is_meta:
            return False
        # Spread by broadcasting, each target beside every prediction: mostly a mistake of shapes.
        if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)):
            return False
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
        or _get_current_dispatch_mode() is not None
        or (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())
    )


# The functions below those of torch.nn.functional -------------------------------------------------------

_lock = threading.RLock()
_listeners: dict[int, Heard] = {}  # by thread


def _classes(name: str, args: tuple[Any, ...], result: Any) -> HeardCall:
    """``(input, target, weight, reduction, ignore_index)``: the weights are those of classes."""
    ignored = args[4] if len(args) > 4 else -100
    return HeardCall(name, "classes", args[1], args[0], None, ignored, result=result)


def _probabilities(name: str, args: tuple[Any, ...], result: Any) -> HeardCall:
    """``(input, target, weight, reduction)``."""
    return HeardCall(name, "labels", args[1], args[0], True, weights=_single(args[2], args[1]), result=result)


def _logits(name: str, args: tuple[Any, ...], result: Any) -> HeardCall:
    """``(input, target, weight, pos_weight, reduction)``."""
    return HeardCall(
        name, "labels", args[1], args[0], False, weights=_single(args[2], args[1]), result=result
    )


def _single(weights: Any, truth: Any) -> Any:
    """Weights of single numbers, which may take some out; not those of each label."""
    is_of_all = weights is None or weights.shape != truth.shape or not weights.ndim or not weights.stride(0)
    return None if is_of_all else weights


def _amounts(name: str, args: tuple[Any, ...], result: Any) -> HeardCall:
    """``(input, target, reduction, ...)``."""
    return HeardCall(name, "amounts", args[1], args[0], result=result)


# Private, as torch.nn.functional calls them; tests/torch/test_heard.py watches every one.
_FUNCTIONS: list[tuple[Any, str, Callable[[str, tuple[Any, ...], Any], HeardCall]]] = [
    (torch._C._nn, "cross_entropy_loss", _classes),
    (torch._C._nn, "nll_loss_nd", _classes),
    (torch._C._nn, "binary_cross_entropy", _probabilities),
    (torch, "binary_cross_entropy_with_logits", _logits),
    (torch._C._nn, "mse_loss", _amounts),
    (torch._C._nn, "l1_loss", _amounts),
    (torch._C._nn, "smooth_l1_loss", _amounts),
    (torch._C._nn, "huber_loss", _amounts),
]


def _listening(original: Any, name: str, read: Callable[[str, tuple[Any, ...], Any], HeardCall]) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        heard = _listeners.get(threading.get_ident())
        if heard is not None and not kwargs and len(args) > 2:  # as torch.nn.functional calls it
            heard.tell(read(name, args, result))
        return result

    # A module that is scripted meanwhile finds the function of C++ in ours.
    operator = torch.jit._builtins._find_builtin(original)
    if operator is not None:
        torch.jit._builtins._register_builtin(function, operator)
    return function


@functools.cache
def _ours() -> list[tuple[Any, str, Any, Any]]:
    """Module, name, the original and what listens: the same ones each time."""
    found = [(module, name, getattr(module, name, None), read) for module, name, read in _FUNCTIONS]
    return [
        (module, name, original, _listening(original, name, read))
        for module, name, original, read in found
        if original is not None
    ]


def _put_in() -> None:
    for module, name, original, ours in _ours():
        if getattr(module, name) is original:  # else somebody else has replaced it
            setattr(module, name, ours)


def _take_out() -> None:
    for module, name, original, ours in _ours():
        if getattr(module, name) is ours:
            setattr(module, name, original)
