"""Several models of one kind that were fitted on parts of one data: the folds of a loop that a user writes.

None of them stands for the run that they are in. Its numbers are the means over the models, with their
standard deviations; each model has a run below it; and what they have predicted of the data that was held
out from each is evaluated together, when the run ends. A refit on more of the data is none of them.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.capture.overlap import KnownRows, SeenRows
from autolog.capture.rows import Rows
from autolog.core.opening import open_run
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation, record_long_table
from autolog.core.training import Training, conclude
from autolog.process import forks
from autolog.process.guard import shield
from autolog.sklearn.known import TrainingData, training_data

__all__ = ["evaluated", "fitted", "group_of", "told", "told_of_one"]

OF_ONE_DATA = 0.5  # share of the training rows that other models have learned from or were evaluated on
GROWN = 0.05  # of data that is too large to be read whole: so much larger, it has the smaller one inside
HELD_VALUES = 4_000_000  # numbers of predictions, 32 MB, that are kept of one group
MOST_MODELS = 1_000  # of a group
MOST_RUNS = 50  # of them, the last ones, whose predictions may yet be put together


@dataclass(eq=False)
class _Model:
    """One of them.

    Attributes:
        name: of the run that it has for itself.
        is_first: whether it is recorded in the run that they are all in.
        mark: of the data that it has learned from.
        learned: some of the rows of that data.
        numbers: by their keys.
    """

    name: str
    is_first: bool = False
    rows: int | None = None
    mark: str | None = None
    learned: KnownRows | None = None
    is_evaluated: bool = False
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass
class _Predictions:
    """What a model has predicted of data that was held out from it. Copies: they are looked at much later."""

    mark: str | None
    """Of that data."""
    truth: Any
    predicted: Any
    scores: Any
    task: str
    classes: Any
    """That the columns of the scores are of."""


class _Group:
    """Models of one kind in one run."""

    def __init__(self, outer: Recording, kind: Any):
        # Groups are kept by their run: one that kept its run would keep both for ever.
        self._outer = weakref.ref(outer)
        self.kind = kind
        self.models: list[_Model] = []
        self._is_parted = False
        self._growing: list[_Model] = []
        self._is_forward = False
        self._seen = SeenRows()
        self._held_out: KnownRows | None = None
        self._written: dict[str, float] = {}
        self._first_step: int | None = None
        self._is_assembled = False
        # They outlive their models, of which a loop drops one after the other, until all are put together.
        self.last_runs: deque[Recording] = deque(maxlen=MOST_RUNS)
        self._held: dict[_Model, _Predictions] = {}
        self._held_values = 0

    def is_of_one_data(self, data: TrainingData) -> bool:
        """Whether these rows are others than any model has learned from, and yet of the same data set."""
        if data.known is None or any(model.mark == data.X for model in (*self.models, *self._growing)):
            return False
        # (Of data that is too large to be read whole, others of its rows are known.)
        return self._seen.share(data.known) >= OF_ONE_DATA * data.known.share

    def place(self, model: _Model, known: KnownRows) -> bool:
        """Find the place of a model that was fitted on such data; False: it is none of these.

        A fold has rows that another has not, and lacks some that it has. Data that has all of another's
        rows and more is that of a refit, or the next point of a learning curve: a mean over both says
        nothing. Or each model goes forward in time, and learns from what the last one was evaluated on:
        a refit with the validation data does so, too, but only once, or without being evaluated.
        """
        if not any(_is_nested(known, other.learned) for other in self.models):
            self.add(model)
        elif (len(self.models) == 1 or self._is_forward) and self._goes_forward(known):
            self._growing.append(model)
        else:
            return False
        self._seen.add(known)
        return True

    def _goes_forward(self, known: KnownRows) -> bool:
        if self._held_out is None:
            return False
        learned = SeenRows()
        learned.add(known)
        return learned.share(self._held_out) >= OF_ONE_DATA * known.share

    def add(self, model: _Model) -> None:
        """One more. With the second one it is clear that the first was one of several."""
        self.models.append(model)
        outer = self._outer()
        if len(self.models) > 1 and self.is_the_runs and not self._is_parted and outer is not None:
            self._is_parted = True
            self._part_with_the_first(outer)
            outer.at_end(self.record_the_whole)

    @property
    def is_the_runs(self) -> bool:
        """Whether the run's own model is among them. (Of models in threads another one may come first.)"""
        return any(model.is_first for model in self.models)

    def _part_with_the_first(self, outer: Recording) -> None:
        first = next((model for model in self.models if model.is_first), None)
        if first is not None:
            child = open_run(f"fold 1 {outer.name}", parent=outer, by_user=False, framework="sklearn")
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

    def tell(self, keys: Iterable[str] | None = None) -> None:
        """The means as they are now, of all keys or of some."""
        several, outer = [model for model in self.models if model.numbers], self._outer()
        if len(several) < 2 or outer is None or not self.is_the_runs:
            return
        if self._first_step is None:
            self._first_step, keys = outer.last_step + 1, None
        if keys is None:
            keys = dict.fromkeys(key for model in several for key in model.numbers)
        found: dict[str, float] = {}
        for key in keys:
            values = [model.numbers[key] for model in several if key in model.numbers]
            if len(values) > 1:
                found |= {key: float(np.mean(values)), f"{key}_std": float(np.std(values))}
        new = {key: value for key, value in found.items() if self._written.get(key) != value}
        if new:
            outer.log(new, step=self._first_step + len(several) - 2)
            self._written |= new

    def told(self, model: _Model, numbers: Mapping[str, float]) -> None:
        """Numbers of one of them."""
        model.numbers |= numbers
        self.tell(numbers)

    def evaluated(self, model: _Model, rows: KnownRows | None, predictions: _Predictions) -> None:
        """What it has predicted of data that was held out from it."""
        if rows is not None:
            self._seen.add(rows)
            self._held_out = rows.sample()
        model.is_evaluated = True
        self._hold(model, predictions)
        ready = [one for one in self._growing if one.is_evaluated]
        if self._is_forward or len(ready) > 1:
            self._is_forward = True
            self._growing = [one for one in self._growing if not one.is_evaluated]
            for one in ready:
                self.add(one)
            if ready:
                self.tell()

    def _hold(self, model: _Model, predictions: _Predictions) -> None:
        parts = (predictions.truth, predictions.predicted, predictions.scores)
        self._held_values += sum(np.size(part) for part in parts if part is not None)
        if self._held_values <= HELD_VALUES:
            self._held[model] = predictions
        else:
            self._held.clear()

    @property
    def run(self) -> Recording | None:
        """That they are all in; None: it is gone."""
        return self._outer()

    def evaluated_together(self, found: evaluation.Evaluation) -> None:
        """What they have predicted was put together and evaluated by the user."""
        if (outer := self._outer()) is not None:
            self._is_assembled = True
            _record(outer, found)

    def record_the_whole(self) -> None:
        """The table of the models, and the evaluation of what they have predicted."""
        outer = self._outer()
        if outer is None:
            return
        rows = [
            {"fold": number, "run": model.name, "train_rows": model.rows, **model.numbers}
            for number, model in enumerate(list(self.models), 1)
        ]
        record_long_table(outer, "cv/folds", rows)
        held, self._held = [self._held[model] for model in self.models if model in self._held], {}
        if self._is_assembled:
            return
        if self._held_values > HELD_VALUES:
            outer.note("cv", f"left out: more than {HELD_VALUES:,} numbers were predicted")
        elif len(held) > 1 and len(held) == len(self.models):
            if len({part.mark for part in held}) < len(held):
                outer.note("cv", "left out: models were evaluated on the same data")
            else:
                _evaluate(outer, held)


