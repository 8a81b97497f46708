"""The optimizers of a model: which ones train it, how many steps they have made, and at which rate.

A model may have others than the compiled one: those of a GAN are attributes, and its ``train_step`` applies
them. Which ones train it is seen where gradients are applied; of a compiled step while it is traced.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import keras

from autolog.core.recording import Recording
from autolog.keras.described import short

__all__ = [
    "Listener",
    "Optimizers",
    "inner",
    "observe_apply",
    "observe_clipping",
    "optimizers_of",
    "rate_of_step",
    "steps_of",
]


class Listener(Protocol):
    """Who wants to see what is applied to a model."""

    def before_clipping(self, optimizer: Any, gradients: list[Any]) -> None:
        """Accumulated and unscaled gradients, of whichever model, are about to be clipped."""

    def applied(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        """An optimizer has applied gradients to variables of the model; or accumulated them."""


def inner(optimizer: Any) -> Any:
    """The optimizer itself: one that scales the loss stands around it."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def optimizers_of(model: Any) -> dict[str, Any]:
    """The optimizers among a model's attributes, each once. The compiled one is called ``optimizer``."""
    found: dict[str, Any] = {}
    for name, value in _named(vars(model)):
        if isinstance(value, keras.optimizers.Optimizer) and not any(value is one for one in found.values()):
            found[name] = value
    return found


