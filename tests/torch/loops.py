"""A small network, its loop, and the norms that should be recorded of it."""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.nn.utils import clip_grad_norm_  # as scripts do, before anything is watched

from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

images, labels = load_digits(return_X_y=True)
X = torch.tensor(images[:64] / 16, dtype=torch.float32)
y = torch.tensor(labels[:64])
cross_entropy = torch.nn.functional.cross_entropy


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
            path = name.rpartition(".")[0]
            named = f"{path}.{type(model.get_submodule(path)).__name__}" if path[-1:].isdigit() else path
            module = f"vitals/grad_norm/{named}"
            gradient = parameter.grad.to_dense().double()
            squares[module] = squares.get(module, 0) + float(gradient.square().sum())
    squares["vitals/grad_norm"] = sum(squares.values())
    return {name: math.sqrt(square) for name, square in squares.items()}


def norms_of(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if key.startswith("vitals/grad_norm")}


def only(sink: MemorySink) -> MemoryRun:
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


def by_norm(model: torch.nn.Module) -> None:
    clip_grad_norm_(model.parameters(), 1e-4)
