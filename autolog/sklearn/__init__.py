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

from typing import TYPE_CHECKING, Any

from autolog.core.catalogue import POOLS
from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.sklearn.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":  # with NumPy; who only enables has no need of it
        from autolog.sklearn.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


# `fit` stands on every class of its own, so the hook goes on the tree; 23 classes also have a
# `fit_transform` or `fit_predict` that does not pass through `fit` (Pipeline is one of them).
_FITS = ("fit", "fit_transform", "fit_predict")
_OUTPUTS = ("predict", "predict_proba", "predict_log_proba", "decision_function")

# scikit-learn's own figures. Each class has a method `plot`, through which its `from_...` methods go.
_DISPLAYS = {
    "sklearn.metrics._plot.confusion_matrix": ["ConfusionMatrixDisplay"],
    "sklearn.metrics._plot.roc_curve": ["RocCurveDisplay"],
    "sklearn.metrics._plot.precision_recall_curve": ["PrecisionRecallDisplay"],
    "sklearn.metrics._plot.det_curve": ["DetCurveDisplay"],
    "sklearn.metrics._plot.regression": ["PredictionErrorDisplay"],
    "sklearn.calibration": ["CalibrationDisplay"],
    "sklearn.inspection._plot.partial_dependence": ["PartialDependenceDisplay"],
    "sklearn.inspection._plot.decision_boundary": ["DecisionBoundaryDisplay"],
    "sklearn.model_selection._plot": ["LearningCurveDisplay", "ValidationCurveDisplay"],
}

_TREE: dict[str, Any] = {"tree": True, "outermost_of": "sklearn"}
_TESTED = "evaluations of a model after its fit"

# The package `shap`, if it is ever imported: what explains a model belongs to the model's run.
_EXPLAINER = "shap.explainers._explainer"
_PLOTS = {
    "shap.plots": [
        "bar",
        "beeswarm",
        "decision",
        "embedding",
        "force",
        "group_difference",
        "heatmap",
        "monitoring",
        "scatter",
        "violin",
        "waterfall",
    ],
    "shap": [
        "bar_plot",
        "decision_plot",
        "dependence_plot",
        "embedding_plot",
        "force_plot",
        "group_difference_plot",
        "heatmap_plot",
        "monitoring_plot",
        "summary_plot",
        "violin_plot",
        "waterfall_plot",
    ],
}

_SHAP_HOOKS = [
    Hook(
        _EXPLAINER,
        "Explainer.__init__",
        "autolog.sklearn.explained:observe_explainer",
        kind="after",
        tree=True,
        records="which model SHAP values are of",
    ),
    *(
        Hook(
            _EXPLAINER,
            f"Explainer.{name}",
            "autolog.sklearn.explained:observe_contributions",
            tree=True,
            outermost_of="shap",
            records="SHAP values",
        )
        for name in ("__call__", "shap_values")
    ),
    *(
        Hook(
            "shap._explanation",
            f"Explanation.{name}",
            "autolog.sklearn.explained:observe_derived",
            kind="after",
            outermost_of="shap",
            records="pictures of a part of SHAP values",
            optional=True,  # what it has not done is not drawn
        )
        for name in ("__getitem__", "_numpy_func", "_apply_binary_operator", "percentile")
    ),
    *(
        Hook(
            module,
            plot,
            "autolog.sklearn.explained:observe_shap_plot",
            outermost_of="shap",
            records=f"pictures that {module}.{plot} draws",
            optional=True,  # some have come and gone
        )
        for module, plots in _PLOTS.items()
        for plot in plots
    ),
]

# The package imbalanced-learn, if it is ever imported.
_SAMPLERS = Hook(
    "imblearn.base",
    "SamplerMixin.fit_resample",
    "autolog.sklearn.resampled:observe_resample",
    kind="after",
    tree=True,
    records="class balance after resampling",
    optional=True,
)

HOOKS = [
    *(
        Hook(
            "sklearn.base",
            f"BaseEstimator.{name}",
            "autolog.sklearn.fit:observe_fit",
            records=f"calls of {name}",
            **_TREE,
        )
        for name in _FITS
    ),
    Hook(
        "sklearn.base",
        "BaseEstimator.partial_fit",
        "autolog.sklearn.fit:observe_partial_fit",
        records="loops of partial_fit",
        **_TREE,
    ),
    *(
        Hook(
            "sklearn.base",
            f"BaseEstimator.{name}",
            f"autolog.sklearn.outputs:observe_{name}",
            kind="after",
            records=_TESTED,
            **_TREE,
        )
        for name in _OUTPUTS
    ),
    Hook(
        "sklearn.base",
        "BaseEstimator.inverse_transform",
        "autolog.sklearn.outputs:observe_inverse_transform",
        kind="after",
        records="evaluations of predictions that are put back into labels or units",
        **_TREE,
    ),
    Hook(
        "sklearn.base",
        "BaseEstimator.score",
        "autolog.sklearn.evaluation:observe_score",
        records=_TESTED,
        **_TREE,
    ),
    # Every metric function asks this one, by its global name, with the user's own arrays: so metrics are
    # seen however and whenever they were imported, and no function that users pickle is replaced.
    Hook(
        "sklearn.utils._param_validation",
        "validate_parameter_constraints",
        "autolog.sklearn.evaluation:observe_metric",
        kind="after",
        outermost_of="sklearn",
        records="evaluations by scikit-learn's metric functions",
    ),
    *POOLS,
    Hook(
        "sklearn.utils.parallel",
        "Parallel.__call__",
        "autolog.sklearn.crossvalidation:observe_parallel",
        outermost_of="sklearn",
        records="cross-validation",
    ),
    # It fits once by itself, before its permutations begin, which are a run.
    Hook(
        "sklearn.model_selection._validation",
        "_permutation_test_score",
        "autolog.sklearn.crossvalidation:observe_permutation",
        outermost_of="sklearn",
        records="the score of permutation_test_score without permutation",
    ),
    # permutation_importance itself is a function that users import; this one it asks by its global name.
    Hook(
        "sklearn.inspection._permutation_importance",
        "_create_importances_bunch",
        "autolog.sklearn.learned:observe_permutation_importances",
        kind="after",
        outermost_of="sklearn",
        records="permutation importances",
    ),
    # What its decorator holds of it: so it is seen wherever it was imported, by displays in threads, too.
    Hook(
        "sklearn.inspection._partial_dependence",
        "partial_dependence.func",
        "autolog.sklearn.explained:observe_dependence",
        outermost_of="sklearn",
        records="partial dependence",
    ),
    Hook(
        "sklearn.inspection._plot.partial_dependence",
        "PartialDependenceDisplay.from_estimator",
        "autolog.sklearn.explained:observe_dependence_display",
        outermost_of="sklearn",
        records="the numbers that a PartialDependenceDisplay draws",
    ),
    *(
        Hook(
            module,
            f"{display}.plot",
            "autolog.sklearn.displays:observe_plot",
            kind="after",
            records=f"pictures that a {display} draws",
        )
        for module, displays in _DISPLAYS.items()
        for display in displays
    ),
    *_SHAP_HOOKS,
    _SAMPLERS,
]
