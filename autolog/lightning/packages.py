"""Lightning's two packages, ``lightning.pytorch`` and ``pytorch_lightning``: one code under two names."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from autolog.core import catalogue
from autolog.process.imports import is_installed

__all__ = ["PACKAGES", "Callback", "arm"]

PACKAGES = ("lightning", "pytorch_lightning")
"""As the catalogue names them."""


def _in_use() -> list[Any]:
    """Up to Lightning 2.4 a Trainer takes callbacks of its own package alone."""
    names = ("lightning.pytorch", "pytorch_lightning")
    if found := [sys.modules[name] for name in names if name in sys.modules]:
        return found
    name = names[0] if is_installed("lightning") else names[1]
    return [importlib.import_module(name)]


Callback: Any = type("Callback", tuple(package.Callback for package in _in_use()), {})
"""A callback of each package that is in use."""


def arm() -> None:
    """Put in the hooks for the Trainers that carry something of ours."""
    for name in PACKAGES:
        catalogue.arm(name)
