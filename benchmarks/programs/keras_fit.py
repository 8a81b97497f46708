"""A small network of Keras', each batch logged."""

import common

each_batch = {"log_every_n_steps": 1}
recorder = common.recorder("keras", each_batch, {"log_every_epoch": False, **each_batch})

import keras
import numpy as np

EPOCHS, BATCH = 4, 32
batches = round(1_600 * common.share / EPOCHS)
X = np.random.default_rng(0).normal(size=(batches * BATCH, 32)).astype("float32")
y = (X[:, 0] + X[:, 1] > 0).astype("int32")
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((32,)),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(2, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])


class ByHand(keras.callbacks.Callback):
    """Hands each batch's metrics on."""

    def on_train_batch_end(self, batch, logs=None):
        run.log({f"train/{key}": value for key, value in logs.items()})


common.begin()
run = common.start(recorder)
model.fit(X, y, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[ByHand()] if run is not None else [])
if run is not None:
    run.finish()
common.end()
