"""Real data, in three parts."""

from __future__ import annotations

from typing import Any

import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import train_test_split

__all__ = ["SETS", "matrices"]


def _parts(load: Any) -> tuple[Any, ...]:
    X, y = load(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
    return (X_train, y_train), (X_val, y_val), (X_test, y_test)


SETS = {
    "cancer": _parts(load_breast_cancer),
    "diabetes": _parts(load_diabetes),
    "iris": _parts(load_iris),
}


def matrices(name: str) -> list[xgboost.DMatrix]:
    """Of the training, of validation, of a test."""
    return [xgboost.DMatrix(X, y) for X, y in SETS[name]]
