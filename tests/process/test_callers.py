"""Through whose modules a call has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autolog.process.callers import callers_in

Asked = Callable[[], list[str]]


def called_through(modules: list[str]) -> list[str]:
    """What a module of ``acme`` is told that was called through these, the last one called first."""
    names: dict[str, Any] = {"__name__": "acme.training", "callers_in": callers_in}
    exec("def inner(): return list(callers_in('acme'))", names)
    call: Asked = names["inner"]
    for module in modules:
        names = {"__name__": module, "inner": call}
        exec("def outer(): return inner()", names)
        call = names["outer"]
    return call()


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ([], ["acme.training"]),
        (["acme.sklearn"], ["acme.training", "acme.sklearn"]),
        (
            ["acme.sklearn", "autolog.process.hooks", "acme.dask"],
            ["acme.training", "acme.sklearn", "acme.dask"],
        ),
        (["acme.sklearn", "program", "acme.dask"], ["acme.training", "acme.sklearn"]),
        (["acmeless"], ["acme.training"]),
    ],
)
def test_modules_of_a_package_up_to_whoever_has_called_it(modules: list[str], told: list[str]) -> None:
    assert called_through(modules) == told
