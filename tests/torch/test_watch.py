"""Loops of plain torch that are watched."""

from __future__ import annotations

import copy
import gc
import io
import math
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.utils import clip_grad_norm_, clip_grad_value_  # as scripts do, before anything is watched
from torch.optim import optimizer as torch_optimizer

import autolog
from autolog import MemorySink
from autolog.core import hooks, loops
from autolog.core import settings as settings_module
from autolog.sinks.memory import MemoryRun
from tests.programs import free_port, read, values
from tests.programs import run_warm as run
from tests.programs import start_warm as start

images, labels = load_digits(return_X_y=True)
X = torch.tensor(images[:64] / 16, dtype=torch.float32)
y = torch.tensor(labels[:64])
cross_entropy = torch.nn.functional.cross_entropy


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9, log_every_n_steps=1))
    yield sink
    autolog.finish()
    settings_module.use(None)
    assert hooks.installed() == []


def network(dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 10)
    ).to(dtype)


def sgd(model: torch.nn.Module, lr: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr)


def backward(model: Any, optimizer: torch.optim.Optimizer, rows: slice = slice(None)) -> torch.Tensor:
    optimizer.zero_grad()
    loss = cross_entropy(model(X[rows]), y[rows])
    loss.backward()
    return loss.detach()


def train(model: Any, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        backward(model, optimizer)
        optimizer.step()


def naive(model: torch.nn.Module) -> dict[str, float]:
    """The norms that a row should hold, of the gradients that are there."""
    squares: dict[str, float] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            module = f"grad_norm/{name.rpartition('.')[0]}"
            gradient = parameter.grad.to_dense().double()
            squares[module] = squares.get(module, 0) + float(gradient.square().sum())
    squares["grad_norm"] = sum(squares.values())
    return {name: math.sqrt(square) for name, square in squares.items()}


def norms_of(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key.startswith("grad_norm")}


def only(sink: MemorySink) -> MemoryRun:
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


# What is recorded -------------------------------------------------------------------------------------


def test_a_loop_is_a_whole_run(recording: MemorySink) -> None:
    model, expected, losses = network(), [], []
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    with autolog.torch.watch(model, optimizer, every=2) as watch:
        assert autolog.current_run() is watch.run
        for _ in range(5):
            losses.append(float(backward(model, optimizer)))
            expected.append(naive(model))
            optimizer.step()
            schedule.step()
            watch.log({"train/loss": losses[-1]})
        assert watch.step == 5
        assert only(recording).status == "running"
    found = only(recording)
    assert found.status == "finished"
    rows = [(step, row) for step, row in found.rows if "lr" in row]
    assert [step for step, _ in rows] == [1, 2, 4]
    for step, row in rows:
        assert norms_of(row) == pytest.approx(expected[step - 1])
        assert row["lr"] == 0.01 * 0.5 ** (step - 1)
        assert (0 < row["perf/step_seconds"] < 10) if step > 1 else "perf/step_seconds" not in row
    assert [(step, row["train/loss"]) for step, row in found.rows if "train/loss" in row] == list(
        zip(range(1, 6), losses, strict=True)
    )
    assert found.config["framework"] == "torch"
    assert found.config["model"] == "Sequential"
    assert found.config["model/parameters"] == sum(p.numel() for p in model.parameters())
    assert (found.config["optimizer"], found.config["params/lr"]) == ("Adam", 0.01)
    assert found.config["params"]["optimizer/betas"] == [0.9, 0.999]
    assert "autolog/notes" not in found.config


def by_value(model: torch.nn.Module) -> None:
    clip_grad_value_(model.parameters(), 1e-4)


def by_norm(model: torch.nn.Module) -> None:
    clip_grad_norm_(model.parameters(), 1e-4)


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
            assert naive(model)["grad_norm"] < 0.1 * expected["grad_norm"]
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
        assert watch.step == 1
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
            if not math.isfinite(expected["grad_norm"]):
                assert not recording.runs[0].values("grad_norm")
                scaler.update(1.0)
    found = only(recording)
    assert math.isfinite(expected["grad_norm"])
    assert found.values("grad_norm") == [pytest.approx(expected["grad_norm"])]
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
    assert only(recording).values("grad_norm/0") == [math.inf]
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
    assert set(row) == {"grad_norm", "grad_norm/3"}, "the optimizer changes nothing else"
    assert row["grad_norm"] == row["grad_norm/3"] == pytest.approx(naive(model)["grad_norm/3"])


def test_a_parameter_of_the_model_itself_has_its_name(recording: MemorySink) -> None:
    class Scale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(2.0))

    model = Scale()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        model.factor.square().backward()
        optimizer.step()
    assert only(recording).metrics["grad_norm/Scale"] == 4


