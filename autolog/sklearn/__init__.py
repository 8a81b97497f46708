"""scikit-learn: every ``fit`` is a run, with its parameters, data, model and held-out evaluation.

>>> import autolog
>>> autolog.enable("sklearn")
>>> model.fit(X_train, y_train)  # a run
>>> model.score(X_test, y_test)  # goes on in it: metrics, confusion matrix, ROC

The outermost call is recorded: a search, a pipeline, an ensemble is one run, not one per inner fit.
Preprocessing alone opens none. What is recorded and when stands in ``fit.py``; how an evaluation that the
user makes with scikit-learn's own functions finds its run, in ``evaluation.py``.
"""

from __future__ import annotations

from autolog.core.hooks import Hook

__all__ = ["HOOKS"]

# `fit` stands on every class of its own, so the hook goes on the tree; 23 classes also have a
# `fit_transform` or `fit_predict` that does not pass through `fit` (Pipeline is one of them).
_FITS = ("fit", "fit_transform", "fit_predict")
_OUTPUTS = ("predict", "predict_proba", "predict_log_proba", "decision_function")

HOOKS = [
    *(
        Hook("sklearn.base", f"BaseEstimator.{name}", "autolog.sklearn.fit:observe_fit", tree=True)
        for name in _FITS
    ),
    *(
        Hook(
            "sklearn.base",
            f"BaseEstimator.{name}",
            f"autolog.sklearn.evaluation:observe_{name}",
            kind="after",
            tree=True,
        )
        for name in _OUTPUTS
    ),
    Hook("sklearn.base", "BaseEstimator.score", "autolog.sklearn.evaluation:observe_score", tree=True),
    # Every metric function asks this one, by its global name, with the user's own arrays: so metrics are
    # seen however and whenever they were imported, and no function that users pickle is replaced.
    Hook(
        "sklearn.utils._param_validation",
        "validate_parameter_constraints",
        "autolog.sklearn.evaluation:observe_metric",
        kind="after",
    ),
    Hook("joblib.parallel", "Parallel.__call__", "autolog.sklearn.workers:observe_parallel"),
]
