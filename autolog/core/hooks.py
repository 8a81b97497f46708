"""The seam: the only file that holds an original function of a framework.

A :class:`Hook` names one function of a framework and one observer. Two kinds:

- ``around`` (``fit``, ``train``, ``optimize``): the observer is a generator function. It receives the
  :class:`Call`, may replace arguments with copies, yields once, and is sent the :class:`Outcome`.
- ``after`` (``predict``, ``score``): a plain function that is shown ``(self, args, kwargs, result)``, for
  calls too short to carry a generator.

The engine alone calls the original: exactly once, outside every shield. An observer never holds
the user's function, so it cannot skip, repeat or swallow it.
"""

from __future__ import annotations

import copy
import functools
import importlib
import inspect
import itertools
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any, Literal

from autolog.core.guard import inside_observer, shield
from autolog.core.imports import when_imported

__all__ = ["Call", "Hook", "Outcome", "install", "installed", "uninstall"]

Observer = Callable[..., Any]


@dataclass(frozen=True)
class Hook:
    """One function of a framework, and who watches it.

    Attributes:
        module: the module that holds it, imported already or some day.
        path: ``"function"`` or ``"Class.method"`` inside that module.
        observer: a generator function of a :class:`Call` (around), or a function of
            ``(self, args, kwargs, result)`` (after). As a text, ``"module:name"``, it is imported at the
            first call, so that turning a framework on costs next to nothing.
        kind: ``"around"`` or ``"after"``.
        tree: the method of every class below ``Class``, today's and tomorrow's, wherever it is defined.
    """

    module: str
    path: str
    observer: Observer | str
    kind: Literal["around", "after"] = "around"
    tree: bool = False


