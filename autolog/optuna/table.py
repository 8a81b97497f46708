"""Trials as numbers and as rows of a table: read from what Optuna keeps of them, nothing is changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import TrialState

from autolog.capture.params import REDACTED, is_secret

__all__ = [
    "BestSoFar",
    "Remark",
    "best_first",
    "constraints_of",
    "is_feasible",
    "losses_of",
    "pareto_front",
    "rows_of",
    "values_of",
]

Told = tuple[int, list[float | None], dict[str, int]]
"""A trial's number, the best value of each objective up to it, and how many trials ended in which state."""

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass
class Remark:
    """What Optuna does not keep of a trial.

    Attributes:
        why: it failed, or was pruned.
        pruned_at: the step at which the pruner said so.
        run: the name of its own run.
    """

    why: str | None = None
    pruned_at: int | None = None
    run: str | None = None


def constraints_of(trial: Any) -> dict[str, float]:
    """A trial's constraints; above zero is violated. (Optuna 5 names them, older ones number them.)"""
    kept = getattr(trial, "constraints", None)
    if kept is None:
        kept = dict(enumerate(trial.system_attrs.get("constraints") or ()))
    return {str(name): value for name, value in kept.items()}


def is_feasible(trial: Any) -> bool:
    """Whether it violates none of its constraints."""
    return all(value <= 0 for value in constraints_of(trial).values())


def values_of(trial: Any) -> tuple[float, ...] | None:
    """The objectives of a trial that is complete and feasible: one that can be the best."""
    if trial.state != TrialState.COMPLETE or not is_feasible(trial):
        return None
    values = tuple(trial.values)
    return None if any(map(math.isnan, values)) else values


def losses_of(values: Iterable[float], directions: list[str]) -> tuple[float, ...]:
    """The same with less being better, in every objective."""
    return tuple(-v if d == "maximize" else v for v, d in zip(values, directions, strict=True))


# The best so far ------------------------------------------------------------------------------------


class BestSoFar:
    """The best value of each objective and the numbers of states over the trials 0 to n, for each n.

    It is told in the order of the trials' numbers, whoever ends first: with ``n_jobs=2`` trial 8 may end
    before trial 7, which would change what was the best at 7. A trial that is awaited no longer and ends all
    the same counts from then on.

    Attributes:
        missed: the numbers of those that are awaited no longer, and have not ended.
    """

    def __init__(self, directions: list[str]):
        self._better = [max if direction == "maximize" else min for direction in directions]
        self._best: list[float | None] = [None] * len(directions)
        self._states = dict.fromkeys(STATES.values(), 0)
        self._next = 0
        self.missed: set[int] = set()
        self._ended: dict[int, tuple[tuple[float, ...] | None, str | None, bool]] = {}

    def knows(self, number: int) -> bool:
        """Whether this trial has ended."""
        return number not in self.missed and (number < self._next or number in self._ended)

    @property
    def awaited(self) -> int:
        """The first number that is awaited."""
        return self._next

    def add(
        self, number: int, values: tuple[float, ...] | None, state: str | None, *, is_told: bool = True
    ) -> list[Told]:
        """A trial has ended (state None: it is awaited no longer). Returns what can be told now.

        Args:
            is_told: whether anybody wants to know what was the best at this one.
        """
        if state is None:
            self.missed.add(number)
        else:
            self.missed.discard(number)
        if number < self._next:
            self._count(values, state)
            return [self.now()] if is_told else []
        self._ended[number] = values, state, is_told
        told: list[Told] = []
        while self._next in self._ended:
            told += self._tell(self._next)
        return told

    def now(self) -> Told:
        """The best of all that have ended, at the last trial that is known."""
        return self._next - 1, list(self._best), dict(self._states)

    def rest(self) -> list[Told]:
        """Those that wait for others: nobody is awaited any longer."""
        waiting = sorted(self._ended)
        if waiting:
            self.missed |= set(range(self._next, waiting[-1])) - set(waiting)
        return [told for number in waiting for told in self._tell(number)]

    def _tell(self, number: int) -> list[Told]:
        values, state, is_told = self._ended.pop(number)
        self._count(values, state)
        self._next = number + 1
        return [self.now()] if is_told else []

    def _count(self, values: tuple[float, ...] | None, state: str | None) -> None:
        if state is not None:
            self._states[state] += 1
        for place, value in enumerate(values or ()):
            best = self._best[place]
            self._best[place] = value if best is None else self._better[place](best, value)


