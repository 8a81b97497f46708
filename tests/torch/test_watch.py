"""Loops of plain torch that are watched."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import torch

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from tests.torch.loops import backward, by_norm, naive, network, norms_of, only, sgd, train


def test_the_room_shows_what_a_user_calls() -> None:
    assert dir(autolog.torch) == ["Watch", "unwatch", "watch"]


# What is recorded -------------------------------------------------------------------------------------


def test_a_loop_is_a_whole_run(recording: MemorySink) -> None:
    model, expected, losses = network(), [], []
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    began = time.perf_counter()
    with autolog.torch.watch(model, optimizer, every=2) as watch:
        assert autolog.current_run() is watch.run
        for _ in range(5):
            losses.append(float(backward(model, optimizer)))
            expected.append(naive(model))
            optimizer.step()
            schedule.step()
            watch.log({"train/loss": losses[-1]})
        assert watch.steps == 5
        assert only(recording).status == "running"
    took = time.perf_counter() - began
    found = only(recording)
    assert found.status == "finished"
    rows = [(step, row) for step, row in found.rows if "vitals/lr" in row]
    assert [step for step, _ in rows] == [1, 2, 4]
    for step, row in rows:
        assert norms_of(row) == pytest.approx(expected[step - 1])
        assert row["vitals/lr"] == 0.01 * 0.5 ** (step - 1)
        assert (0 < row["vitals/step_seconds"] < took) if step > 1 else "vitals/step_seconds" not in row
    assert [(step, row["train/loss"]) for step, row in found.rows if "train/loss" in row] == list(
        zip(range(1, 6), losses, strict=True)
    )
    assert found.config["framework"] == "torch"
    assert found.config["model"] == "Sequential"
    assert found.config["model/parameters"] == sum(p.numel() for p in model.parameters())
    assert (found.config["optimizer"], found.config["params/lr"]) == ("Adam", 0.01)
    assert found.config["params"]["optimizer/betas"] == [0.9, 0.999]
    assert found.config["seed/torch"] == 0  # by `network()`
    assert "autolog/notes" not in found.config


def test_a_seed_that_nobody_has_given_is_none(recording: MemorySink) -> None:
    model = network()
    torch.seed()  # 64 random bits, as in a process that has not seeded
    with autolog.torch.watch(model):
        pass
    assert not {"seed", "seed/torch"} & set(only(recording).config)


def test_rates_of_several_groups(recording: MemorySink) -> None:
    model = network()
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "name": "body"},
        {"params": model[3].parameters(), "lr": torch.tensor(0.5), "name": "head"},
    ]
    with autolog.torch.watch(model, optimizer := torch.optim.SGD(groups, 0.25)):
        train(model, optimizer, 1)
    assert (only(recording).metrics["vitals/lr/body"], only(recording).metrics["vitals/lr/head"]) == (
        0.25,
        0.5,
    )
    assert [group["params"] for group in only(recording).config["params"]["optimizer/groups"]] == [2, 2]


def test_parameters_and_histograms_if_wanted(recording: MemorySink) -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    with autolog.torch.watch(model, optimizer := sgd(model), parameters=True, histograms=True):
        train(model, optimizer, 5)
    found = only(recording)
    expected = math.sqrt(sum(float(p.square().sum()) for p in before))
    assert found.values("vitals/param_norm")[0] == pytest.approx(expected)
    assert found.values("vitals/param_norm/0.Linear")[0] == pytest.approx(
        math.hypot(*(float(p.norm()) for p in before[:2]))
    )
    assert set(found.charts) == {
        f"{kind}_histogram/{module}"
        for kind in ("grad", "param")
        for module in ("0.Linear", "1.BatchNorm1d", "3.Linear")
    }
    steps = [record["step"] for record in recording.records if record.get("key") == "grad_histogram/0.Linear"]
    assert steps == [1, 2, 4]
    data = found.charts["param_histogram/0.Linear"]["data"]
    assert [series["name"] for series in data["series"]] == ["step 1", "step 4"]
    assert sum(data["series"][0]["counts"]) == 64 * 8 + 8


def test_more_modules_than_one_can_look_at_have_one_norm(recording: MemorySink) -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(21)])
    with autolog.torch.watch(model, optimizer := sgd(model), histograms=True):
        model(torch.ones(1, 2)).sum().backward()
        expected = naive(model)["vitals/grad_norm"]
        optimizer.step()
    found = only(recording)
    assert norms_of(found.metrics) == {"vitals/grad_norm": pytest.approx(expected)}
    note = found.config["autolog/notes"]["vitals/grad_norm/modules"]
    assert note == "left out of 21 modules; Settings.gradient_modules=21 records them"
    assert "20 largest of 21" in found.config["autolog/notes"]["histograms"]
    assert len(found.charts) == 40


def test_what_passes_the_budget_is_left_out_and_said_once(recording: MemorySink) -> None:
    model = network()
    settings_module.use(autolog.Settings(sink=recording, log_code=False, budget=0.0, log_every_n_steps=1))
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(model, optimizer, 2)
        for _ in range(3):
            backward(model, optimizer)
            by_norm(model)
            optimizer.step()
    found = only(recording)
    assert len(found.values("vitals/grad_norm")) == 1
    assert len(found.values("vitals/lr")) == 5
    assert "left out at 4 steps" in found.config["autolog/notes"]["vitals/grad_norm"]


def test_a_resumed_training_goes_on_with_its_steps(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model), every=10, step=117) as watch:
        train(model, optimizer, 4)
        assert watch.steps == 121
    assert [step for step, _ in only(recording).rows] == [118, 120]


def test_no_rows_if_none_are_wanted(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model), every=0) as watch:
        train(model, optimizer, 2)
        watch.log({"loss": 1.0})
    assert only(recording).rows == [(2, {"loss": 1.0})]


# Alerts -----------------------------------------------------------------------------------------------


def alerts_of(recording: MemorySink, gradients: list[tuple[float, float]]) -> list[str]:
    """Titles of the alerts after steps with these gradients of two modules."""
    model = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1, bias=False) for name in ("a", "b")})
    parameters = list(model.parameters())
    with autolog.torch.watch(model, optimizer := sgd(model, 0.0)):
        for pair in gradients:
            for parameter, gradient in zip(parameters, pair, strict=True):
                parameter.grad = torch.full_like(parameter, gradient)
            optimizer.step()
    return [alert["title"] for alert in only(recording).alerts]


STEADY = [(1.0, 1.0)] * 6


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        (STEADY, []),
        ([*STEADY, (math.nan, 1.0), (1.0, math.inf)], ["Gradients are not finite"]),
        ([*STEADY, (1e3, 1.0), (1e3, 1.0)], ["Gradients are exploding"]),
        ([(1e3, 1.0), *STEADY], []),
        ([(1e-3, 1e-3), *STEADY], []),
        ([*STEADY, *[(1e-9, 1.0)] * 6], ["Gradients are vanishing"]),
        ([(0.0, 1.0), *STEADY], []),
    ],
    ids=[
        "steady",
        "not finite",
        "exploding",
        "large at first",
        "small at first",
        "vanishing",
        "zero at first",
    ],
)
def test_each_kind_of_trouble_is_one_alert(
    recording: MemorySink, gradients: list[tuple[float, float]], expected: list[str]
) -> None:
    assert alerts_of(recording, gradients) == expected
