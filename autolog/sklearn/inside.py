"""What is inside of an estimator: the one that was trained in the end, and what each says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "MOST_LEVELS",
    "attribute",
    "final_estimator",
    "inner_of",
    "is_estimator",
    "is_fitted",
    "is_number",
    "is_one",
    "steps_of",
    "way_in",
]

MOST_LEVELS = 10  # of estimators inside of each other


def final_estimator(estimator: Any) -> Any:
    """What was trained in the end: the last step of a pipeline, the best of a search, and so on down."""
    return way_in(estimator)[-1]


def way_in(estimator: Any) -> list[Any]:
    """The estimator, what it has trained in its place, and so on down to the final one."""
    way = [estimator]
    while len(way) <= MOST_LEVELS and (inner := inner_of(way[-1])) is not None:
        way.append(inner)
    return way


def inner_of(estimator: Any) -> Any:
    """What an estimator has trained in its place; None if it has learned by itself."""
    inner = attribute(estimator, "best_estimator_")
    if inner is None:
        inner = attribute(estimator, "regressor_")  # TransformedTargetRegressor
    if inner is None and is_fitted(found := attribute(estimator, "estimator_")):
        inner = (
            found  # of RFE, RANSAC, SelfTrainingClassifier; an ensemble's is what its parts were made like
        )
    if inner is None and (steps := steps_of(estimator)):
        inner = steps[-1][1]
    return inner if is_estimator(inner) else None


def steps_of(estimator: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline, by name; empty: it is none, whatever else it calls its ``steps``."""
    steps = attribute(estimator, "steps")
    if not isinstance(steps, list) or not all(isinstance(s, (tuple, list)) and len(s) == 2 for s in steps):
        return []
    return [(name, step) for name, step in steps]


def is_estimator(thing: Any) -> bool:
    """Whether it is an estimator, rather than the class of one."""
    return hasattr(thing, "get_params") and not isinstance(thing, type)


def is_fitted(estimator: Any) -> bool:
    """Whether it has learned something, by scikit-learn's convention of names."""
    names = getattr(estimator, "__dict__", ())
    return any(name.endswith("_") and not name.startswith("_") for name in names)


def is_one(estimator: Any, name: str) -> bool:
    """Whether it is of a class, by ``package.Class``: without an import of it."""
    return any(f"{kind.__module__.split('.')[0]}.{kind.__name__}" == name for kind in type(estimator).__mro__)


def attribute(thing: Any, name: str) -> Any:
    """An attribute that a property may refuse, in a way of its own, before or after a fit."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def is_number(value: Any) -> bool:
    """Whether it is a number, of Python's or NumPy's."""
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
