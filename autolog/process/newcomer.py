"""What a process does that the user's program has started afresh: its text goes there, and it runs alone.

Nothing of ours is imported there before a framework is: a worker that trains nothing is not to wait for us.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


class Message:
    """What this process was told. Pickled along with a process that it starts itself, it is told there, too.

    Args:
        text: of this file.
        packages, begin, word: see :func:`wait_for`.
        first: the expression that this comes from; it goes on with the same values.
    """

    def __init__(self, text: str, packages: tuple[str, ...], begin: str, word: bytes, first: str):
        self._text = text
        self._told = {"packages": packages, "begin": begin, "word": word, "first": first}
        wait_for(packages, begin, word)

    def __reduce__(self) -> tuple[Any, ...]:
        spawned = sys.modules.get("autolog.process.spawned")
        if spawned is not None and spawned.message is not None:  # we are here by now, and know what is open
            return spawned.message.__reduce__()  # type: ignore[no-any-return]
        names = {"__name__": "autolog_newcomer"}
        return eval, (self._told["first"], {"text": self._text, "names": names, "told": self._told})


def wait_for(packages: tuple[str, ...], begin: str, word: bytes) -> None:
    """Begin as soon as one of these packages is imported: now if one is already.

    Args:
        begin: the function that is called then, as ``module:name``.
        word: what it is given.
    """

    def arrive() -> None:
        module, _, name = begin.partition(":")
        try:
            getattr(importlib.import_module(module), name)(word)
        except Exception as error:  # this process is the user's: it goes on
            print(f"autolog: nothing is recorded in this process: {error}", file=sys.stderr)

    class Waiting:
        """On ``sys.meta_path``; it finds nothing by itself."""

        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name not in packages:
                return None
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                arrive()
            # Who watches imports from now on stands before us, where nobody is asked any more.
            found = (finder.find_spec(name, path, target) for finder in list(sys.meta_path))
            return next((spec for spec in found if spec is not None), None)

    if any(package in sys.modules for package in packages):
        arrive()
    else:
        sys.meta_path.insert(0, Waiting())
