"""What a run is about, in two or three numbers, and in which order a person reads its config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["in_reading_order", "result_of"]

MOST_NUMBERS = 3
_SETS = ("test", "val", "eval", "cv", "oof", "objective", "train")
# Of each kind of task what people compare by, before what they train by.
_METRICS = (
    "best_score",
    "accuracy",
    "acc",
    "balanced_accuracy",
    "f1",
    "f1_macro",
    "roc_auc",
    "r2",
    "rmse",
    "mae",
    "perplexity",
    "silhouette",
    "loss",
    "log_loss",
)
# Numbers about the training itself, of which none is its result.
_MEANS = (
    "perf/",
    "lr",
    "grad",
    "param_norm",
    "epoch",
    "cpu/",
    "gpu/",
    "system/",
    "model/",
    "fit/",
    "seconds",
    "trials/",
)


def result_of(latest: Mapping[str, Any], main: str | None = None) -> dict[str, float]:
    """The two or three numbers that a run is about, with the set that they are of.

    Args:
        latest: the last value of each metric, by its key.
        main: the set that a person looks at first. None: what a study has found best, else ``test``, ``val``
            and so on; what the model has learned from comes last.

    Returns:
        At most three, rounded to six digits; empty if there is no number but of the training itself.
    """
    numbers = {
        key: value
        for key, value in latest.items()
        if isinstance(value, (int, float)) and not key.startswith(_MEANS)
    }
    # A fold's own number is none of the run's, whose mean stands beside it.
    numbers = {k: v for k, v in numbers.items() if f"{k}_mean" not in numbers}
    best = {k: v for k, v in numbers.items() if k.startswith("objective/") and k.endswith("/best")}
    if best and not main:  # of a study: what it says beside that is of one trial
        return _first(best)
    for of_set in (main, *_SETS) if main else _SETS:
        found = {key: numbers[key] for name in _METRICS if (key := f"{of_set}/{name}") in numbers}
        found = found or {
            k: v for k, v in numbers.items() if k.startswith(f"{of_set}/") and k.count("/") == 1
        }
        found = {k: v for k, v in found.items() if not k.startswith("cv/train_")} or found
        if found:
            return _first(found)
    return _first({key: value for key, value in numbers.items() if "/" not in key} or numbers)


def _first(found: Mapping[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.6g}") for key, value in list(found.items())[:MOST_NUMBERS]}


# What is first, what is last; between them scalars, by which one groups, before what is nested.
_FIRST = ("result", "status", "error", "best/", "params/", "framework", "model")
_LAST = (
    "params",
    "data/",
    "run/",
    "python",
    "platform",
    "host",
    "cpu_count",
    "memory_gb",
    "environment",
    "git/",
    "hydra/",
    "slurm/",
    "kubernetes/",
    "autolog/notes",
    "autolog/",
)


def in_reading_order(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what a person reads first at its top: result, status, what was set; last the origin.

    Trackio shows a config in its own order, and all scalars to group by.
    """
    return dict(sorted(config.items(), key=lambda item: _place(*item)))


def _place(key: str, value: Any) -> int:
    if key.startswith("_"):  # Trackio's own
        return -1
    for place, name in enumerate(_FIRST):
        if key == name or (name.endswith("/") and key.startswith(name)):
            return place
    for place, name in enumerate(_LAST):
        if key == name or (name.endswith("/") and key.startswith(name)):
            return len(_FIRST) + 2 + place
    return len(_FIRST) + isinstance(value, (dict, list))
