"""What gradient norms of every step cost a loop of plain torch: ``python -m benchmarks.gradient_norms``.

The same model is trained without them, watched by autolog, and by what one would write or take otherwise, in
turns of a few steps each, so that all see the same machine. Printed are the medians of a step, and ratios to
the bare one. By default autolog reads every 50th step; here it reads, and logs, each one. W&B comes with the
``bench`` extra; without it, that is said.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("TRACKIO_DIR", tempfile.mkdtemp(prefix="autolog-bench-"))
os.environ.update(AUTOLOG_QUIET="1", AUTOLOG_BUDGET="1e9", AUTOLOG_LOG_CODE="0", WANDB_MODE="offline")

import torch

import autolog

# Width and number of layers, and how many steps a turn has.
MODELS = {"0.03M": (128, 2, 100), "10M": (1024, 9, 8), "50M": (2048, 12, 3)}
TURNS = 7
BATCH = 32
WARM_UP = 2  # steps at the beginning of a turn that are not counted

Reading = Callable[[], object]


@contextmanager
def bare(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Reading]:
    yield lambda: None


@contextmanager
def watched(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Reading]:
    with autolog.torch.watch(model, optimizer, every=1):
        yield lambda: None
    autolog.finish()


@contextmanager
def one_by_one(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Reading]:
    yield lambda: {name: p.grad.norm().item() for name, p in model.named_parameters() if p.grad is not None}


@contextmanager
def total_norm(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Reading]:
    yield lambda: torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item()


@contextmanager
def weights_and_biases(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[Reading]:
    import wandb

    with wandb.init(project="bench", dir=tempfile.mkdtemp(prefix="wandb-bench-")) as run:
        run.watch(model, log="gradients", log_freq=1)
        yield lambda: run.log({"step": 1})
        run.unwatch(model)


WAYS = {
    "bare": bare,
    "autolog: all, and per module, logged": watched,
    "a loop of .norm().item(), per parameter": one_by_one,
    "torch.nn.utils.get_total_norm: all": total_norm,
    "wandb.watch: histograms, logged": weights_and_biases,
}


def is_installed(way: Any) -> bool:
    if way is total_norm:
        return hasattr(torch.nn.utils, "get_total_norm")
    if way is weights_and_biases:
        try:
            import wandb  # noqa: F401
        except ImportError:
            return False
    return True


def step_times(way: Any, model: torch.nn.Module, X: torch.Tensor, steps: int) -> list[float]:
    """Milliseconds of each step of one turn."""
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    times = []
    with way(model, optimizer) as read:
        for _ in range(WARM_UP + steps):
            start = time.perf_counter()
            optimizer.zero_grad()
            model(X).square().mean().backward()
            read()
            optimizer.step()
            times.append(1_000 * (time.perf_counter() - start))
    return times[WARM_UP:]


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"Python {platform.python_version()}, torch {torch.__version__}, one thread, batches of {BATCH}")
    print(f"{'milliseconds of a step, medians':<48} {'step':>9} {'ratio':>9}")
    for size, (width, layers, steps) in MODELS.items():
        hidden = [part for _ in range(layers) for part in (torch.nn.Linear(width, width), torch.nn.ReLU())]
        model = torch.nn.Sequential(*hidden, torch.nn.Linear(width, 10))
        X = torch.randn(BATCH, width)
        times: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(TURNS):
            for name, way in WAYS.items():
                if is_installed(way):
                    times[name] += step_times(way, model, X, steps)
        of_bare = statistics.median(times["bare"])
        parameters = sum(p.numel() for p in model.parameters())
        print(f"{size}: {parameters:,} parameters in {len(list(model.parameters()))} tensors")
        for name, found in times.items():
            if found:
                median = statistics.median(found)
                print(f"  {name:<46} {median:9.3f} {median / of_bare:7.3f} x", flush=True)
            else:
                print(f"  {name:<46} not installed")


if __name__ == "__main__":
    main()
