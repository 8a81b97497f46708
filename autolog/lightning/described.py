"""Parameters, Trainer, optimizers and data of a training as config entries; its outcome too."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import torch

from autolog.capture import datasets
from autolog.capture.params import scalar
from autolog.capture.titles import short_class, title
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.process.hooks import Call
from autolog.torch.measures import describe, is_sharded, seed_that_was_set

__all__ = [
    "initial_and_current",
    "package_of",
    "record_data",
    "record_model",
    "record_optimizers",
    "record_outcome",
    "record_parameters",
    "step_of",
    "title_of",
]


# Of the Trainer's arguments those that can be read from it again, by their names there.
_ARGUMENTS = (
    "max_epochs",
    "min_epochs",
    "max_steps",
    "min_steps",
    "max_time",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "num_nodes",
    "num_devices",
    "world_size",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "overfit_batches",
    "val_check_interval",
    "check_val_every_n_epoch",
    "log_every_n_steps",
    "reload_dataloaders_every_n_epochs",
    "use_distributed_sampler",
)


def record_parameters(run: Recording, trainer: Any, module: Any, datamodule: Any) -> None:
    """What was set by hand: ``save_hyperparameters`` of module and data, the Trainer, callbacks."""
    describe(run, module, None)
    run.describe(
        {
            **_framework(trainer),
            **_seed(),
            "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
            "strategy": type(trainer.strategy).__name__.removesuffix("Strategy").lower(),
            "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        }
    )
    given = {**_hyperparameters(datamodule), **_hyperparameters(module)}
    # What a person has set is what runs are compared by.
    run.describe({f"params/{name}": value for name, value in given.items() if _is_short(value)})
    settings = {name: getattr(trainer, name, None) for name in _ARGUMENTS}
    run.params({**given, "trainer": {name: value for name, value in settings.items() if value is not None}})


def _hyperparameters(owner: Any) -> dict[str, Any]:
    """As they are now: ``Tuner.lr_find`` has put another rate there than ``save_hyperparameters``."""
    found = getattr(owner, "hparams", None) if owner is not None else None
    return {str(name): value for name, value in found.items()} if isinstance(found, Mapping) else {}


def title_of(trainer: Any, module: Any) -> str:
    """What its run is called: the module's class, and what was set by hand."""
    name = type(module).__name__
    with shield("Lightning: a run's name"):
        return title(short_class(name), _hyperparameters(module) or {"max_epochs": trainer.max_epochs})
    return name


def initial_and_current(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A module's hyperparameters as they were saved (so its loggers are given them), and as they are."""
    initial = getattr(module, "hparams_initial", None)
    return dict(initial) if isinstance(initial, Mapping) else {}, _hyperparameters(module)


def _is_short(value: Any) -> bool:
    plain = scalar(value)
    return plain is not None and not (isinstance(plain, str) and len(plain) > 100)


def record_optimizers(run: Recording, trainer: Any) -> None:
    """Optimizers and schedulers, several of each by their place; and what a search before has changed."""
    initial, current = initial_and_current(trainer.lightning_module)
    changed = {
        name: value for name, value in current.items() if _is_short(value) and initial.get(name) != value
    }
    if changed:  # by a LearningRateFinder among the callbacks, say
        run.params(changed)
        run.describe({f"params/{name}": value for name, value in changed.items()})
    optimizers = [getattr(optimizer, "optimizer", optimizer) for optimizer in trainer.optimizers]
    if len(optimizers) == 1:
        describe(run, trainer.lightning_module, optimizers[0])
        run.describe(_framework(trainer))
        rate = optimizers[0].param_groups[0].get("lr")
        if rate is not None and any(_finds_a_rate(callback) for callback in trainer.callbacks):
            run.params({"optimizer/lr": float(rate)})  # the optimizer was made with another one
            run.describe({"params/lr": float(rate)})
    else:
        run.describe({"optimizer": [type(optimizer).__name__ for optimizer in optimizers]})
        run.params(
            {
                f"optimizer/{place}": {"class": type(optimizer).__name__, **optimizer.defaults}
                for place, optimizer in enumerate(optimizers)
            }
        )
    schedulers = {
        f"scheduler/{place}": {
            "class": type(config.scheduler).__name__,
            "interval": config.interval,
            "frequency": config.frequency,
            "monitor": config.monitor,
            **_state(config.scheduler),
        }
        for place, config in enumerate(trainer.lr_scheduler_configs)
    }
    if schedulers:
        run.params(schedulers)


def _seed() -> dict[str, int]:
    """Which seed was given before, by ``seed_everything`` to all or by ``manual_seed`` to torch's."""
    seed, of_all = seed_that_was_set(), os.environ.get("PL_GLOBAL_SEED")
    if seed is None:
        return {}
    return {"seed": seed} if of_all == str(seed) else {"seed/torch": seed}


def _finds_a_rate(callback: Any) -> bool:
    return any(base.__name__ == "LearningRateFinder" for base in type(callback).__mro__)


def _framework(trainer: Any) -> dict[str, Any]:
    package = package_of(trainer)
    version = sys.modules[package].__version__
    return {"framework": "lightning", "framework/version": version, "framework/package": package}


def package_of(trainer: Any) -> str:
    """The package that the Trainer's class comes from, through a subclass of the user's too."""
    modules = [base.__module__ for base in type(trainer).__mro__]
    return "lightning" if any(name.startswith("lightning.") for name in modules) else "pytorch_lightning"


def _state(scheduler: Any) -> dict[str, Any]:
    plain = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in vars(scheduler).items()
        if not name.startswith("_") and name != "last_epoch" and isinstance(value, plain)
    }


