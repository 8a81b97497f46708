"""Loops of several models, of several optimizers, and steps that no optimizer tells of."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun
from tests.torch.loops import X, backward, network, only, sgd, train, y


def norm_of(parameters: Any) -> float:
    return math.sqrt(sum(float(p.grad.double().square().sum()) for p in parameters))


class Generator(torch.nn.Linear):
    pass


class Critic(torch.nn.Linear):
    pass


class Gan:
    """Two models, each with its optimizer; the norms of what each one has applied."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator, self.critic = Generator(4, 8), Critic(8, 1)
        self.of_generator = torch.optim.Adam(self.generator.parameters(), 0.01)
        self.of_critic = torch.optim.SGD(self.critic.parameters(), 0.1)
        self.norms: dict[str, list[float]] = {"Generator": [], "Critic": []}

    def step_of_critic(self) -> None:
        self.of_critic.zero_grad()
        self.critic(torch.ones(3, 8)).square().mean().backward()
        self.norms["Critic"].append(norm_of(self.critic.parameters()))
        self.of_critic.step()

    def step_of_generator(self) -> None:
        self.of_generator.zero_grad()
        self.critic(self.generator(torch.ones(3, 4))).mean().backward()  # leaves gradients in the critic, too
        self.norms["Generator"].append(norm_of(self.generator.parameters()))
        self.of_generator.step()

    def train(self, steps: int = 3, critics: int = 1) -> None:
        for _ in range(steps):
            for _ in range(critics):
                self.step_of_critic()
            self.step_of_generator()


def series(found: MemoryRun, key: str) -> list[tuple[int, Any]]:
    return [(step, row[key]) for step, row in found.rows if key in row]


def check_gan(found: MemoryRun, gan: Gan) -> None:
    for name, rate in (("Generator", 0.01), ("Critic", 0.1)):
        assert series(found, f"vitals/grad_norm/{name}") == [
            (n + 1, pytest.approx(gan.norms[name][n])) for n in range(3)
        ]
        assert series(found, f"vitals/lr/{name}") == [(n, rate) for n in (1, 2, 3)]
    assert not found.values("vitals/grad_norm")
    assert not found.values("vitals/lr")
    assert [step for step, _ in found.rows] == [1, 2, 3], "one row a step"
    config = found.config
    assert (config["model"], set(config["optimizer"].split(", "))) == ("Generator, Critic", {"SGD", "Adam"})
    assert config["model/parameters"] == 4 * 8 + 8 + 8 + 1
    assert config["model/Critic/parameters"] == 9
    assert (config["params/Generator/lr"], config["params/Critic/lr"]) == (0.01, 0.1)
    assert config["params/Critic"]["optimizer"] == "SGD"


@pytest.mark.parametrize(
    "way", ["list", "names", "without optimizers", "nested", "nested, in a run", "given"]
)
def test_two_models_are_one_run_with_keys_of_each(recording: MemorySink, way: str) -> None:
    gan = Gan()
    watch = autolog.torch.watch
    if way == "list":
        with watch([gan.generator, gan.critic], [gan.of_generator, gan.of_critic]):
            gan.train()
    elif way == "names":
        models = {"Generator": gan.generator, "Critic": gan.critic}
        with watch(models, {"Generator": gan.of_generator, "Critic": gan.of_critic}):
            gan.train()
    elif way == "without optimizers":
        with watch([gan.generator, gan.critic]):
            gan.train()
    elif way == "nested":
        with watch(gan.generator, gan.of_generator) as outer, watch(gan.critic, gan.of_critic) as inner:
            assert inner.run is outer.run
            gan.train()
    elif way == "nested, in a run":
        with autolog.run("mine"), watch(gan.generator, gan.of_generator), watch(gan.critic):
            gan.train()
    else:
        with autolog.run("mine") as mine:
            first = watch(gan.generator, gan.of_generator, run=mine)
            second = watch(gan.critic, gan.of_critic, run=mine)
            gan.train()
            first.unwatch()
            second.unwatch()
    check_gan(only(recording), gan)


