"""Describing a value costs no import, and knows nothing of the rest of the package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import autolog.capture

FOLDER = Path(autolog.capture.__file__).parent
FRAMEWORKS = {"numpy", "pandas", "matplotlib", "sklearn", "torch", "trackio", "joblib", "scipy"}


@pytest.mark.parametrize("module", ["params", "origin.provenance", "model", "figures"])
def test_importing_it_imports_no_framework(module):
    code = f"import sys, autolog.capture.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not FRAMEWORKS & set(done.stdout.split())


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("*.py")), ids=lambda file: str(file.relative_to(FOLDER)))
def test_it_imports_nothing_of_autolog_outside_capture(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert not name.startswith("autolog") or name.startswith(("autolog.capture", "autolog.process"))
            assert not name.startswith("matplotlib.pyplot")
