"""Parameters of CatBoost, under one name each, as the configuration of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import catboost

from autolog.capture.titles import short_class, title
from autolog.core.boosted import continued_from, describe_given
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.process.hooks import Call
from autolog.process.signatures import signature_of

__all__ = [
    "describe",
    "describe_cv",
    "given_parameters",
    "name_of",
    "name_of_cv",
    "record_defaults",
    "task_of",
]

# CatBoost takes any of these names, and tells what it has used by the second one.
_ALIASES = {
    "colsample_bylevel": "rsm",
    "custom_loss": "custom_metric",
    "early_stopping_rounds": "od_wait",
    "eta": "learning_rate",
    "max_bin": "border_count",
    "max_depth": "depth",
    "min_child_samples": "min_data_in_leaf",
    "n_estimators": "iterations",
    "num_boost_round": "iterations",
    "num_leaves": "max_leaves",
    "num_trees": "iterations",
    "objective": "loss_function",
    "random_state": "random_seed",
    "reg_lambda": "l2_leaf_reg",
}

# What a fit takes beside its data, under the name that the same thing has among the parameters.
_ARGUMENTS = {
    "early_stopping_rounds": "od_wait",
    "metric_period": "metric_period",
    "use_best_model": "use_best_model",
}
_OF_CV = (
    "iterations", "num_boost_round", "fold_count", "nfold", "inverted", "shuffle", "stratified", "type",
    "partition_random_seed", "seed", "metric_period", "early_stopping_rounds", "folds",
)  # fmt: skip
_SAME_OF_CV = {**_ALIASES, "nfold": "fold_count", "seed": "partition_random_seed"}

_CLASSIFICATIONS = {"Logloss", "MultiClass", "MultiClassOneVsAll"}
_REGRESSIONS = {
    "Expectile", "Huber", "LogCosh", "LogLinQuantile", "Lq", "MAE", "MAPE", "MultiRMSE", "Poisson",
    "Quantile", "RMSE", "RMSPE", "Tweedie",
}  # fmt: skip


def name_of(call: Call) -> str:
    """What a run is called: the model's class, and what was set by hand."""
    name = type(call.subject).__name__
    with shield("CatBoost: a run's name"):
        return title(short_class(name), given_parameters(call))
    return name


def name_of_cv(call: Call) -> str:
    """The same of a cross-validation."""
    with shield("CatBoost: a run's name"):
        return title("cv CatBoost", _given_to_cv(call))
    return "cv CatBoost"


def given_parameters(call: Call) -> dict[str, Any]:
    """What the user has given to the model and to its fit, by one name each."""
    model = call.subject
    parameters = signature_of(type(model).__init__).parameters
    # CatBoostRegressor's loss is one of its parameters, even where nobody has set it.
    defaults = {name: one.default for name, one in parameters.items() if one.default is not None}
    set_by_hand = {n: value for n, value in model.get_params().items() if defaults.get(n) is not value}
    found = {_ALIASES.get(name, name): value for name, value in set_by_hand.items()}
    found |= {
        name: call.get(argument) for argument, name in _ARGUMENTS.items() if call.get(argument) is not None
    }
    return found


def describe(run: Recording, call: Call, *, earlier: Recording | None = None) -> None:
    """What was set by hand.

    Args:
        earlier: the run of the model that the training goes on with.
    """
    kind = type(call.subject)
    _describe(run, given_parameters(call), f"{kind.__module__}.{kind.__qualname__}")
    continued_from(run, call.get("init_model"), earlier)


def describe_cv(run: Recording, call: Call) -> None:
    """The same of a cross-validation."""
    _describe(run, _given_to_cv(call), "catboost.core.CatBoost")


def _given_to_cv(call: Call) -> dict[str, Any]:
    given = call.get("params")
    given = given if isinstance(given, Mapping) else {}
    found = {_ALIASES.get(str(name), str(name)): value for name, value in given.items()}
    arguments = {name: call.get(name) for name in _OF_CV if name in call.arguments}
    named = {_SAME_OF_CV.get(name, name): value for name, value in arguments.items()}
    return {**found, **{name: value for name, value in named.items() if value is not None}}


def _describe(run: Recording, given: Mapping[str, Any], model: str) -> None:
    describe_given(run, given, "catboost", catboost.__version__, model, seed=given.get("random_seed"))


def record_defaults(run: Recording, model: Any) -> None:
    """All parameters as CatBoost has used them: those that nobody has set stand beside the others."""
    known = run.known_params()
    run.params({name: _plain(v) for name, v in model.get_all_params().items() if name not in known})


def _plain(value: Any) -> Any:
    """A number as a person would have written it: CatBoost reckons in 32 bits."""
    return float(f"{value:.7g}") if isinstance(value, float) else value


def task_of(model: Any) -> str | None:
    """``classification``, ``regression``; None: a ranking, a loss of the user's own, several labels."""
    loss = str(model.get_all_params().get("loss_function")).partition(":")[0]
    if loss in _CLASSIFICATIONS:
        return "classification"
    return "regression" if loss in _REGRESSIONS else None
