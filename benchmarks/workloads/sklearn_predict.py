"""Predictions of one row by a model whose fit was recorded: what is served must not be slowed.

They begin two seconds after the fit, when it has been delivered. Before that, threads that deliver it ask for
the interpreter: see docs/benchmarks.md.
"""

from __future__ import annotations

import time

from benchmarks.turns import Workload
from benchmarks.ways import BARE, by_autolog, by_mlflow
from benchmarks.workloads.sklearn_fits import NO_WANDB

LATER_SECONDS = 2.0


def workload(share: float = 1.0) -> Workload:
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression

    X, y = make_classification(2_000, 20, random_state=0)
    count = max(200, round(1_000 * share))

    def predictions() -> float:
        model, one = LogisticRegression().fit(X, y), X[:1]
        time.sleep(LATER_SECONDS)
        start = time.perf_counter()
        for _ in range(count):
            model.predict(one)
        return time.perf_counter() - start

    ways = [BARE, by_autolog("autolog", "sklearn"), by_mlflow("MLflow autolog", flavor="sklearn")]
    return Workload(
        f"{count:,} predictions of one row, two seconds after a fit that is recorded (not counted)",
        predictions,
        ways,
        f"scikit-learn {sklearn.__version__}",
        [NO_WANDB],
        "at most 1.10 of bare",
        pieces=count,
        piece="prediction",
        by_clock=True,
    )
