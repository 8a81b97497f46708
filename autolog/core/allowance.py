"""What may be recorded optionally at the steps of a training: which steps, by the settings alone."""

from __future__ import annotations

import math
import time

from autolog.core.recording import Recording

__all__ = ["UNASKED", "Allowance", "rounded_up"]

UNASKED = 0.1  # of the budget, for what is recorded at every row without anybody having asked for it
OF_A_STEP = (
    0.05  # that one capture costs: measured of gradient norms, beside steps of a millisecond and a half
)
ABORT_SECONDS = 1.0


def rounded_up(budget: float) -> float:
    """To two digits: what a note says is enough."""
    scale = 10.0 ** (1 - math.floor(math.log10(budget)))
    return math.ceil(budget * scale) / scale


class Allowance:
    """The steps at which one capture is taken: so many that it costs its part of the budget.

    Which steps they are follows from the settings, not from the clock, so that it is the same every time: the
    first one that is asked for, and then each that is so many steps later. The clock only ends a capture that
    has taken far more, and that is said. Enter it to take the time of a capture.

    Args:
        run: whose ``Settings.budget`` it is a part of.
        part: of the budget.

    Attributes:
        left_out: how many steps were left out so far.
        spent: seconds that captures have taken.
    """

    def __init__(self, run: Recording, part: float = 1.0):
        self.left_out = 0
        self.spent = 0.0
        self._run = run
        self._share = part * run.settings.budget
        self._stride = OF_A_STEP / self._share if self._share else math.inf
        self._part = part
        self._taken = self._last = -1
        self._began = time.perf_counter()
        self._entered = 0.0
        self._aborted: int | None = None

    def is_used_up(self, step: int) -> bool:
        """Whether this step is left out. What is asked for several times at one step has one answer."""
        if step == self._taken:
            return False
        is_too_soon = self._taken >= 0 and self._taken < step < self._taken + self._stride
        if not is_too_soon and self._aborted is None and self.spent > ABORT_SECONDS:
            gone_by = time.perf_counter() - self._began
            self._aborted = step if self.spent > self._share * gone_by else None
        if is_too_soon or self._aborted is not None:
            self.left_out += step != self._last
            self._last = step
            return True
        self._taken = step
        return False

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self.spent += time.perf_counter() - self._entered

    def note(self, what: str) -> None:
        """Say in the run how often it was left out, if it was, and what brings it back."""
        if self._aborted is not None:
            self._run.note(
                what,
                f"aborted at step {self._aborted}: it had taken {self.spent:.1f} s. A larger Settings.budget "
                "gives it more time",
            )
        elif self.left_out:
            enough = OF_A_STEP / self._part
            steps, them = (
                ("1 step", "it") if self.left_out == 1 else (f"{self.left_out:,} steps", "all of them")
            )
            self._run.note(what, f"left out at {steps}; Settings.budget={enough:g} records {them}")
