"""Functions that the user sends to threads and processes take their run along, and join it there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from autolog.core import current, opening, outlet
from autolog.core.writer import Ticket
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
        self._context = our_context() if context is None else context
        self._ticket: Ticket | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leave: list[Callable[[], Any]] = []
        with shield("joining the run in a worker"):
            for variable, value in self._context:
                leave.append(functools.partial(variable.reset, variable.set(value)))
            if self._ticket is not None:
                leave.append(_join(self._ticket))
        try:
            return self.function(*args, **kwargs)
        finally:
            with shield("leaving the run in a worker"):
                for undo in reversed(leave):
                    undo()

    def __getstate__(self) -> dict[str, Any]:
        ticket = self._ticket
        if self._context:
            with shield("taking the run to a worker process"):
                run = current.innermost_of(self._context)
                ticket = run.ticket() if run is not None and run.records else None
        return {"function": self.function, "_ticket": ticket, "_context": []}


def _join(ticket: Ticket) -> Callable[[], None]:
    """In a worker process: enter the parent's run; returns how to leave."""
    outlet.write_through()
    leave_run = current.enter(opening.rejoin(ticket))

    def leave() -> None:
        leave_run()
        outlet.leave_to_parent()  # unlocked, so that the parent delivers what this worker wrote

    return leave
