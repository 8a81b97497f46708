"""Where the records of watched loops go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.process import hooks


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9, log_every_n_steps=1))
    yield sink
    autolog.finish()
    settings_module.use(None)
    assert hooks.installed() == []
