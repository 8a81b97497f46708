"""A loop that is watched is the loop that it was, compiled and wrapped ones too; nothing is left on it."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import weakref
from typing import Any

import pytest
import torch
from torch.optim import optimizer as torch_optimizer

import autolog
from autolog import MemorySink
from autolog.core import training
from tests.torch.loops import backward, by_norm, naive, network, norms_of, only, sgd, train


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
    assert only(recording).values("vitals/grad_norm")


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
    assert watch.steps == 0


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
        assert watch.steps == 1
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
    training.end_abandoned_loops()
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
    assert "inside torch.compile" in only(recording).config["autolog/notes"]["vitals/grad_norm"]


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
    assert {"vitals/grad_norm/0.Linear", "vitals/grad_norm/3.Linear"} <= set(only(recording).metrics)


def test_a_wrapped_optimizer_is_watched_where_its_step_is(recording: MemorySink) -> None:
    class Wrapped(torch.optim.Optimizer):
        """As accelerate's: no hooks of its own."""

        def __init__(self, optimizer: torch.optim.Optimizer):
            self.optimizer = optimizer

    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, Wrapped(optimizer)):
        train(model, optimizer, 2)
    assert len(only(recording).values("vitals/grad_norm")) == 2


def test_without_an_optimizer_each_that_trains_the_model_counts(recording: MemorySink) -> None:
    model, other = network(), network()
    first, second, foreign = sgd(model, 0.1), sgd(model, 0.2), sgd(other)
    with autolog.torch.watch(model) as watch:
        train(other, foreign, 2)
        train(model, first, 2)
        train(model, second, 3)  # of the same parameters: it goes on where the first has stopped
        assert watch.steps == 5
    found = only(recording)
    assert found.values("vitals/lr") == [0.1, 0.1, 0.2, 0.2, 0.2]
    assert [step for step, row in found.rows if "vitals/lr" in row] == [1, 2, 3, 4, 5]
    assert found.config["params/lr"] == 0.1


def test_a_model_that_turns_a_part_of_itself_compiles_into_one_graph(recording: MemorySink) -> None:
    class Frozen(torch.nn.Sequential):
        def forward(self, given: Any) -> Any:
            self[1].eval()
            return super().forward(given)

    torch._dynamo.reset()
    model = Frozen(*network())
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(compiled, optimizer, 2)
    assert only(recording).values("vitals/grad_norm")
    torch._dynamo.reset()
