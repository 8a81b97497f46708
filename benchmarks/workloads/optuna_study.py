"""A study with a trivial objective and random sampling: nearly nothing but Optuna and the tracker is seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import (
    BARE,
    MLFLOW,
    WANDB,
    Given,
    Recorded,
    Way,
    by_autolog,
    by_mlflow,
    count_wandb,
    everything_on,
    in_trackio,
    plain,
)

TRIALS = 300
PER_TRIAL = "Trackio by hand, a run per trial"
INTEGRATION = {"optuna_integration": "optuna-integration, with the callbacks of W&B and MLflow,"}


def workload(share: float = 1.0) -> Workload:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials = round(TRIALS * share)

    def objective(trial: Any) -> float:
        return float(trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("n", 1, 8))

    def study(callbacks: Any = None) -> float:
        searched = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        start = time.perf_counter()
        searched.optimize(objective, n_trials=trials, callbacks=callbacks)
        return time.perf_counter() - start

    ways = [
        BARE,
        by_autolog("autolog", "optuna"),
        everything_on("optuna"),
        Way(PER_TRIAL, lambda: nullcontext(_per_trial()), lambda: in_trackio(plain(PER_TRIAL))),
        replace(_by_wandb(), needs={**WANDB, **INTEGRATION}),
        replace(by_mlflow("MLflowCallback", _by_mlflow), needs={**MLFLOW, **INTEGRATION}),
    ]
    missing = [
        "OptunaHub's Trackio callback is no package; it opens a run per trial, as the one by hand does"
    ]
    return Workload(
        f"Optuna: {trials} trials of a trivial objective",
        study,
        ways,
        f"Optuna {optuna.__version__}",
        missing,
        "at most 1 ms a trial",
        pieces=trials,
        piece="trial",
    )


def _per_trial() -> Given:
    def callback(study: Any, trial: Any) -> None:
        import trackio

        name = f"trial-{trial.number}"
        trackio.init(project=plain(PER_TRIAL), name=name, config=trial.params, embed=False)
        trackio.log({"value": trial.value})
        trackio.finish()

    return {"callbacks": [callback]}


def _by_mlflow() -> Given:
    import mlflow
    from optuna_integration import MLflowCallback

    return {"callbacks": [MLflowCallback(mlflow.get_tracking_uri(), create_experiment=False)]}


def _by_wandb() -> Way:
    found = Recorded()

    @contextmanager
    def on() -> Iterator[Given]:
        import wandb
        from optuna_integration import WeightsAndBiasesCallback

        yield {"callbacks": [WeightsAndBiasesCallback(wandb_kwargs={"project": "study"})]}
        count_wandb(found, wandb.run)
        wandb.finish()

    return Way("WeightsAndBiasesCallback", on, lambda: replace(found))
