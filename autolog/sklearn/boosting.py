"""XGBoost, LightGBM and CatBoost through their scikit-learn classes: which evaluation set is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.hooks import Call
from autolog.core.run import Run
from autolog.sklearn.described import mark_of, training_data
from autolog.sklearn.evaluation import name_set

__all__ = ["evaluation_sets"]


def evaluation_sets(run: Run, call: Call) -> dict[str, str]:
    """What the evaluation sets of a fit are: ``train``, ``val``, ``val/set-2``, by the library's names.

    From now on an evaluation of one of them goes by that name too, and another held-out set is ``test``.
    """
    arguments = _arguments(call)
    given = next((v for k, v in arguments.items() if k.rpartition("__")[2] == "eval_set"), None)
    if given is None or not isinstance(given, (list, tuple)) or not given:
        return {}
    pairs = [given] if isinstance(given, tuple) and len(given) == 2 and _is_data(given[0]) else list(given)
    called = next((v for k, v in arguments.items() if k.rpartition("__")[2] == "eval_names"), None) or []
    known = training_data.get(run)
    names = {"training": "train", "learn": "train", "validation": "val"}
    held_out = 0
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) < 2:  # CatBoost's Pool, say
            continue
        X, y = pair[0], pair[1]
        if known is not None and (mark_of(X), mark_of(y)) == (known.X, known.y):
            name = "train"
        else:
            held_out += 1
            name = "val" if held_out == 1 else f"val/set-{held_out}"
            name_set(run, X, y, name)
        own = [called[number]] if number < len(called) else []
        names |= dict.fromkeys([f"validation_{number}", f"valid_{number}", *own], name)
    return names


def _is_data(value: Any) -> bool:
    return hasattr(value, "shape") or (isinstance(value, list) and not isinstance(value[:1], tuple))


def _arguments(call: Call) -> dict[str, Any]:
    """The call's arguments by name, with those of a pipeline's steps, which it takes by ``**params``."""
    found: dict[str, Any] = {}
    for name, value in call.arguments.items():
        if isinstance(value, Mapping) and name in ("params", "fit_params", "kwargs"):
            found |= value
        else:
            found[name] = value
    return found
