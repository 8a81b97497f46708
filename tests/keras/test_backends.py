"""Keras on JAX and TensorFlow, each in a program of its own: the backend is chosen when Keras is imported.

TensorFlow is in no extra of ours: `.ci/run` runs this file once more in an environment that has it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.datasets import load_digits

from tests.keras.compiled import compiled_once
from tests.programs import read, run, values

X_val = (load_digits().data / 16).astype("float32")[256:384]

PROGRAM = """
import keras, numpy as np, orjson
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
X_train, y_train, X_val, y_val = X[:256], y[:256], X[256:384], y[256:384]

def network(optimizer="adam", policy=None, dropout=0.2, **compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((64,)),
        keras.layers.Dense(16, activation="relu", name="hidden", dtype=policy),
        keras.layers.Dropout(dropout, seed=1),
        keras.layers.Dense(10, activation="softmax", name="head", dtype=policy),
    ])
    optimizer = keras.optimizers.get(optimizer)
    if policy:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model

def fit(model, **more):
    more = {"epochs": 2, "validation_data": (X_val, y_val), **more}
    return model.fit(X_train, y_train, verbose=0, **more).history

found = {}
def record(name, work, runs=1, **settings):
    sink = autolog.MemorySink()
    given = {"budget": 1e9, "log_every_n_steps": 3, **settings}
    with autolog.enabled("keras", sink=sink, log_code=False, **given):
        result = work()
    autolog.finish()
    assert len(sink.runs) == runs
    run = sink.runs[-1]
    found[name] = {
        "result": result, "rows": run.rows, "tables": run.tables,
        "once": list(run.config.get("result/more", {})), "charts": sorted(run.charts),
        "notes": run.config.get("autolog/notes", {}), "faults": run.config.get("autolog/faults"),
    }
"""

KINDS: dict[str, str] = {
    "plain": "",
    "several steps at once": "steps_per_execution=3",
    "eager": "run_eagerly=True",
    "mixed precision": "policy='mixed_float16'",
    "not jitted": "jit_compile=False",
}

IDENTICAL = f"""
for kind, make in {{{", ".join(f"{kind!r}: lambda: network({how})" for kind, how in KINDS.items())}}}.items():
    bare = fit(make())
    record(kind, lambda: fit(make()) == bare, compiled_steps=True)

model = network()
fit(model)
own = [sorted(vars(model)), sorted(vars(model.optimizer)), model.train_function, model.test_function]
record("again", lambda: fit(model), compiled_steps=True)
now = [sorted(vars(model)), sorted(vars(model.optimizer)), model.train_function, model.test_function]
found["as it was"] = own == now

# With a rate of 1 a plain step takes the gradient itself off the weights.
def of_layers(model):
    return {{layer.name: [np.array(v) for v in layer.weights] for layer in model.layers if layer.weights}}
model = network(keras.optimizers.SGD(1.0), dropout=0.0)
before = of_layers(model)
fit(model, epochs=1, batch_size=256)
after = of_layers(model)
found["taken off"] = {{
    name: float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(weights, after[name]))))
    for name, weights in before.items()
}}
clipped = lambda: network(keras.optimizers.SGD(1.0, global_clipnorm=1e-3), dropout=0.0)
record("norms", lambda: fit(clipped(), epochs=1, batch_size=256), compiled_steps=True)

# What is predicted.
def confusion(model):
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y_val, model.predict(X_val, verbose=0).argmax(axis=1)), 1)
    return matrix.tolist()
for name, settings in {{"once more": {{}}, "inside": {{"compiled_steps": True}}}}.items():
    record(name, lambda: (fit(model := network()), confusion(model))[1], **settings)

class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4
    def __getitem__(self, n):
        return X_val[32 * n:32 * n + 32], y_val[32 * n:32 * n + 32]
for name, settings in {{"loader": {{}}, "loader, inside": {{"compiled_steps": True}}}}.items():
    record(name, lambda: fit(network(), validation_data=Batches()), **settings)
