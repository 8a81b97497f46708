"""What a training is made from: its parameters and its data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np
from keras.src.backend.common import global_state

from autolog.capture import datasets
from autolog.capture.titles import short_class, title
from autolog.core.recording import Recording
from autolog.process.guard import shield

__all__ = [
    "batch_size_of",
    "by_class",
    "has_lambdas",
    "name_of",
    "plain",
    "record_data",
    "record_optimizers",
    "record_parameters",
    "short",
    "title_of",
    "training_rows",
]

# Arguments of `fit` that are hyperparameters, and no data.
_ARGUMENTS = (
    "batch_size",
    "epochs",
    "initial_epoch",
    "steps_per_epoch",
    "shuffle",
    "class_weight",
    "validation_split",
    "validation_steps",
    "validation_batch_size",
    "validation_freq",
)


class Arguments(Protocol):
    """The arguments of a call, by their names."""

    def get(self, name: str, /) -> Any: ...


def record_parameters(run: Recording, call: Arguments, model: Any, callbacks: list[Any]) -> None:
    """What was set by hand: arguments of ``fit`` and ``compile``, the optimizer, callbacks."""
    given = {name: call.get(name) for name in _ARGUMENTS if call.get(name) is not None}
    given.setdefault("batch_size", batch_size_of(call))
    optimizer = getattr(model, "optimizer", None)
    settings = optimizer.get_config() if optimizer is not None else {}
    for name, value in settings.items():
        given[f"optimizer/{name}"] = plain(value)
    given |= {"loss": name_of(model.loss)} if getattr(model, "loss", None) is not None else {}
    given |= _compiled(model)
    names = [name_of(callback) for callback in callbacks]
    run.describe(
        {
            "framework": "keras",
            "framework/version": keras.__version__,
            "framework/backend": keras.backend.backend(),
            "model": type(model).__name__,
            "model/class": f"{type(model).__module__}.{type(model).__qualname__}",
            "model/name": model.name,
            "optimizer": type(optimizer).__name__ if optimizer is not None else None,
            "precision": model.dtype_policy.name,
            "callbacks": names,
            # What `keras.utils.set_random_seed` was given last: it seeds Python, NumPy and the backend.
            "seed": global_state.get_global_attribute("global_random_seed"),
            **{f"params/{key}": given[key] for key in ("epochs", "batch_size", "loss") if key in given},
            **_learning_rate(settings),
        }
    )
    run.params(given)


def record_optimizers(run: Recording, optimizers: Mapping[str, Any]) -> None:
    """What trains a model instead of its compiled optimizer, or beside it: seen only once it does."""
    kinds = list(dict.fromkeys(type(one).__name__ for one in optimizers.values()))
    run.describe({"optimizer": ", ".join(kinds)})
    if len(optimizers) == 1:
        (settings,) = (one.get_config() for one in optimizers.values())
        run.describe(_learning_rate(settings))
        run.params({f"optimizer/{name}": plain(value) for name, value in settings.items()})
        return
    for place, optimizer in optimizers.items():
        settings = optimizer.get_config()
        run.params({f"optimizer/{place}/{name}": plain(value) for name, value in settings.items()})


def _compiled(model: Any) -> dict[str, Any]:
    """The rest of what ``compile`` was given, as far as it was given."""
    if has_lambdas(model):  # to serialize one prints a warning
        return {}
    try:
        config = model.get_compile_config() or {}
    except Exception as error:  # an object of the user's that does not serialize
        return {"compile": f"not known: {type(error).__name__}: {error}"}
    found = {}
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        value = config.get(name)
        if value and not (name == "loss" and isinstance(value, str)):
            found[name if name != "loss" else "loss/config"] = _readable(value)
    for name in ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss"):
        if config.get(name) not in (None, False, 1, "auto"):
            found[name] = config[name]
    return found


def has_lambdas(model: Any) -> bool:
    """Whether the model, its loss or metrics have code in them that Keras serializes with a warning only."""
    metrics = getattr(getattr(model, "_compile_metrics", None), "_user_metrics", None)
    parts = keras.tree.flatten([getattr(model, "loss", None), metrics])
    of_lambda = any(getattr(part, "__name__", "") == "<lambda>" for part in parts)
    return of_lambda or any(isinstance(layer, keras.layers.Lambda) for layer in model._flatten_layers())


def _readable(value: Any) -> Any:
    """A part of a serialized config without what only a machine reads."""
    if isinstance(value, Mapping) and "class_name" in value:
        config = value.get("config")
        if not isinstance(config, Mapping):
            return config or value["class_name"]
        return {"class": value["class_name"], **{key: _readable(part) for key, part in config.items()}}
    if isinstance(value, Mapping):
        return {key: _readable(part) for key, part in value.items()}
    return [_readable(part) for part in value] if isinstance(value, (list, tuple)) else value


def title_of(model: Any, call: Arguments | None = None) -> str:
    """What its run is called: its class, or the name that a person gave it, and what was set by hand."""
    name: str = type(model).__name__
    with shield("Keras: a run's name"):
        was_set: dict[str, Any] = {}
        if type(model).__module__.startswith("keras.") and not _AUTOMATIC.match(model.name):
            name = model.name
        optimizer = getattr(model, "optimizer", None)
        rate = optimizer.get_config().get("learning_rate") if optimizer is not None else None
        if isinstance(rate, (int, float)):
            was_set["learning_rate"] = short(rate)
        if call is not None:
            was_set |= {key: call.get(key) for key in ("epochs", "batch_size")}
        return title(short_class(name), was_set)
    return name


_AUTOMATIC = re.compile(r"(sequential|functional|model)(_\d+)?$")


def _learning_rate(settings: Mapping[str, Any]) -> dict[str, Any]:
    rate = settings.get("learning_rate")
    return {"params/learning_rate": short(rate)} if isinstance(rate, (int, float)) else {}


def plain(value: Any) -> Any:
    """A part of a config: a schedule is what it is made from."""
    if isinstance(value, Mapping) and "class_name" in value:
        config = value.get("config", {})
        return {"class": value["class_name"], **config} if isinstance(config, Mapping) else config
    return short(value) if isinstance(value, (float, np.floating)) else value


def name_of(thing: Any) -> Any:
    """A loss, metric or callback as a person calls it."""
    if isinstance(thing, str):
        return thing
    if isinstance(thing, (list, tuple)):
        return [name_of(part) for part in thing]
    if isinstance(thing, Mapping):
        return {str(key): name_of(part) for key, part in thing.items()}
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    return name if isinstance(name, str) else type(thing).__name__


def batch_size_of(call: Arguments) -> int | None:
    """As Keras takes it: 32 for arrays, the loader's own otherwise."""
    given = call.get("batch_size")
    if given is not None:
        return int(given)
    x = call.get("x")
    own = getattr(x, "batch_size", None)
    if isinstance(own, int):
        return own
    return 32 if hasattr(x, "shape") or isinstance(x, (list, tuple)) else None


