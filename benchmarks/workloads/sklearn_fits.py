"""Short fits of scikit-learn's: what is recorded of each costs the same, however short it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import (
    BARE,
    Given,
    Way,
    by_autolog,
    by_mlflow,
    everything_on,
    in_trackio,
    plain,
)

BY_HAND = "Trackio by hand: parameters and score"
NO_WANDB = "W&B has no autologging of scikit-learn"


def workload(share: float = 1.0) -> Workload:
    import sklearn
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    X, y = make_classification(2_000, 20, random_state=0)

    linear, forests = max(1, round(5 * share)), max(1, round(2 * share))

    def fits(each: Callable[[Any], None] | None = None) -> float:
        start = time.perf_counter()
        for model in (
            *(LogisticRegression(C=10.0 ** (power - 2)) for power in range(linear)),
            *(RandomForestClassifier(random_state=seed) for seed in range(forests)),
        ):
            model.fit(X, y)
            if each is not None:
                each(model)
        return time.perf_counter() - start

    return Workload(
        f"Fits: {linear} of LogisticRegression, {forests} of RandomForestClassifier, 2,000 x 20",
        fits,
        ways_of(X, y),
        f"scikit-learn {sklearn.__version__}",
        [NO_WANDB],
        "at most 25 ms a fit",
        pieces=linear + forests,
        piece="fit",
    )


def ways_of(X: Any, y: Any) -> list[Way]:
    """All ways to record fits on this data."""
    return [
        BARE,
        by_autolog("autolog", "sklearn"),
        everything_on("sklearn"),
        by_hand(X, y),
        by_mlflow("MLflow autolog", flavor="sklearn"),
    ]


def by_hand(X: Any, y: Any) -> Way:
    """A run of Trackio's per fit, as one writes it."""

    def record(model: Any) -> None:
        import trackio

        config = {name: str(value) for name, value in model.get_params().items()}
        trackio.init(project=plain(BY_HAND), config=config, embed=False)
        trackio.log({"train/score": model.score(X, y)})
        trackio.finish()

    from contextlib import nullcontext

    given: Given = {"each": record}
    return Way(BY_HAND, lambda: nullcontext(given), lambda: in_trackio(plain(BY_HAND)))