def test_rates_of_several_groups(recording: MemorySink) -> None:
    model = network()
    groups: list[dict[str, Any]] = [
        {"params": model[0].parameters(), "name": "body"},
        {"params": model[3].parameters(), "lr": torch.tensor(0.5), "name": "head"},
    ]
    with autolog.torch.watch(model, optimizer := torch.optim.SGD(groups, 0.25)):
        train(model, optimizer, 1)
    assert (only(recording).metrics["lr/body"], only(recording).metrics["lr/head"]) == (0.25, 0.5)
    assert [group["params"] for group in only(recording).config["params"]["optimizer/groups"]] == [2, 2]


def test_parameters_and_histograms_if_wanted(recording: MemorySink) -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    with autolog.torch.watch(model, optimizer := sgd(model), parameters=True, histograms=True):
        train(model, optimizer, 5)
    found = only(recording)
    expected = math.sqrt(sum(float(p.square().sum()) for p in before))
    assert found.values("param_norm")[0] == pytest.approx(expected)
    assert found.values("param_norm/0")[0] == pytest.approx(
        math.hypot(*(float(p.norm()) for p in before[:2]))
    )
    assert set(found.charts) == {
        f"{kind}_histogram/{module}" for kind in ("grad", "param") for module in "013"
    }
    steps = [record["step"] for record in recording.records if record.get("key") == "grad_histogram/0"]
    assert steps == [1, 2, 4]
    data = found.charts["param_histogram/0"]["data"]
    assert [series["name"] for series in data["series"]] == ["step 1", "step 4"]
    assert sum(data["series"][0]["counts"]) == 64 * 8 + 8


def test_more_modules_than_one_can_look_at_have_one_norm(recording: MemorySink) -> None:
    model = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(101)])
    with autolog.torch.watch(model, optimizer := sgd(model), histograms=True):
        model(torch.ones(1, 2)).sum().backward()
        expected = naive(model)["grad_norm"]
        optimizer.step()
    found = only(recording)
    assert norms_of(found.metrics) == {"grad_norm": pytest.approx(expected)}
    assert "101 modules" in found.config["autolog/notes"]["grad_norm/modules"]
    assert "20 largest of 101" in found.config["autolog/notes"]["histograms"]
    assert len(found.charts) == 40


def test_what_passes_the_budget_is_left_out_and_said_once(recording: MemorySink) -> None:
    model = network()
    settings_module.use(autolog.Settings(sink=recording, log_code=False, budget=0.0, log_every_n_steps=1))
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 2)
        for _ in range(3):
            watch._allowance.spent = 1.0
            backward(model, optimizer)
            by_norm(model)
            watch._allowance.spent = 0.0  # there is time again, but they are not any more what they were
            optimizer.step()
    found = only(recording)
    assert len(found.values("grad_norm")) == 2
    assert len(found.values("lr")) == 5
    assert "left out at 3 steps" in found.config["autolog/notes"]["grad_norm"]


def test_a_resumed_training_goes_on_with_its_steps(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model), every=10, step=117) as watch:
        train(model, optimizer, 4)
        assert watch.step == 121
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


# The user's program stays as it was -------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False])
def test_a_training_is_bit_identical(recording: MemorySink, given: bool) -> None:
    def program(watched: bool) -> tuple[Any, ...]:
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        if watched:
            autolog.torch.watch(model, optimizer if given else None, parameters=True, histograms=True)
        for _ in range(5):
            loss = backward(torch.nn.Sequential(model, torch.nn.Dropout(0.1)), optimizer)
            by_norm(model)
            optimizer.step()
        if watched:
            autolog.torch.unwatch(model)
        weights = [p.detach().numpy().tobytes() for p in model.state_dict().values()]
        return weights, float(loss), torch.rand(3).tolist(), set(vars(model)), set(vars(optimizer))

    bare = program(False)
    assert program(False) == bare
    assert program(True) == bare
    assert only(recording).values("grad_norm")


