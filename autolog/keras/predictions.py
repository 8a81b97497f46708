"""Held-out predictions, from the validation that runs anyway where that is possible.

On the torch backend a validation step is plain Python: what it hands to ``compute_metrics`` is kept, on the
device it is on, until the training ends. On JAX and TensorFlow the step is compiled. There arrays are
predicted once more at the end, by a function of our own, if the budget allows it and the model has no code of
the user's in it. A loader is never read a second time: with ``Settings.compiled_steps`` the step hands out
what it was given, and that is predicted. It hands out its predictions only of a model with code of the
user's, and if metrics are computed from them: else what a step returns may change the last bits of its loss.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from autolog.core.allowance import rounded_up
from autolog.core.recording import Recording
from autolog.keras.inside import Inside, by_output, data_of_step, masks_of, predictions_of_step
from autolog.process.guard import shield
from autolog.process.hooks import Call

__all__ = [
    "HeldOut",
    "Predictions",
    "given_arrays",
    "observe_compute_loss",
    "observe_compute_metrics",
    "observe_metrics",
    "validation_arrays",
]

Arrays = tuple[Any, Any, Any]  # x, y, sample_weight or None

MOST_VALUES = 8_000_000  # numbers that are kept of one validation's predictions, 32 MB
MOST_INPUTS = 8_000_000  # and of its inputs
MOST_GIVEN = 32_000_000  # of its inputs, where only they tell what is predicted, 128 MB
ROWS_AT_ONCE = 256

# Seconds of work, by which two equal trainings record the same whatever else the machine does.
PER_PRODUCT = 1e-9
LEAST = 1e-3  # of the budget: none means none
BOTH_WAYS = 3.0  # a step of training costs so many passes forward
PLACES = 100  # of a text or series, where no size tells


@dataclass
class Predictions:
    """A validation's targets and predictions by output, and the inputs if they are at hand."""

    truth: dict[str, Any]
    predicted: dict[str, Any]
    inputs: Any
    is_weighted: bool
    counts: dict[str, Any] = field(default_factory=dict)
    """By output, which of its rows (or places in them) count: not what is masked, or weighs nothing."""


@dataclass
class _Validation:
    """What is kept of one validation, batch by batch, on the device."""

    batches: list[dict[str, Any]] = field(default_factory=list)
    values: int = 0
    inputs: int = 0
    too_large: bool = False

    def add(self, batch: dict[str, Any]) -> None:
        if self.too_large:
            return
        if "y_pred" not in batch:  # it is predicted from the inputs
            self.inputs += _size(batch["x"])
            if self.inputs > MOST_GIVEN:
                self.batches, self.too_large = [], True
            else:
                self.batches.append(batch)
            return
        self.values += sum(_size(batch[key]) for key in ("y", "y_pred"))
        if self.values > MOST_VALUES:
            self.batches, self.too_large = [], True
            return
        self.inputs += _size(batch.get("x"))
        if self.inputs > MOST_INPUTS:
            for kept in (batch, *self.batches):
                kept.pop("x", None)
        self.batches.append(batch)


