"""A project to look back at, recorded once for all tests of this folder."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import autolog

X = [[(n * 0.61803) % 1, (n * 0.41421) % 1] for n in range(60)]
Y = [int(a + b > 1) for a, b in X]


@pytest.fixture(scope="session")
def project() -> str:
    """Two runs of scikit-learn's, one that failed, one by hand with a child."""
    from sklearn.tree import DecisionTreeClassifier

    name = f"past-{uuid.uuid4().hex[:6]}"
    with autolog.enabled("sklearn", project=name, tags=["nightly"], finish_timeout=120, budget=1e9):
        for depth in (1, 3):
            tree = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X[:40], Y[:40])
            tree.score(X[40:], Y[40:])
        with pytest.raises(ValueError, match="max_depth"):
            DecisionTreeClassifier(max_depth=-1).fit(X, Y)
        with autolog.run("by hand", config={"params/lr": 0.1}) as run:
            for step, loss in enumerate([3.0, math.nan, 1.0]):
                run.log({"train/loss": loss, "own": step}, step=step)
            run.log({"said": "a text"})
            run.table("sizes", [{"a": 1, "b": "x"}])
            with run.child("below") as child:
                child.log({"val/loss": 2.0})
    assert autolog.finish()
    return name


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of Trackio's that holds nothing."""
    monkeypatch.setitem(os.environ, "TRACKIO_DIR", str(tmp_path))
    return tmp_path
