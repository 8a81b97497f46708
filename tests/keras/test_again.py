"""A loop of ``fit`` over one training is one run; whatever else calls ``fit`` twice are two."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import autolog
from autolog import MemorySink

X = np.random.default_rng(0).random((40, 6)).astype("float32")
y = X.sum(axis=1)


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, log_every_n_steps=0):
        yield sink
    autolog.finish()
    assert not any("autolog/faults" in run.config for run in sink.runs)


def line() -> Any:
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def epochs(sink: MemorySink) -> list[list[int]]:
    """Of each run the steps at which its epochs have ended."""
    return [[step for step, row in run.rows if "vitals/epoch_seconds" in row] for run in sink.runs]


def test_a_loop_is_one_run(recording: MemorySink) -> None:
    model = line()
    for _ in range(3):
        model.fit(X, y, batch_size=8, verbose=0)
    assert epochs(recording) == [[5, 10, 15]]
    assert recording.runs[0].config["epochs"] == 3
    assert recording.runs[0].status == "finished"


def test_so_it_is_by_a_function_and_with_its_own_numbers(recording: MemorySink) -> None:
    def one_more(model: Any, epoch: int) -> None:
        model.fit(X, y, batch_size=8, initial_epoch=epoch, epochs=epoch + 1, verbose=0)

    model = line()
    for epoch in range(3):
        one_more(model, epoch)
    assert epochs(recording) == [[5, 10, 15]]


def test_a_run_around_holds_all_of_it(recording: MemorySink) -> None:
    model = line()
    with autolog.run():
        for _ in range(2):
            model.fit(X, y, batch_size=8, verbose=0)
    assert epochs(recording) == [[5, 10]]


@pytest.mark.parametrize("what", ["compiled", "data", "weights"])
def test_what_is_another_training_is_another_run(recording: MemorySink, what: str) -> None:
    model = line()
    before, x = model.get_weights(), X
    for _ in range(2):
        model.fit(x, y, batch_size=8, verbose=0)
        if what == "compiled":
            model.compile("sgd", "mae")
        elif what == "data":
            x = X[:]
        else:
            model.set_weights(before)
    assert [len(run) for run in epochs(recording)] == [1, 1]


def test_two_lines_are_two_runs(recording: MemorySink) -> None:
    model = line()
    model.fit(X, y, batch_size=8, verbose=0)
    model.fit(X, y, batch_size=8, verbose=0)
    assert [len(run) for run in epochs(recording)] == [1, 1]


def test_after_an_error_it_is_another_run(recording: MemorySink) -> None:
    class Failing(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            raise RuntimeError("his")

    model = line()
    for callbacks in ([], [Failing()], []):
        try:
            model.fit(X, y, batch_size=8, verbose=0, callbacks=callbacks)
        except RuntimeError:
            pass
    assert [run.status for run in recording.runs] == ["failed", "finished"]
