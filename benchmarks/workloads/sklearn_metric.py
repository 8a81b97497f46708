"""A metric of scikit-learn on predictions of a recorded model, again and again: a program may sweep with it.

The first call is an evaluation, which is recorded whole; it is not counted.
"""

from __future__ import annotations

import time

from benchmarks.turns import Workload
from benchmarks.ways import BARE, by_autolog, by_mlflow
from benchmarks.workloads.sklearn_fits import NO_WANDB

ROWS = 1_000


def workload(share: float = 1.0) -> Workload:
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score

    X, y = make_classification(2 * ROWS, 20, random_state=0)
    count = max(200, round(2_000 * share))

    def calls() -> float:
        model = LogisticRegression().fit(X[:ROWS], y[:ROWS])
        truth, predicted = y[ROWS:], model.predict(X[ROWS:])
        accuracy_score(truth, predicted)
        start = time.perf_counter()
        for _ in range(count):
            accuracy_score(truth, predicted)
        return time.perf_counter() - start

    ways = [BARE, by_autolog("autolog", "sklearn"), by_mlflow("MLflow autolog", flavor="sklearn")]
    return Workload(
        f"{count:,} calls of accuracy_score on {ROWS:,} predictions of a recorded model",
        calls,
        ways,
        f"scikit-learn {sklearn.__version__}",
        [NO_WANDB],
        "20 us on top, and one pass over the predictions",
        pieces=count,
    )
