"""A quiet Optuna, recorded into memory."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("optuna", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.fixture
def with_sklearn(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("optuna", "sklearn", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.fixture
def by_hand(sink: MemorySink) -> Iterator[MemorySink]:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    settings_module.use(None)
