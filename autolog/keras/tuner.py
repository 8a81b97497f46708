"""KerasTuner: a search is a run, and each of its trials a run below it.

>>> import autolog, keras_tuner
>>> autolog.enable("keras")
>>> tuner = keras_tuner.RandomSearch(build_model, objective="val_loss", max_trials=10)
>>> tuner.search(x, y, validation_data=(x_val, y_val))  # a run, with ten below it

The first fit of a trial writes into the trial's run, further ones (``executions_per_trial``) below it.
Nothing here imports KerasTuner: its hooks go in when the user does.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Mapping
from typing import Any

from autolog.capture.params import sanitize
from autolog.core.callbacks import callback_among, given_by, is_wanted
from autolog.core.opening import open_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.training import Frame, Training, conclude, recorded
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_search", "observe_trial", "observe_trial_end"]


def observe_search(call: Call) -> Frame:
    """One run per search."""
    tuner = call.subject
    callbacks = call.get("callbacks") or ()
    ours = callback_among(callbacks)
    if not is_wanted("keras", ours) or tuner in _searches:
        yield
        return
    training = begin_training(tuner, type(tuner).__name__, framework="keras", given=given_by(ours))
    search = _searches[tuner] = _Search(training.run, tuner)

    def before() -> None:
        with shield("KerasTuner: parameters"):
            search.describe()

    def after(outcome: Outcome, seconds: float) -> None:
        with shield("KerasTuner: results"):
            search.record_results()

    def close() -> None:
        _searches.pop(tuner, None)

    yield from recorded("KerasTuner", training, before=before, after=after, close=close)


def observe_trial(call: Call) -> Frame:
    """One run per trial, below the search's. KerasTuner catches what a trial raises, after us."""
    search = _searches.get(call.subject)
    if search is None:
        yield
        return
    training = search.begin(call.get("trial"))
    error: BaseException | None = None
    try:
        with training.current():
            outcome = yield
        error = outcome.error
    finally:
        with shield("KerasTuner: a trial's end"):
            conclude(training, error)


def observe_trial_end(tuner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """The oracle has given a trial its score."""
    search = _searches.get(tuner)
    if search is not None:
        with shield("KerasTuner: a trial"):
            charge(search.run)
            search.record((args[0] if args else kwargs["trial"]).trial_id)


class _Search:
    """A search that goes on."""

    def __init__(self, run: Recording, tuner: Any):
        self.run = run
        self._tuner = weakref.ref(tuner)
        self._objective = tuner.oracle.objective
        self._rows: dict[str, dict[str, Any]] = {}
        self._began: dict[str, float] = {}
        self._best: float | None = None

    def describe(self) -> None:
        """What was set by hand, and what is searched."""
        tuner = self._tuner()
        assert tuner is not None
        oracle, objective = tuner.oracle, self._objective
        settings = {
            name: value
            for name, value in vars(oracle).items()
            if not name.startswith("_") and isinstance(value, (bool, int, float, str))
        }
        self.run.describe(
            {
                "framework": "keras",
                "tuner": type(tuner).__name__,
                "objective": objective.name,
                "objective/direction": objective.direction,
                "max_trials": getattr(oracle, "max_trials", None),
                "search_space": {part.name: part.get_config() for part in oracle.get_space().space},
            }
        )
        for trial in oracle.get_best_trials(1):  # of a search that is gone on with
            if isinstance(trial.score, float) and math.isfinite(trial.score):
                self._best = trial.score
        executions = getattr(tuner, "executions_per_trial", None)
        self.run.params({"oracle": type(oracle).__name__, "executions_per_trial": executions, **settings})

    def begin(self, trial: Any) -> Training:
        """A trial begins."""
        values = dict(trial.hyperparameters.values)
        self._began[trial.trial_id] = time.perf_counter()
        name = f"trial {trial.trial_id} {self.run.name}"
        run = open_run(name, parent=self.run, by_user=False, framework="keras")
        with shield("KerasTuner: a trial's hyperparameters"):
            run.params(values)  # until a fit in this run tells its own
            run.params(values, prefix="hyperparameters")
            run.describe({"trial": trial.trial_id})
            run.describe({f"params/{key}": sanitize(value) for key, value in values.items()})
        return Training(run, owns=True)

    def record(self, trial_id: str) -> None:
        """A trial has ended: for good, or to be tried once more."""
        tuner = self._tuner()
        assert tuner is not None
        trial = tuner.oracle.get_trial(trial_id)
        score = trial.score if isinstance(trial.score, float) and math.isfinite(trial.score) else None
        name = self._objective.name
        self._rows[trial_id] = {
            "trial": trial_id,
            "status": str(trial.status).lower(),
            name: score,
            **trial.hyperparameters.values,
            "seconds": time.perf_counter() - self._began.get(trial_id, math.nan),
        }
        if score is not None:
            better = max if self._objective.direction == "max" else min
            self._best = score if self._best is None else better(score, self._best)
            row = {f"objective/{name}": score, f"objective/{name}/best": self._best}
            for part in getattr(self._objective, "objectives", ()):
                row[f"objective/{part.name}"] = trial.metrics.get_best_value(part.name)
            number = int(trial_id) if trial_id.isdecimal() else len(self._rows) - 1
            self.run.log(row, step=number)
        if len(self._rows) & (len(self._rows) - 1) == 0:  # at doubling counts, so that it costs less and less
            self._record_table()

    def record_results(self) -> None:
        """The search has ended, or failed."""
        if self._rows:
            self._record_table()
        tuner = self._tuner()
        for trial in tuner.oracle.get_best_trials(1) if tuner is not None else ():
            if trial.score is not None:
                values = dict(trial.hyperparameters.values)
                self.run.describe(
                    {"best/trial": trial.trial_id, "best/objective": trial.score, "best/params": values}
                )
                self.run.describe({f"best/{key}": sanitize(value) for key, value in values.items()})

    def _record_table(self) -> None:
        name, sign = self._objective.name, -1 if self._objective.direction == "max" else 1

        def place(row: dict[str, Any]) -> float:
            return math.inf if row[name] is None else sign * float(row[name])

        record_long_table(self.run, "trials", sorted(self._rows.values(), key=place))


_searches: weakref.WeakKeyDictionary[Any, _Search] = weakref.WeakKeyDictionary()
