"""A model is written up to a limit, and described in a few words."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression, LogisticRegression

from autolog.capture.model import dump, summary


@pytest.fixture
def fitted():
    X = np.arange(12.0).reshape(6, 2)
    return LogisticRegression().fit(X, [0, 1, 2, 0, 1, 2])


def test_a_model_comes_back_as_it_was(fitted, tmp_path):
    path = tmp_path / "model.pkl"
    size = dump(fitted, path, limit=1_000_000)
    assert size == path.stat().st_size
    for came_back in (joblib.load(path), pickle.loads(path.read_bytes())):
        assert np.array_equal(came_back.coef_, fitted.coef_)


def test_the_limit_is_exact_and_leaves_nothing(fitted, tmp_path):
    path = tmp_path / "model"
    size = dump(fitted, path, limit=1_000_000)
    assert dump(fitted, path, limit=size) == size
    assert dump(fitted, path, limit=size - 1) is None
    assert not path.exists()


def test_writing_stops_at_the_limit(tmp_path):
    class Endless:
        pieces = 0

        def __reduce__(self):
            return list, ([Piece() for _ in range(1000)],)

    class Piece:
        def __reduce__(self):
            Endless.pieces += 1
            return bytes, (bytes(100_000),)

    assert dump(Endless(), tmp_path / "model", limit=1_000_000) is None
    assert Endless.pieces < 30


def test_a_model_that_does_not_pickle_says_so_and_leaves_nothing(tmp_path):
    path = tmp_path / "model"
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        dump([np.zeros(1000), lambda: None], path, limit=1_000_000)
    assert not path.exists()


def test_a_summary_of_a_classifier(fitted):
    assert summary(fitted) == {
        "class": "LogisticRegression",
        "module": "sklearn.linear_model._logistic",
        "version": sklearn.__version__,
        "features": 2,
        "outputs": 3,
    }


def test_an_unfitted_or_unwilling_model_is_described_too():
    class Unwilling:
        @property
        def classes_(self):
            raise RuntimeError("not fitted")

    assert "features" not in summary(LinearRegression())
    assert summary(Unwilling())["class"].endswith("Unwilling")
