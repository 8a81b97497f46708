"""Watching the optimizer's steps of a loop.

Gradients are read in the optimizer's hook before its step: they are accumulated, and unscaled, by then. But
what is to be clipped was clipped before. So whatever clips by torch's own functions is seen too, and then the
gradients are read there, before it. Clipping by hand is not seen.
"""

from __future__ import annotations

import atexit
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch
from torch.optim import optimizer as torch_optimizer

from autolog.core import hooked, outlet
from autolog.core.allowance import Allowance
from autolog.core.current import enter
from autolog.core.health import Alerts
from autolog.core.opening import given_run, silent_run
from autolog.core.placing import begin_training
from autolog.core.run import Run
from autolog.core.training import Loop, Training, conclude
from autolog.process import forks
from autolog.process.guard import charge, measured, shield
from autolog.process.hooks import Hook, uninstall
from autolog.torch.measures import Found, Measures, describe, is_sharded, learning_rates, skips

__all__ = ["HOOKS", "Watch", "listen_to_clipping", "unwatch", "watch"]


@measured
def watch(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    run: Run | None = None,
    every: int | None = None,
    step: int = 0,
    parameters: bool = False,
    histograms: bool = False,
    on_every_rank: bool = False,
) -> Watch:
    """Record a training loop of your own, at the steps of its optimizer. Watching a model again begins anew.

    Args:
        model: what is trained; wrapped by ``DistributedDataParallel`` or ``torch.compile`` as well.
        optimizer: what trains it. None: the first optimizer with parameters of the model that makes a step;
            the next one, when that is gone.
        run: the run to write to. None: the one that is open, else a new one, which ends with ``unwatch``,
            ``autolog.finish()``, the model's life or the program.
        every: optimizer steps between two rows, beside the first step; 0: no rows. None: as in
            ``Settings.log_every_n_steps``.
        step: optimizer steps made before, when a training is resumed.
        parameters: whether the norms of the parameters are recorded too, as ``param_norm``.
        histograms: whether histograms of gradients and parameters are drawn per module, at the first, second,
            fourth, eighth ... row.
        on_every_rank: promise that every process of a distributed training calls ``watch``. Norms of sharded
            parameters (FSDP 2, tensor parallelism) need all of them; without it they are left out.

    Returns:
        What is watching; a context manager, too. Only rank zero of a distributed training records.

    Raises:
        TypeError: an argument of a wrong kind.
        ValueError: an optimizer of another model; a negative ``every`` or ``step``.
        RunError: the run is finished.
    """
    model, optimizer = _unwrapped(model), _unwrapped_optimizer(optimizer)
    _check(model, optimizer, every, step)
    given = given_run("watch", run)
    unwatch(model)
    leads = _leads()
    if leads:
        training = begin_training(model, type(model).__name__, framework="torch", given=given)
        conclude(training, more_to_come=True)
    else:
        training = Training(silent_run(), owns=True)
    measures = Measures(
        training.run, parameters=parameters, histograms=histograms and leads, on_every_rank=on_every_rank
    )
    every = int(training.run.settings.log_every_n_steps) if every is None else every
    if not (training.run.records or on_every_rank):
        every = 0
    watching = Watch(training, model, optimizer, measures, every, step)
    with shield("torch: parameters"):
        describe(training.run, model, optimizer)
    return watching


@measured
def unwatch(model: torch.nn.Module) -> None:
    """Stop watching a model; its run ends, if ``watch`` opened it. One that is not watched stays as it is.

    Raises:
        TypeError: it is no module.
    """
    _check_module("unwatch", model)
    watching = _watches.get(id(_unwrapped(model)))
    if watching is not None:
        watching.unwatch()