def test_nothing_is_left_after_unwatch(recording: MemorySink) -> None:
    clip = torch.nn.utils.clip_grad

    def standing() -> list[Any]:
        of_all = (torch_optimizer._global_optimizer_pre_hooks, torch_optimizer._global_optimizer_post_hooks)
        of_one = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
        model_hooks = [
            dict(part) for m in model.modules() for name, part in vars(m).items() if "hooks" in name
        ]
        return [*map(dict, (*of_all, *of_one)), model_hooks, dict(vars(clip)), dict(vars(torch.nn.utils))]

    model = network()
    optimizer = sgd(model)
    optimizer.register_step_pre_hook(lambda *given: None)
    bare = standing()
    for given in (optimizer, None):
        autolog.torch.watch(model, given)
        assert standing() != bare
        autolog.torch.unwatch(model)
        assert standing() == bare
        autolog.torch.unwatch(model)
    watch = autolog.torch.watch(model, optimizer)
    autolog.finish()
    assert standing() == bare
    train(model, optimizer, 1)
    assert watch.step == 0


def test_watching_again_begins_anew(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    autolog.torch.watch(model, optimizer)
    train(model, optimizer, 2)
    second = autolog.torch.watch(model, optimizer)
    assert len(optimizer._optimizer_step_pre_hooks) == 1
    train(model, optimizer, 3)
    second.unwatch()
    assert [(found.status, len(found.rows)) for found in recording.runs] == [("finished", 2), ("finished", 3)]


def test_copies_are_not_watched_and_carry_nothing(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, optimizer) as watch:
        train(model, optimizer, 1)
        file = io.BytesIO()
        torch.save((model, optimizer, model.state_dict(), optimizer.state_dict()), file)
        assert b"autolog" not in file.getvalue()
        pickled = pickle.loads(pickle.dumps((model, optimizer)))
        saved = torch.load(io.BytesIO(file.getvalue()), weights_only=False)[:2]
        for copied, its_optimizer in (copy.deepcopy((model, optimizer)), pickled, saved):
            train(copied, its_optimizer, 1)
        assert watch.step == 1
    assert len(only(recording).rows) == 1


def test_the_model_is_not_kept_alive(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    gone = weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)
    autolog.torch.watch(model, optimizer, histograms=True)
    train(model, optimizer, 1)
    gc.disable()
    try:
        del model, optimizer
        assert [reference() for reference in gone] == [None] * 3
    finally:
        gc.enable()
    loops.end_abandoned_loops()
    assert only(recording).status == "finished"


@pytest.mark.parametrize("compiled_first", [True, False])
def test_a_compiled_model_is_watched(recording: MemorySink, compiled_first: bool) -> None:
    torch._dynamo.reset()
    model = network()
    optimizer = sgd(model)
    compiled = torch.compile(model, backend="aot_eager") if compiled_first else None
    with autolog.torch.watch(compiled or model, optimizer):
        compiled = compiled or torch.compile(model, backend="aot_eager")
        backward(compiled, optimizer)
        expected = naive(model)
        by_norm(model)
        optimizer.step()
    assert norms_of(only(recording).rows[0][1]) == pytest.approx(expected)


def test_a_compiled_step_works_and_is_said_not_to_be_seen(recording: MemorySink) -> None:
    torch._dynamo.reset()

    def trained(watched: bool) -> list[list[float]]:
        model = network()
        optimizer = sgd(model)

        @torch.compile(backend="eager")
        def step() -> None:
            by_norm(model)
            optimizer.step()

        if watched:
            autolog.torch.watch(model, optimizer)
        for _ in range(2):
            backward(model, optimizer)
            step()
        autolog.torch.unwatch(model)
        return [p.tolist() for p in model.parameters()]

    assert trained(True) == trained(False)
    assert "inside torch.compile" in only(recording).config["autolog/notes"]["grad_norm"]


def test_clipping_compiles_into_one_graph(recording: MemorySink) -> None:
    torch._dynamo.reset()
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        backward(model, optimizer)
        torch.compile(by_norm, backend="eager", fullgraph=True)(model)


def test_a_wrapped_model_has_its_own_names(recording: MemorySink) -> None:
    model = torch.nn.DataParallel(network())
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(model, optimizer, 1)
    assert {"grad_norm/0", "grad_norm/3"} <= set(only(recording).metrics)


def test_a_wrapped_optimizer_is_watched_where_its_step_is(recording: MemorySink) -> None:
    class Wrapped(torch.optim.Optimizer):
        """As accelerate's: no hooks of its own."""

        def __init__(self, optimizer: torch.optim.Optimizer):
            self.optimizer = optimizer

    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, Wrapped(optimizer)):
        train(model, optimizer, 2)
    assert len(only(recording).values("grad_norm")) == 2