class HeldOut:
    """The last validation of a model, and the best one where ``EarlyStopping`` goes back to it.

    Args:
        model: the model.
        run: where what is missing is said.
        data: the validation's ``(x, y, sample_weight)`` if they are arrays.
        may_look_inside: whether a compiled step may be made to tell its predictions.
    """

    def __init__(self, model: Any, run: Recording, data: Arrays | None, may_look_inside: bool):
        self._model = model
        self._run = run
        self._data = data
        self._validation: _Validation | None = None
        self._best: _Validation | None = None
        self._has_validated = False
        self._inside: Inside | None = None
        self.is_open = False
        self.best_step: int | None = None
        self.batches = 0  # of the last validation, where somebody counts them
        self._pending: dict[str, dict[str, Any]] = {}  # of one batch, by who has told it
        self._tellers: set[str] = set()
        if keras.backend.backend() == "torch":
            with _lock:
                _listening[id(model)] = weakref.ref(self)
        elif may_look_inside and getattr(model, "steps_per_execution", 1) == 1:
            look = data_of_step if data is None else None
            if not _is_all_keras(model):
                look = predictions_of_step if _computes_metrics(model) else None
            if look is not None:
                self._inside = Inside(model, "test", look, self._take_told)
                self._inside.begin()

    def begin(self) -> None:
        """A validation begins."""
        self._validation = _Validation()
        self.is_open = True
        self.batches = 0
        self._pending, self._tellers = {}, set()

    def end(self) -> None:
        """It has ended."""
        self._take_pending()
        self.is_open = False
        self._has_validated = True

    def mark_best(self, step: int, *, validated: bool) -> None:
        """The weights of now will be restored; theirs is the validation that has just ended, if any."""
        self._best, self.best_step = (self._validation if validated else None), step

    def go_back_to_best(self) -> None:
        """The weights have been restored."""
        self._validation = self._best

    def close(self) -> None:
        """The training has ended: nothing is kept any more, and the model is as it was."""
        with _lock:
            _listening.pop(id(self._model), None)
        if self._inside is not None:
            self._inside.end()

    @property
    def has_kept(self) -> bool:
        """Whether predictions are there that the validation itself has made."""
        batches = self._validation.batches if self._validation is not None else []
        return bool(batches) and "y_pred" in batches[0]

    @property
    def model(self) -> Any:
        """The model that it is about."""
        return self._model

    def is_of(self, metrics: Any) -> bool:
        """Whether these are what its model was compiled with."""
        return getattr(self._model, "_compile_metrics", None) is metrics

    def belongs_to(self, model: Any) -> bool:
        """Whether this is about that very model."""
        return self._model is model

    def take(self, batch: dict[str, Any]) -> None:
        """One batch: ``y``, ``y_pred`` or else ``x``, and perhaps ``sample_weight``."""
        if (
            self.is_open
            and self._validation is not None
            and "y" in batch
            and ("y_pred" in batch or "x" in batch)
        ):
            self._validation.add(batch)

    def take_from(self, teller: str, batch: dict[str, Any]) -> None:
        """One batch, as one of `TELLERS` tells it: a step asks all of them, one of the user's perhaps a few.

        Who tells once more tells of the next batch.
        """
        if teller in self._pending:
            self._take_pending()
        self._pending[teller] = batch

    def _take_pending(self) -> None:
        if self._pending:
            teller = next(name for name in TELLERS if name in self._pending)
            self._tellers.add(teller)
            self.take(self._pending[teller])
            self._pending = {}

    def _take_told(self, found: dict[str, Any]) -> None:
        """One batch, as a compiled step has told it."""
        batch: dict[str, Any] = {"y": {}}
        for key, value in found.items():
            what, slash, output = key.partition("/")
            if slash:
                batch.setdefault(what, {})[output] = value
            else:
                batch[what] = value
        if batch["y"]:
            self.take(batch)

    def predictions(self, trained_rows: int) -> Predictions | str:
        """Those of the last validation, or why there are none; "" if there was no validation.

        Args:
            trained_rows: on how many rows the model was trained, each as often as it was: for the budget.
        """
        if self._validation is None:
            if not self._has_validated:
                return ""
            return "not recorded: the epoch whose weights were restored was not validated"
        if self._validation.too_large:
            return "left out: the validation data is too large to be kept"
        if self.has_kept:
            is_one_each = self.batches in (0, len(self._validation.batches))
            if self._tellers <= {"compute_metrics"} or (is_one_each and len(self._tellers) == 1):
                return self._kept()
            return "not recorded: the model's own test_step predicts several times per batch"
        if not self._has_validated:
            return ""
        if keras.backend.backend() == "torch":
            if type(self._model).test_step is keras.Model.test_step:
                return ""
            return (
                "not recorded: the model's own test_step shows its predictions to nobody; compute_loss(y=, "
                "y_pred=), compute_metrics or the compiled metrics would see them"
            )
        if self._validation.batches:
            return self._made_once_more(self._told_data())
        setting = ". With Settings.compiled_steps it is made from the validation itself"
        if self._run.settings.compiled_steps:
            why = "with several steps_per_execution, or without targets"
            setting = f". The validation itself cannot tell it {why}"
        if not _is_all_keras(self._model):
            if not _computes_metrics(self._model):
                setting = ""  # what a step returns beside its loss could change the loss
            return f"not recorded: the model has code of its own, which is not run once more{setting}"
        if self._data is None:
            return f"not recorded: the data is not an array{setting}"
        rows = len(keras.tree.flatten(self._data[0])[0])
        forward = _forward_seconds(self._model)
        # (To compile it takes half a second, of the seconds that a training takes to be compiled.)
        enough = max(forward * rows / (1.0 + BOTH_WAYS * forward * trained_rows), LEAST)
        if self._run.settings.budget < enough:
            return (
                "left out: predicting once more would pass the budget. "
                f"Settings.budget={rounded_up(enough):g} records it"
            )
        return self._made_once_more(self._data)

    def _told_data(self) -> Arrays:
        """What a compiled validation step was given: of all its batches."""
        assert self._validation is not None
        batches = self._validation.batches
        leaves = zip(*(keras.tree.flatten(batch["x"]) for batch in batches), strict=True)
        x = keras.tree.pack_sequence_as(
            batches[0]["x"], [_one_after_the_other(list(parts)) for parts in leaves]
        )
        if set(x) == {""}:
            x = x[""]
        weight = None
        if all("sample_weight" in batch for batch in batches):
            weight = self._joined([batch["sample_weight"] for batch in batches])
        return x, self._joined([batch["y"] for batch in batches]), weight

    def _kept(self) -> Predictions | str:
        assert self._validation is not None
        batches = self._validation.batches
        try:
            predicted = self._joined([batch["y_pred"] for batch in batches])
            masks = self._joined([batch["mask"] for batch in batches]) if "mask" in batches[0] else {}
            weights = {}
            if all("sample_weight" in batch for batch in batches):
                weights = self._joined([batch["sample_weight"] for batch in batches])
            return Predictions(
                self._joined([batch["y"] for batch in batches]),
                predicted,
                self._data[0] if self._data is not None else _inputs_of(batches),
                *_counted(predicted, masks, weights),
            )
        except ValueError as error:  # batches of different lengths, say
            return f"left out: {error}"

    def _made_once_more(self, data: Arrays) -> Predictions | str:
        x, y, weight = data
        rows = len(keras.tree.flatten(x)[0])
        if not rows:
            return "not recorded: the validation data is empty"
        predict = _without_a_trace(self._model)
        batches, masks = [], []
        for start in range(0, rows, ROWS_AT_ONCE):
            # All of one length: each would be compiled. The last one begins earlier, and is cut.
            first = max(min(start, rows - ROWS_AT_ONCE), 0)
            part = slice(first, first + ROWS_AT_ONCE)
            found = predict(keras.tree.map_structure(lambda a, part=part: a[part], x))
            new = slice(start - first, None)
            outputs, of_outputs = keras.tree.map_structure(lambda a, new=new: a[new], found)
            batches.append(outputs)
            masks.append(of_outputs)
        predicted = self._joined(batches)
        weights = {} if weight is None else self._joined([weight])
        counts = _counted(predicted, self._joined(masks) if masks[0] else {}, weights)
        return Predictions(self._joined([y]), predicted, x, *counts)

    def _joined(self, batches: list[Any]) -> dict[str, Any]:
        """Batches of outputs, one after the other, by the output's name; a single output has none."""
        names = getattr(self._model, "output_names", None) or []
        parts = [by_output(batch, names) for batch in batches]
        return {name: _one_after_the_other([part[name] for part in parts]) for name in parts[0]}


