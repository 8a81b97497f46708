"""accelerate's loops: our tracker, and theirs beside us."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

import autolog
from autolog import MemorySink
from autolog.accelerate import TrackioTracker
from autolog.core import settings as settings_module
from autolog.sinks.memory import MemoryRun
from tests.programs import ACCELERATE, TORCHRUN, read, torchrun, values
from tests.programs import run_warm as run

HERE = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"}


@pytest.fixture
def into(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    yield sink
    autolog.finish()
    settings_module.use(None)
    for state in (AcceleratorState, PartialState, GradientState):
        state._reset_state()


def train(tracker: TrackioTracker, steps: int = 3, **config: Any) -> Accelerator:
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("unused", config=config or None)
    model = torch.nn.Linear(4, 2)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    for step in range(steps):
        loss = model(torch.ones(8, 4)).square().mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"train/loss": loss.item()}, step=step)
    return accelerator


def only(sink: MemorySink) -> MemoryRun:
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


def test_a_loop_is_a_run(into: MemorySink) -> None:
    train(TrackioTracker(name="baseline", tags=["nightly"]), lr=0.1, kind="linear").end_training()
    kept = only(into)
    assert (kept.name, kept.status, kept.config["tags"]) == ("baseline", "finished", ["nightly"])
    assert [step for step, _ in kept.rows] == [0, 1, 2]
    assert (kept.config["params/lr"], kept.config["params"]) == (0.1, {"lr": 0.1, "kind": "linear"})
    assert (kept.config["framework"], kept.config["processes"]) == ("accelerate", 1)


def test_one_tracker_is_another_run_the_next_time(into: MemorySink) -> None:
    tracker = TrackioTracker()
    train(tracker).end_training()
    train(tracker).end_training()
    assert [kept.status for kept in into.runs] == ["finished", "finished"]
    with pytest.raises(autolog.RunError, match="init_trackers"):
        _ = tracker.tracker


def test_a_run_of_the_users_is_written_to_and_not_ended(into: MemorySink) -> None:
    with autolog.run("his") as his:
        train(TrackioTracker()).end_training()
        assert his.status == "running"
        train(TrackioTracker(run=his)).end_training()
        assert his.status == "running"
        his.log({"mine": 1.0})
    first, _ = into.runs
    assert first.name == "his"
    assert len(first.values("train/loss")) == 3
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioTracker(run=his)


def test_gradients_are_seen_by_a_watch_on_its_run(into: MemorySink) -> None:
    tracker = TrackioTracker()
    accelerator = train(tracker, steps=0)
    model = torch.nn.Linear(4, 2)
    model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
    run = accelerator.get_tracker("autolog", unwrap=True)
    assert run is tracker.tracker
    with autolog.torch.watch(model, optimizer, run=run, every=1):
        accelerator.backward(model(torch.ones(8, 4)).square().mean())
        optimizer.step()
    accelerator.end_training()
    kept = only(into)
    assert "vitals/grad_norm" in kept.metrics
    assert kept.status == "finished"


def test_what_is_no_number_is_said_and_not_raised(into: MemorySink) -> None:
    accelerator = train(TrackioTracker(), steps=1)
    accelerator.log({"sample": "a text", "train/loss": float("nan")}, step=1)
    accelerator.end_training()
    kept = only(into)
    assert "sample" in kept.config["autolog/notes"]
    assert len(kept.values("train/loss")) == 2
    assert [alert["title"] for alert in kept.alerts] == ["The loss is nan"]


def test_a_loss_with_its_graph_warns_of_nothing(into: MemorySink) -> None:
    accelerator = train(TrackioTracker(), steps=0)
    loss = torch.ones(1, requires_grad=True).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelerator.log({"train/loss": loss, "loss": loss * math.nan}, step=1)
        accelerator.log({"train/loss": loss * math.nan}, step=2)
    accelerator.end_training()
    kept = only(into)
    assert kept.values("train/loss")[0] == 1.0
    assert [alert["title"] for alert in kept.alerts] == ["The loss is nan"]


def test_names_beside_a_run_are_refused(into: MemorySink) -> None:
    with autolog.run("his") as his, pytest.raises(TypeError, match="Leave out either run"):
        TrackioTracker(name="mine", run=his)
    with pytest.raises(TypeError, match="list of texts"):
        TrackioTracker(tags="nightly")


LOOP = """
    import torch
    from accelerate import Accelerator
    def train(log_with, **config):
        accelerator = Accelerator(cpu=True, log_with=log_with)
        accelerator.init_trackers("p", config=config or None)
        model = torch.nn.Linear(4, 2)
        model, optimizer = accelerator.prepare(model, torch.optim.SGD(model.parameters(), 0.1))
        for step in range(3):
            loss = model(torch.ones(8, 4)).square().mean()
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            accelerator.log({"train/loss": loss.item()}, step=step)
        return accelerator
"""


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("accelerator.end_training()", 0, "finished"),
        ("", 0, "finished"),
        ("del accelerator, _; import gc; gc.collect()", 0, "finished"),
        ("1 / 0", 1, "failed"),
    ],
)
def test_a_program_that_ends_ends_its_run(tmp_path: Path, end: str, code: int, status: str) -> None:
    program = f"""
    from autolog.accelerate import TrackioTracker
    accelerator = _ = train(TrackioTracker())
    {end}
    """
    run(tmp_path, textwrap.dedent(LOOP) + textwrap.dedent(program), code=code, **HERE)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert len(values(kept, "train/loss")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_are_one_run(tmp_path: Path, launcher: list[str]) -> None:
    program = """
    import autolog
    from autolog.accelerate import TrackioTracker
    tracker = TrackioTracker(name="of-both")
    accelerator = train(tracker, lr=0.1)
    tracker.tracker.log({"own": float(accelerator.num_processes)})
    accelerator.end_training()
    """
    script = textwrap.dedent(LOOP) + textwrap.dedent(program)
    code, said = torchrun(tmp_path, script, launcher=launcher)
    assert code == 0, said
    (kept,) = read(tmp_path)
    assert (kept["name"], kept["config"]["status"], kept["config"]["processes"]) == ("of-both", "finished", 2)
    assert len(values(kept, "train/loss")) == 3
    assert values(kept, "own") == [2.0]


def test_beside_accelerates_own_tracker_it_is_one_run_that_stays_open(tmp_path: Path) -> None:
    program = """
    import trackio
    from tests.transformers.models import trainer
    autolog.enable("transformers", log_code=False)
    accelerator = train("trackio")
    trainer(num_train_epochs=1).train()
    accelerator.log({"after": 1.0}, step=9)
    accelerator.end_training()
    """
    run(tmp_path, textwrap.dedent(LOOP) + textwrap.dedent(program), **HERE)
    (kept,) = read(tmp_path)
    assert len(values(kept, "vitals/lr")) == 2
    assert values(kept, "after") == [1.0]
