"""XGBoost: every ``xgboost.train`` and ``xgboost.cv`` is a run, with its rounds, model, data and evaluation.

>>> import autolog
>>> autolog.enable("xgboost")
>>> booster = xgboost.train(params, dtrain, 100, evals=[(dval, "val")])  # a run
>>> booster.predict(dtest)  # goes on in it: metrics, confusion matrix, ROC, if dtest has labels

Or for one call: ``xgboost.train(..., callbacks=[autolog.xgboost.TrackioCallback()])``.

XGBoost's scikit-learn classes train by the same function. Where scikit-learn is recorded, too
(``enable("sklearn")``), their fit is the run, and what trains inside of it opens none.

The hooks stand where XGBoost's decorator holds the functions: who has imported ``train`` by name before is
seen, too. A matrix does not keep what it was made of, so that is read as the matrix is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.core.catalogue import METRICS
from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.xgboost.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":
        from autolog.xgboost.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


HOOKS = [
    Hook(
        "xgboost.training",
        "train.func",
        "autolog.xgboost.fit:observe_train",
        outermost_of="xgboost",
        records="trainings by xgboost.train",
    ),
    Hook(
        "xgboost.training",
        "cv.func",
        "autolog.xgboost.fit:observe_cv",
        outermost_of="xgboost",
        records="cross-validations by xgboost.cv",
    ),
    Hook(
        "xgboost.dask",
        "train.func",
        "autolog.xgboost.fit:observe_distributed",
        outermost_of="xgboost",
        records="trainings by xgboost.dask.train",
    ),
    # It is given what every fold has reported, of which XGBoost keeps the means.
    Hook(
        "xgboost.callback",
        "_aggcv",
        "autolog.xgboost.fit:observe_folds",
        kind="after",
        records="the folds of xgboost.cv",
    ),
    *(
        Hook(
            "xgboost.core",
            f"{matrix}.__init__",
            "autolog.xgboost.data:observe_matrix",
            kind="after",
            outermost_of="xgboost",
            records=f"the data of a {matrix}",
        )
        for matrix in ("DMatrix", "QuantileDMatrix")
    ),
    Hook(
        "xgboost.core",
        "Booster.predict",
        "autolog.xgboost.outputs:observe_predict",
        kind="after",
        outermost_of="xgboost",
        records="evaluations of a booster",
    ),
    Hook(
        "xgboost.core",
        "Booster.inplace_predict",
        "autolog.xgboost.outputs:observe_inplace_predict",
        kind="after",
        outermost_of="xgboost",
        records="evaluations of a booster by inplace_predict",
    ),
    *METRICS,
]
