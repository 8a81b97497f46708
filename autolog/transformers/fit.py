"""Around a Trainer's ``train``, ``evaluate`` and ``predict``: opens the run, puts our ears in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from autolog.core import catalogue
from autolog.core.callbacks import NativeCallback, callback_among, given_by, is_wanted
from autolog.core.given import log
from autolog.core.opening import silent_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.resuming import Checkpoint
from autolog.core.statuses import status_of
from autolog.core.training import Frame, Training, bind_run, find_run, recorded
from autolog.core.waiting import observe_fetch, waiting_here
from autolog.process.context import watching
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome
from autolog.process.imports import is_installed
from autolog.transformers.checkpoints import checkpoint_of
from autolog.transformers.described import (
    record_model,
    record_outcome,
    record_parameters,
    suggested,
    title_of,
)
from autolog.transformers.predictions import HeldOut, evaluated_by
from autolog.transformers.recorder import Recorder

__all__ = [
    "observe_batches",
    "observe_evaluate",
    "observe_evaluation_loop",
    "observe_generate",
    "observe_generating_step",
    "observe_predict",
    "observe_prediction_step",
    "observe_search",
    "observe_their_log",
    "observe_train",
]


def observe_train(call: Call) -> Frame:
    """One run per training, or the one that it goes on with."""
    trainer = call.subject
    if not _is_recorded(trainer):
        yield
        return
    if not trainer.is_world_process_zero():
        yield from _follow()
        return
    with watching("transformers"), waiting_here() as waiting:
        try:
            resume: Checkpoint | None = None
            with shield("transformers: which checkpoint it goes on from"):
                resume = checkpoint_of(trainer, call.get("resume_from_checkpoint"))
            training = _begin(trainer, "", resume)
        except Exception:
            yield
            raise
        run = training.run
        recorder: Recorder | None = None

        def before() -> None:
            nonlocal recorder
            with shield("transformers: parameters"):
                record_parameters(run, trainer)
            with shield("transformers: listening"):
                recorder = _listen(trainer, run)
                recorder.waiting = waiting

        def after(outcome: Outcome, seconds: float) -> None:
            bind_run(trainer.model, run if recorder is None else recorder.run)
            if recorder is not None:
                _record_result(trainer, recorder, is_whole=outcome.error is None)
                recorder.end(outcome.error)
            if run.is_adopted and _theirs(trainer) is not None:  # nobody else says how it has ended
                run.describe({"status": status_of(outcome.error)})

        def close() -> None:
            _stop_listening(trainer, recorder)

        yield from recorded("transformers", training, before=before, after=after, close=close)


def _record_result(trainer: Any, recorder: Recorder, *, is_whole: bool) -> None:
    """What came out; of a training that failed its checkpoints alone."""
    run = recorder.run
    has_checkpoint = False
    with shield("transformers: gradient norms"):
        recorder.gradients.note_left_out()
        recorder.tokens.note()
    with shield("transformers: checkpoints"):
        has_checkpoint = recorder.record_checkpoints(trainer.args, trainer.state)
    if not is_whole:
        return
    with shield("transformers: model"):
        if not has_checkpoint:
            record_model(run, trainer)
    with shield("transformers: after the training"):
        record_outcome(run, trainer)
    with shield("transformers: completions"):
        recorder.record_completions(trainer.state)
    with shield("transformers: held-out evaluation"):
        recorder.record_evaluations(trainer.args, trainer.state)


def observe_search(call: Call) -> Frame:
    """``hyperparameter_search`` by Optuna: the study's run, and each trial's training in a run below it."""
    backend = call.get("backend")
    by_optuna = getattr(backend, "value", backend) in (None, "optuna") and is_installed("optuna")
    if not by_optuna or not _is_recorded(call.subject) or not call.subject.is_world_process_zero():
        yield
        return
    with catalogue.also("optuna"):
        yield


def _follow() -> Frame:
    """On another rank: records nothing. But what runs here may ask for its run."""
    with watching("transformers"), Training(silent_run(), owns=False).current():
        yield


def observe_evaluate(call: Call) -> Frame:
    """Goes on in the run of the training, as ``val/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "evaluate", call.get("eval_dataset"))