def _named(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Attributes, and what lists and mappings among them hold. What TensorFlow keeps there has such names."""
    for name, value in list(attributes.items()):
        if name.startswith("_self_"):
            continue
        yield name, value
        if isinstance(value, Mapping):
            yield from ((f"{name}/{key}", part) for key, part in value.items())
        elif isinstance(value, (list, tuple)) and len(value) < MOST_PARTS:
            yield from ((f"{name}/{place}", part) for place, part in enumerate(value))


LATEST = 3  # steps whose rates are held
MOST_PARTS = 20  # of a list among whose parts optimizers are looked for


def steps_of(model: Any) -> int:
    """How many batches its optimizers have been given, without those that mixed precision has skipped."""
    optimizers = [inner(one) for one in optimizers_of(model).values()]
    return max((int(one._iterations) for one in optimizers if hasattr(one, "_iterations")), default=0)


class Optimizers:
    """Those of one training, from :meth:`begin` to :meth:`end`.

    Args:
        listener: is shown what they apply.
    """

    def __init__(self, model: Any, run: Recording, listener: Listener | None = None):
        self._reference = weakref.ref(model)
        self._run = run
        self._listener = listener
        self._thread = threading.get_ident()
        self._variables: set[int] = set()
        self._are_mine: weakref.WeakKeyDictionary[Any, bool] = weakref.WeakKeyDictionary()
        # A step that was compiled for an earlier training is traced no more.
        for reference in _seen.get(model, ()):
            if (optimizer := reference()) is not None:
                self._are_mine[optimizer] = True
        # Rates of the latest steps, by optimizer, on their device. Keras may begin a step without data.
        self._held: dict[int, dict[int, Any]] = {}
        self._known_at: dict[int, tuple[int, int]] = {}  # a batch of this epoch, and the iterations by then

    @property
    def _model(self) -> Any:
        return self._reference()

    def begin(self) -> None:
        """Steps come."""
        # What torch compiles would look at whoever listens.
        if not (keras.backend.backend() == "torch" and getattr(self._model, "jit_compile", False) is True):
            _listening.append(self)

    def end(self) -> None:
        """No more of them come."""
        if self in _listening:
            _listening.remove(self)

    # Which ones train the model --------------------------------------------------------------------

    def in_use(self) -> dict[str, Any]:
        """Those that train the model, by their names: as far as it is known, the compiled one before."""
        names = {id(inner(one)): name for name, one in optimizers_of(self._model).items()}
        mine = [one for one, is_mine in list(self._are_mine.items()) if is_mine]
        if not mine:
            compiled = getattr(self._model, "optimizer", None)
            mine = [] if compiled is None else [inner(compiled)]
        return {names.get(id(one), one.name): one for one in mine}

    def before_clipping(self, optimizer: Any, gradients: list[Any]) -> None:
        """See :class:`Listener`."""
        if self._listener is not None and threading.get_ident() == self._thread:
            self._listener.before_clipping(optimizer, gradients)

    def applied(self, optimizer: Any, gradients: Any, variables: Any) -> None:
        """An optimizer has applied gradients, to whichever model's variables."""
        is_mine = self._are_mine.get(optimizer)
        if is_mine is None:
            self._variables = self._variables or {id(v) for v in self._model.trainable_variables}
            given = variables if variables is not None else optimizer._trainable_variables
            is_mine = self._are_mine[optimizer] = any(id(v) in self._variables for v in given)
            if is_mine:
                _seen.setdefault(self._model, []).append(weakref.ref(optimizer))
        if is_mine and self._listener is not None and threading.get_ident() == self._thread:
            given = list(variables if variables is not None else optimizer._trainable_variables)
            self._listener.applied(optimizer, list(gradients), given)

    # Their rates -----------------------------------------------------------------------------------

    def hold_rates(self, step: int, batch: int, at_once: int = 1) -> None:
        """Keep the rates of the step that comes, this batch of its epoch: by its end they may be others.

        On JAX a model's state is not at hand amid an epoch, unless somebody has asked for it; then nobody can
        have changed it either.
        """
        candidates = {id(inner(one)): inner(one) for one in optimizers_of(self._model).values()}
        candidates |= {id(one): one for one in self._are_mine}
        is_at_hand = getattr(self._model, "_jax_state_synced", True)
        latest = next(reversed(self._held.values()), {})
        held = self._held[step] = {}
        while len(self._held) > LATEST:
            del self._held[next(iter(self._held))]
        for key, optimizer in candidates.items():
            rate = _rate(optimizer)
            if _is_schedule(rate):
                if is_at_hand:
                    self._known_at[key] = batch, int(optimizer._iterations)
                elif key not in self._known_at or self._skips():
                    continue
                known_batch, iterations = self._known_at[key]
                iterations += batch - known_batch + at_once - 1
                held[key] = rate(keras.ops.convert_to_tensor(iterations))
            elif _is_variable(rate):
                if is_at_hand:
                    held[key] = keras.ops.copy(rate.value)
                elif key in latest:
                    held[key] = latest[key]
            elif not callable(rate):
                held[key] = rate

    def hold_last_rates(self, step: int) -> None:
        """Of the step that was made last, unforeseen: a schedule tells them, else they are the latest."""
        self._held[step] = dict(next(reversed(self._held.values()), {}))
        for optimizer in self.in_use().values():
            if _is_schedule(rate := _rate(optimizer)):
                last = max(int(optimizer._iterations) - 1, 0)
                self._held[step][id(optimizer)] = rate(keras.ops.convert_to_tensor(last))

    def has_rates(self, step: int) -> bool:
        """Whether those of this step are held."""
        return step in self._held

    def rates(self, step: int) -> dict[str, float]:
        """``vitals/lr``, or ``vitals/lr/<optimizer>`` of several that train it: of a step that was held."""
        in_use, row = self.in_use(), {}
        held = self._held.get(step, {})
        for name, optimizer in in_use.items():
            if id(optimizer) in held:
                value = keras.ops.convert_to_numpy(held[id(optimizer)])
                row["vitals/lr" if len(in_use) == 1 else f"vitals/lr/{name}"] = short(value)
            elif callable(rate := _rate(optimizer)) and not _is_schedule(rate):
                why = "not recorded: it is a function of yours, which is not called once more"
                self._run.note("vitals/lr", why)
        return row

    def _skips(self) -> bool:
        """Whether an optimizer may leave steps out, so that batches do not tell how many it has made."""
        return any(inner(one) is not one for one in optimizers_of(self._model).values())


def rate_of_step(optimizer: Any, made: int) -> Any:
    """The rate of the step after so many; None: a function of the user's tells it, which is not called."""
    rate = _rate(optimizer)
    if _is_schedule(rate):
        # A stateless one, as of JAX, counts elsewhere.
        made = max(int(optimizer._iterations) - 1, made)
        return keras.ops.convert_to_numpy(rate(keras.ops.convert_to_tensor(made)))
    if callable(rate) and not _is_variable(rate):
        return None
    return None if rate is None else keras.ops.convert_to_numpy(rate)


def _rate(optimizer: Any) -> Any:
    """As it was given: to ask for ``learning_rate`` would call a function of the user's."""
    return getattr(optimizer, "_learning_rate", None)


def _is_variable(rate: Any) -> bool:
    """(Of which class differs by version; and to ask for its value may fail amid an epoch on JAX.)"""
    return isinstance(getattr(type(rate), "value", None), property)


def _is_schedule(rate: Any) -> bool:
    return isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)


# What Keras' optimizers are given ---------------------------------------------------------------------

_listening: list[Optimizers] = []
_seen: weakref.WeakKeyDictionary[Any, list[weakref.ref[Any]]] = weakref.WeakKeyDictionary()


def observe_clipping(optimizer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Gradients have been clipped, or would have been: the ones that were given are as they were."""
    for one in tuple(_listening):
        one.before_clipping(optimizer, args[0] if args else kwargs["grads"])


def observe_apply(optimizer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """An optimizer has applied gradients. One that scales the loss hands them on to another."""
    for one in tuple(_listening):
        gradients = args[0] if args else kwargs["grads"]
        one.applied(optimizer, gradients, args[1] if len(args) > 1 else kwargs.get("trainable_variables"))
