"""What is recorded of a model of CatBoost's whose fit scikit-learn's room records."""

from __future__ import annotations

from typing import Any

from catboost import CatBoost

from autolog.catboost.recorder import native_file_of, record_trees
from autolog.core.kept import NativeFile
from autolog.core.recording import Recording

__all__ = ["is_fitted", "native_file", "record_inner"]


def is_fitted(model: Any) -> bool:
    """Whether there are trees in it."""
    return bool(CatBoost.is_fitted(model))


def record_inner(run: Recording, model: Any, *, is_whole: bool) -> None:
    """Its trees. (A CatBoost model by itself is recorded by this room.)"""
    record_trees(run, model)


def native_file(model: Any) -> NativeFile:
    """``model.cbm``."""
    return native_file_of(model)