class Watch(Loop):
    """A loop that is being watched, made by :func:`watch`. Leaving its ``with`` block ends it.

    Attributes:
        run: the run that it writes to; the current one inside the ``with`` block.
        step: how many steps the optimizer has made.
    """

    is_one_training = True

    def __init__(
        self,
        training: Training,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        measures: Measures,
        every: int,
        step: int,
    ):
        super().__init__(training)
        self.step = self._first = step
        self._model = weakref.ref(model)
        self._optimizer = weakref.ref(optimizer) if optimizer is not None else None
        self._measures = measures
        self._alerts = Alerts(training.run)
        self._every = every
        self._found: Found | None = None
        self._allowance = Allowance(training.run)
        # Its step, and when the loop went on, without our time.
        self._last_row: tuple[int, float] | None = None
        self._left_out_step: int | None = None  # how many were made before it
        self._is_over = False
        self._thread = threading.current_thread()
        self._leave: Callable[[], None] = lambda: None
        self._handles = self._listen(optimizer)
        self._stop_listening = listen_to_clipping(self.before_clipping)
        _watches[id(model)] = self

    @property
    def run(self) -> Run:
        """The run that it writes to."""
        return self.recording.face

    @measured
    def log(self, metrics: Mapping[str, Any], *, strict: bool = False) -> None:
        """Record values of your own at the step that was made last, see :meth:`autolog.Run.log`.

        Raises:
            TypeError: no mapping; with ``strict`` a value that Trackio does not take.
            RunError: the run is finished.
        """
        self.run.log(metrics, step=self.step, strict=strict)

    @measured
    def unwatch(self, error: BaseException | None = None) -> None:
        """Stop watching. The run ends if ``watch`` opened it: failed or killed, if an error is given."""
        was_over = self._is_over
        self._close()
        self._let_go()
        if not was_over:
            conclude(self.training, error)

    def __enter__(self) -> Watch:
        self._leave = enter(self.recording)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        with shield("torch: the end of a loop"):
            self.unwatch(error)

    # What the loop's end is told by ---------------------------------------------------------------

    def is_abandoned(self) -> bool:
        """Whether the model is gone."""
        return self._model() is None

    def record_the_whole(self) -> None:
        """Say what is missing, and let go of the optimizer."""
        self._is_over = True
        _forget(self)
        self._let_go()
        self._allowance.note("grad_norm")
        if self.step == self._first:
            why = "no step of the optimizer was seen: inside torch.compile or a CUDA graph it tells of none"
            self.recording.note("grad_norm", why)

    def _let_go(self) -> None:
        # An optimizer that another thread uses may be going through its hooks: there ours stay, and sleep.
        if threading.current_thread() is self._thread:
            while self._handles:
                self._handles.pop().remove()

    # The optimizer's steps ------------------------------------------------------------------------

    def _listen(self, optimizer: torch.optim.Optimizer | None) -> list[Any]:
        """Hooks of the optimizer's own; of all optimizers, as long as it is not known which one it is."""
        if optimizer is not None:
            return [
                optimizer.register_step_pre_hook(self._before_step),
                optimizer.register_step_post_hook(self._after_step),
            ]
        return [
            torch_optimizer.register_optimizer_step_pre_hook(self._before_step),
            torch_optimizer.register_optimizer_step_post_hook(self._after_step),
        ]

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or not self._is_mine(optimizer):
            return
        if self._is_due() and not _computes_gradients(args, kwargs):
            with shield("torch: gradients"):
                if skips(optimizer):
                    self._found = None
                else:
                    self._read()

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or not self._is_mine(optimizer):
            return
        is_due = self._is_due()
        if is_due and _computes_gradients(args, kwargs):
            with shield("torch: gradients"):
                self._read()
        self.step += 1
        if is_due:
            with shield("torch: a step"):
                self._record(optimizer)

    def before_clipping(self, gradients: Any) -> None:
        """These are about to be clipped."""
        if self._is_due():
            with shield("torch: gradients before clipping"):
                model = self._model()
                theirs = {id(gradient) for gradient in gradients}
                if model is not None and any(id(p.grad) in theirs for p in model.parameters()):
                    if self._found is not None and not math.isfinite(self._found.whole):
                        self._found = None  # `GradScaler` has skipped that step, and these are new
                    self._read()

    def _is_mine(self, optimizer: Any) -> bool:
        if self._is_over:
            return False
        if self._optimizer is None or self._optimizer() is None:
            with shield("torch: which optimizer"):
                model = self._model()
                if model is not None and _trains(optimizer, model):
                    self._optimizer = weakref.ref(optimizer)
                    describe(self.recording, model, optimizer)
        return self._optimizer is not None and self._optimizer() is optimizer

    def _is_due(self) -> bool:
        """Whether the step that comes is recorded."""
        next_step = self.step + 1
        return self._every > 0 and (next_step % self._every == 0 or self.step == self._first)

    # A row ----------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read the gradients of the step that comes, unless they have been read before they were clipped."""
        model = self._model()
        if model is None or self._left_out_step == self.step or self._has_read(model):
            return
        charge(self.recording)
        # Ranks that decide by their own clocks would wait for each other.
        if not is_sharded(list(model.parameters())) and self._allowance.is_used_up(self.step):
            self._left_out_step = self.step  # also if there is time again after they were clipped
            return
        with self._allowance:
            optimizer = self._optimizer() if self._optimizer is not None else None
            self._found = self._measures.read(model, optimizer, self.step + 1)

    def _has_read(self, model: torch.nn.Module) -> bool:
        """Whether what was read is of these gradients: if the user has skipped a step since, they are new."""
        read = self._found.of() if self._found is not None else None
        return read is not None and any(parameter.grad is read for parameter in model.parameters())

    def _record(self, optimizer: Any) -> None:
        came = time.perf_counter() - self._allowance.spent
        charge(self.recording)
        with self._allowance:
            found, self._found = self._found, None
            row = learning_rates(optimizer)
            if self._last_row is not None:
                last_step, went_on = self._last_row
                row["perf/step_seconds"] = (came - went_on) / (self.step - last_step)
            if found is not None:
                row |= found.row
            self.recording.log(row, step=self.step)
            if found is not None:
                for key, chart in found.pictures.items():
                    self.recording.figure(key, chart, step=self.step)
                self._alerts.look(self.step, found.whole, found.by_module)
        self._last_row = self.step, time.perf_counter() - self._allowance.spent


