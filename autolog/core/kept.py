"""A trained model, in its library's own file format, as an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from autolog.core.recording import Recording

__all__ = ["NativeFile", "keep_model", "staged"]


class NativeFile(NamedTuple):
    """A model in its library's own format.

    Attributes:
        name: of the file, whose ending says how it is loaded again.
        write: saves the model to a path.
    """

    name: str
    write: Callable[[Path], object]


def keep_model(run: Recording, name: str, file: NativeFile) -> None:
    """Keep a model, up to ``Settings.artifact_limit``.

    Args:
        name: of its class.
        file: the model, as a file.
    """
    if not run.settings.log_models or not run.records:
        return
    limit = run.settings.artifact_limit
    too_large = f"not kept: larger than Settings.artifact_limit ({limit:,} bytes)"
    if (path := staged(run, file, limit, "model", too_large)) is not None:
        run.staged_artifact(f"model-{name}", "model", {file.name: path}, {"bytes": path.stat().st_size})


def staged(run: Recording, file: NativeFile, limit: int, what: str, too_large: str) -> Path | None:
    """Write a model to a file of the run.

    Args:
        limit: bytes that it may have.
        what: a note is about, if there is no file.
        too_large: the note, if that is why.

    Returns:
        None: its library cannot save it in this format, or it is too large.
    """
    path = Path(run.stage(file.name))
    try:
        file.write(path)
    except Exception as error:
        path.unlink(missing_ok=True)
        run.note_lost(what, f"not kept: {type(error).__name__}: {error}")
        return None
    if path.stat().st_size > limit:
        path.unlink()
        run.note(what, too_large)
        return None
    return path
