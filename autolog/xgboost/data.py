"""The data of a DMatrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.recording import Recording
from autolog.core.sets import facts_of, learn, record_data
from autolog.process.callers import callers_in
from autolog.process.context import watching
from autolog.process.guard import shield

__all__ = ["named_columns", "observe_matrix", "record_matrix", "target_of"]

MOST_COLUMNS = 50


def observe_matrix(matrix: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A matrix was made: its content is read now, since XGBoost keeps it in a form of its own."""
    if watching.active("sklearn"):  # whose data are read by its own room
        return
    if kwargs.get("label") is None and next(callers_in("xgboost"), None) is not None:
        return  # its scikit-learn classes make one of what they are to predict
    data = args[0] if args else kwargs.get("data")
    if data is None or isinstance(data, (str, bytes)) or hasattr(data, "__fspath__") or hasattr(data, "next"):
        return  # a file, or batches of an iterator
    with shield("XGBoost: the data of a matrix"):
        learn(matrix, data)


def target_of(matrix: Any) -> Any:
    """The labels, shape (rows,) or (rows, outputs); None: there are none."""
    labels = matrix.get_label()
    rows = matrix.num_row()
    if not len(labels):
        return None
    return labels.reshape(rows, -1) if rows and labels.ndim == 1 and len(labels) > rows else labels


def record_matrix(run: Recording, name: str, matrix: Any) -> None:
    """What is known of a matrix, under the name of its set."""
    names, types = matrix.feature_names, matrix.feature_types
    more: dict[str, Any] = {
        "kind": type(matrix).__name__,
        "rows": matrix.num_row(),
        "shape": [matrix.num_row(), matrix.num_col()],
    }
    more["columns"] = named_columns(names)
    if types is not None and "c" in types:
        places = [place for place, kind in enumerate(types) if kind == "c"][:MOST_COLUMNS]
        more["categorical"] = [names[place] if names is not None else place for place in places]
    record_data(run, name, facts_of(matrix), target_of(matrix), weight=matrix.get_weight(), more=more)


def named_columns(names: list[str] | None) -> list[str] | None:
    """The first names, and how many there are more."""
    if names is None or len(names) <= MOST_COLUMNS:
        return names
    return [*names[:MOST_COLUMNS], f"… (+{len(names) - MOST_COLUMNS} items)"]
