"""Norms of gradients: before clipping, unscaled, of the step that was made."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_  # as scripts do, before anything is watched

import autolog
from autolog import MemorySink
from tests.torch.loops import X, backward, by_norm, cross_entropy, naive, network, norms_of, only, sgd, y


def by_value(model: torch.nn.Module) -> None:
    clip_grad_value_(model.parameters(), 1e-4)


def by_both(model: torch.nn.Module) -> None:
    by_norm(model)
    by_value(model)


def by_parameter(model: torch.nn.Module) -> None:
    for parameter in model.parameters():
        clip_grad_norm_(parameter, 1e-4, foreach=False)


def by_hand_with_torchs_norm(model: torch.nn.Module) -> None:
    parameters = list(model.parameters())
    whole = torch.nn.utils.get_total_norm([p.grad for p in parameters])
    torch.nn.utils.clip_grads_with_norm_(parameters, 1e-4, whole)


CLIPS = [by_value, by_norm, by_both, by_parameter, by_hand_with_torchs_norm]


@pytest.mark.parametrize("clip", CLIPS)
def test_norms_are_those_before_clipping(
    recording: MemorySink, clip: Callable[[torch.nn.Module], None]
) -> None:
    if clip is by_hand_with_torchs_norm and not hasattr(torch.nn.utils, "get_total_norm"):
        pytest.skip("torch.nn.utils.get_total_norm is newer than this torch")
    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, optimizer):
        for _ in range(2):
            backward(model, optimizer)
            expected = naive(model)
            clip(model)
            assert naive(model)["vitals/grad_norm"] < 0.1 * expected["vitals/grad_norm"]
            optimizer.step()
            assert norms_of(only(recording).rows[-1][1]) == pytest.approx(expected)


@pytest.mark.parametrize("clips", [False, True])
def test_accumulated_gradients_are_one_step(recording: MemorySink, clips: bool) -> None:
    model, other = network(), network()
    optimizer = sgd(model)
    backward(other, sgd(other))
    with autolog.torch.watch(model, optimizer) as watch:
        for part in (slice(0, 32), slice(32, 64)):
            cross_entropy(model(X[part]), y[part]).backward()
            by_norm(other)
        expected = naive(model)
        if clips:
            by_norm(model)
        optimizer.step()
        assert watch.steps == 1
    assert norms_of(only(recording).rows[0][1]) == pytest.approx(expected)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("clips", [False, True])
def test_gradients_under_a_scaler_are_unscaled(recording: MemorySink, fused: bool, clips: bool) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=fused)
    backward(model, optimizer)
    expected = naive(model)
    optimizer.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with autolog.torch.watch(model, optimizer):
        scaler.scale(cross_entropy(model(X), y)).backward()
        if clips:
            scaler.unscale_(optimizer)
            by_norm(model)
        scaler.step(optimizer)
        scaler.update()
    assert norms_of(only(recording).rows[0][1]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("to_none", [False, True])
def test_a_step_that_the_scaler_skips_leaves_no_norms(
    recording: MemorySink, fused: bool, to_none: bool
) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    with autolog.torch.watch(model, optimizer):
        for _ in range(2):
            optimizer.zero_grad(set_to_none=to_none)
            scaler.scale(1e4 * cross_entropy(model(X), y)).backward()
            scaler.unscale_(optimizer)
            expected = naive(model)
            by_norm(model)
            scaler.step(optimizer)
            if not math.isfinite(expected["vitals/grad_norm"]):
                assert not recording.runs[0].values("vitals/grad_norm")
                scaler.update(1.0)
    found = only(recording)
    assert math.isfinite(expected["vitals/grad_norm"])
    assert found.values("vitals/grad_norm") == [pytest.approx(expected["vitals/grad_norm"])]
    assert found.alerts == []


def test_a_step_that_the_user_skips_leaves_no_norms(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, optimizer):
        backward(model, optimizer)
        by_norm(model)  # "too large, I leave this batch out"
        backward(model, optimizer, slice(0, 16))
        expected = naive(model)
        by_norm(model)
        optimizer.step()
    assert norms_of(only(recording).rows[0][1]) == pytest.approx(expected)


def test_what_clipping_has_made_finite_was_not(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        backward(model, optimizer)
        model[0].weight.grad[0, 0] = math.inf
        by_value(model)
        optimizer.step()
    assert only(recording).values("vitals/grad_norm/0.Linear") == [math.inf]
    assert [alert["title"] for alert in only(recording).alerts] == ["Gradients are not finite"]


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("kind", ["LBFGS", "SGD", "by name"])
def test_a_closures_gradients_are_those_of_its_last_call(
    recording: MemorySink, kind: str, clips: bool
) -> None:
    model, seen = network(), []
    optimizer: Any = sgd(model)
    if kind == "LBFGS":
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> torch.Tensor:
        loss = backward(model, optimizer)
        seen.append(naive(model))
        if clips:
            by_norm(model)
        return loss

    with autolog.torch.watch(model, optimizer):
        for _ in range(2):
            optimizer.step(closure=closure) if kind == "by name" else optimizer.step(closure)
            assert norms_of(only(recording).rows[-1][1]) == pytest.approx(seen[-1])
    assert [step for step, _ in only(recording).rows] == [1, 2]


def test_sparse_gradients(recording: MemorySink) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(50, 4, sparse=True), torch.nn.Flatten())
    optimizer = torch.optim.SparseAdam(list(model.parameters()))
    with autolog.torch.watch(model, optimizer):
        model(torch.tensor([[1, 1, 2]])).square().sum().backward()
        expected = naive(model)
        optimizer.step()
    assert norms_of(only(recording).rows[0][1]) == pytest.approx(expected)


def test_frozen_and_foreign_parameters_are_left_out(recording: MemorySink) -> None:
    model = network()
    model[0].requires_grad_(False)
    optimizer = sgd(model[3])
    with autolog.torch.watch(model, optimizer):
        backward(model, optimizer)
        optimizer.step()
    row = norms_of(only(recording).rows[0][1])
    assert set(row) == {"vitals/grad_norm", "vitals/grad_norm/3.Linear"}, "the optimizer changes nothing else"
    assert (
        row["vitals/grad_norm"]
        == row["vitals/grad_norm/3.Linear"]
        == pytest.approx(naive(model)["vitals/grad_norm/3.Linear"])
    )


def test_a_parameter_of_the_model_itself_has_its_name(recording: MemorySink) -> None:
    class Scale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(2.0))

    model = Scale()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        model.factor.square().backward()
        optimizer.step()
    assert only(recording).metrics["vitals/grad_norm/Scale"] == 4
