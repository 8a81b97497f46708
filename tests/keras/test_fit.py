"""Keras on the torch backend, and on JAX in programs of their own."""

from __future__ import annotations

import base64
import builtins
import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.keras import TrackioCallback
from autolog.keras.recorder import Recorder
from autolog.sinks.memory import MemoryRun

digits = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (digits[0] / 16).astype("float32"), digits[1], random_state=0, train_size=256, test_size=128
)


def network(outputs: int = 10, activation: str | None = "softmax", inputs: int = 64) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(8, activation="relu", name="hidden"),
            keras.layers.Dense(outputs, activation=activation, name="head"),
        ]
    )


def classifier(**compiled: Any) -> Any:
    model = network()
    loss = "sparse_categorical_crossentropy"
    model.compile(**{"optimizer": "adam", "loss": loss, "metrics": ["accuracy"], **compiled})
    return model


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, budget=1e9, log_every_n_steps=3):
        yield sink
    autolog.finish()


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


def test_a_fit_is_a_whole_run(recording: MemorySink) -> None:
    history = (
        classifier().fit(X_train, y_train, epochs=3, validation_data=(X_test, y_test), verbose=0).history
    )
    run = only(recording)
    assert run.status == "finished"
    assert run.config["model"] == "Sequential"
    assert run.config["params"]["optimizer/learning_rate"] == 0.001
    assert (run.config["params/epochs"], run.config["params/batch_size"]) == (3, 32)
    assert run.config["model/parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert run.config["data/train"]["rows"] == 256
    assert run.config["data/val"]["rows"] == 128
    epochs = [(step, row) for step, row in run.rows if "vitals/epoch_seconds" in row]
    assert [step for step, _ in epochs] == [8, 16, 24]
    for key in ("loss", "accuracy"):
        assert [row[f"train/{key}"] for _, row in epochs] == pytest.approx(history[key])
        assert run.values(f"val/{key}") == pytest.approx(history[f"val_{key}"])
    assert all(row["vitals/lr"] == 0.001 and row["vitals/epoch_seconds"] > 0 for _, row in epochs)
    assert [
        step for step, row in run.rows if "train/loss" in row and "vitals/epoch_seconds" not in row
    ] == list(range(3, 25, 3))
    assert {"val/confusion_matrix", "val/roc", "val/precision_recall"} <= set(run.charts)
    assert {artifact["type"] for artifact in run.artifacts} == {"model", "text"}


def test_the_validations_predictions_are_those_of_the_model(recording: MemorySink) -> None:
    model = classifier()
    model.fit(X_train, y_train, epochs=2, validation_data=(X_test, y_test), verbose=0)
    predicted = model.predict(X_test, verbose=0)
    run = only(recording)
    rows = run.tables["val/confusion_matrix_counts"]
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y_test, predicted.argmax(axis=1)), 1)
    assert [[row[f"predicted {n}"] for n in range(10)] for row in rows] == matrix.tolist()
    worst = run.tables["val/best_and_worst"][0]
    assert worst["probability_of_true"] == pytest.approx(predicted[np.arange(128), y_test].min(), rel=1e-4)


def test_gradient_norms_are_those_before_clipping(recording: MemorySink) -> None:
    model = classifier(optimizer=keras.optimizers.SGD(0.0, global_clipnorm=1e-3))
    model.fit(X_train, y_train, epochs=1, batch_size=256, verbose=0)
    run = only(recording)
    model.zero_grad()
    loss = keras.losses.sparse_categorical_crossentropy(y_train, model(X_train)).mean()
    loss.backward()
    squares = {
        layer.name: sum(float((v.value.grad**2).sum()) for v in layer.trainable_variables)
        for layer in model.layers
    }
    assert run.metrics["vitals/grad_norm"] == pytest.approx(math.sqrt(sum(squares.values())), rel=1e-4)
    for name, square in squares.items():
        assert run.metrics[f"vitals/grad_norm/{name}"] == pytest.approx(math.sqrt(square), rel=1e-4)


