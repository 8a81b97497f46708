"""Loops of one's own, by Keras' optimizers."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.core import training
from autolog.sinks.memory import MemoryRun

rng = np.random.default_rng(0)
X = torch.tensor(rng.random((40, 6)), dtype=torch.float32)
y = torch.tensor(rng.integers(0, 3, 40))


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9, log_every_n_steps=1))
    yield sink
    autolog.finish()
    autolog.disable()
    settings_module.use(None)


def only(sink: MemorySink) -> MemoryRun:
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


def network() -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, name="body"), keras.layers.Dense(3, name="head")]
    )


def series(found: MemoryRun, key: str) -> list[tuple[int, Any]]:
    return [(step, row[key]) for step, row in found.rows if key in row]


def train(model: Any, optimizer: Any, steps: int = 3) -> list[dict[str, float]]:
    """Returns the norms of what was applied."""
    norms = []
    for _ in range(steps):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(X), y).backward()
        gradients = [variable.value.grad for variable in model.trainable_variables]
        parts = {
            name: math.sqrt(sum(float(g.square().sum()) for g in gradients[place : place + 2]))
            for name, place in (("body", 0), ("head", 2))
        }
        norms.append(
            {"vitals/grad_norm": math.hypot(*parts.values())}
            | {f"vitals/grad_norm/{k}": v for k, v in parts.items()}
        )
        with torch.no_grad():
            optimizer.apply(gradients, model.trainable_variables)
    return norms


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("says_its_steps", [True, False])
def test_a_loop_is_a_whole_run(recording: MemorySink, given: bool, says_its_steps: bool) -> None:
    model = network()
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5), clipnorm=1e-3)
    expected = []
    with autolog.keras.watch(model, optimizer if given else None) as watch:
        assert autolog.current_run() is watch.run
        for step in range(3):
            expected += train(model, optimizer, 1)
            if says_its_steps:
                watch.step()
            watch.log({"train/loss": float(step)})
        assert watch.steps == 3
        told = watch.evaluate(y, model(X), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = only(recording)
    assert found.status == "finished"
    assert series(found, "train/loss") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    for key in ("vitals/grad_norm", "vitals/grad_norm/body", "vitals/grad_norm/head"):
        assert series(found, key) == [(n + 1, pytest.approx(expected[n][key], rel=1e-5)) for n in range(3)]
    assert series(found, "vitals/lr") == [(n + 1, pytest.approx(0.1 * 0.5**n)) for n in range(3)]
    right = (model(X).argmax(1) == y).double().mean()
    assert found.metrics["val/accuracy"] == told["accuracy"] == pytest.approx(float(right))
    assert (found.config["optimizer"], found.config["framework/backend"]) == ("Adam", "torch")
    assert found.config["params"]["optimizer/clipnorm"] == 1e-3
    assert [one["type"] for one in found.artifacts].count("model") == 1
    assert "vitals/grad_norm" not in found.config.get("autolog/notes", {})


def test_steps_that_nobody_sees_are_said(recording: MemorySink) -> None:
    model = network()
    optimizer = keras.optimizers.SGD(0.1)
    with autolog.keras.watch(model, optimizer, every=2) as watch:
        for step in range(1, 5):
            gradients = [torch.full_like(variable.value, step) for variable in model.trainable_variables]
            watch.step(gradients)
            watch.log({"train/loss": float(step)})
    found = only(recording)
    assert series(found, "train/loss") == [(n, float(n)) for n in (1, 2, 3, 4)]
    size = math.sqrt(model.count_params())
    assert series(found, "vitals/grad_norm") == [(n, pytest.approx(n * size)) for n in (1, 2, 4)]
    assert series(found, "vitals/lr") == [(n, 0.1) for n in (1, 2, 4)]


def test_it_is_bit_identical_and_leaves_nothing(recording: MemorySink) -> None:
    def program(watched: bool) -> list[Any]:
        model = network()
        optimizer = keras.optimizers.Adam(0.01)
        watch = autolog.keras.watch(model, optimizer) if watched else None
        train(model, optimizer)
        if watch is not None:
            watch.unwatch()
            train(model, keras.optimizers.SGD(0.0), 1)  # is seen no more
            assert watch.steps == 3
        return [variable.numpy().tolist() for variable in model.variables] + torch.rand(2).tolist()

    assert program(True) == program(False)
    assert len(only(recording).values("vitals/grad_norm")) == 3


def test_what_trains_something_else_is_no_step(recording: MemorySink) -> None:
    model, other = network(), network()
    with autolog.keras.watch(model) as watch:
        train(other, keras.optimizers.SGD(0.1))
        assert watch.steps == 0
    assert "Call watch.step()" in only(recording).config["autolog/notes"]["vitals/grad_norm"]


def test_it_ends_with_its_model_or_its_error(recording: MemorySink) -> None:
    model = network()
    autolog.keras.watch(model)
    del model
    gc.collect()
    training.end_abandoned_loops()
    assert only(recording).status == "finished"
    with pytest.raises(ZeroDivisionError), autolog.keras.watch(network()):
        raise ZeroDivisionError
    assert recording.runs[-1].status == "failed"


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ((3,), TypeError, "the model is int; expected a keras.Model"),
        ((network(), "adam"), TypeError, "the optimizer is str; expected one of keras.optimizers"),
        ((network(), None, {"every": -1}), ValueError, "every=-1; expected a number"),
        ((network(), None, {"step": 1.5}), TypeError, "step=1.5; expected a whole number"),
    ],
)
def test_wrong_arguments_are_told_in_words(
    recording: MemorySink, given: tuple[Any, ...], error: type[Exception], said: str
) -> None:
    *positional, named = given if isinstance(given[-1], dict) else (*given, {})
    with pytest.raises(error, match=said):
        autolog.keras.watch(*positional, **named)
    assert recording.runs == []


def test_what_cannot_be_evaluated_is_said_in_words(recording: MemorySink) -> None:
    with autolog.keras.watch(network()) as watch:
        with pytest.raises(ValueError, match="Give loss="):
            watch.evaluate(y, X)
        with pytest.raises(ValueError, match="evaluate: "):
            watch.evaluate(y[:5], X, loss="mse")
