"""What is recorded around a Trainer's ``train``, ``evaluate`` and ``predict``."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from autolog.core.catalogue import is_on
from autolog.core.guard import charge, shield, watching
from autolog.core.hooks import Call, Outcome
from autolog.core.ownership import begin_training, bind_run, conclude, find_run
from autolog.core.run import Run
from autolog.transformers.callback import Recorder, TrackioCallback
from autolog.transformers.described import record_model, record_outcome, record_parameters
from autolog.transformers.names import canonical
from autolog.transformers.predictions import HeldOut

__all__ = ["observe_evaluate", "observe_evaluation_loop", "observe_predict", "observe_train"]

Frame = Generator[None, Outcome, None]


def observe_train(call: Call) -> Frame:
    """One run per training."""
    trainer = call.subject
    if not _is_recorded(trainer):
        yield
        return
    with watching("transformers"):
        try:
            with shield("transformers: its own Trackio callback"):
                _let_theirs_begin(trainer)
            subject = trainer.model if trainer.model is not None else trainer
            training = begin_training(subject, type(subject).__name__, given=_given(trainer))
        except Exception:
            yield
            raise
        run = training.run
        bind_run(trainer, run)
        recorder: Recorder | None = None
        error: BaseException | None = None
        try:
            with shield("transformers: parameters"):
                record_parameters(run, trainer)
            with shield("transformers: listening"):
                recorder = _listen(trainer, run)
            with training.current():
                outcome = yield
            error = outcome.error
            bind_run(trainer.model, run)
            has_checkpoint = False
            if recorder is not None:
                with shield("transformers: checkpoints"):
                    has_checkpoint = recorder.record_checkpoints(trainer.state)
            if error is None:
                with shield("transformers: model"):
                    if not has_checkpoint:
                        record_model(run, trainer.model)
                with shield("transformers: after the training"):
                    record_outcome(run, trainer)
                with shield("transformers: held-out evaluation"):
                    if recorder is not None:
                        recorder.record_evaluations(trainer.args, trainer.state)
        except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
            error = interrupt
            raise
        finally:
            with shield("transformers: the run's end"):  # a fault here must not take the interrupt's place
                try:
                    _stop_listening(trainer, recorder)
                finally:
                    conclude(training, error)


def observe_evaluate(call: Call) -> Frame:
    """Goes on in the run of the training, as ``val/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "evaluate")


def observe_predict(call: Call) -> Frame:
    """Goes on in the run of the training, as ``test/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "predict")


def _observe_evaluation(call: Call, name: str) -> Frame:
    trainer = call.subject
    if not _is_recorded(trainer):
        yield
        return
    run = find_run(trainer) or (find_run(trainer.model) if trainer.model is not None else None)
    with watching("transformers"):
        training = None
        if run is None:
            try:
                training = begin_training(
                    trainer.model, f"{type(trainer.model).__name__}-{name}", given=_given(trainer)
                )
            except Exception:
                yield
                raise
            run = training.run
            bind_run(trainer, run)
            with shield("transformers: parameters"):
                record_parameters(run, trainer)
        recorder: Recorder | None = None
        error: BaseException | None = None
        try:
            with shield("transformers: listening"):
                recorder = _listen(trainer, run)
            outcome = yield
            error = outcome.error
            if error is None and name == "predict":
                with shield("transformers: predict"):
                    charge(run)
                    metrics = getattr(outcome.result, "metrics", None) or {}
                    row = {canonical(key): value for key, value in metrics.items()}
                    run.log(row, step=int(trainer.state.global_step))
        except BaseException as interrupt:
            error = interrupt
            raise
        finally:
            with shield("transformers: the run's end"):
                try:
                    _stop_listening(trainer, recorder)
                finally:
                    if training is not None:
                        conclude(training, error)


def observe_evaluation_loop(call: Call) -> Frame:
    """The loop over batches, of an evaluation in a training or by hand: its predictions are looked at."""
    trainer = call.subject
    recorder = _recorder_of(trainer)
    if recorder is None:
        yield
        return
    held_out: HeldOut | None = None
    with shield("transformers: held-out predictions"):
        charge(recorder.run)
        prefix = str(call.get("metric_key_prefix") or "eval")
        name = canonical(f"{prefix}_x", recorder.sets).removesuffix("/x")
        held_out = HeldOut(recorder.run, trainer, name)
    try:
        outcome = yield
    finally:
        if held_out is not None:
            held_out.close()
    if outcome.error is None and held_out is not None:
        with shield("transformers: held-out predictions"):
            charge(recorder.run)
            metrics = getattr(outcome.result, "metrics", None) or {}
            held_out.told = {canonical(key, recorder.sets) for key in metrics}
            if trainer.is_in_train:
                recorder.keep(name, held_out, trainer.state)
            if not trainer.is_in_train or _is_due(recorder.run, trainer.state):
                held_out.record()


def _is_due(run: Run, state: Any) -> bool:
    """Whether this evaluation in a training is one of those whose pictures are wanted by setting."""
    every = run.settings.evaluate_every_n_epochs
    return bool(every) and round(state.epoch or 0, 6) % every == 0


# Whose call it is --------------------------------------------------------------------------------------


def _is_recorded(trainer: Any) -> bool:
    """Whether this Trainer's calls are recorded: by one process only."""
    if not is_on("transformers") and _callback_of(trainer) is None:
        return False
    return bool(trainer.is_world_process_zero())


def _callback_of(trainer: Any) -> TrackioCallback | None:
    callbacks = trainer.callback_handler.callbacks
    return next((callback for callback in callbacks if isinstance(callback, TrackioCallback)), None)


def _given(trainer: Any) -> Run | None:
    callback = _callback_of(trainer)
    return callback.run if callback is not None else None


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


def _listen(trainer: Any, run: Run) -> Recorder:
    recorder = Recorder(run, trainer, logs=_theirs(trainer) is None)
    trainer.callback_handler.callbacks.append(recorder)
    return recorder


def _stop_listening(trainer: Any, recorder: Recorder | None) -> None:
    callbacks = trainer.callback_handler.callbacks
    if recorder is not None and recorder in callbacks:
        callbacks.remove(recorder)
