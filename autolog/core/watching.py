"""What a user holds of a loop of their own that is watched, whichever framework it trains with."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from autolog.core.current import enter
from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.process.guard import measured, shield

__all__ = ["WatchHandle", "check_numbers", "error_of_the_program"]


class WatchHandle(ABC):
    """Logs at the loop's steps. Leaving its ``with`` block ends the loop.

    Attributes:
        run: the run that it writes to; the current one inside the ``with`` block.
        steps: how many steps were made.
    """

    _leave: Callable[[], None] = staticmethod(lambda: None)

    @property
    @abstractmethod
    def recording(self) -> Recording:
        """The run, as we write it."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many steps were made."""

    @abstractmethod
    def unwatch(self, error: BaseException | None = None) -> None:
        """Stop watching. The run ends if ``watch`` opened it: failed or killed, if an error is given."""

    @property
    def run(self) -> Run:
        """The run that it writes to."""
        return self.recording.face

    @measured
    def log(self, metrics: Mapping[str, Any], *, strict: bool = False) -> None:
        """Record values of your own at the step that was made last, see :meth:`autolog.Run.log`.

        Raises:
            TypeError: no mapping; with ``strict`` a value that Trackio does not take.
            RunError: the run is finished.
        """
        self.run.log(metrics, step=self.steps, strict=strict)

    def __enter__(self) -> Self:
        self._leave = enter(self.recording)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        with shield("the end of a loop"):
            self.unwatch(error)


def error_of_the_program() -> BaseException | None:
    """What has ended the program has ended its loop. (In a notebook it is the error of any cell before.)"""
    return None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)


def check_numbers(every: Any, step: Any) -> None:
    """Of :func:`watch`'s arguments.

    Raises:
        TypeError: no whole number.
        ValueError: a negative one.
    """
    for name, value in (("every", every), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise TypeError(f"watch: {name}={value!r}; expected a whole number.")
        if value is not None and value < 0:
            raise ValueError(f"watch: {name}={value}; expected a number that is not negative.")