def test_a_step_is_that_of_the_optimizer_that_makes_most(recording: MemorySink) -> None:
    gan = Gan()
    with autolog.torch.watch([gan.generator, gan.critic]) as watch:
        gan.train(2, critics=5)
        assert watch.steps == 10
    found = only(recording)
    assert [step for step, _ in series(found, "vitals/grad_norm/Critic")] == list(range(1, 11))
    assert [step for step, _ in series(found, "vitals/grad_norm/Generator")] == [5, 10]
    assert [step for step, _ in found.rows] == sorted({step for step, _ in found.rows})


def test_rows_of_several_come_as_often_as_those_of_one(recording: MemorySink) -> None:
    gan = Gan()
    with autolog.torch.watch([gan.generator, gan.critic], every=4):
        gan.train(4, critics=3)
    found = only(recording)
    assert [step for step, _ in series(found, "vitals/lr/Critic")] == [1, 4, 8, 12]
    assert [step for step, _ in series(found, "vitals/lr/Generator")] == [3, 6, 9, 12]


@pytest.mark.parametrize("way", ["found", "given", "one after the other"])
@pytest.mark.parametrize("clips", [False, True])
def test_two_optimizers_of_one_model(recording: MemorySink, way: str, clips: bool) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.Linear(8, 10))
    first, second = torch.optim.SGD(model[0].parameters(), 0.01), torch.optim.SGD(model[1].parameters(), 0.1)
    if way == "found":
        watch = autolog.torch.watch(model)
    elif way == "given":
        watch = autolog.torch.watch(model, [first, second])
    else:
        watch = autolog.torch.watch(model, first)
        assert autolog.torch.watch(model, second).run is watch.run
    expected = []
    for _ in range(3):
        first.zero_grad()
        second.zero_grad()
        torch.nn.functional.cross_entropy(model(X), y).backward()
        expected.append([norm_of(part.parameters()) for part in (model, model[0], model[1])])
        if clips:
            clip_grad_norm_(model.parameters(), 1e-4)
        first.step()
        second.step()
        watch.log({"train/loss": 1.0})
    autolog.torch.unwatch(model)
    found = only(recording)
    # Which gradients are the first one's nobody knows before its first step, and by then they are clipped.
    known = [(n + 1, expected[n]) for n in range(3) if n or not clips or way != "found"]
    for key, place in (
        ("vitals/grad_norm", 0),
        ("vitals/grad_norm/SGD-0", 1),
        ("vitals/grad_norm/SGD-1", 2),
        ("vitals/grad_norm/1.Linear", 2),
    ):
        assert series(found, key) == [(step, pytest.approx(norms[place])) for step, norms in known], key
    assert series(found, "vitals/lr/SGD-0") == [(n, 0.01) for n in (1, 2, 3)]
    assert series(found, "vitals/lr/SGD-1") == [(n, 0.1) for n in (1, 2, 3)]
    assert series(found, "train/loss") == [(n, 1.0) for n in (1, 2, 3)]
    assert found.status == "finished"


def test_a_model_that_joins_after_the_first_step_is_a_training_inside(recording: MemorySink) -> None:
    model, probe = network(), torch.nn.Linear(64, 10)
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(model, optimizer, 2)
        with autolog.torch.watch(probe, of_probe := sgd(probe)):
            train(probe, of_probe, 3)
        train(model, optimizer, 2)
    outer, inner = recording.runs
    assert [step for step, _ in outer.rows] == [1, 2, 3, 4]
    assert [step for step, _ in inner.rows] == [1, 2, 3]
    assert inner.config["parent"] == outer.id


def test_a_run_that_is_given_once_more_goes_on_with_its_steps(recording: MemorySink) -> None:
    model = network()
    with autolog.run("phases") as mine:
        for rate in (0.1, 0.01):
            with autolog.torch.watch(model, optimizer := sgd(model, rate), run=mine):
                train(model, optimizer, 2)
    assert series(only(recording), "vitals/lr") == [(1, 0.1), (2, 0.1), (3, 0.01), (4, 0.01)]


