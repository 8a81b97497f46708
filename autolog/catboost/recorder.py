"""What is recorded of one fit, and of one cross-validation: its rounds after it, see the top of the room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from catboost import CatBoost

from autolog.catboost.data import data_of, record_set
from autolog.catboost.described import given_parameters, record_defaults
from autolog.core.importances import names_among, record_bars
from autolog.core.kept import NativeFile, keep_model
from autolog.core.recording import Recording
from autolog.core.results import record_finals
from autolog.core.rounds import EarlyStopping, Folds, Rounds
from autolog.core.sets import sets_of
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome

__all__ = ["CrossValidation", "Fit", "native_file_of", "record_search", "record_trees"]

ROUNDS = 1_000  # CatBoost's default


class Fit:
    """One fit."""

    def __init__(self, run: Recording, call: Call):
        self.run = run
        self._model = call.subject
        self._names = {"learn": "train"}
        given = given_parameters(call)
        self._period = int(given.get("metric_period") or 1)
        earlier = call.get("init_model")
        self._rounds = Rounds(run, int(given.get("iterations") or ROUNDS), _trees_of(earlier))
        patience = given.get("od_wait")
        self._early = EarlyStopping(None, patience) if patience else None
        with shield("CatBoost: data"):
            self._record_data(call)

    def _record_data(self, call: Call) -> None:
        data, sets = data_of(call.get("X"), call.get("y"), call.get("sample_weight")), sets_of(self.run)
        sets.trained_on(data.facts, data.y)
        categorical = call.get("cat_features")
        if categorical is None:
            categorical = given_parameters(call).get("cat_features")
        record_set(self.run, "train", data, categorical=categorical)
        given = call.get("eval_set")
        given = given if isinstance(given, list) else [] if given is None else [given]
        others = [data_of(*one) if isinstance(one, tuple) else data_of(one) for one in given]
        called = ["validation"] if len(others) == 1 else [f"validation_{n}" for n in range(len(others))]
        names = sets.given([(one.facts, one.y, own) for one, own in zip(others, called, strict=True)])
        for one, own, name in zip(others, called, names, strict=True):
            self._names[own] = name
            if name != "train":
                record_set(self.run, name, one)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The fit has returned, or raised."""
        model, self._model = self._model, None  # who is remembered by the model must not hold it
        charge(self.run)
        if outcome.error is not None:
            return
        with shield("CatBoost: rounds"):
            self._record_rounds(model)
        self.run.log_once({"vitals/fit_seconds": seconds}, step=self.run.last_step)
        with shield("CatBoost: parameters"):
            record_defaults(self.run, model)
        with shield("CatBoost: trees"):
            record_trees(self.run, model)
        with shield("CatBoost: importances"):
            _record_importances(self.run, model)
        with shield("CatBoost: model"):
            keep_model(self.run, type(model).__name__, native_file_of(model))

    def _record_rounds(self, model: Any) -> None:
        rounds = self._rounds
        results = {
            f"{self._names.get(name, name)}/{metric.lower()}": values
            for name, metrics in model.get_evals_result().items()
            for metric, values in metrics.items()
        }
        told = _told_at(max(map(len, results.values()), default=0), self._period, rounds.planned)
        _tell(rounds, results, told, told[-1] if told else rounds.planned)
        best = model.get_best_iteration()
        step = rounds.earlier + int(best) + 1 if best is not None else None
        kept = int(model.tree_count_)
        looked_at = [
            key for key in results if not key.startswith("train") and _is_best(results[key], told, best)
        ]
        early = self._early
        if step is not None and len(looked_at) == 1:
            early = EarlyStopping(looked_at[0], early.patience if early is not None else None)
        score = rounds.value(early.monitor, step) if early is not None and early.monitor and step else None
        rounds.record_end(
            kept=kept if 0 < kept < rounds.earlier + rounds.done else None,
            best=step,
            score=score,
            early=early,
        )


