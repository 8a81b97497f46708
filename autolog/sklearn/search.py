"""What a search has tried: every candidate in a table, the best on top, and how the best has scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autolog.capture.params import sanitize
from autolog.core.opening import open_run
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.training import Training, conclude

__all__ = ["is_searched", "record_search"]


def is_searched(estimator: Any) -> bool:
    """Whether it is a search that has tried candidates."""
    results = getattr(estimator, "cv_results_", None)
    return isinstance(results, Mapping) and "params" in results


def record_search(run: Recording, search: Any) -> None:
    """``cv_results_`` whole, what was best, and the k best as runs below it (``Settings.search_runs``)."""
    if not is_searched(search):
        return
    tried = _Candidates(search)
    order = tried.best_first()
    rows = [tried.row(n) for n in order]
    record_long_table(run, "search/cv_results", rows)
    # A halving search tries its better candidates again with more data: each of them is one all the same.
    halving = getattr(search, "n_candidates_", None)
    candidates = halving[0] if isinstance(halving, list) and halving else len(rows)
    run.describe({"search/candidates": candidates})
    if candidates != len(rows):
        run.describe({"search/rungs": len(rows)})
    if isinstance(iterations := getattr(search, "n_iterations_", None), int):
        run.describe({"search/iterations": iterations})
    if tried.why_none_is_best:
        run.note("best", tried.why_none_is_best)
    elif hasattr(search, "best_params_"):
        run.describe({"best/params": search.best_params_})
        run.describe({f"best/{key}": sanitize(value) for key, value in search.best_params_.items()})
    if scores := tried.scores():
        found = {f"cv/{key}": value for key, value in scores.items()}
        run.log({key: value for key, value in found.items() if not key.endswith("_std")}, step=run.last_step)
        run.log_once({key: value for key, value in found.items() if key.endswith("_std")}, step=run.last_step)
    if hasattr(search, "refit_time_"):
        run.log_once({"vitals/refit_seconds": search.refit_time_}, step=run.last_step)
    once = {id(tried.params[n]): place for place, n in reversed([*enumerate(order)]) if tried.has_score(n)}
    for number, place in enumerate(sorted(once.values())[: int(run.settings.search_runs)]):
        _open_child(run, number, tried.params[order[place]], rows[place])


class _Candidates:
    """What ``cv_results_`` holds, by candidate.

    Attributes:
        params: of each candidate, as they were given: the columns of ``cv_results_`` make floats of integers.
        best: the one that the search chose, if it did.
        why_none_is_best: in words, else empty.
    """

    def __init__(self, search: Any):
        self.params: list[Mapping[str, Any]] = list(search.cv_results_["params"])
        self.best: int | None = getattr(search, "best_index_", None)
        self.why_none_is_best = ""
        self._search = search
        self._results: Mapping[str, Any] = search.cv_results_
        self._names = sorted((name for name in self._results if name != "params"), key=_column_order)
        self._scorers = [name.removeprefix("mean_test_") for name in self._results if _is_mean(name)]
        refit = getattr(search, "refit", None)
        self._decides = refit if refit in self._scorers else next(iter(self._scorers), None)
        if self.best is None and not hasattr(search, "best_params_"):
            self.why_none_is_best = f"none: the search was not to choose one. In order by {self._decides}"
        elif self.best is not None and not callable(refit) and not self.has_score(self.best):
            why = "none: no candidate has a score. What was fitted in the end is candidate"
            self.why_none_is_best = f"{why} {self.best}"
            self.best = None

    def row(self, n: int) -> dict[str, Any]:
        """A candidate's line of the table. What it does not have is None."""
        row: dict[str, Any] = {"candidate": n}
        for name in self._names:
            value = self._results[name][n]  # masked where this candidate has no such parameter
            row[name] = self.params[n].get(name.removeprefix("param_"), value)
        return row

    def best_first(self) -> list[int]:
        """The candidates by the score that the search decides by, the one that it chose on top.

        That one may rank lower: ``refit`` can be a function. A halving search compares within a rung alone,
        and who came further is better. Who has no score is last.
        """
        rank = self._results.get(f"rank_test_{self._decides}")

        def place(n: int) -> tuple[Any, ...]:
            return n != self.best, -self._rung(n), not self.has_score(n), n if rank is None else rank[n]

        return sorted(range(len(self.params)), key=place)

    def has_score(self, n: int) -> bool:
        """Whether a candidate can be compared with others: its fits, or their scoring, may have failed."""
        return self._decides is None or not math.isnan(self._results[f"mean_test_{self._decides}"][n])

    def scores(self) -> dict[str, float]:
        """Mean and spread over the folds: of the candidate that was chosen, else each scorer's best mean."""
        if self.best is None:
            return self._own_score() or self._best_of_each()
        found: dict[str, float] = self._own_score()
        for scorer in self._scorers:
            name = scorer if len(self._scorers) > 1 else "best_score"
            found.setdefault(name, self._results[f"mean_test_{scorer}"][self.best])
            if f"std_test_{scorer}" in self._results:
                found[f"{name}_std"] = self._results[f"std_test_{scorer}"][self.best]
        return found

    def _own_score(self) -> dict[str, float]:
        """What the search itself calls the best score; it has none if ``refit`` is a function."""
        has_own = hasattr(self._search, "best_score_") and not self.why_none_is_best
        return {"best_score": self._search.best_score_} if has_own else {}

    def _best_of_each(self) -> dict[str, float]:
        """Of the last rung alone: each has more data than the one before."""
        last = max(map(self._rung, range(len(self.params))))
        compared = [n for n in range(len(self.params)) if self._rung(n) == last]
        found = {}
        for scorer in self._scorers:
            means = np.asarray(self._results[f"mean_test_{scorer}"])[compared]
            if not np.isnan(means).all():
                found[f"{scorer}_best"] = float(np.nanmax(means))
        return found

    def _rung(self, n: int) -> int:
        return int(self._results["iter"][n]) if "iter" in self._results else 0


def _is_mean(name: str) -> bool:
    return name.startswith("mean_test_")


def _column_order(name: str) -> int:
    """What a person looks for first: the rank, the parameters, the scores; times and splits after them."""
    beginnings = ("rank_", "param_", "mean_test_", "std_test_", "mean_train_")
    return next((n for n, start in enumerate(beginnings) if name.startswith(start)), len(beginnings))


def _open_child(run: Recording, place: int, params: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """One candidate as a run below the search."""
    child = open_run(f"rank {place + 1} {run.name}", parent=run, by_user=False, framework="sklearn")
    child.params(params)
    child.describe({f"params/{key}": sanitize(value) for key, value in params.items()})
    scores = {key: value for key, value in row.items() if key.startswith(("mean_", "std_", "rank_"))}
    child.log({f"cv/{key}": value for key, value in scores.items()}, step=0)
    conclude(Training(child, owns=True))
