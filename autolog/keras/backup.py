"""Where ``BackupAndRestore`` keeps what a training goes on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from autolog.core.resuming import Checkpoint

__all__ = ["backup_of"]


def backup_of(callbacks: list[Any]) -> Checkpoint | None:
    """The place of the first ``BackupAndRestore``; None: there is none, or it is elsewhere (``gs://``)."""
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            folder = os.fspath(callback.backup_dir)
            if "://" in folder:
                return None
            path = Path(folder).absolute()
            return Checkpoint(path, exists=(path / "training_metadata.json").exists())
    return None
