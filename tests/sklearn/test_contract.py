"""What is hooked of scikit-learn, and what is used of it that is private."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, make_scorer

from autolog.sklearn import HOOKS
from tests.contract import Private, check_hooks, check_table, local


def _module(name: str, *parts: str) -> object:
    found = importlib.import_module(name)
    for part in parts:
        found = getattr(found, part)
    return found


def _callbacks_of_an_estimator() -> object:
    bar = importlib.import_module("sklearn.callback").ProgressBar()
    return LogisticRegression().set_callbacks(bar)._skl_callbacks == [bar]


def _context() -> Any:
    importlib.import_module("sklearn.callback")
    return LogisticRegression()._init_callback_context()


def _a_callback_that_does_nothing() -> object:
    kind = importlib.import_module("sklearn.callback").FitCallback
    LogisticRegression().set_callbacks(object.__new__(kind)).fit([[0.0], [1.0]], [0, 1])
    return kind


_FOLDS = "sklearn.model_selection._validation"

SCORER = make_scorer(fbeta_score, greater_is_better=False, beta=2)

PRIVATE = {
    "_score_func": Private(lambda: SCORER._score_func is fbeta_score),
    "_sign": Private(lambda: SCORER._sign == -1),
    "_kwargs": Private(lambda: SCORER._kwargs == {"beta": 2}),
    # What a metric is made of: its decorator holds the function itself.
    "fbeta_score: func": Private(lambda: "func" in fbeta_score.__code__.co_freevars),
    "_mgr": Private(lambda: isinstance(pd.DataFrame({"a": [1.0]})._mgr.blocks[0].values, np.ndarray)),
    "_safe_indexing": Private(lambda: _module("sklearn.utils", "_safe_indexing")([4, 5, 6], [1]) == [5]),
    "_skl_callbacks": Private(_callbacks_of_an_estimator, needs="scikit-learn>=1.9"),
    "_callbacks": Private(lambda: _context()._callbacks == [], needs="scikit-learn>=1.9"),
    "_propagation_depth": Private(lambda: _context()._propagation_depth == 0, needs="scikit-learn>=1.9"),
    "FitCallback": Private(_a_callback_that_does_nothing, needs="scikit-learn>=1.9"),
    # How loky's pickler is told of a class: it has no other door.
    "loky: register": Private(lambda: _module("joblib.externals.loky.backend.reduction", "register")),
    "_backend": Private(lambda: type(Parallel(n_jobs=1)._backend).__name__ == "LokyBackend"),
    # Variables of the functions that hand their folds to joblib.
    "cross_validate: estimator": Private(lambda: local(_module(_FOLDS, "cross_validate"), "estimator")),
    "cross_val_predict: le": Private(lambda: local(_module(_FOLDS, "cross_val_predict"), "le")),
    "permutation_importance: estimator": Private(
        lambda: local(
            _module("sklearn.inspection._permutation_importance", "permutation_importance"), "estimator"
        )
    ),
    "estimator_checks": Private(lambda: _module("sklearn.utils.estimator_checks", "check_estimator")),
    "validate_parameter_constraints": Private(
        lambda: (
            [
                *inspect.signature(
                    _module("sklearn.utils._param_validation", "validate_parameter_constraints")
                ).parameters
            ]
            == ["parameter_constraints", "params", "caller_name"]
        )
    ),
}


def test_every_hook_finds_its_place() -> None:
    for module in ("cluster", "linear_model", "pipeline", "preprocessing"):
        importlib.import_module(f"sklearn.{module}")
    check_hooks(hook for hook in HOOKS if not hook.module.startswith(("shap", "imblearn")))


def test_every_hook_of_imbalanced_learn_finds_its_place() -> None:
    pytest.importorskip("imblearn", reason="imbalanced-learn is not installed: pip install imbalanced-learn")
    check_hooks(hook for hook in HOOKS if hook.module.startswith("imblearn"))


def test_every_hook_of_shap_finds_its_place() -> None:
    pytest.importorskip("shap", reason="shap is not installed (with numba, 200 MB): pip install shap")
    hooks = [hook for hook in HOOKS if hook.module.startswith("shap")]
    check_hooks(hooks)
    # Those that some versions have not: this one has them all.
    check_hooks(replace(hook, optional=False) for hook in hooks)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("sklearn", PRIVATE)
