"""What is hooked of transformers, and what is used of it and of TRL that is private."""

from __future__ import annotations

import pytest
from datasets import Dataset
from transformers.integrations import TrackioCallback

from autolog.transformers import HOOKS
from tests.contract import Private, check_hooks, check_table, sets


def _sets_its_logs() -> bool:
    from trl import GRPOTrainer

    return sets(GRPOTrainer, "_logs")


PRIVATE = {
    "_initialized": Private(lambda: TrackioCallback()._initialized is False),
    "_logs": Private(_sets_its_logs),
    "_fingerprint": Private(lambda: isinstance(Dataset.from_dict({"x": [1]})._fingerprint, str)),
}


def test_every_hook_finds_its_place() -> None:
    check_hooks(HOOKS)


@pytest.mark.parametrize("name", PRIVATE)
def test_a_private_name_is_there(name: str) -> None:
    PRIVATE[name].check()


def test_the_table_is_whole() -> None:
    check_table("transformers", PRIVATE)
