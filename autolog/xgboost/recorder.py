"""What is recorded of one training, and of one cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xgboost
from xgboost.callback import TrainingCallback

from autolog.core.importances import names_among, record_bars
from autolog.core.kept import NativeFile, keep_model
from autolog.core.recording import Recording
from autolog.core.rounds import EarlyStopping, Folds, Rounds, looked_at
from autolog.core.sets import facts_of, record_data, sets_of
from autolog.core.training import bind_run
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome
from autolog.xgboost.data import named_columns, record_matrix, target_of
from autolog.xgboost.described import record_defaults

__all__ = ["CrossValidation", "Distributed", "Ears", "Fit", "native_file_of", "record_trees"]

MOST_BYTES = 20_000_000  # of a model whose trees are looked at
_ON_WORKERS = "not read: each of Dask's workers has a part of it"


class Ears(TrainingCallback):  # type: ignore[misc]
    """Hears of each round, before the user's callbacks: behind one that ends the training none is asked."""

    def __init__(
        self,
        rounds: Rounds,
        values: Callable[[Mapping[str, Any]], Mapping[str, float]],
        *,
        goes_on: bool = False,
    ):
        super().__init__()
        self._rounds = rounds
        self._values = values
        self._goes_on = goes_on

    def __hash__(self) -> int:
        return 0  # XGBoost 3.0 asks callbacks in the order of a set, in which this one stands first

    def before_training(self, model: Any) -> Any:
        if self._goes_on:  # with a model that may come from a file: only here it is loaded
            with shield("XGBoost: earlier rounds"):
                self._rounds.earlier = model.num_boosted_rounds()
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        self._rounds.told(lambda: self._values(evals_log))
        return False


class Fit:
    """One ``xgboost.train``."""

    def __init__(self, run: Recording, call: Call, callbacks: list[Any]):
        self.run = run
        self._names: dict[str, str] = {}
        self._early = _early_stopping_of(call, callbacks)
        self.rounds = Rounds(run, call.get("num_boost_round"))
        self._goes_on = call.get("xgb_model") is not None
        with shield("XGBoost: data"):
            self._record_data(call)

    def ears(self) -> Ears:
        """What is to stand among the callbacks. It is not kept here: each would keep the other."""
        return Ears(self.rounds, self._heard, goes_on=self._goes_on)

    def _record_data(self, call: Call) -> None:
        matrix, sets = call.get("dtrain"), sets_of(self.run)
        sets.trained_on(facts_of(matrix), self._target_of(matrix))
        self._record_matrix("train", matrix)
        evals = [(one, str(name)) for one, name in call.get("evals") or ()]
        names = sets.given([(facts_of(one), self._target_of(one), name) for one, name in evals])
        for (one, called), name in zip(evals, names, strict=True):
            self._names[called] = name
            if name != "train":
                self._record_matrix(name, one)

    @staticmethod
    def _target_of(matrix: Any) -> Any:
        return target_of(matrix)

    def _record_matrix(self, name: str, matrix: Any) -> None:
        record_matrix(self.run, name, matrix)

    def _heard(self, evals_log: Mapping[str, Any]) -> dict[str, float]:
        return {
            self._key(name, metric): values[-1]
            for name, metrics in evals_log.items()
            for metric, values in metrics.items()
        }

    def _key(self, name: str, metric: str) -> str:
        return f"{self._names.get(name, name)}/{metric}"

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The training has returned, or raised."""
        charge(self.run)
        if outcome.error is not None:
            self.rounds.record_last()
            return
        booster = outcome.result
        bind_run(booster, self.run)
        with shield("XGBoost: rounds"):
            self._record_rounds(booster)
        self.run.log_once({"vitals/fit_seconds": seconds}, step=self.run.last_step)
        with shield("XGBoost: parameters"):
            record_defaults(self.run, booster)
        with shield("XGBoost: trees"):
            record_trees(self.run, booster)
        with shield("XGBoost: importances"):
            _record_importances(self.run, booster)
        with shield("XGBoost: model"):
            keep_model(self.run, "Booster", native_file_of(booster))

    def _record_rounds(self, booster: Any) -> None:
        last = self.rounds.earlier + self.rounds.done
        kept = booster.num_boosted_rounds()  # fewer where the best alone are kept (`save_best`)
        best, score, early = None, None, self._early
        if early is not None and (text := booster.attr("best_iteration")) is not None:
            best, score = int(text) + 1, float(booster.attr("best_score"))
            early = looked_at(early, self.rounds.keys)
        self.rounds.record_end(kept=kept if 0 < kept < last else None, best=best, score=score, early=early)


class Distributed(Fit):
    """One ``xgboost.dask.train``: its rounds are told after it, by what it returns.

    What the workers were given is theirs, and so are the callbacks.
    """

    def __init__(self, run: Recording, call: Call, callbacks: list[Any]):
        super().__init__(run, call, callbacks)
        self._before = call.get("xgb_model")

    @staticmethod
    def _target_of(matrix: Any) -> Any:
        return None

    def _record_matrix(self, name: str, matrix: Any) -> None:
        columns = getattr(matrix, "feature_names", None)
        more = {"kind": type(matrix).__name__, "columns": named_columns(columns)}
        record_data(self.run, name, facts_of(matrix), None, more=more, why=_ON_WORKERS)

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The training has returned, or raised."""
        found = outcome.result
        if outcome.error is not None or not isinstance(found, Mapping):
            if outcome.error is None:
                self.run.note("model", "not recorded: an asynchronous client is waited for by you")
            return
        with shield("XGBoost: rounds"):
            self._tell_rounds(found["history"], found["booster"].num_boosted_rounds())
        super().ended(Outcome(found["booster"], None), seconds)

    def _tell_rounds(self, history: Mapping[str, Mapping[str, list[float]]], kept: int) -> None:
        if (before := self._before) is not None:
            if not isinstance(before, xgboost.Booster):  # a file
                before = xgboost.Booster(model_file=before)
            self.rounds.earlier = before.num_boosted_rounds()
        found = {
            self._key(name, of): values for name, metrics in history.items() for of, values in metrics.items()
        }
        # (Without evaluation sets there are no values.)
        for number in range(max(map(len, found.values()), default=kept - self.rounds.earlier)):
            self.rounds.told(lambda at=number: {key: values[at] for key, values in found.items()})  # type: ignore[misc]


