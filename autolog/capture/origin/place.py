"""Where code lies: its folder, its repository."""

from __future__ import annotations

from pathlib import Path

__all__ = ["repository", "root_of", "working_directory"]


def working_directory(cwd: Path | None = None) -> Path | None:
    """The process's working directory, or this one; None if it does not exist (any more)."""
    try:
        return cwd.resolve(strict=True) if cwd is not None else Path.cwd()
    except OSError:
        return None


def repository(folder: Path) -> Path | None:
    """The closest folder at or above `folder` that git works in; worktrees and submodules too."""
    try:
        return next((at for at in (folder, *folder.parents) if (at / ".git").exists()), None)
    except OSError:
        return None


def root_of(code: Path | None, *folders: Path | None) -> Path | None:
    """The repository of the script, else that of the first folder which is in one."""
    places = [code.parent] if code is not None else []
    places += [folder for folder in folders if folder is not None]
    return next((root for place in places if (root := repository(place)) is not None), None)