record("default", lambda: fit(network()), budget=autolog.Settings().budget)
def of_a_loss_alone():  # where returning what is predicted would change how XLA computes it
    X, y = X_train[:80, 20:26], (X_train[:80, 20:26].sum(axis=1) > 3).astype("float32")
    class Few(keras.utils.PyDataset):
        def __len__(self):
            return 3
        def __getitem__(self, n):
            return X[32 * n:32 * n + 32], y[32 * n:32 * n + 32]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(16, "relu"), keras.layers.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.Adam(0.05), "binary_crossentropy")
    return [model.fit(X, y, epochs=10, validation_data=data, verbose=0).history for data in (Few(), (X, y))]
bare = of_a_loss_alone()
record("loss alone", lambda: of_a_loss_alone() == bare, compiled_steps=True)  # a loop of fit
record("split", lambda: fit(network(), validation_data=None, validation_split=0.25))
record("poor", lambda: fit(network()), budget=0.0)
many = np.tile(X_val, (400, 1)), np.tile(y_val, 400)
record("many", lambda: fit(network(), validation_data=many, epochs=1), budget=0.0)
enough = found["many"]["notes"]["val/confusion_matrix"].split("Settings.budget=")[1].split()[0]
record("enough", lambda: fit(network(), validation_data=many, epochs=1), budget=float(enough))

class Own(keras.layers.Layer):
    calls = 0
    def call(self, x):
        type(self).calls += 1
        return x
def with_own_code():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), Own(), keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    Own.calls = 0
    fit(model)
    return Own.calls
bare = with_own_code()
record("own code", lambda: with_own_code() == bare)

def two_heads():
    x = keras.Input((64,), name="pixels")
    h = keras.layers.Dense(8, activation="relu")(x)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(h)
    ink = keras.layers.Dense(1, name="ink")(h)
    model = keras.Model({{"pixels": x}}, {{"digit": digit, "ink": ink}})
    model.compile("adam", {{"digit": "sparse_categorical_crossentropy", "ink": "mse"}})
    ys = lambda X, y: {{"digit": y, "ink": X.mean(axis=1, keepdims=True)}}
    return model.fit({{"pixels": X_train}}, ys(X_train, y_train), epochs=1, verbose=0,
                     validation_data=({{"pixels": X_val}}, ys(X_val, y_val))).history
def heads_in_a_list():
    x = keras.Input((64,))
    digit = keras.layers.Dense(10, "softmax", name="digit")(x)
    model = keras.Model(x, [digit, keras.layers.Dense(1, name="ink")(x)])
    model.compile("adam", ["sparse_categorical_crossentropy", "mse"])
    ys = [y_val, X_val.mean(axis=1, keepdims=True)]
    model.evaluate(X_val, ys, verbose=0)
    return model.fit(X_val, ys, epochs=1, verbose=0, validation_data=(X_val, ys)).history
record("heads in a list, inside", lambda: heads_in_a_list(), compiled_steps=True, runs=2)
def frozen():
    model = network()
    model.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    return fit(model)
record("frozen, inside", frozen, compiled_steps=True)
def half():
    return fit(network(policy="mixed_bfloat16"))
record("half", half, compiled_steps=True)
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    texts = np.array([" ".join(str(int(16 * v)) for v in row[:8]) for row in X])
    words = keras.layers.TextVectorization(output_sequence_length=8)
    words.adapt(texts)
    def of_texts(loaders):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((), dtype="string"), words, keras.layers.Embedding(40, 4),
                                  keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        data = (tf.constant(texts[:256]), y_train), (tf.constant(texts[256:384]), y_val)
        if not loaders:
            return model.fit(*data[0], validation_data=data[1], verbose=0).history
        train, val = (tf.data.Dataset.from_tensor_slices(part).batch(32) for part in data)
        return model.fit(train.shuffle(256, seed=0), validation_data=val, verbose=0).history
    for name, loaders in (("texts", False), ("texts of tf.data", True)):
        bare = of_texts(loaders)
        record(name, lambda: of_texts(loaders) == bare, compiled_steps=True)
def falling():
    rates = []
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    model = network(keras.optimizers.Adam(schedule))
    fit(model)
    return [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(16)]
record("falling", falling, log_every_n_steps=1)
def halved():
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=0, min_delta=10.0, factor=0.5)
    return fit(network(), epochs=3, callbacks=[plateau])["learning_rate"]
