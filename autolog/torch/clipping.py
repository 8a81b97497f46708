"""Gradients are seen before they are clipped.

An optimizer's hook comes after that. So whatever clips by torch's own functions is seen too, as long as
somebody listens. Clipping by hand is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autolog.core import hooked
from autolog.process import forks
from autolog.process.hooks import Hook, uninstall

__all__ = ["HOOKS", "listen_to_clipping"]


def listen_to_clipping(listener: Callable[[Any], None]) -> Callable[[], None]:
    """Show this function the gradients that torch's own functions are about to clip; returns how to stop."""
    _listeners.append(listener)
    hooked.put_in("torch", HOOKS, "torch")

    def stop() -> None:
        if listener in _listeners:
            _listeners.remove(listener)
        if not _listeners:
            uninstall(HOOKS)

    return stop


def observe_grouping(tensors: Any, args: Any, kwargs: Any, result: Any) -> None:
    """Gradients are about to be clipped: they are being grouped by device."""
    if not torch.compiler.is_compiling():
        for listener in list(_listeners):
            listener(tensors[0])


# Scripts import `clip_grad_norm_` at their top, before anything is watched: a patch of that name would come
# too late. What it and its kin (`clip_grad_value_`, `get_total_norm`) look up in their module with every
# call, before they change anything, does not. Private, so tests/torch/test_norms.py watches it.
HOOKS = [
    Hook(
        "torch.nn.utils.clip_grad",
        "_group_tensors_by_device_and_dtype",
        observe_grouping,
        kind="after",
        records="gradient norms as they were before they were clipped",
    )
]

_listeners: list[Callable[[Any], None]] = []
forks.when_forked("rooms", in_child=_listeners.clear)  # the steps of a forked child are nobody's
