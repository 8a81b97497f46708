"""What is recorded of one training, and of one cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightgbm

from autolog.core.importances import names_among, record_bars
from autolog.core.kept import NativeFile, keep_model
from autolog.core.recording import Recording
from autolog.core.rounds import EarlyStopping, Folds, Rounds, looked_at
from autolog.core.sets import sets_of
from autolog.core.training import bind_run
from autolog.lightgbm.data import facts_of_dataset, record_dataset, target_of
from autolog.lightgbm.described import given_parameters, planned_rounds, record_defaults, used_by
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome

__all__ = ["CrossValidation", "Ears", "Fit", "native_file_of", "record_trees"]

MOST_LEAVES = 200_000  # of a model whose trees are looked at
FIRST = -(10**9)  # before any callback of the user's


class Ears:
    """Hears of each round, before the user's callbacks: behind one that ends the training none is asked."""

    before_iteration = False

    def __init__(self, rounds: Rounds, values: Callable[[Iterable[Any]], Mapping[str, float]]):
        self.order = FIRST
        self._rounds = rounds
        self._values = values

    def __call__(self, env: Any) -> None:
        """A round has ended."""
        if self._rounds.done == 0:
            self._rounds.earlier = env.begin_iteration
        self._rounds.told(lambda: self._values(env.evaluation_result_list or ()))


