"""Records what a finished training of Lightning's has left: checkpoints, model, held-out evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.core.recording import Recording
from autolog.lightning.described import record_model, record_outcome, step_of
from autolog.process.guard import shield

if TYPE_CHECKING:
    from autolog.lightning.recorder import Recorder

__all__ = ["record_result"]


def record_result(
    run: Recording, trainer: Any, module: Any, recorder: Recorder, seconds: float | None
) -> None:
    """What came out; of a training that failed (no seconds) its checkpoints alone."""
    has_checkpoint = False
    with shield("Lightning: gradient norms"):
        recorder.gradients.note_left_out()
    with shield("Lightning: checkpoints"):
        has_checkpoint = recorder.checkpoints.record(trainer)
    if seconds is None:
        return
    with shield("Lightning: after the training"):
        run.kept_step = step_of(trainer)  # whatever else was logged, at whatever step
        run.log_once({"vitals/fit_seconds": seconds}, step=run.kept_step)
        record_outcome(run, trainer)
    with shield("Lightning: model"):
        if not has_checkpoint:
            record_model(run, module)
    with shield("Lightning: held-out evaluation"):
        if recorder.held_out.are_of_other_weights(module):
            why = "of the weights before they were averaged at the end; the kept model has their average"
            run.note("val", why)
        recorder.held_out.record("val", trainer)