def _is_nested(one: KnownRows, other: KnownRows | None) -> bool:
    """Whether one of two has all of the other's rows, and more."""
    if other is None or one.rows == other.rows:
        return False
    small, large = sorted((one, other), key=lambda known: known.rows)
    if small.share < 1 or large.share < 1:
        return large.rows / large.share > (1 + GROWN) * small.rows / small.share
    return small.is_within(large)


def _evaluate(outer: Recording, parts: list[_Predictions]) -> None:
    """What several models have predicted, each of data that was held out from it, together."""
    have = {name: [getattr(part, name) for part in parts] for name in ("truth", "predicted", "scores")}
    if not all(np.array_equal(part.classes, parts[0].classes) for part in parts):
        outer.note("cv/roc", "left out: the models know different classes")
        have["scores"] = [None]
    try:
        whole = {
            name: np.concatenate(several) if all(part is not None for part in several) else None
            for name, several in have.items()
        }
        found = evaluation.evaluate(
            whole["truth"],
            whole["predicted"],
            scores=whole["scores"],
            classes=parts[0].classes if whole["scores"] is not None else None,
            task=parts[0].task,
        )
    except ValueError as error:  # folds that differ in what they predict
        outer.note_lost("cv", f"not evaluated: {error}")
        return
    _record(outer, found)


def _record(outer: Recording, found: evaluation.Evaluation) -> None:
    if not outer.opened_by_user:  # a trial, of hundreds
        found = replace(found, charts={}, tables={})
    # Rows are numbered as they were evaluated, fold by fold: that is no place in the user's data.
    tables = {name: table for name, table in found.tables.items() if name != "best_and_worst"}
    record_evaluation(outer, "cv", replace(found, tables=tables, samples=[]))


