"""What a recorded booster predicts: with the truth that a metric brings it is an evaluation."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from autolog.core.predictions import Prediction, know
from autolog.core.training import find_run
from autolog.lightgbm.described import task_of
from autolog.process.guard import charge, shield

__all__ = ["observe_predict"]

_NO_VALUES = ("raw_score", "pred_leaf", "pred_contrib")


def observe_predict(booster: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Data was predicted."""
    run = find_run(booster)
    if run is None or len(result) == 1 or type(result) is not np.ndarray:  # one row is served, not evaluated
        return
    if any(args[3:6]) or any(kwargs.get(name) for name in _NO_VALUES):
        return
    with shield("LightGBM: predictions"):
        charge(run)
        task = task_of(booster)
        if task is not None:
            prediction = Prediction(weakref.ref(run), task, result, task == "classification")
            know(result, prediction, args[0] if args else kwargs.get("data"))
