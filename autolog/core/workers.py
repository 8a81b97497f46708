"""The user's workers, in threads and in processes of their own: which run they go on with there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from autolog.process.context import Context, our_context
from autolog.process.guard import shield

__all__ = ["carried"]


class carried:  # noqa: N801 - reads as an adjective of the function
    """A function that knows in any thread or process which run it belongs to.

    In a thread of this process our context variables are there as they were where it was made; pickled
    to another process it joins the run there, under the run's own id. A run that cannot be joined
    does not stop the function.
    """

    def __init__(self, function: Callable[..., Any], context: Context | None = None):
        self.function = function
        self._values = our_context() if context is None else context
        self._ticket: dict[str, Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leave: list[Callable[[], Any]] = []
        with shield("joining the run in a worker"):
            for variable, value in self._values:
                leave.append(functools.partial(variable.reset, variable.set(value)))
            if self._ticket is not None:
                from autolog.core.ownership import join_run

                leave.append(join_run(self._ticket))
        try:
            return self.function(*args, **kwargs)
        finally:
            with shield("leaving the run in a worker"):
                for undo in reversed(leave):
                    undo()

    def __getstate__(self) -> dict[str, Any]:
        ticket = self._ticket
        if self._values:
            with shield("taking the run to a worker process"):
                from autolog.core.ownership import ticket_of

                ticket = ticket_of(dict(self._values))
        return {"function": self.function, "_ticket": ticket, "_values": []}
