"""The attempts of one ``train``: with ``auto_find_batch_size`` it begins again, smaller, if memory runs out.

An attempt that has logged nothing leaves no trace but its batch size. What one has logged stays where it is,
and the next one goes on in a run below: no series has the steps of two attempts.
"""

from __future__ import annotations

from typing import Any

from autolog.core import hooked
from autolog.core.recording import Recording
from autolog.core.training import Training, bind_run, conclude

__all__ = ["Attempts"]


class Attempts:
    """Attributes:
    run: where the attempt of now is recorded.
    """

    def __init__(self, run: Recording, trainer: Any):
        self.run = run
        self._first = run
        self._trainer = trainer
        self._sizes: list[int] = []

    def begin(self, state: Any, last_logged: int | None) -> bool:
        """An attempt begins.

        Args:
            last_logged: the last step that the one before it has logged; None: it has logged nothing.

        Returns:
            Whether it is recorded in another run than the one before.
        """
        args = self._trainer.args
        size = int(state.train_batch_size) // max(1, args.n_gpu)
        is_apart = bool(self._sizes) and last_logged is not None
        if is_apart:
            self._go_apart(last_logged)
        self._sizes.append(size)
        values: dict[str, Any] = {
            "batch_size/per_device": size,
            "batch_size/effective": self._trainer.get_total_train_batch_size(args),
        }
        if len(self._sizes) > 1:
            values["batch_size/attempts"] = list(self._sizes)
        self.run.describe(values)
        return is_apart

    def _go_apart(self, last_logged: int | None) -> None:
        name = f"{self._first.name}-attempt-{len(self._sizes) + 1}"
        before, self.run = self.run, self._first.child(name)
        why = (
            f"with a batch size of {self._sizes[-1]} there was not enough memory: what stands here, up to "
            f"step {last_logged}, is of that attempt. It was begun again, smaller, in {self.run.name}"
        )
        before.note("train", why)
        if before is not self._first:
            before.end("failed")
        self.run.claim()
        self.run.is_training = True
        hooked.is_of(self.run, "transformers")
        bind_run(self._trainer, self.run)
        # What the user logs goes there. It is left with the run that the training was begun in.
        self.run.enter()

    def end(self, error: BaseException | None) -> None:
        """The training has ended: so does the run below, if there is one."""
        if self.run is not self._first and self.run.status == "running":
            conclude(Training(self.run, owns=True), error)
