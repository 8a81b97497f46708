"""A trained model, in its library's own file format, as an artifact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from autolog.core.recording import Recording

__all__ = ["NativeFile", "keep_model"]


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
    path = Path(run.stage(file.name))
    try:
        file.write(path)
    except Exception as error:  # what the library cannot save in this format
        path.unlink(missing_ok=True)
        run.note_lost("model", f"not kept: {type(error).__name__}: {error}")
        return
    size = path.stat().st_size
    if size > run.settings.artifact_limit:
        path.unlink()
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    run.staged_artifact(f"model-{name}", "model", {file.name: path}, {"bytes": size})
