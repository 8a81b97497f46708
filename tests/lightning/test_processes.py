"""Lightning in many processes: one run, by rank zero, and no rank that waits for another in vain."""

from __future__ import annotations

import math
import os
import signal
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DistributedSampler

from tests import programs
from tests.warm import Program, forks

# Lightning starts a script again for every further rank of `ddp`, so it is a file.
SCRIPT = """
    import os, signal, sys, threading, time
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the ranks that Lightning starts
    import torch, autolog, lightning.pytorch as pl

    autolog.enable("lightning", log_code=False, system_interval=0.1, budget=1e9)
    torch.manual_seed(7)
    X, y = torch.randn(128, 8), torch.randint(0, 3, (128,))
    data = torch.utils.data.TensorDataset(X, y)

    # A training this short may be over before the ranks' load is looked at: its end waits for that.
    from autolog.lightning.ranks import Machines
    sampled, sample = threading.Event(), Machines._sample

    def sampled_once(self):
        sample(self)
        sampled.set()

    Machines._sample = sampled_once

    class Model(pl.LightningModule):
        breaks = waits = False

        def __init__(self, sharded=False):
            super().__init__()
            self.save_hyperparameters()
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))

        def configure_model(self):
            if self.hparams.sharded:
                from torch.distributed.fsdp import fully_shard
                for part in (self.net[0], self.net[2]):
                    fully_shard(part, mesh=self.device_mesh["data_parallel"])

        def training_step(self, batch, batch_idx):
            if self.breaks and self.global_rank == 1 and batch_idx == 3:
                raise ValueError("of rank 1")
            if self.waits and batch_idx == 3 and self.global_rank == 0:
                print("ready", flush=True)
            if self.waits:
                time.sleep(0.02)
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            autolog.current_run().log({"own": 1.0})
            return loss

        def validation_step(self, batch, batch_idx):
            scores = self.net(batch[0])
            self.log("val_loss", torch.nn.functional.cross_entropy(scores, batch[1]), sync_dist=True)

        def on_validation_end(self):
            if self.trainer.is_global_zero and not self.trainer.sanity_checking:
                assert sampled.wait(60)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(module, strategy, **more):
        given = {"logger": False, "max_epochs": 1, "log_every_n_steps": 1, **more}
        trainer = pl.Trainer(accelerator="cpu", devices=2, strategy=strategy, enable_checkpointing=False,
                             enable_progress_bar=False, enable_model_summary=False, **given)
        loader = torch.utils.data.DataLoader(data, batch_size=8)
        trainer.fit(module, loader, loader)
        return trainer

    def sharding():
        from lightning.pytorch.strategies import ModelParallelStrategy
        return ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
"""


def start(directory: Path, program: str) -> Program:
    """The first rank begins where Lightning has been imported; the others are started by Lightning."""
    script = directory / "script" / "train.py"  # not beside Trackio's folders, one of which is called autolog
    script.parent.mkdir()
    text = textwrap.dedent(SCRIPT) + 'if __name__ == "__main__":\n' + textwrap.indent(program, "    ")
    script.write_text(text)
    # The seed of Lightning's samplers, whatever other tests have set.
    return forks(text, [], programs.environment(directory, PL_GLOBAL_SEED="0"), script=script)


def run(directory: Path, program: str, *, code: int = 0) -> str:
    process = start(directory, textwrap.dedent(program))
    try:
        out, _ = process.communicate(timeout=180)
    finally:
        if process.poll() is None:  # ranks that wait for each other
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == code, out
    return out


def first_norms() -> dict[str, float]:
    """Of the mean gradient of both ranks at the first step, in one process."""
    torch.manual_seed(7)
    X, y = torch.randn(128, 8), torch.randint(0, 3, (128,))
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    losses = []
    for rank in (0, 1):
        rows = list(DistributedSampler(range(128), 2, rank))[:8]  # as Lightning shuffles for training
        losses.append(torch.nn.functional.cross_entropy(net(X[rows]), y[rows]))
    torch.stack(losses).mean().backward()
    parts = {
        f"vitals/grad_norm/net.{place}.Linear": math.sqrt(
            sum(float(p.grad.square().sum()) for p in net[place].parameters())
        )
        for place in (0, 2)
    }
    return {**parts, "vitals/grad_norm": math.hypot(*parts.values())}


def check(found: dict[str, Any]) -> None:
    """One whole run of two ranks."""
    config = found["config"]
    assert config["status"] == "finished"
    assert "autolog/faults" not in config
    assert (config["params"]["trainer"]["world_size"], config["params"]["optimizer/lr"]) == (2, 0.1)
    assert (config["epochs"], config["steps"]) == (1, 8)
    assert len(programs.values(found, "train/loss")) == len(programs.values(found, "own")) == 8
    assert len(programs.values(found, "val/loss")) == 1
    assert config["autolog/notes"]["val"].endswith("of rank 0's share, one of 2")
    (matrix,) = programs.values(found, "val/confusion_matrix_counts")
    assert sum(n for row in matrix["_value"] for n in row.values() if isinstance(n, int)) == 64
    first = next(row for row in found["logs"] if "vitals/grad_norm" in row)
    assert {key: first[key] for key in first_norms()} == pytest.approx(first_norms(), rel=1e-5)
    assert len(programs.values(found, "vitals/grad_norm")) == 8
    assert {f"rank/{n}/{what}" for n in (0, 1) for what in ("cpu_percent", "memory_gb")} <= {
        key for row in found["system"] for key in row
    }


