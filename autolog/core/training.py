"""A training that is being recorded: from before its call to its end; and loops of many short trainings."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, cast

from autolog.core import resuming
from autolog.core.recording import Recording
from autolog.core.resuming import Checkpoint
from autolog.core.statuses import status_of
from autolog.process import background, forks, guard
from autolog.process.accounts import account_of, bind_account
from autolog.process.guard import shield
from autolog.process.hooks import Outcome

__all__ = [
    "Frame",
    "Loop",
    "Training",
    "bind_run",
    "conclude",
    "end_abandoned_loops",
    "find_run",
    "loop_of",
    "open_loops",
    "recorded",
]

Frame = Generator[None, Outcome, None]
"""What an observer of kind ``around`` is: it yields once, where the call stands."""

ABANDONED_SECONDS = 5.0


def find_run(subject: Any) -> Recording | None:
    """The run of the last training of this object."""
    return cast(Recording | None, account_of(subject))  # runs alone are bound


def bind_run(subject: Any, run: Recording) -> None:
    """From now on this object's records belong to this run."""
    bind_account(subject, run)


class Training:
    """A training that is being recorded: its run, and whether the run ends with it.

    Attributes:
        checkpoint: from where it could go on in its run, if it were interrupted.
    """

    def __init__(self, run: Recording, *, owns: bool):
        self.run = run
        self.owns = owns
        self.checkpoint: Checkpoint | None = None

    @contextmanager
    def current(self) -> Iterator[Recording]:
        """Inside, the run is the current one."""
        leave = self.run.enter()
        try:
            yield self.run
        finally:
            guard.charge(self.run)  # from here on, what goes wrong is said in this run
            leave()


def conclude(training: Training, error: BaseException | None = None, *, more_to_come: bool = False) -> None:
    """The training has returned, or raised: its status is final, its run stays open for what follows.

    Args:
        more_to_come: the next call goes on in this run (``partial_fit``): it stays ``running`` until
            ``autolog.finish()`` or the exit.
    """
    run = training.run
    guard.charge(run)
    run.is_training = False
    if error is not None:
        run.note_error(error)
    elif training.checkpoint is not None:
        with shield("forgetting where a training could have gone on"):
            resuming.forget(training.checkpoint)
    if training.owns and not (more_to_come and error is None):
        run.end(status_of(error))
    else:
        run.report_overhead()


def recorded(
    what: str,
    training: Training | None,
    *,
    before: Callable[[], object],
    after: Callable[[Outcome, float], object],
    close: Callable[[], object] = lambda: None,
    reason: Callable[[Outcome], BaseException | None] = lambda outcome: outcome.error,
    within: Recording | None = None,
    more_to_come: bool = False,
) -> Frame:
    """The frame of a recorded call: what is recorded before and after it, and how its run ends.

    Args:
        what: of which framework, for messages.
        training: what the call is. None: it goes on in a run that does not end with it, an evaluation, say.
        before: records what there is before the call.
        after: called with how the call has ended, and the seconds that it took; also if it has raised.
        close: takes back what was put in for the call. Called in any case, perhaps twice.
        reason: why it has failed, where the framework raises something else than what happened, or raises it
            only after the call.
        within: the run that is the current one inside the call. None: the training's.
        more_to_come: see :func:`conclude`.
    """
    error: BaseException | None = None
    around = Training(within, owns=False) if within is not None else training
    inside = around.current() if around is not None else nullcontext()
    try:
        with shield(f"{what}: before"):
            before()
        with inside:
            started = time.perf_counter()
            outcome = yield
            seconds = time.perf_counter() - started
        error = outcome.error
        with shield(f"{what}: why it ended"):
            error = reason(outcome)
        with shield(f"{what}: after"):
            after(Outcome(outcome.result, error), seconds)
    except BaseException as interrupt:  # Ctrl-C, or a timeout of the user's, while we were recording
        error = interrupt
        raise
    finally:
        with shield(f"{what}: the run's end"):  # a fault here must not take the interrupt's place
            try:
                close()
            finally:
                if training is not None:
                    conclude(training, error, more_to_come=more_to_come)


# Loops ----------------------------------------------------------------------------------------------
#
# Of short trainings that the user writes: ``partial_fit``, ``train_on_batch``. Each call is a training of its
# own to the framework; together they are one run. Nobody says when such a loop is over, so it is looked at
# every few seconds whether anybody could still go on with it.


class Loop(ABC):
    """One run, many calls.

    What describes the whole (model, importances, pictures of the last evaluation) is recorded when the run
    ends: when nobody but us holds what is trained any more, with its next other training, with
    ``autolog.finish()``, or with the process.
    """

    is_one_training = False
    """Whether it lasts until somebody ends it, so that the end of the process interrupts it."""

    def __init__(self, training: Training):
        self.training = training
        self.recording.at_end(self._close)
        _loops[self.recording] = self
        background.every("ending loops of trainings", ABANDONED_SECONDS, end_abandoned_loops)

    @property
    def recording(self) -> Recording:
        """The run of all its calls."""
        return self.training.run

    @abstractmethod
    def is_abandoned(self) -> bool:
        """Whether nobody but us holds what is trained: nothing more can come."""

    @abstractmethod
    def record_the_whole(self) -> None:
        """Record what the calls have come to."""

    def end(self) -> None:
        """The loop is over. A run that somebody else opened goes on without it."""
        if self.training.owns:
            self.recording.end("finished")
        else:
            self._close()

    def _close(self) -> None:
        if _loops.pop(self.recording, None) is not None:
            self.record_the_whole()
        if not _loops:
            background.every("ending loops of trainings", 0, end_abandoned_loops)


_loops: dict[Recording, Loop] = {}
forks.when_forked("loops", in_child=_loops.clear)  # a forked child ends none of its parent's


def open_loops() -> list[Loop]:
    """The loops that go on."""
    return [loop for loop in list(_loops.values()) if loop.recording.status == "running"]


def loop_of(run: Recording | None) -> Loop | None:
    """The loop that goes on in this run."""
    loop = _loops.get(run) if run is not None else None
    return loop if loop is not None and loop.recording.status == "running" else None


def end_abandoned_loops() -> None:
    """End the loops with which nobody can go on."""
    for loop in open_loops():
        if loop.is_abandoned():
            loop.end()