def observe_predict(call: Call) -> Frame:
    """Goes on in the run of the training, as ``test/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "predict", None)


def _observe_evaluation(call: Call, name: str, data: Any) -> Frame:
    trainer = call.subject
    if not _is_recorded(trainer) or not trainer.is_world_process_zero():
        yield
        return
    run = find_run(trainer) or (find_run(trainer.model) if trainer.model is not None else None)
    with watching("transformers"):
        training = None
        if run is None:
            try:
                training = _begin(trainer, name)
            except Exception:
                yield
                raise
            run = training.run
            with shield("transformers: parameters"):
                record_parameters(run, trainer)
        goes_on_in = run
        recorder: Recorder | None = None

        def before() -> None:
            nonlocal recorder
            with shield("transformers: listening"):
                recorder = _listen(trainer, goes_on_in, data, call.get("metric_key_prefix"))

        def after(outcome: Outcome, seconds: float) -> None:
            if outcome.error is None and name == "predict" and recorder is not None and recorder.logs:
                with shield("transformers: predict"):
                    charge(goes_on_in)
                    metrics = getattr(outcome.result, "metrics", None) or {}
                    row = {recorder.named(key): value for key, value in metrics.items()}
                    log(goes_on_in, row, recorder.step)

        def close() -> None:
            _stop_listening(trainer, recorder)

        yield from recorded(
            "transformers", training, before=before, after=after, close=close, within=goes_on_in
        )


# Inside of an evaluation, in a training or by hand ----------------------------------------------------


def observe_evaluation_loop(call: Call) -> Frame:
    """The loop over batches: its predictions are looked at."""
    recorder = _recorder_of(call.subject)
    if recorder is None:
        yield
        return
    held_out: HeldOut | None = None
    with shield("transformers: held-out predictions"):
        charge(recorder.run)
        held_out = recorder.begin_evaluation(str(call.get("metric_key_prefix") or "eval"))
    try:
        outcome = yield
    finally:
        recorder.evaluating = None
        if held_out is not None:
            held_out.close()
    if outcome.error is None and held_out is not None:
        with shield("transformers: held-out predictions"):
            charge(recorder.run)
            recorder.end_evaluation(held_out, outcome.result)


def observe_prediction_step(call: Call) -> Frame:
    """One batch of it."""
    held_out = _evaluation_of(call.subject)
    if held_out is not None:
        held_out.begin_batch(call.get("inputs"))
    outcome = yield
    if held_out is not None:
        is_told = outcome.error is None and isinstance(outcome.result, tuple) and outcome.result
        held_out.end_batch(outcome.result[0] if is_told else None)


def observe_generating_step(call: Call) -> Frame:
    """One batch of a Trainer that may answer it by texts."""
    held_out = _evaluation_of(call.subject)
    if held_out is not None:
        held_out.begin_batch(call.get("inputs"))
    outcome = yield
    if held_out is not None:
        held_out.end_batch()
        if outcome.error is None and call.subject.args.predict_with_generate:
            charge(held_out.run)
            held_out.generated(call.get("inputs"), outcome.result)


def observe_batches() -> Callable[[Call, Any], object]:
    """The batches of the next step are collected."""
    waited = observe_fetch()

    def collected(call: Call, result: Any) -> None:
        if waited is not None:
            waited(call, result)
        if (recorder := _recorder_of(call.subject)) is not None:
            with shield("transformers: tokens"):
                recorder.tokens.see(result[0])

    return collected


def observe_generate(call: Call) -> Frame:
    """``model.generate``: the user's own inside of an evaluation, in a callback or a step of theirs."""
    held_out: HeldOut | None = None
    with shield("transformers: texts that are generated"):
        held_out = evaluated_by(call.subject)
        if held_out is not None:
            charge(held_out.run)
    if held_out is None:
        yield
        return
    began = time.perf_counter()
    outcome = yield
    seconds = time.perf_counter() - began
    with shield("transformers: texts that are generated"):
        if outcome.error is None:
            name = getattr(call.subject, "main_input_name", "input_ids")
            given = call.get("inputs") if call.get("inputs") is not None else call.get(name)
            held_out.generated_by_user({name: given}, outcome.result, seconds)


def observe_their_log(call: Call) -> Frame:
    """transformers' own Trackio callback logs, to the run that we have adopted."""
    with shield("transformers: steps of its own Trackio callback"):
        run, state = find_run(call.get("model")), call.get("state")
        if run is not None and run.is_training and state is not None:
            run.align(int(state.global_step))
    yield


# Whose call it is --------------------------------------------------------------------------------------


def _is_recorded(trainer: Any) -> bool:
    return is_wanted("transformers", _ours(trainer))


def _ours(trainer: Any) -> NativeCallback | None:
    return callback_among(trainer.callback_handler.callbacks)


def _begin(trainer: Any, what: str, resume: Checkpoint | None = None) -> Training:
    """The run: given to our callback, current, transformers' own, gone on with, or new."""
    with shield("transformers: its own Trackio callback"):
        _let_theirs_begin(trainer)
    place: dict[str, str] = {}
    notes: dict[str, str] = {}
    with shield("transformers: where its run belongs"):
        place, notes = suggested(trainer)
    subject = trainer.model if trainer.model is not None else trainer
    name = f"{what} {title_of(trainer, subject)}".strip()
    given = given_by(_ours(trainer))
    training = begin_training(
        subject, name, framework="transformers", given=given, resume=resume, suggested=place
    )
    bind_run(trainer, training.run)
    for key, note in notes.items():
        training.run.note(f"params/{key}", note)
    return training


def _theirs(trainer: Any) -> Any:
    """transformers' own Trackio callback, of ``report_to="trackio"``."""
    from transformers.integrations import TrackioCallback as Theirs

    callbacks = trainer.callback_handler.callbacks
    return next((callback for callback in callbacks if isinstance(callback, Theirs)), None)


def _let_theirs_begin(trainer: Any) -> None:
    """Its run is opened now instead of a moment later, so that it is there to be adopted."""
    theirs = _theirs(trainer)
    if theirs is not None and not theirs._initialized and trainer.model is not None:
        theirs.setup(trainer.args, trainer.state, trainer.model)


def _recorder_of(trainer: Any) -> Recorder | None:
    callbacks = trainer.callback_handler.callbacks
    return next((callback for callback in callbacks if isinstance(callback, Recorder)), None)


def _evaluation_of(trainer: Any) -> HeldOut | None:
    recorder = _recorder_of(trainer)
    return recorder.evaluating if recorder is not None else None


def _listen(trainer: Any, run: Recording, data: Any = None, prefix: str | None = None) -> Recorder:
    # In a run of ours that another one encloses theirs does not write.
    logs = _theirs(trainer) is None or not run.is_adopted
    recorder = Recorder(run, trainer, logs=logs, data=data, prefix=prefix)
    trainer.callback_handler.callbacks.append(recorder)
    return recorder


def _stop_listening(trainer: Any, recorder: Recorder | None) -> None:
    callbacks = trainer.callback_handler.callbacks
    if recorder is not None:
        recorder.close()
    if recorder is not None and recorder in callbacks:
        callbacks.remove(recorder)
