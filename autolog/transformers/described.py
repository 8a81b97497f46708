"""What a training is made from: arguments, model, tokenizer, data; and what came out."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from autolog.capture.titles import short_class, title
from autolog.core.recording import Recording
from autolog.core.settings import SettingError, Settings
from autolog.process.guard import shield
from autolog.torch.measures import describe, is_sharded
from autolog.transformers.words import describe_words

__all__ = ["record_model", "record_optimizer", "record_outcome", "record_parameters", "suggested", "title_of"]

# What runs are compared by; all the others stand in the nested part.
_FIRST = (
    "learning_rate",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_train_epochs",
    "max_steps",
    "weight_decay",
    "warmup_steps",
    "lr_scheduler_type",
    "optim",
    "max_grad_norm",
    "seed",
    "bf16",
    "fp16",
)


def suggested(trainer: Any) -> tuple[dict[str, str], dict[str, str]]:
    """What TrainingArguments say of the run's place, and why some of it is no place.

    A value that stands there by default says nothing (``project="huggingface"``).

    Returns:
        ``project``, ``run_name`` and ``space_id``, where they were set; and notes.
    """
    args = trainer.args
    defaults = {field.name: field.default for field in dataclasses.fields(args)}
    found: dict[str, str] = {}
    notes: dict[str, str] = {}
    for name, theirs in (("project", "project"), ("run_name", "run_name"), ("space_id", "trackio_space_id")):
        value = getattr(args, theirs, None)
        if value is None or value == defaults.get(theirs):
            continue
        try:
            Settings(**{name: value})
            found[name] = value
        except SettingError as error:
            notes[theirs] = f"not used: {error}"
    return found, notes


def title_of(trainer: Any, subject: Any) -> str:
    """What its run is called: the model's class, and what was set by hand."""
    name = type(subject).__name__
    with shield("transformers: a run's name"):
        args = trainer.args
        defaults = {field.name: field.default for field in dataclasses.fields(args)}
        was_set = {key: getattr(args, key, None) for key in _TELLING}
        return title(short_class(name), {k: v for k, v in was_set.items() if v != defaults.get(k)})
    return name


_TELLING = ("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "weight_decay")


def record_parameters(run: Recording, trainer: Any) -> None:
    """All of TrainingArguments, the configs of model, adapter and generation, the tokenizer."""
    args, model = trainer.args, trainer.model
    if model is not None:  # else `model_init` makes it
        describe(run, model, None)
        run.describe(describe_words(model))
    given = args.to_dict()
    run.describe(
        {
            **_framework(),
            "trainer": type(trainer).__name__,
            "callbacks": [type(callback).__name__ for callback in trainer.callback_handler.callbacks],
            **{f"params/{name}": given[name] for name in _FIRST if given.get(name) is not None},
        }
    )
    run.params({**given, **_configs(model), **_tokenizer(trainer)})
    for name, data in (("train", trainer.train_dataset), ("val", trainer.eval_dataset)):
        if data is not None and run.settings.log_data:
            run.describe({f"data/{name}": _data(data)})


def _framework() -> dict[str, str]:
    return {"framework": "transformers", "framework/version": transformers.__version__}


def record_optimizer(run: Recording, trainer: Any) -> None:
    """The optimizer and the schedule, which the Trainer has made by now."""
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)  # in accelerate's wrapper
    if hasattr(optimizer, "defaults"):
        if not is_in_parts(trainer):  # else its parameters would be counted wrong by now
            describe(run, trainer.model, optimizer)
            run.describe(_framework())
        run.describe({"optimizer": type(optimizer).__name__})
        run.params(_as_set(optimizer))
    if trainer.lr_scheduler is not None:
        scheduler = getattr(trainer.lr_scheduler, "scheduler", trainer.lr_scheduler)
        kind = getattr(trainer.args.lr_scheduler_type, "value", trainer.args.lr_scheduler_type)
        run.params({"scheduler": {"class": type(scheduler).__name__, "type": str(kind)}})


def _as_set(optimizer: Any) -> dict[str, Any]:
    """What the groups were given, and not the class's defaults: the Trainer decays one group only."""
    found = {}
    for name in optimizer.defaults:
        values = [
            group.get("initial_lr" if name == "lr" and "initial_lr" in group else name)
            for group in optimizer.param_groups
        ]
        found[f"optimizer/{name}"] = values[0] if all(value == values[0] for value in values) else values
    return found


