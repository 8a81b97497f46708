"""Norms of the gradients at the steps that Lightning logs: unscaled, after accumulation, before clipping."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch

from autolog.capture import gradients
from autolog.core.allowance import UNASKED, Allowance
from autolog.core.health import Alerts, norms_row
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.torch.measures import by_module, is_sharded

__all__ = ["GradientNorms", "is_flat", "over_all_ranks", "sharded_norms"]


class GradientNorms:
    """Norms of what each optimizer is about to change, of all and per module.

    Attributes:
        can_ask_all: whether every rank comes here at the same steps, so that a collective may be called.
    """

    def __init__(self, run: Recording):
        self._run = run
        self._alerts = Alerts(run)
        self._allowance = Allowance(run, UNASKED)
        self.can_ask_all = False
        self._are_wanted = run.settings.log_gradients
        self._needs_all: bool | None = None  # every rank, for what it has of the gradients is a part of them
        self._row: dict[str, float] = {}
        self._unclipped: dict[int, dict[str, float] | None] = {}  # by optimizer, until it makes its step

    def before_clipping(self, trainer: Any, module: Any, clipped: Any, step: int) -> None:
        """A module that optimizes by hand clips these, before this step is about to be made."""
        if not self._are_wanted:
            return
        if getattr(trainer.precision_plugin, "scaler", None) is not None:
            if trainer.is_global_zero:
                why = "after clipping: what is clipped by hand is scaled then"
                self._run.note("vitals/grad_norm", why)
            return
        theirs = {id(gradient) for gradient in clipped}
        for optimizer in trainer.optimizers:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            if any(id(parameter.grad) in theirs for parameter in parameters):
                parts = None if self._are_too_dear(step) else self._norms(trainer, module, optimizer)
                self._unclipped[_identity(optimizer)] = parts

    def are_left_out(self, step: int) -> bool:
        """Whether nothing is read at this step, which an optimizer is about to make."""
        return not self._are_wanted or (not self._unclipped and self._are_too_dear(step))

    def before_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        """An optimizer is about to make a step that is logged. Every rank says so: some norms need all."""
        if _identity(optimizer) in self._unclipped:
            parts = self._unclipped.pop(_identity(optimizer))
        else:
            parts = self._norms(trainer, module, optimizer)
        if parts:
            with self._allowance:
                self._keep(trainer, optimizer, math.hypot(*parts.values()), parts)

    def _norms(self, trainer: Any, module: Any, optimizer: Any) -> dict[str, float] | None:
        """Per module, on rank zero; None: they are left out."""
        if self._needs_all is None:
            self._needs_all = is_sharded(list(module.parameters())) or is_flat(trainer)
        needs_all = self._needs_all
        parts = None
        if needs_all and self.can_ask_all:  # at the same steps on every rank: no matter what it costs
            with self._allowance:
                parts = sharded_norms(trainer, module, optimizer)
        if not trainer.is_global_zero:
            return None
        if needs_all and parts is None:
            why = "not recorded of sharded parameters: a rank is not recorded, or could not tell its part"
            self._run.note("vitals/grad_norm", why)
        elif not needs_all:
            with self._allowance:
                modules = by_module(module, optimizer)
                groups = [[parameter.grad for parameter in parameters] for parameters in modules.values()]
                parts = dict(zip(modules, gradients.norms(groups)[1], strict=True))
        return parts

    def _are_too_dear(self, step: int) -> bool:
        return self._needs_all is False and self._allowance.is_used_up(step)

    def note_left_out(self) -> None:
        """At the training's end."""
        self._allowance.note("vitals/grad_norm")

    def row(self) -> dict[str, float]:
        """What was read since the last row."""
        row, self._row = self._row, {}
        return row

    def _keep(self, trainer: Any, optimizer: Any, whole: float, parts: dict[str, float]) -> None:
        optimizers = [getattr(one, "optimizer", one) for one in trainer.optimizers]
        row = norms_row(self._run, whole, parts)
        if len(optimizers) > 1:
            given = getattr(optimizer, "optimizer", optimizer)
            place = next((n for n, one in enumerate(optimizers) if one is given), 0)
            row[f"vitals/grad_norm/{type(given).__name__}-{place}"] = row.pop("vitals/grad_norm")
        self._row |= row
        self._alerts.look(int(trainer.fit_loop.epoch_loop._batches_that_stepped), whole, parts)


def _identity(optimizer: Any) -> int:
    """Of the optimizer itself: Lightning hands it out in a wrapper, too."""
    return id(getattr(optimizer, "optimizer", optimizer))


# Gradients of which each rank has a part --------------------------------------------------------------


def is_flat(trainer: Any) -> bool:
    """Whether each rank has a part of each gradient, as a plain tensor: FSDP 1."""
    return any(base.__name__ == "FSDPStrategy" for base in type(trainer.strategy).__mro__)


def sharded_norms(trainer: Any, module: Any, optimizer: Any) -> dict[str, float] | None:
    """Norms per module over all ranks; None if one of them could not tell its part. All have to call it.

    A part that several ranks have (replicas of hybrid sharding, parameters that are not sharded) counts once.
    """
    squares: dict[str, float] | None = None
    with shield("Lightning: gradients of this rank"):  # the others wait all the same
        squares = _squares(trainer, module, optimizer)
    sums = over_all_ranks(None if squares is None else list(squares.values()), trainer.strategy.root_device)
    if squares is None or sums is None:
        return None
    return {name: math.sqrt(square) for name, square in zip(squares, sums, strict=True)}


def over_all_ranks(values: list[float] | None, device: Any) -> list[float] | None:
    """The sum of each over all ranks; None if a rank has none of them, or another number of them."""
    count = -1 if values is None else len(values)
    # First whether there is a sum: a rank that failed would leave the others waiting in it.
    counts = torch.tensor([count, -count], device=device)
    torch.distributed.all_reduce(counts, torch.distributed.ReduceOp.MIN)
    fewest, most = int(counts[0]), -int(counts[1])
    if values is None or fewest != most:
        return None
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(sums)
    return [float(value) for value in sums.tolist()]


def _squares(trainer: Any, module: Any, optimizer: Any) -> dict[str, float]:
    """This rank's share of the squared norm of each module; the same modules on every rank."""
    flat_shards = _flat_shards(trainer) if is_flat(trainer) else 1
    groups: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
    for name, parameters in by_module(module, optimizer, without_gradient=True).items():
        for parameter in parameters:
            shards = _shards(parameter) if is_sharded([parameter]) else flat_shards
            group = groups[name, shards]
            if parameter.grad is not None:
                group.append(parameter.grad.to_local() if is_sharded([parameter]) else parameter.grad)
    squares: defaultdict[str, float] = defaultdict(float)
    _, norms = gradients.norms(list(groups.values()))
    for (name, shards), norm in zip(groups, norms, strict=True):
        squares[name] += norm * norm * shards / trainer.world_size
    return squares


def _shards(parameter: Any) -> int:
    """Into how many parts a DTensor is cut."""
    sizes = zip(parameter.device_mesh.shape, parameter.placements, strict=True)
    return math.prod(size for size, placement in sizes if placement.is_shard())


def _flat_shards(trainer: Any) -> int:
    """The same of FSDP 1, which cuts all parameters alike."""
    model = trainer.strategy.model
    return 1 if model.sharding_strategy.name == "NO_SHARD" else int(model.process_group.size())
