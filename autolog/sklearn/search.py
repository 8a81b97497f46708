"""What a search has tried: every candidate in a table, the best on top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.capture.params import sanitize
from autolog.core.opening import open_run
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.training import Training, conclude

__all__ = ["record_search"]


def record_search(run: Recording, search: Any) -> None:
    """``cv_results_`` whole, what was best, and the k best as runs below it (``Settings.search_runs``)."""
    results = getattr(search, "cv_results_", None)
    if not isinstance(results, Mapping) or "params" not in results:
        return
    names = sorted((key for key in results if key != "params"), key=_column_order)
    order = _best_first(search, results, names)
    columns = {"candidate": order, **{name: [results[name][n] for n in order] for name in names}}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    record_long_table(run, "search/cv_results", rows)
    # A halving search tries its better candidates again with more data: each of them is one all the same.
    halving = getattr(search, "n_candidates_", None)
    candidates = halving[0] if isinstance(halving, list) and halving else len(rows)
    run.describe({"search/candidates": candidates})
    if candidates != len(rows):
        run.describe({"search/rungs": len(rows)})
    if isinstance(iterations := getattr(search, "n_iterations_", None), int):
        run.describe({"search/iterations": iterations})
    if hasattr(search, "best_params_"):
        run.describe({"best/params": search.best_params_})
        run.describe({f"best/{key}": sanitize(value) for key, value in search.best_params_.items()})
    if hasattr(search, "best_score_"):
        run.log({"cv/best_score": search.best_score_}, step=run.last_step)
    if hasattr(search, "refit_time_"):
        run.log({"perf/refit_seconds": search.refit_time_}, step=run.last_step)
    once = {id(results["params"][n]): place for place, n in reversed([*enumerate(order)])}
    for number, place in enumerate(sorted(once.values())[: int(run.settings.search_runs)]):
        _open_child(run, number, results["params"][order[place]], rows[place])


def _best_first(search: Any, results: Mapping[str, Any], names: list[str]) -> list[int]:
    """The candidates by the score that the search decides by, the one that it chose on top.

    That one may rank lower: ``refit`` can be a function. A halving search compares within a rung alone, and
    who came further is better.
    """
    refit = getattr(search, "refit", None)
    ranks = [name for name in names if name.startswith("rank_")]
    rank = f"rank_test_{refit}" if f"rank_test_{refit}" in ranks else next(iter(ranks), None)
    best = getattr(search, "best_index_", None)

    def place(n: int) -> tuple[Any, ...]:
        rung = results["iter"][n] if "iter" in results else 0
        return n != best, -rung, results[rank][n] if rank else n

    return sorted(range(len(results["params"])), key=place)


def _column_order(name: str) -> int:
    """What a person looks for first: the rank, the parameters, the scores; times and splits after them."""
    beginnings = ("rank_", "param_", "mean_test_", "std_test_", "mean_train_")
    return next((n for n, start in enumerate(beginnings) if name.startswith(start)), len(beginnings))


def _open_child(run: Recording, place: int, params: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """One candidate as a run below the search."""
    child = open_run(f"{run.name}-rank-{place + 1}", parent=run, by_user=False, framework="sklearn")
    child.params(params)
    child.describe({f"params/{key}": sanitize(value) for key, value in params.items()})
    scores = {key: value for key, value in row.items() if key.startswith(("mean_", "std_", "rank_"))}
    child.log({f"cv/{key}": value for key, value in scores.items()}, step=0)
    conclude(Training(child, owns=True))
