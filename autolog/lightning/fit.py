"""Around a Trainer's ``fit``, ``validate``, ``test`` and ``predict``: opens the run, puts our ears in."""

from __future__ import annotations

import time
from typing import Any

from autolog.core import hooked
from autolog.core.callbacks import callback_among, given_by, is_wanted
from autolog.core.opening import silent_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.resuming import Checkpoint
from autolog.core.training import Frame, Training, bind_run, find_run, recorded
from autolog.core.waiting import waiting_here
from autolog.lightning.checkpoints import checkpoint_of
from autolog.lightning.cli import record_cli
from autolog.lightning.described import (
    package_of,
    record_data,
    record_parameters,
    title_of,
)
from autolog.lightning.logger import TrackioLogger, logger_of, loggers_in
from autolog.lightning.recorder import Recorder
from autolog.lightning.results import record_result
from autolog.process.context import watching
from autolog.process.guard import shield
from autolog.process.hooks import Call, Outcome

__all__ = ["observe_fit", "observe_predict", "observe_test", "observe_validate"]


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
    with watching("lightning"), waiting_here() as waiting:
        try:
            resume = None
            with shield("Lightning: what the training goes on from"):
                resume = checkpoint_of(trainer, call.get("ckpt_path"))
            goes_on = resume is not None and resume.exists
            training = _begin(trainer, module, title_of(trainer, module), resume, goes_on=goes_on)
        except Exception:
            yield
            raise
        run = training.run
        bind_run(trainer, run)
        recorder: Recorder | None = None

        def before() -> None:
            nonlocal recorder
            with shield("Lightning: parameters"):
                record_parameters(run, trainer, module, call.get("datamodule"))
                record_cli(run, trainer)
            with shield("Lightning: data"):
                record_data(run, call)
            with shield("Lightning: listening"):
                recorder = _listen(trainer, run)
                recorder.waiting = waiting

        def after(outcome: Outcome, seconds: float) -> None:
            close()
            if recorder is not None and recorder.began is not None:  # here, not in a process of Lightning's
                record_result(run, trainer, module, recorder, None if outcome.error else seconds)

        def close() -> None:
            if recorder is not None:
                _stop_listening(trainer, recorder)

        yield from recorded(
            "Lightning",
            training,
            before=before,
            after=after,
            close=close,
            reason=lambda outcome: _reason(recorder, outcome.error),
            more_to_come=logger_of(trainer) is not None,
        )


def _follow(trainer: Any) -> Frame:
    """On another rank: records nothing. But some norms need all ranks, and a module may ask for its run."""
    silent = silent_run()
    recorder: Recorder | None = None
    with watching("lightning"):
        with shield("Lightning: many processes"):
            for logger in loggers_in(trainer):
                logger.is_used_by(trainer)
        with shield("Lightning: listening"):
            recorder = _listen(trainer, silent)
        with Training(silent, owns=False).current():
            yield
        if recorder is not None:
            with shield("Lightning: the end"):
                _stop_listening(trainer, recorder)


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
                seconds = time.perf_counter() - started
                run.log_once({"vitals/predict_seconds": seconds}, step=run.last_step)


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
                training = _begin(trainer, module, f"{name} {title_of(trainer, module)}")
            except Exception:
                yield
                raise
            run = training.run
            with shield("Lightning: parameters"):
                record_parameters(run, trainer, module, call.get("datamodule"))
        goes_on_in = run
        recorder: Recorder | None = None

        def before() -> None:
            nonlocal recorder
            with shield("Lightning: listening"):
                recorder = _listen(trainer, goes_on_in)

        def close() -> None:
            if recorder is not None:
                _stop_listening(trainer, recorder)

        yield from recorded(
            "Lightning",
            training,
            before=before,
            after=lambda outcome, seconds: None,
            close=close,
            reason=lambda outcome: _reason(recorder, outcome.error),
            within=goes_on_in,
            more_to_come=logger_of(trainer) is not None,
        )


# Whose call it is --------------------------------------------------------------------------------------


def _is_recorded(trainer: Any) -> bool:
    """Whether this Trainer's calls are recorded, and no dry run."""
    ours = callback_among(trainer.callbacks)
    if not is_wanted(package_of(trainer), ours) and logger_of(trainer) is None:
        return False
    return not (trainer.fast_dev_run or trainer.barebones)


def _begin(
    trainer: Any, module: Any, name: str, resume: Checkpoint | None = None, *, goes_on: bool | None = None
) -> Training:
    """The run: of a logger of ours, which has one for each module, or of this training alone."""
    given, logger = given_by(callback_among(trainer.callbacks)), logger_of(trainer)
    package = package_of(trainer)
    if logger is None:
        return begin_training(module, name, framework=package, given=given, resume=resume)
    training = logger.begin_training(trainer, module, name, given, goes_on=goes_on)
    hooked.is_of(training.run, package)
    return training


def _run_of(call: Call) -> Recording | None:
    """The run that this call goes on with: of its logger, else of its module, else of its Trainer."""
    trainer = call.subject
    logger, module = logger_of(trainer), _unwrapped(call.get("model"))
    if logger is not None:
        return logger.turn_to(module)
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


def _listen(trainer: Any, run: Recording) -> Recorder:
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


def _loggers_of(trainer: Any, run: Recording) -> list[TrackioLogger]:
    return [each for each in loggers_in(trainer) if each.recording is run]