class CrossValidation:
    """One ``xgboost.cv``."""

    def __init__(self, run: Recording, call: Call, callbacks: list[Any]):
        self.run = run
        self._early = _early_stopping_of(call, callbacks)
        self.rounds = Rounds(run, call.get("num_boost_round"))
        self._folds = Folds(self.rounds)
        with shield("XGBoost: data"):
            record_matrix(run, "train", call.get("dtrain"))

    def ears(self) -> Ears:
        """What is to stand among the callbacks."""
        return Ears(self.rounds, self._heard)

    def _heard(self, evals_log: Mapping[str, Any]) -> dict[str, float]:
        self._folds.round_ended()
        return {
            f"cv/{name}_{metric}_{part}": value
            for name, metrics in evals_log.items()
            for metric, values in metrics.items()
            for part, value in zip(("mean", "std"), values[-1], strict=True)
        }

    def folds_told(self, lines: list[str]) -> None:
        """What every fold has reported, ``[3] train-rmse:0.5 test-rmse:0.7``: told before the round is."""
        pairs = [[part.rpartition(":") for part in line.split()[1:]] for line in lines]
        self._folds.told(
            [{name.replace("-", "_", 1): float(value) for name, _, value in fold} for fold in pairs]
        )

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The cross-validation has returned, or raised."""
        charge(self.run)
        if outcome.error is not None:
            self.rounds.record_last()
            return
        with shield("XGBoost: rounds"):
            self._folds.record_end(self.run, _length(outcome.result), self._early)
        self.run.log_once({"vitals/cv_seconds": seconds}, step=self.run.last_step)


def _length(result: Any) -> int:
    """Rounds in what ``cv`` returns: a frame, or lists by name."""
    return len(next(iter(result.values()), ())) if isinstance(result, Mapping) else len(result)


def _early_stopping_of(call: Call, callbacks: list[Any]) -> EarlyStopping | None:
    if rounds := call.get("early_stopping_rounds"):
        return EarlyStopping(None, rounds)
    for one in callbacks:
        if isinstance(one, xgboost.callback.EarlyStopping):
            return EarlyStopping(None, one.rounds)
    return None


def native_file_of(booster: Any) -> NativeFile:
    """A booster as XGBoost writes it."""
    return NativeFile("model.ubj", booster.save_model)


def record_trees(run: Recording, booster: Any) -> None:
    """How many trees and leaves it has, and how deep they are."""
    if len(booster.save_raw()) > MOST_BYTES:
        run.note("model/trees", "not counted: it would take long")
        return
    trees = booster.get_dump()
    if not any("leaf=" in tree for tree in trees):  # a linear model
        return
    text, depth = "\n".join(trees), 0
    while "\t" * (depth + 1) in text:  # each level is one tab further in
        depth += 1
    run.describe({"model/trees": len(trees), "model/depth": depth, "model/leaves": text.count("leaf=")})


def _record_importances(run: Recording, booster: Any) -> None:
    count = booster.num_features()
    names = booster.feature_names or [f"f{number}" for number in range(count)]
    columns = {}
    for column, kind in (("gain", "total_gain"), ("split", "weight")):
        try:
            scores = booster.get_score(importance_type=kind)
        except ValueError:  # a linear model has weights alone
            continue
        columns[column] = np.array([float(np.mean(scores.get(name, 0.0))) for name in names])
    if "gain" in columns:
        record_bars(run, "importances", "Feature importances", names_among([names], count), columns)
    elif columns:
        columns = {"coefficient": columns["split"]}
        record_bars(run, "coefficients", "Coefficients", names_among([names], count), columns)