def test_gradients_under_mixed_precision_are_unscaled(recording: MemorySink) -> None:
    before = keras.config.dtype_policy()
    found = []
    try:
        for policy in ("float32", "mixed_float16"):
            keras.config.set_dtype_policy(policy)
            model = classifier(optimizer="sgd")
            model.fit(X_train, y_train, epochs=1, batch_size=256, verbose=0)
            found.append(recording.runs[-1].metrics["vitals/grad_norm"])
    finally:
        keras.config.set_dtype_policy(before)
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_arguments_by_position_read_the_same(recording: MemorySink) -> None:
    classifier().fit(X_train, y_train, 64, 2, 0, [])
    run = only(recording)
    assert (run.config["params/batch_size"], run.config["params/epochs"]) == (64, 2)
    assert [step for step, row in run.rows if "vitals/epoch_seconds" in row] == [4, 8]


class Counting(keras.callbacks.Callback):  # type: ignore[misc]
    epochs = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1


@pytest.mark.parametrize("how", ["none", "single", "list", "tuple", "CallbackList"])
def test_callbacks_of_every_kind_work_and_stay_the_users(recording: MemorySink, how: str) -> None:
    mine = Counting()
    model = classifier()
    given: Any = {
        "none": None,
        "single": mine,
        "list": [mine],
        "tuple": (mine,),
        "CallbackList": keras.callbacks.CallbackList([mine], add_history=True, model=model),
    }[how]
    for _ in range(2):
        model.fit(X_train, y_train, epochs=1, verbose=0, callbacks=given)
    assert mine.epochs == (0 if how == "none" else 2)
    if how in ("list", "tuple"):
        assert list(given) == [mine]
    assert only(recording).config["epochs"] == 2


def test_evaluate_goes_on_in_the_run_and_alone_opens_one(recording: MemorySink) -> None:
    model = classifier()
    model.fit(X_train, y_train, epochs=1, verbose=0)
    loss, accuracy = model.evaluate(X_test, y_test, verbose=0)
    model.evaluate(X_train, y_train, verbose=0)
    run = only(recording)
    assert run.metrics["test/loss"] == pytest.approx(loss)
    assert run.metrics["test/accuracy"] == pytest.approx(accuracy)
    assert "test/confusion_matrix" in run.charts
    assert "test/set-2/accuracy" in run.metrics
    classifier().evaluate(X_test, y_test, verbose=0)
    assert len(recording.runs) == 2
    assert "test/accuracy" in recording.runs[1].metrics
    assert recording.runs[1].status == "finished"


def test_an_evaluation_has_the_name_that_the_user_gives_it(recording: MemorySink) -> None:
    model = classifier()
    model.fit(X_train, y_train, epochs=1, verbose=0)
    with autolog.evaluation("hard", main=True):
        loss, _ = model.evaluate(X_test, y_test, verbose=0)
    model.evaluate(X_test[:64], y_test[:64], verbose=0)
    run = only(recording)
    assert run.metrics["hard/loss"] == pytest.approx(loss)
    assert "hard/confusion_matrix" in run.charts
    assert "test/accuracy" in run.metrics
    assert not [key for key in run.metrics if "set-2" in key]
    assert run.config["evaluation/main"] == "hard"


@pytest.mark.parametrize("labels", ["one-hot", "logits", "binary", "binary logits", "validation_split"])
def test_classifiers_of_every_kind(recording: MemorySink, labels: str) -> None:
    if labels.startswith("binary"):
        data, target = load_breast_cancer(return_X_y=True)
        data = (data - data.mean(axis=0)) / data.std(axis=0)
        logits = labels == "binary logits"
        model = network(1, None if logits else "sigmoid", 30)
        loss: Any = keras.losses.BinaryCrossentropy(from_logits=logits)
        model.compile("adam", loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0 if logits else 0.5)])
        model.fit(data[:400], target[:400], epochs=2, validation_data=(data[400:], target[400:]), verbose=0)
        found = model.predict(data[400:], verbose=0)[:, 0]
        expected = ((found > (0 if logits else 0.5)) == target[400:]).mean()
    else:
        logits = labels == "logits"
        model = network(10, None if logits else "softmax")
        sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
        model.compile("adam", "categorical_crossentropy" if labels == "one-hot" else sparse)
        train, test = y_train, y_test
        if labels == "one-hot":
            train, test = keras.utils.to_categorical(train), keras.utils.to_categorical(test)
        if labels == "validation_split":
            model.fit(X_train, train, epochs=2, validation_split=0.25, verbose=0)
            held_out, truth = X_train[192:], y_train[192:]
        else:
            model.fit(X_train, train, epochs=2, validation_data=(X_test, test), verbose=0)
            held_out, truth = X_test, y_test
        expected = (model.predict(held_out, verbose=0).argmax(axis=1) == truth).mean()
    name = "binary_accuracy" if labels.startswith("binary") else "accuracy"
    metrics = only(recording).metrics
    assert metrics[f"val/{name}"] == pytest.approx(expected)
    assert not {"val/log_loss", f"val/{'' if 'binary' in name else 'binary_'}accuracy"} & set(metrics)


