"""Gradients and predictions from inside the compiled steps of JAX and TensorFlow.

There a step's Python runs once, while it is traced; what it computes is never seen again, except what it
returns. With ``Settings.compiled_steps`` a training step returns the gradients' norms beside its logs, and a
validation step what it was given, or its predictions. They are taken out again before Keras sees them:
neither History nor any callback meets them. When the training has ended the model has its own steps again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
from keras.src import backend

from autolog.keras.optimizers import inner, optimizers_of
from autolog.process.guard import shield
from autolog.process.hooks import unseen

__all__ = [
    "Inside",
    "by_output",
    "gradients_of_step",
    "layer_of",
    "layers_of",
    "masks_of",
    "predictions_of_step",
]

_KEY = "autolog"  # among the logs, between the step and us

# A context manager around one call of a step, of the model and the step's data; yields a dict to be filled.
Look = Callable[[Any, Any], Any]


class Inside:
    """A model's step that tells more, from ``begin`` to ``end``.

    Args:
        model: the model.
        step: ``train`` or ``test``.
        look: what listens while the step runs (or is traced), and fills in what it returns beside its logs.
        tell: is called with that after every execution; tensors on their device, not waited for.
    """

    def __init__(self, model: Any, step: str, look: Look, tell: Callable[[Any], None]):
        self._model = model
        self._step, self._function, self._make = f"{step}_step", f"{step}_function", f"make_{step}_function"
        self._look, self._tell = look, tell
        self._before: Any = None

    def begin(self) -> None:
        """Let the model make its compiled function anew, from a step that tells more."""
        model, on_jax = self._model, keras.backend.backend() == "jax"
        step, make = getattr(model, self._step), getattr(model, self._make)
        self._before = getattr(model, self._function)

        def telling_step(*args: Any, **kwargs: Any) -> Any:
            with unseen(), self._look(model, args[-1] if args else kwargs.get("data")) as found:
                result = step(*args, **kwargs)
            logs = result[0] if on_jax else result
            if not found or not isinstance(logs, dict):
                return result
            return ({**logs, _KEY: found}, *result[1:]) if on_jax else {**logs, _KEY: found}

        def making(*args: Any, **kwargs: Any) -> Any:
            with unseen():
                made = make(*args, **kwargs)
            function = getattr(model, self._function)
            if not getattr(function, "tells_autolog", False):
                setattr(model, self._function, self._taking_out(function, on_jax))
            return made

        setattr(model, self._function, None)
        object.__setattr__(model, self._step, telling_step)
        object.__setattr__(model, self._make, making)

    def _taking_out(self, function: Callable[..., Any], on_jax: bool) -> Callable[..., Any]:
        def function_without(*args: Any, **kwargs: Any) -> Any:
            with unseen():
                result = function(*args, **kwargs)
            logs = result[0] if on_jax else result
            if isinstance(logs, dict) and _KEY in logs:
                found = logs.pop(_KEY)
                with shield("Keras: inside a compiled step"):
                    self._tell(found)
            return result

        function_without.tells_autolog = True  # type: ignore[attr-defined]
        return function_without

    def end(self) -> None:
        """Give the model its own step and compiled function back."""
        for name in (self._step, self._make):
            if name in vars(self._model):
                object.__delattr__(self._model, name)
        setattr(self._model, self._function, self._before)


# What is looked for ------------------------------------------------------------------------------------


@contextmanager
def gradients_of_step(model: Any, data: Any) -> Iterator[dict[str, Any]]:
    """The norm of each layer's gradients before clipping, by optimizer: ``norms/<name>``, see `layers_of`."""
    # On JAX Keras' state holds that of the compiled optimizer alone.
    on_jax = keras.backend.backend() == "jax"
    name = "stateless_apply" if on_jax else "apply"
    given = {"optimizer": model.optimizer} if on_jax else optimizers_of(model)
    found: dict[str, Any] = {}

    def telling(key: str, optimizer: Any) -> Callable[..., Any]:
        original = getattr(optimizer, name)

        def apply(*args: Any, **kwargs: Any) -> Any:
            with shield("Keras: gradient norms inside a compiled step"):
                if on_jax:
                    gradients, variables, values = args[1], None, args[0]
                else:
                    gradients = args[0] if args else kwargs["grads"]
                    variables = args[1] if len(args) > 1 else kwargs.get("trainable_variables")
                    values = None
                norms = _norms(model, optimizer, gradients, variables)
                if norms is not None:
                    found[f"norms/{key}"] = norms / _scale(optimizer, values)
            with unseen():
                return original(*args, **kwargs)

        return apply

    with ExitStack() as standing_in:
        for key, optimizer in given.items():
            if optimizer is not None:
                standing_in.enter_context(_standing_in(optimizer, name, telling(key, optimizer)))
        yield found


