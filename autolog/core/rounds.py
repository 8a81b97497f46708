"""A training by rounds (boosting): its metrics on each set as they come, and how it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autolog.core.recording import Recording
from autolog.core.results import record_finals, record_long_table
from autolog.process.guard import charge, shield

__all__ = ["EarlyStopping", "Folds", "Rounds", "looked_at"]

CURVE_POINTS = 10_000


@dataclass(frozen=True)
class EarlyStopping:
    """What was to end a training before its last round.

    Attributes:
        monitor: the metric that it looks at, by its key: ``val/rmse``. None: that is not known.
        patience: rounds without a better one.
    """

    monitor: str | None = None
    patience: int | None = None


class Rounds:
    """What a library reports after each round.

    The rounds stand apart (``rounds/val/rmse``): ``val/rmse`` is the number of the model that is kept, which
    after early stopping may be none of the last round's.

    Attributes:
        planned: rounds that were asked for.
        earlier: rounds of the model that this training goes on with: steps go on from there.
        done: rounds of this training so far.
    """

    def __init__(self, run: Recording, planned: int, earlier: int = 0):
        self.planned = planned
        self.earlier = earlier
        self.done = 0
        self._run = run
        self._every = max(1, -(-planned // CURVE_POINTS))
        self._values: dict[str, dict[int, float]] = {}
        self._rows: set[int] = set()

    @property
    def keys(self) -> list[str]:
        """Of the metrics that were told, without ``rounds/``."""
        return list(self._values)

    def told(self, values: Callable[[], Mapping[str, float]]) -> None:
        """One more round has ended.

        Args:
            values: gives its metrics by key; called in a shield.
        """
        self.done += 1
        with shield("a round", self._run):
            for key, value in values().items():
                self._values.setdefault(key, {})[self.done] = float(value)
            if (self.done - 1) % self._every == 0:
                self._row(self.done)

    def value(self, key: str, step: int) -> float | None:
        """A metric at a step: rounds count from 1, with those of earlier trainings."""
        return self._values.get(key, {}).get(step - self.earlier)

    def history(self, key: str) -> dict[int, float]:
        """All values of a metric, by their steps."""
        return {self.earlier + number: value for number, value in self._values.get(key, {}).items()}

    def record_last(self) -> None:
        """The last row, be it one that is left out of many."""
        self._row(self.done)

    def record_end(
        self,
        *,
        kept: int | None,
        best: int | None,
        score: Any = None,
        early: EarlyStopping | None = None,
        why: str | None = None,
    ) -> None:
        """The training is over: what it ended with, and why.

        Args:
            kept: the step up to which the model predicts; None: all of them.
            best: the step that early stopping has found best; None: nothing looked for it.
            score: of the best step.
            early: what was to end it before; None: nothing.
            why: it has ended, if the library knows more of it.
        """
        run, last = self._run, self.earlier + self.done
        charge(run)
        for step in filter(None, (best, kept)):
            self._row(step - self.earlier)
        self.record_last()
        if self._every > 1:
            run.note("curves", f"every {self._every}th of {self.done} iterations")
        ends: dict[str, Any] = {"model/iterations": last, "model/stopped_by": "all rounds were made"}
        if self.done < self.planned:
            ends["model/stopped_by"] = "early stopping" if best is not None else "a callback"
        if why is not None:
            ends["model/stopped_by"] = why
        if early is not None:
            ends |= {"early_stopping/monitor": early.monitor, "early_stopping/patience": early.patience}
        if best is not None:
            ends |= {"early_stopping/best_iteration": best, "early_stopping/best_score": score}
        run.describe({key: value for key, value in ends.items() if value is not None})
        run.kept_step = kept
        at = last if kept is None else kept
        found = {key: value for key in self.keys if (value := self.value(key, at)) is not None}
        # Of a cross-validation a person compares the means over the folds' test sets.
        beside = {key for key in found if key.startswith("cv/") and not _is_a_mean_of_tests(key)}
        record_finals(run, {key: value for key, value in found.items() if key not in beside}, step=at)
        run.log_once({key: found[key] for key in beside}, step=at)

    def _row(self, number: int) -> None:
        values = {f"rounds/{key}": of[number] for key, of in self._values.items() if number in of}
        if values and number not in self._rows:
            self._rows.add(number)
            self._run.log(values, step=self.earlier + number)


def _is_a_mean_of_tests(key: str) -> bool:
    return key.startswith("cv/test_") and key.endswith("_mean")


class Folds:
    """A library's own cross-validation: the numbers of each fold beside the means over them.

    The means are told as rounds, as ``cv/test_<metric>_mean``, ``cv/test_<metric>_std`` and so on.
    """

    def __init__(self, rounds: Rounds):
        self._rounds = rounds
        self._folds: list[dict[str, dict[int, float]]] = []
        self._last: Sequence[Mapping[str, float]] = ()

    def told(self, folds: Sequence[Mapping[str, float]]) -> None:
        """What each fold has reported last, by ``test_<metric>``.

        It is of the round that is told next, or of a cross-validation inside of this one: in a callback or a
        metric of the user's.
        """
        self._last = folds

    def round_ended(self) -> None:
        """A round is being told, right after its folds."""
        while len(self._folds) < len(self._last):
            self._folds.append({})
        for known, fold in zip(self._folds, self._last, strict=True):
            for name, value in fold.items():
                known.setdefault(name, {})[self._rounds.done] = float(value)

    def record_end(self, run: Recording, returned: int, early: EarlyStopping | None) -> None:
        """The cross-validation is over.

        Args:
            returned: rounds that the library has returned: up to the best one, if it has stopped early.
            early: what was to end it before the last round; None: nothing.
        """
        rounds = self._rounds
        best = returned if early is not None and 0 < returned < rounds.done else None
        keys = [key for key in rounds.keys if _is_a_mean_of_tests(key)]
        score = rounds.value(keys[-1], best) if best is not None and keys else None
        why = "early stopping" if early is not None and rounds.done < rounds.planned else None
        rounds.record_end(kept=best, best=best, score=score, early=looked_at(early, keys), why=why)
        at = best or rounds.done
        if self._folds:
            rows = [
                {"fold": number, **{name: of[at] for name, of in fold.items() if at in of}}
                for number, fold in enumerate(self._folds)
            ]
            record_long_table(run, "cv/folds", rows, step=at)


def looked_at(early: EarlyStopping | None, keys: Sequence[str]) -> EarlyStopping | None:
    """With the metric that it looked at: the last one that was told, if nobody has said which."""
    if early is None or early.monitor is not None or not keys:
        return early
    return replace(early, monitor=keys[-1])
