"""Dask's arrays and frames are computed where the user asks for it, and never because they are recorded."""

from __future__ import annotations

from typing import Any

import dask
import dask.array
import dask.dataframe
import pandas as pd
import pytest
from dask.callbacks import Callback
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

import autolog
from autolog.capture import datasets, evaluation
from autolog.sinks.memory import MemorySink

X, y = load_breast_cancer(return_X_y=True)
NAMES = [f"c{number}" for number in range(X.shape[1])]


def lazy(kind: str) -> tuple[Any, Any]:
    if kind == "array":
        return dask.array.from_array(X, chunks=(200, 30)), dask.array.from_array(y, chunks=(200,))
    frame = dask.dataframe.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=3)
    return frame, dask.dataframe.from_pandas(pd.Series(y, name="y"), npartitions=3)


class Computed(Callback):  # type: ignore[misc]
    """Counts how often something is computed."""

    def __init__(self) -> None:
        self.times = 0
        super().__init__(start=self._count)

    def _count(self, graph: Any) -> None:
        self.times += 1


class OfFirstPart(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model of somebody's that fits the first part of its data, and predicts all of them part by part."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OfFirstPart:
        self.model_ = LogisticRegression(max_iter=5).fit(*dask.compute(X.partitions[0], y.partitions[0]))
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X: Any) -> Any:
        if hasattr(X, "columns"):
            return X.map_partitions(self.model_.predict, meta=("y", int))
        return X.map_blocks(self.model_.predict, drop_axis=1, dtype=int)


def program(kind: str) -> int:
    with Computed() as computed:
        data, target = lazy(kind)
        model = OfFirstPart().fit(data, target, sample_weight=target)
        predicted = model.predict(data)
        accuracy_score(target.compute(), predicted.compute())
        if kind == "array":  # scikit-learn computes what it is given; of a frame it cannot
            accuracy_score(target, predicted)
            model.score(data, target)
    return computed.times


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_nothing_is_computed_that_would_not_be_without_us(recording: MemorySink, kind: str) -> None:
    recorded = program(kind)
    autolog.finish()
    autolog.disable()
    assert recorded == program(kind)


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_what_is_known_without_computing_is_recorded(recording: MemorySink, kind: str) -> None:
    program(kind)
    autolog.finish()
    [run] = recording.runs
    assert run.config["model"] == "OfFirstPart"
    data = run.config["data/train"]
    if kind == "array":
        assert (data["shape"], data["rows"]) == ([569, 30], 569)
    else:
        assert data["columns"] == NAMES
        assert "rows" not in data
    assert "target" not in data
    assert "is computed only where you ask" in run.config["autolog/notes"]["data/train"]
    # What `score` has returned to the user is their number, of data that are known by their name.
    numbers = {key for key in run.metrics if key.startswith("train/")}
    assert numbers == ({"train/score"} if kind == "array" else set())


def test_it_is_known_again_by_what_it_is_computed_from() -> None:
    data, _ = lazy("array")
    again, other = lazy("array")[0], lazy("array")[0] + 1
    assert datasets.fingerprint(data) == datasets.fingerprint(again)
    assert datasets.fingerprint(data) != datasets.fingerprint(other)


def test_an_evaluation_says_why_it_has_no_numbers() -> None:
    target = lazy("array")[1]
    with pytest.raises(ValueError, match="is computed only where you ask"):
        evaluation.evaluate(target, target, task="classification")
