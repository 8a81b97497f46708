"""A pipeline that trains for two minutes, for programs that are killed in the middle of it."""

import os
import time
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from zenml import pipeline, step

import autolog


class Slow(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, C: float = 1.0):
        self.C = C

    def fit(self, X: Any, y: Any) -> Any:
        # Not by print: ZenML stores what it says, and swallows an interrupt that falls into that.
        os.write(1, b"ready\n")
        time.sleep(120)
        return self


@step(enable_cache=False)
def train_slowly() -> None:
    autolog.enable("sklearn")
    Slow(C=3.0).fit(*load_iris(return_X_y=True))


@pipeline
def slow_training() -> None:
    train_slowly()
