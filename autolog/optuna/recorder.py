"""What is recorded of a study, and of each of its trials."""

from __future__ import annotations

import copy
import threading
import time
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.trial import TrialState

from autolog.capture.params import sanitize
from autolog.core.current import LazyRun as Place
from autolog.core.current import enter, retract
from autolog.core.opening import open_run
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.statuses import status_of
from autolog.core.training import Loop, Training, conclude
from autolog.optuna.described import directions_of, names_of, record_study, search_space_of
from autolog.optuna.figures import record_figures
from autolog.optuna.table import (
    STATES,
    BestSoFar,
    Remark,
    Told,
    best_first,
    losses_of,
    pareto_front,
    rows_of,
    seconds_of,
    values_of,
)
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call

__all__ = ["StudyRecorder", "TrialRecorder", "is_of_a_trial"]

AGAIN_AFTER = 0.1  # share of new trials after which a study that goes on is recorded as a whole once more
IDLE_SECONDS = 30.0
MOST_ON_FRONT = 50  # listed in the config
MOST_IN_BETWEEN = 50  # rows of a table before the last one
FIRST_TABLE, TABLE_GROWS = 4, 4  # at which counts of trials, while the study goes on
LOOKS, FREE_LOOKS = 4, 2_000  # trials that may be looked at again, for each that has ended and before any

_of_trials: weakref.WeakSet[Recording] = weakref.WeakSet()


def is_of_a_trial(run: Recording) -> bool:
    """Whether this is a trial's own run."""
    return run in _of_trials


