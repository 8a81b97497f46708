"""Held-out evaluation of a Keras model: what can be said besides the metrics that Keras computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from autolog.capture import evaluation
from autolog.capture.evaluation import Evaluation
from autolog.core.recording import Recording
from autolog.core.results import not_told
from autolog.core.results import record_evaluation as record_evaluation_of
from autolog.keras.described import name_of
from autolog.keras.predictions import Predictions

__all__ = ["record_evaluation"]


def record_evaluation(
    run: Recording,
    name: str,
    model: Any,
    found: Predictions | str,
    *,
    told: Mapping[str, float],
    classes: Any = None,
    step: int | None = None,
) -> None:
    """Metrics, tables and pictures of predictions, for each output of the model.

    Args:
        name: of the data, ``val`` or ``test``.
        found: the predictions, or why there are none.
        told: metrics that Keras has told itself, by their keys: they are not said again.
        classes: names of the classes, where the data knows them.
        step: the step of the weights that predicted; None: the run's last.
    """
    if isinstance(found, str):
        if found:
            run.note(f"{name}/confusion_matrix", found)
        return
    if found.is_weighted:
        run.note(name, "every row counts the same in tables and pictures: the sample weights are left out")
    several = len(found.predicted) > 1
    for index, (output, predicted) in enumerate(found.predicted.items()):
        place = f"{name}/{output}" if several else name
        if output not in found.truth and len(found.truth) != len(found.predicted):
            run.note(place, "not evaluated: its targets are not known")
            continue
        truth = found.truth[output] if output in found.truth else list(found.truth.values())[index]
        try:
            result = _evaluated(_loss_of(model, output, index), truth, predicted, classes)
        except ValueError as error:
            run.note_lost(place, f"not evaluated: {error}")
            continue
        if len(truth) == result.rows and result.samples and run.keeps("predictions"):
            result = _with_inputs(result, found.inputs)
        of_output = f"{name}/{output}_"  # as Keras calls the metrics of one output of several
        its_own = {key.replace(of_output, f"{place}/", 1): value for key, value in told.items()}
        new = not_told(result.metrics, place, its_own)
        record_evaluation_of(run, place, replace(result, metrics=new), step=step)


def _loss_of(model: Any, output: str, index: int) -> Any:
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        return loss.get(output)
    if isinstance(loss, (list, tuple)):
        return loss[index] if index < len(loss) else None
    return loss


def _evaluated(loss: Any, truth: Any, predicted: Any, classes: Any) -> Evaluation:
    """Classification or regression, as the loss says; labels may be numbers or one-hot rows."""
    if loss is None:
        raise ValueError("the model has no loss for it, which would tell classes from numbers")
    kind = str(name_of(loss)).lower()
    if predicted.dtype not in (np.float32, np.float64):  # half precision, two kinds of it
        predicted = predicted.astype("float32")
    if not any(word in kind for word in ("crossentropy", "hinge", "focal")):
        rows = len(truth)
        return evaluation.evaluate(truth.reshape(rows, -1), predicted.reshape(rows, -1), task="regression")
    binary = "binary" in kind or predicted.shape[-1] == 1
    if predicted.ndim < 2 or len(truth) != len(predicted):
        raise ValueError(f"predictions of shape {predicted.shape} for targets of shape {truth.shape}")
    notes: tuple[str, ...] = ()
    if predicted.ndim > 2:
        truth, predicted, notes = _flat(truth, predicted, binary)
    if "hinge" in kind and predicted.shape[1] == 1:  # margins, which are no probabilities
        result = evaluation.classification(truth.reshape(-1) > 0, predicted[:, 0] > 0)
    else:
        result = _classified(truth, _probabilities(loss, predicted), binary, classes)
    return replace(result, notes=(*result.notes, *notes))


def _classified(truth: Any, scores: Any, binary: bool, classes: Any) -> Evaluation:
    if scores.shape[1] == 1:
        return evaluation.classification(truth.reshape(-1).astype(int), scores=scores[:, 0], classes=[0, 1])
    if truth.ndim == 2 and truth.shape[1] == scores.shape[1]:
        if binary:
            return evaluation.multilabel(truth, (scores > 0.5).astype(int), scores=scores)
        truth = truth.argmax(axis=1)
    places = truth.reshape(-1).astype(int)
    names: list[Any] = list(range(scores.shape[1]))
    if isinstance(classes, (list, tuple)) and len(set(classes)) == len(names):
        names = [str(label) for label in classes]
        places = np.asarray(names)[places]
    return evaluation.classification(places, scores=scores, classes=names)


def _flat(truth: Any, predicted: Any, binary: bool) -> tuple[Any, Any, tuple[str, ...]]:
    """Every step of a sequence, every pixel of a mask, as a row of its own."""
    last = predicted.shape[-1]
    one_hot = truth.shape == predicted.shape and not (binary and last == 1)
    predicted = predicted.reshape(-1, last)
    truth = truth.reshape(-1, last) if one_hot else truth.reshape(-1)
    if len(truth) != len(predicted):
        raise ValueError(f"{len(predicted):,} predictions for {len(truth):,} targets")
    return evaluation.thinned(truth, predicted)


def _probabilities(loss: Any, predicted: Any) -> Any:
    """Logits become probabilities. Where the loss does not say which they are, their range does."""
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    logits = config.get("from_logits")
    are_independent = predicted.shape[1] == 1 or "binary" in str(name_of(loss)).lower()
    are_logits = None if isinstance(loss, str) else logits
    return evaluation.probabilities(predicted, are_logits=are_logits, are_independent=are_independent)


def _with_inputs(result: Evaluation, inputs: Any) -> Evaluation:
    """Beside the best and worst predictions, what they were made from; of several inputs, each."""
    if inputs is None:
        return result
    if hasattr(inputs, "iloc"):
        return evaluation.with_inputs(result, inputs.iloc[result.samples])
    leaves = keras.tree.flatten(inputs)
    if len(leaves) != 1 or not hasattr(leaves[0], "shape"):
        return result
    chosen = np.stack([np.asarray(keras.ops.convert_to_numpy(leaves[0][row])) for row in result.samples])
    if chosen.dtype.kind in "SO":  # text; TensorFlow's are bytes
        plain = [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in chosen.ravel().tolist()]
        return evaluation.with_inputs(result, plain)
    return evaluation.with_inputs(result, chosen)
