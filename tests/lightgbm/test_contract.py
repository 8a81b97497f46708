"""What is hooked of LightGBM, and what is used of it that is private."""

from __future__ import annotations

import lightgbm
import pytest

from autolog.lightgbm import HOOKS
from tests.contract import Private, check_hooks, check_table

PRIVATE = {
    "_ConfigAliases": Private(lambda: lightgbm.basic._ConfigAliases),
    "_get_all_param_aliases": Private(
        lambda: "eta" in lightgbm.basic._ConfigAliases._get_all_param_aliases()["learning_rate"]
    ),
    "_handle": Private(lambda: lightgbm.Dataset([[1.0]], [1.0])._handle is None),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("lightgbm", PRIVATE)
