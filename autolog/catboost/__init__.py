"""CatBoost: every fit of its models is a run, and so is ``catboost.cv``: rounds, model, data and evaluation.

>>> import autolog
>>> autolog.enable("catboost")
>>> model = CatBoostClassifier().fit(X_train, y_train, eval_set=(X_val, y_val))  # a run
>>> model.score(X_test, y_test)  # goes on in it: metrics, confusion matrix, ROC

Or for one fit: ``model.fit(..., callbacks=[autolog.catboost.TrackioCallback()])``.

No callback hears of the rounds: for whoever has one CatBoost hands all rounds so far to it after each, which
makes 3,000 rounds on little data take six times as long, and on a GPU it takes none. What it keeps of the
rounds itself is read after the fit. Inside of scikit-learn's pipelines, searches and cross-validations, where
those are recorded (``enable("sklearn")``), a fit opens no run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.core.catalogue import METRICS
from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.catboost.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":
        from autolog.catboost.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


HOOKS = [
    # Every `fit` of its classes, and `catboost.train`, go through this one.
    Hook(
        "catboost.core",
        "CatBoost._fit",
        "autolog.catboost.fit:observe_fit",
        outermost_of="catboost",
        records="fits of CatBoost's models",
    ),
    Hook(
        "catboost.core",
        "CatBoost._tune_hyperparams",
        "autolog.catboost.fit:observe_search",
        kind="after",
        records="what grid_search and randomized_search have found",
    ),
    *(
        Hook(
            module,
            "cv",
            "autolog.catboost.fit:observe_cv",
            outermost_of="catboost",
            records=f"cross-validations by {module}.cv",
        )
        for module in ("catboost", "catboost.core")
    ),
    Hook(
        "catboost.core",
        "Pool.__init__",
        "autolog.catboost.data:observe_pool",
        kind="after",
        outermost_of="catboost",
        records="the data of a Pool",
    ),
    Hook(
        "catboost.core",
        "CatBoost._predict",
        "autolog.catboost.outputs:observe_predict",
        kind="after",
        outermost_of="catboost",
        records="evaluations of a model",
    ),
    *(
        Hook(
            "catboost.core",
            f"{name}.score",
            "autolog.catboost.outputs:observe_score",
            kind="after",
            outermost_of="catboost",
            records="evaluations by score",
        )
        for name in ("CatBoostClassifier", "CatBoostRegressor")
    ),
    *METRICS,
]
