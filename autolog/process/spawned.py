"""Processes that the user's program starts afresh: spawn, forkserver, joblib's loky. They are told of us.

A forked child has all that its parent has; these begin with nothing. What a process of ``multiprocessing``
inherits from the one that starts it is pickled along with it, in whichever way it is started: one value of
ours goes along, and what it becomes there is a few lines that wait for a framework.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from autolog.process.guard import shield

__all__ = ["tell"]

_KEY = "autolog"
_FIRST = "exec(text, names) or names['Message'](text, **told)"  # what is made of it there

Word = Callable[[bool], bytes | None]


def tell(packages: tuple[str, ...], begin: str, word: Word) -> None:
    """Call a function in each process that is started afresh from now on, once a package is imported there.

    To be called once ``multiprocessing.process`` is imported, which nobody has to be for our sake.

    Args:
        packages: the first of them that is imported lets it begin.
        begin: the function, as ``module:name``. It is given the word.
        word: called here whenever a process is started, with whether that is one of a pool which many tasks
            of many callers share. None: that process is told nothing.
    """
    global message
    message = _Message(packages, begin, word)
    # Each process object has a copy of this mapping of the process that makes it, and no other way in.
    processes = importlib.import_module("multiprocessing.process")
    processes.current_process()._config[_KEY] = message


class _Message:
    """Pickled it is what a process is told, as code and plain values: nothing that it would have to find."""

    def __init__(self, packages: tuple[str, ...], begin: str, word: Word):
        self._packages, self._begin, self._word = packages, begin, word
        self._text = pkgutil.get_data("autolog.process", "newcomer.py")  # as it is now: it fits this file

    def __reduce__(self) -> tuple[Any, ...]:
        with shield("telling a process that is started of its run"):
            popen = importlib.import_module("multiprocessing.context").get_spawning_popen()
            word = self._word("loky" in type(popen).__module__) if popen is not None else None
            if word is not None and self._text is not None:
                told = {"packages": self._packages, "begin": self._begin, "word": word, "first": _FIRST}
                # With a name of its own it is a module like any other: what is defined in it can be told.
                names = {"__name__": "autolog_newcomer"}
                return eval, (_FIRST, {"text": self._text.decode(), "names": names, "told": told})
        return dict, ()


message: _Message | None = None
"""What goes along from here. A process that was told of us itself asks for it: see ``newcomer.py``."""