def test_what_an_optimizer_trains_from_later_on_is_seen(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model[3])
    with autolog.torch.watch(model, optimizer):
        train(model, optimizer, 1)
        optimizer.add_param_group({"params": model[0].parameters()})
        backward(model, optimizer)
        expected = norm_of(model[0].parameters())
        optimizer.step()
    assert series(only(recording), "vitals/grad_norm/0.Linear") == [(2, pytest.approx(expected))]


def test_a_model_that_is_given_twice_is_one(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch([model, model], optimizer := sgd(model)):
        train(model, optimizer, 1)
    assert only(recording).values("vitals/grad_norm")


def test_loops_of_other_threads_begin_and_end_while_a_step_is_made(recording: MemorySink) -> None:
    faults: list[BaseException] = []

    def loops() -> None:
        model = network()
        optimizer = sgd(model)
        try:
            for _ in range(20):
                with autolog.torch.watch(model):
                    train(model, optimizer, 3)
        except BaseException as error:  # of the user's training: there must be none
            faults.append(error)

    threads = [threading.Thread(target=loops) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert [len(run.values("vitals/grad_norm")) for run in recording.runs] == [3] * 60


# Steps that no optimizer tells of ---------------------------------------------------------------------


class Sam(torch.optim.Optimizer):
    """As they are written: a first step to a worse place, and a second one by another optimizer."""

    def __init__(self, parameters: Any):
        super().__init__(parameters, {"lr": 0.1})
        self.base = torch.optim.SGD(self.param_groups, 0.1)

    def second_step(self) -> None:
        self.base.step()

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.second_step()


@pytest.mark.parametrize("calls", ["second_step", "step"])
def test_steps_that_an_optimizer_makes_by_another_one(recording: MemorySink, calls: str) -> None:
    model, expected = network(), []
    optimizer = Sam(model.parameters())
    with autolog.torch.watch(model, optimizer) as watch:
        for step in range(3):
            backward(model, optimizer)
            expected.append(norm_of(model.parameters()))
            getattr(optimizer, calls)()
            watch.log({"train/loss": float(step)})
    found = only(recording)
    assert series(found, "train/loss") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert series(found, "vitals/grad_norm") == [(n + 1, pytest.approx(expected[n])) for n in range(3)]
    assert series(found, "vitals/lr") == [(n, 0.1) for n in (1, 2, 3)]


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("by_optimizer", [True, False])
def test_a_step_that_is_said(recording: MemorySink, given: bool, by_optimizer: bool) -> None:
    model, expected = network(), []
    optimizer = sgd(model)
    with autolog.torch.watch(model, optimizer if given else None) as watch:
        for step in range(3):
            backward(model, optimizer)
            expected.append(norm_of(model.parameters()))
            if by_optimizer:
                optimizer.step()
            else:
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.sub_(0.1 * parameter.grad)
            watch.step()
            watch.log({"train/loss": float(step)})
    found = only(recording)
    assert series(found, "train/loss") == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert series(found, "vitals/grad_norm") == [(n + 1, pytest.approx(expected[n])) for n in range(3)]
    assert bool(found.values("vitals/lr")) == (given or by_optimizer)
    assert "autolog/notes" not in found.config


def test_no_step_at_all_says_what_to_do(recording: MemorySink) -> None:
    with autolog.torch.watch(model := network(), sgd(model)):
        pass
    assert "Call watch.step() after each one" in only(recording).config["autolog/notes"]["vitals/grad_norm"]


# Evaluations ------------------------------------------------------------------------------------------


def test_an_evaluation_of_logits_stands_at_the_last_step(recording: MemorySink) -> None:
    model = network()
    names = [f"digit {n}" for n in range(10)]
    with autolog.torch.watch(model, optimizer := sgd(model)) as watch:
        train(model, optimizer, 3)
        scores = model.eval()(X).detach()
        told = watch.evaluate(y, scores, classes=names)
        assert told["accuracy"] == float((scores.argmax(1) == y).double().mean())
        with autolog.evaluation("test"):
            watch.evaluate([y[:40], y[40:]], [scores[:40], scores[40:]])
        watch.evaluate(y.numpy(), scores.argmax(1), name="hard")
    found = only(recording)
    for name in ("val", "test", "hard"):
        assert series(found, f"{name}/accuracy") == [(3, told["accuracy"])]
    counts = found.tables["val/confusion_matrix_counts"]
    right = sum(row[f"predicted {name}"] for row, name in zip(counts, names, strict=True))
    assert right == int((scores.argmax(1) == y).sum())


def test_a_training_that_has_diverged_goes_on(recording: MemorySink) -> None:
    model = network()
    with autolog.torch.watch(model, sgd(model)) as watch:
        assert watch.evaluate(y, torch.full((64, 10), math.nan)) == {}
    assert "no score is finite" in recording.runs[0].config["autolog/notes"]["val"]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ((y, X[:5]), ValueError, "y_true has 64 rows and scores has 5"),
        (
            (y, torch.zeros(64, 3)),
            ValueError,
            r"y_true of shape \(64,\) and scores of shape \(64, 3\) do not",
        ),
        ((y, "scores"), TypeError, "scores is str; expected a tensor, an array, or a list of them"),
        ((y, torch.tensor(3.0)), TypeError, "scores is Tensor; expected"),
        ((y[:0], X[:0]), ValueError, "y_true is empty"),
        ((y, X.to("meta")), TypeError, "scores is on the meta device"),
        (([y, y], [X, X[:, :3]]), ValueError, "the batches of scores have different shapes"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_words(
    recording: MemorySink, given: tuple[Any, Any], error: type[Exception], said: str
) -> None:
    model = network()
    with autolog.torch.watch(model, sgd(model)) as watch, pytest.raises(error, match=said):
        watch.evaluate(*given)


# The model and its checkpoints ------------------------------------------------------------------------


def test_the_weights_are_kept(recording: MemorySink) -> None:
    gan = Gan()
    with autolog.torch.watch([gan.generator, gan.critic]):
        gan.train(1)
    kept = {one["name"]: one for one in only(recording).artifacts}
    assert set(kept) == {"model-Generator", "model-Critic"}
    state = torch.load(kept["model-Critic"]["files"]["model.pt"], weights_only=True)
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in gan.critic.state_dict().items()
    }


def test_checkpoints_are_listed_and_the_last_is_kept(recording: MemorySink, tmp_path: Path) -> None:
    model = network()
    optimizer = sgd(model)
    torch.save(model.state_dict(), tmp_path / "before.pt")
    with autolog.torch.watch(model, optimizer):
        for step in range(1, 4):
            train(model, optimizer, 1)
            torch.save({"model": torch.compile(model).state_dict(), "step": step}, tmp_path / f"{step}.pt")
        torch.save(model, f=str(tmp_path / "whole.pt"))
        torch.save({"embeddings": torch.ones(3)}, tmp_path / "else.pt")  # no checkpoint of it
        (tmp_path / "1.pt").unlink()
    rows = only(recording).tables["checkpoints"]
    assert [(row["step"], Path(row["path"]).name, row["is_there"]) for row in rows] == [
        (1, "1.pt", False),
        (2, "2.pt", True),
        (3, "3.pt", True),
        (3, "whole.pt", True),
    ]
    (last,) = [one for one in only(recording).artifacts if one["type"] == "checkpoint"]
    assert last["aliases"] == ["last"]
    before = torch.load(tmp_path / "2.pt", weights_only=True)
    assert before["step"] == 2
    assert np.isfinite(before["model"]["_orig_mod.0.weight"].numpy()).all()


@pytest.mark.parametrize("models", [[], {}, ["net"], {"net": 3}])
def test_models_that_are_none(recording: MemorySink, models: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="watch: (no model was given|the model is)"):
        autolog.torch.watch(models)
    assert recording.runs == []


class Both(torch.optim.Optimizer):
    """Makes its steps with a list of others, as Muon beside AdamW does."""

    def __init__(self, *held: torch.optim.Optimizer):
        self.held = list(held)
        super().__init__([p for one in held for group in one.param_groups for p in group["params"]], {})

    def step(self, closure: Any = None) -> None:
        for one in self.held:
            one.step()


@pytest.mark.parametrize("given", [True, False])
def test_an_optimizer_of_several_makes_one_step(recording: MemorySink, given: bool) -> None:
    model = network()
    rest = [*model[1].parameters(), *model[3].parameters()]
    optimizer = Both(torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.Adam(rest, 0.01))
    with autolog.torch.watch(model, optimizer if given else None):
        backward(model, optimizer)
        expected = norm_of(model.parameters())
        optimizer.step()
        train(model, optimizer, 1)
    found = only(recording)
    assert found.rows[0][1]["vitals/grad_norm"] == pytest.approx(expected)
    assert series(found, "vitals/lr/SGD-0") == [(1, 0.1), (2, 0.1)]
    assert series(found, "vitals/lr/Adam-1") == [(1, 0.01), (2, 0.01)]


def test_a_wrapper_that_is_an_optimizer_by_its_class_alone(recording: MemorySink) -> None:
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, base: torch.optim.Optimizer):
            self.base, self.param_groups, self.defaults = base, base.param_groups, base.defaults

        def step(self, closure: Any = None) -> Any:
            return self.base.step(closure)

        def zero_grad(self, set_to_none: bool = True) -> None:
            self.base.zero_grad(set_to_none)

    model = network()
    optimizer = Wrapper(sgd(model))
    with autolog.torch.watch(model, optimizer):
        train(model, optimizer, 2)
    assert series(only(recording), "vitals/lr") == [(1, 0.1), (2, 0.1)]


def test_gradients_that_a_step_with_a_closure_clears(recording: MemorySink) -> None:
    class Clears(torch.optim.Optimizer):
        def __init__(self, base: torch.optim.Optimizer):
            super().__init__(base.param_groups, {})
            self.base, self.param_groups = base, base.param_groups

        def step(self, closure: Any = None) -> None:
            closure()
            norms.append(norm_of(model.parameters()))
            self.base.step()
            self.zero_grad()

    def closure() -> None:
        torch.nn.functional.cross_entropy(model(X), y).backward()

    norms: list[float] = []
    model = network()
    optimizer = Clears(sgd(model))
    with autolog.torch.watch(model, optimizer):
        for _ in range(2):
            optimizer.step(closure)
    assert series(only(recording), "vitals/grad_norm") == [(n, pytest.approx(norms[n - 1])) for n in (1, 2)]


def test_an_optimizer_that_is_given_twice_is_one(recording: MemorySink) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, [optimizer, optimizer]):
        train(model, optimizer, 2)
    assert series(only(recording), "vitals/lr") == [(1, 0.1), (2, 0.1)]


def test_what_two_optimizers_change_has_no_norm_that_counts_it_twice(recording: MemorySink) -> None:
    model = network()
    whole, head = sgd(model), torch.optim.Adam(model[3].parameters())
    expected = []
    with autolog.torch.watch(model, [whole, head]):
        for optimizer in (whole, head):
            backward(model, optimizer)
            expected.append(norm_of(p for group in optimizer.param_groups for p in group["params"]))
            optimizer.step()
    found = only(recording)
    assert series(found, "vitals/grad_norm/SGD-0") == [(1, pytest.approx(expected[0]))]
    assert series(found, "vitals/grad_norm/Adam-1") == [(1, pytest.approx(expected[1]))]
    assert not found.values("vitals/grad_norm")
