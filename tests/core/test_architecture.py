"""The house's rule: imports point down only. And what a bare `import autolog` may bring along."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import autolog
from autolog.core.catalogue import TABLE

ROOT = Path(autolog.__file__).parent
ROOMS = {framework.module.split(".")[1] for framework in TABLE.values()} | {"accelerate", "torch"}
# A framework that is built on another one is recorded with that one's room.
BUILT_ON = {"lightning": {"torch"}, "pytorch_lightning": {"lightning"}, "transformers": {"torch"}}
# What each floor may import. `core` knows a room only by its name in the catalogue, as a text.
ALLOWED = {
    "__init__": {"core", "sinks"},
    "room": {"core", "capture", "process"},
    "core": {"core", "sinks", "capture", "process"},
    "sinks": {"sinks", "capture", "process"},
    "capture": {"capture", "process"},
    "process": {"process"},
}


def floor_of(part: str) -> str:
    return "room" if part in ROOMS else part


def imports_of(path: Path) -> list[tuple[str, int]]:
    """Parts of autolog that a file imports, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where an arrow points"
            names = [node.module or ""]
            if node.module == "autolog":
                names = [f"autolog.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found += [(name, node.lineno) for name in names if name == "autolog" or name.startswith("autolog.")]
    return found


def test_imports_point_down_only() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        here = path.relative_to(ROOT).with_suffix("").parts[0]
        for name, line in imports_of(path):
            there = name.split(".")[1] if "." in name else "__init__"
            same_room = here in ROOMS and there in {here} | BUILT_ON.get(here, set())
            if not same_room and floor_of(there) not in ALLOWED[floor_of(here)]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_every_file_stands_in_a_known_room() -> None:
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")}
    assert parts == {"__init__", "core", "sinks", "capture", "process"} | ROOMS


def test_only_one_file_imports_trackio() -> None:
    importing = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if any(name.split(".")[0] == "trackio" for name in names):
                importing.add(path.relative_to(ROOT).as_posix())
    assert importing == {"sinks/trackio.py"}


def modules_after(program: str) -> set[str]:
    code = f"{program}\nimport sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


HEAVY = {"sklearn", "trackio", "numpy", "torch", "keras", "transformers", "lightning", "optuna", "zenml"}


def test_a_bare_import_brings_no_framework_and_no_trackio() -> None:
    modules = modules_after("import autolog")
    assert not modules & (HEAVY | {"pandas", "matplotlib", "asyncio"})
    assert "autolog.core.catalogue" in modules


def test_enable_imports_no_framework_either() -> None:
    assert not modules_after("import autolog; autolog.enable()") & HEAVY


def test_a_room_resolves_after_a_bare_import() -> None:
    assert "autolog.sklearn" in modules_after("import autolog; autolog.sklearn.HOOKS")
