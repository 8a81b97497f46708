"""What is hooked of Lightning, under both of its names, and what is used of it that is private."""

from __future__ import annotations

import functools
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch
from torch.distributed import distributed_c10d
from torchmetrics import MeanMetric

from autolog import lightning as room
from autolog import pytorch_lightning as older_room
from tests.contract import Private, check_hooks, check_table, local

PACKAGES: dict[str, Any] = {"lightning": lightning.pytorch, "pytorch_lightning": pytorch_lightning}


@functools.cache
def _trainer(package: str) -> Any:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return PACKAGES[package].Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)


def _of(package: str) -> dict[str, Private]:
    module = PACKAGES[package]
    finder = module.callbacks.LearningRateFinder
    return {
        "_find_last_checkpoints": Private(
            lambda: module.callbacks.ModelCheckpoint()._find_last_checkpoints(_trainer(package)) == set()
        ),
        "_early_exit": Private(lambda: isinstance(finder()._early_exit, bool)),
        "_batches_that_stepped": Private(
            lambda: _trainer(package).fit_loop.epoch_loop._batches_that_stepped == 0
        ),
        "_compiler_ctx": Private(lambda: module.LightningModule()._compiler_ctx is None),
        "_results": Private(lambda: _trainer(package)._results is None),
        "_first_loop_iter": Private(lambda: _trainer(package)._logger_connector._first_loop_iter is None),
        # What the logger finds above it: who calls it is that file of Lightning's.
        "log_metrics": Private(lambda: local(type(_trainer(package)._logger_connector).log_metrics, "step")),
    }


OF_TORCH = {
    "_update_count": Private(lambda: MeanMetric()._update_count == 0),
    "_defaults": Private(lambda: set(MeanMetric()._defaults) == {"mean_value", "weight"}),
    "_orig_mod": Private(lambda: isinstance(torch.compile(torch.nn.Linear(1, 1))._orig_mod, torch.nn.Linear)),
    "_get_default_store": Private(lambda: callable(distributed_c10d._get_default_store)),
}
PRIVATE = {package: {**_of(package), **OF_TORCH} for package in PACKAGES}


@pytest.mark.parametrize("hooks", [room.HOOKS, older_room.HOOKS], ids=PACKAGES)
def test_every_hook_finds_its_place(hooks: Any) -> None:
    check_hooks(hooks)


@pytest.mark.parametrize(("package", "name"), [(p, name) for p, table in PRIVATE.items() for name in table])
def test_a_private_name_is_there(package: str, name: str) -> None:
    PRIVATE[package][name].check()


def test_the_table_is_whole() -> None:
    check_table("lightning", PRIVATE["lightning"])
