"""The checkpoints that a Trainer saves, and the one that it goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from autolog.core import resuming
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.resuming import Checkpoint
from autolog.transformers.names import canonical

__all__ = ["Checkpoints", "checkpoint_of"]


class Checkpoints:
    """Every folder that was saved: listed, and the best and the last kept, where they are."""

    def __init__(self, run: Recording):
        self._run = run
        self._rows: list[dict[str, Any]] = []

    def saved(self, args: Any, state: Any, sets: list[str]) -> None:
        """The Trainer has saved itself."""
        path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        self._rows.append(_row(path, state.global_step, state.epoch, args, state, sets))
        if self._run.parent is None and not self._run.opened_by_user:
            # Whoever goes on from it goes on in this run.
            resuming.remember(Checkpoint(Path(path), exists=True), self._run)

    def record(self, args: Any, state: Any, sets: list[str]) -> bool:
        """The training has ended. Returns whether any of them is there: old ones may be deleted by now."""
        rows, self._rows = [*self._saved_before(args, state, sets), *self._rows], []
        for row in rows:
            row["is_there"] = os.path.isdir(row["path"])
        if rows:
            record_long_table(self._run, "checkpoints", rows)
        there = [row["path"] for row in rows if row["is_there"]]
        best = state.best_model_checkpoint
        monitor = args.metric_for_best_model or "loss"
        metric = canonical(monitor if monitor.startswith("eval_") else f"eval_{monitor}", sets)
        chosen: dict[str, list[str]] = {}
        if best is not None and os.path.isdir(best):
            self._run.describe(
                {
                    "checkpoint/best": best,
                    "checkpoint/best_score": state.best_metric,
                    "checkpoint/monitor": metric,
                }
            )
            chosen[best] = ["best"]
        if there:
            chosen.setdefault(there[-1], []).append("last")
        by_path = {os.path.abspath(row["path"]): row for row in rows}
        for path, aliases in chosen.items():
            self._run.checkpoint(path, aliases, by_path.get(os.path.abspath(path)), metric)
        return bool(there)

    def _saved_before(self, args: Any, state: Any, sets: list[str]) -> list[dict[str, Any]]:
        """Those of the training that this one has gone on with, as far as they are there."""
        told = {entry["step"]: entry.get("epoch") for entry in state.log_history if "step" in entry}
        first = min((row["step"] for row in self._rows), default=0)
        found = []
        for path in Path(args.output_dir).glob("checkpoint-*"):
            step = path.name.rpartition("-")[2]
            # What another training has left in the folder was logged by that one alone.
            if step.isdecimal() and int(step) < first and int(step) in told:
                found.append(_row(str(path), int(step), told[int(step)], args, state, sets))
        return sorted(found, key=lambda row: row["step"])


def _row(path: str, step: int, epoch: Any, args: Any, state: Any, sets: list[str]) -> dict[str, Any]:
    """What is said of one: with the metric by which the best is chosen."""
    row: dict[str, Any] = {"step": step, "epoch": epoch, "path": path}
    monitor = args.metric_for_best_model
    if monitor is not None:
        key = monitor if monitor.startswith("eval_") else f"eval_{monitor}"
        found = (e[key] for e in reversed(state.log_history) if e.get("step") == step and key in e)
        row[canonical(key, sets)] = next(found, None)
    return row


def checkpoint_of(trainer: Any, resume: Any) -> Checkpoint | None:
    """The checkpoint that ``train(resume_from_checkpoint=...)`` goes on from; True: the last."""
    from transformers.trainer_utils import get_last_checkpoint

    if resume is True:
        folder = trainer.args.output_dir
        resume = get_last_checkpoint(folder) if os.path.isdir(folder) else None
    if not isinstance(resume, (str, os.PathLike)):
        return None
    return Checkpoint(Path(resume), exists=os.path.isdir(resume))
