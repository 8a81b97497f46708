"""Several models of one kind that were fitted on parts of one data: the folds of a loop that a user writes.

None of them stands for the run that they are in. Its numbers are the means over the models, with their
standard deviations; each model has a run below it; and what they have predicted of the data that was held
out from each is evaluated together, when the run ends.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.capture.overlap import KnownRows
from autolog.core.opening import open_run
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation, record_long_table
from autolog.core.training import Training, conclude
from autolog.process.guard import shield
from autolog.sklearn.known import TrainingData, training_data

__all__ = ["evaluated", "fitted", "told", "told_of_one"]

OF_ONE_DATA = 0.5  # share of the training rows that other models have learned from or were evaluated on
HELD_VALUES = 4_000_000  # numbers of predictions, 32 MB, that are kept of one group
MOST_MODELS = 1_000  # of a group


@dataclass(eq=False)
class _Model:
    """One of them.

    Attributes:
        run: where it is recorded; of the first one the run that they are all in.
        name: of the run that it has for itself.
        known: the rows that it has learned from, and those that it was evaluated on.
        numbers: by their keys.
    """

    run: Recording | None
    name: str
    rows: int | None = None
    mark: str | None = None
    known: list[KnownRows] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass
class _Predictions:
    """What a model has predicted of data that was held out from it."""

    truth: Any
    predicted: Any
    scores: Any


class _Group:
    """Models of one kind in one run."""

    def __init__(self, outer: Recording, kind: Any):
        self.outer = outer
        self.kind = kind
        self.models: list[_Model] = []
        self._written: dict[str, float] = {}
        self._first_step: int | None = None
        self._held: dict[_Model, _Predictions] = {}
        self._held_values = 0
        self._task: tuple[str, Any] | None = None

    def is_of_one_data(self, data: TrainingData) -> bool:
        """Whether these rows are others than any model has learned from, and yet of the same data set."""
        if data.known is None or any(model.mark == data.X for model in self.models):
            return False
        return _share(data.known, [rows for model in self.models for rows in model.known]) >= OF_ONE_DATA

    def add(self, model: _Model) -> None:
        """One more. With the second one it is clear that the first was one of several."""
        self.models.append(model)
        if len(self.models) == 2:
            self._part_with_the_first()
            self.outer.at_end(self.record_the_whole)

    def _part_with_the_first(self) -> None:
        first, outer = self.models[0], self.outer
        if first.run is outer:
            child = open_run(f"{outer.name}-fold-1", parent=outer, by_user=False, framework="sklearn")
            child.params(outer.known_params())
            if first.numbers:
                child.log(first.numbers, step=0)
            conclude(Training(child, owns=True))
            first.name = child.name
        outer.note(
            "folds",
            "several models of one kind were fitted on parts of one data set: numbers are means over them,"
            " with _std their standard deviations; what else is said of one model is of the first",
        )

    def tell(self) -> None:
        """The means as they are now."""
        several = [model for model in self.models if model.numbers]
        if len(several) < 2:
            return
        if self._first_step is None:
            self._first_step = self.outer.last_step + 1
        found: dict[str, float] = {}
        for key in dict.fromkeys(key for model in several for key in model.numbers):
            values = [model.numbers[key] for model in several if key in model.numbers]
            if len(values) > 1:
                found |= {key: float(np.mean(values)), f"{key}_std": float(np.std(values))}
        new = {key: value for key, value in found.items() if self._written.get(key) != value}
        if new:
            self.outer.log(new, step=self._first_step + len(several) - 2)
            self._written |= new

    def hold(self, model: _Model, predictions: _Predictions, task: str, classes: Any) -> None:
        """Keep what it has predicted, for the evaluation of all of it."""
        parts = (predictions.truth, predictions.predicted, predictions.scores)
        self._held_values += sum(np.size(part) for part in parts if part is not None)
        if self._held_values <= HELD_VALUES:
            self._held[model] = predictions
            self._task = task, classes

    def record_the_whole(self) -> None:
        """The table of the models, and the evaluation of what they have predicted."""
        rows = [
            {"fold": number, "run": model.name, "train_rows": model.rows, **model.numbers}
            for number, model in enumerate(self.models, 1)
        ]
        record_long_table(self.outer, "cv/folds", rows)
        held, self._held = self._held, {}
        if self._held_values > HELD_VALUES:
            why = f"left out: more than {HELD_VALUES:,} numbers were predicted"
            self.outer.note("cv", why)
        elif len(held) > 1 and len(held) == len(self.models):
            self._evaluate(list(held.values()))

    def _evaluate(self, parts: list[_Predictions]) -> None:
        assert self._task is not None
        task, classes = self._task
        have = {name: [getattr(part, name) for part in parts] for name in ("predicted", "scores")}
        whole = {
            name: np.concatenate([np.asarray(part) for part in several])
            if all(part is not None for part in several)
            else None
            for name, several in have.items()
        }
        truth = np.concatenate([np.ravel(part.truth) for part in parts])
        try:
            found = evaluation.evaluate(
                truth,
                whole["predicted"],
                scores=whole["scores"],
                classes=classes if whole["scores"] is not None else None,
                task=task,
            )
        except ValueError as error:  # folds that differ in their classes
            self.outer.note_lost("cv", f"not evaluated: {error}")
            return
        if not self.outer.opened_by_user:  # a trial, of hundreds
            found = replace(found, charts={}, tables={})
        # Rows are numbered as they were evaluated, fold by fold: that is no place in the user's data.
        tables = {name: table for name, table in found.tables.items() if name != "best_and_worst"}
        record_evaluation(self.outer, "cv", replace(found, tables=tables, samples=[]))


# Of a run that is no model's own: the groups in it. Of a run: which model it is of.
_groups: weakref.WeakKeyDictionary[Recording, list[_Group]] = weakref.WeakKeyDictionary()
_models: weakref.WeakKeyDictionary[Recording, tuple[_Group, _Model]] = weakref.WeakKeyDictionary()


def fitted(training: Training, estimator: Any) -> None:
    """A model was fitted: in a run of somebody else's it may be one of several."""
    run = training.run
    outer = run.parent if training.owns else run
    data = training_data.get(run)
    if outer is None or data is None or (training.owns and outer not in _groups):
        return
    model = _Model(run, run.name, data.rows, data.X, [data.known] if data.known is not None else [])
    kind, groups = _kind_of(estimator), _groups.setdefault(outer, [])
    group = next((one for one in groups if one.kind == kind and one.is_of_one_data(data)), None)
    if group is None:
        if training.owns:
            return  # another kind of model beside the run's own: it has a run of its own
        group = _Group(outer, kind)
        groups.append(group)
    if len(group.models) < MOST_MODELS:
        group.add(model)
        _models[run] = group, model


