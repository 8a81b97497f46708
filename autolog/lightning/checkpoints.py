"""The checkpoints that a Trainer saves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autolog.core import resuming
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.resuming import Checkpoint

__all__ = ["Checkpoints", "checkpoint_at", "checkpoint_of"]


class Checkpoints:
    """Every file that was saved: listed, and the best and the last kept."""

    def __init__(self, run: Recording):
        self._run = run
        self._rows: list[dict[str, Any]] = []

    def saved(self, trainer: Any, path: str) -> None:
        """The Trainer has saved itself."""
        row: dict[str, Any] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step, "path": path}
        for callback in trainer.checkpoint_callbacks:
            monitor = getattr(callback, "monitor", None)
            if monitor is not None and monitor in trainer.callback_metrics:
                row[monitor] = float(trainer.callback_metrics[monitor])
        self._rows.append(row)
        checkpoint = checkpoint_at(path)
        if checkpoint is not None and self._run.parent is None and not self._run.opened_by_user:
            resuming.remember(checkpoint, self._run)  # whoever goes on from it goes on in this run

    def record(self, trainer: Any) -> bool:
        """The training has ended. Returns whether any of its files is there."""
        if not self._rows:
            return False
        rows, self._rows = self._rows, []
        callbacks = trainer.checkpoint_callbacks
        best = next(
            (c for c in callbacks if getattr(c, "best_model_path", "") and getattr(c, "monitor", None)), None
        )
        if best is not None:
            self._run.describe(
                {
                    "checkpoint/best": best.best_model_path,
                    "checkpoint/best_score": _number(best.best_model_score),
                    "checkpoint/monitor": best.monitor,
                }
            )
        for row in rows:
            row["is_there"] = os.path.exists(row["path"])
        record_long_table(self._run, "checkpoints", rows)
        there = [row["path"] for row in rows if row["is_there"]]
        last = there[-1] if there else None
        chosen = {best.best_model_path: ["best"]} if best is not None else {}
        if last is not None:
            chosen.setdefault(last, []).append("last")
        by_path = {row["path"]: row for row in rows}
        for path, aliases in chosen.items():
            if os.path.exists(path):
                monitor = best.monitor if best is not None else None
                self._run.checkpoint(path, aliases, by_path.get(path), monitor)
        return bool(there)


def checkpoint_at(path: Any) -> Checkpoint | None:
    """A checkpoint that is a file or folder of this machine; None for one by name (``best``)."""
    if path is None or "://" in str(path) or str(path) in ("best", "last", "hpc", "registry"):
        return None
    return Checkpoint(Path(path), exists=os.path.exists(path))


def checkpoint_of(trainer: Any, path: Any) -> Checkpoint | None:
    """The checkpoint from which this ``fit`` goes on; for ``last`` the newest, as Lightning finds it."""
    if path == "last":
        savers = [saver for saver in trainer.checkpoint_callbacks if hasattr(saver, "_find_last_checkpoints")]
        found = [file for saver in savers for file in saver._find_last_checkpoints(trainer)]
        path = max((file for file in found if os.path.exists(file)), key=os.path.getmtime, default=None)
    return checkpoint_at(path)


def _number(score: Any) -> float | None:
    return None if score is None else float(score)
