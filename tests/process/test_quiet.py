"""What our code is warned of is dropped, what the user's is warned of is not: in threads, under any filter."""

from __future__ import annotations

import copy
import os
import pickle
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joblib import parallel_backend
from sklearn.utils.parallel import Parallel, delayed

from autolog.process import background, guard, quiet
from autolog.process.guard import measured, shield


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    background.drain(60)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        filters, after = list(warnings.filters), getattr(warnings, quiet._AFTER)
        yield
        assert warnings.filters == filters or quiet._FILTER not in warnings.filters
        assert getattr(warnings, quiet._AFTER) is after


def warn(text: str = "look here") -> None:
    warnings.warn(text, UserWarning, stacklevel=2)


def silent() -> None:
    with shield("here"):
        warn("ours")


def elsewhere(function: Callable[[], object]) -> None:
    """In a thread, to its end."""
    errors: list[BaseException] = []

    def call() -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("ours", [silent, measured(warn), lambda: elsewhere(silent)])
def test_ours_is_dropped_and_the_users_comes(ours: Callable[[], object]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        ours()
        assert warnings.filters == before
        warn()
    assert [str(one.message) for one in caught] == ["look here"]
    warnings.simplefilter("error")
    ours()
    with pytest.raises(UserWarning, match="look here"):
        warn()


def test_another_threads_warnings_come_while_ours_runs() -> None:
    warnings.simplefilter("error")
    with shield("here"):
        with pytest.raises(UserWarning):
            elsewhere(warn)
        elsewhere(silent)
        warn()  # the other thread's end is not this one's
    with pytest.raises(UserWarning):
        warn()


@pytest.mark.parametrize(
    "change",
    [
        lambda: warnings.simplefilter("error"),
        lambda: warnings.filterwarnings("error", "ours"),
        lambda: (warnings.resetwarnings(), warnings.simplefilter("error")),
        lambda: warnings.catch_warnings(record=True).__enter__(),
    ],
    ids=["simplefilter", "filterwarnings", "resetwarnings", "catch_warnings"],
)
@pytest.mark.parametrize("where", [elsewhere, lambda function: function()], ids=["elsewhere", "here"])
def test_filters_that_change_meanwhile_do_not_concern_ours(where: Any, change: Callable[[], object]) -> None:
    with shield("here"):
        where(change)
        warnings.simplefilter("error")
        warn("ours")
    with pytest.raises(UserWarning):
        warn("ours")


def test_filters_that_are_put_back_later_are_the_users_alone() -> None:
    before = list(warnings.filters)
    block, inner = warnings.catch_warnings(), warnings.catch_warnings()
    with shield("here"):
        block.__enter__()
        inner.__enter__()
        warnings.simplefilter("error")
        warn("ours")
    assert warnings.filters[1:] == before
    inner.__exit__()
    assert warnings.filters == before
    block.__exit__()
    assert warnings.filters == before


def test_a_warning_that_is_shown_once_is_still_shown_and_once() -> None:
    warnings.simplefilter("default")
    with warnings.catch_warnings(record=True) as caught:
        for is_ours in (True, False, True, False):
            with shield("here") if is_ours else warnings.catch_warnings.__new__(_Nothing):
                warnings.warn_explicit("once", UserWarning, "a.py", 3, registry=_registry)
    assert len(caught) == 1


_registry: dict[str, Any] = {}


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...
