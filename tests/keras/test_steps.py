"""One axis for all rows of a training; the rate and the gradients of the very step that they stand at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

X = np.random.default_rng(0).random((40, 6)).astype("float32")
y = X.sum(axis=1)


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, budget=1e9, log_every_n_steps=1):
        yield sink
    autolog.finish()


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


def series(run: MemoryRun, key: str) -> list[tuple[int, float]]:
    return [(step, row[key]) for step, row in run.rows if key in row]


def line(**compiled: Any) -> Any:
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(**{"optimizer": keras.optimizers.SGD(0.01), "loss": "mse", **compiled})
    return model


class Own(keras.Sequential):  # type: ignore[misc]
    """With an optimizer of its own, as the GANs on keras.io have it; Keras' default one does nothing."""

    def compile(self, own: Any, **more: Any) -> None:
        super().compile(**more)
        self.own = own

    def train_step(self, data: Any) -> Any:
        self.zero_grad()
        loss = ((self(data[0])[:, 0] - data[1]) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            self.own.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        return {"own_loss": loss.item()}


def own() -> Any:
    model = Own([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(3e-4))
    return model


def overflowing() -> Any:
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(4, "relu", dtype="mixed_float16"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), 2.0**20), "mse")
    return model


@pytest.mark.parametrize(
    "make",
    [
        line,
        own,
        lambda: line(optimizer=keras.optimizers.SGD(0.01, gradient_accumulation_steps=5)),
        overflowing,
    ],
)
def test_every_batch_is_a_step(recording: MemorySink, make: Any) -> None:
    model = make()
    model.fit(X, 3 * y, batch_size=8, epochs=3, verbose=0)
    run = only(recording)
    assert [step for step, _ in series(run, "vitals/epoch_seconds")] == [5, 10, 15]
    loss = "train/own_loss" if isinstance(model, Own) else "train/loss"
    steps = [step for step, _ in series(run, loss)]
    assert steps == sorted(steps)
    assert set(steps) == set(range(1, 16))
    assert [step for step, _ in series(run, "vitals/lr")] == list(range(1, 16))


def test_a_step_that_mixed_precision_skips_has_no_gradient(recording: MemorySink) -> None:
    model = overflowing()
    model.fit(X, 3 * y, batch_size=8, epochs=3, verbose=0)
    made = int(model.optimizer.inner_optimizer.iterations)
    run = only(recording)
    assert 0 < made < 15
    assert len(series(run, "vitals/grad_norm")) == made
    assert run.alerts == []


def test_the_optimizer_is_the_one_that_trains(recording: MemorySink) -> None:
    own().fit(X, y, batch_size=8, epochs=1, verbose=0)
    run = only(recording)
    assert run.config["optimizer"] == "SGD"
    assert run.config["params/learning_rate"] == 3e-4
    assert {rate for _, rate in series(run, "vitals/lr")} == {3e-4}


def test_accumulated_gradients_are_whole(recording: MemorySink) -> None:
    """Of five batches of eight it is the gradient of all forty rows."""
    model = line(optimizer=keras.optimizers.SGD(0.0, gradient_accumulation_steps=5))
    model.fit(X, y, batch_size=8, epochs=1, verbose=0)
    model.zero_grad()
    ((model(X)[:, 0] - torch.tensor(y)) ** 2).mean().backward()
    whole = sum(float((v.value.grad**2).sum()) for v in model.trainable_variables) ** 0.5
    assert series(only(recording), "vitals/grad_norm") == [(5, pytest.approx(whole, rel=1e-5))]


# Rates ------------------------------------------------------------------------------------------------


