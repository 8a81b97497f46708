"""Out-of-fold predictions that a user has put together (``oof[fold] = ...``): all folds are evaluated."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from autolog.capture import evaluation
from autolog.core.recording import Recording
from autolog.process.guard import charge
from autolog.sklearn.contents import parts_of
from autolog.sklearn.folds import group_of
from autolog.sklearn.known import is_full, read_of, training_data
from autolog.sklearn.outputs import Prediction
from autolog.sklearn.values import Values

__all__ = ["evaluate_assembled"]

# Of each group of folds: what is known of all of them together.
_values: weakref.WeakKeyDictionary[Any, Values] = weakref.WeakKeyDictionary()


def evaluate_assembled(given: Any, truth: Any) -> tuple[Recording, Values] | None:
    """Evaluate what the models of a group of folds have predicted, each of rows that were held out from it.

    Args:
        given: all of it, and ``truth`` beside it, in the user's order.

    Returns:
        The run that the folds are in, and its numbers. None: it is of no such group.
    """
    parts = parts_of(given)
    runs = [run for part in parts if (run := part.run()) is not None]
    group = group_of(runs) if runs and len(runs) == len(parts) else None
    outer = group.run if group is not None else None
    if group is None or outer is None:
        return None
    if not all(_is_held_out(run, part) for run, part in zip(runs, parts, strict=True)):
        return None
    charge(outer)
    if group not in _values:
        known = training_data[runs[0]]
        is_labels = parts[0].method == "predict"
        scores = None if is_labels else np.asarray(given)
        try:
            found = evaluation.evaluate(
                truth,
                given if is_labels else None,
                scores=scores,
                classes=None if is_labels else known.classes,
                task=known.task,
            )
        except ValueError as error:
            outer.note_lost("cv", f"not evaluated: {error}")
            return None
        _values[group] = Values("cv")
        _values[group].computed(found.metrics)
        group.evaluated_together(found)
    return outer, _values[group]


def _is_held_out(run: Recording, part: Prediction) -> bool:
    known, data, full = training_data.get(run), part.data, is_full(run)
    if known is None or data is None:
        return False
    return known.name_of(data, read_of(data, full=full), None, full=full).name is None
