"""What each room stands on in its framework: its hooks, and the private names that it uses.

Each room has a table of those names, and its tests fail when the framework changes one of them: they say
which piece has moved. What the pieces do together is tested by the room's other tests.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import autolog
from autolog.process import hooks as engine
from autolog.process.hooks import Hook, install, state_of, uninstall

# Python's own.
PYTHONS = {"_asdict", "_current_frames", "_exit", "_getframe", "_reconstructor", "_replace"}
JOBLIBS = {"_backend"}  # which the core uses for every room; scikit-learn's contract, which brings it, has it


@dataclass(frozen=True)
class Private:
    """A private name of a framework.

    Attributes:
        found: looks it up; raises, or is false, where it is not there. (None is a value.)
        needs: the versions that have it, e.g. ``"optuna>=4.2"``: in others the room does without.
    """

    found: Callable[[], object]
    needs: str = ""

    def check(self) -> None:
        """Fails if it has moved."""
        if self.needs:
            required = Requirement(self.needs)
            if not required.specifier.contains(importlib.metadata.version(required.name), prereleases=True):
                with pytest.raises((AttributeError, ImportError)):
                    self.found()
                return
        assert self.found() is not False, "it is something else now"


def sets(cls: type, name: str) -> bool:
    """Whether a class names an attribute where it is made: for those whose making takes a server."""
    return name in inspect.unwrap(vars(cls)["__init__"]).__code__.co_names


def local(function: Any, name: str) -> bool:
    """Whether a function has a variable of this name."""
    code = inspect.unwrap(function).__code__
    return name in (*code.co_varnames, *code.co_cellvars)


def check_hooks(hooks: Iterable[Hook], *, sources: Mapping[str, str] | None = None) -> None:
    """Every hook finds its place in the installed framework, and its observer in the room.

    Args:
        sources: modules that cannot be imported here, and each one's file below its package: that is read.
    """
    sources, missing = sources or {}, []
    for hook in hooks:
        assert hook.records, f"{hook.place} says what is lost without it"
        if isinstance(hook.observer, str):
            module, _, name = hook.observer.partition(":")
            assert callable(getattr(importlib.import_module(module), name))
        if hook.module in sources:
            is_there = _is_written(hook, sources[hook.module])
        else:
            importlib.import_module(hook.module)
            install([hook])
            # A tree is put in where its class stands: somewhere in it the function has to stand, too.
            is_there = state_of(hook) == "in" and any(p.hook is hook for p in engine._patches.values())
            uninstall([hook])
        if not (is_there or hook.optional):
            missing.append(hook.place)
    assert not missing, missing


def _is_written(hook: Hook, source: str) -> bool:
    package: Any = importlib.import_module(hook.module.partition(".")[0])
    *classes, name = hook.path.split(".")
    inside = ast.parse(Path(package.__file__).parent.joinpath(source).read_text()).body
    for cls in classes:
        inside = next(node.body for node in inside if isinstance(node, ast.ClassDef) and node.name == cls)
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in inside)


def check_table(room: str, table: Iterable[str]) -> None:
    """The table has every private name that the room uses, and neither it nor the core defines."""
    root = Path(autolog.__file__).parent
    used: set[str] = set()
    ours: set[str] = set()
    for path in (*root.glob(f"{room}.py"), *root.glob(f"{room}/*.py"), *root.glob("core/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    ours.add(name)
                case ast.Name(id=name, ctx=ast.Store()) | ast.alias(asname=str(name)):
                    ours.add(name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    ours.add(name)
                case ast.Attribute(attr=name):
                    used.add(name)
                case ast.Call(func=ast.Name(id="getattr" | "hasattr"), args=[_, ast.Constant(name), *_]):
                    used.add(name)
                case ast.alias(name=name):
                    used |= set(name.split("."))
    known = ours | PYTHONS | JOBLIBS
    private = {name for name in used - known if name.startswith("_") and not name.startswith("__")}
    assert not private - set(table), private - set(table)
