"""A study of Optuna's: ``study.py WAY SHARE TRIALS REPORTS``, so many reports of each trial."""

import sys

import common

trials, reports = int(float(sys.argv[3]) * common.share), int(sys.argv[4])
recorder = None
if common.way in ("wandb", "mlflow"):
    from optuna_integration import MLflowCallback, WeightsAndBiasesCallback
else:
    recorder = common.recorder("")

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    x, k = trial.suggest_float("x", -10, 10), trial.suggest_int("k", 1, 8)
    for step in range(reports):
        trial.report(x * x / (step + 1), step)
    return (x - 2) ** 2 + k


def by_hand(study, trial):
    reported = {f"report/{step}": value for step, value in trial.intermediate_values.items()}
    run.log({"value": trial.value, **trial.params, **reported})


common.begin()
run = common.start(recorder) if common.way == "trackio" else None
callbacks = [by_hand] if run is not None else []
if common.way == "wandb":
    callbacks = [WeightsAndBiasesCallback(wandb_kwargs={"project": "program"})]
elif common.way == "mlflow":
    callbacks = [MLflowCallback(metric_name="value")]
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=trials, callbacks=callbacks)
if run is not None:
    run.finish()
common.end()
