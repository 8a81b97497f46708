"""What our code is warned of is dropped; what the user's is warned of comes.

Our own calls (a prediction once more, a score, a picture, an import) may raise warnings. They are not for
the user, and where warnings are errors they would cost a record. :class:`warnings.catch_warnings`
cannot help: it changes the filters of all threads, leaves them wrong where two threads use it at a time, and
has every warning shown again that is shown once.

So as long as something of ours runs, one more filter stands first. In a thread that runs our code it ignores
everything, in any other one it matches nothing. Python remembers nothing of a warning that is ignored: one of
the user's that is shown once is still shown when it comes from their own call. And Python is not told that
the filters have changed, upon which it would forget what has been shown: neither by us nor by a library that
changes them when we call it. (A thread that a library starts for a call of ours is none of ours.)
"""

from __future__ import annotations

import re
import threading
import warnings
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any

from autolog.process import forks

__all__ = ["begin", "end"]

_NOTHING = "(?!)"  # the pattern that no text matches
_NEVER: Callable[[str], object] = frozenset[str]().__contains__  # which is true of no text


class _Ours(threading.local):
    """What a warning's text is matched with.

    Python walks through the filters in C. It lets no other thread in meanwhile, which may change them, unless
    one of them is matched by Python code: so ``match`` is a function of C's, in each thread its own.

    scikit-learn hands the filters on to workers: to threads by their patterns, to processes pickled. There it
    is a pattern that nothing matches.
    """

    match: Callable[[str], object] = _NEVER
    pattern = _NOTHING

    def __reduce__(self) -> Any:
        return re.compile, (_NOTHING,)


_here = _Ours()
_FILTER: Any = ("ignore", _here, Warning, None, 0)
_lock = threading.RLock()  # a signal handler may come back to it
_running: set[int] = set()  # threads; one whose beginning or end was interrupted is right after its next one
_lists: deque[list[Any]] = deque(maxlen=1_000)  # of filters, in which ours stands; a training may make many

# What Python's own functions call when they have changed the filters; its name since 3.14, and before.
_AFTER = (
    "_filters_mutated_lock_held" if hasattr(warnings, "_filters_mutated_lock_held") else "_filters_mutated"
)
_after_changes: Callable[[], object] = getattr(warnings, _AFTER, lambda: None)


def begin() -> None:
    """From here on this thread runs our code."""
    with _lock:
        if not _running:
            setattr(warnings, _AFTER, _stay_first)
        _running.add(get_ident())
        filters: Any = warnings.filters
        if not filters or filters[0] is not _FILTER:
            filters.insert(0, _FILTER)
            _lists.append(filters)
    _here.match = type  # which is true of every text


def end() -> None:
    """From here on this thread runs the user's code."""
    _here.match = _NEVER
    with _lock:
        _running.discard(get_ident())
        if _running:
            return
        filters: Any = warnings.filters
        if len(_lists) == 1 and _lists[0] is filters and filters and filters[0] is _FILTER:  # nearly always
            del filters[0]
            _lists.clear()
        else:
            _go()
        setattr(warnings, _AFTER, _after_changes)


def _stay_first() -> None:
    """The filters have changed while our code runs: by a library that it calls, or in another thread."""
    if get_ident() not in _running:
        _after_changes()
    with _lock:
        if _running:
            filters: Any = warnings.filters
            _take_out_of(filters)
            filters.insert(0, _FILTER)
            _lists.append(filters)  # a copy that `catch_warnings` has made, or the one that it has put back


def _go() -> None:
    for filters in (*_lists, warnings.filters):
        _take_out_of(filters)
    _lists.clear()


def _take_out_of(filters: Any) -> None:
    while _FILTER in filters:
        filters.remove(_FILTER)


def _new_in_child() -> None:
    """A forked child runs nothing of ours."""
    global _lock
    _lock = threading.RLock()
    _running.clear()
    end()  # takes the filter out


forks.when_forked("guard", in_child=_new_in_child)
