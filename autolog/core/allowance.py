"""A time limit for what is recorded optionally while a training goes on."""

from __future__ import annotations

import time

from autolog.core.recording import Recording

__all__ = ["LEAST_SECONDS", "UNASKED", "Allowance"]

LEAST_SECONDS = 0.050
UNASKED = 0.1  # of the budget, for what is recorded at every row without anybody having asked for it


class Allowance:
    """The time that one capture may take: a share of the training's own, as far as it has come.

    What would come once it is used up is left out, and comes again when enough time has gone by: so a capture
    at every step becomes one at every few steps. Enter it to take the time of a capture.

    Args:
        run: whose ``Settings.budget`` it is a part of.
        part: of the budget; the time that is there at once is the same part of 50 ms.
    """

    def __init__(self, run: Recording, part: float = 1.0):
        self.left_out = 0
        self.spent = 0.0
        self._run = run
        self._share = part * run.settings.budget
        self._at_once = part * LEAST_SECONDS
        self._began = time.perf_counter()
        self._entered = 0.0

    def is_used_up(self) -> bool:
        """Whether there is no time for one more; then one more counts as left out."""
        gone_by = time.perf_counter() - self._began
        if self.spent <= max(self._at_once, self._share * gone_by):
            return False
        self.left_out += 1
        return True

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self.spent += time.perf_counter() - self._entered

    def note(self, what: str) -> None:
        """Say in the run how often it was left out, if it was."""
        if self.left_out:
            self._run.note(what, f"left out at {self.left_out} steps: they would pass the budget")