def told(run: Recording, numbers: Mapping[str, float]) -> None:
    """Numbers of the model that this run is of, by their keys."""
    if run not in _models:
        return
    group, model = _models[run]
    with shield("scikit-learn: folds"):
        model.numbers |= numbers
        group.tell()


def evaluated(
    run: Recording, rows: KnownRows | None, truth: Any, predicted: Any, scores: Any, task: str, classes: Any
) -> None:
    """What the model of this run has predicted of data that was held out from it."""
    if run not in _models:
        return
    group, model = _models[run]
    with shield("scikit-learn: folds"):
        if rows is not None:
            model.known.append(rows)
        group.hold(model, _Predictions(truth, predicted, scores), task, classes)


def told_of_one(run: Recording, estimator: Any, numbers: Mapping[str, float]) -> None:
    """Numbers of one of the models of a cross-validation, which are all of this run, by their keys."""
    groups = _groups.setdefault(run, [])
    group = next((one for one in groups if isinstance(one, _Several)), None)
    if group is None:
        group = _Several(run, None)
        groups.append(group)
    with shield("scikit-learn: folds"):
        group.model_of(estimator).numbers |= numbers
        group.tell()


class _Several(_Group):
    """The models that a cross-validation has handed out: none has a run of its own."""

    def __init__(self, outer: Recording, kind: Any):
        super().__init__(outer, kind)
        self._of: weakref.WeakKeyDictionary[Any, _Model] = weakref.WeakKeyDictionary()

    def model_of(self, estimator: Any) -> _Model:
        """What is known of this one."""
        if estimator not in self._of:
            model = self._of[estimator] = _Model(None, f"model {len(self.models) + 1}")
            self.models.append(model)
        return self._of[estimator]


def _share(rows: KnownRows, others: list[KnownRows]) -> float:
    """Which part of these rows is among the others, as far as both are known."""
    others = [other for other in others if other.shape == rows.shape]
    if not others:
        return 0.0
    mask = np.uint64(max(rows.mask, *(other.mask for other in others)))
    looked_up = rows.ordered[rows.ordered & mask == 0]
    found = np.zeros(len(looked_up), dtype=bool)
    for other in others:
        found |= np.isin(looked_up, other.ordered, assume_unique=False)
    return float(found.mean()) if len(found) else 0.0


def _kind_of(estimator: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    """What it is and how it is set, but for the seed."""
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    plain = {
        (key, repr(value))
        for key, value in params.items()
        if (value is None or isinstance(value, (str, bool, int, float))) and "random_state" not in key
    }
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}", frozenset(plain)