# Clipping ---------------------------------------------------------------------------------------------


def listen_to_clipping(listener: Callable[[Any], None]) -> Callable[[], None]:
    """Show this function the gradients that torch's own functions are about to clip; returns how to stop."""
    _listeners.append(listener)
    hooked.put_in("torch", HOOKS, "torch")

    def stop() -> None:
        if listener in _listeners:
            _listeners.remove(listener)
        if not _listeners:
            uninstall(HOOKS)

    return stop


def observe_grouping(tensors: Any, args: Any, kwargs: Any, result: Any) -> None:
    """Gradients are about to be clipped: they are being grouped by device."""
    if not torch.compiler.is_compiling():
        for listener in list(_listeners):
            listener(tensors[0])


# Scripts import `clip_grad_norm_` at their top, before anything is watched: a patch of that name would come
# too late. What it and its kin (`clip_grad_value_`, `get_total_norm`) look up in their module with every
# call, before they change anything, does not. Private, so tests/torch/test_norms.py watches it.
HOOKS = [
    Hook(
        "torch.nn.utils.clip_grad",
        "_group_tensors_by_device_and_dtype",
        observe_grouping,
        kind="after",
        records="gradient norms as they were before they were clipped",
    )
]

_listeners: list[Callable[[Any], None]] = []
_watches: dict[int, Watch] = {}


def _forget(watching: Watch) -> None:
    for key in [key for key, other in _watches.items() if other is watching]:
        del _watches[key]
    watching._stop_listening()


# How a loop ends that nobody ends ---------------------------------------------------------------------


@atexit.register
def _at_exit() -> None:
    """What has ended the program has ended its loop. (In a notebook it is the error of any cell before.)"""
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    for watching in list(_watches.values()):
        with shield("torch: the end of the program"):
            watching.unwatch(error)


def _forget_in_child() -> None:
    """The steps that a forked child makes are none of this loop."""
    for watching in _watches.values():
        watching._is_over = True
    _watches.clear()
    _listeners.clear()


forks.when_forked("rooms", in_child=_forget_in_child)


# What is given ----------------------------------------------------------------------------------------


def _check(model: Any, optimizer: Any, every: Any, step: Any) -> None:
    _check_module("watch", model)
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            f"watch: the optimizer is {type(optimizer).__name__}; expected a torch.optim.Optimizer or None. "
            "Write watch(model, optimizer)."
        )
    if optimizer is not None and not _trains(optimizer, model):
        raise ValueError(
            f"watch: this {type(optimizer).__name__} has no parameter of this {type(model).__name__}. "
            "Make it from model.parameters(), after whatever replaces them (fully_shard, a new head)."
        )
    for name, value in (("every", every), ("step", step)):
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise TypeError(f"watch: {name}={value!r}; expected a whole number.")
        if value is not None and value < 0:
            raise ValueError(f"watch: {name}={value}; expected a number that is not negative.")


def _check_module(what: str, model: Any) -> None:
    if not isinstance(model, torch.nn.Module):
        raise TypeError(
            f"{what}: the model is {type(model).__name__}; expected a torch.nn.Module. "
            "Write watch(model, optimizer)."
        )


def _unwrapped(model: Any) -> Any:
    """The user's own module: names of parameters begin there."""
    while True:
        if isinstance(model, torch.nn.parallel.DistributedDataParallel | torch.nn.DataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):  # torch.compile's
            model = model._orig_mod
        else:
            return model


def _unwrapped_optimizer(optimizer: Any) -> Any:
    """The one whose step is made: accelerate's and Lightning's hold it, and have no hooks."""
    while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def _trains(optimizer: Any, model: torch.nn.Module) -> bool:
    parameters = {id(parameter) for parameter in model.parameters()}
    return any(id(p) in parameters for group in optimizer.param_groups for p in group["params"])


def _computes_gradients(args: Any, kwargs: Any) -> bool:
    """Whether the step is given a closure, which computes the gradients inside of it: LBFGS' always is."""
    return callable(kwargs.get("closure", args[1] if len(args) > 1 else None))


def _leads() -> bool:
    """Whether this process records: the first of a distributed training, or the only one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank()) == 0
    return not outlet.is_follower()
