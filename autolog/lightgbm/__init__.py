"""LightGBM: every ``lightgbm.train`` and ``lightgbm.cv`` is a run: rounds, model, data, evaluation.

>>> import autolog
>>> autolog.enable("lightgbm")
>>> booster = lightgbm.train(params, train_set, valid_sets=[valid_set])  # a run
>>> roc_auc_score(y_test, booster.predict(X_test))  # goes on in it: metrics, confusion matrix, ROC

Or for one call: ``lightgbm.train(..., callbacks=[autolog.lightgbm.TrackioCallback()])``.

LightGBM's scikit-learn classes train by the same function. Where scikit-learn is recorded, too
(``enable("sklearn")``), their fit is the run, and what trains inside of it opens none.

``train`` and ``cv`` are plain functions, which three modules hold by name: there is a hook in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.core.catalogue import METRICS
from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.lightgbm.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":
        from autolog.lightgbm.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


HOOKS = [
    *(
        Hook(
            module,
            "train",
            "autolog.lightgbm.fit:observe_train",
            outermost_of="lightgbm",
            records=f"trainings by {module}.train",
        )
        for module in ("lightgbm", "lightgbm.engine", "lightgbm.sklearn")
    ),
    *(
        Hook(
            module,
            "cv",
            "autolog.lightgbm.fit:observe_cv",
            outermost_of="lightgbm",
            records=f"cross-validations by {module}.cv",
        )
        for module in ("lightgbm", "lightgbm.engine")
    ),
    # It is given what every fold has reported, of which LightGBM keeps the means.
    Hook(
        "lightgbm.engine",
        "_agg_cv_result",
        "autolog.lightgbm.fit:observe_folds",
        kind="after",
        records="the folds of lightgbm.cv",
    ),
    Hook(
        "lightgbm.basic",
        "Booster.predict",
        "autolog.lightgbm.outputs:observe_predict",
        kind="after",
        outermost_of="lightgbm",
        records="evaluations of a booster",
    ),
    *METRICS,
]
