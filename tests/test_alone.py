"""What `tests/alone.py` says where all extras are installed, and every warning is an error."""

from __future__ import annotations

import pytest

from tests import alone


@pytest.mark.long
@pytest.mark.parametrize(
    "extra", ["none", "sklearn", "keras", "transformers", "optuna", "xgboost", "lightgbm", "catboost"]
)
def test_where_every_warning_is_an_error_from_the_first_import_on(extra: str) -> None:
    """Lightning is not among them: without us, too, a warning of its own ends it."""
    try:
        assert alone.record(extra, "-W", "error")
    except alone.ProgramError as error:
        warned = [line for line in str(error).splitlines() if "Warning" in line]
        pytest.skip(f"this version warns by itself: {warned[-1:]}")
