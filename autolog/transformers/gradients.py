"""Norms of the gradients per module, at the steps that the Trainer logs.

The Trainer tells of a step after it has clipped. Clipping scales all gradients alike, so the norms of the
modules are scaled back by the norm of the whole that the Trainer reports, which is the one before it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

from autolog.capture import gradients
from autolog.core.allowance import UNASKED, Allowance
from autolog.core.health import Alerts, norms_row
from autolog.core.recording import Recording
from autolog.torch.measures import by_module, is_sharded, learning_rates

__all__ = ["GradientNorms"]

MOST_PARTS = 100  # whose norms are read
MOST_LOOKED_AT = 40  # modules that a person can tell from each other
FEWEST_LOOKED_AT = 4
_WITH_PARTS_ELSEWHERE = ("DEEPSPEED", "FSDP", "MEGATRON_LM")  # of each gradient, on other ranks


class GradientNorms:
    """What is read of the gradients between clipping and a step that is logged."""

    def __init__(self, run: Recording, trainer: Any, alerts: Alerts):
        self._run = run
        self._trainer = trainer
        self._alerts = alerts
        self._modules: dict[str, list[Any]] | None = None
        self._parts: dict[str, float] = {}
        self._rates: dict[str, float] = {}
        self._step = -1  # that these are of
        self._is_stream = False  # that is logged at the end of an epoch, which nobody knows before
        self._allowance = Allowance(run, UNASKED)

    def before_step(self, args: Any, state: Any, loader: Any) -> None:
        """The gradients are whole, unscaled and clipped."""
        is_due = _is_about_to_be_logged(args, state, loader)
        self._is_stream = is_due is None
        if not is_due:
            return
        optimizer = self._trainer.optimizer
        differ = len({group.get("lr") for group in optimizer.param_groups}) > 1
        self._rates = learning_rates(optimizer) if differ else {}
        self._step = int(state.global_step) + 1
        self._parts = self._norms()

    def _norms(self) -> dict[str, float]:
        if not self._run.settings.log_gradients:
            return {}
        modules = self._modules
        if modules is None:
            modules = self._modules = self._found()
        if not modules or self._allowance.is_used_up(self._step):
            return {}
        with self._allowance:
            groups = [[p.grad for p in module if p.grad is not None] for module in modules.values()]
            # One that takes no part has no gradient, and not one that is zero.
            norms = zip(modules, groups, gradients.norms(groups)[1], strict=True)
            return {name: norm for name, group, norm in norms if group}

    def note_left_out(self) -> None:
        """At the training's end."""
        self._allowance.note("vitals/grad_norm/modules")

    def _found(self) -> dict[str, list[Any]]:
        """The modules that are trained; of a deep model those above its layers' parts."""
        trainer = self._trainer
        where = getattr(trainer.accelerator.distributed_type, "name", "")
        modules = by_module(trainer.model, trainer.optimizer, without_gradient=True)
        parameters = [parameter for module in modules.values() for parameter in module]
        if where in _WITH_PARTS_ELSEWHERE or is_sharded(parameters):
            why = f"not recorded under {where or 'sharding'}: each rank has a part of each gradient"
            self._run.note("vitals/grad_norm/modules", why)
            return {}
        return _coarser(modules)

    def row(self, step: int, reported: float | None) -> dict[str, float]:
        """The metrics of a step that is being logged.

        Args:
            reported: the norm of all gradients as the Trainer tells it, before clipping.
        """
        if step != self._step:
            if reported is not None:
                self._look(step, reported, {})
                if self._run.settings.log_gradients and self._modules != {}:
                    why = "not recorded at steps that a callback has chosen to be logged"
                    if self._is_stream:
                        why = "not recorded: of a stream nobody knows before which step is an epoch's last"
                    self._run.note("vitals/grad_norm/modules", why)
            return {}
        parts, rates = self._parts, self._rates
        self._parts, self._rates, self._step = {}, {}, -1
        clipped = math.hypot(*parts.values())
        if reported is None:  # transformers 5.0 tells none where nothing is clipped
            if not parts or getattr(self._trainer.accelerator, "scaler", None) is not None:
                return rates
            reported = clipped
        if not (math.isfinite(clipped) and math.isfinite(reported)):
            wrong = {name: norm for name, norm in parts.items() if not math.isfinite(norm)}
            # What is not finite spreads to all of them when they are clipped by it.
            self._look(step, reported, wrong if len(wrong) < len(parts) else {})
            return rates
        scale = reported / clipped if clipped else 1.0
        parts = {name: norm * scale for name, norm in parts.items()}
        self._look(step, reported, parts)
        return {**rates, **norms_row(self._run, reported, parts)}

    def _look(self, step: int, whole: float, parts: dict[str, float]) -> None:
        # A scaled step that overflows is skipped, and is how the scale is found.
        if not self._trainer.accelerator.optimizer_step_was_skipped:
            self._alerts.look(step, whole, parts)


def _is_about_to_be_logged(args: Any, state: Any, loader: Any) -> bool | None:
    """Whether the Trainer logs the step that it is about to make; None: nobody knows.

    A callback may want others, too.
    """
    step = int(state.global_step) + 1
    if args.logging_first_step and step == 1:
        return True
    strategy = args.logging_strategy  # an enum that is a text
    if strategy == "steps":
        return bool(state.logging_steps) and step % int(state.logging_steps) == 0
    if strategy != "epoch":
        return False
    if step == state.max_steps:
        return True
    try:
        batches = len(loader)
    except TypeError:  # a stream
        return None
    per_epoch = max(math.ceil(batches / args.gradient_accumulation_steps), 1)
    return bool(step % per_epoch == 0)


def _coarser(modules: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same parameters in fewer modules, where they are more than a person looks at: by layers, say."""
    levels = [modules]
    for depth in range(max((name.count(".") for name in modules), default=0), 0, -1):
        groups: defaultdict[str, list[Any]] = defaultdict(list)
        for name, parameters in modules.items():
            groups[".".join(name.split(".")[:depth])] += parameters
        levels.append(dict(groups))
    fitting = [level for level in levels if len(level) <= MOST_PARTS] or levels[-1:]
    # Down to fewer, unless the layers themselves are more.
    return next((level for level in fitting if FEWEST_LOOKED_AT <= len(level) <= MOST_LOOKED_AT), fitting[0])
