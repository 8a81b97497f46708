"""XGBoost, recorded into memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module


@pytest.fixture
def recorded(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        yield sink
    autolog.finish()


@pytest.fixture
def by_hand(sink: MemorySink) -> Iterator[MemorySink]:
    """Nothing is turned on: what is recorded is so by a callback."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False))
    yield sink
    settings_module.use(None)
