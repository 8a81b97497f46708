"""Loops of ``train_on_batch`` on the torch backend, and on JAX in a program of their own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import autolog
from autolog import MemorySink
from autolog.core.training import end_abandoned_loops
from autolog.sinks.memory import MemoryRun
from tests.keras.compiled import compiled_once
from tests.programs import read, run, values

digits = load_digits(return_X_y=True)
X, y = (digits[0] / 16).astype("float32"), digits[1]


def classifier(name: str = "classifier", **compiled: Any) -> Any:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((64,)), keras.layers.Dense(8, activation="relu", name="hidden")]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax", name="head")], name=name)
    loss = "sparse_categorical_crossentropy"
    model.compile(**{"optimizer": "adam", "loss": loss, "metrics": ["accuracy"], **compiled})
    return model


def batches(count: int = 8, size: int = 32) -> list[Any]:
    return [(X[size * n : size * (n + 1)], y[size * n : size * (n + 1)]) for n in range(count)]


def loop(model: Any, count: int = 8, **how: Any) -> list[Any]:
    return [model.train_on_batch(*batch, **how) for batch in batches(count)]


def gan(metrics: Any = ("accuracy",)) -> tuple[Any, Any, Any]:
    """A generator, a discriminator, and the combined model that trains the generator."""
    keras.utils.set_random_seed(0)
    dense = keras.layers.Dense
    generator = keras.Sequential(
        [keras.Input((8,)), dense(32, "relu"), dense(64, "sigmoid", name="pixels")], name="generator"
    )
    discriminator = keras.Sequential(
        [keras.Input((64,)), dense(32, "relu"), dense(1, "sigmoid", name="judge")], name="discriminator"
    )
    discriminator.compile(
        keras.optimizers.Adam(0.002), "binary_crossentropy", metrics=metrics and list(metrics)
    )
    noise = keras.Input((8,))
    combined = keras.Model(noise, discriminator(generator(noise)), name="combined")
    combined.compile(keras.optimizers.Adam(0.001), "binary_crossentropy")
    return generator, discriminator, combined


def train_gan(rounds: int = 6) -> tuple[Any, Any, list[Any], list[Any]]:
    generator, discriminator, combined = gan()
    rng = np.random.default_rng(0)
    told: tuple[list[Any], list[Any]] = ([], [])
    for n in range(rounds):
        noise = rng.normal(size=(32, 8)).astype("float32")
        images = np.concatenate([X[32 * n : 32 * n + 32], generator.predict(noise, verbose=0)])
        discriminator.trainable = True
        told[0].append(discriminator.train_on_batch(images, np.repeat([[1.0], [0.0]], 32, axis=0)))
        discriminator.trainable = False
        told[1].append(combined.train_on_batch(noise, np.ones((32, 1))))
    return discriminator, combined, *told


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, budget=1e9, log_every_n_steps=3):
        yield sink
    autolog.finish()


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


@pytest.mark.parametrize("return_dict", [False, True])
def test_a_loop_is_one_whole_run(recording: MemorySink, return_dict: bool) -> None:
    model = classifier()
    told = loop(model, return_dict=return_dict)
    assert only(recording).status == "running"
    autolog.finish()
    run = only(recording)
    assert run.status == "finished"
    pairs = [[one["loss"], one["accuracy"]] if return_dict else one for one in told]
    rows = np.array(pairs, dtype=float)  # Keras 3.5 returns arrays without a dimension
    assert run.values("train/loss") == pytest.approx(rows[:, 0])
    assert run.values("train/accuracy") == pytest.approx(rows[:, 1])
    assert [step for step, row in run.rows if "train/loss" in row] == list(range(1, 9))
    assert [step for step, row in run.rows if "vitals/lr" in row] == [1, 3, 6]
    assert [step for step, row in run.rows if "vitals/grad_norm" in row] == [3, 6]
    assert {"vitals/grad_norm/hidden", "vitals/grad_norm/head"} <= set(run.metrics)
    assert run.config["model"] == "Sequential"
    assert run.config["params"]["optimizer/learning_rate"] == 0.001
    assert run.config["params"]["batch_size"] == 32
    assert run.config["data/train"]["rows"] == 32
    assert run.config["model/train_on_batch_calls"] == 8
    assert run.config["model/parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert {artifact["type"] for artifact in run.artifacts} == {"model", "text"}


def test_the_gradient_norm_is_that_of_the_step(recording: MemorySink) -> None:
    model = classifier(optimizer=keras.optimizers.SGD(0.1, global_clipnorm=1e-3))
    loop(model, 3)
    squares = sum(float((v.value.grad**2).sum()) for v in model.trainable_variables)
    assert only(recording).metrics["vitals/grad_norm"] == pytest.approx(squares**0.5, rel=1e-4)


def test_results_are_bit_identical(sink: MemorySink) -> None:
    def program() -> tuple[Any, ...]:
        model = classifier()
        told = [loop(model), loop(model, return_dict=True)]
        discriminator, combined, *losses = train_gan()
        weights = [v.numpy().tobytes() for one in (model, discriminator, combined) for v in one.variables]
        return told, losses, weights, np.random.rand(), torch.rand(()).item()

    bare = program()
    assert program() == bare
    with autolog.enabled("keras", sink=sink, log_code=False, log_every_n_steps=1):
        assert program() == bare
    autolog.finish()
    assert len(sink.runs) == 2


def test_the_models_of_a_gan_share_one_run(recording: MemorySink) -> None:
    *_, d_told, g_told = train_gan()
    autolog.finish()
    run = only(recording)
    assert run.values("train/discriminator/loss") == pytest.approx([float(loss) for loss, _ in d_told])
    assert run.values("train/discriminator/accuracy") == pytest.approx([float(told) for _, told in d_told])
    assert run.values("train/combined/loss") == pytest.approx([float(np.ravel(told)[0]) for told in g_told])
    assert not {"train/loss", "vitals/lr", "vitals/grad_norm"} & set(run.metrics)
    assert (run.metrics["vitals/lr/discriminator"], run.metrics["vitals/lr/combined"]) == (0.002, 0.001)
    assert run.config["params/discriminator"]["optimizer/learning_rate"] == 0.002
    assert run.config["params/combined"]["optimizer/learning_rate"] == 0.001
    assert "vitals/grad_norm/discriminator/judge" in run.metrics
    assert "vitals/grad_norm/combined/generator/pixels" in run.metrics
    names = [artifact["name"] for artifact in run.artifacts if artifact["type"] == "model"]
    assert names == ["model-discriminator", "model-combined"]
    assert len({str(artifact["files"]) for artifact in run.artifacts}) == len(run.artifacts)
    assert run.config["model/discriminator/train_on_batch_calls"] == 6


def test_a_gan_whose_combined_model_comes_first_is_one_run_too(recording: MemorySink) -> None:
    _, discriminator, combined = gan(metrics=None)
    discriminator.trainable = False  # as it is written for Keras 2, where `compile` remembered
    combined.train_on_batch(np.zeros((4, 8), "float32"), np.ones((4, 1)))
    with pytest.warns(UserWarning, match="no trainable weights|any trainable weights"):
        discriminator.train_on_batch(X[:4], np.ones((4, 1)))
    assert {"train/combined/loss", "train/discriminator/loss"} <= set(only(recording).metrics)


def test_the_first_models_keys_stay_plain_where_another_could_not_be_expected(recording: MemorySink) -> None:
    first = classifier("first")
    loop(first, 1)
    second = keras.Sequential([first.layers[0], keras.layers.Dense(10, activation="softmax")], name="second")
    second.compile("sgd", "sparse_categorical_crossentropy")
    second.build((None, 64))
    loop(second, 1)
    loop(first, 1)
    run = only(recording)
    assert len(run.values("train/loss")) == 2
    assert len(run.values("train/second/loss")) == 1


def test_unrelated_models_that_alternate_have_a_run_each(recording: MemorySink) -> None:
    one, other = classifier("one"), classifier("other")
    frozen = keras.layers.Dense(8, trainable=False)
    on_frozen = [keras.Sequential([keras.Input((64,)), frozen, keras.layers.Dense(10)]) for _ in range(2)]
    for model in on_frozen:
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for batch in batches(3):
        for model in (one, other, *on_frozen):
            model.train_on_batch(*batch)
    assert len(recording.runs) == 4
    assert all(len(run.values("train/loss")) == 3 for run in recording.runs)


def test_a_loop_ends_when_nobody_holds_its_model(recording: MemorySink) -> None:
    model = classifier()
    loop(model, 2)
    gc.collect()
    end_abandoned_loops()
    assert only(recording).status == "running"
    expected = [variable.numpy() for variable in model.variables]
    del model
    gc.collect()
    for _ in range(50):  # our thread looks at it, too, every five seconds, and holds it while it does
        end_abandoned_loops()
        if only(recording).status == "finished":
            break
        time.sleep(0.1)
        gc.collect()
    run = only(recording)
    assert run.status == "finished"
    (kept,) = [artifact for artifact in run.artifacts if artifact["type"] == "model"]
    with np.load(kept["files"]["weights.npz"]) as weights:
        assert all(np.array_equal(weights[name], e) for name, e in zip(weights, expected, strict=True))
    assert "weights only" in run.config["autolog/notes"]["model"]


def test_that_a_model_which_is_gone_was_too_large_is_said(sink: MemorySink) -> None:
    with autolog.enabled("keras", sink=sink, log_code=False, artifact_limit=10):
        loop(classifier(), 2)
        gc.collect()
        autolog.finish()
    run = only(sink)
    assert not [artifact for artifact in run.artifacts if artifact["type"] == "model"]
    assert "Settings.artifact_limit (10 bytes)" in run.config["autolog/notes"]["model"]


def test_a_fit_ends_the_loop_and_has_a_run_of_its_own(recording: MemorySink) -> None:
    model = classifier()
    loop(model, 2)
    model.fit(X[:64], y[:64], epochs=1, verbose=0)
    loop(model, 3)
    autolog.finish()
    first, second, third = recording.runs
    assert [run.status for run in recording.runs] == ["finished"] * 3
    assert len(first.values("train/loss")) == 2
    assert second.config["epochs"] == 1
    assert [step for step, row in third.rows if "train/loss" in row] == [5, 6, 7]


def test_an_evaluation_goes_on_in_the_loops_run(recording: MemorySink) -> None:
    model = classifier()
    loop(model, 2)
    _, accuracy = model.evaluate(X[:100], y[:100], verbose=0)
    model.test_on_batch(X[:100], y[:100])
    loop(model, 1)
    run = only(recording)
    assert run.metrics["test/accuracy"] == pytest.approx(accuracy)
    assert len(run.values("train/loss")) == 3


def test_an_exception_in_a_call_fails_the_run(recording: MemorySink) -> None:
    model = classifier()
    loop(model, 2)
    with pytest.raises(ValueError, match=r".+"):
        model.train_on_batch(X[:4, :3], y[:4])
    run = only(recording)
    assert run.status == "failed"
    assert "ValueError" in run.alerts[0]["title"]
    loop(model, 1)
    assert len(recording.runs) == 2


def test_a_run_of_the_users_is_written_in_place(recording: MemorySink) -> None:
    models = classifier("one"), classifier("other")
    with autolog.run("his") as his:
        for model in models:
            loop(model, 2)
        assert his.status == "running"
        his.log({"mine": 1})
        autolog.finish()
        assert his.status == "running"
    first, second = recording.runs
    assert (first.name, first.status, second.parent) == ("his", "finished", first.id)
    assert first.metrics["mine"] == 1
    for one in (first, second):
        assert len(one.values("train/loss")) == 2
        assert [artifact["type"] for artifact in one.artifacts].count("model") == 1


def test_inside_of_a_fit_it_belongs_to_the_fit(recording: MemorySink) -> None:
    class Inner(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            loop(other, 2)

    other = classifier("other")
    classifier().fit(X[:64], y[:64], epochs=1, verbose=0, callbacks=[Inner()])
    assert only(recording).config["model/name"] == "classifier"


def test_a_step_of_the_users_own_is_recorded_by_its_own_names(recording: MemorySink) -> None:
    class Two(keras.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            return {"g_loss": 2.0, "d_loss": 1.0}

    inputs = keras.Input((64,))
    model = Two(inputs, keras.layers.Dense(1)(inputs))
    model.compile()
    assert model.train_on_batch(X[:4], y[:4]) == [1.0, 2.0]
    model.train_on_batch(X[:4], y[:4])
    run = only(recording)
    assert run.values("train/g_loss") == [2.0, 2.0]
    assert run.values("train/d_loss") == [1.0, 1.0]
    assert [step for step, row in run.rows if "train/g_loss" in row] == [1, 2]


def test_loops_in_threads_are_whole_and_apart(recording: MemorySink) -> None:
    models = [classifier(f"model-{n}", optimizer=keras.optimizers.SGD(10.0**-n)) for n in range(3)]
    returned: dict[str, list[float]] = {}
    hand_over = threading.Barrier(len(models))

    def train(model: Any) -> None:
        flatten = type(model)._flatten_metrics_in_order

        def all_at_once(self: Any, logs: Any) -> Any:  # each thread's call is as far as the others'
            result = flatten(self, logs)
            hand_over.wait(30)
            return result

        model._flatten_metrics_in_order = all_at_once.__get__(model)
        returned[model.name] = [float(result[0]) for result in loop(model, 5)]

    threads = [threading.Thread(target=train, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    autolog.finish()
    recorded = {run.config["model/name"]: run.values("train/loss") for run in recording.runs}
    assert recorded == {name: pytest.approx(losses) for name, losses in returned.items()}
    assert [run.status for run in recording.runs] == ["finished"] * 3


def test_a_loss_that_is_no_number_is_one_alert(recording: MemorySink) -> None:
    model = classifier(optimizer=keras.optimizers.SGD(1e30))
    loop(model, 4)
    assert [alert["title"].startswith("The loss is") for alert in only(recording).alerts] == [True]


@pytest.mark.long
def test_on_jax_a_gan_is_recorded_and_identical(tmp_path: Any) -> None:
    pytest.importorskip("jax", reason="jax is not installed")
    run(
        tmp_path,
        """
        import keras, numpy as np
        def train():
            keras.utils.set_random_seed(0)
            dense = keras.layers.Dense
            g = keras.Sequential([keras.Input((8,)), dense(64, "sigmoid")], name="g")
            d = keras.Sequential([keras.Input((64,)), dense(1, "sigmoid")], name="d")
            d.compile("adam", "binary_crossentropy", metrics=["accuracy"])
            noise = keras.Input((8,))
            gan = keras.Model(noise, d(g(noise)), name="gan")
            gan.compile("adam", "binary_crossentropy")
            told = []
            for n in range(4):
                z = np.random.rand(16, 8).astype("float32")
                told += d.train_on_batch(g.predict(z, verbose=0), np.zeros((16, 1)))
                told.append(gan.train_on_batch(z, np.ones((16, 1)), return_dict=True)["loss"])
            return told, [np.asarray(v) for v in gan.variables], gan, d
        bare = train()
        autolog.enable("keras", log_code=False, log_every_n_steps=2)
        told, weights, *kept = train()
        assert told == bare[0]
        assert all(np.array_equal(a, b) for a, b in zip(weights, bare[1]))
        """,
        KERAS_BACKEND="jax",
        **compiled_once(tmp_path / "compiled"),
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert len(values(kept, "train/d/accuracy")) == len(values(kept, "train/gan/loss")) == 4
    assert "jax" in kept["config"]["autolog/notes"]["vitals/grad_norm"]
    assert sorted(a["name"] for a in kept["artifacts"]["output"] if a["type"] == "model") == [
        "model-d",
        "model-gan",
    ]
    assert "autolog/faults" not in kept["config"]
