"""A study over Keras trainings of handwritten digits: trials that promise little are pruned.

The study is a run, each trial a run below it with its training inside.

python examples/optuna_search.py && trackio show --project optuna-digits
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import autolog

autolog.enable(project="optuna-digits")

digits = load_digits()
X_train, X_val, y_train, y_val = train_test_split(
    (digits.data / 16).astype("float32"), digits.target, random_state=0
)


def objective(trial: optuna.Trial) -> float:
    keras.utils.set_random_seed(trial.number)
    units = trial.suggest_int("units", 4, 64, log=True)
    rate = trial.suggest_float("rate", 1e-4, 0.1, log=True)
    activation = trial.suggest_categorical("activation", ["relu", "tanh"])
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(units, activation=activation, name="hidden"),
            keras.layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])

    def report(epoch: int, logs: dict[str, float]) -> None:
        trial.report(logs["val_accuracy"], epoch)
        if trial.should_prune():
            raise optuna.TrialPruned(f"after epoch {epoch + 1}")

    history = model.fit(
        X_train,
        y_train,
        batch_size=128,
        epochs=5,
        validation_data=(X_val, y_val),
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=report)],
        verbose=0,
    )
    return max(history.history["val_accuracy"])


study = optuna.create_study(
    study_name="digits",
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1),
)
study.optimize(objective, n_trials=12)

print(f"best: trial {study.best_trial.number}, accuracy {study.best_value:.3f}, {study.best_params}")
print("Look at it:  trackio show --project optuna-digits")

# What it shows: the study's run with its trials, the best so far, seven pictures, and a page of
# interactive ones. Each trial is a run below it with the curves of its own training; some are pruned.