def _counted(
    predicted: dict[str, Any], masks: dict[str, Any], weights: dict[str, Any]
) -> tuple[bool, dict[str, Any]]:
    """Whether what counts has several weights; and what of each output counts: unmasked, of a weight."""
    counts, is_weighted = {}, False
    for output, values in predicted.items():
        found = None
        if (mask := masks.get(output)) is not None:
            found = mask.astype(bool)
        weight = weights.get(output, weights.get(""))
        if weight is not None and weight.shape[0] == values.shape[0]:
            if weight.ndim == values.ndim and weight.shape[-1] == 1:
                weight = weight[..., 0]
            positive = weight[weight > 0]
            is_weighted |= bool(positive.size) and bool((positive != positive[0]).any())
            if (weight == 0).any():
                has = weight > 0
                if found is not None and found.ndim != has.ndim:
                    short, long = sorted((found, has), key=np.ndim)
                    found, has = long, short.reshape(short.shape + (1,) * (long.ndim - short.ndim))
                found = has if found is None else found & has
        if found is not None and not found.all():
            counts[output] = found
    return is_weighted, counts


def _forward_seconds(model: Any) -> float:
    """What a row costs: each weight of a layer once for each place of its output, as in a convolution."""
    products = 0.0
    for layer in _layers_of(model):
        weights = sum(math.prod(one.shape) for one in layer.weights)
        shape = getattr(getattr(layer, "output", None), "shape", ())
        products += float(weights) * math.prod(size or PLACES for size in shape[1:-1])
    return products * PER_PRODUCT


