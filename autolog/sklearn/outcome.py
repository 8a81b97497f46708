"""How a fit ended: iterations, convergence, what early stopping kept, what cross-validation chose."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.core.recording import Recording
from autolog.core.results import record_finals
from autolog.sklearn.boosting import best_iteration
from autolog.sklearn.inside import attribute, final_estimator, is_number, is_one
from autolog.sklearn.search import is_searched

__all__ = ["record_outcome"]

MOST_CHOICES = 20  # of one kind, for as many targets or classes

_ENDS = {
    "n_iter_": "model/iterations",
    "n_estimators_": "model/estimators",
    "converged_": "model/converged",
    "best_validation_score_": "early_stopping/best_score",  # MLP
    "best_score": "early_stopping/best_score",  # XGBoost
}
# What an estimator chose by cross-validation, an information criterion or the evidence: the field's names.
_CHOICES = {
    "alpha_": "model/alpha",
    "C_": "model/C",
    "l1_ratio_": "model/l1_ratio",
    "lambda_": "model/lambda",
    "best_threshold_": "model/best_threshold",
    "n_features_": "model/n_features",
    "n_nonzero_coefs_": "model/n_nonzero_coefs",
}
_NO_CHOICES = {
    "alpha_": "sklearn.GaussianProcessRegressor",  # coefficients, one for each row
    "lambda_": "sklearn.ARDRegression",  # the precision of each weight
    "n_features_": "lightgbm.LGBMModel",  # what it saw
}


def record_outcome(run: Recording, estimator: Any) -> None:
    """What the final estimator says of its fit, but for curves and weights."""
    final = final_estimator(estimator)
    found: dict[str, Any] = {}
    for name, key in _ENDS.items():
        value = attribute(final, name)
        if isinstance(value, (bool, np.bool_)) or is_number(value):
            found.setdefault(key, value.item() if isinstance(value, np.generic) else value)
        elif name == "n_iter_" and np.ndim(value) == 1 and len(value):
            found[key] = int(np.max(value))
    if (best := best_iteration(final)) is not None:
        found["early_stopping/best_iteration"] = best
    for name, key in _CHOICES.items():
        value = None if is_one(final, _NO_CHOICES.get(name, "")) else _short(attribute(final, name))
        if value is not None:
            found[key] = value
    run.describe(found)
    score = attribute(final, "best_score_")
    if is_number(score) and not is_searched(estimator):  # a search's own score is another one
        record_finals(run, {"cv/best_score": float(score)})


def _short(value: Any) -> Any:
    """A number, or a short list of them; None for anything else."""
    if is_number(value):
        return value.item() if isinstance(value, np.generic) else value
    array = value if isinstance(value, np.ndarray) else np.empty(0)
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not 0 < len(array) <= MOST_CHOICES:
        return None
    return array.item() if len(array) == 1 else array.tolist()
