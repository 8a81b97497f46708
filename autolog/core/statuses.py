"""How a run can end, and which exceptions mean what.

Some frameworks leave a training by an exception that is no failure. Which those are stands in the catalogue:
by name, since the framework is perhaps not installed.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["STATUSES", "is_failure", "register", "status_of"]

STATUSES = ("running", "finished", "failed", "killed", "pruned", "crashed")

Names = set[tuple[str, str]]

_pruned: Names = set()
_killed: Names = set()


def register(status: Literal["pruned", "killed"], exceptions: tuple[str, ...]) -> None:
    """These exceptions, each as ``module:class``, mean this status instead of a failure."""
    names = {(module, name) for module, _, name in (text.partition(":") for text in exceptions)}
    (_pruned if status == "pruned" else _killed).update(names)


def status_of(error: BaseException | None) -> str:
    """The status that fits how a call ended."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished"
    if _is_one_of(_pruned, error):
        return "pruned"
    is_killed = isinstance(error, (KeyboardInterrupt, GeneratorExit)) or _is_one_of(_killed, error)
    return "killed" if is_killed else "failed"


def is_failure(error: BaseException) -> bool:
    """Whether a person should be told of it: Ctrl-C, a pruned trial and a stopped step are none."""
    return isinstance(error, Exception) and not _is_one_of(_pruned | _killed, error)


def _is_one_of(names: Names, error: BaseException) -> bool:
    return not names.isdisjoint((kind.__module__, kind.__name__) for kind in type(error).__mro__)