def training_rows(call: Arguments) -> int | None:
    """How many rows an epoch trains on, where that is known before: of arrays."""
    x = call.get("x")
    if (
        call.get("steps_per_epoch") is not None
        or not isinstance(getattr(x, "shape", None), tuple)
        or not x.shape
    ):
        return None
    return math.floor(len(x) * (1 - (call.get("validation_split") or 0.0)))


def record_data(run: Recording, call: Arguments) -> None:
    """Shape, kinds and fingerprint of what is trained and validated on."""
    if not run.settings.log_data:
        return
    x, y = call.get("x"), call.get("y")
    if isinstance(y, (Mapping, list, tuple)) and any(
        hasattr(leaf, "shape") for leaf in keras.tree.flatten(y)
    ):
        run.note("data/train", "the targets of several outputs are not described")
        y = None
    full = run.settings.fingerprint == "full"
    described = datasets.describe(x, y, full=full)
    found = described.config()
    if isinstance(x, keras.utils.PyDataset):  # its length is that of its batches
        found = {key: value for key, value in found.items() if key not in ("rows", "shape")}
        found["batches"] = described.rows
    run.describe({"data/train": found})
    for what in described.notes:
        run.note("data/train", what)
    validation = call.get("validation_data")
    if isinstance(validation, (list, tuple)) and len(validation) >= 2:
        run.describe({"data/val": datasets.describe(validation[0], validation[1], full=full).config()})


def by_class(run: Recording, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics of several numbers (F1 of each class, say) as one of each, by its place."""
    found: dict[str, Any] = {}
    for key, value in metrics.items():
        shape = tuple(getattr(value, "shape", ()))
        if not isinstance(value, (list, tuple)) and math.prod(shape) == 1:
            found[key] = value
            continue
        values = np.asarray(keras.ops.convert_to_numpy(value))
        if values.size > MOST_CLASSES:
            run.note(key, f"not recorded: it has {values.size:,} numbers")
            continue
        run.note(key, f"it has {values.size} numbers: each is recorded by its place, {key}/0 and so on")
        for place in np.ndindex(values.shape):
            found["/".join([key, *map(str, place)])] = float(values[place])
    return found


MOST_CLASSES = 100  # of a metric with a number for each


def short(value: Any) -> float:
    """The number that was meant: Keras keeps 0.001 in 32 bits, which is 0.0010000000475 in Python's 64."""
    in_32_bits = np.float32(value)
    return float(str(in_32_bits)) if in_32_bits == value else float(value)
