"""Commands are called in this process, where that is cheap: what they print, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from autolog.cli import main
from tests.review.conftest import empty, project

__all__ = ["empty", "project"]

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Called:
    """Call a command; returns its exit status and what it has printed to both outputs."""

    def called(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return called


@pytest.fixture
def told(call: Called) -> Callable[..., Any]:
    """Call a command with ``--json``, which succeeds; returns what it says."""

    def asked(*arguments: str, code: int = 0) -> Any:
        ended, out, err = call(*arguments, "--json")
        assert ended == code, err
        return orjson.loads(out)

    return asked
