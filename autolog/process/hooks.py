"""Hooks: the only file that replaces a function of a framework, and calls the original inside.

A :class:`Hook` names one function of a framework and one observer. Three kinds:

- ``around`` (``fit``, ``train``, ``optimize``): the observer is a generator function. It receives the
  :class:`Call`, may replace arguments with copies, yields once, and is sent the :class:`Outcome`.
- ``after`` (``predict``, ``score``): a plain function that is shown ``(self, args, kwargs, result)``, for
  calls too short to carry a generator.
- ``asked`` (what is inside of a metric): a function without arguments, which says before each call who wants
  to see what comes of it: mostly nobody (None), else a function of ``(call, result)``.

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
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import CellType, CodeType, FunctionType, TracebackType
from typing import Any, Literal, NamedTuple, TypeVar

from autolog.process import guard
from autolog.process.accounts import account_of
from autolog.process.context import watched
from autolog.process.guard import measured, shield, this_thread
from autolog.process.imports import when_imported
from autolog.process.interrupts import came_by_signal
from autolog.process.signatures import signature_of

__all__ = [
    "NOWHERE",
    "Call",
    "Hook",
    "Outcome",
    "State",
    "hook_of",
    "install",
    "installed",
    "state_of",
    "uninstall",
    "unseen",
]

Observer = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])


class Hook(NamedTuple):
    """One function of a framework, and who watches it.

    A tuple, since a worker that trains nothing waits for this file: a dataclass takes longer to make.

    Attributes:
        module: the module that holds it, imported already or some day.
        path: ``"function"`` or ``"Class.method"`` inside that module; or ``"function.name"``: what a
            decorator holds of the function that it has decorated, by the decorator's own name for it. Who
            has imported the decorated function calls that one all the same.
        observer: a generator function of a :class:`Call` (around); a function of
            ``(self, args, kwargs, result)`` (after), or one that says who wants to see the call (asked): both
            open a shield for anything that takes long or calls the framework. As a text, ``"module:name"``,
            it is imported at the first call, so that turning a framework on costs next to nothing.
        kind: ``"around"``, ``"after"`` or ``"asked"``.
        tree: the method of every class below ``Class``, today's and tomorrow's, wherever it is defined.
        outermost_of: a framework whose outermost call alone is watched: inside of one that is recorded (see
            :class:`autolog.process.context.watching`) the calls are passed on at once. A search makes
            hundreds.
        records: what is recorded by it, in words: what a user is told is lost where it cannot be put in.
        optional: some of the framework's versions do not have it, and nothing is lost there.
        along: the full name of the function whose hook it came with, and is taken out with.
    """

    module: str
    path: str
    observer: Observer | str
    kind: Literal["around", "after", "asked"] = "around"
    tree: bool = False
    outermost_of: str | None = None
    records: str = ""
    optional: bool = False
    along: str | None = None

    @property
    def place(self) -> str:
        """The full name of the function."""
        return f"{self.module}.{self.path}"


class Binding:
    """How a function's arguments get their names: as ``inspect.Signature.bind`` does it, in less time.

    Some calls that are hooked come at every step of a training.
    """

    def __init__(self, function: Callable[..., Any]):
        self.name = getattr(function, "__name__", type(function).__name__)
        self.signature = signature_of(function)
        parameters = self.signature.parameters.values()
        # Where some are taken in other ways (*args, **kwargs, by position only), `bind` knows best.
        self._is_plain = all(p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)
        self._names = tuple(p.name for p in parameters)
        self.by_position = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        self._required = frozenset(p.name for p in parameters if p.default is p.empty)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments by name, in the order of the parameters.

        Raises:
            TypeError: the function cannot be called like this.
        """
        if not self._is_plain:
            return self.signature.bind(*args, **kwargs).arguments
        given = dict(zip(self.by_position, args, strict=False))
        if len(args) > len(self.by_position) or not given.keys().isdisjoint(kwargs):
            raise TypeError("too many arguments")
        if kwargs:
            given |= kwargs
            ordered = {name: given[name] for name in self._names if name in given}
            if len(ordered) < len(given):
                raise TypeError("an unknown argument")
            given = ordered
        if not self._required <= given.keys():
            raise TypeError("a missing argument")
        return given


