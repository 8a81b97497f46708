"""What recording a Keras training costs, side by side: ``python -m benchmarks.keras_fit``.

1,600 batches of a small network on the torch backend: bare; by autolog at its defaults, and with a row for
every batch, without and with gradient norms; by a callback that calls ``trackio.log``, as one writes it by
hand; by MLflow's autologging.
"""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks.turns import PROJECT, Work, add_mlflow, by_autolog, compare

os.environ["KERAS_BACKEND"] = "torch"

BATCHES, EPOCHS, BATCH = 1_600, 4, 32


def main(turns: int = 7) -> None:
    import keras
    import numpy as np
    import torch
    import trackio

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(BATCHES * BATCH // EPOCHS, 32)).astype("float32")
    y = (X[:, 0] + X[:, 1] > 0).astype("int32")

    def fit(callbacks: Any = None) -> float:
        keras.utils.set_random_seed(0)
        hidden = [keras.layers.Dense(64, activation="relu") for _ in range(2)]
        model = keras.Sequential([keras.Input((32,)), *hidden, keras.layers.Dense(2, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        start = time.perf_counter()
        model.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=callbacks)
        return time.perf_counter() - start

    class ByHand(keras.callbacks.Callback):  # type: ignore[misc]
        step = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step += 1
            trackio.log({f"train/{key}": value for key, value in logs.items()}, step=self.step)

    def by_hand() -> float:
        trackio.init(project=PROJECT, name="trackio.log by hand, every batch", embed=False)
        seconds = fit([ByHand()])
        trackio.finish()
        return seconds

    rows = {"log_every_n_steps": 1}
    contenders: dict[str, Work] = {
        "bare": fit,
        "autolog, defaults": by_autolog("keras", "autolog, defaults", fit),
        "autolog, every batch, no norms": by_autolog(
            "keras", "autolog, every batch, no norms", fit, **rows, log_gradients=False
        ),
        "autolog, every batch and norms": by_autolog("keras", "autolog, every batch and norms", fit, **rows),
        "trackio.log by hand, every batch": by_hand,
    }
    missing = add_mlflow(contenders, "keras", fit, log_every_epoch=False, log_every_n_steps=1)
    versions = f"Keras {keras.__version__} on torch {torch.__version__}"
    compare(f"{BATCHES:,} batches of a small network", contenders, turns, versions)
    print(missing)


if __name__ == "__main__":
    main()
