"""What is hooked of ZenML, and what is used of it that is private."""

from __future__ import annotations

import pytest
from zenml.stack.stack_component import StackComponent
from zenml.steps.step_context import StepContext

from autolog.zenml import HOOKS
from tests.contract import Private, check_hooks, check_table, sets

PRIVATE = {
    "_config": Private(lambda: sets(StackComponent, "_config")),
    "_cleanup_registry": Private(lambda: sets(StepContext, "_cleanup_registry")),
    # Of versions that have one context per process; newer ones say publicly which is the current one.
    "_exists": Private(lambda: hasattr(StepContext, "get") or StepContext._exists() in (True, False)),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("zenml", PRIVATE)
