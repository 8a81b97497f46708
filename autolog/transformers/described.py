"""What a training is made from: arguments, model, tokenizer, data; and what came out."""

from __future__ import annotations

import os
from typing import Any

import transformers

from autolog.core.run import Run
from autolog.torch.measures import describe

__all__ = ["record_model", "record_outcome", "record_parameters"]

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


def record_parameters(run: Run, trainer: Any) -> None:
    """All of TrainingArguments, the configs of model, adapter and generation, the tokenizer."""
    args, model = trainer.args, trainer.model
    if model is not None:  # else `model_init` makes it
        describe(run, model, None)
    given = args.to_dict()
    run.describe(
        {
            "framework": "transformers",
            "framework/version": transformers.__version__,
            "trainer": type(trainer).__name__,
            "callbacks": [type(callback).__name__ for callback in trainer.callback_handler.callbacks],
            **{f"params/{name}": given[name] for name in _FIRST if given.get(name) is not None},
        }
    )
    run.params({**given, **_configs(model), **_tokenizer(trainer)})
    for name, data in (("train", trainer.train_dataset), ("val", trainer.eval_dataset)):
        if data is not None and run.settings.log_data:
            run.describe({f"data/{name}": _data(data)})


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
    return found


def record_model(run: Run, model: Any) -> None:
    """The model's weights and config, where no checkpoint holds them."""
    if not run.settings.log_models or not run.records:
        return
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if size > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    from safetensors.torch import save_model

    weights, config = run.stage("model.safetensors"), run.stage("config.json")
    save_model(model, os.fspath(weights))
    model.config.to_json_file(os.fspath(config))
    files = {"model.safetensors": weights, "config.json": config}
    run.staged_artifact(f"model-{type(model).__name__}", "model", files, {"bytes": size})


def record_outcome(run: Run, trainer: Any) -> None:
    """How far it went."""
    state = trainer.state
    run.describe({"epochs": state.epoch, "steps": state.global_step, "total_flos": state.total_flos})
