"""What is known of an estimator and its data before it is fitted."""

from __future__ import annotations

import inspect
import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from autolog.capture import datasets
from autolog.core.run import Run

__all__ = [
    "TrainingData",
    "is_being_checked",
    "is_model",
    "mark_of",
    "record_data",
    "record_parameters",
    "task_of",
    "training_data",
]

# What it is -----------------------------------------------------------------------------------------


def is_model(estimator: Any) -> bool:
    """Whether fitting this is a training: it predicts or clusters. A scaler or an encoder does not.

    What it is counts beside what it can do: a stacking classifier has no ``predict`` before its fit.
    """
    can = any(hasattr(estimator, name) for name in ("predict", "fit_predict", "score_samples"))
    return can or task_of(estimator) is not None


def task_of(estimator: Any) -> str | None:
    """``classification``, ``regression``, ``clustering``, or None for anything else."""
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(estimator):
        return "classification"
    if is_regressor(estimator):
        return "regression"
    return "clustering" if hasattr(estimator, "fit_predict") and not _finds_outliers(estimator) else None


def _finds_outliers(estimator: Any) -> bool:
    from sklearn.base import is_outlier_detector

    return bool(is_outlier_detector(estimator))


def is_being_checked() -> bool:
    """Whether scikit-learn's ``check_estimator`` is fitting, thousands of times, for its own ends."""
    return _is_called_from("sklearn.utils.estimator_checks")


def _is_called_from(module: str) -> bool:
    if module not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False


# Parameters -----------------------------------------------------------------------------------------


def record_parameters(run: Run, estimator: Any) -> None:
    """The class, and all of ``get_params(deep=True)``; those set by hand also one by one."""
    import sklearn

    everything = estimator.get_params(deep=True)
    run.describe(
        {
            "framework": "sklearn",
            "framework/version": sklearn.__version__,
            "model": type(estimator).__name__,
            "model/class": f"{type(estimator).__module__}.{type(estimator).__qualname__}",
            **_seeds(everything),
        }
    )
    run.params(everything)
    # What a person has set stands at the top level, where one can group and filter by it.
    by_hand = {f"params/{key}": value for key, value in _set_by_hand(estimator, everything).items()}
    run.describe(dict(list(by_hand.items())[:50]))


def _seeds(everything: Mapping[str, Any]) -> dict[str, int]:
    """The one seed of it all, if there is one."""
    seeds = {v for k, v in everything.items() if k.rpartition("__")[2] == "random_state" and type(v) is int}
    return {"seed": seeds.pop()} if len(seeds) == 1 else {}


def _set_by_hand(estimator: Any, everything: Mapping[str, Any]) -> dict[str, Any]:
    """The scalar parameters that differ from their defaults, by scikit-learn's ``step__name``."""
    found: dict[str, Any] = {}
    for key, value in everything.items():
        owner_key, _, name = key.rpartition("__")
        owner = everything.get(owner_key) if owner_key else estimator
        if not isinstance(value, (str, int, float, bool)) or owner is None:
            continue
        parameter = inspect.signature(type(owner).__init__).parameters.get(name)
        if parameter is None or (parameter.default is not value and parameter.default != value):
            found[key] = value
    return found


# Data -----------------------------------------------------------------------------------------------


@dataclass
class TrainingData:
    """What is remembered of the data of a fit, to know it again in an evaluation."""

    X: str | None
    y: str | None
    fit_seconds: float = 0.0
    fits: int = 0
    is_loop: bool = False
    """Of ``partial_fit`` or ``warm_start``: more of the same comes."""


training_data: weakref.WeakKeyDictionary[Run, TrainingData] = weakref.WeakKeyDictionary()


def mark_of(values: Any) -> str | None:
    """A fingerprint of values, whether they come as a list, an array or a column of a frame."""
    if values is None:
        return None
    if getattr(values, "ndim", None) == 1 and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif isinstance(values, (list, tuple)):
        import numpy as np

        values = np.asarray(values)
    return datasets.fingerprint(values)


def record_data(run: Run, X: Any, y: Any) -> None:
    """Schema, class balance, fingerprint, and the first rows if they may be kept."""
    training_data[run] = TrainingData(mark_of(X), mark_of(y))
    if not run.settings.log_data:
        return
    described = datasets.describe(X, y)
    run.describe({"data/train": described.config()})
    for what in described.notes:
        run.note("data/train", what)
    if not run.keeps("data"):
        run.note("data/head", "not sent to the server: Settings.share does not name 'data'")
    elif described.head:
        run.table("data/head", described.head)
