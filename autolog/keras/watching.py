"""A training loop of one's own in Keras, on any backend, watched where its optimizer applies gradients.

A step that is compiled (``jax.jit``, ``tf.function``) applies them while it is traced, once; what it does
after that nobody sees. There the loop says its steps itself, and the gradients if it has them.
"""

from __future__ import annotations

import atexit
import math
import sys
import time
import weakref
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from autolog.core import catalogue
from autolog.core.allowance import Allowance
from autolog.core.evaluations import name_of, say_main
from autolog.core.health import Alerts, norms_row
from autolog.core.opening import given_run
from autolog.core.placing import begin_training
from autolog.core.results import record_evaluation
from autolog.core.run import Run
from autolog.core.training import Loop, Training, conclude
from autolog.core.watching import WatchHandle, check_numbers, error_of_the_program
from autolog.keras.described import plain, short, title_of
from autolog.keras.models import record_model, record_summary
from autolog.keras.optimizers import Optimizers, inner, rate_of_step
from autolog.keras.tasks import LeftOut, Task
from autolog.process import forks
from autolog.process.guard import charge, measured, shield

__all__ = ["Watch", "watch"]


@measured
def watch(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer | None = None,
    *,
    run: Run | None = None,
    every: int | None = None,
    step: int = 0,
) -> Watch:
    """Record a training loop of your own, at the steps of its optimizer.

    >>> with autolog.keras.watch(model, optimizer) as watch:
    ...     for x, y in data:
    ...         loss = train_step(x, y)
    ...         watch.step()  # needed on JAX and TensorFlow, if the step is compiled; else it does nothing
    ...         watch.log({"train/loss": loss})

    Args:
        model: what is trained.
        optimizer: what trains it. None: each that applies gradients to its variables.
        run: the run to write to. None: the one that is open, else a new one, which ends with the ``with``
            block, ``unwatch()``, ``autolog.finish()``, the model's life or the program.
        every: steps between two rows, beside the first step; 0: no rows. None: as in
            ``Settings.log_every_n_steps``.
        step: steps made before, when a training is resumed.

    Raises:
        TypeError: an argument of a wrong kind.
        ValueError: a negative ``every`` or ``step``.
        RunError: the run is finished.
    """
    _check(model, optimizer, every, step)
    given = given_run("watch", run)
    catalogue.arm("keras")
    for other in list(_watches):
        if other.is_of(model):
            other.unwatch()
    training = begin_training(model, title_of(model), framework="keras", given=given)
    conclude(training, more_to_come=True)
    return Watch(training, model, optimizer, every, step)


