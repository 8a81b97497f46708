"""Trials as plain data and back: so they travel to the process that makes a study's pictures."""

from __future__ import annotations

import datetime
import logging
import math
import threading
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, distribution_to_json, json_to_distribution
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autolog.capture.params import is_secret, label, sanitize, without_addresses

__all__ = ["study_of", "told", "trials_of"]


def told(trials: list[Any]) -> dict[str, Any]:
    """Trials as plain data.

    Secret parameters are left out, secrets in attributes are masked, and choices that have secrets or are
    objects are texts. A choice may be any object to Optuna, which then warns; its own importances and
    pictures take no list, and no object that JSON does not know.
    """
    space: dict[tuple[str, Any], int] = {}  # each distribution once: nearly always all trials have the same
    texts: dict[str, bool] = {}  # whether one may be shown as it is
    kept = [_told(trial, space, texts) for trial in trials]
    return {"space": [distribution_to_json(one) for _, one in space], "trials": kept}


def _told(trial: Any, space: dict[tuple[str, Any], int], texts: dict[str, bool]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, distribution in trial.distributions.items():
        if is_secret(name):
            continue
        value, shown, choices = trial.params[name], distribution, getattr(distribution, "choices", ())
        if not all(_is_plain(choice, texts) for choice in choices):
            shown = CategoricalDistribution([_text(choice) for choice in choices])
            value = _text(value)
        place = space.setdefault((name, shown), len(space))
        params[name] = [_number(value), place]
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": None if trial.values is None else [_number(value) for value in trial.values],
        "params": params,
        "reports": {str(step): _number(value) for step, value in trial.intermediate_values.items()},
        "times": [
            None if t is None else t.isoformat() for t in (trial.datetime_start, trial.datetime_complete)
        ],
        "attributes": sanitize(trial.user_attrs) if trial.user_attrs else {},
        "constraints": {
            key: value for key, value in trial.system_attrs.items() if key.startswith("constraints")
        },
    }


def _is_plain(choice: Any, texts: dict[str, bool]) -> bool:
    if type(choice) is str:
        return texts[choice] if choice in texts else texts.setdefault(choice, _text(choice) == choice)
    return choice is None or isinstance(choice, (bool, int, float))


def _text(choice: Any) -> str:
    return without_addresses(label(choice))


_ODD = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def _number(value: Any) -> Any:
    """What JSON takes: it knows no infinity, no number that is none, and none of NumPy's."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"odd": str(float(value))}
    return value


def _value(kept: Any) -> Any:
    return _ODD[kept["odd"]] if isinstance(kept, dict) else kept


def trials_of(data: Mapping[str, Any]) -> list[Any]:
    """The trials of :func:`told`."""
    space = [json_to_distribution(text) for text in data["space"]]
    return [_trial(kept, space) for kept in data["trials"]]


def _trial(kept: Mapping[str, Any], space: list[Any]) -> Any:
    began, ended = (None if t is None else datetime.datetime.fromisoformat(t) for t in kept["times"])
    values = kept["values"]
    return FrozenTrial(
        number=kept["number"],
        state=TrialState[kept["state"]],
        value=None,
        values=None if values is None else [_value(value) for value in values],
        datetime_start=began,
        datetime_complete=ended,
        params={name: _value(value) for name, (value, _) in kept["params"].items()},
        distributions={name: space[place] for name, (_, place) in kept["params"].items()},
        user_attrs=dict(kept["attributes"]),
        system_attrs=dict(kept["constraints"]),
        intermediate_values={int(step): _value(value) for step, value in kept["reports"].items()},
        trial_id=kept["number"],
    )


def study_of(directions: list[str], trials: list[Any]) -> Any:
    """A study of these trials, with their numbers: for functions of Optuna's that read them from one."""
    storage = InMemoryStorage()
    logger, here = logging.getLogger("optuna.storages._in_memory"), threading.get_ident()

    def is_anothers(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(is_anothers)  # it tells that a study was made
    try:
        number = storage.create_new_study([StudyDirection[direction.upper()] for direction in directions])
    finally:
        logger.removeFilter(is_anothers)
    study: Any = Study(storage.get_study_name_from_id(number), storage)

    def get_trials(deepcopy: bool = False, states: Any = None, use_cache: bool = False) -> list[Any]:
        return [trial for trial in trials if states is None or trial.state in states]

    study.get_trials = study._get_trials = get_trials
    return study