class CrossValidation:
    """One ``catboost.cv``."""

    def __init__(self, run: Recording, call: Call):
        self.run = run
        known = run.known_params()
        self._rounds = Rounds(run, int(known.get("iterations") or ROUNDS))
        self._patience = known.get("od_wait")
        pool = call.get("pool") if call.get("pool") is not None else call.get("dtrain")
        with shield("CatBoost: data"):
            record_set(run, "train", data_of(pool))

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The cross-validation has returned, or raised."""
        charge(self.run)
        if outcome.error is not None:
            return
        with shield("CatBoost: rounds"):
            self._record_rounds(outcome.result)
        self.run.log_once({"vitals/cv_seconds": seconds}, step=self.run.last_step)

    def _record_rounds(self, result: Any) -> None:
        found = result[0] if isinstance(result, tuple) else result  # with `return_models`
        columns: Mapping[str, Any] = {str(name): list(found[name]) for name in found}
        told = [int(number) + 1 for number in columns.get("iterations", ())]
        results = {_name_in_folds(name): values for name, values in columns.items() if name != "iterations"}
        _tell(self._rounds, results, told, told[-1] if told else 0)
        early = EarlyStopping(None, self._patience) if self._patience else None
        Folds(self._rounds).record_end(self.run, self._rounds.done, early)
        self.run.note("cv/folds", "not recorded: CatBoost tells the means over the folds alone")


def record_search(run: Recording, found: Mapping[str, Any]) -> None:
    """What ``grid_search`` or ``randomized_search`` returns: the best parameters, and their cross-validation.

    The means and deviations are those of the last round, up to which the model was fitted.
    """
    best = found["params"]
    run.describe({"best/params": best, **{f"best/{name}": value for name, value in best.items()}})
    columns = found.get("cv_results") or {}  # without `calc_cv_statistics` there are none
    last = {_name_in_folds(name): values[-1] for name, values in columns.items() if name != "iterations"}
    means = {
        key: value for key, value in last.items() if key.startswith("cv/test_") and key.endswith("_mean")
    }
    record_finals(run, means)
    run.log_once({key: value for key, value in last.items() if key not in means}, step=run.last_step)


def _name_in_folds(column: str) -> str:
    """``cv/test_logloss_mean`` of ``test-Logloss-mean``."""
    part, _, rest = column.partition("-")
    metric, _, what = rest.rpartition("-")
    return f"cv/{part}_{metric.lower()}_{what}"


def _told_at(count: int, period: int, planned: int) -> list[int]:
    """The rounds, counted from 1, that so many values are of: every so many, and the last one."""
    told = list(range(1, planned + 1, period))
    if told[-1] != planned:
        told.append(planned)
    return told[:count]


def _tell(rounds: Rounds, results: Mapping[str, Sequence[float]], told: list[int], last: int) -> None:
    places = {number: place for place, number in enumerate(told)}
    for number in range(1, last + 1):
        place = places.get(number)
        rounds.told(
            lambda at=place: (  # type: ignore[misc]
                {} if at is None else {key: of[at] for key, of in results.items() if at < len(of)}
            )
        )


def _is_best(values: Sequence[float], told: list[int], best: int | None) -> bool:
    """Whether a metric is at its lowest or highest in the round that CatBoost has found best."""
    if best is None or int(best) + 1 not in told:
        return False
    place = told.index(int(best) + 1)
    if place >= len(values) or math.isnan(values[place]):
        return False
    is_first_lowest, is_first_highest = int(np.argmin(values)) == place, int(np.argmax(values)) == place
    return is_first_lowest or is_first_highest


def _trees_of(model: Any) -> int:
    """Of the model that a fit goes on with; of a file it is not known."""
    return int(getattr(model, "tree_count_", None) or 0)


def native_file_of(model: Any) -> NativeFile:
    """A model as CatBoost writes it: a ``save_model`` of the user's may do more."""
    return NativeFile("model.cbm", lambda path: CatBoost.save_model(model, str(path)))


def record_trees(run: Recording, model: Any) -> None:
    """How many trees and leaves it has, and how deep they are."""
    leaves = model.get_tree_leaf_counts()
    found: dict[str, Any] = {"model/trees": int(model.tree_count_), "model/leaves": int(sum(leaves))}
    if model.get_all_params().get("grow_policy", "SymmetricTree") == "SymmetricTree" and len(leaves):
        found["model/depth"] = int(max(leaves)).bit_length() - 1  # each level doubles the leaves
    run.describe(found)


def _record_importances(run: Recording, model: Any) -> None:
    values = model.get_feature_importance(type="PredictionValuesChange")
    names = names_among([model.feature_names_], len(values))
    record_bars(
        run, "importances", "Feature importances", names, {"importance": np.asarray(values, dtype=float)}
    )