class Fit:
    """One ``lightgbm.train``."""

    def __init__(self, run: Recording, call: Call, callbacks: list[Any]):
        self.run = run
        self._names: dict[str, str] = {}
        self._early = _early_stopping_of(call, callbacks)
        self.rounds = Rounds(run, planned_rounds(call))
        with shield("LightGBM: data"):
            self._record_data(call)

    def ears(self) -> Ears:
        """What is to stand among the callbacks. It is not kept here: each would keep the other."""
        return Ears(self.rounds, self._heard)

    def _record_data(self, call: Call) -> None:
        dataset, sets = call.get("train_set"), sets_of(self.run)
        sets.trained_on(facts_of_dataset(dataset), target_of(dataset))
        record_dataset(self.run, "train", dataset)
        valid, called = call.get("valid_sets") or [], call.get("valid_names") or []
        valid = [valid] if isinstance(valid, lightgbm.Dataset) else list(valid)
        called = [called] if isinstance(called, str) else list(called)
        called += [
            "training" if one is dataset else f"valid_{number}"
            for number, one in enumerate(valid)
            if number >= len(called)
        ]
        names = sets.given(
            [(facts_of_dataset(one), target_of(one), name) for one, name in zip(valid, called, strict=False)]
        )
        for one, own, name in zip(valid, called, names, strict=False):
            self._names[own] = name
            if name != "train":
                record_dataset(self.run, name, one)

    def _heard(self, results: Iterable[Any]) -> dict[str, float]:
        return {f"{self._names.get(name, name)}/{metric}": value for name, metric, value, *_ in results}

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The training has returned, or raised."""
        charge(self.run)
        if outcome.error is not None:
            self.rounds.record_last()
            return
        booster = outcome.result
        bind_run(booster, self.run)
        with shield("LightGBM: rounds"):
            self._record_rounds(booster)
        self.run.log_once({"vitals/fit_seconds": seconds}, step=self.run.last_step)
        with shield("LightGBM: parameters"):
            record_defaults(self.run, booster)
        with shield("LightGBM: trees"):
            record_trees(self.run, booster)
        with shield("LightGBM: importances"):
            _record_importances(self.run, booster)
        with shield("LightGBM: model"):
            keep_model(self.run, "Booster", native_file_of(booster))

    def _record_rounds(self, booster: Any) -> None:
        rounds, best = self.rounds, booster.best_iteration or None
        early, score = self._early, None
        if best is not None and early is None:
            early = EarlyStopping()
        if early is not None:
            keys = [key for key in rounds.keys if not key.startswith("train/")]
            early = looked_at(early, keys[:1] if len(keys) == 1 else [])  # of several any may have ended it
            score = (
                rounds.value(early.monitor, best) if early is not None and early.monitor and best else None
            )
        # (After early stopping the booster has the best rounds alone.)
        is_shorter = best is None and booster.current_iteration() < rounds.earlier + rounds.done
        why = "no leaf could be split any more" if is_shorter else None
        rounds.record_end(kept=best, best=best, score=score, early=early, why=why)


class CrossValidation:
    """One ``lightgbm.cv``."""

    def __init__(self, run: Recording, call: Call, callbacks: list[Any]):
        self.run = run
        self._early = _early_stopping_of(call, callbacks)
        self.rounds = Rounds(run, planned_rounds(call))
        self._folds = Folds(self.rounds)
        with shield("LightGBM: data"):
            record_dataset(run, "train", call.get("train_set"))

    def ears(self) -> Ears:
        """What is to stand among the callbacks."""
        return Ears(self.rounds, self._heard)

    def _heard(self, results: Iterable[Any]) -> dict[str, float]:
        self._folds.round_ended()
        return {
            f"cv/{_name_in_folds(name, metric)}_{part}": value
            for name, metric, mean, _, deviation in results
            for part, value in (("mean", mean), ("std", deviation))
        }

    def folds_told(self, results: list[Any]) -> None:
        """What every fold has reported, told before the round is."""
        self._folds.told(
            [{_name_in_folds(name, metric): value for name, metric, value, *_ in fold} for fold in results]
        )

    def ended(self, outcome: Outcome, seconds: float) -> None:
        """The cross-validation has returned, or raised."""
        charge(self.run)
        if outcome.error is not None:
            self.rounds.record_last()
            return
        with shield("LightGBM: rounds"):
            returned = next((len(one) for name, one in outcome.result.items() if name != "cvbooster"), 0)
            self._folds.record_end(self.run, returned, self._early)
        self.run.log_once({"vitals/cv_seconds": seconds}, step=self.run.last_step)


def _name_in_folds(name: str, metric: str) -> str:
    """``test_auc``: before LightGBM 4.7 ``cv_agg``, ``valid auc`` stand for ``valid``, ``auc``."""
    if name == "cv_agg":
        name, _, metric = metric.partition(" ")
    return f"{'test' if name == 'valid' else name}_{metric}"


def _early_stopping_of(call: Call, callbacks: list[Any]) -> EarlyStopping | None:
    patience = given_parameters(call).get("early_stopping_round")
    for one in callbacks:
        patience = getattr(one, "stopping_rounds", patience)
    return EarlyStopping(None, int(patience)) if patience and patience > 0 else None


def native_file_of(booster: Any) -> NativeFile:
    """A booster as LightGBM writes it: after early stopping up to the best round."""
    return NativeFile("model.txt", booster.save_model)


def record_trees(run: Recording, booster: Any) -> None:
    """How many trees and leaves it has, and how deep they are."""
    trees = booster.num_trees()
    found = {"model/trees": trees}
    if trees * int(used_by(booster).get("num_leaves", 0)) <= MOST_LEAVES:
        lines = booster.model_to_string(num_iteration=-1).splitlines()
        found["model/leaves"] = sum(int(x.partition("=")[2]) for x in lines if x.startswith("num_leaves="))
        left = [line for line in lines if line.startswith("left_child=")]
        right = [line for line in lines if line.startswith("right_child=")]
        found["model/depth"] = max(map(_depth, left, right), default=0)
    else:
        run.note("model/depth", "not counted: it would take long")
    run.describe(found)


def _depth(left: str, right: str) -> int:
    """Levels of a tree, whose inner nodes come after the ones above them; a leaf's number is negative."""
    children = [[int(one) for one in line.partition("=")[2].split()] for line in (left, right)]
    depths = [1] * len(children[0])
    for node, pair in enumerate(zip(*children, strict=True)):
        for child in pair:
            if child > 0:
                depths[child] = depths[node] + 1
    return max(depths, default=0)


def _record_importances(run: Recording, booster: Any) -> None:
    names = booster.feature_name()
    columns = {kind: booster.feature_importance(kind).astype(float) for kind in ("gain", "split")}
    record_bars(run, "importances", "Feature importances", names_among([names], len(names)), columns)