def _configs(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("config", "generation_config"):
        config: Any = getattr(model, name, None)
        if hasattr(config, "to_dict"):
            found["model_config" if name == "config" else name] = config.to_dict()
    peft = getattr(model, "peft_config", None)
    if peft:
        found["peft_config"] = {
            key: config.to_dict() if hasattr(config, "to_dict") else config for key, config in peft.items()
        }
    return found


def _tokenizer(trainer: Any) -> dict[str, Any]:
    tokenizer = getattr(trainer, "processing_class", None)
    if tokenizer is None:
        return {}
    found = {"class": type(tokenizer).__name__, "name": getattr(tokenizer, "name_or_path", None)}
    if hasattr(tokenizer, "vocab_size"):
        found |= {"vocab_size": tokenizer.vocab_size, "special_tokens": tokenizer.special_tokens_map}
        found |= {"size": len(tokenizer)} if hasattr(tokenizer, "__len__") else {}  # with added tokens
        found |= {"model_max_length": tokenizer.model_max_length, "padding_side": tokenizer.padding_side}
    return {"tokenizer": found}


def _data(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return {str(name): _data(part) for name, part in data.items()}
    found: dict[str, Any] = {"kind": type(data).__name__}
    if hasattr(data, "__len__"):
        found["rows"] = len(data)
    for name in ("column_names", "_fingerprint"):  # of Hugging Face's datasets
        value = getattr(data, name, None)
        if isinstance(value, (str, list)):
            found[name.strip("_")] = value
    features = getattr(data, "features", None)
    if isinstance(features, Mapping):
        found["dtypes"] = {str(name): str(kind) for name, kind in features.items()}
    return found


def is_in_parts(trainer: Any) -> bool:
    """Whether each rank has a part of the model alone: FSDP, DeepSpeed's third stage, tensors of a mesh."""
    parameters = list(trainer.model.parameters())
    is_zero = any(hasattr(parameter, "ds_id") for parameter in parameters)
    where = getattr(trainer.accelerator.distributed_type, "name", "")
    return is_zero or where == "FSDP" or is_sharded(parameters)


def record_model(run: Recording, trainer: Any) -> None:
    """The model's weights and config, where no checkpoint holds them."""
    model = trainer.model
    if not run.settings.log_models or not run.records:
        return
    if is_in_parts(trainer):
        run.note("model", "not kept: each rank has a part of it")
        return
    if getattr(model, "peft_config", None):
        _record_adapters(run, model)
        return
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    from safetensors.torch import save_model

    files = {"model.safetensors": run.stage("model.safetensors")}
    save_model(model, os.fspath(files["model.safetensors"]))
    if hasattr(getattr(model, "config", None), "to_json_file"):  # any module may be trained
        files["config.json"] = run.stage("config.json")
        model.config.to_json_file(os.fspath(files["config.json"]))
    run.staged_artifact(f"model-{type(model).__name__}", "model", files, {"bytes": size})


def _record_adapters(run: Recording, model: Any) -> None:
    """What was trained of a model with adapters, those that are active: the rest of it is somebody else's."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    active = model.active_adapters() if callable(model.active_adapters) else model.active_adapters
    files: dict[str, Path] = {}
    for adapter in active:
        state = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
        weights = run.stage(f"{adapter}-adapter_model.safetensors")
        config = run.stage(f"{adapter}-adapter_config.json")
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, os.fspath(weights)
        )
        model.peft_config[adapter].save_pretrained(os.fspath(config.parent))
        config.with_name("adapter_config.json").replace(config)
        folder = f"{adapter}/" if len(active) > 1 else ""
        files |= {f"{folder}adapter_model.safetensors": weights, f"{folder}adapter_config.json": config}
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    size = sum(file.stat().st_size for file in files.values())
    run.staged_artifact(f"adapter-{type(base).__name__}", "model", files, {"bytes": size})


def record_outcome(run: Recording, trainer: Any) -> None:
    """How far it went, and what stopped it."""
    state = trainer.state
    values = {"epochs": state.epoch, "steps": state.global_step, "total_flos": state.total_flos}
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, transformers.EarlyStoppingCallback):
            has_stopped = callback.early_stopping_patience_counter >= callback.early_stopping_patience
            values |= {
                "early_stopping/monitor": trainer.args.metric_for_best_model,
                "early_stopping/patience": callback.early_stopping_patience,
                "early_stopping/best_score": state.best_metric,
                "early_stopping/stopped_epoch": state.epoch if has_stopped else None,
            }
    run.describe(values)
