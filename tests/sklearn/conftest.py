"""What holds for every test of this room."""

from __future__ import annotations

import pytest

from autolog.sklearn import outputs


@pytest.fixture(autouse=True)
def what_other_tests_have_predicted_is_forgotten() -> None:
    """Two models that predict the same are told apart by nothing: another test's may be one of them."""
    for prediction in outputs.kept_predictions(newest=10_000):
        outputs._let_values_go(prediction)
    outputs._values._kept.clear()
