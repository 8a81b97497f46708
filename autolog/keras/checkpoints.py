"""The checkpoints that the user's own callbacks save."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras

from autolog.core.recording import Recording
from autolog.core.results import record_long_table

__all__ = ["Checkpoints"]


class Checkpoints:
    """Every save of every ``ModelCheckpoint``: listed, the best and the last kept."""

    def __init__(self, run: Recording, callbacks: list[Any]):
        self._run = run
        self._callbacks = [c for c in callbacks if isinstance(c, keras.callbacks.ModelCheckpoint)]
        self._rows: list[dict[str, Any]] = []
        self._seen: dict[str, int] = {}

    def look(self, epoch: int, logs: dict[str, Any], step: int) -> None:
        """After an epoch, when the others have saved: what is new on the disk?"""
        for callback in self._callbacks:
            try:
                # Keras keeps no path of what it has saved.
                path = str(callback._get_file_path(epoch, None, logs))
            except KeyError:  # a metric in the path that this epoch does not have
                continue
            if not os.path.exists(path):
                continue
            changed = os.stat(path).st_mtime_ns
            if self._seen.get(path) != changed:
                self._seen[path] = changed
                value = logs.get(callback.monitor)
                row = {"epoch": epoch + 1, "step": step, "path": path, callback.monitor: value}
                self._rows.append({key: cell for key, cell in row.items() if cell is not None})

    def close(self) -> None:
        """The training has ended."""
        if not self._rows:
            return
        record_long_table(self._run, "checkpoints", self._rows)
        for callback in self._callbacks:
            saved = [row for row in self._rows if Path(row["path"]).exists()]
            if not saved:
                continue
            best = [row for row in saved if row.get(callback.monitor) == callback.best]
            last = Path(saved[-1]["path"]).resolve()
            row = (best or saved)[-1]
            chosen = Path(row["path"]).resolve()
            aliases = ["best"] if best else []
            aliases += ["last"] if chosen == last else []
            self._run.checkpoint(chosen, aliases, row, callback.monitor)
            if chosen != last:
                self._run.checkpoint(last, ["last"], saved[-1], callback.monitor)