def test_the_rate_is_that_of_the_step(recording: MemorySink) -> None:
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=10.0, factor=0.5)
    history = line(optimizer=keras.optimizers.SGD(0.1)).fit(
        X, y * 0, batch_size=20, epochs=4, verbose=0, callbacks=[plateau]
    )
    rates = [float(np.float32(rate)) for rate in history.history["learning_rate"]]
    expected = [(step, pytest.approx(rates[(step - 1) // 2])) for step in range(1, 9)]
    assert series(only(recording), "vitals/lr") == expected
    assert len(set(rates)) > 1


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("length", ["known", "unknown"])
def test_a_schedules_rates(sink: MemorySink, every: int, length: str) -> None:
    used = []
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 8)
    model = line(optimizer=keras.optimizers.Adam(schedule))
    seen = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs=None: used.append(float(model.optimizer.learning_rate))
    )
    batches = ((X[n : n + 10], y[n : n + 10]) for n in range(0, 40, 10))
    given = (X, y) if length == "known" else (batches,)
    with autolog.enabled("keras", sink=sink, log_code=False, log_every_n_steps=every):
        model.fit(*given, batch_size=10, epochs=2 if length == "known" else 1, verbose=0, callbacks=[seen])
    autolog.finish()
    due = [step for step in range(1, len(used) + 1) if step % every == 0 or step % 4 == 0]
    assert series(only(sink), "vitals/lr") == [
        (step, pytest.approx(used[step - 1], abs=1e-7)) for step in due
    ]


def test_a_callback_that_sets_the_rate_of_each_batch(recording: MemorySink) -> None:
    used = []  # (Keras 3.5 loses a generator's first batch.)

    class Falling(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            used.append(float(self.model.optimizer.learning_rate))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2

    line(optimizer=keras.optimizers.SGD(0.08)).fit(
        ((X[n : n + 10], y[n : n + 10]) for n in range(0, 40, 10)), epochs=1, verbose=0, callbacks=[Falling()]
    )
    assert [rate for _, rate in series(only(recording), "vitals/lr")] == pytest.approx(used)
    assert len(set(used)) > 2


def test_a_function_of_the_users_is_not_asked_once_more(sink: MemorySink) -> None:
    def calls() -> int:
        calls = 0

        def rate() -> float:
            nonlocal calls
            calls += 1
            return 0.01

        line(optimizer=keras.optimizers.SGD(rate)).fit(X, y, verbose=0)
        return calls

    bare = calls()
    with autolog.enabled("keras", sink=sink, log_code=False, log_every_n_steps=1):
        assert calls() == bare
    autolog.finish()
    run = only(sink)
    assert "vitals/lr" not in run.metrics
    assert "function of yours" in run.config["autolog/notes"]["vitals/lr"]


# Several optimizers -----------------------------------------------------------------------------------


class GAN(keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.g = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6)], name="g")
        self.d = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)], name="d")
        self.built = True
        self.d_optimizer, self.g_optimizer = keras.optimizers.SGD(0.1), keras.optimizers.Adam(0.2)
        self.norms: list[tuple[float, float]] = []

    def train_step(self, data: Any) -> Any:
        x = data[0] if isinstance(data, tuple) else data
        z = torch.ones(len(x), 3)
        d_loss = ((self.d(self.g(z))) ** 2).mean() + ((self.d(x) - 1) ** 2).mean()
        d = self.step(d_loss, self.d, self.d_optimizer)
        g_loss = ((self.d(self.g(z)) - 1) ** 2).mean()
        self.norms.append((d, self.step(g_loss, self.g, self.g_optimizer)))
        return {"d_loss": d_loss.item(), "g_loss": g_loss.item()}

    def step(self, loss: Any, part: Any, optimizer: Any) -> float:
        self.zero_grad()
        loss.backward()
        gradients = [v.value.grad for v in part.trainable_weights]
        with torch.no_grad():
            optimizer.apply(gradients, part.trainable_weights)
        return float(sum((gradient**2).sum() for gradient in gradients) ** 0.5)


def test_each_optimizer_has_its_own_norms_and_rate(recording: MemorySink) -> None:
    keras.utils.set_random_seed(1)
    model = GAN()
    model.compile()
    model.fit(X, batch_size=8, verbose=0)
    run = only(recording)
    for place, name in enumerate(("d", "g")):
        expected = [(step, pytest.approx(norms[place])) for step, norms in enumerate(model.norms, 1)]
        assert series(run, f"vitals/grad_norm/{name}_optimizer") == expected
        layer = getattr(model, name).layers[0].name
        assert series(run, f"vitals/grad_norm/{name}/{layer}") == expected
    assert "vitals/grad_norm" not in run.metrics, "of two losses there is none"
    assert {rate for _, rate in series(run, "vitals/lr/d_optimizer")} == {0.1}
    assert {rate for _, rate in series(run, "vitals/lr/g_optimizer")} == {0.2}
    assert run.config["optimizer"] == "SGD, Adam"
    assert run.config["params"]["optimizer/g_optimizer/learning_rate"] == 0.2


def test_what_no_optimizer_of_keras_applies_is_not_recorded(recording: MemorySink) -> None:
    class ByHand(keras.Sequential):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            self.zero_grad()
            loss = ((self(data[0])[:, 0] - data[1]) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                for variable in self.trainable_weights:
                    variable.value.sub_(0.1 * variable.value.grad)
            return {"loss": loss.item()}

    model = ByHand([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile()
    model.fit(X, y, batch_size=8, verbose=0)
    run = only(recording)
    assert [step for step, _ in series(run, "vitals/epoch_seconds")] == [5]
    assert "vitals/grad_norm" not in run.metrics
    assert "no optimizer" in run.config["autolog/notes"]["vitals/grad_norm"]


def test_models_of_one_loop_share_an_axis(recording: MemorySink) -> None:
    d = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)], name="d")
    d.compile("sgd", "mse")
    z = keras.Input((3,))
    gan = keras.Model(z, d(keras.layers.Dense(6)(z)), name="gan")
    gan.compile("sgd", "mse")
    for _ in range(2):
        for _ in range(3):
            d.train_on_batch(X, y)
        gan.train_on_batch(X[:, :3], y)
    steps = [step for step, row in recording.runs[0].rows if any(key.endswith("loss") for key in row)]
    assert steps == [1, 2, 3, 3, 4, 5, 6, 6]
