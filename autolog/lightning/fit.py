"""What is recorded around a Trainer's ``fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from autolog.core.catalogue import is_on
from autolog.core.ownership import Training, begin_training, bind_run, conclude, find_run
from autolog.core.resuming import Checkpoint
from autolog.core.run import Run
from autolog.lightning.callback import Recorder, TrackioCallback
from autolog.lightning.checkpoints import checkpoint_of
from autolog.lightning.cli import record_cli
from autolog.lightning.described import (
    package_of,
    record_data,
    record_model,
    record_outcome,
    record_parameters,
)
from autolog.lightning.logger import TrackioLogger, logger_of
from autolog.lightning.ranks import silent_run
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_fit", "observe_predict", "observe_test", "observe_validate"]

Frame = Generator[None, Outcome, None]


def observe_fit(call: Call) -> Frame:
    """One run per training."""
    trainer = call.subject
    module = _unwrapped(call.get("model"))
    if not _is_recorded(trainer) or _is_search_for_a_setting(trainer):
        yield
        return
    if not trainer.is_global_zero:
        yield from _follow(trainer)
        return
    with watching("lightning"):
        try:
            resume = None
            with shield("Lightning: what the training goes on from"):
                resume = checkpoint_of(trainer, call.get("ckpt_path"))
            training = _begin(trainer, module, type(module).__name__, resume)
        except Exception:
            yield
            raise
        run = training.run
        bind_run(trainer, run)
        recorder: Recorder | None = None
        error: BaseException | None = None
        try:
            with shield("Lightning: parameters"):
                record_parameters(run, trainer, module, call.get("datamodule"))
                record_cli(run, trainer)
            with shield("Lightning: data"):
                record_data(run, call)
            with shield("Lightning: listening"):
                recorder = _listen(trainer, run)
            with training.current():
                started = time.perf_counter()
                outcome = yield
                seconds = time.perf_counter() - started
            error = _reason(recorder, outcome.error)
            if recorder is not None:
                _stop_listening(trainer, recorder)
                if recorder.began is not None:  # here, and not in a process of Lightning's
                    record_result(run, trainer, module, recorder, None if error else seconds)
        except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
            error = interrupt
            raise
        finally:
            with shield("Lightning: the run's end"):  # a fault here must not take the interrupt's place
                try:
                    if recorder is not None:
                        _stop_listening(trainer, recorder)
                finally:
                    conclude(training, error, more_to_come=logger_of(trainer) is not None)


def _follow(trainer: Any) -> Frame:
    """On another rank: records nothing. But some norms need all ranks, and a module may ask for its run."""
    silent = silent_run()
    recorder: Recorder | None = None
    with watching("lightning"):
        with shield("Lightning: listening"):
            recorder = _listen(trainer, silent)
        with Training(silent, owns=False).current():
            yield
        if recorder is not None:
            with shield("Lightning: the end"):
                _stop_listening(trainer, recorder)


def record_result(run: Run, trainer: Any, module: Any, recorder: Recorder, seconds: float | None) -> None:
    """What came out; of a training that failed (no seconds) its checkpoints alone."""
    has_checkpoint = False
    with shield("Lightning: gradient norms"):
        recorder.gradients.note_left_out()
    with shield("Lightning: checkpoints"):
        has_checkpoint = recorder.checkpoints.record(trainer)
    if seconds is None:
        return
    with shield("Lightning: after the training"):
        run.log({"perf/fit_seconds": seconds}, step=run.last_step)
        record_outcome(run, trainer)
    with shield("Lightning: model"):
        if not has_checkpoint:
            record_model(run, module)
    with shield("Lightning: held-out evaluation"):
        recorder.held_out.record("val", trainer)


def observe_validate(call: Call) -> Frame:
    """Goes on in the run of the training, as ``val/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "validate")


def observe_test(call: Call) -> Frame:
    """Goes on in the run of the training, as ``test/*``; alone it is a run of its own."""
    yield from _observe_evaluation(call, "test")


