"""Which run a watched loop belongs to, and how it ends."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import autolog
from autolog import MemorySink
from tests.programs import read, values
from tests.programs import run_warm as run
from tests.torch.loops import network, only, sgd, train


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


def test_no_value_that_is_logged_ends_a_training(
    recording: MemorySink, caplog: pytest.LogCaptureFixture
) -> None:
    model = network()
    optimizer = sgd(model)
    with autolog.torch.watch(model, optimizer, every=0) as watch:
        for _ in range(2):
            train(model, optimizer, 1)
            watch.log({"loss": torch.tensor(0.5), "text": "x", "logits": torch.ones(3)})
        with pytest.raises(TypeError, match=r"'logits': .*value.tolist\(\)"):
            watch.log({"logits": torch.ones(3)}, strict=True)
        with pytest.raises(TypeError, match="expected a mapping"):
            watch.log(0.5)  # type: ignore[arg-type]
    assert only(recording).rows == [(n, {"loss": 0.5, "text": "x"}) for n in (1, 2)]
    assert [record.args[0] for record in caplog.records] == ["logits"]  # type: ignore[index]


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
    assert (watch.steps, only(recording).status, len(only(recording).rows)) == (1, "finished", 1)
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
    # torch imports tabulate when it ends, where that is installed. Python forgets then what has ended the
    # program, with and without us.
    program = """
        import tabulate
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
    assert len(values(kept, "vitals/grad_norm")) == 1
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
        assert watch.steps == 2
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
        assert watch.steps == 2
    assert recording.runs == []


@pytest.mark.parametrize("rank", ["3", "first"])
def test_a_rank_of_nobodys_is_none(recording: MemorySink, monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)  # and no WORLD_SIZE: no launcher has set it
    model = network()
    with autolog.torch.watch(model, optimizer := sgd(model)):
        train(model, optimizer, 2)
    assert len(only(recording).values("vitals/grad_norm")) == 2


def test_the_next_optimizer_when_the_first_is_gone(recording: MemorySink) -> None:
    """A head is trained first, then all of it."""
    model = network()
    with autolog.torch.watch(model):
        train(model, torch.optim.SGD(model[3].parameters(), 0.1), 2)
        gc.collect()
        train(model, sgd(model, 0.01), 3)
    assert only(recording).values("vitals/lr") == [0.1, 0.1, 0.01, 0.01, 0.01]


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
