"""What a Trainer tells while it trains and evaluates."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

from autolog.core import catalogue
from autolog.core.guard import charge, shield
from autolog.core.health import Alerts
from autolog.core.ownership import given_run
from autolog.core.run import Run
from autolog.transformers.names import canonical
from autolog.transformers.predictions import HeldOut

__all__ = ["Recorder", "TrackioCallback"]


class TrackioCallback(TrainerCallback):  # type: ignore[misc]
    """Records what its Trainer does, as ``autolog.enable("transformers")`` records every Trainer.

    Args:
        run: the run to write to. None: the one that is open, else a new one per training.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.

    Example:
        >>> Trainer(model, args, callbacks=[autolog.transformers.TrackioCallback()], ...).train()

    One callback may serve several Trainers. ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None):
        self.run = given_run("TrackioCallback", run)
        catalogue.arm("transformers")


class Recorder(TrainerCallback):  # type: ignore[misc]
    """Our ears inside one call of a Trainer. Every method is shielded: an exception would end the training.

    Args:
        run: the run.
        trainer: the Trainer.
        logs: whether its metrics are ours to record; not if transformers' own Trackio callback does it.
    """

    def __init__(self, run: Run, trainer: Any, *, logs: bool):
        self.run = run
        self._logs = logs
        self.sets = list(trainer.eval_dataset) if isinstance(trainer.eval_dataset, Mapping) else []
        self._alerts = Alerts(run)
        self._evaluated: dict[str, HeldOut] = {}  # of each set the last evaluation
        self._best: dict[str, HeldOut] = {}  # and that of the weights that are gone back to
        self._saved: list[dict[str, Any]] = []
        self.told: set[str] = set()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        with shield("transformers: metrics"):
            if not state.is_world_process_zero or not logs:
                return
            charge(self.run)
            row = {
                canonical(name, self.sets): value
                for name, value in logs.items()
                if isinstance(value, (int, float))
            }
            self.told |= row.keys()
            if self._logs:
                self.run.log(row, step=state.global_step)
            if "grad_norm" in row:
                self._alerts.look(state.global_step, float(row["grad_norm"]), {})
            self._alerts.look_at_loss(state.global_step, row.get("train/loss"))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        with shield("transformers: checkpoints"):
            if state.is_world_process_zero:
                path = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
                row = {"step": state.global_step, "epoch": state.epoch, "path": path}
                if state.best_metric is not None and state.best_model_checkpoint == path:
                    row["best_metric"] = state.best_metric
                self._saved.append(row)

    def keep(self, name: str, held_out: HeldOut, state: Any) -> None:
        """An evaluation in the training has ended: which one is the last, or the best, is known later."""
        self._keep_best(name, state)
        self._evaluated[name] = held_out

    def record_evaluations(self, args: Any, state: Any) -> None:
        """The training has ended: what can be said of the predictions of the weights that it ends with."""
        for name, held_out in self._evaluated.items():
            self._keep_best(name, state)
            best = self._best.get(name) if args.load_best_model_at_end else None
            (best or held_out).record()
        self._evaluated, self._best = {}, {}

    def _keep_best(self, name: str, state: Any) -> None:
        last = self._evaluated.get(name)
        if last is not None and last.step == getattr(state, "best_global_step", None):
            self._best[name] = last

    def record_checkpoints(self, state: Any) -> bool:
        """The training has ended. Returns whether any checkpoint is there: old ones may be deleted by now."""
        rows, self._saved = self._saved, []
        for row in rows:
            row["is_there"] = os.path.isdir(row["path"])
        if rows:
            self.run.long_table("checkpoints", rows)
        there = [row["path"] for row in rows if row["is_there"]]
        best = state.best_model_checkpoint
        if best is not None:
            self.run.describe({"checkpoint/best": best, "checkpoint/best_score": state.best_metric})
        chosen: dict[str, list[str]] = {}
        if best is not None and os.path.isdir(best):
            chosen[best] = ["best"]
        if there:
            chosen.setdefault(there[-1], []).append("last")
        for path, aliases in chosen.items():
            self.run.artifact(path, "checkpoint", type="checkpoint", aliases=aliases, reference=True)
        return bool(there)
