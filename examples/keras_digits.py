"""Handwritten digits by a small convolutional network.

python examples/keras_digits.py && trackio show --project keras-digits
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import autolog

autolog.enable(project="keras-digits")
keras.utils.set_random_seed(0)

digits = load_digits()
images = (digits.images / 16).astype("float32")[..., None]
X, X_test, y, y_test = train_test_split(images, digits.target, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)

model = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(16, 3, activation="relu", name="edges"),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax", name="digit"),
    ]
)
model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy", metrics=["accuracy"])
stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
model.fit(X_train, y_train, epochs=15, validation_data=(X_val, y_val), callbacks=[stop], verbose=0)

loss, accuracy = model.evaluate(X_test, y_test, verbose=0)  # goes on in the run, as test/*
print(f"test accuracy {accuracy:.3f}")
print("Look at it:  trackio show --project keras-digits")

# What it shows: curves of loss and accuracy over the batches, norms of the gradients, what EarlyStopping has
# chosen, the evaluation of the validation images (its worst ones as pictures), and that of the test images.
