"""Hearing of the steps of all optimizers, as long as it is not known which ones train a model.

torch goes through its table of such hooks while they run. Another thread that changed the table meanwhile
would end that step with an error. So there is one pair of hooks for all loops, and it is taken out with the
last of them only if no other thread has ever come through it; else it stays, and sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from torch.optim import optimizer as torch_optimizer

from autolog.process import forks

__all__ = ["listen_to_all"]

Hear = Callable[[Any, Any, Any], None]
"""Takes an optimizer, and the arguments of its step."""


def listen_to_all(before: Hear, after: Hear) -> Callable[[], None]:
    """Call these before and after each step of any optimizer; returns how to stop."""
    with _lock:
        _listeners.append((before, after))
        if not _handles:
            _handles[:] = [
                torch_optimizer.register_optimizer_step_pre_hook(_before),
                torch_optimizer.register_optimizer_step_post_hook(_after),
            ]

    def stop() -> None:
        with _lock:
            if (before, after) in _listeners:
                _listeners.remove((before, after))
            if not _listeners and _threads <= {threading.get_ident()}:
                while _handles:
                    _handles.pop().remove()

    return stop


def _before(optimizer: Any, args: Any, kwargs: Any) -> None:
    _threads.add(threading.get_ident())
    for before, _ in list(_listeners):
        before(optimizer, args, kwargs)


def _after(optimizer: Any, args: Any, kwargs: Any) -> None:
    for _, after in list(_listeners):
        after(optimizer, args, kwargs)


_lock = threading.RLock()
_handles: list[Any] = []
_listeners: list[tuple[Hear, Hear]] = []
_threads: set[int] = set()  # that have come through the hooks


def _forget_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    _listeners.clear()


forks.when_forked("rooms", in_child=_forget_in_child)
