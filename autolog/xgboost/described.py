"""Parameters of XGBoost, under one name each, as the configuration of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xgboost

from autolog.capture.titles import title
from autolog.core.boosted import continued_from, describe_given
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.process.hooks import Call

__all__ = [
    "describe",
    "given_parameters",
    "name_of",
    "objective_of",
    "record_defaults",
    "record_unset",
    "task_of",
]

# XGBoost takes either name; these are the ones that its scikit-learn classes have, too.
_ALIASES = {
    "alpha": "reg_alpha",
    "eta": "learning_rate",
    "lambda": "reg_lambda",
    "min_split_loss": "gamma",
    "nthread": "n_jobs",
    "seed": "random_state",
}
_ARGUMENTS = (
    "num_boost_round", "early_stopping_rounds", "maximize", "obj", "custom_metric",
    "nfold", "stratified", "metrics", "shuffle", "seed", "folds", "fpreproc",
)  # fmt: skip
_NO_PARAMETERS = {"num_feature", "num_trees", "num_target", "boost_from_average", "updater_seq"}


def name_of(call: Call, what: str = "") -> str:
    """What a run is called: the library, and what was set by hand."""
    name = f"{what} XGBoost".strip()
    with shield("XGBoost: a run's name"):
        return title(name, given_parameters(call))
    return name


def given_parameters(call: Call) -> dict[str, Any]:
    """What the user has given, by one name each; of two names for one thing XGBoost takes the last."""
    given = call.get("params") or {}
    pairs = given.items() if isinstance(given, Mapping) else given
    found: dict[str, Any] = {}
    for called, value in pairs:
        name = str(_ALIASES.get(called, called))
        if name == "eval_metric" and name in found:  # a list of pairs may have several
            before = found[name] if isinstance(found[name], list) else [found[name]]
            found[name] = [*before, value]
        else:
            found[name] = value
    arguments = {name: call.get(name) for name in _ARGUMENTS if name in call.arguments}
    if "seed" in arguments:  # of the folds
        arguments["folds_seed"] = arguments.pop("seed")
    return {**found, **{name: value for name, value in arguments.items() if value is not None}}


def describe(run: Recording, call: Call, *, earlier: Recording | None = None) -> None:
    """What was set by hand.

    Args:
        earlier: the run of the model that the training goes on with.
    """
    given = given_parameters(call)
    run.params({"num_boost_round": call.get("num_boost_round")})
    describe_given(
        run, given, "xgboost", xgboost.__version__, "xgboost.core.Booster", seed=given.get("random_state")
    )
    continued_from(run, call.get("xgb_model"), earlier)


def record_defaults(run: Recording, booster: Any) -> None:
    """All parameters as XGBoost has used them: those that nobody has set stand beside the others."""
    known = run.known_params()
    run.params({name: value for name, value in _used(booster).items() if name not in known})


def record_unset(run: Recording, booster: Any) -> None:
    """What XGBoost has used for the parameters of an estimator that stand for "unset": None."""
    unset = {name for name, value in run.known_params().items() if value is None}
    run.params({name: value for name, value in _used(booster).items() if name in unset})


def _used(booster: Any) -> dict[str, Any]:
    found = dict(_leaves(json.loads(booster.save_config())["learner"]))
    used = {_ALIASES.get(name, name): _plain(value) for name, value in found.items()}
    return {name: value for name, value in used.items() if name not in _NO_PARAMETERS}


def _leaves(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        elif isinstance(value, str) and name != "name":
            yield name, value


def _plain(text: str) -> Any:
    """A number as a person would have written it: XGBoost reckons in 32 bits, and writes all nine digits.

    Since XGBoost 3.1 ``base_score`` is a list, with one number for each output.
    """
    if text.startswith("[") and text.endswith("]") and "[" not in text[1:]:
        found = [_plain(one) for one in text[1:-1].split(",") if one]
        return found[0] if len(found) == 1 else found
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(str(np.float32(text)))
    except ValueError:
        return text


def objective_of(booster: Any) -> str:
    """What the booster was trained for, by XGBoost's name."""
    return str(json.loads(booster.save_config())["learner"]["learner_train_param"]["objective"])


def task_of(objective: str) -> str | None:
    """``classification``, ``regression``; None: a ranking, a survival, a probability as a target."""
    if objective.startswith(("binary:", "multi:")):
        return "classification"
    is_amount = objective.startswith(("reg:", "count:")) and objective != "reg:logistic"
    return "regression" if is_amount else None
