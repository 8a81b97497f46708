"""Loops that the user writes himself, of short trainings: ``partial_fit``, ``train_on_batch``.

Each call is a training of its own to the framework; together they are one run. Nobody says when such a loop
is over, so it is looked at every few seconds whether anybody could still go on with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from autolog.process import background, forks

if TYPE_CHECKING:
    from autolog.core.ownership import Training
    from autolog.core.run import Run

__all__ = ["Loop", "end_abandoned_loops", "loop_of", "open_loops"]

ABANDONED_SECONDS = 5.0


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
        self.run.at_end(self._close)
        _loops[self.run] = self
        background.every("ending loops of trainings", ABANDONED_SECONDS, end_abandoned_loops)

    @property
    def run(self) -> Run:
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
            self.run._end("finished")
        else:
            self._close()

    def _close(self) -> None:
        if _loops.pop(self.run, None) is not None:
            self.record_the_whole()
        if not _loops:
            background.every("ending loops of trainings", 0, end_abandoned_loops)


_loops: dict[Run, Loop] = {}
forks.when_forked("loops", in_child=_loops.clear)  # a forked child ends none of its parent's


def open_loops() -> list[Loop]:
    """The loops that go on."""
    return [loop for loop in list(_loops.values()) if loop.run.status == "running"]


def loop_of(run: Run | None) -> Loop | None:
    """The loop that goes on in this run."""
    loop = _loops.get(run) if run is not None else None
    return loop if loop is not None and loop.run.status == "running" else None


def end_abandoned_loops() -> None:
    """End the loops with which nobody can go on."""
    for loop in open_loops():
        if loop.is_abandoned():
            loop.end()