class Call:
    """One call of a hooked function, as its observer sees it.

    Attributes:
        arguments: the call's arguments by name; those not given are absent. ``self`` is among them.
    """

    __slots__ = ("_bound", "_signature")

    def __init__(self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self._signature = signature
        self._bound = signature.bind(*args, **kwargs)

    @property
    def arguments(self) -> dict[str, Any]:
        """Those given, by name."""
        return self._bound.arguments

    @property
    def subject(self) -> Any:
        """The object whose method was called."""
        return next(iter(self._bound.arguments.values()), None)

    def get(self, name: str, default: Any = None) -> Any:
        """The argument as the function will see it: given, else its default there."""
        if name in self._bound.arguments:
            return self._bound.arguments[name]
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = self._bound.arguments.get(parameter.name, {})
                if name in extra:
                    return extra[name]
        parameter_here = self._signature.parameters.get(name)
        if parameter_here is None or parameter_here.default is inspect.Parameter.empty:
            return default
        return parameter_here.default

    def replace(self, name: str, value: Any) -> None:
        """Hand the original a copy of ours in place of this argument (never change the user's object)."""
        if name in self._signature.parameters:
            self._bound.arguments[name] = value
            return
        for parameter in self._signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = dict(self._bound.arguments.get(parameter.name, {}))
                extra[name] = value
                self._bound.arguments[parameter.name] = extra
                return
        raise TypeError(f"the hooked function takes no argument {name!r}")


@dataclass(frozen=True)
class Outcome:
    """How the original ended: what it returned, or what it raised."""

    result: Any = None
    error: BaseException | None = None


# The engine -------------------------------------------------------------------------------------


class _Patch:
    """One original, put aside, and what stands in its place."""

    def __init__(
        self,
        owner: Any,
        name: str,
        hook: Hook | None,
        original: Any,
        replacement: Any,
        owner_place: tuple[str, str] | None = None,
    ):
        self.owner = owner
        self.name = name
        self.hook = hook
        self.original = original
        self.replacement = replacement
        self.owner_place = owner_place
        self.place = (id(owner), name, hook)
        self.label = f"watching {getattr(owner, '__name__', owner)}.{name}"
        self.active = True

    @functools.cached_property
    def observer(self) -> Observer:
        assert self.hook is not None
        named = self.hook.observer
        if not isinstance(named, str):
            return named
        module, _, name = named.partition(":")
        observer: Observer = getattr(importlib.import_module(module), name)
        return observer

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(_function_of(self.original))


# By key, since a wrapper that is cloudpickled by value may carry no lock, module or class of ours.
_patches: dict[str, _Patch] = {}
_places: set[tuple[int, str, Hook | None]] = set()
_keys = (f"{os.getpid()}-{os.urandom(4).hex()}-{n}" for n in itertools.count())
_lock = threading.RLock()


# The wrappers look the engine up instead of holding it: one that is unpickled by value where autolog is
# not installed finds none, and is the original. (An import statement would cost a microsecond per call.)


def _wrapper_around(original: Callable[..., Any], key: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        import sys

        engine = sys.modules.get("autolog.core.hooks")
        if engine is None:
            return original(*args, **kwargs)
        return engine.run_around(key, original, args, kwargs)

    return wrapper


def _wrapper_after(original: Callable[..., Any], key: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        import sys

        result = original(*args, **kwargs)
        engine = sys.modules.get("autolog.core.hooks")
        if engine is not None:
            engine.run_after(key, args, kwargs, result)
        return result

    return wrapper


def run_around(key: str, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the original once, its observer around it."""
    patch = _patches.get(key)
    if patch is None or patch.hook is None or not patch.active or inside_observer():
        return original(*args, **kwargs)

    observation: Generator[None, Outcome, None] | None = None
    with shield(patch.label):
        try:
            call = Call(patch.signature, args, kwargs)
        except TypeError:
            call = None  # the original will say what is wrong with it, in its own words
        if call is not None:
            observation = patch.observer(call)
            next(observation)
            args, kwargs = call._bound.args, call._bound.kwargs

    try:
        result = original(*args, **kwargs)
    except BaseException as error:
        _conclude(patch, observation, Outcome(error=error))
        raise
    _conclude(patch, observation, Outcome(result=result))
    return result


def _conclude(patch: _Patch, observation: Generator[None, Outcome, None] | None, outcome: Outcome) -> None:
    if observation is None:
        return
    with shield(patch.label):
        try:
            observation.send(outcome)
        except StopIteration:
            return
        raise RuntimeError("an observer yields once")


def run_after(key: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Show a call that has returned to its observer."""
    patch = _patches.get(key)
    if patch is None or patch.hook is None or not patch.active or inside_observer():
        return
    with shield(patch.label):
        patch.observer(args[0] if args else None, args[1:], kwargs, result)


# Putting in and taking out ----------------------------------------------------------------------


def install(hooks: Iterable[Hook]) -> None:
    """Put hooks where their modules are loaded, now; the others right after their module is imported."""
    for hook in hooks:
        with _lock:
            _wanted.add(hook)
        when_imported(hook.module, functools.partial(_install_now, hook))


def uninstall(hooks: Iterable[Hook]) -> None:
    """Put back exactly what stood there. Where somebody patched over us, go dormant instead."""
    hooks = set(hooks)
    with _lock:
        _wanted.difference_update(hooks)
        # Backwards: where two hooks share a place, the one on top leaves first.
        for key, patch in reversed(list(_patches.items())):
            still_wanted = (
                any(hook.tree and _place(hook) == patch.owner_place for hook in _wanted)
                if patch.hook is None
                else patch.hook not in hooks
            )
            if still_wanted or not patch.active:
                continue
            patch.active = False
            _places.discard(patch.place)
            if vars(patch.owner).get(patch.name) is patch.replacement:
                if patch.original is _ABSENT:
                    delattr(patch.owner, patch.name)
                else:
                    setattr(patch.owner, patch.name, patch.original)
                del _patches[key]


def installed() -> list[str]:
    """Names of the places that are patched now, for tests and bug reports."""
    return [patch.label for patch in _patches.values() if patch.active]


_ABSENT: Any = object()
_wanted: set[Hook] = set()


def _install_now(hook: Hook) -> None:
    owner: Any = sys.modules[hook.module]
    *classes, name = hook.path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    with _lock:
        if hook not in _wanted:
            return
        if not hook.tree:
            _patch_definer(owner, name, hook)
            return
        for cls in _class_and_subclasses(owner):
            _patch_definer(cls, name, hook)
        _watch_new_subclasses(owner, _place(hook))


def _patch_definer(owner: Any, name: str, hook: Hook) -> None:
    """Patch where the method stands in a ``__dict__``: anywhere else, undo would leave a copy behind.

    For a class of a tree that may be a mixin outside of it: scikit-learn's LogisticRegression has its
    ``predict`` from LinearClassifierMixin.
    """
    places = owner.__mro__ if inspect.isclass(owner) else [owner]
    definer = next((place for place in places if name in vars(place)), None)
    if definer is not None:
        _patch(definer, name, hook)


def _class_and_subclasses(cls: type) -> Iterator[type]:
    seen: set[type] = set()
    todo = [cls]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            yield current
            todo.extend(type.__subclasses__(current))


def _patch(owner: Any, name: str, hook: Hook) -> None:
    original = vars(owner)[name]
    place = (id(owner), name, hook)
    if place in _places or not callable(_function_of(original)):
        return
    key = next(_keys)
    make = _wrapper_around if hook.kind == "around" else _wrapper_after
    if isinstance(original, (staticmethod, classmethod)):
        replacement: Any = type(original)(make(original.__func__, key))
    elif isinstance(original, FunctionType) or not hasattr(original, "__get__"):
        replacement = make(original, key)
    elif isinstance(getattr(original, "fn", None), FunctionType):
        # scikit-learn's available_if: the same descriptor, around the wrapped function.
        replacement = copy.copy(original)
        replacement.fn = make(original.fn, key)
    else:
        return  # a property or a C slot: nothing here that could be wrapped and restored exactly
    _put(key, _Patch(owner, name, hook, original, replacement))


def _put(key: str, patch: _Patch) -> None:
    _patches[key] = patch
    _places.add(patch.place)
    setattr(patch.owner, patch.name, patch.replacement)


def _function_of(original: Any) -> Any:
    return getattr(original, "__func__", None) or getattr(original, "fn", None) or original


def _watch_new_subclasses(base: type, place: tuple[str, str]) -> None:
    """Classes that are defined later are patched as they are made."""
    name = "__init_subclass__"
    if (id(base), name, None) in _places:
        return
    before = vars(base).get(name, _ABSENT)

    def __init_subclass__(cls: type, **kwargs: Any) -> None:  # noqa: N807
        if before is _ABSENT:
            super(base, cls).__init_subclass__(**kwargs)  # type: ignore[arg-type]
        else:
            before.__get__(None, cls)(**kwargs)
        with shield(f"hooking {cls.__name__}"), _lock:
            for hook in [hook for hook in _wanted if hook.tree and _place(hook) == place]:
                _patch_definer(cls, hook.path.rpartition(".")[2], hook)

    _put(next(_keys), _Patch(base, name, None, before, classmethod(__init_subclass__), place))  # type: ignore[arg-type]


def _place(hook: Hook) -> tuple[str, str]:
    """The class that a hook names: module and path."""
    return hook.module, hook.path.rpartition(".")[0]
