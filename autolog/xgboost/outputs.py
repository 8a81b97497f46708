"""What a recorded booster predicts: of a matrix with labels it is an evaluation."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from autolog.core.predictions import Prediction, evaluate, know
from autolog.core.recording import Recording
from autolog.core.sets import facts_of
from autolog.core.training import find_run
from autolog.process.guard import charge, shield
from autolog.xgboost.data import target_of
from autolog.xgboost.described import objective_of, task_of

__all__ = ["observe_inplace_predict", "observe_predict"]

_NO_VALUES = ("output_margin", "pred_leaf", "pred_contribs", "approx_contribs", "pred_interactions")


def observe_predict(booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A matrix was predicted."""
    run = find_run(booster)
    if run is None or len(result) == 1:  # one row is served, not evaluated
        return
    if any(args[1:6]) or any(kwargs.get(name) for name in _NO_VALUES):
        return
    with shield("XGBoost: evaluation"):
        charge(run)
        if (prediction := _prediction(run, booster, result)) is None:
            return
        matrix = args[0] if args else kwargs["data"]
        know(result, prediction)
        if (labels := target_of(matrix)) is not None:
            weight = matrix.get_weight()
            whole = replace(prediction, values=result)  # of many rows no copy is kept
            evaluate(run, whole, facts_of(matrix), labels, weight if len(weight) else None)


def observe_inplace_predict(
    booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """Data was predicted that is in no matrix."""
    run = find_run(booster)
    if run is None or len(result) == 1 or kwargs.get("predict_type", "value") != "value":
        return
    with shield("XGBoost: predictions"):
        charge(run)
        if (prediction := _prediction(run, booster, result)) is not None:
            know(result, prediction, args[0] if args else kwargs.get("data"))


def _prediction(run: Recording, booster: Any, result: Any) -> Prediction | None:
    objective = objective_of(booster)
    task = task_of(objective)
    if task is None:
        return None
    # multi:softmax gives the labels themselves, binary:hinge too.
    are_scores = task == "classification" and objective not in ("multi:softmax", "binary:hinge")
    are_labels = are_scores and objective.startswith("binary:") and result.ndim == 2
    return Prediction(weakref.ref(run), task, result, are_scores, are_labels=are_labels)
