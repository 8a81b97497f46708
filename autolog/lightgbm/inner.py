"""What is recorded of a model of LightGBM's whose fit scikit-learn's room records."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMModel

from autolog.core.kept import NativeFile
from autolog.core.recording import Recording
from autolog.lightgbm.recorder import native_file_of, record_trees

__all__ = ["is_fitted", "native_file", "record_inner"]


def is_fitted(model: Any) -> bool:
    """Whether there is a booster in it."""
    return bool(LGBMModel.__sklearn_is_fitted__(model))


def record_inner(run: Recording, model: Any, *, is_whole: bool) -> None:
    """Its trees. What LightGBM has used for the parameters is what scikit-learn's room reads."""
    record_trees(run, model.booster_)


def native_file(model: Any) -> NativeFile:
    """``model.txt``, which a ``Booster`` can load."""
    return native_file_of(model.booster_)
