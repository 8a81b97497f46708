"""A loop that is being watched: its models, the optimizers that train them, and a row at their steps.

The step is that of the optimizer that has made most of them: a GAN's discriminator may make five for each
one of its generator's. Gradients are read in the optimizer's hook before its step: they are accumulated, and
unscaled, by then; what clipping changes is read before that (``clipping.py``). The row of a step is written
when every optimizer has made it, or else when the next step begins.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

import torch

from autolog.core.allowance import Allowance
from autolog.core.health import Alerts, norms_row
from autolog.core.recording import Recording
from autolog.core.training import Loop, Training, conclude
from autolog.process.guard import charge, shield
from autolog.torch.clipping import listen_to_clipping
from autolog.torch.kept import Saves, keep_model
from autolog.torch.measures import (
    Found,
    Measures,
    describe_models,
    describe_optimizer,
    is_sharded,
    learning_rates,
    parameters_of,
    seed_that_was_set,
    skips,
)
from autolog.torch.steps import listen_to_all
from autolog.torch.validation import Validation

__all__ = ["Member", "Watched", "free_name", "loop_with", "open_ones", "steps_in"]


class Member:
    """A model of the loop.

    Attributes:
        name: among the loop's models.
        every: steps between two rows; 0: none.
        under: what stands behind ``vitals/grad_norm`` in its keys; known once its first row was written.
        has_given: whether the user has said which optimizers train it.
    """

    def __init__(
        self,
        run: Recording,
        model: torch.nn.Module,
        name: str,
        measures: Measures,
        every: int,
        has_given: bool,
    ):
        self.model = weakref.ref(model)
        self.name = name
        self.measures = measures
        self.every = every
        self.has_given = has_given
        self.under: str | None = None
        self._run = run
        self._alerts: dict[Part, Alerts] = {}

    def ids(self) -> set[int]:
        """Of its parameters."""
        model = self.model()
        return set() if model is None else {id(parameter) for parameter in model.parameters()}

    def alerts(self, part: Part) -> Alerts:
        """What is usual of what an optimizer changes of it."""
        if part not in self._alerts:
            self._alerts[part] = Alerts(self._run)
        return self._alerts[part]


class Part:
    """Parameters that one optimizer trains, or one after the other.

    Attributes:
        ids: of the parameters.
        optimizer: a weak reference to that which made the last step; None: it has not been seen yet.
        steps: how many were made.
        last_row: the step of the last row.
        found: what was read for the step that comes, by model.
        left_out_step: the step of which nothing is read.
        name: what stands behind ``vitals/lr`` in its keys; known once its first row was written.
    """

    def __init__(self, ids: set[int], optimizer: Any, steps: int):
        self.ids = ids
        self.optimizer: weakref.ref[Any] | None = None if optimizer is None else weakref.ref(optimizer)
        self.steps = steps
        self.last_row: int | None = None
        self.found: dict[Member, Found] = {}
        self.left_out_step: int | None = None
        self.name: str | None = None
        self.kind = ""

    def is_alive(self) -> bool:
        """Whether its optimizer is there, or may come."""
        return self.optimizer is None or self.optimizer() is not None

    def is_of(self, optimizer: Any) -> bool:
        return self.optimizer is not None and self.optimizer() is optimizer


class _Made(NamedTuple):
    """A step that was made, and is to be recorded."""

    part: Part
    optimizer: Any
    rates: dict[str, float]
    found: dict[Member, Found]


class Watched(Loop):
    """The loop; its run is the training's.

    Attributes:
        steps: how many were made.
        members: its models.
    """

    is_one_training = True

    def __init__(self, training: Training, step: int):
        super().__init__(training)
        self.steps = self._first = step
        self.members: list[Member] = []
        self._parts: list[Part] = []
        self._allowance = Allowance(training.run)
        self._at = step  # the step of the row that is being put together
        self._row: dict[str, float] = {}
        self._made: list[_Made] = []  # the steps that it is of
        self._unclear: set[int] = set()  # parameters whose gradients were clipped before it was known whose
        # The last row's step, and when the loop went on, without our time.
        self._last_row: tuple[int, float] | None = None
        self._is_over = False
        self._has_told = False  # an optimizer, since `step_by_hand`
        self._stepping: weakref.ref[Any] | None = None
        self._has_read_inside = False  # the gradients, when an optimizer inside of that one made its step
        self._thread = threading.current_thread()
        self._handles: list[Any] = []
        self._stop_hearing_all: Callable[[], None] | None = None
        self._stop_clipping = listen_to_clipping(self.before_clipping)
        self._saves = Saves(self)
        self._validation = Validation(training.run, lambda: self.steps)
        _loops.append(self)

    @property
    def has_stepped(self) -> bool:
        """Whether a step was made."""
        return self.steps > self._first

    @property
    def is_over(self) -> bool:
        """Whether it is watched no more."""
        return self._is_over

    def models(self) -> dict[str, Any]:
        """Those that are still there, by their names."""
        models = {member.name: member.model() for member in self.members}
        return {name: model for name, model in models.items() if model is not None}

    def optimizers(self) -> list[Any]:
        """Those that are known, and still there."""
        known = [part.optimizer() for part in self._parts if part.optimizer is not None]
        return [optimizer for optimizer in known if optimizer is not None]

    # What is watched ------------------------------------------------------------------------------

    def add(
        self,
        models: Mapping[str, torch.nn.Module],
        optimizers: Iterable[torch.optim.Optimizer],
        measures: Callable[[], Measures],
        every: int,
    ) -> list[Member]:
        """More models, and the optimizers that train them; none: those that turn out to."""
        optimizers = list(optimizers)
        taken = {member.name for member in self.members}
        added = []
        for given, model in models.items():
            name = free_name(given, taken)
            taken.add(name)
            added.append(Member(self.recording, model, name, measures(), every, bool(optimizers)))
        self.members += added
        if self.recording.records:
            for model in models.values():
                self._validation.add(model)
        self.add_optimizers(optimizers)
        if not optimizers:
            self._listen(None)
        with shield("torch: parameters"):
            describe_models(self.recording, self.models())
            if (seed := seed_that_was_set()) is not None:
                self.recording.describe({"seed/torch": seed})
        return added

    def add_optimizers(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """More optimizers of its models."""
        for optimizer in optimizers:
            if any(part.is_of(optimizer) for part in self._parts):
                continue
            self._parts.append(Part(parameters_of(optimizer), optimizer, self.steps))
            for one in (optimizer, *held_optimizers(optimizer)):
                self._listen(one)

    def remove(self, members: Iterable[Member], error: BaseException | None) -> None:
        """They are watched no more. With the last one the loop ends: it has failed if there is an error."""
        gone = list(members)
        rest = [member for member in self.members if member not in gone]
        if rest and not self._is_over:
            with shield("torch: the model"):
                self._flush()
                self._keep(gone)
            self.members = rest
            return
        was_over = self._is_over
        self._close()
        self._let_go()
        if not was_over:
            conclude(self.training, error)

    def is_abandoned(self) -> bool:
        """Whether its models are gone."""
        return not self.models()

    def record_the_whole(self) -> None:
        """Say what is missing, keep the models, and let go of the optimizers."""
        with shield("torch: the last row"):
            self._flush()
        self._is_over = True
        steps_in[self.recording] = self.steps
        forget(self)
        self._let_go()
        self._allowance.note("vitals/grad_norm")
        if not self.has_stepped:
            why = (
                "no step of the optimizer was seen: inside torch.compile or a CUDA graph it tells of none, "
                "and a wrapper may not either. Call watch.step() after each one."
            )
            self.recording.note("vitals/grad_norm", why)
        with shield("torch: the model"):
            self._keep(self.members)
        with shield("torch: evaluations"):
            self._validation.record()
        with shield("torch: checkpoints"):
            self._saves.record()

    def _keep(self, members: list[Member]) -> None:
        for member in members:
            model = member.model()
            if model is None:
                self.recording.note("model", "not kept: it was gone when its loop was found to be over")
            elif self.has_stepped:
                keep_model(self.recording, model, member.name)

    def stop_listening(self) -> None:
        """To clipping and saving, which are hooked for all loops together."""
        self._stop_clipping()
        self._saves.stop()
        self._validation.stop()

    def _let_go(self) -> None:
        if self._stop_hearing_all is not None:
            self._stop_hearing_all()
        # An optimizer that another thread uses may be going through its hooks: there ours stay, and sleep.
        if threading.current_thread() is self._thread:
            while self._handles:
                self._handles.pop().remove()

    def sleep(self) -> None:
        """In a forked child: the steps that it makes are none of this loop."""
        self._is_over = True
        _loops.remove(self)

    # The optimizers' steps ------------------------------------------------------------------------

    def _listen(self, optimizer: torch.optim.Optimizer | None) -> None:
        """By hooks of the optimizer's own; of all optimizers, as long as it is not known which ones train."""
        if optimizer is None and self._stop_hearing_all is None:
            self._let_go()  # these are of all, too
            self._stop_hearing_all = listen_to_all(self._before_step, self._after_step)
        elif optimizer is not None and self._stop_hearing_all is None:
            # A wrapper that never calls `Optimizer.__init__` has no hooks: what it makes its steps with has.
            with contextlib.suppress(AttributeError):
                self._handles += [
                    optimizer.register_step_pre_hook(self._before_step),
                    optimizer.register_step_post_hook(self._after_step),
                ]

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling() or self._is_over:
            return
        if self._is_inside(optimizer):
            with shield("torch: gradients"):
                self._read_inside()
            return
        with shield("torch: which optimizer"):
            part = self._part_of(optimizer)
            if part is None:
                return
            self._stepping, self._has_read_inside = weakref.ref(optimizer), False
            self._validation.pause()
            if not self._is_due(part) or _computes_gradients(args, kwargs):
                return
            if skips(optimizer):
                part.found = {}
            else:
                self._read(part)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if self._stepping is None or torch.compiler.is_compiling() or self._stepping() is not optimizer:
            return
        self._stepping = None
        part = next((part for part in self._parts if part.is_of(optimizer)), None)
        if part is not None and not self._is_over:
            self._has_told = True
            reads = _computes_gradients(args, kwargs) and not self._has_read_inside
            self._made_step(part, optimizer, reads=reads)

    def _read_inside(self) -> None:
        """An optimizer that computes gradients has another one apply them: SAM clears them after it."""
        outer = self._stepping() if self._stepping is not None else None
        part = next((part for part in self._parts if part.is_of(outer)), None)
        if part is not None and self._is_due(part) and not self._has_read(part):
            self._read(part)
            self._has_read_inside = bool(part.found)

    def logged(self, metrics: Mapping[str, Any]) -> None:
        """The user has logged something at this step."""
        with shield("torch: an evaluation"):
            self._validation.logged(metrics)

    def step_by_hand(self) -> None:
        """A step was made; nothing happens if an optimizer has told of it."""
        has_told, self._has_told = self._has_told, False
        if has_told or self._is_over:
            return
        if not self._parts:
            self._parts.append(self._unknown_part())
        for part in list(self._parts):
            optimizer = part.optimizer() if part.optimizer is not None else None
            self._made_step(part, optimizer, reads=True)

    def _made_step(self, part: Part, optimizer: Any, *, reads: bool) -> None:
        is_due = self._is_due(part)
        if is_due and reads:
            with shield("torch: gradients"):
                self._read(part)
        part.steps = at = self._step_of(part)
        if at > self.steps:
            if self._made:
                with shield("torch: a step"):
                    self._flush()
            self.steps = at
        if is_due:
            part.last_row = at
            with shield("torch: a step"):
                self._record(part, optimizer)

    def _is_inside(self, optimizer: Any) -> bool:
        """Whether this step is a part of another one: an optimizer that holds it is making its own."""
        stepping = self._stepping() if self._stepping is not None else None
        return stepping is not None and any(optimizer is held for held in held_optimizers(stepping))

    def _part_of(self, optimizer: Any) -> Part | None:
        """What this optimizer trains of the loop's models; None: nothing, or nothing that is watched."""
        for part in self._parts:
            if part.is_of(optimizer):
                return part
        ids = parameters_of(optimizer)
        # What trains the same as another one has taken its place, or makes its steps for it.
        overlapping = next((part for part in self._parts if part.ids & ids), None)
        if overlapping is None:
            if not any(ids & member.ids() for member in self.members if not member.has_given):
                return None
            # One that comes late makes the step that the others have just made.
            steps = (
                max(self._first, self.steps - 1) if any(one.is_alive() for one in self._parts) else self.steps
            )
            part = Part(ids, optimizer, steps)
            if ids & self._unclear:
                part.left_out_step = self._step_of(part)
            self._parts.append(part)
            return part
        part = overlapping
        if part.found and not _reads_the_same(part, ids):
            self._unclear = part.ids
            part.found, part.left_out_step = {}, self._step_of(part)
        part.ids, part.optimizer = ids, weakref.ref(optimizer)
        part.steps = max(part.steps, self.steps) if part.steps > self._first else part.steps
        return part

    def _unknown_part(self) -> Part:
        return Part(set().union(*(member.ids() for member in self.members)), None, self.steps)

    def _step_of(self, part: Part) -> int:
        """At which step this part is when it has made its next."""
        return max(self.steps, part.steps + 1)

    def _members_of(self, part: Part) -> list[Member]:
        return [member for member in self.members if member.ids() & part.ids]

    def _is_due(self, part: Part) -> bool:
        """Whether the step that comes is recorded."""
        every = min((member.every for member in self.members if member.every > 0), default=0)
        return every > 0 and (part.last_row is None or self._step_of(part) // every > part.last_row // every)

    # Gradients ------------------------------------------------------------------------------------

    def before_clipping(self, clipped: Any) -> None:
        """These gradients are about to be clipped."""
        with shield("torch: gradients before clipping"):
            theirs = {id(gradient) for gradient in clipped}
            concerned = {
                id(parameter)
                for model in self.models().values()
                for parameter in model.parameters()
                if id(parameter.grad) in theirs
            }
            if not concerned:
                return
            known = [part for part in self._parts if part.is_alive() and part.ids & concerned]
            if not known:  # their optimizer makes its first step after this
                gone = next((part for part in self._parts if part.ids & concerned), None)
                part = gone or self._unknown_part()
                if gone is None:
                    self._parts.append(part)
                part.ids = self._unknown_part().ids
                known = [part]
            for part in known:
                if self._is_due(part):
                    if not all(found.is_finite for found in part.found.values()):
                        part.found = {}  # `GradScaler` has skipped that step, and these are new
                    self._read(part)

    def _read(self, part: Part) -> None:
        """Read the gradients of the step that comes, unless they have been read before they were clipped."""
        if part.left_out_step == self._step_of(part) or self._has_read(part):
            return
        charge(self.recording)
        of = [member for member in self._members_of(part) if member.every > 0]
        models = [(member, model) for member in of if (model := member.model()) is not None]
        # Ranks that decide by their own clocks would wait for each other.
        is_free = any(is_sharded(list(model.parameters())) for _, model in models)
        if not is_free and self._allowance.is_used_up(self.steps):
            part.left_out_step = self._step_of(part)  # also if there is time again after they were clipped
            return
        optimizer = part.optimizer() if part.optimizer is not None else None
        if optimizer is not None:
            part.ids = parameters_of(optimizer)  # a part that was frozen may have joined
        at = self._step_of(part)
        with self._allowance:
            part.found = {}
            for member, model in models:
                found = member.measures.read(model, part.ids, optimizer, at, self._under(member))
                if found is not None:
                    part.found[member] = found

    def _has_read(self, part: Part) -> bool:
        """Whether what was read is of these gradients: if the user has skipped a step since, they are new."""
        for member, found in part.found.items():
            model, read = member.model(), found.of()
            if model is not None and read is not None and any(p.grad is read for p in model.parameters()):
                return True
        return False

    # A row ----------------------------------------------------------------------------------------

    def _record(self, part: Part, optimizer: Any) -> None:
        came = time.perf_counter() - self._allowance.spent
        charge(self.recording)
        with self._allowance:
            if not self._made:
                self._at = self.steps
                if self._last_row is not None and self._last_row[0] < self._at:
                    last_step, went_on = self._last_row
                    self._row["vitals/step_seconds"] = (came - went_on) / (self._at - last_step)
            # The rates of now: a schedule may change them before the row is written.
            rates = _rates(optimizer) if optimizer is not None else {}
            self._made.append(_Made(part, optimizer, rates, part.found))
            part.found = {}
            if self._is_complete():
                self._flush()
        self._last_row = self._at, time.perf_counter() - self._allowance.spent

    def _is_complete(self) -> bool:
        """Whether nothing more can come at this step: every optimizer has made it, and all are known."""
        made = [one.part for one in self._made]
        if not all(part in made or not part.is_alive() for part in self._parts):
            return False
        ids = set().union(*(part.ids for part in self._parts))
        unsaid = [m.model() for m in self.members if not m.has_given]
        return all(
            id(p) in ids
            for model in unsaid
            if model is not None
            for p in model.parameters()
            if p.requires_grad
        )

    def _flush(self) -> None:
        """Write the row of the last step that was recorded."""
        row, self._row = self._row, {}
        made, self._made, self._unclear = self._made, [], set()
        for one in made:
            if one.optimizer is not None:
                self._describe(one.part, one.optimizer)
                row |= {key.replace("lr", f"lr{one.part.name}", 1): rate for key, rate in one.rates.items()}
        for member in self.members:
            row |= self._norms(member, {one.part: one.found[member] for one in made if member in one.found})
        if row:
            self.recording.log(row, step=self._at)
        for one in made:
            for found in one.found.values():
                for key, chart in found.pictures.items():
                    self.recording.figure(key, chart, step=self._at)

    def _norms(self, member: Member, found: dict[Part, Found]) -> dict[str, float]:
        """Of one model: of what each optimizer has changed, and of all if all have made this step."""
        if not found:
            return {}
        run, under, row = self.recording, self._under(member), {}
        parts = [part for part in self._parts if part.is_alive() and member in self._members_of(part)]
        are_all = all(part in found for part in parts)
        # What two optimizers change has two gradients at this step, and no norm of its own.
        are_apart = sum(len(part.ids) for part in found) == len(set().union(*(part.ids for part in found)))
        for kind in ("grad", "param"):
            by_module: defaultdict[str, float] = defaultdict(float)
            for part, one in found.items():
                norms = one.norms.get(kind, {})
                for module, norm in norms.items():
                    by_module[module] = math.hypot(by_module[module], norm)
                if not norms:
                    continue
                of_part = math.hypot(*norms.values())
                if len(parts) > 1:
                    row[f"vitals/{kind}_norm{under}/{self._kind(part)}"] = of_part
                if kind == "grad":
                    member.alerts(part).look(self._at, of_part, norms)
            if by_module and are_apart:
                whole = math.hypot(*by_module.values())
                row |= norms_row(run, whole, by_module, key=f"vitals/{kind}_norm{under}")
                if not are_all:
                    del row[f"vitals/{kind}_norm{under}"]
        return row

    # Names ----------------------------------------------------------------------------------------

    def _under(self, member: Member) -> str:
        if member.under is None:
            member.under = f"/{member.name}" if len(self.members) > 1 else ""
        return member.under

    def _kind(self, part: Part) -> str:
        if not part.kind:
            optimizer = part.optimizer() if part.optimizer is not None else None
            part.kind = f"{type(optimizer).__name__}-{self._parts.index(part)}"
        return part.kind

    def _describe(self, part: Part, optimizer: Any) -> None:
        """Name an optimizer, and put its settings into the config, at its first row."""
        if part.name is not None:
            return
        of = self._members_of(part)
        others = [other for other in self._parts if other is not part]
        if not others and len(of) == len(self.members):
            part.name = ""
        elif len(of) == 1 < len(self.members) and not any(of[0] in self._members_of(one) for one in others):
            part.name = f"/{of[0].name}"
        else:
            part.name = f"/{self._kind(part)}"
        with shield("torch: parameters"):
            describe_optimizer(self.recording, optimizer, part.name.removeprefix("/"))
            kinds = dict.fromkeys(type(one).__name__ for one in self.optimizers())
            self.recording.describe({"optimizer": ", ".join(kinds)})


def held_optimizers(optimizer: Any) -> list[Any]:
    """Those that an optimizer makes its steps with: SAM, Lookahead, Muon beside AdamW."""
    found = []
    for held in vars(optimizer).values():
        several = held.values() if isinstance(held, dict) else held
        for one in several if isinstance(held, (list, tuple, dict)) else (held,):
            if isinstance(one, torch.optim.Optimizer) and one is not optimizer:
                found.append(one)
    return found


def _rates(optimizer: Any) -> dict[str, float]:
    """Its learning rates; those of what it makes its steps with, where it has none itself."""
    if rates := learning_rates(optimizer):
        return rates
    held = held_optimizers(optimizer)
    if len(held) == 1:
        return learning_rates(held[0])
    return {
        key.replace("lr", f"lr/{type(one).__name__}-{place}", 1): rate
        for place, one in enumerate(held)
        for key, rate in learning_rates(one).items()
    }


def _reads_the_same(part: Part, ids: set[int]) -> bool:
    """Whether what was read for an unknown optimizer is what this one changes."""
    for member in part.found:
        model = member.model()
        if model is not None and any(p.grad is not None and id(p) not in ids for p in model.parameters()):
            return False
    return True


def _computes_gradients(args: Any, kwargs: Any) -> bool:
    """Whether the step is given a closure, which computes the gradients inside of it: LBFGS' always is."""
    return callable(kwargs.get("closure", args[1] if len(args) > 1 else None))


def free_name(name: str, taken: Container[str]) -> str:
    """This name, or with the first number that nobody has."""
    numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in numbered if one not in taken)


# All loops ------------------------------------------------------------------------------------------

_loops: list[Watched] = []
# How many steps the last loop in a run has made: what is watched next in it goes on from there.
steps_in: weakref.WeakKeyDictionary[Recording, int] = weakref.WeakKeyDictionary()


def open_ones() -> list[Watched]:
    """The loops that are watched."""
    return list(_loops)


def loop_with(model: Any) -> Watched | None:
    """The loop that this model is in."""
    return next((loop for loop in _loops if any(m.model() is model for m in loop.members)), None)


def forget(loop: Watched) -> None:
    """It is watched no more."""
    if loop in _loops:
        _loops.remove(loop)
    loop.stop_listening()
