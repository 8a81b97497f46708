"""Lightning's names of metrics, as every framework's runs call them."""

from __future__ import annotations

import re

__all__ = ["canonical"]

_STAGES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_PREFIX = re.compile(r"(train|training|val|valid|validation|test)[_/.\- ]+(.+)", re.IGNORECASE)
_LOADER = re.compile(r"(.+)/dataloader_idx_(\d+)")


def canonical(name: str, stage: str) -> str:
    """``val_loss`` is ``val/loss``, ``val_loss/dataloader_idx_1`` is ``val/1/loss``.

    A bare ``loss`` is that of the stage. A name that is like none of ours stays as it is.

    Args:
        name: as the module has logged it.
        stage: in which it was logged, ``train``, ``val`` or ``test``.
    """
    loader = ""
    if found := _LOADER.fullmatch(name):
        name, loader = found[1], f"{found[2]}/"
    if found := _PREFIX.fullmatch(name):
        stage, name = _STAGES[found[1].lower()], found[2]
    elif name != "loss" and not name.startswith(("loss_step", "loss_epoch")) and not loader:
        return name
    # Where a metric is logged per step and per epoch, the step's value is the metric.
    return f"{stage}/{loader}{name.removesuffix('_step')}"
