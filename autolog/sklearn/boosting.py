"""XGBoost, LightGBM and CatBoost through their scikit-learn classes: which evaluation set is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.core.recording import Recording
from autolog.process.hooks import Call
from autolog.sklearn.budget import length
from autolog.sklearn.evaluation import name_set
from autolog.sklearn.known import Sighting, is_full, mark_of, read_of, training_data

__all__ = ["evaluation_sets"]

TELLING_ROWS = 20  # of a target: so many are hardly the same by chance


def evaluation_sets(run: Recording, call: Call) -> dict[str, str]:
    """What the evaluation sets of a fit are: ``train``, ``val``, ``val/set-2``, by the library's names.

    One that holds rows of the training data alone is ``train/part``, one that may is ``eval``.

    From now on an evaluation of one of them goes by that name too, and another held-out set is ``test``.
    """
    arguments = _arguments(call)
    pairs = _pairs(_named(arguments, "eval_set"))
    if not pairs:
        pairs = _pairs_of_parts(_named(arguments, "eval_X"), _named(arguments, "eval_y"))
    if not pairs:
        return {}
    called = _named(arguments, "eval_names") or []
    inside = any(name.endswith(("__eval_set", "__eval_y")) for name in arguments)
    names = {"training": "train", "learn": "train", "validation": "val"}
    counts = {"val": 0, "eval": 0}
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (list, tuple)) or len(pair) < 2:  # CatBoost's Pool, say
            continue
        X, y = pair[0], pair[1]
        seen = _sighting(run, X, y, inside=inside)
        if seen.name is not None and seen.name.startswith("train"):
            name = seen.name
        else:
            kind = seen.name or "val"
            counts[kind] += 1
            name = kind if counts[kind] == 1 else f"{kind}/set-{counts[kind]}"
            name_set(run, X, y, name)
            if seen.note is not None:
                run.note(name, seen.note)
        own = [called[number]] if number < len(called) else []
        names |= dict.fromkeys([f"validation_{number}", f"valid_{number}", *own], name)
    return names


def _sighting(run: Recording, X: Any, y: Any, *, inside: bool) -> Sighting:
    known, full = training_data.get(run), is_full(run)
    if known is None:
        return Sighting(None)
    mark = mark_of(y, full=full)
    # To a step of a pipeline goes an X that earlier steps have changed; the target alone tells then.
    if inside and mark == known.y and (length(y) or 0) >= TELLING_ROWS:
        return Sighting("train")
    return known.name_of(X, read_of(X, full=full), mark, full=full)


def _named(arguments: Mapping[str, Any], name: str) -> Any:
    """An argument of the fit, or of a pipeline's step."""
    return next((v for k, v in arguments.items() if k.rpartition("__")[2] == name and v is not None), None)


def _pairs(given: Any) -> list[Any]:
    if not isinstance(given, (list, tuple)):
        return []
    return [given] if isinstance(given, tuple) and len(given) == 2 and _is_data(given[0]) else list(given)


def _pairs_of_parts(X: Any, y: Any) -> list[Any]:
    """LightGBM's sets since 4.7: one X and one y, or a tuple of each."""
    if X is None or y is None:
        return []
    return list(zip(X, y, strict=False)) if isinstance(X, tuple) and isinstance(y, tuple) else [(X, y)]


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
