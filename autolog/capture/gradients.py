"""Norms and values of torch's gradients and parameters, brought to the host in as few transfers as can be."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

__all__ = ["norms", "samples"]


def norms(groups: Sequence[Sequence[Any]]) -> tuple[float, list[float]]:
    """L2 norms of groups of tensors, in float32 at least: half precision overflows.

    Args:
        groups: torch tensors of any shape, floating or complex, dense or sparse, on any devices, by layer or
            module; an empty group has norm 0. What has no values (the meta device) counts as 0. DTensors are
            taken whole, by a collective: every rank must call this, with the same groups.

    Returns:
        The norm of all of them together, and the norm of each group.
    """
    import torch

    with torch.no_grad():
        each = _norms([tensor for group in groups for tensor in group])
    ends = list(itertools.accumulate(map(len, groups), initial=0))
    parts = [math.hypot(*each[start:end]) for start, end in itertools.pairwise(ends)]
    return math.hypot(*parts), parts


def samples(groups: Sequence[Sequence[Any]], most: int) -> list[Any]:
    """Values of each group, evenly spaced over all that it has.

    Args:
        groups: as those of :func:`norms`, but no DTensors.
        most: how many values of a group are enough.

    Returns:
        For each group a NumPy array of shape (n,), float32, where n is ``most`` at most.
    """
    import torch

    if not groups:
        return []
    with torch.no_grad():
        parts = [_sample([_values(tensor) for tensor in group], most) for group in groups]
        host = torch.cat([part.to(parts[0].device) for part in parts]).cpu()
    return [part.numpy() for part in host.split([len(part) for part in parts])]


def _norms(tensors: list[Any]) -> list[float]:
    """The norm of each. A foreach call is one kernel only for tensors of one device and dtype."""
    import torch

    alike: defaultdict[Any, list[int]] = defaultdict(list)
    for place, tensor in enumerate(tensors):
        alike[tensor.device, tensor.dtype, tensor.layout, getattr(tensor, "device_mesh", None)].append(place)
    stored = {kind: places for kind, places in alike.items() if kind[0].type != "meta"}
    if not stored:
        return [0.0 for _ in tensors]
    found = []
    for (_, dtype, layout, mesh), places in stored.items():
        values = [tensors[place] for place in places]
        if layout != torch.strided or dtype.is_complex:
            values = [_values(tensor) for tensor in values]
        wide = torch.promote_types(values[0].dtype, torch.float32)
        each = torch._foreach_norm(values, 2, dtype=wide)
        found.append(torch.stack([norm.full_tensor() for norm in each] if mesh else each))
    if any(part.dtype == torch.float64 for part in found):  # not every device has it
        found = [part.cpu().double() for part in found]
    host = torch.cat([part.to(found[0].device) for part in found]).tolist()
    by_place = dict(zip((place for places in stored.values() for place in places), host, strict=True))
    return [by_place.get(place, 0.0) for place in range(len(tensors))]


def _sample(tensors: list[Any], most: int) -> Any:
    import torch

    # Odd, since widths are even: else the values would come from a few columns of a weight.
    every = math.ceil(sum(tensor.numel() for tensor in tensors) / most) | 1
    taken = [tensor.reshape(-1)[::every].float() for tensor in tensors if not tensor.is_meta]
    return torch.cat([part.to(taken[0].device) for part in taken])[:most] if taken else torch.empty(0)


def _values(tensor: Any) -> Any:
    """The tensor as real numbers that are stored: the norm is the same."""
    import torch

    if tensor.is_sparse:
        tensor = tensor.coalesce()
    if tensor.layout != torch.strided:
        tensor = tensor.values()
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