record("halved", halved)
if keras.backend.backend() == "tensorflow":
    class GAN(keras.Model):
        def __init__(self):
            super().__init__()
            self.g = keras.Sequential([keras.Input((3,)), keras.layers.Dense(64)], name="g")
            self.d = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1)], name="d")
            self.built = True
            self.of_g, self.of_d = keras.optimizers.SGD(1e-3), keras.optimizers.SGD(1e-2)
            self.norms = [self.add_weight(shape=()) for _ in range(2)]
        def one(self, loss, part, optimizer, tape, norm):
            gradients = tape.gradient(loss, part.trainable_variables)
            norm.assign(tf.linalg.global_norm(gradients))
            optimizer.apply(gradients, part.trainable_variables)
        def train_step(self, x):
            z = tf.ones((tf.shape(x)[0], 3))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.d(self.g(z)) ** 2) + tf.reduce_mean((self.d(x) - 1) ** 2)
            self.one(loss, self.d, self.of_d, tape, self.norms[0])
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.d(self.g(z)) - 1) ** 2)
            self.one(loss, self.g, self.of_g, tape, self.norms[1])
            return {{"g_loss": loss}}
    def gan():
        keras.utils.set_random_seed(0)
        model = GAN()
        model.compile()
        model.fit(X_train, epochs=1, batch_size=32, verbose=0)
        return [float(norm) for norm in model.norms]
    record("gan", gan, compiled_steps=True)
record("two heads", two_heads)
record("two heads, inside", two_heads, compiled_steps=True)
print("found", orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode())
"""


@pytest.fixture(scope="module", params=[pytest.param("jax", marks=pytest.mark.long), "tensorflow"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="module")
def variables(backend: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    compiled = compiled_once(tmp_path_factory.mktemp("compiled"))
    return {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **compiled}


@pytest.fixture(scope="module")
def found(backend: str, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program recorded, by name."""
    out = run(tmp_path_factory.mktemp(backend), PROGRAM + IDENTICAL, **variables)
    line = next(line for line in out.splitlines() if line.startswith("found "))
    return orjson.loads(line.removeprefix("found "))


@pytest.mark.parametrize("name", ["texts", "texts of tf.data"])
def test_texts_stand_beside_the_best_and_worst_predictions(found: Any, backend: str, name: str) -> None:
    if backend != "tensorflow":
        pytest.skip("Keras makes numbers of texts inside a model on TensorFlow only")
    assert found[name]["result"] is True
    shown = found[name]["tables"]["val/best_and_worst"]
    first = [" ".join(str(int(16 * v)) for v in row) for row in X_val[:, :8]]
    assert [row["value"] for row in shown] == [first[row["row"]] for row in shown]


def norms(kept: Any) -> dict[int, float]:
    return {step: row["vitals/grad_norm"] for step, row in kept["rows"] if "vitals/grad_norm" in row}


