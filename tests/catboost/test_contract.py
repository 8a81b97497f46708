"""What is hooked of CatBoost, and which names it has for one thing."""

from __future__ import annotations

from typing import Any

import pytest
from catboost import CatBoost

from autolog.catboost import HOOKS
from tests.catboost.data import QUIET, pools
from tests.contract import check_hooks, check_table


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS)


def test_the_table_is_whole() -> None:
    check_table("catboost", [])


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("colsample_bylevel", "rsm", 0.5),
        ("eta", "learning_rate", 0.125),
        ("max_bin", "border_count", 64),
        ("max_depth", "depth", 3),
        ("min_child_samples", "min_data_in_leaf", 2),
        ("n_estimators", "iterations", 3),
        ("num_boost_round", "iterations", 3),
        ("num_leaves", "max_leaves", 5),
        ("num_trees", "iterations", 3),
        ("objective", "loss_function", "MAE"),
        ("random_state", "random_seed", 7),
        ("reg_lambda", "l2_leaf_reg", 5),
    ],
)
def test_a_parameter_has_another_name(alias: str, name: str, value: Any) -> None:
    more = {"grow_policy": "Lossguide"} if name in ("max_leaves", "min_data_in_leaf") else {}
    more |= {"iterations": 1} if name != "iterations" else {}
    model = CatBoost({alias: value, **more, **QUIET}).fit(pools("diabetes")[0])
    assert model.get_all_params()[name] == value
    from autolog.catboost.described import _ALIASES

    assert _ALIASES[alias] == name
