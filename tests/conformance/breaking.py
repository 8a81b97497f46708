"""Breaking autolog on purpose, in every place that a training passes."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import autolog.capture.origin
from autolog.core import catalogue, current, opening, placing, recording, training
from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.core.writer import Writer
from autolog.process import guard
from autolog.sinks.memory import MemorySink

__all__ = ["WAYS", "breaking", "places_passed", "warning"]


def _raise(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("ours")


def _return_nonsense(*args: Any, **kwargs: Any) -> Any:
    return object()


def _run_out_of_memory(*args: Any, **kwargs: Any) -> Any:
    raise MemoryError


CORE = (current, opening, placing, recording, training)  # where a training's run is found, kept and ended

WAYS: dict[str, Callable[..., Any]] = {
    "raises": _raise,
    "returns a wrong type": _return_nonsense,
    "runs out of memory": _run_out_of_memory,
}


def places_passed(framework: str, training: Callable[[], object]) -> list[str]:
    """Every function of ours that a training passes: its room's, captures, the run, its owner, the sink."""
    passed: list[str] = []
    with ExitStack() as stack:
        for place in _places(framework):
            stack.enter_context(_counting(place, passed))
        training()
    return sorted(set(passed))


@contextmanager
def breaking(place: str, way: str) -> Iterator[list[str]]:
    """Inside, this function of ours is broken; yields the list of its calls."""
    calls: list[str] = []

    def broken(*args: Any, **kwargs: Any) -> Any:
        calls.append(place)
        return WAYS[way](*args, **kwargs)

    with _replaced(place, broken):
        yield calls


@contextmanager
def warning(framework: str) -> Iterator[set[str]]:
    """Inside, every function of ours that a training may pass warns; yields those that were called."""
    passed: set[str] = set()
    with ExitStack() as stack:
        for place in _places(framework):
            stack.enter_context(_warning(place, passed))
        yield passed


def _warning(place: str, passed: set[str]) -> Any:
    original = _find(place)

    @functools.wraps(original)
    def warned(*args: Any, **kwargs: Any) -> Any:
        if guard.this_thread.depth or not _only_remembers():
            passed.add(place)
            warnings.warn(f"{place} of ours", UserWarning, stacklevel=2)
        return original(*args, **kwargs)

    return _replaced(place, warned)


# Outside of every shield, which would cost more than what is done there: attributes are read, and remembered.
ONLY_REMEMBER = ("run_after", "run_asked", "on_train_batch_end")


def _only_remembers() -> bool:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name not in ONLY_REMEMBER:
        frame = frame.f_back
    return frame.f_code.co_name in ONLY_REMEMBER


def _counting(place: str, passed: list[str]) -> Any:
    original = _find(place)

    @functools.wraps(original)
    def counted(*args: Any, **kwargs: Any) -> Any:
        passed.append(place)
        return original(*args, **kwargs)

    return _replaced(place, counted)


def _places(framework: str) -> Iterator[str]:
    """As ``module:function`` and ``module:Class.method``."""
    room = importlib.import_module(catalogue.TABLE[framework].module)
    captures = (*_modules(autolog.capture), *_modules(autolog.capture.origin))
    for module in (*_modules(room), *captures, *CORE):
        for name, thing in vars(module).items():
            # What the garbage collector calls raises to nobody: Python itself prints it.
            if inspect.isfunction(thing) and thing.__module__ == module.__name__ and name != "_forget":
                yield f"{module.__name__}:{name}"
    for cls in (Run, Recording, Writer, MemorySink):
        for name, thing in vars(cls).items():
            if inspect.isfunction(thing) and not name.startswith("__"):
                yield f"{cls.__module__}:{cls.__name__}.{name}"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    yield package
    for found in pkgutil.iter_modules(getattr(package, "__path__", [])):
        yield importlib.import_module(f"{package.__name__}.{found.name}")


def _find(place: str) -> Any:
    module, _, path = place.partition(":")
    return functools.reduce(getattr, path.split("."), sys.modules[module])


@contextmanager
def _replaced(place: str, replacement: Callable[..., Any]) -> Iterator[None]:
    """Wherever this function is known by name: modules import it from each other."""
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    original = _find(place)
    with ExitStack() as stack:
        if owner:
            stack.enter_context(mock.patch.object(_find(f"{module}:{owner}"), name, replacement))
        else:
            for known_in in [m for n, m in list(sys.modules.items()) if n.split(".")[0] == "autolog"]:
                for key in [key for key, value in vars(known_in).items() if value is original]:
                    stack.enter_context(mock.patch.object(known_in, key, replacement))
        yield
