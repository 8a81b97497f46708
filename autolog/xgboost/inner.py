"""What is recorded of a model of XGBoost's whose fit scikit-learn's room records."""

from __future__ import annotations

from typing import Any

from xgboost import XGBModel

from autolog.core.kept import NativeFile
from autolog.core.recording import Recording
from autolog.xgboost.described import record_unset
from autolog.xgboost.recorder import native_file_of, record_trees

__all__ = ["is_fitted", "native_file", "record_inner"]


def is_fitted(model: Any) -> bool:
    """Whether there is a booster in it."""
    return bool(XGBModel.__sklearn_is_fitted__(model))


def record_inner(run: Recording, model: Any, *, is_whole: bool) -> None:
    """Its trees, and what XGBoost has used for the parameters that nobody has set."""
    booster = _booster_of(model)
    record_trees(run, booster)
    if is_whole:
        record_unset(run, booster)


def native_file(model: Any) -> NativeFile:
    """``model.ubj``. An ``XGBClassifier`` can load it, and so can a ``Booster``.

    The estimator's own ``save_model`` leaves a mark in its booster for a while, or for good where it fails.
    """
    return native_file_of(_booster_of(model))


def _booster_of(model: Any) -> Any:
    """As XGBoost finds it: a subclass of the user's may do more."""
    return XGBModel.get_booster(model)