# The table ------------------------------------------------------------------------------------------


def best_first(trials: Iterable[Any], directions: list[str]) -> list[Any]:
    """The trials with the best first: feasible, complete, by value (several objectives: the front first)."""
    trials = list(trials)
    front = set(pareto_front(trials, directions)) if len(directions) > 1 else set()

    def place(trial: Any) -> tuple[Any, ...]:
        values = values_of(trial)
        losses = losses_of(values, directions) if values else ()
        is_complete = trial.state == TrialState.COMPLETE
        return values is None, not is_complete, trial.number not in front, losses, trial.number

    return sorted(trials, key=place)


def pareto_front(trials: Iterable[Any], directions: list[str]) -> list[int]:
    """The numbers of the trials that no other one is better than in every objective."""
    import numpy as np

    points = [
        (losses_of(values, directions), trial.number)
        for trial in trials
        if (values := values_of(trial)) is not None
    ]
    front: list[int] = []
    kept = np.empty((0, len(directions)))
    for losses, number in sorted(points):  # whoever is better in all comes before
        point = np.asarray(losses)
        beaten = (kept <= point).all(axis=1) & (kept < point).any(axis=1)
        if not beaten.any():
            front.append(number)
            kept = np.vstack([kept, point])
    return sorted(front)


def rows_of(
    trials: Iterable[Any], names: list[str], remarks: Mapping[int, Remark]
) -> Iterator[dict[str, Any]]:
    """A row for each trial, in their order."""
    for trial in trials:
        remark = remarks.get(trial.number, Remark())
        began, ended = trial.datetime_start, trial.datetime_complete
        row: dict[str, Any] = {
            "trial": trial.number,
            "state": STATES.get(trial.state, trial.state.name.lower()),
        }
        # Of a pruned trial Optuna takes the last intermediate value for its value: it is no result.
        values = trial.values if trial.state == TrialState.COMPLETE else None
        row |= dict(zip(names, values or [None] * len(names), strict=False))
        row |= {f"params/{name}": value for name, value in trial.params.items()}
        row["seconds"] = (ended - began).total_seconds() if began and ended else None
        steps = sorted(trial.intermediate_values.items())
        if steps:
            row["last_intermediate"] = steps[-1][1]
        if remark.pruned_at is not None:
            row["pruned_at"] = remark.pruned_at
        if remark.why:
            row["why"] = remark.why
        if remark.run:
            row["run"] = remark.run
        if constraints := constraints_of(trial):
            row["feasible"] = is_feasible(trial)
            row |= {f"constraints/{name}": value for name, value in constraints.items()}
        row |= {f"user/{name}": value for name, value in trial.user_attrs.items()}
        row["start"] = began.isoformat(sep=" ", timespec="milliseconds") if began else None
        if steps:
            row["intermediate"] = ", ".join(f"{step}: {value:.6g}" for step, value in steps)
        row["distributions"] = "; ".join(
            f"{n}: {REDACTED if is_secret(n) else _brief(d)}" for n, d in trial.distributions.items()
        )
        yield row


def _brief(distribution: Any) -> str:
    """``0.001 to 1, log``"""
    kept = distribution._asdict()
    if "choices" in kept:
        return json.dumps(kept["choices"], default=str)
    words = [f"{kept['low']} to {kept['high']}"]
    if kept.get("log"):
        words.append("log")
    if kept.get("step") not in (None, 1):
        words.append(f"step {kept['step']}")
    return ", ".join(words)


def seconds_of(trial: Any) -> float:
    """How long it took; NaN if that is not known."""
    if trial.datetime_start is None or trial.datetime_complete is None:
        return math.nan
    return float((trial.datetime_complete - trial.datetime_start).total_seconds())
