"""What a project is called after. It takes no time where the working directory says it: `enable()` asks."""

from __future__ import annotations

import sys
from pathlib import Path

from autolog.capture.origin.place import repository, root_of, working_directory

__all__ = ["project_name"]


def project_name(cwd: Path | None = None) -> str:
    """The name of the enclosing git repository's folder, else of the entry script's, else of the folder.

    Args:
        cwd: Where to start; the working directory when None. `/`, or a working directory that
            no longer exists, gives "default" if the entry script is in no repository either.
    """
    try:
        here = working_directory(cwd)
        root = root_of(None, here) or _root_of_program(cwd)
        return (root or here or Path()).name or "default"
    except Exception:
        return "default"


def _root_of_program(cwd: Path | None) -> Path | None:
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is not None and file.endswith(".py") and repository(Path(file).resolve().parent) is None:
        return None
    from autolog.capture.origin import program  # it takes milliseconds

    return root_of(program.now(cwd).code)
