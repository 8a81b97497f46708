"""Watching the optimizer's steps of a loop: what a user calls, and which run it is."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import torch

from autolog.capture.titles import short_class, title
from autolog.core import outlet
from autolog.core.current import open_here
from autolog.core.opening import given_run, silent_run
from autolog.core.placing import begin_training
from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.core.training import Training, bind_run, conclude, loop_of
from autolog.core.watching import WatchHandle, check_numbers, error_of_the_program
from autolog.process import forks
from autolog.process.guard import measured, shield
from autolog.torch.measures import Measures, learning_rates, parameters_of
from autolog.torch.watched import Member, Watched, free_name, loop_with, open_ones, steps_in

__all__ = ["Watch", "unwatch", "watch"]

Models: TypeAlias = torch.nn.Module | Iterable[torch.nn.Module] | Mapping[str, torch.nn.Module]
Optimizers: TypeAlias = torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None


@measured
def watch(
    model: Models,
    optimizer: Optimizers = None,
    *,
    run: Run | None = None,
    every: int | None = None,
    step: int | None = None,
    parameters: bool = False,
    histograms: bool = False,
    on_every_rank: bool = False,
) -> Watch:
    """Record a training loop of your own, at the steps of its optimizer. Watching a model again begins anew.

    Several models that are trained together are one run: ``watch([G, D], [g_optimizer, d_optimizer])`` or
    ``watch({"generator": G, "critic": D})``. Then each key bears the name of its model:
    ``vitals/grad_norm/generator``, ``vitals/lr/critic``. So it is, too, if one is watched while another
    one is, before its first step, or with the same ``run=``. Several optimizers of one model have a key each:
    ``vitals/lr/SGD-0``.

    Args:
        model: what is trained, or several; wrapped by ``DistributedDataParallel`` or ``torch.compile`` as
            well. Without names they are called after their classes.
        optimizer: what trains it, or several. None: all with parameters of the model that make a step.
        run: the run to write to. None: the one that is open, else a new one, which ends with ``unwatch``,
            ``autolog.finish()``, the model's life or the program.
        every: steps between two rows, beside the first step; 0: no rows. None: as in
            ``Settings.log_every_n_steps``.
        step: steps made before, when a training is resumed. None: none, or those that were watched in ``run``
            before.
        parameters: whether the norms of the parameters are recorded too, as ``vitals/param_norm``.
        histograms: whether histograms of gradients and parameters are drawn per module, at the first, second,
            fourth, eighth ... row.
        on_every_rank: promise that every process of a distributed training calls ``watch``. Norms of sharded
            parameters (FSDP 2, tensor parallelism) need all of them; without it they are left out.

    Returns:
        What is watching; a context manager, too. Only rank zero of a distributed training records.

    Raises:
        TypeError: an argument of a wrong kind.
        ValueError: an optimizer of another model; no model; a negative ``every`` or ``step``.
        RunError: the run is finished.
    """
    models, optimizers = _models(model), _optimizers(optimizer)
    _check(models, optimizers, every, step)
    given = given_run("watch", run)
    leads = _leads()
    loop = _going_on(models, optimizers, given)
    if loop is None:
        for one in models.values():
            unwatch(one)
        loop = Watched(_begin(models, optimizers, given, leads), _steps_before(step, given))
    recording = loop.recording
    measures = functools.partial(
        Measures,
        recording,
        parameters=parameters,
        histograms=histograms and leads,
        on_every_rank=on_every_rank,
    )
    every = int(recording.settings.log_every_n_steps) if every is None else every
    if not (recording.records or on_every_rank):
        every = 0
    new = {name: one for name, one in models.items() if loop_with(one) is not loop}
    if not new:
        loop.add_optimizers(optimizers)
    members = loop.add(new, optimizers, measures, every) if new else []
    for one in new.values():
        bind_run(one, recording)
    return Watch(loop, members)


@measured
def unwatch(model: Models) -> None:
    """Stop watching a model; its run ends, if ``watch`` opened it. One that is not watched stays as it is.

    Of several that are watched together, all end.

    Raises:
        TypeError: it is no module.
    """
    for one in _models(model, "unwatch").values():
        if (loop := loop_with(one)) is not None:
            loop.remove(loop.members, None)


class Watch(WatchHandle):
    """A loop that is being watched, made by :func:`watch`. Leaving its ``with`` block ends it.

    Attributes:
        run: the run that it writes to; the current one inside the ``with`` block.
        steps: how many steps were made. Of several optimizers, of the one that has made most.
    """

    def __init__(self, loop: Watched, members: list[Member]):
        self._loop = loop
        self._members = members

    @property
    def recording(self) -> Recording:
        """The run, as we write it."""
        return self._loop.recording

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return self._loop.steps

    @measured
    def log(self, metrics: Mapping[str, Any], *, strict: bool = False) -> None:
        """Record values of your own at the step that was made last, see :meth:`autolog.Run.log`.

        ``val/loss`` and the like may say which data was evaluated before, see ``validation.py``.

        Raises:
            TypeError: no mapping; with ``strict`` a value that Trackio does not take.
            RunError: the run is finished.
        """
        super().log(metrics, strict=strict)
        self._loop.logged(metrics)

    @measured
    def step(self) -> None:
        """Say that a step was made of which no optimizer tells: inside ``torch.compile``, or by a wrapper.

        Call it once after each one. Where an optimizer has told of the step, nothing happens.
        """
        with shield("torch: a step"):
            self._loop.step_by_hand()

    @measured
    def evaluate(
        self, y_true: Any, scores: Any, *, name: str | None = None, classes: Iterable[str] | None = None
    ) -> Mapping[str, float]:
        """Evaluate predictions at the step that was made last: metrics, confusion matrix, tables, pictures.

        >>> watch.evaluate(y_val, model(X_val))

        Args:
            y_true: the truth: a tensor, an array, or a list of those of batches. Whole numbers are classes,
                in shape (n,), or 0 and 1 for labels, in shape (n, labels); floats are amounts.
            scores: what the model says, alike: logits or probabilities in shape (n, classes), or (n,) of two
                classes; classes; or amounts.
            name: of the data. None: that of an :func:`autolog.evaluation` around, else ``val``.
            classes: their names, in the order of the scores.

        Returns:
            The metrics by their keys without the name of the data, see docs/keys.md. None of them if no score
            is finite; then a note says so.

        Raises:
            TypeError: neither tensors nor arrays.
            ValueError: truth and scores do not go together.
            RunError: the run is finished.
        """
        from autolog.torch.evaluation import evaluate_given

        given_run("evaluate", self.run)
        names = None if classes is None else [str(one) for one in classes]
        return evaluate_given(self.recording, y_true, scores, name, names, step=self.steps)

    @measured
    def unwatch(self, error: BaseException | None = None) -> None:
        """Stop watching. The run ends if ``watch`` opened it: failed or killed, if an error is given."""
        self._loop.remove(self._members, error)


# Which run --------------------------------------------------------------------------------------------


def _going_on(
    models: Mapping[str, Any], optimizers: list[torch.optim.Optimizer], given: Recording | None
) -> Watched | None:
    """The loop that these are a part of; None: they are one of their own."""
    here = {id(loop): loop for one in models.values() if (loop := loop_with(one)) is not None}
    for loop in here.values():
        ours = set().union(*(parameters_of(known) for known in loop.optimizers()))
        # A second optimizer, for the rest of the model. One for the same is the loop once more, from its top.
        are_more = optimizers and ours and all(ours.isdisjoint(parameters_of(one)) for one in optimizers)
        if are_more and given in (None, loop.recording):
            return loop
    if here:
        return None
    around = loop_of(given if given is not None else open_here())
    if not isinstance(around, Watched) or around.is_over:
        return None
    # Unless the user says so: once steps were made it is no part of the loop, but a training inside of it.
    return around if given is not None or not around.has_stepped else None


def _begin(
    models: Mapping[str, Any], optimizers: Iterable[Any], given: Recording | None, leads: bool
) -> Training:
    if not leads:
        return Training(silent_run(), owns=True)
    if given is not None and given in steps_in:  # that what it is watched in is written to it, was said
        return Training(given, owns=False)
    first = next(iter(models.values()))
    name = "-".join(dict.fromkeys(short_class(type(one).__name__) for one in models.values()))
    with shield("torch: a run's name"):
        rates = [learning_rates(one) for one in optimizers]
        name = title(name, rates[0] if len(rates) == 1 else {})
    training = begin_training(first, name, framework="torch", given=given)
    conclude(training, more_to_come=True)
    return training


def _steps_before(step: int | None, given: Recording | None) -> int:
    if step is not None:
        return step
    return steps_in.get(given, 0) if given is not None else 0


# How a loop ends that nobody ends ---------------------------------------------------------------------


@atexit.register
def _at_exit() -> None:
    for loop in open_ones():
        with shield("torch: the end of the program"):
            loop.remove(loop.members, error_of_the_program())


def _forget_in_child() -> None:
    """The steps that a forked child makes are none of this loop."""
    for loop in open_ones():
        loop.sleep()


forks.when_forked("rooms", in_child=_forget_in_child)


# What is given ----------------------------------------------------------------------------------------


def _models(given: Any, what: str = "watch") -> dict[str, torch.nn.Module]:
    """The models by their names."""
    several: Any = given
    if isinstance(given, Mapping):
        named = {str(name): one for name, one in given.items()}
    else:
        if isinstance(given, torch.nn.Module) or not isinstance(given, Iterable) or isinstance(given, str):
            several = [given]
        named = {}
        for one in several:
            name = type(_unwrapped(one)).__name__
            if not any(one is known for known in named.values()):
                named[free_name(name, named)] = one
    for one in named.values():
        if not isinstance(one, torch.nn.Module):
            raise TypeError(
                f"{what}: the model is {type(one).__name__}; expected a torch.nn.Module, or several. "
                "Write watch(model, optimizer)."
            )
    if not named:
        raise ValueError(f"{what}: no model was given. Write watch(model, optimizer).")
    return {name: _unwrapped(one) for name, one in named.items()}


def _optimizers(given: Any) -> list[torch.optim.Optimizer]:
    if given is None:
        return []
    several = given.values() if isinstance(given, Mapping) else given
    several = [given] if isinstance(given, str) or not isinstance(several, Iterable) else list(several)
    for one in several:
        if not isinstance(one, torch.optim.Optimizer):
            raise TypeError(
                f"watch: the optimizer is {type(one).__name__}; expected a torch.optim.Optimizer, several, "
                "or None. Write watch(model, optimizer)."
            )
    return [_unwrapped_optimizer(one) for one in several]


def _check(models: Mapping[str, Any], optimizers: list[torch.optim.Optimizer], every: Any, step: Any) -> None:
    ids = {id(parameter) for model in models.values() for parameter in model.parameters()}
    for optimizer in optimizers:
        if not ids & parameters_of(optimizer):
            raise ValueError(
                f"watch: this {type(optimizer).__name__} has no parameter of this "
                f"{' or '.join(type(model).__name__ for model in models.values())}. "
                "Make it from model.parameters(), after whatever replaces them (fully_shard, a new head)."
            )
    check_numbers(every, step)


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


def _leads() -> bool:
    """Whether this process records: the first of a distributed training, or the only one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return int(torch.distributed.get_rank()) == 0
    return not outlet.is_follower()
