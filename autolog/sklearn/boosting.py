"""XGBoost, LightGBM and CatBoost through their scikit-learn classes: evaluation sets, and rounds on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autolog.core.recording import Recording
from autolog.process.hooks import Call
from autolog.sklearn.budget import length
from autolog.sklearn.given import arguments_of
from autolog.sklearn.inside import attribute, is_number, is_one
from autolog.sklearn.known import Sighting, is_full, mark_of, read_of, training_data
from autolog.sklearn.sets import name_set

__all__ = ["Given", "best_iteration", "given_to", "kept_round", "rounds_of"]

TELLING_ROWS = 20  # of a target: so many are hardly the same by chance

_LIBRARIES_NAMES = {"training": "train", "learn": "train", "validation": "val"}


@dataclass(frozen=True)
class Given:
    """What a fit was given that its rounds are told of.

    Attributes:
        sets: ``train``, ``val``, ``val/set-2``, by the names that the library has for its evaluation sets.
        earlier: the rounds of the model that it goes on with.
    """

    sets: Mapping[str, str] = field(default_factory=lambda: _LIBRARIES_NAMES)
    earlier: int = 0


def given_to(run: Recording, call: Call) -> Given:
    """The evaluation sets of a fit, and the model that it goes on with.

    One that holds rows of the training data alone is ``train/part``, one that may is ``eval``.

    From now on an evaluation of one of the sets goes by its name too, and another held-out set is ``test``.
    """
    arguments = arguments_of(call)
    return Given(_evaluation_sets(run, arguments), _earlier_rounds(arguments))


def _evaluation_sets(run: Recording, arguments: Mapping[str, Any]) -> dict[str, str]:
    names = dict(_LIBRARIES_NAMES)
    pairs = _pairs(_named(arguments, "eval_set"))
    if not pairs:
        pairs = _pairs_of_parts(_named(arguments, "eval_X"), _named(arguments, "eval_y"))
    called = _named(arguments, "eval_names") or []
    inside = any(name.endswith(("__eval_set", "__eval_y")) for name in arguments)
    counts = {"val": 0, "eval": 0}
    for number, pair in enumerate(pairs):
        is_pair = isinstance(pair, (list, tuple)) and len(pair) >= 2
        X, y = pair[:2] if is_pair else (None, None)  # of CatBoost's Pool one does not see what it holds
        seen = _sighting(run, X, y, inside=inside) if is_pair else Sighting(None)
        if seen.name is not None and seen.name.startswith("train"):
            name = seen.name
        else:
            kind = seen.name or "val"
            counts[kind] += 1
            name = kind if counts[kind] == 1 else f"{kind}/set-{counts[kind]}"
            if is_pair:
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


def _earlier_rounds(arguments: Mapping[str, Any]) -> int:
    """LightGBM and XGBoost count on from them, in ``best_iteration`` too; CatBoost begins anew."""
    model = _named(arguments, "xgb_model") or _named(arguments, "init_model")
    model = attribute(model, "booster_") or model  # LightGBM's
    if is_one(model, "xgboost.XGBModel"):
        model = model.get_booster()
    count = attribute(model, "num_boosted_rounds") or attribute(model, "current_iteration")
    return int(count()) if callable(count) else 0  # of a file it is not known


# Rounds -------------------------------------------------------------------------------------------


def rounds_of(final: Any, given: Given) -> dict[str, list[float]]:
    """The library's metrics on its evaluation sets, a value per round: ``{"val/rmse": [...]}``."""
    results = attribute(final, "evals_result_")
    if not isinstance(results, Mapping):
        method = attribute(final, "evals_result")
        try:
            results = method() if callable(method) else None
        except Exception:  # XGBoost's, if it was given no set
            return {}
    if not isinstance(results, Mapping):
        return {}
    # What CatBoost calls RMSE is rmse to everybody else.
    called = str.lower if is_one(final, "catboost.CatBoost") else str
    return {
        f"{given.sets.get(name, name)}/{called(metric)}": [float(value) for value in values]
        for name, metrics in results.items()
        for metric, values in metrics.items()
    }


def best_iteration(final: Any) -> int | None:
    """The iteration that early stopping found best, counted from 1; None if nothing looked for it."""
    # XGBoost and CatBoost count from 0. LightGBM counts from 1, and 0 is none.
    for kind, name, shift in (
        ("xgboost.XGBModel", "best_iteration", 1),
        ("catboost.CatBoost", "best_iteration_", 1),
        ("lightgbm.LGBMModel", "best_iteration_", 0),
    ):
        value = attribute(final, name)
        if is_one(final, kind) and is_number(value):
            return int(value) + shift if value + shift > 0 else None
    return None


def kept_round(final: Any) -> int | None:
    """The round, counted from 1, up to which the model predicts; None: all of them."""
    keeps_all = is_one(final, "catboost.CatBoost") and final.get_params().get("use_best_model") is False
    return None if keeps_all else best_iteration(final)
