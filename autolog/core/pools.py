"""joblib's workers: what they do belongs to the run that sent them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from autolog.core.current import innermost
from autolog.core.workers import carried
from autolog.process.context import our_context, watching
from autolog.process.hooks import Call, Outcome

# Backends whose workers have this very environment. Dask, Ray and Spark send tasks to machines that may
# not have autolog: a task of theirs stays as it is.
_OURS = {"ThreadingBackend", "LokyBackend", "MultiprocessingBackend"}

Task = tuple[Any, tuple[Any, ...], dict[str, Any]]


def observe_parallel(call: Call) -> Generator[None, Outcome, None]:
    """Let the tasks of a ``Parallel`` know their run, in a thread or in another process.

    The context is taken here: joblib makes its later tasks in threads of its own, where it is unset.
    """
    backend = type(getattr(call.subject, "_backend", None)).__name__
    if backend in _OURS and (innermost() is not None or watching.active("sklearn")):
        known = _knowing(call.get("iterable"))
        # What goes into the user's call in place of their own is looked at twice.
        if isinstance(known, Iterable):
            call.replace("iterable", known)
    yield


def _knowing(tasks: Iterable[Task]) -> Iterable[Task]:
    """The same tasks, as lazily as they come; an exception in the user's generator stays theirs."""
    here = our_context()
    known = ((carried(function, here), args, kwargs) for function, args, kwargs in tasks)
    return list(known) if isinstance(tasks, list) else known  # joblib counts the tasks of a list
