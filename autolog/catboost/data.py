"""The data of a fit: of a Pool, or of the user's own arrays and frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from catboost import Pool

from autolog.core.recording import Recording
from autolog.core.sets import Facts, facts_of, learn, record_data
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield

__all__ = ["Data", "data_of", "observe_pool", "record_set"]

MOST_COLUMNS = 50


class Data(NamedTuple):
    """A set of data, as CatBoost takes it."""

    X: Any
    """A Pool, or features."""
    y: Any
    facts: Facts
    weight: Any = None


def observe_pool(pool: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A Pool was made: its content is read now, since CatBoost keeps it in a form of its own."""
    if watching.active("sklearn") or next(callers_in("catboost"), None) is not None:
        return  # CatBoost makes one of whatever it is to predict
    data = args[0] if args else kwargs.get("data")
    if data is None or isinstance(data, (str, bytes)) or hasattr(data, "__fspath__"):
        return
    with shield("CatBoost: the data of a Pool"):
        learn(pool, data)


def data_of(X: Any, y: Any = None, weight: Any = None) -> Data:
    """What a fit, a score or an evaluation set is given."""
    if isinstance(X, Pool):
        weights = X.get_weight() or None
        is_weighted = weights is not None and any(one != weights[0] for one in weights)
        return Data(
            X, X.get_label() if X.has_label() else None, facts_of(X), weights if is_weighted else None
        )
    return Data(X, y, Facts() if isinstance(X, str) or hasattr(X, "__fspath__") else Facts.of(X), weight)


def record_set(run: Recording, name: str, data: Data, *, categorical: Any = None) -> None:
    """What is known of a set, under its name.

    Args:
        categorical: which columns are categories, as the user has said it beside the data.
    """
    more: dict[str, Any] = {"kind": type(data.X).__name__}
    if isinstance(data.X, Pool):
        rows, columns = data.X.shape
        more |= {"rows": rows, "shape": [rows, columns]}
        names = data.X.get_feature_names()
        if any(names):
            more["columns"] = names[:MOST_COLUMNS]
            if len(names) > MOST_COLUMNS:
                more["columns"] = [*more["columns"], f"… (+{len(names) - MOST_COLUMNS} items)"]
        places = data.X.get_cat_feature_indices()[:MOST_COLUMNS]
        categorical = [names[place] or place for place in places]
    if places := [] if categorical is None else list(categorical)[:MOST_COLUMNS]:
        more["categorical"] = [one.item() if hasattr(one, "item") else one for one in places]
    record_data(run, name, data.facts, data.y, weight=data.weight, more=more)
