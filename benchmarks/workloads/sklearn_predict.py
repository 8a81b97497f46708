"""Predictions of one row by a model whose fit was recorded: what is served must not be slowed."""

from __future__ import annotations

import time

from benchmarks.turns import Workload
from benchmarks.ways import BARE, by_autolog, by_mlflow, is_installed


def workload(share: float = 1.0) -> Workload:
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    X, y = make_classification(2_000, 20, random_state=0)
    count = max(200, round(1_000 * share))

    def predictions() -> float:
        model, one = LogisticRegression().fit(X, y), X[:1]
        start = time.perf_counter()
        for _ in range(count):
            model.predict(one)
        return time.perf_counter() - start

    ways = [BARE, by_autolog("autolog", "sklearn")]
    missing = []
    if is_installed("mlflow"):
        ways.append(by_mlflow("MLflow autolog", flavor="sklearn"))
    else:
        missing.append("MLflow is not installed")
    return Workload(
        f"{count:,} predictions of one row, after a fit that is recorded (not counted)",
        predictions,
        ways,
        f"scikit-learn {sklearn.__version__}",
        missing,
        "at most 1.10 of bare",
        pieces=count,
        piece="prediction",
        by_clock=True,
    )
