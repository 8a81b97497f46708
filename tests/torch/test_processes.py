"""Loops in many processes: the first records the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import free_port, read, values
from tests.programs import start_warm as start

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
    assert len(values(kept, "vitals/lr")) == 3
    if kind == "FSDP 2, rank zero alone":
        assert not values(kept, "vitals/grad_norm")
        assert "on_every_rank=True" in kept["config"]["autolog/notes"]["vitals/grad_norm"]
    else:
        expected = float(out[0][0].split("expected")[1])
        assert values(kept, "vitals/grad_norm") == pytest.approx([expected] * 3, rel=1e-4)
        first = next(row for row in kept["logs"] if "vitals/grad_norm" in row)
        assert set(first) >= {"vitals/grad_norm/0.Linear", "vitals/grad_norm/2.Linear"}
