"""What is known of an estimator and its data before it is fitted."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from autolog.capture import datasets
from autolog.core.recording import Recording
from autolog.process.signatures import signature_of

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
    if any(hasattr(estimator, name) for name in ("predict", "fit_predict")):
        return True
    is_density = hasattr(estimator, "score_samples") and not hasattr(estimator, "transform")  # PCA is none
    return is_density or task_of(estimator) is not None


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


def record_parameters(run: Recording, estimator: Any) -> None:
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
        parameter = signature_of(type(owner).__init__).parameters.get(name)
        if parameter is None or (parameter.default is not value and parameter.default != value):
            found[key] = value
    return found


# Data -----------------------------------------------------------------------------------------------


@dataclass
class TrainingData:
    """What is remembered of the data of a fit, to know it again in an evaluation."""

    X: str | None
    y: str | None
    task: str | None = None
    classes: Any = None
    rows: int | None = None
    fit_seconds: float = 0.0
    spent: float = 0.0
    """Seconds of work, by our table, that were spent on calling the model once more."""
    wished: float = 0.0
    """The same, and what was left out: of a loop."""
    fits: int = 0
    is_loop: bool = False
    """Of ``partial_fit`` or ``warm_start``: more of the same comes."""
    place: weakref.ref[Any] | None = None
    """The array itself: a part of it (``X_train[:50]``) is training data too."""
    more: set[tuple[str | None, str | None]] = field(default_factory=set)
    """Of a loop, the data of its further calls."""

    def name_of(self, mark: tuple[str | None, str | None], X: Any) -> str | None:
        """``train`` if data is what was learned from, ``train/part`` if it is a block of it; else None."""
        # An X that is gone by now cannot be compared: then the target alone must tell.
        if mark[1] == self.y and mark[0] in (self.X, None):
            return "train"
        if any(mark[1] == y and mark[0] in (known, None) for known, y in self.more):
            return "train/part"
        whole = self.place() if self.place is not None else None
        return "train/part" if whole is not None and _is_part(X, whole) else None


training_data: weakref.WeakKeyDictionary[Recording, TrainingData] = weakref.WeakKeyDictionary()

MOST_BATCHES = 1_000  # of a loop that are known again


def _is_part(values: Any, whole: Any) -> bool:
    """Whether an array is a block of another one that is still there."""
    import numpy as np

    if not isinstance(values, np.ndarray) or values.size == 0:
        return False
    same_memory = values.base is not None and values.base is (whole if whole.base is None else whole.base)
    if not same_memory or not values.flags.c_contiguous or not whole.flags.c_contiguous:
        return False
    first = values.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return bool(first >= 0 and first + values.nbytes <= whole.nbytes)


def _place_of(values: Any) -> weakref.ref[Any] | None:
    import numpy as np

    return weakref.ref(values) if isinstance(values, np.ndarray) else None


def mark_of(values: Any) -> str | None:
    """A fingerprint of values, whether they come as a list, an array or a column of a frame."""
    if values is None:
        return None
    import numpy as np

    if getattr(values, "ndim", None) == 1 and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif isinstance(values, (list, tuple)) and values:
        values = _as_array(values)
    elif getattr(values, "shape", (0, 0))[1:] == (1,) and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]  # a target as a column is the same target
        if values.dtype.kind == "U":
            values = values.astype(object)
    return datasets.fingerprint(values)


def _as_array(values: Any) -> Any:
    """A list of numbers or of short texts, or of rows of numbers; another list stays what it is.

    (An array of texts is as wide as its longest: one long document among thousands takes gigabytes.)
    """
    import numpy as np

    first = values[0]
    if isinstance(first, str):
        return np.array(values, dtype=object) if all(isinstance(value, str) for value in values) else values
    if isinstance(first, (list, tuple)) and not all(isinstance(value, (int, float)) for value in first[:3]):
        return values
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        return values
    return array if array.dtype.kind in "biuf" else values


def record_data(run: Recording, X: Any, y: Any) -> None:
    """Schema, class balance, fingerprint, and the first rows if they may be kept."""
    shape = getattr(X, "shape", None)
    rows = int(shape[0]) if shape else len(X) if hasattr(X, "__len__") else None
    training_data[run] = TrainingData(mark_of(X), mark_of(y), rows=rows, place=_place_of(X))
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
