"""What is hooked of Keras, and what is used of it that is private."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

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


def _compiled() -> Any:
    model = _model()
    model.evaluate(np.ones((2, 2)), np.ones(2), verbose=0)
    return model._compile_metrics


def _masked() -> bool:
    found = keras.layers.Masking()(keras.ops.zeros((1, 2, 3)))
    return getattr(found, "_keras_mask", None) is not None


def _built() -> Any:
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([keras.Variable(0.0)])
    return optimizer


def _is_written(file: str, name: str) -> bool:
    return name in (Path(keras.__file__).parent / file).read_text()


def _path() -> bool:
    callback = keras.callbacks.ModelCheckpoint("{epoch}-{loss:.1f}.keras")
    return str(callback._get_file_path(1, None, {"loss": 0.5})) == "2-0.5.keras"


PRIVATE = {
    "_get_file_path": Private(_path),
    "_compile_metrics": Private(lambda: _model()._compile_metrics is not None),
    "_compile_loss": Private(lambda: _model()._compile_loss is not None),
    "_user_metrics": Private(lambda: _model()._compile_metrics._user_metrics == ["mae"]),
    "_flat_metrics": Private(lambda: _compiled()._flat_metrics[0].metrics[0].name == "mae"),
    "_user_weighted_metrics": Private(lambda: _model()._compile_metrics._user_weighted_metrics is None),
    "_keras_mask": Private(lambda: _masked()),
    "_flatten_layers": Private(
        lambda: [layer.name for layer in _model()._flatten_layers(include_self=False)] != []
    ),
    "_inbound_nodes": Private(lambda: _model()._inbound_nodes == []),
    "_trainable_variables": Private(lambda: len(_built()._trainable_variables) == 1),
    "_iterations": Private(lambda: int(_built()._iterations) == 0),
    "_learning_rate": Private(lambda: isinstance(type(_built()._learning_rate).value, property)),
    # JAX's alone: whether a model's state is at hand.
    "_jax_state_synced": Private(lambda: _is_written("src/backend/jax/trainer.py", "_jax_state_synced")),
    # torch's: how often a tensor was changed in place.
    "_version": Private(lambda: torch.zeros(1).add_(1)._version == 1),
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