def test_nothing_failed(found: Any) -> None:
    assert [name for name, kept in found.items() if isinstance(kept, dict) and kept.get("faults")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_looking_inside_changes_no_number(found: Any, kind: str) -> None:
    assert found[kind]["result"] is True  # the whole History, its keys too
    steps = [3, 6, 8, 9, 12, 15, 16]
    if kind == "several steps at once":
        steps = [3, 6, 8, 11, 14, 16]
    assert list(norms(found[kind])) == steps
    batches = [
        step for step, row in found[kind]["rows"] if "train/loss" in row and "vitals/epoch_seconds" not in row
    ]
    # Keras tells of batches from threads, in any order.
    assert sorted(batches) == ([3, 6, 11, 14, 16] if kind == "several steps at once" else [3, 6, 9, 12, 15])


def test_mixed_precision_is_unscaled(found: Any) -> None:
    plain, mixed = norms(found["plain"]), norms(found["mixed precision"])
    assert [mixed[step] for step in plain] == pytest.approx(list(plain.values()), rel=0.02)


def test_the_model_is_as_it_was(found: Any) -> None:
    assert found["as it was"] is True
    assert norms(found["again"])


def test_norms_are_those_before_clipping(found: Any) -> None:
    ((_, row),) = [(step, row) for step, row in found["norms"]["rows"] if "vitals/grad_norm" in row]
    for layer, norm in found["taken off"].items():
        assert row[f"vitals/grad_norm/{layer}"] == pytest.approx(norm, rel=1e-3)
    whole = np.sqrt(sum(norm**2 for norm in found["taken off"].values()))
    assert row["vitals/grad_norm"] == pytest.approx(whole, rel=1e-3)


def test_the_rate_is_that_of_the_step(found: Any) -> None:
    rates = {step: row["vitals/lr"] for step, row in found["falling"]["rows"] if "vitals/lr" in row}
    assert rates == {step: pytest.approx(rate) for step, rate in enumerate(found["falling"]["result"], 1)}
    rates = {step: row["vitals/lr"] for step, row in found["halved"]["rows"] if "vitals/epoch_seconds" in row}
    assert rates == dict(zip((8, 16, 24), map(pytest.approx, found["halved"]["result"]), strict=True))


def test_each_optimizer_has_its_own_norms(found: Any, backend: str) -> None:
    if backend != "tensorflow":
        pytest.skip("JAX' trainer has one optimizer")
    last = {key: value for step, row in found["gan"]["rows"] if step == 8 for key, value in row.items()}
    expected = dict(
        zip(("vitals/grad_norm/of_d", "vitals/grad_norm/of_g"), found["gan"]["result"], strict=True)
    )
    assert {key: last[key] for key in expected} == pytest.approx(expected)
    assert (last["vitals/lr/of_d"], last["vitals/lr/of_g"]) == (1e-2, 1e-3)


def counts(kept: Any) -> Any:
    return [
        [row[f"predicted {n}"] for n in range(10)] for row in kept["tables"]["val/confusion_matrix_counts"]
    ]


@pytest.mark.parametrize("name", ["once more", "inside"])
def test_what_is_shown_is_what_the_model_predicts(found: Any, name: str) -> None:
    assert counts(found[name]) == found[name]["result"]
    assert "x0" in found[name]["tables"]["val/best_and_worst"][0]


def test_a_loader_is_not_read_again(found: Any) -> None:
    assert "Settings.compiled_steps" in found["loader"]["notes"]["val/confusion_matrix"]
    assert "val/confusion_matrix" not in found["loader"]["charts"]
    assert counts(found["loader, inside"]) == counts(found["once more"])


def test_the_bits_of_a_loss_stay(found: Any) -> None:
    assert found["loss alone"]["result"] is True
    assert "val/confusion_matrix" in found["loss alone"]["charts"]


def test_arrays_are_evaluated_by_default(found: Any) -> None:
    assert "val/confusion_matrix" in found["default"]["charts"]


def test_a_split_is_evaluated(found: Any) -> None:
    assert sum(map(sum, counts(found["split"]))) == 64


def test_predicting_once_more_keeps_to_the_budget_and_runs_no_code_of_the_user(found: Any) -> None:
    assert "would pass the budget. Settings.budget=" in found["poor"]["notes"]["val/confusion_matrix"]
    assert "code of its own" in found["own code"]["notes"]["val/confusion_matrix"]
    assert found["own code"]["result"] is True


def test_the_budget_that_its_note_names_is_enough(found: Any) -> None:
    assert "val/confusion_matrix" not in found["many"]["charts"]
    assert "val/confusion_matrix" in found["enough"]["charts"]


def test_half_precision_has_probabilities_too(found: Any) -> None:
    assert "val/brier" in found["half"]["once"]


@pytest.mark.parametrize("name", ["two heads", "two heads, inside", "heads in a list, inside"])
def test_several_outputs_are_evaluated_each(found: Any, name: str) -> None:
    assert {"val/digit/confusion_matrix", "val/ink/residuals"} <= set(found[name]["charts"])
    rows = found[name]["tables"]["val/digit/confusion_matrix_counts"]
    assert sum(row[f"predicted {n}"] for row in rows for n in range(10)) == 128


def test_a_training_is_recorded_and_identical(
    backend: str, variables: dict[str, str], tmp_path: Path
) -> None:
    out = run(
        tmp_path,
        PROGRAM
        + """
bare = fit(network())
autolog.enable("keras", log_code=False)
model = network()
assert fit(model) == bare
print("accuracy", model.evaluate(X_val, y_val, verbose=0)[1])
""",
        **variables,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["framework/backend"] == backend
    assert len(values(kept, "vitals/epoch_seconds")) == 2
    accuracy = float(out.rpartition("accuracy")[2].split()[0])
    assert values(kept, "test/accuracy")[-1] == pytest.approx(accuracy)
    assert backend in kept["config"]["autolog/notes"]["vitals/grad_norm"]
    assert "autolog/faults" not in kept["config"]


def test_a_traceback_is_without_our_frames(backend: str, variables: dict[str, str], tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
import traceback, keras, numpy as np
X, y = np.ones((20, 4), "float32"), np.zeros(20, int)
class Refusing(keras.layers.Layer):
    def call(self, x, training=False):
        if place == ("train" if training else "test"):
            raise ValueError("his layer")
        return x
def lines():
    global place
    place = None
    model = keras.Sequential([keras.Input((4,)), Refusing(), keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    place = where
    try:
        model.fit(X, y, verbose=0, validation_data=(X, y))
    except ValueError as error:
        return [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
for where in ("train", "test"):
    for filters in (True, False):
        keras.config.enable_traceback_filtering() if filters else keras.config.disable_traceback_filtering()
        bare = lines()
        for compiled_steps in (False, True):
            with autolog.enabled("keras", log_code=False, compiled_steps=compiled_steps):
                seen = lines()
            assert seen == bare, (where, filters, compiled_steps, seen, bare)
print("the same")
""",
        **variables,
    )
    assert "the same" in out


LOOP = """
import keras, numpy as np
X, y = np.random.default_rng(0).random((32, 4)).astype("float32"), np.arange(32) % 3
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head")])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
if keras.backend.backend() == "jax":
    import jax
    def gradients_of(values, model):
        def of(values):
            predicted, _ = model.stateless_call(values, [], X)
            return loss(y, predicted)
        return jax.grad(of)(values)
    def steps(model, optimizer, compiled):
        optimizer.build(model.trainable_variables)
        def step(values, state):
            gradients = gradients_of(values, model)
            return gradients, *optimizer.stateless_apply(state, gradients, values)
        step = jax.jit(step) if compiled else step
        values = [v.value for v in model.trainable_variables]
        state = [v.value for v in optimizer.variables]
        for _ in range(3):
            gradients, values, state = step(values, state)
            yield gradients
else:
    import tensorflow as tf
    def steps(model, optimizer, compiled):
        def step():
            with tf.GradientTape() as tape:
                value = loss(y, model(X))
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return gradients
        step = tf.function(step) if compiled else step
        for _ in range(3):
            yield step()
def norm(gradients):
    return float(np.sqrt(sum((np.asarray(g) ** 2).sum() for g in gradients)))
for compiled in (False, True):
    sink = autolog.MemorySink()
    s.use(autolog.Settings(sink=sink, log_code=False, budget=1e9, log_every_n_steps=1))
    bare = [norm(gradients) for gradients in steps(network(), keras.optimizers.SGD(0.1), compiled)]
    model, optimizer, seen = network(), keras.optimizers.SGD(0.1), []
    with autolog.keras.watch(model, optimizer) as watch:
        for gradients in steps(model, optimizer, compiled):
            seen.append(norm(gradients))
            watch.step(gradients)
        watch.evaluate(y, model(X), loss=loss)
    assert seen == bare
    (found,) = sink.runs
    size, rate = "vitals/grad_norm", "vitals/lr"
    rows = [(step, row[size], row[rate]) for step, row in found.rows if size in row]
    assert np.allclose(rows, [(n + 1, seen[n], 0.1) for n in range(3)], rtol=1e-5), (compiled, rows, seen)
    assert "val/confusion_matrix" in found.charts and "autolog/faults" not in found.config, found.config
print("watched")
"""


def test_a_loop_of_ones_own_is_watched_eager_or_compiled(
    backend: str, variables: dict[str, str], tmp_path: Path
) -> None:
    assert "watched" in run(tmp_path, LOOP, **variables)
