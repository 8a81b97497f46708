"""The data of a Dataset: read before LightGBM takes it, since it lets go of it then."""

from __future__ import annotations

from typing import Any

from autolog.capture.kinds import is_frame
from autolog.core.recording import Recording
from autolog.core.sets import Facts, facts_of, learn, record_data

__all__ = ["facts_of_dataset", "record_dataset", "target_of"]

MOST_COLUMNS = 50


def facts_of_dataset(dataset: Any) -> Facts:
    """What is known of a set: what it holds is read once, before the first training with it."""
    known = facts_of(dataset)
    data = dataset.data
    if known.read is None and data is not None and (is_frame(data) or hasattr(data, "shape")):
        return learn(dataset, data)
    return known


def target_of(dataset: Any) -> Any:
    """The labels; None: there are none."""
    return dataset.label


def record_dataset(run: Recording, name: str, dataset: Any) -> None:
    """What is known of a set, under its name."""
    more: dict[str, Any] = {"kind": type(dataset).__name__}
    names = dataset.feature_name if isinstance(dataset.feature_name, list) else None
    if names is not None:
        more["columns"] = [str(one) for one in names[:MOST_COLUMNS]]
        if len(names) > MOST_COLUMNS:
            more["columns"] = [*more["columns"], f"… (+{len(names) - MOST_COLUMNS} items)"]
    facts = facts_of_dataset(dataset)
    categorical = dataset.categorical_feature
    if isinstance(categorical, (list, tuple)):
        more["categorical"] = list(categorical[:MOST_COLUMNS])
    elif facts.described is not None:  # `auto`: of a frame its columns of categories
        kinds = facts.described.dtypes
        more["categorical"] = [one for one, kind in kinds.items() if kind == "category"] or None
    if facts.read is None and dataset._handle is not None:  # it was taken before anybody of ours saw it
        more["rows"], columns = dataset.num_data(), dataset.num_feature()
        more["shape"] = [more["rows"], columns]
    record_data(run, name, facts, target_of(dataset), weight=dataset.weight, more=more)