def _layers_of(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if getattr(layer, "layers", None):
            yield from _layers_of(layer)
        else:
            yield layer


def _inputs_of(batches: list[dict[str, Any]]) -> Any:
    inputs = [batch.get("x") for batch in batches]
    return _one_after_the_other(inputs) if all(hasattr(x, "shape") for x in inputs) else None


def validation_arrays(call: Call) -> Arrays | None:
    """The arrays that a ``fit`` validates on: given, or split off the end as Keras does it."""
    validation = call.get("validation_data")
    if isinstance(validation, (list, tuple)) and len(validation) in (2, 3):
        x, y, *weight = validation
        return _first_steps(call, _if_arrays(x, y, weight[0] if weight else None))
    if validation is not None or not call.get("validation_split"):
        return None
    found = given_arrays(call)
    if found is None:
        return None
    split = math.floor(len(keras.tree.flatten(found[0])[0]) * (1 - call.get("validation_split")))

    def tail(part: Any) -> Any:
        return None if part is None else keras.tree.map_structure(lambda array: array[split:], part)

    return _first_steps(call, (tail(found[0]), tail(found[1]), tail(found[2])))


def _first_steps(call: Call, arrays: Arrays | None) -> Arrays | None:
    """So many batches as are validated on."""
    steps = call.get("validation_steps")
    if arrays is None or steps is None:
        return arrays
    rows = steps * (call.get("validation_batch_size") or call.get("batch_size") or 32)
    x, y, weight = (
        None if part is None else keras.tree.map_structure(lambda array: array[:rows], part)
        for part in arrays
    )
    return x, y, weight


def given_arrays(call: Call) -> Arrays | None:
    """The arrays that an ``evaluate`` was given."""
    return _if_arrays(call.get("x"), call.get("y"), call.get("sample_weight"))


def _if_arrays(x: Any, y: Any, weight: Any) -> Arrays | None:
    # (TensorFlow's shapes are no tuples.)
    shapes = [getattr(leaf, "shape", None) for leaf in keras.tree.flatten([x, y])]
    are_arrays = all(shape is not None and len(shape) for shape in shapes)
    return (x, y, weight) if y is not None and are_arrays else None


def _one_after_the_other(parts: list[Any]) -> Any:
    return np.concatenate([np.asarray(keras.ops.convert_to_numpy(part)) for part in parts])


def _size(values: Any) -> int:
    if isinstance(values, Mapping):
        return sum(map(_size, values.values()))
    if isinstance(values, (list, tuple)):
        return sum(map(_size, values))
    return math.prod(getattr(values, "shape", ()) or (1,)) if values is not None else 0


# Once more, and without a trace -------------------------------------------------------------------------


def _is_all_keras(model: Any) -> bool:
    """Whether predicting runs no code but Keras' own: the user's could count, print or draw numbers."""
    layers = list(model._flatten_layers())
    return all(
        type(layer).__module__.startswith("keras.") and not isinstance(layer, keras.layers.Lambda)
        for layer in layers
    )


def _computes_metrics(model: Any) -> bool:
    """Whether a step of it computes more than the loss from what it predicts."""
    compiled = getattr(model, "_compile_metrics", None)
    return compiled is not None and bool(compiled._user_metrics or compiled._user_weighted_metrics)


def _without_a_trace(model: Any) -> Any:
    """A function that predicts one batch and leaves the model's state as it is."""
    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]

    names = getattr(model, "output_names", None) or []

    def predict(trainable: Any, others: Any, x: Any) -> Any:
        outputs = model.stateless_call(trainable, others, x, training=False)[0]
        return outputs, masks_of(outputs, names)

    if keras.backend.backend() == "jax":
        import jax

        predict = jax.jit(predict)
    return lambda x: predict(trainable, others, keras.tree.map_structure(keras.ops.convert_to_tensor, x))