# Of a run that is no model's own: the groups in it. Of a run: which model it is of.
_groups: weakref.WeakKeyDictionary[Recording, list[_Group]] = weakref.WeakKeyDictionary()
_models: weakref.WeakKeyDictionary[Recording, tuple[_Group, _Model]] = weakref.WeakKeyDictionary()

_lock = threading.RLock()  # models may be fitted in threads; a signal handler may come back to it


def _new_lock_in_child() -> None:
    global _lock  # a thread of the parent may have held it
    _lock = threading.RLock()


forks.when_forked("rooms", in_child=_new_lock_in_child)


def fitted(training: Training, estimator: Any) -> None:
    """A model was fitted: in a run of somebody else's it may be one of several."""
    run = training.run
    outer = run.parent if training.owns else run
    data = training_data.get(run)
    if outer is None or data is None or data.known is None:
        return
    # One below it may be the first to end, in a thread. Another kind of model is no matter of the run's.
    is_early = training.owns and outer.is_training
    if training.owns and outer not in _groups and not is_early:
        return
    model = _Model(run.name, not training.owns, data.rows, data.X, data.known.sample())
    kind = _kind_of(estimator)
    with _lock:
        groups = _groups.setdefault(outer, [])
        group = next((one for one in groups if one.kind == kind and one.is_of_one_data(data)), None)
        if group is None:
            if training.owns and not is_early:
                return
            group = _Group(outer, kind)
            groups.append(group)
        if len(group.models) >= MOST_MODELS:
            outer.note("cv/folds", f"the first {MOST_MODELS:,} models are looked at together")
        elif group.place(model, data.known):
            _models[run] = group, model
            if run is not outer:
                if not group.last_runs:
                    outer.at_end(group.last_runs.clear)  # they know their parent, and would keep it for ever
                group.last_runs.append(run)


def told(run: Recording, numbers: Mapping[str, float]) -> None:
    """Numbers of the model that this run is of, by their keys."""
    if run not in _models:
        return
    group, model = _models[run]
    with shield("scikit-learn: folds"), _lock:
        group.told(model, numbers)


def evaluated(
    run: Recording, rows: Rows | None, truth: Any, predicted: Any, scores: Any, task: str, classes: Any
) -> None:
    """What the model of this run has predicted of data that was held out from it."""
    if run not in _models:
        return
    group, model = _models[run]
    with shield("scikit-learn: folds"), _lock:
        known, mark = (KnownRows.of(rows), rows.mark) if rows is not None else (None, None)
        predictions = _Predictions(
            mark, _copied(truth), _copied(predicted), _copied(scores), task, _copied(classes)
        )
        group.evaluated(model, known, predictions)


def group_of(runs: Sequence[Recording]) -> _Group | None:
    """The group that the models of all of these runs are in."""
    groups = [_models[run][0] if run in _models else None for run in runs]
    return groups[0] if groups and all(group is groups[0] for group in groups) else None


def _copied(values: Any) -> Any:
    """As an array, without an axis that says nothing."""
    if values is None:
        return None
    array = np.array(values)
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def told_of_one(run: Recording, estimator: Any, numbers: Mapping[str, float]) -> None:
    """Numbers of one of the models of a cross-validation, which are all of this run, by their keys."""
    groups = _groups.setdefault(run, [])
    group = next((one for one in groups if isinstance(one, _Several)), None)
    if group is None:
        group = _Several(run, None)
        groups.append(group)
    with shield("scikit-learn: folds"), _lock:
        group.told(group.model_of(estimator), numbers)


class _Several(_Group):
    """The models that a cross-validation has handed out: none has a run of its own."""

    def __init__(self, outer: Recording, kind: Any):
        super().__init__(outer, kind)
        self._of: weakref.WeakKeyDictionary[Any, _Model] = weakref.WeakKeyDictionary()

    @property
    def is_the_runs(self) -> bool:
        """They are all of the run."""
        return True

    def model_of(self, estimator: Any) -> _Model:
        """What is known of this one."""
        if estimator not in self._of:
            model = self._of[estimator] = _Model(f"model {len(self.models) + 1}")
            self.models.append(model)
        return self._of[estimator]


def _kind_of(estimator: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    """What it is and how it is set, but for the seed."""
    params = estimator.get_params(deep=True) if hasattr(estimator, "get_params") else {}
    plain = {
        (key, repr(value))
        for key, value in params.items()
        if (value is None or isinstance(value, (str, bool, int, float))) and "random_state" not in key
    }
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}", frozenset(plain)
