"""What is inside of an estimator: the one that was trained in the end, and what each says of itself."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["attribute", "final_estimator", "inner_of", "is_number", "is_one"]


def final_estimator(estimator: Any) -> Any:
    """What was trained in the end: the last step of a pipeline, the best of a search, and so on down."""
    for _ in range(10):
        inner = inner_of(estimator)
        if inner is None:
            return estimator
        estimator = inner
    return estimator


def inner_of(estimator: Any) -> Any:
    """What an estimator has trained in its place; None if it has learned by itself."""
    steps = getattr(estimator, "steps", None)
    inner = attribute(estimator, "best_estimator_")
    if inner is None:
        inner = attribute(estimator, "regressor_")  # TransformedTargetRegressor
    if inner is None and isinstance(steps, list) and steps:
        inner = steps[-1][1]
    return inner if hasattr(inner, "get_params") else None


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