class StudyRecorder:
    """A study's run, in this process.

    A row per trial at the step of its number; what is the best when a trial is better, the table at fourfold
    counts, and whole at the end. All trials are looked through to know it, of whichever process they are, so
    ``LOOKS`` bounds how often: what a trial costs does not grow with their number.

    Args:
        study: the user's.
        training: the place that it has got.
        trials: which trials become runs.
        shared: whether other processes write to this run, too.
    """

    def __init__(self, study: Any, training: Training, trials: str, *, shared: bool):
        self.training = training
        self.run = training.run
        self.trials = trials
        self.going: dict[int, TrialRecorder] = {}
        self.remarks: dict[int, Remark] = {}
        self._study = weakref.ref(study)
        self._own = copy.copy(study)  # the same trials; the user's own is not held
        self._names = names_of(study)
        self._directions = directions_of(study)
        self._shared = shared
        self._best = BestSoFar(self._directions)
        self._added: set[Any] = set()
        self._to_sweep = False
        self._lock = threading.RLock()  # a signal handler may come back to it
        self._calls = 0
        self._recorded = 0
        self._next_look = 1
        self._may_look_at = FREE_LOOKS
        self._front: list[tuple[float, ...]] = []
        self._is_outdone = False
        self._last_row: Told | None = None
        self._next_table = FIRST_TABLE
        self._whole_at = -1
        self._pictured_at = 0
        self._last_told = time.monotonic()
        self._loop: _StudyLoop | None = None
        # A thread in which a trial was asked for, and told in no or in another one, keeps the place for good.
        run_of_what_was_asked = weakref.WeakMethod(self._run_of_what_was_asked)
        self.asked = Place(lambda: recorded() if (recorded := run_of_what_was_asked()) is not None else None)

    # Its life -------------------------------------------------------------------------------------

    def describe(self, call: Call | None, asked: int | None = None) -> None:
        """What was set by hand; and what was there before, but for the trial that has just been asked for."""
        study = self._study()
        assert study is not None
        record_study(self.run, study, call)
        if self.trials == "rows":
            self.run.note("trials", "rows only, as asked for: what trains inside of them is not recorded")
        self.sweep()
        with self._lock:
            for trial in self._trials()[self._best.awaited :]:  # nobody may ever tell the end of these
                if trial.state == TrialState.RUNNING and trial.number != asked:
                    self._log_best(self._best.add(trial.number, None, None, is_told=False), {})

    @property
    def is_active(self) -> bool:
        """Whether an ``optimize`` of its study goes on, and is recorded."""
        return self._calls > 0

    def knows(self, number: int) -> bool:
        """Whether this trial has been recorded."""
        return self._best.knows(number)

    def begin_call(self) -> None:
        """An ``optimize`` begins, the first one or one more."""
        with self._lock:
            self._calls += 1
        if self.training.owns:
            self.run.go_on()
        self.run.is_training = True

    def end_call(self, error: BaseException | None) -> None:
        """An ``optimize`` has ended; the run with it, unless it has been recorded as a whole just before."""
        with self._lock:
            self._calls -= 1
            if self._calls:
                return
        with shield("Optuna: the study as a whole"):
            self.sweep()
            new = self._recorded - self._whole_at
            if error is None and self.training.owns and 0 < new < AGAIN_AFTER * self._whole_at:
                self._look_again()
                self.leave_open()
                return
            self.record_the_whole()
        conclude(self.training, error)

    def leave_open(self) -> None:
        """Nobody says when it is over: ask-and-tell, or one ``optimize`` after the other for a few trials."""
        with self._lock:
            if self._loop is None or self.run.status != "running":
                if self.training.owns:
                    self.run.go_on()
                self._loop = _StudyLoop(self)
        if not self._calls:
            self.run.is_training = False

    @property
    def is_over(self) -> bool:
        """Whether nobody goes on with it: its study is gone, or has been still for a while."""
        is_awaited = any(going.is_alive for going in self._all_going())
        is_idle = time.monotonic() - self._last_told > IDLE_SECONDS and not is_awaited
        return not self._calls and (self._study() is None or is_idle)

    def loop_has_ended(self) -> None:
        """The run has ended, and with it the loop: who goes on begins another one."""
        self._loop = None

    # Its trials -----------------------------------------------------------------------------------

    def _all_going(self) -> list[TrialRecorder]:
        """Those of now: other threads begin and end trials while one looks at them."""
        return list(self.going.values())

    def begin(self, trial: Any) -> TrialRecorder:
        """A trial begins."""
        going = self.going[trial.number] = TrialRecorder(self, trial)
        if self.trials == "runs":
            going.open()
        return going

    def end(self, number: int, frozen: Any, error: BaseException | None = None) -> None:
        """A trial has ended: complete, pruned or failed."""
        charge(self.run)
        going = self.going.pop(number, None)
        if going is not None and going.is_asked:
            self._leave_asked()
        if frozen.state not in STATES:  # SystemExit: Optuna leaves the trial as it was
            if going is not None:
                going.abandon(error)
            return
        remark = going.remark(frozen, error) if going is not None else Remark()
        if remark != Remark():
            self.remarks[number] = remark
        if self._to_sweep:
            self.sweep()  # finds this one, too
        self._record(frozen)
        if going is not None:
            going.end(frozen, error, self._names)
        is_due = self._recorded >= self._next_look
        if is_due:
            self._next_look = 2 * self._recorded
        if is_due or (self._is_outdone and self._may_look_at >= self._best.awaited):
            self._may_look_at = max(self._may_look_at - self._best.awaited, 0)
            self.sweep()
            self._record_table(whole=False)

    def was_added(self, frozen: Any) -> None:
        """``add_trial``: by which number is seen when they are looked through."""
        self._added.add(frozen.datetime_start)
        self._to_sweep = True

    def sweep(self) -> None:
        """Look for trials that have ended unseen: of this process they are recorded, of others they count."""
        self._to_sweep = False
        with self._lock:
            missed, awaited = sorted(self._best.missed), self._best.awaited
        trials = self._trials()  # not before: another thread may have missed one that has come since
        for trial in [*(trials[number] for number in missed), *trials[awaited:]]:
            if self._best.knows(trial.number) or trial.number in self.going:
                continue
            if trial.state in STATES:
                is_ours = not self._shared or trial.datetime_start in self._added
                self._record(trial, counts_only=not is_ours)

    def _record(self, frozen: Any, *, counts_only: bool = False) -> None:
        """A trial's row, and what is the best so far; once, whichever thread sees first that it has ended."""
        with self._lock:
            number = frozen.number
            if self.knows(number):
                return
            rows: dict[int, dict[str, Any]] = {}
            if not counts_only:
                self._recorded += 1
                self._may_look_at += LOOKS
                self._last_told = time.monotonic()
                row = rows[number] = {"vitals/trial_seconds": seconds_of(frozen)}
                if frozen.state == TrialState.COMPLETE:
                    pairs = zip(self._names, frozen.values, strict=True)
                    row.update({f"objective/{name}": value for name, value in pairs})
            state = STATES[frozen.state]
            values = values_of(frozen)
            self._is_outdone |= values is not None and self._outdoes(values)
            told = self._best.add(number, values, state, is_told=not counts_only)
            self._log_best(told, rows)

    def _outdoes(self, values: tuple[float, ...]) -> bool:
        """Whether a trial stands beside what was called the best, or before it."""
        losses = losses_of(values, self._directions)
        return not any(all(b <= own for b, own in zip(best, losses, strict=True)) for best in self._front)

    def _log_best(self, told: list[Told], rows: dict[int, dict[str, Any]]) -> None:
        if told:
            self._last_row = told[-1]
        for number, best, states in told:
            row = rows.setdefault(number, {})
            # (A line at zero, of what has not happened yet, would be a chart.)
            row.update({f"trials/{state}": n for state, n in states.items() if n or state == "complete"})
            for name, value in zip(self._names, best, strict=True):
                if value is not None:
                    row[f"objective/{name}/best"] = value
        for number, row in rows.items():
            self.run.log(row, step=number)

    def _trials(self) -> list[Any]:
        trials: list[Any] = self._own.get_trials(deepcopy=False)
        return trials

    # Ask and tell ---------------------------------------------------------------------------------

    def ask(self, trial: Any) -> None:
        """A trial was asked for by hand: until it is told, what trains in this thread is its own."""
        self.leave_open()
        self.begin(trial).is_asked = True
        retract(self.asked)
        enter(self.asked)

    def _leave_asked(self) -> None:
        if not any(going.is_asked for going in self._all_going()):
            retract(self.asked)

    def _run_of_what_was_asked(self) -> Recording | None:
        """Of one trial at a time it is known that it is the one which trains here."""
        here = threading.get_ident()
        asked = [g for g in self._all_going() if g.is_asked and g.thread == here and g.is_alive]
        if not asked or self.run.status != "running":
            return None
        if len(asked) == 1:
            return asked[0].open() or self.run
        self.run.note("trials", "several were asked for at once: which of them trained is not known")
        return self.run

    # The whole ------------------------------------------------------------------------------------

    def record_the_whole(self) -> None:
        """The table of all trials, the best of them, and the figures."""
        charge(self.run)
        for going in self._all_going():
            if going.is_asked and not going.is_alive and self.going.pop(going.number, None) is not None:
                going.abandon(None)
        with self._lock:  # other threads may tell of their trials meanwhile
            self._log_best(self._best.rest(), {})
            # Who tells of the last trial may have ended before an earlier one of another process did.
            now = self._best.now()
            if self._shared and now != self._last_row and now[0] >= 0:
                self._log_best([now], {})
            is_new = self._recorded != self._whole_at
            self._whole_at = self._recorded
        if not is_new:
            self._look_again()
            return
        trials = self._record_table(whole=True)
        with shield("Optuna: figures"):
            is_due = self._recorded >= 1.5 * self._pictured_at
            self._pictured_at = self._recorded if is_due else self._pictured_at
            record_figures(self.run, trials, self._names, self._directions, interactive=is_due)

    def _look_again(self) -> None:
        """What is the best, if a trial of whomever has outdone it since it was last said."""
        if self._is_outdone:
            self._record_table(whole=False)

    def _record_table(self, *, whole: bool) -> list[Any]:
        """The table, and what is the best; returns the trials that they are of."""
        self._is_outdone = False
        # Before one looks: of several processes the latest to say so has seen all that the others saw.
        as_of = datetime.now(UTC).isoformat()
        trials = self._trials()
        ended = [trial for trial in trials if trial.state in STATES or whole]
        ordered = best_first(ended, self._directions)
        self._describe_best(ordered, whole, as_of)
        shown = ordered if whole else ordered[:MOST_IN_BETWEEN]
        rows = list(rows_of(shown, self._names, self.remarks))
        is_due = self._recorded >= self._next_table
        if rows and (whole or is_due):  # the dashboard shows every one, below the next: so there are few
            self._next_table = TABLE_GROWS * max(self._recorded, 1) if is_due else self._next_table
            record_long_table(self.run, "trials", rows)
        return trials

    def _describe_best(self, ordered: list[Any], whole: bool, as_of: str) -> None:
        counts = dict.fromkeys(STATES.values(), 0)
        for trial in ordered:
            if trial.state in STATES:
                counts[STATES[trial.state]] += 1
        values: dict[str, Any] = {}
        if self._shared:
            values["as_of"] = as_of
            if not whole:
                values["status"] = "running"  # another one may have ended
        values |= {f"trials/{state}": count for state, count in counts.items()}
        values["search_space"] = search_space_of(ordered)
        if attributes := self._own.user_attrs:
            values["study/user_attrs"] = attributes
        best = ordered[0] if ordered and values_of(ordered[0]) is not None else None
        self._front = [losses_of(best.values, self._directions)] if best is not None else []
        if best is not None and len(self._names) == 1:
            # Empty where it has none: a config keeps what the best one before had.
            values |= {f"best/{name}": sanitize(best.params.get(name)) for name in values["search_space"]}
            values |= {"best/trial": best.number, "best/objective": best.value, "best/params": best.params}
            values["best/run"] = self.remarks.get(best.number, Remark()).run
        elif best is not None:
            front = pareto_front(ordered, self._directions)
            shown = set(front[:MOST_ON_FRONT])
            self._front = [losses_of(t.values, self._directions) for t in ordered if t.number in shown]
            values |= {"best/trials": front[:MOST_ON_FRONT], "best/count": len(front)}
        self.run.describe(values)


