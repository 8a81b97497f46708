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
from autolog.keras.predictions import Predictions
from autolog.keras.tasks import LeftOut, Task, metrics_of

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
    several = len(found.predicted) > 1
    for index, (output, predicted) in enumerate(found.predicted.items()):
        place = f"{name}/{output}" if several else name
        if output not in found.truth and len(found.truth) != len(found.predicted):
            run.note(place, "not evaluated: its targets are not known")
            continue
        truth = found.truth[output] if output in found.truth else list(found.truth.values())[index]
        of_output = f"{name}/{output}_"  # as Keras calls the metrics of one output of several
        its_own = {key.replace(of_output, f"{place}/", 1): value for key, value in told.items()}
        task = Task(_loss_of(model, output, index), metrics_of(model, output, index), place, its_own)
        try:
            pictures = _one_array(found.inputs)
            result = task.evaluate(truth, predicted, found.counts.get(output), classes, pictures)
        except LeftOut as why:
            run.note(place, f"not evaluated: {why}")
            continue
        except ValueError as error:
            run.note_lost(place, f"not evaluated: {error}")
            continue
        if found.is_weighted:
            run.note(name, "every row counts the same in tables and pictures: sample weights are left out")
        if result.samples and run.keeps("predictions"):
            result = _with_inputs(result, found.inputs)
        new = not_told(result.metrics, place, its_own)
        record_evaluation_of(run, place, replace(result, metrics=new), step=step)


def _loss_of(model: Any, output: str, index: int) -> Any:
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        return loss.get(output)
    if isinstance(loss, (list, tuple)):
        return loss[index] if index < len(loss) else None
    return loss


def _one_array(inputs: Any) -> Any:
    """Inputs that are a single array of as many axes as pictures have; None: they are none."""
    leaves = [] if inputs is None or hasattr(inputs, "iloc") else keras.tree.flatten(inputs)
    if len(leaves) != 1 or len(getattr(leaves[0], "shape", ())) < 3:
        return None
    array = keras.ops.convert_to_numpy(leaves[0])
    return array if array.dtype.kind in "fiub" else None


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
