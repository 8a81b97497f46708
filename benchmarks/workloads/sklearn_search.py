"""A search of scikit-learn's: one run, all candidates in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.turns import Workload
from benchmarks.workloads.sklearn_fits import NO_WANDB, ways_of


def workload(share: float = 1.0) -> Workload:
    import numpy as np
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    X, y = make_classification(2_000, 20, random_state=0)
    grid = {"C": list(np.logspace(-3, 3, 40))}

    def search(each: Callable[[Any], None] | None = None) -> float:
        start = time.perf_counter()
        searched = GridSearchCV(LogisticRegression(), grid, cv=3).fit(X, y)
        if each is not None:
            each(searched)
        return time.perf_counter() - start

    return Workload(
        "GridSearchCV, 40 candidates, 3 folds, 2,000 x 20",
        search,
        ways_of(X, y),
        f"scikit-learn {sklearn.__version__}",
        [NO_WANDB],
        "at most 1.05 of bare",
    )
