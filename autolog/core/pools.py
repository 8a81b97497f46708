"""What is sent to a pool of workers belongs to the run of who sends it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from autolog.core import arriving
from autolog.core.current import innermost
from autolog.core.workers import carried
from autolog.process.context import our_context, watched
from autolog.process.hooks import Call, Outcome

# Backends whose workers have this very environment. Dask, Ray and Spark send tasks to machines that may
# not have autolog: a task of theirs stays as it is.
_OURS = {"ThreadingBackend", "LokyBackend", "MultiprocessingBackend"}
_SHARED = "LokyBackend"  # its workers go on from one call to the next, and record what a task tells them of

Task = tuple[Any, tuple[Any, ...], dict[str, Any]]


def observe_parallel(call: Call) -> Generator[None, Outcome, None]:
    """Let the tasks of a ``Parallel`` know their run, in a thread or in another process.

    The context is taken here: joblib makes its later tasks in threads of its own, where it is unset.
    """
    backend = type(getattr(call.subject, "_backend", None)).__name__
    if backend == _SHARED or (backend in _OURS and (watched.get() or innermost() is not None)):
        known = _knowing(call.get("iterable"))
        # What goes into the user's call in place of their own is looked at twice.
        if isinstance(known, Iterable):
            call.replace("iterable", known)
    yield


def _knowing(tasks: Iterable[Task]) -> Iterable[Task]:
    """The same tasks, as lazily as they come; an exception in the user's generator stays theirs."""
    here, words = our_context(), list[bytes | None]()
    known = ((carried(function, here, words), args, kwargs) for function, args, kwargs in tasks)
    return list(known) if isinstance(tasks, list) else known  # joblib counts the tasks of a list


def observe_batch(call: Call) -> Generator[None, Outcome, None]:
    """Tasks of a ``Parallel`` are worked on here: one that tells of nothing comes from where all is off."""
    if not arriving.is_shared():
        yield
        return
    token = watched.set(arriving.everything())
    try:
        yield
    finally:
        watched.reset(token)
