"""Gradients and losses that a person should know of: one alert of each kind per run."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Mapping
from typing import Any

from autolog.core.recording import Recording

__all__ = ["VITALS", "Alerts", "norms_row"]

VITALS = "vitals/"  # rates, norms, speeds. Trackio sorts groups by name: these come behind scores
USUAL_ROWS = 20  # that say what is usual
FEWEST_ROWS = 5  # before anything is
EXPLODED = 100.0  # times the usual
VANISHED = 1e-6  # of the whole
VANISHED_ROWS = 3  # in a row: at the first step a gradient may be zero by the initial weights


class Alerts:
    """Looks at every row."""

    def __init__(self, run: Recording):
        self._run = run
        self._told: set[str] = set()
        self._usual: deque[float] = deque(maxlen=USUAL_ROWS)
        self._vanished: dict[str, tuple[int, float]] = {}  # rows in turn, and the norm of the last one

    def look(self, step: int, whole: float, by_module: Mapping[str, float]) -> None:
        """The norms before an optimizer step that was made, of all gradients and per module."""
        if not math.isfinite(whole):
            wrong = [name for name, norm in by_module.items() if not math.isfinite(norm)]
            where = f"; in {_listed(wrong)}" if wrong else ""
            self._tell("not finite", step, f"grad_norm is {whole}{where}.", "error")
            return
        if len(self._usual) >= FEWEST_ROWS:
            usual = statistics.median(self._usual)
            if whole > EXPLODED * usual > 0:
                why = f"grad_norm is {whole:.3g}; the median of the rows before is {usual:.3g}."
                self._tell("exploding", step, why, "warn")
        self._usual.append(whole)
        for name, norm in by_module.items():
            if norm <= VANISHED * whole:
                rows, before = self._vanished.get(name, (0, math.inf))
                # One that grows is warmed up slowly, as LoRA is, of which one part begins at zero.
                self._vanished[name] = (rows + 1 if norm <= before else 1), norm
            elif self._vanished:
                self._vanished.pop(name, None)
        if vanished := [name for name, (rows, _) in self._vanished.items() if rows >= VANISHED_ROWS]:
            why = (
                f"Below {VANISHED:g} of grad_norm ({whole:.3g}) in {VANISHED_ROWS} rows: {_listed(vanished)}."
            )
            self._tell("vanishing", step, why, "warn")

    def look_at_loss(self, step: int, loss: Any, of: str = "") -> None:
        """The training's loss, and of which model it is where there are several."""
        try:
            value = float(loss)
        except (TypeError, ValueError):  # None, or several numbers
            return
        if not math.isfinite(value):
            why = f"At step {step}{of and f', of {of}'}."
            self._alert(f"loss {of}", f"The loss is {value}", why, step, "error")

    def _tell(self, what: str, step: int, why: str, level: str) -> None:
        self._alert(what, f"Gradients are {what}", f"At step {step}: {why}", step, level)

    def _alert(self, what: str, title: str, text: str, step: int, level: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._run.alert(title, text, level=level, step=step)


def norms_row(
    run: Recording,
    whole: float,
    by_part: Mapping[str, float],
    *,
    key: str = "vitals/grad_norm",
    parts: str = "modules",
) -> dict[str, float]:
    """Norms as metrics: of all, and of each module or layer unless they are too many to be looked at."""
    if len(by_part) > run.settings.gradient_modules:
        enough = f"Settings.gradient_modules={len(by_part)} records them"
        run.note(f"{key}/{parts}", f"left out of {len(by_part)} {parts}; {enough}")
        return {key: whole}
    return {key: whole, **{f"{key}/{name}": norm for name, norm in by_part.items()}}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
