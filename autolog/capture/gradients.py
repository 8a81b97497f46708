"""Norms of torch gradients: one call for all of them, one transfer to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["norms"]


def norms(groups: Sequence[Sequence[Any]]) -> tuple[float, list[float]]:
    """L2 norms of groups of gradients, in float32: half precision overflows.

    Args:
        groups: torch tensors, dense or sparse, by layer or module; an empty group has norm 0.

    Returns:
        The norm of all of them together, and the norm of each group.
    """
    import torch

    tensors = [_values(tensor) for group in groups for tensor in group]
    if not tensors:
        return 0.0, [0.0 for _ in groups]
    with torch.no_grad():
        each = torch._foreach_norm(tensors, 2, dtype=torch.float32)
        device = each[0].device
        found: list[float] = torch.stack([norm.to(device) for norm in each]).tolist()
    squares = iter(norm * norm for norm in found)
    parts = [math.fsum(next(squares) for _ in group) for group in groups]
    return math.sqrt(math.fsum(parts)), [math.sqrt(part) for part in parts]


def _values(tensor: Any) -> Any:
    tensor = tensor.detach()
    return tensor.coalesce().values() if tensor.is_sparse else tensor
