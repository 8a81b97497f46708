"""Keras keeps the promises."""

from __future__ import annotations

from typing import Any

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (X / 16).astype("float32"), y, random_state=0, train_size=320, test_size=160
)


class Raising(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises in the middle of a training."""

    def __init__(self, error: BaseException):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch == 3:
            raise self.error


class Keras(Subject):
    name = "keras"
    is_slow = True
    strength = "optimizer/clipnorm"
    program = """
        import keras
        from sklearn.datasets import load_digits

        class Ready(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 0:
                    print("ready", flush=True)

        X, y = load_digits(return_X_y=True)
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
        model.compile(keras.optimizers.Adam(clipnorm=3.0), "sparse_categorical_crossentropy")
        model.fit(X / 16, y, epochs=100_000, verbose=0, callbacks=[Ready()])
    """

    def train(self, strength: float = 1.0, callbacks: Any = None) -> Any:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(16, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(0.01, clipnorm=strength)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(X_train, y_train, epochs=2, verbose=0, callbacks=callbacks)
        return model

    def result(self, trained: Any) -> bytes:
        data: bytes = trained.predict(X_test, verbose=0).tobytes()
        return data

    def evaluate(self, trained: Any) -> float:
        return float(trained.evaluate(X_test, y_test, verbose=0)[1])

    def fail(self, error: BaseException) -> None:
        self.train(callbacks=[Raising(error)])


class TestKeras(Conformance):
    subject = Keras()


class TestByRun(ByRun):
    subject = Keras()
