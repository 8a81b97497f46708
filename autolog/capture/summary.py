"""What a run is about, in two or three numbers, and in which order a person reads its config."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

__all__ = ["MORE", "in_reading_order", "is_better_small", "is_metric", "result_of", "worth_a_chart"]

MORE = "result/more"  # in the config: metrics that have one value, and are no chart
MOST_NUMBERS = 3
_NOT_FINITE = ("NaN", "Infinity", "-Infinity")
_SETS = ("test", "val", "eval", "cv", "oof", "objective", "train")
_ON_THE_WAY = ("early_stopping", "checkpoint", "fits", "intermediate", "rounds", "search")  # no sets
# Of each kind of task what people compare by, before what they train by.
_METRICS = (
    "best_score",
    "accuracy",
    "acc",
    "roc_auc",
    "f1",
    "f1_macro",
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
    "vitals/",
    "lr",  # and what follows: as people call them
    "learning_rate",
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


def result_of(latest: Mapping[str, Any], main: str | None = None) -> dict[str, float | str]:
    """The two or three numbers that a run is about, with the set that they are of.

    Args:
        latest: the last value of each metric, by its key.
        main: the set that a person looks at first. None: what a study has found best, else ``test``, ``val``
            and so on, then sets that they have named themselves; what the model has learned from comes last.

    Returns:
        At most three, rounded to six digits, NaN and infinities by their names as Trackio stores them: a
        training that has diverged is not as good as it was before. Empty if there is no number but of the
        training itself.
    """
    numbers = {key: value for key, value in latest.items() if is_metric(value) and not key.startswith(_MEANS)}
    # A fold's own number is none of the run's, whose mean stands beside it.
    numbers = {key: value for key, value in numbers.items() if f"{key}_mean" not in numbers}
    best = {k: v for k, v in numbers.items() if k.startswith("objective/") and k.endswith("/best")}
    if best and not main:  # of a study: what it says beside that is of one trial
        return _first(best)
    known = (*_SETS[:-1], *_own_sets(numbers), _SETS[-1])
    for of_set in (main, *known) if main else known:
        found = {key: numbers[key] for name in _METRICS if (key := f"{of_set}/{name}") in numbers}
        found = found or {
            k: v for k, v in numbers.items() if k.startswith(f"{of_set}/") and k.count("/") == 1
        }
        found = {k: v for k, v in found.items() if not k.startswith("cv/train_")} or found
        found = found or _of_parts(of_set, numbers)
        if found:
            return _first(found)
    return _first({key: value for key, value in numbers.items() if "/" not in key} or numbers)


def _own_sets(numbers: Mapping[str, Any]) -> list[str]:
    """Names that a person has given to the data: they have a metric that people compare by."""
    paths = [key.split("/") for key in numbers]
    names = dict.fromkeys(path[0] for path in paths if len(path) > 1 and path[-1] in _METRICS)
    return [name for name in names if name not in (*_SETS, *_ON_THE_WAY)]


def worth_a_chart(keys: Iterable[str], there: Collection[str] = ()) -> set[str]:
    """Of an evaluation's metrics those that a person looks at first: three of each set, of what was learned
    from one.

    Args:
        there: keys of charts that the run has already. They count among the three, and go on.
    """
    by_set: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        by_set[key.rpartition("/")[0]].append(key)
    found: set[str] = set()
    for of_set, of_it in by_set.items():
        charts = {key for key in there if key.rpartition("/")[0] == of_set}
        most = 1 if of_set.partition("/")[0] == "train" else MOST_NUMBERS
        new = sorted(set(of_it) - charts, key=_rank)
        # Others are looked at where there is nothing else.
        known = [key for key in new if _rank(key) < len(_METRICS)]
        chosen = known if known or charts else new
        found |= charts.intersection(of_it) | set(chosen[: max(most - len(charts), 0)])
    return found


def _rank(key: str) -> int:
    name = key.rpartition("/")[2]
    return _METRICS.index(name) if name in _METRICS else len(_METRICS)


def _of_parts(of_set: str, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Of a set that is several (``val/easy/loss``, ``val/hard/loss``): the same metric of each of them."""
    for name in _METRICS:
        of_each = {k: v for k, v in numbers.items() if k.startswith(f"{of_set}/") and k.endswith(f"/{name}")}
        if of_each:
            return of_each
    return {}


def is_metric(value: Any) -> bool:
    """Whether a stored value is a number: also NaN and infinities, of which a record has the name."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and value in _NOT_FINITE)


def _first(found: Mapping[str, Any]) -> dict[str, float | str]:
    return {key: _told(float(value)) for key, value in list(found.items())[:MOST_NUMBERS]}


def _told(value: float) -> float | str:
    if math.isfinite(value):
        return float(f"{value:.6g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# In a key's last part: what is better when it is small. Everything else is better when it is large.
_SMALL = (
    "loss",
    "error",
    "mae",
    "mse",
    "rmse",
    "rmsle",
    "mape",
    "brier",
    "logloss",
    "perplexity",
    "wer",
    "cer",
    "deviance",
    "inertia",
    "davies_bouldin",
    "aic",
    "bic",
    "regret",
    "seconds",
    "distance",
)


def is_better_small(key: str) -> bool:
    """Whether a smaller value of this metric is the better one: of a loss, an error, a time."""
    words = key.lower().rsplit("/", 1)[-1].replace("-", "_")
    if words.startswith("neg_") or words.endswith("per_second"):  # minus an error; a speed
        return False
    return any(part in _SMALL for part in (words, *words.split("_"))) or words.endswith(("loss", "error"))


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
