"""What is known of an estimator and its data before it is fitted."""

from __future__ import annotations

import inspect
import math
import sys
import weakref
from collections.abc import Mapping
from types import FrameType
from typing import Any

import numpy as np

from autolog.capture import datasets
from autolog.capture.overlap import KnownRows
from autolog.capture.params import scalar
from autolog.capture.titles import short_class, title
from autolog.core.recording import Recording
from autolog.process.guard import shield
from autolog.process.signatures import signature_of
from autolog.sklearn.budget import length
from autolog.sklearn.inside import MOST_LEVELS, attribute, final_estimator, is_estimator, is_one, steps_of
from autolog.sklearn.known import TrainingData, is_full, place_of, read_of, training_data

__all__ = [
    "classes_of",
    "is_being_checked",
    "is_fitted_by_a_library",
    "is_model",
    "name_of",
    "record_data",
    "record_evaluated",
    "record_parameters",
    "task_of",
    "to_the_final_one",
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
    """``classification``, ``regression``, ``clustering``, or None for anything else.

    Its tags tell, or those of the last step of a pipeline. A class whose mixin stands after its base says
    nothing by tags, and some libraries' say it in the way of years ago.
    """
    from sklearn.base import is_classifier, is_regressor

    final = final_estimator(estimator)
    if attribute(final, "_estimator_type") == "ranker":  # CatBoost's, by its tags a regressor
        return None
    for one in (estimator, final):
        if is_classifier(one) or _is_of_old_kind(one, "Classifier"):
            return "classification"
        if is_regressor(one) or _is_of_old_kind(one, "Regressor"):
            return "regression"
    if attribute(estimator, "classes_") is not None and hasattr(estimator, "predict"):
        return "classification"  # as scikit-learn's conventions say
    return "clustering" if hasattr(estimator, "fit_predict") and not _finds_outliers(estimator) else None


def _is_of_old_kind(estimator: Any, kind: str) -> bool:
    if attribute(estimator, "_estimator_type") == kind.lower():
        return True
    return any(one.__name__ == f"{kind}Mixin" for one in type(estimator).__mro__)


def classes_of(estimator: Any) -> Any:
    """The classes of an estimator in the order of its scores, shape (classes,); None: it has none."""
    if _finds_outliers(estimator):
        return np.array([-1, 1])  # an outlier has the lower score
    return attribute(estimator, "classes_")


def _finds_outliers(estimator: Any) -> bool:
    from sklearn.base import is_outlier_detector

    return bool(is_outlier_detector(estimator))


def is_being_checked() -> bool:
    """Whether scikit-learn's ``check_estimator`` is fitting, thousands of times, for its own ends."""
    return _is_called_from("sklearn.utils.estimator_checks")


# Libraries that fit models of their own to sample data anew, or to choose what is tried next.
_FOR_THEMSELVES = {"bayes_opt", "imblearn", "optuna", "skopt"}
_OF_WORKERS = {"lightgbm.dask"}  # each fits its share of a model that is somebody's to fit


def is_fitted_by_a_library() -> bool:
    """Whether a library fits a model for ends of its own: a run of it nobody has asked for."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        package = module.partition(".")[0]
        if package not in ("autolog", "joblib", "sklearn"):
            return package in _FOR_THEMSELVES or module in _OF_WORKERS
        frame = frame.f_back
    return False


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
    *around, final = to_the_final_one(estimator)
    run.describe(
        {
            "framework": "sklearn",
            "framework/version": sklearn.__version__,
            "model": type(final).__name__,
            "model/class": f"{type(final).__module__}.{type(final).__qualname__}",
            **({"model/pipeline": " > ".join(type(one).__name__ for one in around)} if around else {}),
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
        plain = scalar(value)
        if plain is None or owner is None:
            continue
        parameter = _parameters(type(owner)).get(name)
        if parameter is None or not _is_default(plain, parameter.default):
            found[key] = plain
    return found


_known_parameters: weakref.WeakKeyDictionary[type, Mapping[str, inspect.Parameter]]
_known_parameters = weakref.WeakKeyDictionary()  # of classes; to ask for them takes 30 us a time


def _is_default(value: Any, default: Any) -> bool:
    if isinstance(value, float) and isinstance(default, float) and math.isnan(value):
        return math.isnan(default)
    return value is default or bool(value == default)


def _parameters(of_class: type) -> Mapping[str, inspect.Parameter]:
    """Those of its constructor; where it hands on what it does not name (XGBoost's), of its bases' too."""
    known = _known_parameters.get(of_class)
    if known is None:
        found: dict[str, inspect.Parameter] = {}
        for kind in of_class.__mro__[:-1]:
            own = signature_of(kind.__init__).parameters  # type: ignore[misc]
            found = {**own, **found}
            if inspect.Parameter.VAR_KEYWORD not in {parameter.kind for parameter in own.values()}:
                break
        known = _known_parameters[of_class] = found
    return known


# Its name ------------------------------------------------------------------------------------------


def name_of(estimator: Any, what: str = "") -> str:
    """What its run is called: the estimator that learns in the end, and what was set of it by hand.

    Args:
        what: is done with it, if it is not just fitted.
    """
    name = type(estimator).__name__
    with shield("scikit-learn: a run's name"):
        *around, final = to_the_final_one(estimator)
        what = what or next(filter(None, (_DOES.get(type(one).__name__) for one in around)), "")
        head = f"{what} {short_class(type(final).__name__)}".strip()
        return title(head, _set_by_hand(final, final.get_params(deep=True)))
    return name


def to_the_final_one(estimator: Any) -> list[Any]:
    """The estimator, the one in it that it is to train, and so on down, before any of them is fitted."""
    way = [estimator]
    while len(way) <= MOST_LEVELS and (inner := _to_be_trained(way[-1])) is not None:  # one may hold itself
        way.append(inner)
    return way


# What a wrapper does with the estimator in it.
_DOES = {
    "CalibratedClassifierCV": "calibrated",
    "GridSearchCV": "search",
    "HalvingGridSearchCV": "search",
    "HalvingRandomSearchCV": "search",
    "OptunaSearchCV": "search",
    "RandomizedSearchCV": "search",
}


def _to_be_trained(estimator: Any) -> Any:
    """What an estimator that has not learned yet will train in its place; None: itself."""
    inner = None
    if steps := steps_of(estimator):
        inner = steps[-1][1]
    elif type(estimator).__name__ in _DOES:
        inner = attribute(estimator, "estimator")
    elif is_one(estimator, "sklearn.TransformedTargetRegressor"):
        inner = attribute(estimator, "regressor")
    return inner if is_estimator(inner) else None


# Data -----------------------------------------------------------------------------------------------


def record_data(run: Recording, X: Any, y: Any, *, is_divided: bool = False) -> None:
    """Schema, class balance, fingerprint, and the first rows if they may be kept.

    Args:
        is_divided: whether it is the data of a cross-validation, of which each model learns from a part.
    """
    full = is_full(run)
    of_X, of_y = datasets.read(X, full=full), read_of(y, full=full)
    training_data[run] = TrainingData(
        of_X.mark if X is not None else None,
        of_y.mark if of_y is not None else None,
        KnownRows.of(of_X.rows) if of_X.rows is not None else None,
        rows=length(X),
        is_boolean=str(getattr(y, "dtype", "")).startswith("bool"),
        place=place_of(X),
        is_divided=is_divided,
        is_lazy=of_X.is_lazy,
    )
    if not run.settings.log_data:
        return
    described = datasets.describe(X, y, parts=[of_X] if of_y is None else [of_X, of_y])
    run.describe({"data/train": described.config()})
    for what in described.notes:
        run.note("data/train", what)
    if not run.keeps("data"):
        run.note("data/head", "not sent to the server: Settings.share does not name 'data'")
    elif described.head:
        run.table("data/head", described.head)


def record_evaluated(run: Recording, name: str, X: Any, y: Any, read: Any) -> None:
    """The same of held-out data, but for its rows.

    Args:
        name: of the set.
        read: what was read of X.
    """
    if run.settings.log_data and X is not None and read is not None:
        described = datasets.describe(X, y, head=0, parts=[read, datasets.read(y, full=is_full(run))])
        run.describe({f"data/{name}": described.config()})
