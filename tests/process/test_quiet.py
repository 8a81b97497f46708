"""What our code is warned of is dropped, what the user's is warned of comes: in all threads."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import pytest
from sklearn.utils.parallel import Parallel, delayed

from autolog.process import background, guard, quiet
from autolog.process.guard import measured, shield


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Neither our filter, nor what keeps it first."""
    background.drain(60)
    with warnings.catch_warnings():
        warnings.resetwarnings()
        after_changes = getattr(warnings, quiet._AFTER)
        yield
        assert quiet._FILTER not in warnings.filters
        assert getattr(warnings, quiet._AFTER) is after_changes


def warn() -> None:
    warnings.warn("look here", UserWarning, stacklevel=2)


def silent() -> None:
    with shield("here"):
        warn()


def elsewhere(function: Callable[[], Any]) -> Any:
    """In a thread, to its end; returns or raises what it does."""
    with joblib.parallel_backend("threading", n_jobs=2):
        return joblib.Parallel()([joblib.delayed(function)()])[0]


@pytest.mark.parametrize("ours", [silent, measured(warn), lambda: elsewhere(silent)], ids=[1, 2, 3])
def test_ours_is_dropped_and_the_users_comes(ours: Callable[[], object]) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ours()
        assert not told
        warn()
        assert len(told) == 1
    warnings.simplefilter("error")
    before = list(warnings.filters)
    ours()
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="look here"):
        warn()


def test_other_threads_are_warned_while_ours_runs() -> None:
    warnings.simplefilter("error")
    with shield("here"):
        with pytest.raises(UserWarning):
            elsewhere(warn)
        elsewhere(silent)
        warn()  # the other thread's end is not this one's
    with pytest.raises(UserWarning):
        warn()


@pytest.mark.parametrize("where", [elsewhere, lambda function: function()], ids=["elsewhere", "here"])
@pytest.mark.parametrize("change", ["simplefilter", "filterwarnings", "resetwarnings", "catch_warnings"])
def test_filters_that_are_changed_meanwhile_do_not_concern_ours(
    change: str, where: Callable[[Callable[[], object]], object]
) -> None:
    def changes() -> None:
        if change == "catch_warnings":
            block.__enter__()
        elif change == "resetwarnings":
            warnings.resetwarnings()
        if change == "filterwarnings":
            warnings.filterwarnings("error", "look")
        else:
            warnings.simplefilter("error")

    block = warnings.catch_warnings(record=True)
    with shield("here"):
        where(changes)
        warn()
    with pytest.raises(UserWarning):
        warn()


def test_filters_that_are_put_back_later_hold_nothing_of_ours() -> None:
    before = list(warnings.filters)
    outer, inner = warnings.catch_warnings(), warnings.catch_warnings()
    with shield("here"):
        outer.__enter__()
        inner.__enter__()
        warnings.simplefilter("error")
    assert warnings.filters == [("error", None, Warning, None, 0), *before]
    for block in (inner, outer):
        block.__exit__(None, None, None)
        assert warnings.filters == before
    last = warnings.catch_warnings()
    last.__enter__()
    with shield("here"):
        last.__exit__(None, None, None)
        warnings.simplefilter("error")
        warn()
    warnings.filters.pop(0)  # type: ignore[attr-defined]
    assert warnings.filters == before


def test_what_is_shown_once_is_shown_once_and_not_used_up_by_ours() -> None:
    def once() -> None:
        warnings.warn_explicit("look here", UserWarning, "a.py", 3, registry=registry)

    registry: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for counts in (0, 1, 1):
            with shield("here"):
                once()
            assert len(told) == counts
            once()
            assert len(told) == 1


def test_what_has_been_shown_is_not_shown_again_after_a_call_of_ours() -> None:
    """A library that we call changes the filters for a moment; Python forgets what it has shown, if told."""

    def once() -> None:
        warnings.warn_explicit("look here", UserWarning, "a.py", 3, registry=registry)

    def ours() -> None:
        with shield("here"), warnings.catch_warnings():
            warnings.simplefilter("ignore")

    registry: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        once()
        ours()
        elsewhere(ours)
        once()
        assert len(told) == 1
        warnings.simplefilter("default")  # the user's own change
        once()
        assert len(told) == 2


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_scikit_learns_workers_take_over_the_filters_meanwhile(backend: str, n_jobs: int) -> None:
    """It reads the patterns of all filters, and pickles them."""
    warnings.simplefilter("ignore", DeprecationWarning)
    began, done = threading.Event(), threading.Event()

    def ours() -> None:
        with shield("here"):
            began.set()
            done.wait(60)

    thread = threading.Thread(target=ours)
    thread.start()
    began.wait(60)
    try:
        assert quiet._FILTER in warnings.filters
        with joblib.parallel_backend(backend, n_jobs=n_jobs):
            assert Parallel()(delayed(abs)(n) for n in (-1, -2)) == [1, 2]
    finally:
        done.set()
        thread.join()


def test_a_copy_of_the_filter_matches_nothing() -> None:
    with shield("here"):
        copies = [copy.deepcopy(quiet._FILTER), pickle.loads(pickle.dumps(quiet._FILTER))]
    warnings.filters[:] = copies  # type: ignore[index]
    with pytest.raises(UserWarning):
        warnings.simplefilter("error", append=True)
        warn()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_the_users() -> None:
    warnings.simplefilter("error")
    with shield("here"):
        if (pid := os.fork()) == 0:
            try:
                warn()
            except UserWarning:
                os._exit(7 if quiet._FILTER not in warnings.filters else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        warn()


def test_an_interrupt_at_the_beginning_leaves_the_thread_to_the_user() -> None:
    """Ctrl-C in any line of a shield's beginning. (None comes where a lock is let go of.)"""
    left = 0

    def interrupt(frame: Any, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != guard.__file__:
            return None
        if event == "line":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return interrupt

    warnings.simplefilter("error")
    before = sys.gettrace()
    for line in range(100):
        left, is_inside = line, False
        sys.settrace(interrupt)
        try:
            with shield("here"):
                sys.settrace(before)
                is_inside = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        with pytest.raises(UserWarning):
            warn()
        assert not guard.inside_observer()
        assert guard.this_thread.depth == 0
        if is_inside:
            break
    assert 8 < line < 99


def test_many_threads_at_a_time_each_get_their_own() -> None:
    warnings.simplefilter("error")
    end = time.monotonic() + 1
    wrong: list[str] = []

    def user() -> None:
        while time.monotonic() < end:
            try:
                warn()
                wrong.append("the user's was dropped")
            except UserWarning:
                pass

    def ours() -> None:
        while time.monotonic() < end:
            try:
                silent()
            except UserWarning:
                wrong.append("ours came")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=target) for target in (user, ours) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong
    assert not guard.faults
