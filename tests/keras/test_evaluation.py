"""What is evaluated, and as what: by hand from what ``model.predict`` gives, to the last count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

rng = np.random.default_rng(0)
X = rng.random((120, 6)).astype("float32")
labels = X[:, :3].argmax(axis=1)
one_hot = np.eye(3, dtype="float32")[labels]
L = keras.layers


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    assert "lost" not in str(run.config.get("autolog/notes"))
    return run


def notes(run: MemoryRun) -> str:
    return str(run.config.get("autolog/notes", {}).get("val", ""))


def matrix(run: MemoryRun, key: str = "val") -> list[list[int]]:
    return [
        [count for column, count in row.items() if column != "true"]
        for row in run.tables[f"{key}/confusion_matrix_counts"]
    ]


def counted(truth: Any, predicted: Any, classes: int) -> list[list[int]]:
    found = np.zeros((classes, classes), int)
    np.add.at(found, (truth.ravel().astype(int), predicted.ravel().astype(int)), 1)
    return found.tolist()


def dense(outputs: int, activation: str | None) -> Any:
    keras.utils.set_random_seed(3)
    return keras.Sequential([keras.Input((6,)), L.Dense(8, "relu"), L.Dense(outputs, activation)])


def fitted(model: Any, loss: Any, x: Any, y: Any, weight: Any = None, metrics: Any = None) -> Any:
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=metrics)
    held_out = (x, y) if weight is None else (x, y, weight)
    model.fit(x, y, epochs=2, validation_data=held_out, verbose=0)
    return model.predict(x, verbose=0)


# By whatever tells that it is classes -----------------------------------------------------------------


def own_loss(y: Any, p: Any) -> Any:
    return -keras.ops.mean(keras.ops.sum(y * keras.ops.log(p + 1e-7), axis=-1))


SEVERAL: dict[str, Callable[[], tuple[Any, Any]]] = {
    "a function": lambda: (own_loss, one_hot),
    "divergence": lambda: ("kl_divergence", one_hot),
    "squares": lambda: ("mse", one_hot),
    "generalized": lambda: (keras.losses.CategoricalGeneralizedCrossEntropy(), labels),
    "one-hot under binary": lambda: ("binary_crossentropy", one_hot),
    "smoothed": lambda: ("categorical_crossentropy", one_hot * 0.9 + 1 / 30),
}


@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
@pytest.mark.parametrize("name", SEVERAL)
def test_one_class_of_several(recording: MemorySink, name: str, metrics: Any) -> None:
    if name == "generalized" and not hasattr(keras.losses, "CategoricalGeneralizedCrossEntropy"):
        pytest.skip("this version has no such loss")
    loss, y = SEVERAL[name]()
    predicted = fitted(dense(3, "softmax"), loss, X, y, metrics=metrics)
    run = only(recording)
    assert matrix(run) == counted(labels, predicted.argmax(axis=1), 3)
    assert run.metrics["val/accuracy"] == pytest.approx((predicted.argmax(axis=1) == labels).mean())
    assert ("soft targets" in notes(run)) == (name == "smoothed")


@pytest.mark.parametrize("metrics", [None, ["accuracy"]])
@pytest.mark.parametrize("loss", ["dice", "binary_focal_crossentropy", "mae"])
def test_pixels_of_a_mask(recording: MemorySink, loss: str, metrics: Any) -> None:
    images = X.reshape(120, 6, 1, 1)
    masks = (images > 0.5).astype("float32")
    model = keras.Sequential([keras.Input((6, 1, 1)), L.Conv2D(1, 1, activation="sigmoid")])
    predicted = fitted(model, loss, images, masks, metrics=metrics)
    assert matrix(only(recording)) == counted(masks, predicted > 0.5, 2)


def test_soft_labels_are_rounded_and_it_is_said(recording: MemorySink) -> None:
    hard = X.sum(axis=1) > 3
    predicted = fitted(dense(1, "sigmoid"), "binary_crossentropy", X, hard * 0.9 + 0.05)
    run = only(recording)
    assert matrix(run) == counted(hard, predicted[:, 0] > 0.5, 2)
    assert "soft targets (0.05 and 0.95) count as 0 and 1" in notes(run)


def test_pictures_that_are_targets_are_no_classes(recording: MemorySink) -> None:
    images = rng.random((20, 4, 4, 1)).astype("float32")
    model = keras.Sequential([keras.Input((4, 4, 1)), L.Conv2D(1, 3, padding="same", activation="sigmoid")])
    predicted = fitted(model, "binary_crossentropy", images, images, metrics=["accuracy"])
    run = only(recording)
    assert "val/confusion_matrix" not in run.charts
    assert run.metrics["val/mae"] == pytest.approx(abs(predicted - images).mean(), rel=1e-4)
    assert "no labels" in notes(run)


def test_pictures_that_are_targets_are_told_as_pictures(recording: MemorySink) -> None:
    images = rng.random((6, 32, 24, 3)).astype("float32")
    noisy = (images + rng.normal(0, 0.1, images.shape)).astype("float32")
    model = keras.Sequential([keras.Input((32, 24, 3)), L.Conv2D(3, 3, padding="same")])
    predicted = fitted(model, "mse", noisy, images)
    run = only(recording)
    assert "val/per_output" not in run.tables
    errors = ((predicted - images) ** 2).reshape(6, -1).mean(axis=1)
    assert run.metrics["val/psnr"] == pytest.approx(float((-10 * np.log10(errors)).mean()), rel=1e-4)
    assert len(run.tables["val/per_picture"]) == 6
    assert [tile["title"] for tile in run.charts["val/pictures"]["data"]["tiles"][:2]] == ["input", "target"]


@pytest.mark.parametrize("kind", ["sparse", "one-hot", "binary"])
def test_masks_have_the_overlap_of_each_class(recording: MemorySink, kind: str) -> None:
    images = rng.random((6, 10, 8, 3)).astype("float32")
    k = 2 if kind == "binary" else 3
    truth = (images.sum(axis=-1) * 7).astype(int) % k
    targets = {"sparse": truth, "one-hot": np.eye(k)[truth], "binary": truth[..., None]}[kind]
    activation = {"one-hot": "softmax", "binary": "sigmoid"}.get(kind)
    last = L.Dense(1 if kind == "binary" else k, activation)  # of each pixel by itself
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = {"sparse": sparse, "one-hot": "categorical_crossentropy"}.get(kind)
    model = keras.Sequential([keras.Input((10, 8, 3)), last])
    predicted = fitted(model, loss or "binary_crossentropy", images, targets.astype("float32"))
    guesses = (predicted[..., 0] > 0.5).astype(int) if kind == "binary" else predicted.argmax(axis=-1)
    run = only(recording)
    assert matrix(run) == counted(truth, guesses, k)
    overlaps = [
        ((truth == one) & (guesses == one)).sum() / ((truth == one) | (guesses == one)).sum()
        for one in range(k)
    ]
    if kind == "binary":
        assert run.metrics["val/iou"] == pytest.approx(overlaps[1])
    else:
        assert run.metrics["val/iou_macro"] == pytest.approx(np.mean(overlaps))
    assert len(run.tables["val/per_picture"]) == 6


def test_teachers_probabilities_are_no_classes(recording: MemorySink) -> None:
    shares = rng.dirichlet([1, 1, 1], 120).astype("float32")
    fitted(dense(3, "softmax"), "kl_divergence", X, shares)
    run = only(recording)
    assert "val/confusion_matrix" not in run.charts
    assert "val/mae" in run.metrics


def test_several_labels_stay_several(recording: MemorySink) -> None:
    several = (X[:, :3] > 0.5).astype("float32")
    predicted = fitted(dense(3, "sigmoid"), "binary_crossentropy", X, several, metrics=["accuracy"])
    rows = only(recording).tables["val/confusion_by_label"]
    right = ((predicted > 0.5) & (several == 1)).sum(axis=0)
    assert [row["true_positives"] for row in rows] == right.tolist()


def test_quantiles_of_one_target_are_not_classes(recording: MemorySink) -> None:
    def pinball(y: Any, p: Any) -> Any:
        error = y - p
        return keras.ops.mean(keras.ops.maximum(0.1 * error, -0.9 * error))

    fitted(dense(3, None), pinball, X, labels.reshape(-1, 1).astype("float32"))
    run = only(recording)
    assert "val/confusion_matrix" not in run.charts
    assert "nothing says" in notes(run)


# What does not count ----------------------------------------------------------------------------------


def test_masked_steps_do_not_count(recording: MemorySink) -> None:
    x = rng.integers(1, 20, (40, 12))
    for row, length in enumerate(rng.integers(3, 13, 40)):
        x[row, length:] = 0
    y = x % 3
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [L.Embedding(20, 8, mask_zero=True), L.LSTM(8, return_sequences=True), L.Dense(3, "softmax")]
    )
    predicted = fitted(model, "sparse_categorical_crossentropy", x, y).argmax(axis=-1)
    run = only(recording)
    assert matrix(run) == counted(y[x != 0], predicted[x != 0], 3)
    assert run.metrics["val/accuracy"] == pytest.approx((predicted == y)[x != 0].mean())


def test_keras_accuracy_of_masked_steps_is_told_apart(recording: MemorySink) -> None:
    """Some versions count masked steps in a metric without weights."""
    x = rng.integers(1, 20, (40, 12))
    x[:, 6:] = 0
    model = keras.Sequential([L.Embedding(20, 8, mask_zero=True), L.Dense(3, "softmax")])
    fitted(model, "sparse_categorical_crossentropy", x, x % 3, metrics=["accuracy"])
    run = only(recording)
    assert sum(map(sum, matrix(run))) == 240
    right = sum(row[place] for place, row in enumerate(matrix(run))) / 240
    is_keras_own = abs(run.metrics["val/accuracy"] - right) > 1e-3
    assert is_keras_own == ("accuracy is Keras' own" in notes(run))


@pytest.mark.parametrize("of", ["rows", "steps"])
def test_what_weighs_nothing_does_not_count(recording: MemorySink, of: str) -> None:
    if of == "rows":
        weight = (np.arange(120) % 3 > 0).astype("float32")
        predicted = fitted(dense(3, "softmax"), "sparse_categorical_crossentropy", X, labels, weight).argmax(
            axis=1
        )
        run = only(recording)
        assert matrix(run) == counted(labels[weight > 0], predicted[weight > 0], 3)
        worst = run.tables["val/best_and_worst"][0]
        assert weight[worst["row"]] > 0
        assert worst["x0"] == pytest.approx(float(X[worst["row"], 0]), rel=1e-4)
    else:
        x = rng.random((20, 5, 2)).astype("float32")
        y = (x[..., 0] > 0.5).astype(int)
        weight = (rng.random((20, 5)) > 0.4).astype("float32")
        model = keras.Sequential([keras.Input((5, 2)), L.Dense(2, "softmax")])
        predicted = fitted(model, "sparse_categorical_crossentropy", x, y, weight).argmax(axis=-1)
        assert matrix(only(recording)) == counted(y[weight > 0], predicted[weight > 0], 2)
    assert "sample weights" not in notes(recording.runs[0]), "all that count weigh the same"


def test_a_regressions_rows_without_weight_do_not_count(recording: MemorySink) -> None:
    weight = (np.arange(120) % 2).astype("float32")
    predicted = fitted(dense(1, None), "mae", X, X.sum(axis=1), weight)[:, 0]
    error = abs(predicted - X.sum(axis=1))[weight > 0]
    assert only(recording).metrics["val/max_error"] == pytest.approx(error.max(), rel=1e-4)


def test_the_class_that_the_loss_ignores_does_not_count(recording: MemorySink) -> None:
    images = rng.random((10, 8, 8, 3)).astype("float32")
    truth = images.argmax(axis=-1)
    truth[:, :, :2] = 255
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(3, 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    predicted = fitted(model, loss, images, truth).argmax(axis=-1)
    run = only(recording)
    assert matrix(run) == counted(truth[truth != 255], predicted[truth != 255], 3)


def test_rows_without_a_class_do_not_count(recording: MemorySink) -> None:
    padded = one_hot.copy()
    padded[::4] = 0
    predicted = fitted(dense(3, "softmax"), "categorical_crossentropy", X, padded).argmax(axis=1)
    has = padded.any(axis=1)
    run = only(recording)
    assert matrix(run) == counted(labels[has], predicted[has], 3)
    assert "30 rows without a class" in notes(run)


# What Keras says itself -------------------------------------------------------------------------------


def test_an_accuracy_of_logits_is_told_apart(recording: MemorySink) -> None:
    hard = X.sum(axis=1) > 3
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    predicted = fitted(dense(1, None), loss, X, hard.astype("float32"), metrics=["accuracy"])
    run = only(recording)
    assert matrix(run) == counted(hard, predicted[:, 0] > 0, 2)
    assert "accuracy is Keras' own" in notes(run)


def test_the_metrics_beside_restored_weights_are_theirs(recording: MemorySink) -> None:
    model = dense(3, "softmax")
    model.compile(keras.optimizers.SGD(5.0), "sparse_categorical_crossentropy", metrics=["accuracy"])
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True, monitor="val_accuracy")
    model.fit(X, labels, epochs=8, validation_data=(X, labels), verbose=0, callbacks=[stop])
    run = only(recording)
    assert matrix(run) == counted(labels, model.predict(X, verbose=0).argmax(axis=1), 3)
    assert "not evaluated" not in notes(run)


# Steps of the user's own ------------------------------------------------------------------------------


class OfTheGuide(keras.Sequential):  # type: ignore[misc]
    def test_step(self, data: Any) -> Any:
        x, y = data
        predicted = self(x, training=False)
        loss = self.compute_loss(y=y, y_pred=predicted)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, predicted)
        return {metric.name: metric.result() for metric in self.metrics}


class OfAMetricOfItsOwn(OfTheGuide):
    def test_step(self, data: Any) -> Any:
        self.compiled_metrics_of_mine = keras.metrics.SparseCategoricalAccuracy()
        return {"loss": self.compute_loss(y=data[1], y_pred=self(data[0], training=False))}


class ToNobody(OfTheGuide):
    def test_step(self, data: Any) -> Any:
        return {"loss": keras.ops.mean(self(data[0], training=False))}


class Twice(OfTheGuide):
    def test_step(self, data: Any) -> Any:
        x, y = data
        losses = [self.compute_loss(y=y, y_pred=self(part, training=False)) for part in (x, 2 * x)]
        return {"loss": sum(losses)}


@pytest.mark.parametrize("kind", [OfTheGuide, OfAMetricOfItsOwn])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_test_step_of_the_users_own_is_evaluated(recording: MemorySink, kind: Any, method: str) -> None:
    keras.utils.set_random_seed(3)
    model = kind([keras.Input((6,)), L.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    if method == "fit":
        model.fit(X, labels, validation_data=(X, labels), verbose=0)
    else:
        model.evaluate(X, labels, verbose=0)
    predicted = model.predict(X, verbose=0).argmax(axis=1)
    key = "val" if method == "fit" else "test"
    assert matrix(only(recording), key) == counted(labels, predicted, 3)


@pytest.mark.parametrize("kind", [ToNobody, Twice])
def test_one_that_does_not_tell_is_noted(recording: MemorySink, kind: Any) -> None:
    model = kind([keras.Input((6,)), L.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, labels, validation_data=(X, labels), verbose=0)
    run = only(recording)
    assert "val/confusion_matrix" not in run.charts
    assert "the model's own test_step" in run.config["autolog/notes"]["val/confusion_matrix"]
