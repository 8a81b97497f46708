"""Parameters of LightGBM, under one name each, as the configuration of a run."""

from __future__ import annotations

from functools import cache
from typing import Any

import lightgbm

from autolog.capture.titles import title
from autolog.core.boosted import continued_from, describe_given
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.process.hooks import Call

__all__ = [
    "describe",
    "given_parameters",
    "name_of",
    "planned_rounds",
    "record_defaults",
    "task_of",
    "used_by",
]

_ARGUMENTS = (
    "feval", "keep_training_booster", "nfold", "stratified", "shuffle", "metrics", "folds", "fpreproc",
    "eval_train_metric", "seed",
)  # fmt: skip

_REGRESSIONS = {
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "poisson",
    "quantile",
    "mape",
    "gamma",
    "tweedie",
}
_CLASSIFICATIONS = {"binary", "multiclass", "multiclassova"}


@cache
def _aliases() -> dict[str, str]:
    """LightGBM's own list: the name of each parameter by any name that it has."""
    known = lightgbm.basic._ConfigAliases._get_all_param_aliases()
    return {alias: name for name, aliases in known.items() for alias in aliases}


def name_of(call: Call, what: str = "") -> str:
    """What a run is called: the library, and what was set by hand."""
    name = f"{what} LightGBM".strip()
    with shield("LightGBM: a run's name"):
        return title(name, given_parameters(call))
    return name


def given_parameters(call: Call) -> dict[str, Any]:
    """What the user has given, by one name each: of two for one thing LightGBM takes its main name."""
    aliases, found = _aliases(), {}
    for called, value in (call.get("params") or {}).items():
        name = aliases.get(called, called)
        if name not in found or called == name:
            found[name] = value
    if "num_iterations" not in found and "num_boost_round" in call.arguments:
        found["num_iterations"] = call.get("num_boost_round")
    arguments = {name: call.get(name) for name in _ARGUMENTS if name in call.arguments}
    if "seed" in arguments:  # of the folds
        arguments["folds_seed"] = arguments.pop("seed")
    if "metrics" in arguments:  # in place of those among the parameters
        found["metric"] = arguments.pop("metrics")
    return {**found, **{name: value for name, value in arguments.items() if value is not None}}


def planned_rounds(call: Call) -> int:
    """How many rounds are asked for."""
    planned = given_parameters(call).get("num_iterations")
    return int(call.get("num_boost_round") if planned is None else planned)


def describe(run: Recording, call: Call, *, earlier: Recording | None = None) -> None:
    """What was set by hand.

    Args:
        earlier: the run of the model that the training goes on with.
    """
    given = given_parameters(call)
    run.params({"num_iterations": planned_rounds(call)})
    describe_given(
        run, given, "lightgbm", lightgbm.__version__, "lightgbm.basic.Booster", seed=given.get("seed")
    )
    continued_from(run, call.get("init_model"), earlier)


def record_defaults(run: Recording, booster: Any) -> None:
    """All parameters as LightGBM has used them: those that nobody has set stand beside the others."""
    known = run.known_params()
    run.params({name: value for name, value in used_by(booster).items() if name not in known})


def used_by(booster: Any) -> dict[str, Any]:
    """All parameters as LightGBM has used them."""
    text = booster.model_to_string(num_iteration=1).partition("\nparameters:\n")[2]
    lines = text.partition("\nend of parameters")[0].splitlines()
    pairs = [line.strip("[]").partition(": ") for line in lines]
    return {name: _plain(value) for name, _, value in pairs if value}


def _plain(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def task_of(booster: Any) -> str | None:
    """``classification``, ``regression``; None: a ranking, an objective of the user's own."""
    text = booster.model_to_string(num_iteration=1)
    objective = text.partition("\nobjective=")[2].partition("\n")[0].partition(" ")[0]
    if objective in _CLASSIFICATIONS:
        return "classification"
    return "regression" if objective in _REGRESSIONS else None