def test_without_an_optimizer_the_first_that_trains_the_model_is_taken(recording: MemorySink) -> None:
    model, other = network(), network()
    first, second, foreign = sgd(model, 0.1), sgd(model, 0.2), sgd(other)
    with autolog.torch.watch(model) as watch:
        train(other, foreign, 2)
        train(model, first, 2)
        train(model, second, 3)
        assert watch.step == 2
    found = only(recording)
    assert found.values("lr") == [0.1, 0.1]
    assert found.config["params/lr"] == 0.1


# Runs -------------------------------------------------------------------------------------------------


def test_in_a_run_of_the_users_own(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.run("his") as his:
        with autolog.torch.watch(model, optimizer) as watch:
            assert watch.run is his
            train(model, optimizer, 2)
        his.log({"after": 1.0})
    assert (only(recording).name, only(recording).status) == ("his", "finished")
    with pytest.raises(autolog.RunError, match="already finished"):
        autolog.torch.watch(model, optimizer, run=his)


def test_a_run_that_ends_is_watched_no_more(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.run("his") as his:
        autolog.torch.watch(model, optimizer, run=his)
        train(model, optimizer, 2)
    train(model, optimizer, 2)
    assert len(only(recording).rows) == 2
    assert not optimizer._optimizer_step_pre_hooks


def test_an_end_from_another_thread_lets_the_hooks_sleep(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    watch = autolog.torch.watch(model, optimizer)
    train(model, optimizer, 1)
    thread = threading.Thread(target=autolog.finish)
    thread.start()
    thread.join()
    assert optimizer._optimizer_step_pre_hooks, "the loop may be going through them"
    train(model, optimizer, 2)
    assert (watch.step, only(recording).status, len(only(recording).rows)) == (1, "finished", 1)
    watch.unwatch()
    assert not optimizer._optimizer_step_pre_hooks


def test_a_loop_that_raises_has_failed(recording: MemorySink) -> None:
    model = network()
    with pytest.raises(ZeroDivisionError), autolog.torch.watch(model, sgd(model)):
        raise ZeroDivisionError
    assert only(recording).status == "failed"
    assert "ZeroDivisionError" in only(recording).alerts[0]["title"]


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("", 0, "finished"),
        ("autolog.finish()", 0, "finished"),
        ("raise ValueError('his')", 1, "failed"),
        ("raise KeyboardInterrupt", -2, "killed"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -15, "killed"),
    ],
)
def test_how_a_program_ends_is_how_its_loop_ends(tmp_path: Path, end: str, code: int, status: str) -> None:
    program = """
        import torch
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        autolog.torch.watch(model, optimizer, every=1)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        if os.fork() == 0:
            optimizer.step()  # of a copy, in a process of its own
            sys.exit()
        os.wait()
    """
    run(tmp_path, f"{program}\n        {end}", code=code, AUTOLOG_BUDGET="1000")
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert len(values(kept, "grad_norm")) == 1
    assert [alert["title"].split(": ")[1] for alert in kept["alerts"]] == ["ValueError"] * (
        status == "failed"
    )


def test_switched_off_it_counts_and_records_nothing(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOLOG_DISABLE", "1")
    monkeypatch.setattr("autolog.capture.gradients.norms", None)  # is not called
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 2)
        watch.log({"loss": 1.0})
        assert watch.step == 2
    assert recording.runs == []


def test_another_rank_counts_and_records_nothing(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    model = network()
    optimizer = sgd(model)
    autolog.torch.watch(model, optimizer)
    with autolog.torch.watch(model, optimizer) as watch:
        assert len(optimizer._optimizer_step_pre_hooks) == 1
        train(model, optimizer, 2)
        watch.log({"loss": 1.0})
        assert watch.step == 2
    assert recording.runs == []


@pytest.mark.parametrize("rank", ["3", "first"])
def test_a_rank_of_nobodys_is_none(recording: MemorySink, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)  # and no WORLD_SIZE: no launcher has set it
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(model, optimizer, 2)
    assert len(only(recording).values("grad_norm")) == 2


def test_the_next_optimizer_when_the_first_is_gone(recording: MemorySink) -> None:
    """A head is trained first, then all of it."""
    model = network()
    with autolog.torch.watch(model):
        train(model, torch.optim.SGD(model[3].parameters(), 0.1), 2)
        gc.collect()
        train(model, sgd(model, 0.01), 3)
    assert only(recording).values("lr") == [0.1, 0.1, 0.01, 0.01, 0.01]


model_of_tests = network()


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ((3,), TypeError, "the model is int; expected a torch.nn.Module"),
        ((model_of_tests, "adam"), TypeError, "the optimizer is str; expected a torch.optim.Optimizer"),
        ((model_of_tests, sgd(network())), ValueError, "has no parameter of this Sequential. Make it from"),
        ((model_of_tests, None, {"every": -1}), ValueError, "every=-1; expected a number"),
        ((model_of_tests, None, {"every": 2.5}), TypeError, "every=2.5; expected a whole number"),
        ((model_of_tests, None, {"step": True}), TypeError, "step=True; expected a whole number"),
        ((model_of_tests, None, {"run": "his"}), TypeError, "expected a run"),
    ],
)
def test_wrong_arguments_are_told_in_words(
    recording: MemorySink, given: tuple[Any, ...], error: type[Exception], said: str
) -> None:
    *positional, named = given if isinstance(given[-1], dict) else (*given, {})
    with pytest.raises(error, match=said):
        autolog.torch.watch(*positional, **named)
    assert recording.runs == []
    with pytest.raises(TypeError, match=r"unwatch: the model is str"):
        autolog.torch.unwatch("model")  # type: ignore[arg-type]


