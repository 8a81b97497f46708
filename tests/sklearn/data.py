"""Iris, in halves, and two of its classes."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

from autolog import MemorySink
from autolog.process import background

X, y = load_iris(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)
binary = y < 2


def only(sink: MemorySink) -> Any:
    assert background.drain(60), "what is recorded in the background"
    (run,) = sink.runs
    return run


two = X[binary], y[binary]
names = y[binary].map({0: "zero", 1: "one"})