class TrialRecorder:
    """A trial that goes on, and its run if it has one."""

    is_asked = False
    error: BaseException | None = None
    said: str | None = None  # by Optuna, of a value that it did not take

    def __init__(self, study: StudyRecorder, trial: Any):
        self.study = study
        self.number: int = trial.number
        self.run: Recording | None = None
        self.thread = threading.get_ident()
        self._trial = weakref.ref(trial)
        self._reported: set[int] = set()
        self._reported_last: int | None = None
        self._pruned_at: int | None = None
        self._lock = threading.RLock()

    @property
    def is_alive(self) -> bool:
        """Whether anybody could still tell its end."""
        return self._trial() is not None

    def open(self) -> Recording | None:
        """Its run, which is opened now if it is the first time; None if trials are rows only."""
        with self._lock:
            if self.run is None and self.study.trials != "rows":
                parent = self.study.run
                name = f"trial {self.number} {parent.name}"
                self.run = open_run(name, parent=parent, by_user=False, framework="optuna")
                self.run.is_training = True
                _of_trials.add(self.run)
                with shield("Optuna: a trial's parameters"):
                    self.run.describe({"trial": self.number})
                    trial = self._trial()
                    self._describe(trial.params if trial is not None else {})
            return self.run

    def _describe(self, params: Mapping[str, Any]) -> None:
        assert self.run is not None
        known = self.run.known_params()
        if new := {name: value for name, value in params.items() if name not in known}:
            self.run.params(new)  # until a training in this run tells its own
        if params:
            self.run.params(params, prefix="hyperparameters")
            self.run.describe({f"params/{name}": sanitize(value) for name, value in params.items()})

    def report(self, value: float, step: int) -> None:
        """An intermediate value. Of several at one step Optuna takes the first."""
        if step in self._reported:
            return
        self._reported.add(step)
        self._reported_last = step
        if (run := self.open()) is not None:
            charge(run)
            run.log({f"intermediate/{self.study._names[0]}": value}, step=step)

    def was_asked_to_stop(self) -> None:
        """The pruner has said that this trial should be pruned."""
        self._pruned_at = self._reported_last

    def remark(self, frozen: Any, error: BaseException | None) -> Remark:
        """Why it was pruned or has failed, and which run is its own."""
        error = error or self.error
        run = self.run.name if self.run is not None else None
        if frozen.state == TrialState.PRUNED:
            said = str(error) if isinstance(error, TrialPruned) else ""
            by = type(self.study._own.pruner).__name__ if self._pruned_at is not None else "the objective"
            at = self._pruned_at if self._pruned_at is not None else frozen.last_step
            return Remark(f"by {by}{f': {said}' if said else ''}", at, run)
        if frozen.state == TrialState.FAIL:
            told = f"{type(error).__name__}: {error}" if error is not None else self.said
            return Remark((told or "it was told so")[:500], None, run)
        return Remark(run=run)

    def abandon(self, error: BaseException | None) -> None:
        """Nobody tells how it ended."""
        if self.run is not None:
            self.run.is_training = False
            self.run.note("state", "Optuna was never told how this trial ended")
            self.run.end(status_of(error) if error is not None else "killed")

    def end(self, frozen: Any, error: BaseException | None, names: list[str]) -> None:
        """It has ended: its run says how."""
        if self.run is None:
            return
        run, remark = self.run, self.study.remarks.get(self.number, Remark())
        error = error or self.error
        with shield("Optuna: a trial's run"):
            charge(run)
            self._describe(frozen.params)
            told: dict[str, Any] = {"state": STATES[frozen.state], "seconds": seconds_of(frozen)}
            if frozen.state == TrialState.COMPLETE:
                pairs = dict(zip(names, frozen.values, strict=True))
                told |= {f"objective/{name}": value for name, value in pairs.items()}
                run.log(told_metrics(pairs), step=run.last_step)
            if remark.why:
                told["why"] = remark.why
            if remark.pruned_at is not None:
                told["pruned_at"] = remark.pruned_at
            if frozen.user_attrs:
                told["user_attrs"] = frozen.user_attrs
            run.describe(told)
        run.is_training = False
        if frozen.state == TrialState.FAIL:
            conclude(Training(run, owns=True), error or ValueError(remark.why))
        else:
            run.end("pruned" if frozen.state == TrialState.PRUNED else "finished")


def told_metrics(values: Mapping[str, float]) -> dict[str, float]:
    """A trial's objectives as metrics of its run."""
    return {f"objective/{name}": value for name, value in values.items()}


class _StudyLoop(Loop):
    """A study that goes on without anybody saying so."""

    def __init__(self, recorder: StudyRecorder):
        self._recorder = recorder
        super().__init__(recorder.training)

    def is_abandoned(self) -> bool:
        return self._recorder.is_over

    def record_the_whole(self) -> None:
        self._recorder.loop_has_ended()
        self._recorder.sweep()
        self._recorder.record_the_whole()
