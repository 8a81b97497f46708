"""What a ``fit`` was called with: its data, whatever their arguments are called, and all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autolog.capture.kinds import is_lazy
from autolog.capture.params import sanitize
from autolog.core.recording import Recording
from autolog.process.hooks import Call

__all__ = ["arguments_of", "data_of", "record_arguments"]

MOST_ARGUMENTS = 20
_TARGETS = ("y", "Y")
# Said elsewhere in the run, or of no concern to the model.
_NOT_SAID = {"X", *_TARGETS, "callbacks", "eval_X", "eval_set", "eval_y", "verbose"}


def data_of(call: Call) -> tuple[Any, Any]:
    """The data and the target of a fit: by scikit-learn's names, else by their place (``X_train, y_train``).

    Returns:
        None for each that was not given.
    """
    X, y = _names_of_data(call)
    return call.get(X), call.get(y)


def _names_of_data(call: Call) -> tuple[str, str]:
    named, places = call.parameters, call.parameters[1:3]
    X = places[0] if places and "X" not in named else "X"
    y = next((name for name in _TARGETS if name in named), "y")
    if y not in named and len(places) > 1 and places[1].lower().startswith(("y", "target", "label")):
        y = places[1]
    return X, y


def arguments_of(call: Call) -> dict[str, Any]:
    """The call's arguments by name, with those of a pipeline's steps, which it takes by ``**params``."""
    return _spread(call.arguments)


def _spread(arguments: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, Mapping) and name in ("params", "fit_params", "kwargs"):
            found |= value
        else:
            found[name] = value
    return found


def record_arguments(run: Recording, call: Call) -> None:
    """What the fit was given beside its data, by the names of its arguments."""
    known = {*call.parameters[:1], *_names_of_data(call)}
    found = {
        f"fit/{name}": _described(name, value)
        for name, value in _spread(call.changed()).items()
        if value is not None and name not in known and name.rpartition("__")[2] not in _NOT_SAID
    }
    run.describe(dict(list(found.items())[:MOST_ARGUMENTS]))


def _described(name: str, value: Any) -> Any:
    if name.endswith("sample_weight") and not is_lazy(value):
        try:
            weights = np.asarray(value, dtype=float)
        except (TypeError, ValueError):
            return sanitize(value)
        if weights.ndim == 1 and len(weights):
            return {
                "rows": len(weights),
                "min": float(weights.min()),
                "max": float(weights.max()),
                "sum": float(weights.sum()),
            }
    return sanitize(value, items=20)
