"""Functions that the user sends to threads and processes take their run along, and join it there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from autolog.core import arriving, catalogue
from autolog.core.word import word
from autolog.process.context import Context, our_context
from autolog.process.guard import shield

__all__ = ["carried"]


class carried:  # noqa: N801 - reads as an adjective of the function
    """A function that knows in any thread or process which run it belongs to.

    In a thread of this process our context variables are there as they were where it was made; pickled
    to another process it joins the run there, under the run's own id. A run that cannot be joined
    does not stop the function.

    Args:
        context: of ours; None: as it is here.
        words: shared by functions that are sent in the same context, so that its word is made once for all.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        context: Context | None = None,
        words: list[bytes | None] | None = None,
    ):
        self.function = function
        self._context = our_context() if context is None else context
        self._words = [] if words is None else words
        self._word: bytes | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leave: list[Callable[[], Any]] = []
        with shield("joining the run in a worker"):
            for variable, value in self._context:
                leave.append(functools.partial(variable.reset, variable.set(value)))
            if self._word is not None:
                leave.append(arriving.visit(self._word))
        try:
            return self.function(*args, **kwargs)
        finally:
            with shield("leaving the run in a worker"):
                for undo in reversed(leave):
                    undo()

    def __getstate__(self) -> dict[str, Any]:
        known = self._word
        if self._context:
            with shield("taking the run to a worker process"):
                if not self._words:
                    self._words.append(word(catalogue.turned_on(), self._context))
                known = self._words[0]
        return {"function": self.function, "_word": known, "_words": [], "_context": []}
