"""accelerate: a tracker for training loops of one's own.

>>> tracker = autolog.accelerate.TrackioTracker(name="baseline")
>>> accelerator = Accelerator(log_with=tracker)
>>> accelerator.init_trackers("my_project", config={"lr": 0.01})
>>> accelerator.log({"train/loss": loss}, step=step)
>>> accelerator.end_training()

It writes to the run that is open (``autolog.run``, ``trackio.init``), which stays open, or to one of its own.
accelerate's own ``log_with="trackio"`` opens a Trackio run instead, which is the current one: what autolog
records goes there, too. Gradients are seen by ``autolog.torch.watch(model, optimizer, run=tracker.tracker)``.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import accelerate
from accelerate import PartialState
from accelerate.tracking import GeneralTracker

from autolog.core import opening
from autolog.core.current import innermost
from autolog.core.health import Alerts
from autolog.core.opening import given_run, open_run, silent_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.core.training import Training, conclude
from autolog.core.writer import RunError
from autolog.process.guard import charge, shield

__all__ = ["TrackioTracker"]


def __dir__() -> list[str]:
    return __all__  # for tab completion: what a user calls


_LOSSES = ("train/loss", "train_loss", "loss")


class TrackioTracker(GeneralTracker):  # type: ignore[misc]
    """Records what ``Accelerator.log`` is given, on the main process alone.

    Args:
        name: of the run. None: made up.
        project: Trackio project. None: as in :class:`autolog.Settings`. (A tracker of one's own is not
            told what ``init_trackers`` is given.)
        group: Trackio group.
        tags: words to find it by.
        run: the run to write to (its second training is a run below it). None: with none of the names above
            the one that is open, else a new one, which ``end_training()`` ends, or the program.

    Raises:
        TypeError: an argument of a wrong kind, or names for a run that is given.
        SettingError: a project name that Trackio refuses.
        RunError: ``run`` is finished.
    """

    name = "autolog"
    requires_logging_directory = False
    main_process_only = False  # on the others it is asked for its run, too

    def __init__(
        self,
        name: str | None = None,
        project: str | None = None,
        group: str | None = None,
        tags: Sequence[str] = (),
        run: Run | None = None,
    ):
        super().__init__()
        self._given = given_run("TrackioTracker", run)
        self._new: dict[str, Any] = {"project": project, "group": group, "tags": tags}
        self._run_name = name
        opening.run(name, **self._new)  # says what is wrong with them, and opens nothing
        if run is not None and (name is not None or any(self._new.values())):
            raise TypeError(
                "TrackioTracker: run= is given, and so are values for a new run. Leave out either run, "
                "or name, project, group and tags."
            )
        self._training: Training | None = None
        self._alerts: Alerts | None = None

    @property
    def tracker(self) -> Run:
        """The run. On other processes than the main one one that records nothing.

        Raises:
            RunError: there is none yet.
        """
        if not PartialState().is_main_process:
            return silent_run().face
        return self._recording.face

    @property
    def _recording(self) -> Recording:
        if self._training is None:
            raise RunError("TrackioTracker has no run yet. Call accelerator.init_trackers(...) first.")
        return self._training.run

    # What accelerate calls --------------------------------------------------------------------------

    def start(self) -> None:
        """The run begins, unless it is going on."""
        if not PartialState().is_main_process or self._is_going_on():
            return
        with shield("accelerate: opening the run"):
            if self._given is None and (self._run_name is not None or any(self._new.values())):
                run = open_run(
                    self._run_name, parent=innermost(), by_user=False, subject="accelerate", **self._new
                )
                run.is_training = True
                self._training = Training(run, owns=True)
            else:
                self._training = begin_training(self, "accelerate", framework=None, given=self._given)
            self._alerts = Alerts(self._training.run)
            _open.add(self)
        with shield("accelerate: where it runs"):
            _describe(self._recording)

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Record hyperparameters."""
        if not self._is_going_on():
            return
        with shield("accelerate: hyperparameters"):
            run = self._recording
            charge(run)
            run.params(values)
            # What a person has set is what runs are compared by.
            short = (bool, int, float)
            run.describe(
                {f"params/{name}": value for name, value in values.items() if isinstance(value, short)}
            )

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record metrics at a step. What is no number is left out, and the run says so."""
        if not self._is_going_on():
            return
        with shield("accelerate: metrics"):
            run = self._recording
            charge(run)
            run.log(values, step=step)
            if self._alerts is not None:
                loss = next((values[name] for name in _LOSSES if name in values), None)
                # With its graph a tensor warns when a number is made of it.
                self._alerts.look_at_loss(run.last_step, getattr(loss, "detach", lambda: loss)())

    def finish(self) -> None:
        """``end_training()``: a run of the tracker's own ends; any other one goes on."""
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        training, self._training = self._training, None
        _open.discard(self)
        if training is not None:
            with shield("accelerate: the run's end"):
                conclude(training, error)

    def _is_going_on(self) -> bool:
        return self._training is not None


def _describe(run: Recording) -> None:
    state = PartialState()
    run.describe(
        {
            "framework": "accelerate",
            "framework/version": accelerate.__version__,
            "device": str(state.device),
            "strategy": str(getattr(state.distributed_type, "value", state.distributed_type)).lower(),
            "processes": state.num_processes,
        }
    )


# Held, also if the Accelerator that has them is gone: what has no end_training() ends with the program.
_open: set[TrackioTracker] = set()


@atexit.register
def _at_exit() -> None:
    """What has ended the program has ended these. (In a notebook it is the error of any cell before.)"""
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for tracker in list(_open):
        tracker._end(error)