# Many processes ---------------------------------------------------------------------------------------

PROCESSES = """
    import torch, torch.distributed as dist
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, kind = dist.get_rank(), os.environ["KIND"]
    torch.manual_seed(0)
    model = top = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))
    X = torch.randn(8, 5)
    model(X).square().mean().backward()
    expected = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
    model.zero_grad()
    if kind == "DDP":
        top = torch.nn.parallel.DistributedDataParallel(model)
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        mesh = init_device_mesh("cpu", (2,))
        for part in (model[0], model[2], model):
            fully_shard(part, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    if kind != "FSDP 2, rank zero alone" or rank == 0:
        autolog.torch.watch(top, optimizer, every=1, on_every_rank=kind == "FSDP 2")
    for _ in range(3):
        optimizer.zero_grad()
        top(X[4 * rank : 4 * rank + 4]).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
    autolog.torch.unwatch(top)
    print("expected", float(expected))
    dist.destroy_process_group()
"""


@pytest.mark.parametrize("kind", ["DDP", "FSDP 2", "FSDP 2, rank zero alone"])
def test_of_two_processes_the_first_records_the_whole(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("torch.distributed.fsdp", reason="this torch has no FSDP")
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    variables = {**place, "KIND": kind, "AUTOLOG_BUDGET": "1000"}
    processes = [start(tmp_path, PROCESSES, RANK=str(rank), **variables) for rank in range(2)]
    out = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], out
    (kept,) = read(tmp_path)
    assert "autolog/faults" not in kept["config"]
    assert len(values(kept, "lr")) == 3
    if kind == "FSDP 2, rank zero alone":
        assert not values(kept, "grad_norm")
        assert "on_every_rank=True" in kept["config"]["autolog/notes"]["grad_norm"]
    else:
        expected = float(out[0][0].split("expected")[1])
        assert values(kept, "grad_norm") == pytest.approx([expected] * 3, rel=1e-4)
        first = next(row for row in kept["logs"] if "grad_norm" in row)
        assert set(first) >= {"grad_norm/0", "grad_norm/2"}