@pytest.mark.slow
def test_ddp_and_a_rank_that_fails(tmp_path: Path) -> None:
    program = """
    # Lightning looks every few seconds whether a rank has failed, and then kills this one: on a busy machine
    # before it has seen by itself that the other is gone.
    from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
    _ChildProcessObserver.__init__.__defaults__ = (600,)
    with autolog.run("mine") as mine:  # in each process
        mine.log({"before": 1.0})
        fit(Model(), "ddp")
    broken = Model()
    broken.breaks = True
    fit(broken, "ddp")
    """
    run(tmp_path, program, code=1)
    good, failed = programs.read(tmp_path)
    check(good)
    assert good["name"] == "mine"
    assert programs.values(good, "before") == [1.0]
    assert failed["config"]["status"] == "failed"
    assert failed["config"]["error/ranks"] == {"1": "ValueError: of rank 1"}


@pytest.mark.long
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_ddp_that_is_ended_from_outside(tmp_path: Path, how: signal.Signals) -> None:
    process = start(tmp_path, 'Model.waits = True\nfit(Model(), "ddp", max_epochs=100_000)\n')
    assert process.stdout is not None
    assert any("ready" in line for line in process.stdout)
    if how is signal.SIGTERM:
        process.send_signal(how)
    else:
        os.killpg(process.pid, how)  # as a terminal does
    process.communicate(timeout=60)
    (found,) = programs.read(tmp_path)
    assert found["config"]["status"] == "killed"


@pytest.mark.long
@pytest.mark.parametrize("strategy", ["ddp_spawn", "ddp_fork"])
def test_processes_without_a_script_of_their_own(tmp_path: Path, strategy: str) -> None:
    program = f"""
    from autolog.lightning import TrackioLogger
    fit(Model(), "{strategy}", logger=TrackioLogger(name="baseline"))
    """
    run(tmp_path, program)
    (found,) = programs.read(tmp_path)
    assert found["name"] == "baseline"
    check(found)
    assert [artifact["type"] for artifact in found["artifacts"]["output"]] == ["model"]


@pytest.mark.long
def test_sharded_parameters_and_a_rank_that_cannot_tell_its_part(tmp_path: Path) -> None:
    program = """
    from autolog.lightning import gradients
    fit(Model(sharded=True), sharding())

    read, reads = gradients._squares, []
    def failing(*given):
        reads.append(1)
        if os.environ["LOCAL_RANK"] == "1" and len(reads) == 3:
            raise RuntimeError("a fault of ours")
        return read(*given)
    gradients._squares = failing
    fit(Model(sharded=True), sharding())

    if os.environ["LOCAL_RANK"] == "1":
        autolog.disable()
    autolog_is_off = Model(sharded=True)
    autolog_is_off.training_step = lambda batch, batch_idx: torch.nn.functional.cross_entropy(
        autolog_is_off.net(batch[0]), batch[1])
    fit(autolog_is_off, sharding())
    """
    run(tmp_path, program)
    whole, failing, alone = programs.read(tmp_path)
    check(whole)
    assert len(programs.values(failing, "vitals/grad_norm")) == 7
    assert failing["config"]["status"] == alone["config"]["status"] == "finished"
    assert programs.values(alone, "vitals/grad_norm") == []
    assert "a rank is not recorded" in alone["config"]["autolog/notes"]["vitals/grad_norm"]


@pytest.mark.long
@pytest.mark.parametrize("named", ["name='x/y'", ""])
def test_all_ranks_look_for_the_last_checkpoint_at_one_place(tmp_path: Path, named: str) -> None:
    """One logger for two Trainers: where rank zero resumed, rank one began anew, and both died."""
    program = f"""
        from autolog.lightning import TrackioLogger
        from lightning.pytorch.callbacks import ModelCheckpoint
        logger = TrackioLogger({named})

        class Counting(Model):
            batches = 0
            validation_step = on_validation_end = None

            def training_step(self, batch, batch_idx):
                self.batches += 1
                return super().training_step(batch, batch_idx)

        def fit_to(epochs, **more):
            module = Counting()
            trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=logger,
                                 max_epochs=epochs, callbacks=[ModelCheckpoint(save_last=True)],
                                 enable_progress_bar=False, enable_model_summary=False,
                                 default_root_dir={str(tmp_path / "root")!r})
            trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=8), **more)
            line = f"rank {{trainer.global_rank}} {{module.batches}} {{logger.log_dir}}\\n"
            print(line, end="", flush=True)

        fit_to(1)
        fit_to(2, ckpt_path="last", weights_only=False)
    """
    told = [line.split() for line in run(tmp_path, program).splitlines() if line.startswith("rank")]
    assert sorted((rank, batches) for _, rank, batches, _ in told) == [("0", "8")] * 2 + [("1", "8")] * 2
    assert len({folder for *_, folder in told}) == 1
    (kept,) = programs.read(tmp_path)
    assert len([log for log in kept["logs"] if "vitals/epoch_seconds" in log]) == 2