class Call:
    """One call of a hooked function, as its observer sees it.

    Attributes:
        arguments: the call's arguments by name; those not given are absent. ``self`` is among them.
    """

    __slots__ = ("_args", "_binding", "_kwargs", "arguments")

    def __init__(self, binding: Binding, args: tuple[Any, ...], kwargs: dict[str, Any]):
        self._binding = binding
        self._args = args
        self._kwargs = kwargs
        self.arguments = binding.bind(args, kwargs)

    @property
    def function(self) -> str:
        """The name of the function that was called."""
        return self._binding.name

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of what the function takes by place and by name, in order. ``self`` is among them."""
        return self._binding.by_position

    @property
    def subject(self) -> Any:
        """The object whose method was called."""
        return next(iter(self.arguments.values()), None)

    def get(self, name: str, default: Any = None) -> Any:
        """The argument as the function will see it: given, else its default there."""
        if name in self.arguments:
            return self.arguments[name]
        if name in self._kwargs:  # one that the function takes by **kwargs
            return self._kwargs[name]
        parameter = self._binding.signature.parameters.get(name)
        if parameter is None or parameter.default is inspect.Parameter.empty:
            return default
        return parameter.default

    def changed(self) -> dict[str, Any]:
        """The arguments that are not what the function takes them for if they are not given."""
        parameters = self._binding.signature.parameters
        defaults = {name: parameters[name].default for name in self.arguments if name in parameters}
        return {
            name: value
            for name, value in self.arguments.items()
            if value is not defaults.get(name)
            and not (isinstance(value, (str, int, float)) and value == defaults.get(name))
        }

    def replace(self, name: str, value: Any) -> None:
        """Hand the original a copy of ours in place of this argument (never change the user's object).

        The others go to it exactly as they were given: by position or by name.

        Raises:
            TypeError: the function takes no such argument.
        """
        parameters = self._binding.signature.parameters
        by_position = [p.name for p in parameters.values() if p.kind in _POSITIONAL]
        index = by_position.index(name) if name in by_position else len(self._args)
        if name in self._kwargs or index >= len(self._args):
            takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            if name not in parameters and not takes_any:
                raise TypeError(f"the hooked function takes no argument {name!r}")
            self._kwargs = {**self._kwargs, name: value}
        else:
            self._args = (*self._args[:index], value, *self._args[index + 1 :])
        self.arguments = self._binding.bind(self._args, self._kwargs)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Outcome:
    """How the original ended: what it returned, or what it raised."""

    __slots__ = ("error", "result")

    def __init__(self, result: Any = None, error: BaseException | None = None):
        self.result = result
        self.error = error


# The engine -------------------------------------------------------------------------------------

# Python's warnings pass over frames of files that are called like the import system's, and so over ours:
# a warning with a stacklevel in the user's fit names the line that it named without us.
NOWHERE = "<autolog, as importlib._bootstrap>"


def _invisible(function: F) -> F:
    def hide(code: CodeType) -> CodeType:
        inner = tuple(hide(c) if isinstance(c, CodeType) else c for c in code.co_consts)
        return code.replace(co_filename=NOWHERE, co_consts=inner)

    function.__code__ = hide(function.__code__)
    return function


class unseen:  # noqa: N801 - reads as a statement: with unseen():
    """Around a call of the user's in a frame of ours, which is then in no traceback: see the wrappers."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, frames: TracebackType | None) -> None:
        if error is not None and frames is not None:
            error.__traceback__ = frames.tb_next


class _Patch:
    """A place where a wrapper of ours stands. Holds neither the user's class nor their function.

    The original is kept by the wrapper alone, so that a class that is thrown away is gone.
    """

    def __init__(self, owner: Any, name: str, hook: Hook | None, base: type | None):
        self.key = next(_keys)
        # (When the interpreter ends, a module's functions may go before the classes.)
        self.owner = weakref.ref(owner, lambda _: _forget(self.key) if _forget is not None else None)
        self.name = name
        self.hook = hook
        self.base = base
        self.place = (id(owner), name, hook)
        self.label = f"watching {getattr(owner, '__name__', owner)}.{name}"
        self.active = True
        self.outermost_of = hook.outermost_of if hook is not None else None
        self._binding: Binding | None = None
        # Known at once where it can be: torch.compile would trace what meets a hook again, once it is known.
        self._observer: Any = None if hook is None or isinstance(hook.observer, str) else hook.observer

    @property
    def observer(self) -> Observer:
        assert self.hook is not None
        if self._observer is None:  # (no cached_property: its lock is more than torch.compile can trace)
            observer: Any = self.hook.observer
            if isinstance(observer, str):
                module, _, name = observer.partition(":")
                observer = getattr(measured(importlib.import_module)(module), name)
            self._observer = observer  # once it is whole: other threads take it as soon as it is there
        known: Observer = self._observer
        return known

    def binding(self, original: Callable[..., Any]) -> Binding:
        if self._binding is None:
            self._binding = Binding(original)
        return self._binding

    def concerns(self, args: tuple[Any, ...]) -> bool:
        """Whether a call is for the observer: a mixin of the tree may serve classes outside of it."""
        if not self.active or this_thread.shields or self.hook is None:  # silent inside our own code
            return False
        if self.outermost_of is not None and self.outermost_of in watched.get():
            return False
        return self.base is None or (len(args) > 0 and isinstance(args[0], self.base))


# By key, since a wrapper that is cloudpickled by value may carry no lock, module or class of ours.
_patches: dict[str, _Patch] = {}
_places: set[tuple[int, str, Hook | None]] = set()
_keys = (f"{os.getpid()}-{os.urandom(4).hex()}-{n}" for n in itertools.count())
_lock = threading.RLock()


def _forget(key: str) -> None:
    patch = _patches.pop(key, None)
    if patch is not None:
        _places.discard(patch.place)


# The wrappers look the engine up instead of holding it: one that is unpickled by value where autolog is
# not installed finds none, and is the original. (An import statement would cost a microsecond per call.)
#
# An exception of the user's passes through our frames without a trace: each takes itself out of the
# traceback, and a bare `raise` puts it in no more. Who reads tracebacks by their files (Keras cuts its own
# frames off and keeps the last other one, notebooks show the lines) would take our frames for the user's.


@_invisible
def _wrapper_around(original: Callable[..., Any], key: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        engine = sys.modules.get("autolog.process.hooks")
        try:
            if engine is None:
                return original(*args, **kwargs)
            return engine.run_around(key, original, args, kwargs)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise

    return wrapper


@_invisible
def _wrapper_after(original: Callable[..., Any], key: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            result = original(*args, **kwargs)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise
        engine = sys.modules.get("autolog.process.hooks")
        if engine is not None:
            engine.run_after(key, args, kwargs, result)
        return result

    return wrapper


@_invisible
def _wrapper_asked(original: Callable[..., Any], key: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        engine = sys.modules.get("autolog.process.hooks")
        try:
            if engine is None:
                return original(*args, **kwargs)
            return engine.run_asked(key, original, args, kwargs)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise

    return wrapper


_WRAPPERS = {"around": _wrapper_around, "after": _wrapper_after, "asked": _wrapper_asked}


@_invisible
def run_around(key: str, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the original once, its observer around it."""
    patch = _patches.get(key)
    if patch is None or not patch.concerns(args):
        try:
            return original(*args, **kwargs)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise

    observation: Generator[None, Outcome, None] | None = None
    with shield(patch.label):
        try:
            call = Call(patch.binding(original), args, kwargs)
        except (TypeError, ValueError):
            call = None  # it does not bind: the original will say so, in its own words
        if call is not None:
            observation = patch.observer(call)
            next(observation)
            args, kwargs = call._args, call._kwargs

    try:
        result = original(*args, **kwargs)
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
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
    """Show a call that has returned to its observer.

    Of a one-row ``predict`` every microsecond is a percent: so no shield around it but its catch. An
    observer that has more to do than to remember opens one of its own.
    """
    patch = _patches.get(key)
    if patch is None or not patch.concerns(args):
        return
    try:
        observer = patch._observer or patch.observer
        observer(args[0] if args else None, args[1:], kwargs, result)
    except Exception as error:
        with shield(patch.label):
            if args and (account := account_of(args[0])) is not None:
                guard.charge(account)
            raise error


@_invisible
def run_asked(key: str, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call the original once, and show it to who has asked for it before. As bare as :func:`run_after`."""
    patch = _patches.get(key)
    show: Callable[[Call, Any], object] | None = None
    if patch is not None and patch.concerns(args):
        try:
            show = (patch._observer or patch.observer)()
        except Exception as error:
            with shield(patch.label):
                raise error
    try:
        result = original(*args, **kwargs)
    except BaseException as error:
        error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
        raise
    if show is not None and patch is not None:
        try:
            show(Call(patch.binding(original), args, kwargs), result)
        except Exception as error:
            with shield(patch.label):
                raise error
    return result


# Putting in and taking out ----------------------------------------------------------------------


State = Literal["out", "waiting", "in", "missing", "left out"]
Missing = Callable[[Hook, str], object]


def install(hooks: Iterable[Hook], missing: Missing = lambda hook, why: None) -> None:
    """Put hooks where their modules are loaded, now; the others right after their module is imported.

    It never raises: what a framework has renamed costs the record, not the training.

    Args:
        missing: is told of each hook that cannot be put in, and why, as soon as that is known.
    """
    for hook in hooks:
        with _lock:
            _wanted.add(hook)
        then = functools.partial(_install_now, hook, missing)
        gone = functools.partial(_is_missing, hook, missing, "no such module")
        when_imported(hook.module, then, gone)


def state_of(hook: Hook) -> State:
    """Whether a hook stands where it belongs: ``left out`` is an optional one that has no place there."""
    if hook not in _wanted:
        return "out"
    if hook not in _why_missing:
        return "waiting"
    if _why_missing[hook] is None:
        return "in"
    return "left out" if hook.optional else "missing"


def hook_of(function: Any) -> Hook | None:
    """The hook that this function was put in for, if it stands."""
    patch = _patches.get(getattr(function, "__autolog_key__", ""))
    return patch.hook if patch is not None and patch.active else None


def uninstall(hooks: Iterable[Hook]) -> None:
    """Put back exactly what stood there. Where somebody patched over us, go dormant instead."""
    hooks = set(hooks)
    with _lock:
        places = {hook.place for hook in hooks}
        hooks |= {hook for hook in _wanted if hook.along in places}
        _wanted.difference_update(hooks)
        for hook in hooks:
            _why_missing.pop(hook, None)
        # Backwards: where two hooks share a place, the one on top leaves first.
        for patch in reversed(list(_patches.values())):
            still_wanted = (
                any(hook.tree and _class_of(hook) is patch.owner() for hook in _wanted)
                if patch.hook is None
                else patch.hook not in hooks
            )
            if patch.active and not still_wanted:
                patch.active = False
                _places.discard(patch.place)
                with shield(f"un{patch.label}"):
                    _take_out(patch)


def _take_out(patch: _Patch) -> None:
    owner = patch.owner()
    function = _function_of(_attributes(owner).get(patch.name)) if owner is not None else None
    if function is None or getattr(function, "__autolog_key__", None) != patch.key:
        return  # somebody has patched over us: our wrapper stays below, dormant
    original = function.__autolog_original__
    if original is _ABSENT:
        delattr(owner, patch.name)
    else:
        _set(owner, patch.name, original)
    del _patches[patch.key]


def installed() -> list[str]:
    """Names of the places that are patched now, for tests and bug reports."""
    return [patch.label for patch in _patches.values() if patch.active]


class _Absent:
    """Nothing stood there before: a class's `__init_subclass__`, inherited."""

    def __reduce__(self) -> str:
        return "_ABSENT"


_ABSENT: Any = _Absent()
_wanted: set[Hook] = set()
_why_missing: dict[Hook, str | None] = {}  # of those whose place has been looked at. None: it is in


def _install_now(hook: Hook, missing: Missing) -> None:
    try:
        why = _put_in(hook)
    except Exception as error:  # a module that fails when it is asked, a class that takes no attribute
        if came_by_signal(error):
            raise
        why = f"{type(error).__name__}: {error}"
    if why is not None:
        _is_missing(hook, missing, why)


def _is_missing(hook: Hook, missing: Missing, why: str) -> None:
    with _lock:
        if hook not in _wanted:
            return
        _why_missing[hook] = why
    if not hook.optional:
        missing(hook, why)


def _put_in(hook: Hook) -> str | None:
    """Put it in if it is wanted still. Returns why that cannot be done."""
    owner: Any = sys.modules[hook.module]
    *classes, name = hook.path.split(".")
    for part in classes:
        if not hasattr(owner, part):
            return f"no class {part}"
        owner = getattr(owner, part)
    with _lock:
        if hook not in _wanted:
            return None
        if not hook.tree:
            why = _patch_definer(owner, name, hook, None)
        else:
            for definer in _definers(owner, name):
                with shield(f"hooking {definer.__name__}"):  # one that refuses must not cost the others
                    _patch(definer, name, hook, owner)
            _watch_new_subclasses(owner)
            why = None  # it is there for the classes that are to come
        if why is None:
            _why_missing[hook] = None
        return why


def _class_of(hook: Hook) -> Any:
    """The class that a hook names, if its module is loaded."""
    owner: Any = sys.modules.get(hook.module)
    for part in hook.path.split(".")[:-1]:
        owner = getattr(owner, part, None)
    return owner


def _patch_definer(owner: Any, name: str, hook: Hook, base: type | None) -> str | None:
    """Patch where the method stands in a ``__dict__``: anywhere else, undo would leave a copy behind.

    For a class of a tree that may be a mixin outside of it: scikit-learn's LogisticRegression has its
    ``predict`` from LinearClassifierMixin. Returns why it cannot be patched.
    """
    if inspect.isclass(owner):
        definer = _definer(owner, name)
    else:
        definer = owner if name in _attributes(owner) else None
    if definer is None:
        return "no such function"
    return _patch(definer, name, hook, base)


def _definer(cls: type, name: str) -> type | None:
    for place in cls.__mro__:
        if name in place.__dict__:
            return place
    return None


def _definers(base: type, name: str) -> Iterable[type]:
    """Where the method of any class of a tree stands, each place once."""
    found = dict.fromkeys(_definer(cls, name) for cls in _class_and_subclasses(base))
    return [place for place in found if place is not None]


def _class_and_subclasses(cls: type) -> Iterator[type]:
    seen: set[type] = set()
    todo = [cls]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            yield current
            todo.extend(type.__subclasses__(current))


def _patch(owner: Any, name: str, hook: Hook, base: type | None) -> str | None:
    original = _attributes(owner)[name]
    if (id(owner), name, hook) in _places:
        return None
    patch = _Patch(owner, name, hook, base)
    make = _WRAPPERS[hook.kind]
    if isinstance(original, (staticmethod, classmethod)) and isinstance(original.__func__, FunctionType):
        replacement: Any = type(original)(make(original.__func__, patch.key))
    elif isinstance(original, FunctionType) or (inspect.ismodule(owner) and callable(original)):
        replacement = make(original, patch.key)
    elif isinstance(getattr(original, "fn", None), FunctionType):
        # scikit-learn's available_if: the same descriptor, around the wrapped function.
        replacement = copy.copy(original)
        replacement.fn = make(original.fn, patch.key)
    else:
        # A property, a partial, a class, an object with __call__: in a class these bind in ways of their
        # own, which no function in their place would keep.
        return f"no function but {type(original).__name__}"
    _put(patch, original, replacement)
    return None


def _put(patch: _Patch, original: Any, replacement: Any) -> None:
    function = _function_of(replacement)
    function.__autolog_key__ = patch.key
    function.__autolog_original__ = original
    _set(patch.owner(), patch.name, replacement)
    _patches[patch.key] = patch
    _places.add(patch.place)


def _attributes(owner: Any) -> Mapping[str, Any]:
    """What stands in a module or class; of a function what it was made with, as decorators do it."""
    if isinstance(owner, FunctionType):
        return {name: cell.cell_contents for name, cell in _cells(owner).items()}
    attributes: Mapping[str, Any] = vars(owner)
    return attributes


def _set(owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, FunctionType):
        _cells(owner)[name].cell_contents = value
    else:
        setattr(owner, name, value)


def _cells(function: FunctionType) -> dict[str, CellType]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def _function_of(thing: Any) -> Any:
    return getattr(thing, "__func__", None) or getattr(thing, "fn", None) or thing


def _watch_new_subclasses(base: type) -> None:
    """Classes that are defined later are patched as they are made."""
    name = "__init_subclass__"
    if (id(base), name, None) in _places:
        return
    before = vars(base).get(name, _ABSENT)

    def __init_subclass__(cls: type, **kwargs: Any) -> None:  # noqa: N807
        try:
            if before is _ABSENT:
                super(base, cls).__init_subclass__(**kwargs)  # type: ignore[arg-type]
            else:
                before.__get__(None, cls)(**kwargs)
        except BaseException as error:
            error.__traceback__ = error.__traceback__.tb_next  # type: ignore[union-attr]
            raise
        with shield(f"hooking {cls.__name__}"), _lock:
            for hook in [hook for hook in _wanted if hook.tree and _class_of(hook) is base]:
                _patch_definer(cls, hook.path.rpartition(".")[2], hook, base)

    _put(_Patch(base, name, None, None), before, classmethod(_invisible(__init_subclass__)))  # type: ignore[arg-type]
