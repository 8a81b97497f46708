"""Where a study and its trials are watched: around ``optimize`` and each trial; ask, tell, report."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from autolog.core.adopting import is_inside_a_run
from autolog.core.callbacks import callback_among, given_by, is_wanted
from autolog.core.catalogue import TABLE, is_on
from autolog.core.current import LazyRun as Place
from autolog.core.current import enter, innermost
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.training import Frame
from autolog.optuna.described import MADE_UP, is_shared, shared_id
from autolog.optuna.recorder import StudyRecorder, TrialRecorder, is_of_a_trial
from autolog.process import context, forks, guard
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

if TYPE_CHECKING:
    from autolog.optuna.callback import TrackioCallback

__all__ = [
    "observe_add_trial",
    "observe_ask",
    "observe_end_of_trial",
    "observe_optimize",
    "observe_report",
    "observe_should_prune",
    "observe_tell",
    "observe_trial",
    "record_told",
]

_recorders: weakref.WeakKeyDictionary[Any, StudyRecorder] = weakref.WeakKeyDictionary()
_of_storages: weakref.WeakValueDictionary[str, StudyRecorder] = weakref.WeakValueDictionary()
_added: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()  # before anybody recorded
_lock = threading.RLock()  # threads that begin with one study at the same time have one recorder


class _Optimizing:
    """An ``optimize`` of a study, or several at the same time."""

    def __init__(self, study: Any, ours: TrackioCallback | None, call: Call):
        self.calls = 0
        self._study = study
        self._ours = ours
        self._call = call
        self._recorder: StudyRecorder | None = None
        self._lock = threading.RLock()

    def waits_for_a_trial(self) -> bool:
        """Whether the run that other processes share is known with the first trial only."""
        study = self._study
        is_own = self._ours is not None and self._ours.run is not None
        if is_own or study in _recorders or not is_shared(study) or shared_id(study) is not None:
            return False
        return not is_inside_a_run()

    def recorder(self, asked: int | None = None) -> StudyRecorder:
        """Its study's recorder, from now on."""
        with self._lock:
            if self._recorder is None:
                recorder = _recorder_for(self._study, self._ours, self._call, asked)
                recorder.begin_call()
                self._recorder = recorder
            return self._recorder

    def run(self) -> Recording | None:
        """The study's run."""
        return self._recorder.run if self._recorder is not None else None

    def end(self, error: BaseException | None) -> None:
        """The last of them has ended."""
        if self._recorder is not None:
            guard.charge(self._recorder.run)
            self._recorder.end_call(error)


_optimizing: weakref.WeakKeyDictionary[Any, _Optimizing] = weakref.WeakKeyDictionary()


class _Inside:
    """The trial that this context is in. Which one it is, is known as soon as Optuna has asked for it."""

    def __init__(self, study: Any, optimizing: _Optimizing):
        self.study = study
        self.optimizing = optimizing
        self.trial: TrialRecorder | None = None

    def run(self) -> Recording | None:
        """The trial's own run, or the study's: something is about to be recorded in it."""
        return (self.trial.open() if self.trial is not None else None) or self.optimizing.run()


_inside: ContextVar[_Inside | None] = ContextVar("autolog_optuna_trial", default=None)


# Around -------------------------------------------------------------------------------------------


def observe_optimize(call: Call) -> Frame:
    """One run per study, however often it is gone on with."""
    study = call.subject
    callbacks = call.get("callbacks")
    if not isinstance(callbacks, Collection):  # an iterator would be used up by looking
        callbacks = ()
    ours = cast("TrackioCallback | None", callback_among(callbacks))
    if not is_wanted("optuna", ours) or watching.active("optuna"):
        yield
        return
    with _lock:
        optimizing = _optimizing.setdefault(study, _Optimizing(study, ours, call))
        optimizing.calls += 1
    error: BaseException | None = None
    try:
        if not optimizing.waits_for_a_trial():
            optimizing.recorder()
        leave = enter(Place(optimizing.run))
        try:
            outcome = yield
        finally:
            leave()
        error = outcome.error
    except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
        error = interrupt
        raise
    finally:
        with _lock:
            optimizing.calls -= 1
            is_last = not optimizing.calls  # if there are several at the same time
            if is_last:
                _optimizing.pop(study, None)
        if is_last:
            with shield("Optuna: the study's end"):
                optimizing.end(error)


def observe_trial(call: Call) -> Frame:
    """One trial, in the thread that it runs in: what trains inside of it is its own."""
    study = call.get("study")
    optimizing = _optimizing.get(study)
    if optimizing is None:
        yield
        return
    inside = _Inside(study, optimizing)
    token = _inside.set(inside)
    # A trial is a level of its own: what trains inside of it is not part of what the study is part of.
    watched = context.watched.set(frozenset())
    leave = enter(Place(inside.run))
    outcome = Outcome()
    try:
        outcome = yield
    finally:
        leave()
        context.watched.reset(watched)
        _inside.reset(token)
        with shield("Optuna: a trial"):
            if inside.trial is not None:
                number = inside.trial.number
                inside.trial.study.end(number, _frozen(study, number), outcome.error)


