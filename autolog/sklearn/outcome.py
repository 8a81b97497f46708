"""How a fit ended: iterations, convergence, what early stopping kept, what cross-validation chose."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.core.recording import Recording
from autolog.core.results import record_finals
from autolog.sklearn.boosting import best_iteration
from autolog.sklearn.budget import affordable_rows
from autolog.sklearn.inside import attribute, final_estimator, is_number, is_one, way_in
from autolog.sklearn.search import is_searched

__all__ = ["record_criteria", "record_outcome"]

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
    """What the final estimator, and those around it, say of their fit, but for curves and weights."""
    way = way_in(estimator)
    final = way[-1]
    found: dict[str, Any] = {}
    for name, key in _ENDS.items():
        value = attribute(final, name)
        if isinstance(value, (bool, np.bool_)) or is_number(value):
            found.setdefault(key, value.item() if isinstance(value, np.generic) else value)
        elif name == "n_iter_" and np.ndim(value) == 1 and len(value):
            found[key] = int(np.max(value))
    if (best := best_iteration(final)) is not None:
        found["early_stopping/best_iteration"] = best
    for one in reversed(way):  # the outer one's choice is the last word
        for name, key in _CHOICES.items():
            value = None if is_one(one, _NO_CHOICES.get(name, "")) else _short(attribute(one, name))
            if value is not None:
                found[key] = value
    run.describe(found)
    scores = [score for one in way if is_number(score := attribute(one, "best_score_"))]
    score = scores[0] if scores else None
    if score is not None and not is_searched(estimator):  # a search's own score is another one
        record_finals(run, {"cv/best_score": float(score)})


def record_criteria(run: Recording, estimator: Any, X: Any) -> None:
    """The information criteria of a mixture, or of a path of linear models: the lower, the better."""
    final = final_estimator(estimator)
    path = attribute(final, "criterion_")
    if is_one(final, "sklearn.LassoLarsIC") and np.size(path):
        record_finals(run, {f"train/{final.criterion}": float(np.min(path))})
    if not is_one(final, "sklearn.GaussianMixture") or final is not estimator or X is None:
        return
    for criterion in ("aic", "bic"):
        rows = affordable_rows(run, estimator, criterion, X)  # each is one prediction of all rows
        if isinstance(rows, str):
            run.note(f"train/{criterion}", f"left out: {rows}")
        else:
            record_finals(run, {f"train/{criterion}": float(getattr(estimator, criterion)(X))})


def _short(value: Any) -> Any:
    """A number, or a short list of them; None for anything else."""
    if is_number(value):
        return value.item() if isinstance(value, np.generic) else value
    array = value if isinstance(value, np.ndarray) else np.empty(0)
    if array.ndim != 1 or array.dtype.kind not in "fiu" or not 0 < len(array) <= MOST_CHOICES:
        return None
    return array.item() if len(array) == 1 else array.tolist()