def test_another_number_of_the_same_name_stands_beside_ours(recording: MemorySink) -> None:
    data, target = load_breast_cancer(return_X_y=True)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    model = network(1, "sigmoid", 30)
    model.compile("adam", "binary_crossentropy", metrics=[keras.metrics.BinaryAccuracy(threshold=0.9)])
    model.fit(data[:400], target[:400], epochs=1, validation_data=(data[400:], target[400:]), verbose=0)
    found = model.predict(data[400:], verbose=0)[:, 0]
    metrics = only(recording).metrics
    assert metrics["val/accuracy"] == pytest.approx(((found > 0.5) == target[400:]).mean())
    assert metrics["val/binary_accuracy"] == pytest.approx(((found > 0.9) == target[400:]).mean())


def test_a_regression_has_residuals(recording: MemorySink) -> None:
    data, target = load_diabetes(return_X_y=True)
    model = network(1, None, 10)
    model.compile("adam", "mse")
    model.fit(data, target, epochs=1, validation_data=(data, target), verbose=0)
    run = only(recording)
    assert "val/mse" not in run.metrics, "it is val/loss"
    assert run.metrics["val/rmse"] ** 2 == pytest.approx(run.metrics["val/loss"], rel=1e-4)
    assert "val/residuals" in run.charts


