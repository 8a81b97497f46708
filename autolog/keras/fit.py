"""Around a Keras ``fit`` and ``evaluate``: opens the run, puts our ears in, and records what came out."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import keras

from autolog.capture import datasets
from autolog.core.callbacks import callback_among, given_by, is_wanted
from autolog.core.catalogue import is_on
from autolog.core.current import innermost
from autolog.core.evaluations import name_here, say_main
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.training import Frame, Training, find_run, recorded
from autolog.core.waiting import waiting_here
from autolog.keras.again import gone_on, line_of, remember_fit
from autolog.keras.backup import backup_of
from autolog.keras.described import by_class, record_data, record_parameters, title_of
from autolog.keras.evaluation import record_evaluation
from autolog.keras.loops import latest
from autolog.keras.models import record_model, record_summary
from autolog.keras.predictions import HeldOut, given_arrays
from autolog.keras.recorder import Recorder
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_evaluate", "observe_fit"]


def observe_fit(call: Call) -> Frame:
    """One run per training. In a search of scikit-learn's the first one writes into the search's run."""
    model, callbacks = call.subject, _as_list(call.get("callbacks"))
    ours = callback_among(callbacks)
    if not is_wanted("keras", ours) or _is_one_of_many():
        yield
        return
    with watching("keras"):  # first: if this run cannot be opened, its inner calls are no runs either
        try:
            given, resume = given_by(ours), backup_of(callbacks)
            name = title_of(model, call)
            line = line_of(call)
            training = None
            with shield("Keras: whether a training goes on"):
                training = gone_on(call, given) if line is not None and resume is None else None
            goes_on = training is not None
            if training is None:
                training = begin_training(model, name, framework="keras", given=given, resume=resume)
        except Exception:
            yield
            raise
        yield from _observe(training, call, model, callbacks, line, goes_on=goes_on)


def _is_one_of_many() -> bool:
    """Whether this is the second or later training of a scikit-learn search, or of its folds."""
    run = innermost()
    return watching.active("sklearn") and run is not None and run.is_claimed


def _observe(
    training: Training, call: Call, model: Any, callbacks: list[Any], line: Any, *, goes_on: bool
) -> Frame:
    run = training.run
    recorder: Recorder | None = None

    def before() -> None:
        nonlocal recorder
        with shield("Keras: parameters"):
            record_parameters(run, call, model, callbacks)
        with shield("Keras: data"):
            record_data(run, call)
        with shield("Keras: listening"):
            recorder = Recorder(run, call, callbacks, goes_on=goes_on)
            recorder.waiting = waiting
            ours = _with(recorder, call.get("callbacks"), model)
            if isinstance(ours, (list, keras.callbacks.CallbackList)):  # it takes the place of the user's own
                call.replace("callbacks", ours)

    def after(outcome: Outcome, seconds: float) -> None:
        if recorder is None:
            return
        with shield("Keras: after the training"):
            recorder.close()
        if outcome.error is None:
            _trained[run] = _trained.get(run, 0) + recorder.trained_rows
            _record_result(run, model, callbacks, recorder, seconds)
            with shield("Keras: whether a training goes on"):
                remember_fit(call, training, line)

    def close() -> None:
        if recorder is not None:
            recorder.close()

    with waiting_here() as waiting:
        yield from recorded("Keras", training, before=before, after=after, close=close)


def _record_result(
    run: Recording, model: Any, callbacks: list[Any], recorder: Recorder, seconds: float
) -> None:
    with shield("Keras: model"):
        run.log_once({"vitals/fit_seconds": seconds}, step=run.last_step)
        record_summary(run, model)
    with shield("Keras: what callbacks chose"):
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping):
                run.describe(
                    {
                        "early_stopping/stopped_epoch": callback.stopped_epoch + 1
                        if callback.stopped_epoch
                        else None,
                        "early_stopping/best_epoch": callback.best_epoch + 1,
                        "early_stopping/best_score": callback.best,
                        "early_stopping/monitor": callback.monitor,
                    }
                )
    with shield("Keras: held-out evaluation"):
        recorder.record_evaluation()
    with shield("Keras: model artifact"):
        record_model(run, model)


# Our ears among the callbacks -------------------------------------------------------------------------


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _with(recorder: Recorder, callbacks: Any, model: Any) -> Any:
    """The user's callbacks and ours, in a list of our own; theirs stays as it is."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        copied = copy.copy(callbacks)
        copied.callbacks = [*callbacks.callbacks, recorder]
        recorder.set_model(model)
        return copied
    return [*_as_list(callbacks), recorder]


# Held-out evaluation ----------------------------------------------------------------------------------


def observe_evaluate(call: Call) -> Frame:
    """An evaluation by hand: in the run of the model's training as ``test/*``, or in one of its own."""
    model = call.subject
    run = find_run(model)
    if (run is None and not is_on("keras")) or model in joined_late:
        yield
        return
    with watching("keras"):
        training = None
        if run is None:
            try:
                training = begin_training(model, f"evaluate {title_of(model)}", framework="keras")
            except Exception:
                yield
                raise
            run = training.run
        held_out: HeldOut | None = None
        goes_on_in = run

        def before() -> None:
            nonlocal held_out
            with shield("Keras: listening"):
                compiled_steps = goes_on_in.settings.compiled_steps
                held_out = HeldOut(model, goes_on_in, given_arrays(call), compiled_steps)
                held_out.begin()
                latest.logs = None

        def after(outcome: Outcome, seconds: float) -> None:
            if outcome.error is None and held_out is not None:
                with shield("Keras: evaluation"):
                    held_out.end()
                    _record_test(goes_on_in, call, model, held_out, outcome.result)

        def close() -> None:
            if held_out is not None:
                held_out.close()

        yield from recorded("Keras", training, before=before, after=after, close=close, within=goes_on_in)


joined_late: weakref.WeakSet[Any] = weakref.WeakSet()
"""Models in a training that no hook is around, see ``latecomer.py``: what it evaluates is its validation."""

# Of a run: the data that it was evaluated on, by their names, and the seconds of its trainings.
_tests: weakref.WeakKeyDictionary[Recording, dict[str, str]] = weakref.WeakKeyDictionary()
_trained: weakref.WeakKeyDictionary[Recording, int] = weakref.WeakKeyDictionary()


def _record_test(run: Recording, call: Call, model: Any, held_out: HeldOut, result: Any) -> None:
    seen = _tests.setdefault(run, {})
    full = run.settings.fingerprint == "full"
    mark = datasets.fingerprint(call.get("x"), call.get("y"), full=full)
    if given_arrays(call) is None:  # known by its kind only
        mark += f" {id(call.get('x'))}"
    number = len(seen) + 1
    if (named := name_here()) is not None:
        name = named.text
        say_main(run, named)
    else:
        name = seen.setdefault(mark, "test" if number == 1 else f"test/set-{number}")
    host = keras.ops.convert_to_numpy
    # A step of the user's own tells what it likes; metrics that it has not updated are none.
    logs = result if isinstance(result, dict) else latest.logs or {}
    metrics = by_class(run, {f"{name}/{key}": host(value) for key, value in logs.items()})
    run.log(metrics, step=run.last_step)
    found = held_out.predictions(_trained.get(run, 0))
    classes = getattr(call.get("x"), "class_names", None)
    record_evaluation(run, name, model, found, told=metrics, classes=classes)
