"""What is recorded of a model of XGBoost's whose fit scikit-learn's room records."""

from __future__ import annotations

from typing import Any

from autolog.core.kept import NativeFile
from autolog.core.recording import Recording
from autolog.xgboost.described import record_unset
from autolog.xgboost.recorder import native_file_of, record_trees

__all__ = ["native_file", "record_inner"]


def record_inner(run: Recording, model: Any, *, is_whole: bool) -> None:
    """Its trees, and what XGBoost has used for the parameters that nobody has set."""
    booster = model.get_booster()
    record_trees(run, booster)
    if is_whole:
        record_unset(run, booster)


def native_file(model: Any) -> NativeFile:
    """``model.ubj``. An ``XGBClassifier`` can load it, and so can a ``Booster``."""
    return native_file_of(model)
