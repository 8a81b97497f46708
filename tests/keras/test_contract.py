"""What is hooked of Keras, and what is used of it that is private."""

from __future__ import annotations

import functools
from typing import Any

import keras
import pytest

from autolog.keras import HOOKS
from tests.contract import Private, check_hooks, check_table, local

# The backends that are not in use: their modules import JAX and TensorFlow.
SOURCES = {
    f"keras.src.backend.{backend}.trainer": f"src/backend/{backend}/trainer.py"
    for backend in ("jax", "tensorflow", "torch")
    if backend != keras.backend.backend()
}


@functools.cache
def _model() -> Any:
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    return model


def _path() -> bool:
    callback = keras.callbacks.ModelCheckpoint("{epoch}-{loss:.1f}.keras")
    return str(callback._get_file_path(1, None, {"loss": 0.5})) == "2-0.5.keras"


PRIVATE = {
    "_get_file_path": Private(_path),
    "_compile_metrics": Private(lambda: _model()._compile_metrics is not None),
    "_user_metrics": Private(lambda: _model()._compile_metrics._user_metrics == ["mae"]),
    "_flatten_layers": Private(
        lambda: [layer.name for layer in _model()._flatten_layers(include_self=False)] != []
    ),
    "_inbound_nodes": Private(lambda: _model()._inbound_nodes == []),
    # Variables of the `fit` that a callback of ours finds above it.
    "fit: self": Private(lambda: local(keras.Model.fit, "self")),
    "fit: callbacks": Private(lambda: local(keras.Model.fit, "callbacks")),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS, sources=SOURCES)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("keras", PRIVATE)