class Stepping(keras.Model):  # type: ignore[misc]
    """A model with a step of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(10, activation="softmax")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> Any:
        x, y = data[:2]
        self.zero_grad()
        loss = keras.losses.sparse_categorical_crossentropy(y, self(x)).mean()
        loss.backward()
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
        return {"my_loss": loss}


def test_a_step_of_the_users_own_is_recorded(recording: MemorySink) -> None:
    model = Stepping()
    model.compile("adam")
    model.fit(X_train, y_train, epochs=2, verbose=0)
    run = only(recording)
    assert len([row for _, row in run.rows if "vitals/epoch_seconds" in row and "train/my_loss" in row]) == 2
    assert run.values("vitals/grad_norm")


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    taken = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        type(self).taken += 1
        part = slice(64 * index, 64 * index + 64)
        return X_train[part], y_train[part]


def test_no_batch_of_a_loader_is_consumed(sink: MemorySink) -> None:
    def program() -> tuple[int, int]:
        Batches.taken = 0
        drawn = []

        def generator() -> Iterator[Any]:
            for n in range(4):
                drawn.append(n)
                yield X_train[64 * n : 64 * n + 64], y_train[64 * n : 64 * n + 64]

        classifier().fit(Batches(), epochs=2, verbose=0)
        classifier().fit(generator(), steps_per_epoch=4, epochs=1, verbose=0)
        return Batches.taken, len(drawn)

    bare = program()
    with autolog.enabled("keras", sink=sink, log_code=False):
        assert program() == bare
    assert [run.config["data/train"]["kind"] for run in sink.runs] == ["Batches", "generator"]


def test_a_shuffled_loader_of_torchs_gives_the_same_batches(sink: MemorySink) -> None:
    class Rows(torch.utils.data.TensorDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            drawn.append(int(index))
            return super().__getitem__(index)

    def program() -> Any:
        drawn.clear()
        model = classifier()
        torch.manual_seed(0)
        rows = Rows(torch.tensor(X_train), torch.tensor(y_train))
        loader = torch.utils.data.DataLoader(rows, batch_size=64, shuffle=True)
        history = model.fit(loader, epochs=2, verbose=0, validation_data=loader).history
        return history, list(drawn), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()

    drawn: list[int] = []
    bare = program()
    with autolog.enabled("keras", sink=sink, log_code=False):
        assert program() == bare
    assert only(sink).config["data/train"]["kind"] == "DataLoader"


def test_callbacks_that_keras_calls_from_threads_of_its_own_still_are(sink: MemorySink) -> None:
    class Waiting(keras.callbacks.Callback):  # type: ignore[misc]
        async_safe = True

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            names.add(threading.current_thread().name)

    def are_called_from_here() -> bool:
        names.clear()
        classifier().fit(X_train, y_train, epochs=1, verbose=0, callbacks=[Waiting()])
        return threading.main_thread().name in names

    names: set[str] = set()
    bare = are_called_from_here()  # Keras 3.5 has no such threads
    with autolog.enabled("keras", sink=sink, log_code=False):
        assert are_called_from_here() == bare
    assert only(sink).config["epochs"] == 1


def test_batches_need_no_thread_of_keras_where_nobody_asks_for_it(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen(self: Any, *args: Any, **kwargs: Any) -> None:
        names.append(threading.current_thread().name)
        original(self, *args, **kwargs)

    names: list[str] = []
    original = Recorder.on_train_batch_end
    monkeypatch.setattr(Recorder, "on_train_batch_end", seen)
    classifier().fit(X_train, y_train, epochs=1, verbose=0)
    assert set(names) == {threading.current_thread().name}
    assert len(names) == 8


def test_fit_twice_is_two_runs_and_the_steps_go_on(recording: MemorySink) -> None:
    model = classifier()
    model.fit(X_train, y_train, epochs=2, verbose=0)
    model.fit(X_train, y_train, epochs=3, initial_epoch=2, verbose=0)
    first, second = recording.runs
    assert [step for step, row in first.rows if "vitals/epoch_seconds" in row] == [8, 16]
    assert [step for step, row in second.rows if "vitals/epoch_seconds" in row] == [24]
    assert second.config["epochs"] == 3


def test_a_fit_within_a_fits_callbacks_belongs_to_the_outer_one(recording: MemorySink) -> None:
    class Inner(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            classifier().fit(X_test, y_test, epochs=1, verbose=0)

    classifier().fit(X_train, y_train, epochs=1, verbose=0, callbacks=[Inner()])
    assert only(recording).config["data/train"]["rows"] == 256


def test_checkpoints_and_early_stopping(recording: MemorySink, tmp_path: Path) -> None:
    best = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    each = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    stop = keras.callbacks.EarlyStopping(monitor="loss", min_delta=10, patience=1)
    classifier().fit(
        X_train, y_train, epochs=5, validation_data=(X_test, y_test), verbose=0, callbacks=[best, each, stop]
    )
    run = only(recording)
    names = [Path(row["path"]).name for row in run.tables["checkpoints"]]
    assert [name for name in names if name.endswith(".h5")] == ["1.weights.h5", "2.weights.h5"]
    assert "best.keras" in names
    assert {"best", "last"} <= {alias for artifact in run.artifacts for alias in artifact["aliases"]}
    assert run.config["early_stopping/stopped_epoch"] == 2
    assert run.config["early_stopping/monitor"] == "loss"


def test_a_loss_that_is_no_number_is_an_alert(recording: MemorySink) -> None:
    model = network(1, None)
    model.compile(keras.optimizers.SGD(1e30), "mse")
    stop = keras.callbacks.TerminateOnNaN()
    model.fit(X_train, y_train, epochs=3, verbose=0, callbacks=[stop])
    titles = [alert["title"] for alert in only(recording).alerts]
    assert len([title for title in titles if "loss" in title]) == 1
    assert titles.count("Gradients are not finite") == 1


def test_an_uncompiled_model_raises_keras_own_error(recording: MemorySink) -> None:
    with pytest.raises(ValueError, match="compile"):
        network().fit(X_train, y_train, verbose=0)
    assert [run.status for run in recording.runs] == ["failed"]


# Held-out data of every kind ---------------------------------------------------------------------------


def two_heads() -> Any:
    keras.utils.set_random_seed(0)
    x = keras.Input((64,), name="pixels")
    hidden = keras.layers.Dense(8, activation="relu")(x)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(hidden)
    ink = keras.layers.Dense(1, name="ink")(hidden)
    return keras.Model(x, [digit, ink])


@pytest.mark.parametrize("losses", ["list", "dict"])
def test_several_outputs_are_evaluated_each(recording: MemorySink, losses: str) -> None:
    model = two_heads()
    digit, ink = "sparse_categorical_crossentropy", "mse"
    model.compile("adam", [digit, ink] if losses == "list" else {"digit": digit, "ink": ink})
    train, test = ([y, x.mean(axis=1, keepdims=True)] for x, y in ((X_train, y_train), (X_test, y_test)))
    model.fit(X_train, train, epochs=1, validation_data=(X_test, test), verbose=0)
    digits_of, ink_of = model.predict(X_test, verbose=0)
    run = only(recording)
    assert run.metrics["val/digit/accuracy"] == pytest.approx((digits_of.argmax(axis=1) == y_test).mean())
    assert run.metrics["val/ink/mae"] == pytest.approx(abs(ink_of - test[1]).mean(), rel=1e-4)
    assert {"val/digit/confusion_matrix", "val/ink/residuals"} <= set(run.charts)


def test_the_pictures_are_of_the_weights_that_were_restored(recording: MemorySink) -> None:
    model = classifier(
        optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 8, 40))
    )
    stop = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True, monitor="val_loss")
    data = (X_test, y_test)
    model.fit(X_train, y_train, epochs=9, validation_data=data, verbose=0, callbacks=[stop])
    predicted = model.predict(X_test, verbose=0)
    run = only(recording)
    assert stop.best_epoch < len(run.values("vitals/epoch_seconds")) - 1  # else this test shows nothing
    worst = run.tables["val/best_and_worst"][0]
    assert worst["probability_of_true"] == pytest.approx(
        predicted[np.arange(128), y_test].min(), rel=1e-3, abs=1e-6
    )
    assert (8 * (stop.best_epoch + 1), "val/confusion_matrix") in run.drawn


def test_a_confusion_matrix_of_every_epoch_on_demand(sink: MemorySink) -> None:
    with autolog.enabled("keras", sink=sink, log_code=False, evaluate_every_n_epochs=2):
        classifier().fit(X_train, y_train, epochs=5, validation_data=(X_test, y_test), verbose=0)
    autolog.finish()
    drawn = [step for step, key in only(sink).drawn if key == "val/confusion_matrix"]
    assert drawn == [16, 32, 40]


def test_images_stand_beside_the_best_and_worst_predictions(recording: MemorySink) -> None:
    keras.utils.set_random_seed(0)
    shape = (8, 8, 1)
    model = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    test = X_test.reshape(-1, *shape)
    model.fit(X_train.reshape(-1, *shape), y_train, epochs=1, validation_data=(test, y_test), verbose=0)
    run = only(recording)
    chart = run.charts["val/best_and_worst_images"]
    rows = run.tables["val/best_and_worst"]
    tiles = chart["data"]["tiles"]
    assert len(tiles) == len(rows) == 20
    for row, tile in zip(rows, tiles, strict=True):
        assert tile["shape"] == [8, 8]
        shown = np.frombuffer(base64.b64decode(tile["pixels"]), "uint8").reshape(8, 8)
        assert np.allclose(shown, 255 * test[row["row"], :, :, 0], atol=1)
        assert tile["title"].startswith(f"{row['true']} → {row['predicted']}")


def test_of_a_loader_the_inputs_are_those_that_were_validated_on(recording: MemorySink) -> None:
    classifier().fit(X_train, y_train, epochs=1, validation_data=Batches(), verbose=0)
    rows = only(recording).tables["val/best_and_worst"]
    assert all(row["x10"] == pytest.approx(X_train[row["row"], 10], rel=1e-5) for row in rows)


def test_pixels_of_masks_are_rows(recording: MemorySink) -> None:
    keras.utils.set_random_seed(0)
    images = X_train.reshape(-1, 8, 8, 1)
    masks = (images > 0.5).astype("int32")
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    model.fit(images, masks, epochs=1, validation_data=(images, masks), verbose=0)
    rows = only(recording).tables["val/confusion_matrix_counts"]
    assert sum(row[f"predicted {n}"] for row in rows for n in (0, 1)) == masks.size


def test_margins_are_no_probabilities(recording: MemorySink) -> None:
    data, target = load_breast_cancer(return_X_y=True)
    data = (data - data.mean(axis=0)) / data.std(axis=0)
    model = network(1, "tanh", 30)
    model.compile("adam", "hinge")
    model.fit(data, 2 * target - 1, epochs=1, validation_data=(data, 2 * target - 1), verbose=0)
    run = only(recording)
    expected = ((model.predict(data, verbose=0)[:, 0] > 0) == target).mean()
    assert run.metrics["val/accuracy"] == pytest.approx(expected)
    assert "val/roc" not in run.charts


def test_what_compile_was_given_is_told(recording: MemorySink) -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = network(10, None)
    model.compile("adam", loss, metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=3)])
    model.fit(X_train, y_train, epochs=1, verbose=0)
    given = only(recording).config["params"]
    assert given["loss/config"]["from_logits"] is True
    assert given["metrics"][0] == "accuracy"
    assert given["metrics"][1]["k"] == 3


def test_an_epoch_without_validation_is_not_shown_by_another_ones(recording: MemorySink) -> None:
    stop = keras.callbacks.EarlyStopping(
        monitor="accuracy", mode="min", patience=9, restore_best_weights=True
    )
    classifier().fit(
        X_train,
        y_train,
        epochs=4,
        verbose=0,
        validation_data=(X_test, y_test),
        validation_freq=2,
        callbacks=[stop],
    )
    assert stop.best_epoch % 2 == 0  # else this test shows nothing
    run = only(recording)
    assert "was not validated" in run.config["autolog/notes"]["val/confusion_matrix"]
    assert run.charts == {}


def test_samples_per_second_are_those_of_the_data(recording: MemorySink) -> None:
    classifier().fit(X_train[:70], y_train[:70], epochs=1, verbose=0)
    row = next(row for _, row in only(recording).rows if "vitals/epoch_seconds" in row)
    assert row["vitals/samples_per_second"] * row["vitals/epoch_seconds"] == pytest.approx(70)


def test_two_generators_are_two_test_sets(recording: MemorySink) -> None:
    model = classifier()
    model.fit(X_train, y_train, epochs=1, verbose=0)
    sets = [Batches(), Batches()]
    for data in sets:
        model.evaluate(data, verbose=0)
    assert {"test/loss", "test/set-2/loss"} <= set(only(recording).metrics)


def test_a_lambda_prints_no_warning_that_bare_keras_does_not(
    recording: MemorySink, recwarn: pytest.WarningsRecorder
) -> None:
    model = keras.Sequential(
        [keras.Input((64,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(1)]
    )
    model.compile("sgd", lambda y, p: keras.ops.mean((y - p) ** 2))
    model.fit(X_train, y_train, epochs=1, verbose=0)
    assert not [warning for warning in recwarn if "lambda" in str(warning.message)]
    assert "lambda" in only(recording).config["autolog/notes"]["model"]


# The callback by hand ---------------------------------------------------------------------------------


@pytest.fixture
def into(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    autolog.finish()
    settings_module.use(None)


def test_the_callback_records_what_carries_it(into: MemorySink) -> None:
    callback = TrackioCallback()
    for _ in range(2):
        model = classifier()
        model.fit(X_train, y_train, epochs=1, verbose=0, callbacks=[callback])
        model.evaluate(X_test, y_test, verbose=0)
    classifier().fit(X_train, y_train, epochs=1, verbose=0)
    assert len(into.runs) == 2
    assert all({"train/loss", "test/accuracy"} <= set(run.metrics) for run in into.runs)


def fit_by_callback(model: Any, **more: Any) -> Any:
    # `model.fit` is looked up before the callback is made, which puts the hooks in.
    return model.fit(
        X_train, y_train, epochs=2, verbose=0, callbacks=[*more.pop("others", ()), TrackioCallback()], **more
    )


def test_the_first_callback_of_a_process_records_too(into: MemorySink) -> None:
    stop = keras.callbacks.EarlyStopping(patience=9, restore_best_weights=True)
    bare = classifier().fit(
        X_train, y_train, epochs=2, verbose=0, validation_data=(X_test, y_test), callbacks=[stop]
    )
    model = classifier()
    history = fit_by_callback(model, validation_data=(X_test, y_test), others=[stop])
    assert history.history == bare.history
    model.evaluate(X_test, y_test, verbose=0)
    run = only(into)
    assert run.status == "finished"
    assert run.config["params/epochs"] == 2
    assert (run.config["data/train"]["rows"], run.config["data/val"]["rows"]) == (256, 128)
    assert len(run.values("vitals/epoch_seconds")) == len(run.values("val/loss")) == 2
    assert run.values("vitals/grad_norm")
    assert {"val/confusion_matrix", "test/confusion_matrix"} <= set(run.charts)
    assert run.metrics["val/accuracy"] == history.history["val_accuracy"][-1]
    assert [artifact["type"] for artifact in run.artifacts].count("model") == 1
    fit_by_callback(classifier())  # the hooks are in now
    assert [len(run.values("vitals/epoch_seconds")) for run in into.runs] == [2, 2]
    callbacks = [TrackioCallback()]
    settings = settings_module.in_force()
    autolog.disable()
    settings_module.use(settings)
    classifier().fit(X_train, y_train, epochs=1, verbose=0, callbacks=callbacks)
    assert len(into.runs) == 2


def test_the_first_callback_of_a_process_and_an_error(into: MemorySink) -> None:
    class Broken(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert autolog.current_run().status == "running"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        fit_by_callback(classifier(), others=[Broken()])
    fit_by_callback(classifier())  # while the traceback still holds the frames of the one before
    assert kept is not None
    assert [run.status for run in into.runs] == ["failed", "finished"]
    assert [run.parent for run in into.runs] == [None, None]
    with pytest.raises(autolog.RunError, match="no run is open"):
        autolog.current_run()


def test_beside_enable_each_thing_is_recorded_once(recording: MemorySink) -> None:
    classifier().fit(X_train, y_train, epochs=1, verbose=0, callbacks=[TrackioCallback()])
    assert len(only(recording).values("vitals/epoch_seconds")) == 1


def test_the_callback_writes_to_the_run_that_it_is_given(into: MemorySink) -> None:
    with autolog.run("his") as his:
        classifier().fit(X_train, y_train, epochs=1, verbose=0, callbacks=[TrackioCallback(his)])
        assert his.status == "running"
    assert only(into).name == "his"
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioCallback(his)
    with pytest.raises(TypeError, match="expected a run"):
        TrackioCallback("his")  # type: ignore[arg-type]


def test_a_metric_of_scikit_learns_in_a_callback_is_the_users_to_log(sink: MemorySink) -> None:
    class Asks(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["mine"] = accuracy_score(y_test, self.model(X_test).detach().numpy().argmax(1))

    with autolog.enabled("keras", "sklearn", sink=sink, log_code=False), autolog.run("mine"):
        classifier().fit(X_train, y_train, verbose=0, callbacks=[Asks()])
    assert "accuracy_score" not in only(sink).config.get("autolog/notes", {})


# Names and numbers -------------------------------------------------------------------------------------


def test_a_metric_of_several_numbers_is_recorded_by_class(recording: MemorySink) -> None:
    one_hot = keras.utils.to_categorical(y_train)
    model = network()
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score(average=None)])
    history = model.fit(X_train, one_hot, epochs=1, validation_data=(X_train, one_hot), verbose=0).history
    found = model.evaluate(X_train, one_hot, verbose=0, return_dict=True)
    model.train_on_batch(X_train[:32], one_hot[:32])
    run = recording.runs[0]
    for key, values in (
        ("val/f1_score", history["val_f1_score"][0]),
        ("train/f1_score", history["f1_score"][0]),
        ("test/f1_score", found["f1_score"]),
    ):
        recorded = [run.values(f"{key}/{place}")[-1] for place in range(10)]
        assert recorded == pytest.approx([float(value) for value in values])
        assert run.config["autolog/notes"][key].count("it has 10 numbers") == 1
    assert "train/f1_score/9" in recording.runs[1].metrics
    assert "autolog/faults" not in run.config


def test_batches_of_a_loader_are_no_rows(recording: MemorySink) -> None:
    classifier().fit(Batches(), verbose=0)
    data = only(recording).config["data/train"]
    assert data["batches"] == 4
    assert not {"rows", "shape"} & set(data)


@pytest.mark.parametrize("what", ["DeprecationWarning", "UserWarning", "FutureWarning"])
def test_what_we_ask_of_keras_loses_nothing_where_warnings_are_errors(
    recording: MemorySink, what: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getattr(builtins, what))
        classifier().fit(X_train, y_train, epochs=1, validation_data=(X_test, y_test), verbose=0)
    run = only(recording)
    assert run.config["optimizer"] == "Adam"
    assert run.config["params/loss"] == "sparse_categorical_crossentropy"
    assert run.values("vitals/lr")
    assert "val/confusion_matrix" in run.charts


def test_the_seed_is_told_and_nothing_is_drawn(recording: MemorySink) -> None:
    model = classifier()
    keras.utils.set_random_seed(42)
    before = [np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
    model.train_on_batch(X_train[:8], y_train[:8])
    assert [np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()] == before
    model.fit(X_train, y_train, verbose=0)
    if hasattr(keras.src.utils.rng_utils, "get_random_seed"):  # not in Keras 3.5
        assert [run.config["seed"] for run in recording.runs] == [42, 42]