def record_data(run: Recording, call: Call) -> None:
    """Which loaders, and what is known of their data without taking a batch."""
    if not run.settings.log_data:
        return
    datamodule = call.get("datamodule")
    train, val = call.get("train_dataloaders"), call.get("val_dataloaders")
    if datamodule is not None or hasattr(train, "train_dataloader"):
        run.describe({"data/module": type(datamodule or train).__name__})
        return
    for name, loader in (("train", train), ("val", val)):
        if loader is not None:
            run.describe({f"data/{name}": _loader(run, name, loader)})


def _loader(run: Recording, name: str, loader: Any) -> dict[str, Any]:
    data = getattr(loader, "dataset", None)
    tensors = getattr(data, "tensors", None)
    x, y = (*tensors, None)[:2] if isinstance(tensors, tuple) and tensors else (loader, None)
    described = datasets.describe(x, y)
    for what in described.notes:
        run.note(f"data/{name}", what)
    found = described.config() | {"kind": type(data if data is not None else loader).__name__}
    if data is not None and hasattr(data, "__len__"):
        found["rows"] = len(data)
    sampler = getattr(loader, "sampler", None)
    more = {
        "batch_size": getattr(loader, "batch_size", None),
        "sampler": type(sampler).__name__ if sampler is not None else None,
        "num_workers": getattr(loader, "num_workers", None),
    }
    return found | {key: value for key, value in more.items() if value is not None}


def record_model(run: Recording, module: Any) -> None:
    """The module's weights, where no checkpoint holds them."""
    if not run.settings.log_models or not run.records:
        return
    state = module.state_dict()
    if is_sharded(list(state.values())):
        run.note("model", "not kept: each rank has a part of it")
        return
    size = sum(
        tensor.numel() * tensor.element_size() for tensor in state.values() if hasattr(tensor, "numel")
    )
    if size > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    path = run.stage("state_dict.pt")
    torch.save(state, path)
    name = f"model-{type(module).__name__}"
    run.staged_artifact(name, "model", {"state_dict.pt": path}, {"bytes": path.stat().st_size})


def record_outcome(run: Recording, trainer: Any) -> None:
    """How far it went, and what stopped it."""
    values: dict[str, Any] = {"epochs": trainer.current_epoch, "steps": trainer.global_step}
    for callback in trainer.early_stopping_callbacks:
        values |= {
            "early_stopping/monitor": callback.monitor,
            "early_stopping/best_score": float(callback.best_score),
            "early_stopping/stopped_epoch": callback.stopped_epoch + 1 if callback.stopped_epoch else None,
        }
    run.describe(values)


def step_of(trainer: Any) -> int:
    """The step as Lightning's loggers count it: batches that ended with a step of an optimizer."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)
