"""The house's rules, read off the source: one way down, one owner for each thing, a light import."""

from __future__ import annotations

import ast
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import autolog
from autolog.core.catalogue import TABLE

ROOT = Path(autolog.__file__).parent
ROOMS = {framework.module.split(".")[1] for framework in TABLE.values()} | {"accelerate", "torch"}
# A framework that is built on another one is recorded with that one's room.
BUILT_ON = {"lightning": {"torch"}, "pytorch_lightning": {"lightning"}, "transformers": {"torch"}}
FLOORS = {"process", "capture", "sinks", "core"}


def files(*parts: str) -> list[Path]:
    """Files of ours below these folders; all of them if none is named."""
    wanted = [ROOT / part for part in parts] or [ROOT]
    return sorted(
        path
        for place in wanted
        for path in (place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")])
    )


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


# One way down -----------------------------------------------------------------------------------------


def test_the_contracts_on_imports_hold() -> None:
    """Floors, and no circles: `[tool.importlinter]` in pyproject.toml says which."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_room_imports_another_one_but_that_of_a_framework_it_is_built_on() -> None:
    wrong = []
    for room in ROOMS:
        for path in files(room):
            for name, line in imports_of(path):
                there = name.split(".")[1] if "." in name else ""
                if there in ROOMS - {room} - BUILT_ON.get(room, set()):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_every_file_stands_in_a_known_room() -> None:
    parts = {path.relative_to(ROOT).with_suffix("").parts[0] for path in files()}
    assert parts == {"__init__", "__main__", "bootstrap", "cli", "review"} | FLOORS | ROOMS


def test_only_one_folder_imports_trackio() -> None:
    importing = set()
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            if any(name.split(".")[0] == "trackio" for name in names):
                importing.add(path.relative_to(ROOT).parent.as_posix())
    assert importing == {"sinks/trackio"}


# One owner for each thing -----------------------------------------------------------------------------


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Names and texts of a file's code, with their lines: no comments, no docstrings."""
    tree = ast.parse(path.read_text())
    prose = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type in (tokenize.NAME, tokenize.STRING) and token.start[0] not in prose:
                yield token.start[0], token.string


@pytest.mark.parametrize("floor", ["core", "process"])
def test_no_framework_is_named_below_the_rooms_outside_the_catalogue(floor: str) -> None:
    names = {*TABLE, "torch", "accelerate", "kerastuner", "joblib"} | {f.distribution for f in TABLE.values()}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} {word}"
        for path in files(floor)
        if path.name not in ("catalogue.py", "unlisted.py", "words.py")  # the table, and beside it
        for line, word in words(path)
        if any(name in word.lower() for name in names)
    ]
    assert wrong == []


def test_rooms_write_through_a_recording_and_never_into_a_runs_private_attributes() -> None:
    runs = {"run", "recording", "training", "outer", "parent", "child", "loop", "face", "experiment"}
    wrong = []
    for path in files(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (
                isinstance(node, ast.Attribute)
                and node.attr.startswith("_")
                and not node.attr.startswith("__")
            ):
                continue
            owner = node.value
            name = (
                owner.id
                if isinstance(owner, ast.Name)
                else owner.attr
                if isinstance(owner, ast.Attribute)
                else ""
            )
            if name.lstrip("_") in runs:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}.{node.attr}")
    assert wrong == []


def test_no_file_sets_a_variable_of_another_one() -> None:
    """Nor appends to a list of another file's: that goes through a function of the file that owns it."""
    wrong = []
    for path in files():
        tree = ast.parse(path.read_text())
        modules = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autolog")
            for alias in node.names
            if (ROOT.parent / (node.module or "").replace(".", "/") / f"{alias.name}.py").exists()
        }
        for node in ast.walk(tree):
            targets = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
                targets = [node.target]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                targets = [node.func.value] if node.func.attr in ("append", "add", "remove", "clear") else []
            for target in targets:
                owner = target.value if isinstance(target, ast.Attribute) else None
                if isinstance(owner, ast.Name) and owner.id in modules:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(target)}")
    assert wrong == []


def test_python_is_told_of_forks_once() -> None:
    telling = [
        path.relative_to(ROOT).as_posix()
        for path in files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("register_at_fork")
    ]
    assert telling == ["process/forks.py"]


def test_a_run_shows_what_a_user_calls() -> None:
    with autolog.enabled(sink=autolog.MemorySink(), log_code=False), autolog.run() as run:
        shown = dir(run)
    # The rest of Trackio's run is there, unlisted.
    assert set(shown) == {
        "alert", "artifact", "child", "figure", "finish", "group", "id", "log", "name", "params", "parent",
        "project", "report", "status", "table", "tag", "url",
    }  # fmt: skip
    assert len(shown) <= 18
    assert all(hasattr(run, name) for name in shown)


@pytest.mark.parametrize("name", TABLE)
def test_a_room_shows_what_a_user_calls(name: str) -> None:
    room = getattr(autolog, name)
    named = set(autolog.lightning.__all__ if name == "pytorch_lightning" else room.__all__) - {"HOOKS"}
    assert set(dir(room)) == named or not named  # of some there is nothing to call


def test_the_package_shows_what_a_user_calls() -> None:
    assert set(dir(autolog)) == {*autolog.__all__, *ROOMS, "__version__"}


# What a bare import brings along ----------------------------------------------------------------------


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
