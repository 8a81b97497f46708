"""Calls a function right after a module has been imported: at once if it is there already.

wrapt's post-import hooks do the same, but importing wrapt 2 costs 41 ms (it pulls asyncio in), four times
what ``autolog.enable()`` may cost as a whole. So: one finder on ``sys.meta_path`` that finds nothing by
itself; it lets the others find a module that is waited for, and hangs on to the end of its execution.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from autolog.process.guard import logger, shield

__all__ = ["is_installed", "when_imported"]

_waiting: defaultdict[str, list[Callable[[], None]]] = defaultdict(list)
_executing: set[str] = set()  # of those waited for, the modules whose code runs right now


def when_imported(name: str, then: Callable[[], None], gone: Callable[[], None] | None = None) -> None:
    """Call ``then`` once: now if the module is imported, else right after it will be.

    A fault in ``then`` is shielded: it never fails the user's import.

    Args:
        gone: called if the package that the module was in is imported, and has no such module. (A package
            that is not installed at all may be some day.)
    """
    module = sys.modules.get(name)
    if name in sys.modules and name not in _executing and not _is_half_imported(module):
        then()
        return
    _waiting[name].append(then)
    if name not in _executing and _is_half_imported(module):
        _wait_for_the_rest(module, name)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    package = name.rpartition(".")[0]
    if gone is not None and package:
        when_imported(package, functools.partial(_look_for, name, package, gone), gone)


def is_installed(package: str) -> bool:
    """Whether this package can be imported; nothing is imported for that."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it is there without a spec: it stands for itself (optuna_integration), or is a stub
        return True


# A module may have begun to be imported before anybody has waited for it: it imports another one, and with
# that comes whoever waits. importlib says in the spec whether a module's code still runs, and takes that back
# at its end.


def _is_half_imported(module: Any) -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


class _ToldSpec(ModuleSpec):
    """A spec that tells of the end of its module's import, once; then it is again what it was."""

    @property
    def _initializing(self) -> bool:
        return bool(vars(self).get("_initializing"))

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        vars(self)["_initializing"] = value
        if not value:
            self.__class__ = vars(self).pop("_autolog_before", ModuleSpec)
            if self.name in sys.modules:  # else it has failed
                _call_waiting(self.name)


def _wait_for_the_rest(module: Any, name: str) -> None:
    spec = module.__spec__
    if isinstance(spec, _ToldSpec) or spec.name != name:
        return
    try:
        vars(spec)["_autolog_before"] = type(spec)
        spec.__class__ = _ToldSpec
    except TypeError:  # a spec of another making
        vars(spec).pop("_autolog_before", None)
        logger.debug("the end of the import of %s cannot be watched", name)


def _call_waiting(name: str) -> None:
    for then in _waiting.pop(name, []):
        with shield(f"hooking {name}"):
            then()


def _look_for(name: str, package: str, gone: Callable[[], None]) -> None:
    with shield(f"looking for {name}"):
        path = getattr(sys.modules[package], "__path__", None)
        if name not in sys.modules and (path is None or _found_by_others(name, path, None) is None):
            gone()


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self._here = threading.local()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _waiting or getattr(self._here, "looking", False):
            return None
        self._here.looking = True
        try:
            spec = _found_by_others(name, path, target)
        finally:
            self._here.looking = False
        if spec is not None and spec.loader is not None:
            _hang_on(spec.loader, name)
        return spec


_finder = _Finder()


def _found_by_others(name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if finder is not _finder and find is not None:
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                return spec
    return None


def _hang_on(loader: Any, name: str) -> None:
    """Shadow this loader's ``exec_module`` for one execution; the loader itself stays what it is."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        if module.__name__ != name:  # a loader that several modules share
            execute(module)
            return
        try:
            del loader.exec_module
        except AttributeError:
            pass
        _executing.add(name)
        try:
            execute(module)
        except BaseException as error:  # this frame is not the user's: a traceback is as it always was
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise
        finally:
            _executing.discard(name)
        _call_waiting(name)

    try:
        loader.exec_module = exec_module
    except AttributeError:
        logger.debug("the import of %s cannot be watched: its loader takes no attribute", name)
