"""What recording a study costs, side by side: ``python -m benchmarks.optuna_study``.

A trivial objective with random sampling, so that nearly nothing but Optuna and the tracker is seen: bare and
by autolog, with trials as rows and, since each reports a value, as runs. Then 10,000 trials: what one costs
on top when few are there and when many are, and memory. Then the peers: MLflow's and W&B's callbacks of
optuna-integration, and a Trackio run per trial, as OptunaHub's callback opens them.
"""

from __future__ import annotations

import gc
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.turns import PROJECT, Work, by_autolog, compare

TRIALS = 1_000
PEER_TRIALS = 100  # of those that take long, told per trial
MANY = 10_000


def main(turns: int = 5) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        return float(trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("n", 1, 8))

    def reporting(trial: Any) -> float:
        trial.report(0.0, 0)
        return objective(trial)

    def study(function: Callable[[Any], float] = objective, callbacks: Any = None, n: int = TRIALS) -> float:
        searched = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        start = time.perf_counter()
        searched.optimize(function, n_trials=n, callbacks=callbacks)
        return time.perf_counter() - start

    contenders: dict[str, Work] = {
        "bare": study,
        "autolog, trials as rows": by_autolog("optuna", "autolog, trials as rows", study),
    }
    versions = f"Optuna {optuna.__version__}"
    compare(f"{TRIALS:,} trials", contenders, turns, versions)

    def few() -> float:
        return study(reporting, n=PEER_TRIALS)

    contenders = {
        "bare": few,
        "autolog, trials as runs": by_autolog("optuna", "autolog, trials as runs", few),
    }
    compare(f"{PEER_TRIALS} trials that report", contenders, turns, versions)
    _many(study, objective)
    for name, callback in _peers().items():
        bare = min(study(n=PEER_TRIALS) for _ in range(3))
        try:
            callbacks = [callback()]
            seconds = study(callbacks=callbacks, n=PEER_TRIALS)
            told = f"{1_000 * (seconds - bare) / PEER_TRIALS:8.3f} ms a trial on top, {PEER_TRIALS} trials"
        except Exception as error:
            told = f"not measured: {type(error).__name__}: {error}"[:150]
        print(f"{name:<40} {told}", flush=True)


def _many(study: Callable[..., float], objective: Callable[[Any], float]) -> None:
    """10,000 trials: does a trial cost more when many are there?"""
    import psutil

    import autolog

    def per_thousand(recorded: bool) -> tuple[list[float], list[float], float]:
        marks: list[float] = []
        sizes: list[float] = []
        process = psutil.Process()

        def timed(trial: Any) -> float:
            if trial.number % 1_000 == 0:
                marks.append(time.perf_counter())
                sizes.append(process.memory_info().rss / 1e6)
            return objective(trial)

        gc.collect()
        if recorded:
            autolog.finish()
            with autolog.enabled("optuna", project=PROJECT, run_name="many"):
                whole = study(timed, n=MANY)
            while not autolog.finish():
                pass
        else:
            whole = study(timed, n=MANY)
        steps = [after - before for before, after in itertools.pairwise(marks)]
        return steps, sizes, whole

    bare, bare_sizes, bare_whole = per_thousand(False)
    steps, sizes, whole = per_thousand(True)
    print(f"{MANY:,} trials: {bare_whole:.2f} s bare, {whole:.2f} s recorded, the end included")
    on_top = [recorded - plain for recorded, plain in zip(steps, bare, strict=True)]
    print(f"  on top, ms a trial: the second thousand {on_top[1]:.3f}, the last {on_top[-1]:.3f}; ", end="")
    print(f"all, with the end {1_000 * (whole - bare_whole) / MANY:.3f}")
    print(f"  memory from trial 1,000 to 9,000: bare +{bare_sizes[9] - bare_sizes[1]:.0f} MB, ", end="")
    print(f"recorded +{sizes[9] - sizes[1]:.0f} MB")


def _peers() -> dict[str, Callable[[], Any]]:
    def by_mlflow() -> Any:
        from optuna_integration import MLflowCallback

        return MLflowCallback(f"sqlite:///{tempfile.mkdtemp(prefix='mlflow-bench-')}/mlflow.db")

    def by_wandb() -> Any:
        os.environ["WANDB_MODE"], os.environ["WANDB_SILENT"] = "offline", "true"
        os.environ.setdefault("WANDB_DIR", tempfile.mkdtemp(prefix="wandb-bench-"))
        from optuna_integration import WeightsAndBiasesCallback

        return WeightsAndBiasesCallback(wandb_kwargs={"project": PROJECT})

    def by_trackio_per_trial() -> Any:
        import trackio

        def callback(study: Any, trial: Any) -> None:  # a run per trial
            trackio.init(project=PROJECT, name=f"trial-{trial.number}", config=trial.params, embed=False)
            trackio.log({"value": trial.value})
            trackio.finish()

        return callback

    return {
        "MLflowCallback": by_mlflow,
        "WeightsAndBiasesCallback": by_wandb,
        "trackio.init and log, a run per trial": by_trackio_per_trial,
    }


if __name__ == "__main__":
    main()
