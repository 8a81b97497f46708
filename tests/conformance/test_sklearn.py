"""scikit-learn keeps the promises."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from autolog.sinks.memory import MemoryRun
from tests.conformance.base import Conformance, Subject

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)


class Failing(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that fails in the middle of its fit."""

    def __init__(self, error: Any = None) -> None:
        self.error = error

    def fit(self, X: Any, y: Any) -> Any:
        raise self.error

    def predict(self, X: Any) -> Any:
        raise NotImplementedError


class ScikitLearn(Subject):
    name = "sklearn"

    def train(self, strength: float = 1.0) -> Any:
        model = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(C=strength))])
        return model.fit(X_train, y_train)

    def result(self, trained: Any) -> bytes:
        data: bytes = trained.predict_proba(X_test).tobytes()
        return data

    def evaluate(self, trained: Any) -> float:
        return float(trained.score(X_test, y_test))

    def fail(self, error: BaseException) -> None:
        Failing(error).fit(X_train, y_train)

    def strength_of(self, run: MemoryRun) -> float:
        return float(run.config["params"]["classify__C"])


class TestScikitLearn(Conformance):
    subject = ScikitLearn()
