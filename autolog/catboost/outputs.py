"""What a recorded model predicts: of a Pool with labels it is an evaluation, and so is ``score``."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from catboost import Pool

from autolog.capture.kinds import is_lazy, not_computed
from autolog.catboost.data import data_of
from autolog.catboost.described import task_of
from autolog.core.predictions import Prediction, evaluate, know, latest_of, one_column, with_scores
from autolog.core.recording import Recording
from autolog.core.sets import are_known
from autolog.core.training import find_run
from autolog.process.guard import charge, shield

__all__ = ["observe_predict", "observe_score"]


def observe_predict(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Data was predicted, by any of ``predict``, ``predict_proba`` and ``score``."""
    run = find_run(model)
    if run is None or type(result) is not np.ndarray or len(result) == 1:  # one row is served, not evaluated
        return
    if not are_known(run):  # scikit-learn's room has recorded the fit around it
        return
    data = args[0] if args else kwargs["data"]
    kind = args[1] if len(args) > 1 else kwargs["prediction_type"]
    with shield("CatBoost: predictions"):
        charge(run)
        prediction = _prediction(run, model, kind, result)
        if prediction is None or _is_of_one_row(data):
            return
        know(result, prediction, None if isinstance(data, Pool) else data)
        if isinstance(data, Pool) and data.has_label():
            known = data_of(data)
            whole = replace(prediction, values=one_column(result))
            evaluate(run, with_scores(whole, data), known.facts, known.y, known.weight)


def observe_score(model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """``score`` has predicted what it was given, and compared it with the truth."""
    run = find_run(model)
    if run is None or not are_known(run):
        return
    X = args[0] if args else kwargs["X"]
    y: Any = args[1] if len(args) > 1 else kwargs.get("y")
    if isinstance(X, Pool):  # it was evaluated when it was predicted
        return
    with shield("CatBoost: score"):
        charge(run)
        if is_lazy(y):
            run.note("score", f"not evaluated: {not_computed(y)}")
            return
        if (prediction := latest_of(run, len(y))) is not None:
            evaluate(run, with_scores(prediction, X), data_of(X).facts, y)
        elif len(y) > 1 and task_of(model) is not None:
            run.note("score", "not evaluated: of so many rows no prediction is kept. Give a Pool with labels")


def _is_of_one_row(data: Any) -> bool:
    if isinstance(data, Pool):
        return bool(data.num_row() == 1)
    shape = getattr(data, "shape", None)
    return len(shape) < 2 if shape is not None else not hasattr(data[0], "__len__")


def _prediction(run: Recording, model: Any, kind: str, result: Any) -> Prediction | None:
    task = task_of(model)
    if task == "classification" and kind in ("Class", "Probability"):
        is_labels = kind == "Class"
        classes = model.classes_
        of = weakref.ref(model)

        def ask(X: Any) -> Any:
            asked = of()
            return asked.predict_proba(X) if asked is not None else None

        return Prediction(
            weakref.ref(run), task, result, not is_labels, classes=classes, ask=ask if is_labels else None
        )
    if task == "regression" and kind in ("RawFormulaVal", "Exponent"):
        return Prediction(weakref.ref(run), task, result, False)
    return None
