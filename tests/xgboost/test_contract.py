"""What is hooked of XGBoost, and what is used of it that is private."""

from __future__ import annotations

import pytest
import xgboost

from autolog.xgboost import HOOKS
from tests.contract import Private, check_hooks, check_table

PRIVATE: dict[str, Private] = {}


def test_every_hook_finds_its_place() -> None:
    assert xgboost.train
    check_hooks(HOOKS)


def test_the_table_is_whole() -> None:
    check_table("xgboost", PRIVATE)


@pytest.mark.parametrize("name", ["eta", "learning_rate", "lambda", "reg_lambda"])
def test_either_name_of_a_parameter_is_xgboosts(name: str) -> None:
    data = xgboost.DMatrix([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    booster = xgboost.train({name: 0.125}, data, 1)
    assert '"0.125"' in booster.save_config()
