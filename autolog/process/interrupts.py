"""Tells whether an exception was raised by a signal handler of the user's, a timeout say."""

from __future__ import annotations

import signal

__all__ = ["came_by_signal"]


def came_by_signal(error: BaseException | None) -> bool:
    """Whether a signal handler of the user's raised this while our code happened to run: a timeout, say."""
    traceback = error.__traceback__ if error is not None else None
    handlers = {
        getattr(getattr(handler, "__func__", handler), "__code__", None)
        for handler in map(signal.getsignal, signal.valid_signals())
        if callable(handler)
    }
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False