@contextmanager
def data_of_step(model: Any, data: Any) -> Iterator[dict[str, Any]]:
    """Inputs, targets and sample weights, as the step is given them: to hand them out changes no number."""
    found: dict[str, Any] = {}
    with shield("Keras: data inside a compiled step"):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        outputs = getattr(model, "output_names", None) or []
        inputs = [one.name for one in getattr(model, "inputs", None) or []]
        for what, values, names in (
            ("x", x, inputs),
            ("y", y, outputs),
            ("sample_weight", sample_weight, outputs),
        ):
            for name, value in by_output(values, names).items():
                found[f"{what}/{name}"] = value
    yield found if any(key.startswith("y/") for key in found) else {}


@contextmanager
def predictions_of_step(model: Any, data: Any) -> Iterator[dict[str, Any]]:
    """Inputs if they are one tensor, targets, predictions and whether there are sample weights, as the step
    hands them to ``compute_metrics``.
    """
    names = getattr(model, "output_names", None) or []
    found: dict[str, Any] = {}
    of_loss: list[dict[str, Any]] = []

    def told(x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        # Each by itself: TensorFlow would make one tensor of a list of them.
        given = (("y", y), ("y_pred", y_pred), ("sample_weight", sample_weight))
        for what, values in given:
            for output, value in by_output(values, names).items():
                found[f"{what}/{output}"] = value
        for output, mask in masks_of(y_pred, names).items():
            found[f"mask/{output}"] = mask
        inputs = [one for one in keras.tree.flatten(x) if one is not None]
        if len(inputs) == 1:
            found["x"] = inputs[0]
        return found

    def standing_in_for(original: Callable[..., Any], look: Callable[..., None]) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            with shield("Keras: predictions inside a compiled step"):
                names = ("x", "y", "y_pred", "sample_weight")
                given = {**dict.fromkeys(names), **dict(zip(names, args, strict=False)), **kwargs}
                if given["y"] is not None and given["y_pred"] is not None:
                    look(told(*(given[name] for name in names)))
            with unseen():
                return original(*args, **kwargs)

        return function

    metrics = standing_in_for(model.compute_metrics, found.update)
    loss = standing_in_for(model.compute_loss, of_loss.append)
    with _standing_in(model, "compute_metrics", metrics), _standing_in(model, "compute_loss", loss):
        yield found
        # A step of the user's own may compute its metrics elsewhere; of several losses nobody knows which.
        if not found and len(of_loss) == 1:
            found.update(of_loss[0])


def by_output(values: Any, names: list[str]) -> dict[str, Any]:
    """Values by the output's name; of a single output, by nothing."""
    if isinstance(values, Mapping):
        return {str(name): value for name, value in values.items() if value is not None}
    if isinstance(values, (list, tuple)):
        known = names if len(names) == len(values) else [str(number) for number in range(len(values))]
        return {name: value for name, value in zip(known, values, strict=True) if value is not None}
    return {} if values is None else {"": values}


def masks_of(y_pred: Any, names: list[str]) -> dict[str, Any]:
    """By output, which of its places count, where layers have masked some (``mask_zero``)."""
    # (Keras 3.5 keeps it at the tensor only.)
    mask_of = getattr(backend, "get_keras_mask", lambda value: getattr(value, "_keras_mask", None))
    masks = {output: mask_of(value) for output, value in by_output(y_pred, names).items()}
    return {output: mask for output, mask in masks.items() if mask is not None}


def layer_of(variable: Any, model: Any) -> str:
    """The layer of a variable, as the run calls it."""
    place: str = variable.path.rpartition("/")[0]
    return place.removeprefix(f"{model.name}/")


def layers_of(model: Any, variables: Any) -> list[str]:
    """The layers of variables, each once."""
    return list(dict.fromkeys(layer_of(variable, model) for variable in variables))


def _norms(model: Any, optimizer: Any, gradients: Any, variables: Any) -> Any:
    ops = keras.ops
    all_of_it = inner(optimizer)._trainable_variables or variables
    squares: dict[str, Any] = {}
    for variable, gradient in zip(variables or all_of_it, gradients, strict=True):
        if gradient is None:
            continue
        values = ops.cast(ops.convert_to_tensor(gradient), "float32")  # rows of an embedding become one array
        layer = layer_of(variable, model)
        squares[layer] = squares.get(layer, 0.0) + ops.sum(ops.square(values))
    if not squares:
        return None
    return ops.sqrt(ops.stack([squares.get(layer, 0.0) for layer in layers_of(model, all_of_it)]))


def _scale(optimizer: Any, values: Any) -> Any:
    """What the loss was multiplied by, under mixed precision; on JAX the state is in the step's arguments."""
    scale = getattr(optimizer, "dynamic_scale", None)
    if scale is None:
        return 1.0
    if values is None:
        return keras.ops.convert_to_tensor(scale)
    return next(value for v, value in zip(optimizer.variables, values, strict=True) if v is scale)


@contextmanager
def _standing_in(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    object.__setattr__(owner, name, function)
    try:
        yield
    finally:
        object.__delattr__(owner, name)
