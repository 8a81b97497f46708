"""Norms of the gradients of every step of a loop of plain torch, whatever they cost (no budget)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import BARE, SCRATCH, WANDB, Recorded, Way, in_trackio

WIDTH, LAYERS, BATCH, STEPS = 1_024, 9, 32, 16  # 9.4 million parameters

Watch = Callable[[Any, Any], AbstractContextManager[Callable[[], object]]]
"""Given model and optimizer, what is called between the backward pass and the step."""


def workload(share: float = 1.0) -> Workload:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps = max(4, round(STEPS * share))
    hidden = [part for _ in range(LAYERS) for part in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU())]
    model = torch.nn.Sequential(*hidden, torch.nn.Linear(WIDTH, 10))
    X = torch.randn(BATCH, WIDTH)

    def train(watch: Watch = lambda model, optimizer: nullcontext(lambda: None)) -> float:
        optimizer = torch.optim.SGD(model.parameters(), 1e-6)
        with watch(model, optimizer) as read:
            start = time.perf_counter()
            for _ in range(steps):
                optimizer.zero_grad()
                model(X).square().mean().backward()
                read()
                optimizer.step()
            return time.perf_counter() - start

    def one_by_one() -> object:
        return {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}

    def total() -> object:
        return torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()

    def by(name: str, watch: Watch, recorded: Callable[[], Recorded] = Recorded, **more: Any) -> Way:
        return Way(name, lambda: nullcontext({"watch": watch}), recorded, **more)

    ways = [
        BARE,
        by("autolog.torch.watch: all, per module", _watched, lambda: in_trackio("watched")),
        by("norm().item() per parameter, not logged", lambda *_: nullcontext(one_by_one)),
        by("wandb.watch, offline", _by_wandb, needs=WANDB),
    ]
    if hasattr(torch.nn.utils, "get_total_norm"):
        ways.append(by("torch's get_total_norm, not logged", lambda *_: nullcontext(total)))
    return Workload(
        f"Gradient norms: {steps} steps of {sum(p.numel() for p in model.parameters()):,} parameters",
        train,
        ways,
        f"torch {torch.__version__}",
        pieces=steps,
        piece="step",
    )


@contextmanager
def _watched(model: Any, optimizer: Any) -> Iterator[Callable[[], object]]:
    import autolog

    with autolog.enabled(project="watched", budget=1e9, log_code=False):
        with autolog.torch.watch(model, optimizer, every=1):
            yield lambda: None
        while not autolog.finish():
            pass


@contextmanager
def _by_wandb(model: Any, optimizer: Any) -> Iterator[Callable[[], object]]:
    import wandb

    with wandb.init(project="watched", dir=str(SCRATCH / "wandb")) as run:
        run.watch(model, log="gradients", log_freq=1)
        yield lambda: run.log({"step": 1})
        run.unwatch(model)