# On torch the step can be listened to ---------------------------------------------------------------------

_listening: dict[int, weakref.ref[HeldOut]] = {}
_lock = threading.Lock()


# Who is told of a batch's targets and predictions, the one that knows most first.
TELLERS = ("compute_metrics", "metrics", "compute_loss")


def observe_compute_metrics(
    model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """A step of a model's training or validation hands over its targets and predictions."""
    if _listening:
        _observe("compute_metrics", _listening.get(id(model)), model, _IN_STEPS, args, kwargs)


def observe_compute_loss(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """The same, of a step of the user's own perhaps, which computes its metrics elsewhere."""
    if _listening:
        _observe("compute_loss", _listening.get(id(model)), model, _IN_STEPS, args, kwargs)


def observe_metrics(metrics: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """The same: what a model was compiled with is updated."""
    for reference in list(_listening.values()):
        held_out = reference()
        if held_out is not None and held_out.is_of(metrics):
            names = ("y", "y_pred", "sample_weight")
            renamed = {{"y_true": "y"}.get(name, name): value for name, value in kwargs.items()}
            _observe("metrics", reference, held_out.model, names, args, renamed)


_IN_STEPS = ("x", "y", "y_pred", "sample_weight")


def _observe(
    teller: str,
    reference: weakref.ref[HeldOut] | None,
    model: Any,
    names: tuple[str, ...],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    held_out = reference() if reference is not None else None
    if held_out is None or not held_out.is_open or not held_out.belongs_to(model):
        return
    with shield("Keras: held-out predictions"):
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if any(getattr(leaf, "is_meta", False) for leaf in keras.tree.flatten(given.get("y_pred"))):
            return  # a model that is only being built is asked with tensors that hold nothing
        batch = {
            name: keras.tree.map_structure(_detached, given[name])
            for name in names
            if given.get(name) is not None
        }
        if masks := masks_of(given.get("y_pred"), getattr(model, "output_names", None) or []):
            batch["mask"] = masks
        if "y" in batch and "y_pred" in batch:
            held_out.take_from(teller, batch)


def _detached(tensor: Any) -> Any:
    return tensor.detach() if hasattr(tensor, "detach") else tensor
