"""``pytorch_lightning``: the older name of Lightning's package; see :mod:`autolog.lightning`."""

from __future__ import annotations

from typing import Any

from autolog import lightning

__all__ = ["HOOKS"]

HOOKS = lightning.hooks_of("pytorch_lightning")


def __getattr__(name: str) -> Any:
    return getattr(lightning, name)


def __dir__() -> list[str]:
    return dir(lightning)
