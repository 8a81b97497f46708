"""Metrics that a program computes of something that no recorded model has predicted: the run says so."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from autolog.core.catalogue import is_on
from autolog.core.current import open_here, trained_here
from autolog.core.predictions import is_known
from autolog.core.recording import Recording
from autolog.process.context import watched
from autolog.process.guard import charge, shield
from autolog.sklearn.budget import length
from autolog.sklearn.known import mark_of, training_data
from autolog.sklearn.outputs import output_of

__all__ = ["know_predictions", "say_if_unknown"]

MOST_PREDICTED = 20  # times that ``cross_val_predict`` is remembered

_UNKNOWN = (
    "was called with predictions that are of no recorded model of scikit-learn's kind. Train the model while"
    " autolog is on, and hand on what its predict has returned as it is; or log the value:"
    " run.log({{'{0}': value}})"
)

_predicted_by_folds: deque[tuple[str | None, str]] = deque(maxlen=MOST_PREDICTED)  # marks


def know_predictions(values: Any) -> None:
    """Predictions that are evaluated already, of which the user gets a copy."""
    _predicted_by_folds.append(_mark_of_predictions(values))


def _mark_of_predictions(values: Any) -> tuple[str | None, str]:
    """With their type: a user's own ``scores > 0.3`` may equal what was predicted, but is no copy of it."""
    return mark_of(values), str(getattr(values, "dtype", ""))


def say_if_unknown(name: str, truth: Any, predicted: Sequence[Any]) -> None:
    """Say in the run that goes on here, or was the last one here, that this metric is not of it.

    (Inside of a framework's training the framework records what the user makes of it.)
    """
    trained = trained_here()
    run = open_here() or (trained if trained in training_data else None)
    if run is None or watched.get() or name in _said.get(run, ()):
        return
    with shield("scikit-learn: a metric of unknown predictions"):
        if any(output_of(value) is not None for value in (truth, *predicted)) or _is_one_row(truth):
            return
        if any(is_known(value) for value in predicted):  # by a model that another room records
            return
        if not is_on("sklearn") or not _is_called_by_user():
            return
        if _predicted_by_folds and any(
            _mark_of_predictions(value) in _predicted_by_folds for value in predicted
        ):
            return
        charge(run)
        run.note(name, _UNKNOWN.format(name))
        _said.setdefault(run, set()).add(name)


# Of a run: the metrics of which it has said so.
_said: weakref.WeakKeyDictionary[Recording, set[str]] = weakref.WeakKeyDictionary()


def _is_one_row(value: Any) -> bool:
    return length(value) == 1  # it is not remembered: it is served, not evaluated


def _is_called_by_user() -> bool:
    """Whether it is no library that asks for the metric: a scorer, a display, another framework."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] != "autolog" and module != "sklearn.utils._param_validation":
            folders = Path(frame.f_code.co_filename).parts
            return not (module.startswith("sklearn.") or _LIBRARIES.intersection(folders))
        frame = frame.f_back
    return False


_LIBRARIES = {"site-packages", "dist-packages"}
