"""Evaluations in a loop of one's own that tell what they are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy, mse_loss  # as scripts do, before anything is watched

import autolog
from autolog import MemorySink
from autolog.torch import heard
from tests.torch.loops import X, network, only, sgd, train, y

VAL, TEST = slice(0, 24), slice(24, 64)


def evaluate(model: Any, rows: slice, loss: Any = cross_entropy, truth: Any = y) -> dict[str, float]:
    model.eval()
    losses, right = [], 0
    with torch.no_grad():
        for start in range(rows.start, rows.stop, 8):
            batch = slice(start, min(start + 8, rows.stop))
            scores = model(X[batch])
            losses.append(float(loss(scores, truth[batch])))
            if not truth.is_floating_point():
                right += int((scores.argmax(1) == truth[batch]).sum())
    model.train()
    return {"loss": sum(losses) / len(losses), "accuracy": right / (rows.stop - rows.start)}


def matrix_of(model: Any, rows: slice) -> list[list[int]]:
    model.eval()
    with torch.no_grad():
        guesses = model(X[rows]).argmax(1)
    model.train()
    return [[int(((y[rows] == a) & (guesses == b)).sum()) for b in range(10)] for a in range(10)]


def matrix(found: Any, name: str) -> list[list[int]]:
    rows = found.tables[f"{name}/confusion_matrix_counts"]
    return [[value for key, value in row.items() if key != "true"] for row in rows]


@pytest.mark.parametrize("keys", ["val/{}", "val_{}", "validation {}"])
@pytest.mark.parametrize("logs", [("loss",), ("accuracy",), ("loss", "accuracy")])
def test_the_last_evaluation_of_each_set_is_told(
    recording: MemorySink, keys: str, logs: tuple[str, ...]
) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        for _ in range(2):
            train(model, optimizer, 3)
            told = evaluate(model, VAL)
            watch.log({"train/loss": 0.5, **{keys.format(name): told[name] for name in logs}})
        told = evaluate(model, TEST)
        watch.log({f"test/{name}": told[name] for name in logs})
        expected = matrix_of(model, VAL), matrix_of(model, TEST)
    found = only(recording)
    assert (matrix(found, "val"), matrix(found, "test")) == expected
    assert ("val/confusion_matrix", 6) in [(key, step) for step, key in found.drawn]
    assert found.metrics["val/balanced_accuracy"] > 0
    if keys == "val/{}" and "accuracy" in logs:
        assert [step for step, row in found.rows if "val/accuracy" in row] == [3, 6], "it is not said again"
    assert "autolog/notes" not in found.config or "val/confusion_matrix" not in found.config["autolog/notes"]


def test_amounts_are_told_too(recording: MemorySink) -> None:
    model, truth = network(), torch.rand(64, 10)
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 1)
        watch.log({"val/loss": evaluate(model, VAL, mse_loss, truth)["loss"]})
    assert {"val/mae", "val/r2"} <= set(only(recording).metrics)


def test_what_is_logged_late_is_of_the_weights_that_predicted(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 3)
        told = evaluate(model, VAL)
        train(model, optimizer, 2)
        watch.log({"val/loss": told["loss"]})
    assert [step for step, row in only(recording).rows if "val/accuracy" in row] == [3]


def test_what_is_logged_by_itself_is_not_overwritten(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 1)
        watch.log({"val/loss": evaluate(model, VAL)["loss"]})
        watch.log({"val/accuracy": 0.123})
    found = only(recording)
    assert found.values("val/accuracy") == [0.123]
    assert found.values("val/balanced_accuracy")


def log_both(watch: Any, model: Any) -> None:
    """Two sets between one pair of `eval` and `train`: where the second one begins nobody says."""
    model.eval()
    with torch.no_grad():
        one, other = (cross_entropy(model(X[rows]), y[rows]) for rows in (VAL, TEST))
    model.train()
    watch.log({"val/loss": one, "test/loss": other})


def log_another(watch: Any, model: Any) -> None:
    watch.log({"val/loss": evaluate(model, VAL)["loss"] + 0.5})


def log_of_a_teacher(watch: Any, model: Any) -> None:
    model.eval()
    with torch.no_grad():
        cross_entropy(network()(X[VAL]), y[VAL])
    watch.log({"val/accuracy": evaluate(model, VAL)["accuracy"] + 0.2})


@pytest.mark.parametrize("log", [log_both, log_another, log_of_a_teacher])
def test_what_is_not_known_is_not_told_and_said(recording: MemorySink, log: Callable[..., None]) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 1)
        log(watch, model)
    found = only(recording)
    assert not found.tables
    said = " ".join(found.config["autolog/notes"].values())
    assert "Call watch.evaluate(y, scores)" in said


def test_steps_of_the_training_call_torchs_own_functions(recording: MemorySink) -> None:
    model = network()
    original = torch._C._nn.cross_entropy_loss
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 1)
        assert torch._C._nn.cross_entropy_loss is original
        model.eval()
        assert torch._C._nn.cross_entropy_loss is not original
        model.train()
        assert torch._C._nn.cross_entropy_loss is original
        model.eval()  # a training with frozen statistics
        train(model, optimizer, 1)
        assert torch._C._nn.cross_entropy_loss is original
        model.eval()
        watch.log({"val/loss": 1.0})
    assert torch._C._nn.cross_entropy_loss is original
    assert not heard._listeners


def test_it_is_bit_identical(recording: MemorySink) -> None:
    def program(watched: bool) -> tuple[Any, ...]:
        model = network()
        optimizer = sgd(model)
        watch = autolog.torch.watch(model, optimizer) if watched else None
        seen = []
        for _ in range(3):
            train(model, optimizer, 2)
            seen.append(evaluate(model, VAL))
            if watch is not None:
                watch.log({"val/loss": seen[-1]["loss"]})
        if watch is not None:
            watch.unwatch()
        return seen, [p.tolist() for p in model.parameters()], torch.rand(2).tolist()

    assert program(True) == program(False)
    assert "val/confusion_matrix" in only(recording).charts
