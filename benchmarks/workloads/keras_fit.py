"""A small network on Keras' torch backend, each batch logged."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import (
    BARE,
    Way,
    by_autolog,
    by_mlflow,
    by_trackio,
    by_wandb,
    everything_on,
)

os.environ["KERAS_BACKEND"] = "torch"

BATCHES, EPOCHS, BATCH = 1_600, 4, 32
# Keras hands the end of each batch to a thread pool where no callback looks at batches.
ITSELF = "Keras itself, a callback that does nothing at each batch"


def workload(share: float = 1.0) -> Workload:
    import keras
    import numpy as np
    import torch

    torch.set_num_threads(1)
    batches = EPOCHS * round(BATCHES * share / EPOCHS)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(batches * BATCH // EPOCHS, 32)).astype("float32")
    y = (X[:, 0] + X[:, 1] > 0).astype("int32")

    class ByHand(keras.callbacks.Callback):  # type: ignore[misc]
        def __init__(self, log: Any):
            super().__init__()
            self.log = log
            self.step = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            self.log({f"train/{key}": value for key, value in logs.items()}, step=self.step)

    def fit(log: Any = None) -> float:
        keras.utils.set_random_seed(0)
        hidden = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
        model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(2, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        # None would do as well, but not for MLflow: its autologging fails, and then records nothing.
        callbacks = {"callbacks": [ByHand(log)]} if log is not None else {}
        start = time.perf_counter()
        model.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0, **callbacks)
        return time.perf_counter() - start

    batches_too: dict[str, Any] = {"log_every_epoch": False, "log_every_n_steps": 1}
    ways = [
        BARE,
        by_autolog("autolog", "keras"),
        Way(ITSELF, lambda: nullcontext({"log": lambda values, step: None})),
        each(by_autolog("autolog, every batch", "keras", log_every_n_steps=1)),
        each(everything_on("keras")),
        each(by_trackio("Trackio by hand, every batch", lambda log: {"log": log})),
        each(by_wandb("W&B offline by hand, every batch", lambda log: {"log": log})),
        by_mlflow("MLflow autolog", flavor="keras"),
        by_mlflow("MLflow autolog, every batch", flavor="keras", **batches_too),
    ]
    return Workload(
        f"Keras: {batches:,} batches of a small network",
        fit,
        ways,
        f"Keras {keras.__version__} on torch {torch.__version__}",
        goal="at most 1.05 of bare at every batch, and no slower than Trackio by hand",
        pieces=batches,
        piece="batch",
    )


def each(way: Way) -> Way:
    """One that looks at every batch."""
    return replace(way, beyond=ITSELF)
