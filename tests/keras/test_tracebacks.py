"""A user's traceback ends where it always did, and has none of our frames in it."""

from __future__ import annotations

import importlib.util
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import autolog
from autolog import MemorySink
from tests.programs import run

X, y = np.ones((20, 4), "float32"), np.zeros(20, int)


class Refusing(keras.metrics.Metric):  # type: ignore[misc]
    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        raise ValueError("his metric")

    def result(self) -> Any:
        return 0.0


def deep_in_keras() -> Any:
    """One-hot targets are asked for, and there are none: Keras raises below all that we hook."""
    return keras.metrics.CategoricalCrossentropy()


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("metric", [Refusing, deep_in_keras])
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_keras_cuts_off_what_it_always_did(sink: MemorySink, filters: bool, metric: Any, method: str) -> None:
    def lines() -> list[tuple[str, int | None]]:
        model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=[metric()])
        try:
            getattr(model, method)(X, y, **({} if method == "train_on_batch" else {"verbose": 0}))
        except ValueError as error:
            frames = traceback.extract_tb(error.__traceback__)
            return [(frame.filename, frame.lineno) for frame in frames]
        raise AssertionError

    enable = keras.config.enable_traceback_filtering
    (enable if filters else keras.config.disable_traceback_filtering)()
    try:
        bare = lines()
        with autolog.enabled("keras", sink=sink, log_code=False):
            assert lines() == bare
    finally:
        enable()
        autolog.finish()
    assert sink.runs[-1].status == "failed"


PROGRAM = """
import contextlib, io, re, keras, numpy as np
from IPython.core.interactiveshell import InteractiveShell
class Refusing(keras.layers.Layer):
    def call(self, x):
        if is_built:
            raise ValueError("his layer")
        return x
def fit():
    global is_built
    is_built = False
    model = keras.Sequential([keras.Input((4,)), Refusing(), keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    is_built = True
    model.fit(np.ones((20, 4), "float32"), np.zeros(20, int), verbose=0)
shell = InteractiveShell.instance(user_ns={"fit": fit}, history_load_length=0)
def shown():
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        assert not shell.run_cell("fit()").success
    return re.sub(r"0x[0-9a-f]+|sequential_?[0-9]*|In\\[.*?\\]", "", printed.getvalue())
bare = shown()
assert "his layer" in bare
with autolog.enabled("keras", log_code=False):
    seen = shown()
assert seen == bare, (seen, bare)
print("the same")
"""


@pytest.mark.slow
def test_a_notebook_shows_what_it_always_did(tmp_path: Path) -> None:
    if importlib.util.find_spec("IPython") is None:
        pytest.skip("IPython is not installed")
    out = run(tmp_path, PROGRAM, KERAS_BACKEND="torch", IPYTHONDIR=str(tmp_path / "ipython"))
    assert "the same" in out
