"""Dask's arrays and frames are computed where the user asks for it, and never because they are recorded."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import dask
import dask.array
import dask.dataframe
import lightgbm
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB

import autolog
from autolog.capture import datasets, evaluation
from autolog.sinks.memory import MemorySink
from tests.computed import Computed

X, y = load_breast_cancer(return_X_y=True)
NAMES = [f"c{number}" for number in range(X.shape[1])]


def lazy(kind: str) -> tuple[Any, Any]:
    if kind == "array":
        return dask.array.from_array(X, chunks=(200, 30)), dask.array.from_array(y, chunks=(200,))
    frame = dask.dataframe.from_pandas(pd.DataFrame(X, columns=NAMES), npartitions=3)
    return frame, dask.dataframe.from_pandas(pd.Series(y, name="y"), npartitions=3)


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


def program_of_others(kind: str) -> int:
    """Models that compute whatever they are given, or refuse it: as often with us as without."""
    with Computed() as computed:
        data, target = lazy(kind)
        weight = target + 1
        model = GaussianNB().fit(data, target)
        model.score(data, target, sample_weight=weight)
        LinearRegression().fit(X, y).score(data, target)
        KMeans(2, n_init=1, random_state=0).fit(data)
        booster = lightgbm.train({"verbosity": -1}, lightgbm.Dataset(X, y), 2)
        accuracy_score(y, booster.predict(X) > 0.5, sample_weight=weight)
        for one in (lightgbm.Dataset(X, target), lightgbm.Dataset(X, y, weight=weight)):
            with contextlib.suppress(TypeError):
                lightgbm.train({"verbosity": -1}, one, 2)
        if kind == "array":
            cross_val_predict(GaussianNB(), data, target, cv=2)
    return computed.times


@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.parametrize("what", [program, program_of_others])
def test_nothing_is_computed_that_would_not_be_without_us(
    sink: MemorySink, kind: str, what: Callable[[str], int]
) -> None:
    with autolog.enabled("sklearn", "lightgbm", sink=sink, log_code=False, budget=1e9):
        recorded = what(kind)
    autolog.finish()
    assert recorded == what(kind)


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_whether_it_was_held_out_cannot_be_known(recording: MemorySink, kind: str) -> None:
    data, target = lazy(kind)
    accuracy_score(y, GaussianNB().fit(data, target).predict(X))  # they are the same rows
    GaussianNB().fit(X, y).score(data, target)
    of_dask = GaussianNB().fit(data, target)
    of_dask.score(data, target)
    of_dask.score(data + 0, target)
    autolog.finish()
    found = [{key.partition("/")[0] for key in run.metrics} - {"vitals"} for run in recording.runs]
    assert found == [{"eval"}, {"train", "eval"}, {"train", "eval"}]
    assert "cannot be known" in recording.runs[0].config["autolog/notes"]["eval"]


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