# After --------------------------------------------------------------------------------------------


def observe_ask(study: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], trial: Any) -> None:
    """A trial begins: inside of ``optimize``, or by hand."""
    inside = _inside.get()
    if inside is not None and inside.study is study and inside.trial is None:
        with shield("Optuna: a trial begins"):
            recorder = inside.optimizing.recorder(trial.number)
            inside.trial = recorder.begin(trial)
            if recorder.trials == "rows":
                context.watched.set(frozenset(TABLE))
    elif is_on("optuna") and not watching.active("optuna") and not _inside_optimize(study):
        with shield("Optuna: a trial was asked for"):
            _recorder_for(study, None, None, trial.number).ask(trial)


def observe_end_of_trial(nobody: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Why a trial of ``optimize`` ended: Optuna keeps that in a variable of its own, and only logs it."""
    inside = _inside.get()
    if inside is None or inside.trial is None:
        return
    frame = sys._getframe()
    for _ in range(10):
        if frame.f_code.co_name == "_run_trial":
            inside.trial.error = frame.f_locals.get("func_err")
            # A number that is none: since 5.0 Optuna returns what it says of it.
            inside.trial.said = result[2] if isinstance(result, tuple) else None
            return
        if frame.f_back is None:
            return
        frame = frame.f_back


def observe_tell(nobody: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A trial was told by hand."""
    study = args[0] if args else kwargs["study"]
    recorder = _recorders.get(study)
    trial = args[1] if len(args) > 1 else kwargs["trial"]
    number = trial if isinstance(trial, int) else trial.number
    is_going = recorder is not None and number in recorder.going
    if not is_going and (not is_on("optuna") or watching.active("optuna")):
        return
    with shield("Optuna: a trial was told"):
        _record(recorder or _recorder_for(study, None, None), _frozen(study, number))


def observe_add_trial(study: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A trial was added as it is."""
    frozen = args[0] if args else kwargs["trial"]
    recorder = _recorders.get(study)
    if recorder is not None:
        recorder.was_added(frozen)
    elif is_on("optuna"):
        _added.setdefault(study, []).append(frozen)


def observe_report(trial: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """An intermediate value: with the first one a trial becomes a run."""
    going = _going(trial)
    if going is not None:
        with shield("Optuna: an intermediate value"):
            value = args[0] if args else kwargs["value"]
            step = args[1] if len(args) > 1 else kwargs["step"]
            going.report(float(value), int(step))


def observe_should_prune(trial: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """What the pruner thinks of a trial."""
    if result and (going := _going(trial)) is not None:
        going.was_asked_to_stop()


def record_told(study: Any, frozen: Any, callback: TrackioCallback) -> None:
    """A callback of ours was shown a trial: inside of ``optimize`` it is recorded already."""
    recorder = _recorders.get(study)
    if recorder is None and _inside_optimize(study):  # not recorded, or turned off by now
        return
    _record(recorder or _recorder_for(study, callback, None), frozen)


# Whose it is --------------------------------------------------------------------------------------


def _recorder_for(
    study: Any, callback: TrackioCallback | None, call: Call | None, asked: int | None = None
) -> StudyRecorder:
    """The study's recorder: the one that it has, if its run can be gone on with, or a new one."""
    with _lock:
        given = given_by(callback)
        shared = shared_id(study)
        known = _recorders.get(study) or (_of_storages.get(shared) if shared is not None else None)
        wanted = callback.trials if callback is not None else None
        if known is not None and not known.run.is_closed and given in (None, known.run):
            _recorders[study] = known
            known.trials = wanted or known.trials
            return known
        outer = innermost()
        if outer is not None and is_of_a_trial(outer):
            outer.claim()  # the trial's run tells of the trial: a study inside of it has its own
        name = study.study_name
        name = type(study).__name__ if name.startswith(MADE_UP) else name
        training = begin_training(study, name, framework="optuna", given=given, shared_id=shared)
        is_shared = training.run.id == shared
        trials = wanted or training.run.settings.trials
        recorder = _recorders[study] = StudyRecorder(study, training, trials, shared=is_shared)
        if is_shared and shared is not None:
            _of_storages[shared] = recorder
        for frozen in _added.pop(study, []):
            recorder.was_added(frozen)
        with shield("Optuna: the study"):
            recorder.describe(call, asked)
        return recorder


def _record(recorder: StudyRecorder, frozen: Any) -> None:
    if frozen.number in recorder.going or not recorder.knows(frozen.number):
        recorder.leave_open()
        recorder.end(frozen.number, frozen)


def _going(trial: Any) -> TrialRecorder | None:
    recorder = _recorders.get(trial.study)
    return recorder.going.get(trial.number) if recorder is not None else None


def _frozen(study: Any, number: int) -> Any:
    storage = study._storage
    return storage.get_trial(storage.get_trial_id_from_study_id_trial_number(study._study_id, number))


def _inside_optimize(study: Any) -> bool:
    return bool(study._thread_local.in_optimize_loop)


def _forget_in_child() -> None:
    global _lock  # a thread that is not there any more may hold it
    _lock = threading.RLock()


forks.when_forked("rooms", in_child=_forget_in_child)