def observe_predict(call: Call) -> Frame:
    """Goes on in the run of the training, with the seconds it took; alone it is no run."""
    trainer = call.subject
    run = _run_of(call)
    if run is None or not _is_recorded(trainer) or not trainer.is_global_zero:
        yield
        return
    with watching("lightning"):
        started = time.perf_counter()
        outcome = yield
        if outcome.error is None:
            with shield("Lightning: predict"):
                run.log({"perf/predict_seconds": time.perf_counter() - started}, step=run.last_step)


def _observe_evaluation(call: Call, name: str) -> Frame:
    trainer = call.subject
    if not _is_recorded(trainer) or not trainer.is_global_zero:
        yield
        return
    module = _unwrapped(call.get("model")) or trainer.lightning_module
    run = _run_of(call)
    with watching("lightning"):
        training = None
        if run is None:
            try:
                training = _begin(trainer, module, f"{type(module).__name__}-{name}")
            except Exception:
                yield
                raise
            run = training.run
            with shield("Lightning: parameters"):
                record_parameters(run, trainer, module, call.get("datamodule"))
        recorder: Recorder | None = None
        error: BaseException | None = None
        try:
            with shield("Lightning: listening"):
                recorder = _listen(trainer, run)
            outcome = yield
            error = _reason(recorder, outcome.error)
        except BaseException as interrupt:
            error = interrupt
            raise
        finally:
            with shield("Lightning: the run's end"):
                try:
                    if recorder is not None:
                        _stop_listening(trainer, recorder)
                finally:
                    if training is not None:
                        conclude(training, error, more_to_come=logger_of(trainer) is not None)


# Whose call it is --------------------------------------------------------------------------------------


def _is_recorded(trainer: Any) -> bool:
    """Whether this Trainer's calls are recorded, and no dry run."""
    is_wanted = is_on(package_of(trainer)) or _callback_of(trainer) or logger_of(trainer)
    if not is_wanted:
        return False
    return not (trainer.fast_dev_run or trainer.barebones)


def _callback_of(trainer: Any) -> TrackioCallback | None:
    return next((callback for callback in trainer.callbacks if isinstance(callback, TrackioCallback)), None)


def _begin(trainer: Any, module: Any, name: str, resume: Checkpoint | None = None) -> Training:
    """The run: of a logger of ours, which has one for all its trainings, or of this training alone."""
    callback, logger = _callback_of(trainer), logger_of(trainer)
    given = callback.run if callback is not None else None
    if logger is None:
        return begin_training(module, name, given=given, resume=resume)
    return logger.begin_training(trainer, module, name, given)


def _run_of(call: Call) -> Run | None:
    """The run that this call goes on with: of its logger, else of its module, else of its Trainer."""
    trainer = call.subject
    logger = logger_of(trainer)
    if logger is not None:
        return logger.run
    module = _unwrapped(call.get("model"))
    return find_run(module) if module is not None else find_run(trainer)


def _is_search_for_a_setting(trainer: Any) -> bool:
    """Whether this fit looks for a learning rate or a batch size, and trains nothing."""
    return any(getattr(callback, "_early_exit", False) for callback in trainer.callbacks)


def _unwrapped(module: Any) -> Any:
    return getattr(module, "_orig_mod", module)  # of torch.compile


def _reason(recorder: Recorder | None, error: BaseException | None) -> BaseException | None:
    """Why it ended: Lightning turns Ctrl-C into ``SystemExit``, and SIGTERM into a clean exit."""
    if error is not None and recorder is not None and recorder.reason is not None:
        error = recorder.reason
    return KeyboardInterrupt("SIGTERM") if type(error).__name__ == "SIGTERMException" else error


def _listen(trainer: Any, run: Run) -> Recorder:
    recorder = Recorder(run, is_rank_zero=trainer.is_global_zero)
    trainer.callbacks = [*trainer.callbacks, recorder]
    for logger in _loggers_of(trainer, run):
        logger.recorder = recorder
    return recorder


def _stop_listening(trainer: Any, recorder: Recorder) -> None:
    trainer.callbacks = [callback for callback in trainer.callbacks if callback is not recorder]
    for logger in _loggers_of(trainer, recorder.run):
        logger.recorder = None
    recorder.leave()


def _loggers_of(trainer: Any, run: Run) -> list[TrackioLogger]:
    return [each for each in trainer.loggers if isinstance(each, TrackioLogger) and each.run is run]
