"""Recording of transformers into memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import autolog
from autolog import MemorySink
from tests.transformers.models import tokenizer


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("transformers", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.fixture(scope="module")
def words() -> Any:
    return tokenizer()