class Watch(Loop, WatchHandle):
    """A loop that is being watched, made by :func:`watch`. Leaving its ``with`` block ends it.

    Attributes:
        run: the run that it writes to; the current one inside the ``with`` block.
        steps: how many steps were made.
    """

    is_one_training = True

    def __init__(self, training: Training, model: Any, optimizer: Any, every: int | None, step: int):
        super().__init__(training)
        run = training.run
        self._steps = self._first = step
        self._model = weakref.ref(model)
        self._name = model.name
        self._given = None if optimizer is None else weakref.ref(inner(optimizer))
        self._every = int(run.settings.log_every_n_steps) if every is None else every
        self._made: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # steps, by optimizer
        self._has_told = False
        self._is_over = False
        self._last_row: tuple[int, float] | None = None
        self._alerts, self._allowance = Alerts(run), Allowance(run)
        self._optimizers = Optimizers(model, run, self)
        self._optimizers.begin()
        with shield("Keras: parameters"):
            config = {"framework": "keras", "framework/version": keras.__version__}
            run.describe(
                {**config, "framework/backend": keras.backend.backend(), "model": type(model).__name__}
            )
            if optimizer is not None:
                self._describe(inner(optimizer))
        _watches.append(self)

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return self._steps

    def is_of(self, model: Any) -> bool:
        """Whether it is this model that is watched."""
        return self._model() is model

    @measured
    def step(self, gradients: Iterable[Any] | None = None) -> None:
        """Say that a step was made which nobody has seen: a compiled one. Else nothing happens.

        Args:
            gradients: of the model's trainable variables, in their order, if you have them.
        """
        has_told, self._has_told = self._has_told, False
        model = self._model()
        if has_told or self._is_over or model is None:
            return
        with shield("Keras: a step"):
            optimizer = self._given() if self._given is not None else getattr(model, "optimizer", None)
            values = None if gradients is None else list(gradients)
            self._step(None if optimizer is None else inner(optimizer), values, model.trainable_variables)

    @measured
    def evaluate(
        self,
        y_true: Any,
        scores: Any,
        *,
        name: str | None = None,
        classes: Iterable[str] | None = None,
        loss: Any = None,
    ) -> Mapping[str, float]:
        """Evaluate predictions at the step that was made last: metrics, confusion matrix, tables, pictures.

        >>> watch.evaluate(y_val, model(x_val))

        Args:
            y_true: the truth, shape (n, ...).
            scores: what the model says, shape (n, classes), (n, 1) or (n, ...).
            name: of the data. None: that of an :func:`autolog.evaluation` around, else ``val``.
            classes: their names, in the order of the scores.
            loss: Keras' loss, or its name: it tells what the scores are, and what does not count.

        Returns:
            The metrics by their keys without the name of the data, see docs/keys.md.

        Raises:
            ValueError: truth and scores do not go together, or nothing says what they are.
            RunError: the run is finished.
        """
        named, host = name_of(name), keras.ops.convert_to_numpy
        given_run("evaluate", self.run)
        known = loss if loss is None or isinstance(loss, keras.losses.Loss) else keras.losses.get(loss)
        names = None if classes is None else [str(one) for one in classes]
        try:
            result = Task(known, [], named.text, {}).evaluate(host(y_true), host(scores), None, names)
        except (LeftOut, ValueError) as error:
            hint = "" if loss is not None else " Give loss=..., which tells what the scores are."
            raise ValueError(f"evaluate: {error}.{hint}") from None
        record_evaluation(self.recording, named.text, result, step=self.steps)
        say_main(self.recording, named)
        return result.metrics

    @measured
    def unwatch(self, error: BaseException | None = None) -> None:
        """Stop watching. The run ends if ``watch`` opened it: failed or killed, if an error is given."""
        was_over = self._is_over
        self._close()
        if not was_over:
            conclude(self.training, error)

    # What the loop's end is told by ---------------------------------------------------------------

    def is_abandoned(self) -> bool:
        """Whether the model is gone."""
        return self._model() is None

    def record_the_whole(self) -> None:
        """Say what is missing, and keep the model."""
        self.sleep()
        self._allowance.note("vitals/grad_norm")
        run, model = self.recording, self._model()
        if self.steps == self._first:
            why = "no step was seen: a compiled one applies gradients where nobody sees it. Call watch.step()"
            run.note("vitals/grad_norm", why)
        if model is None:
            run.note("model", "not kept: it was gone when its loop was found to be over")
        elif self.steps > self._first and model.built:
            with shield("Keras: model"):
                record_summary(run, model)
                record_model(run, model)

    def sleep(self) -> None:
        """Steps that come are none of this loop."""
        self._is_over = True
        self._optimizers.end()
        if self in _watches:
            _watches.remove(self)

    # Steps ----------------------------------------------------------------------------------------

    def before_clipping(self, optimizer: Any, gradients: list[Any]) -> None:
        """What is applied is seen as it was before."""

    def applied(self, optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
        """An optimizer has applied gradients to the model, or traces how it will."""
        optimizer = inner(optimizer)
        if self._is_over or (self._given is not None and self._given() is not optimizer):
            return
        if any(_is_traced(gradient) for gradient in gradients):
            self._made.setdefault(optimizer, 0)  # known from now on
            return
        self._has_told = True
        with shield("Keras: a step"):
            self._step(optimizer, gradients, variables)

    def _step(self, optimizer: Any, gradients: list[Any] | None, variables: list[Any]) -> None:
        made = 1 + (self._made.get(optimizer, 0) if optimizer is not None else self.steps - self._first)
        is_new = optimizer is not None and optimizer not in self._made
        if optimizer is not None:
            self._made[optimizer] = made
        self._steps = max(self._steps, self._first + made)
        is_due = self._every > 0 and (made == 1 or self.steps % self._every == 0)
        if not is_due:
            return
        came = time.perf_counter() - self._allowance.spent
        charge(self.recording)
        with self._allowance:
            if is_new and self._given is None:
                self._describe(optimizer)
            row: dict[str, float] = {}
            if self._last_row is not None and self._last_row[0] < self.steps:
                row["vitals/step_seconds"] = (came - self._last_row[1]) / (self.steps - self._last_row[0])
            under = f"/{optimizer.name}" if len(self._made) > 1 else ""
            if optimizer is not None and (rate := rate_of_step(optimizer, made - 1)) is not None:
                row[f"vitals/lr{under}"] = short(rate)
            if gradients is not None and self.recording.settings.log_gradients:
                row |= self._norms(gradients, variables, under)
            self.recording.log(row, step=self.steps)
        self._last_row = self.steps, time.perf_counter() - self._allowance.spent

    def _norms(self, gradients: list[Any], variables: list[Any], under: str) -> dict[str, float]:
        if self._allowance.is_used_up(self.steps):
            return {}
        ops = keras.ops
        squares: defaultdict[str, float] = defaultdict(float)
        for variable, gradient in zip(variables, gradients, strict=False):
            if gradient is not None:
                values = ops.cast(ops.convert_to_tensor(gradient), "float32")
                layer = variable.path.rpartition("/")[0].removeprefix(f"{self._name}/")
                squares[layer] += float(ops.convert_to_numpy(ops.sum(ops.square(values))))
        parts = {layer: math.sqrt(square) for layer, square in squares.items()}
        if not parts:
            return {}
        whole = math.hypot(*parts.values())
        self._alerts.look(self.steps, whole, parts)
        return norms_row(self.recording, whole, parts, key=f"vitals/grad_norm{under}", parts="layers")

    def _describe(self, optimizer: Any) -> None:
        with shield("Keras: parameters"):
            settings = {f"optimizer/{key}": plain(value) for key, value in optimizer.get_config().items()}
            known = dict.fromkeys(type(one).__name__ for one in (*self._made, optimizer))
            self.recording.describe({"optimizer": ", ".join(known)})
            several = len([one for one in self._made if one is not optimizer]) > 0
            self.recording.params(settings, prefix=f"params/{optimizer.name}" if several else "params")


def _is_traced(value: Any) -> bool:
    """Whether it stands for values that are not there yet."""
    backend = keras.backend.backend()
    if backend == "jax":
        jax = sys.modules["jax"]
        return isinstance(value, jax.core.Tracer)
    return backend == "tensorflow" and value is not None and not hasattr(value, "numpy")


# How a loop ends that nobody ends ---------------------------------------------------------------------

_watches: list[Watch] = []


@atexit.register
def _at_exit() -> None:
    for watching in list(_watches):
        with shield("Keras: the end of the program"):
            watching.unwatch(error_of_the_program())


def _forget_in_child() -> None:
    """The steps that a forked child makes are none of this loop."""
    for watching in list(_watches):
        watching.sleep()


forks.when_forked("rooms", in_child=_forget_in_child)


# What is given ----------------------------------------------------------------------------------------


def _check(model: Any, optimizer: Any, every: Any, step: Any) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"watch: the model is {type(model).__name__}; expected a keras.Model. "
            "Write watch(model, optimizer)."
        )
    if optimizer is not None and not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            f"watch: the optimizer is {type(optimizer).__name__}; expected one of keras.optimizers, or None. "
            "Write watch(model, optimizer)."
        )
    check_numbers(every, step)
