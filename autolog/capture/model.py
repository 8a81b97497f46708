"""A trained model: a bounded dump of it, and what can be said about it in a few words."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sized
from pathlib import Path
from typing import Any, BinaryIO


def dump(model: object, path: Path, *, limit: int) -> int | None:
    """Write a model to a file unless it is larger than the limit.

    A pickle, which `joblib.load` reads as well: joblib's own format takes four times as long for a forest's
    many small arrays. The model streams to the disk, so neither memory nor disk ever holds more of it than
    `limit` allows.

    Args:
        model: Any object that pickles.
        path: The file to write; replaced when it exists, removed when the dump does not succeed.
        limit: The largest size to keep, in bytes.

    Returns:
        The size in bytes, or None when the model is larger than `limit`.

    Raises:
        Exception: Whatever pickling this model, or writing the file, raises.
    """
    try:
        with path.open("wb") as file:
            writer = _Limited(file, limit)
            pickle.dump(model, writer, protocol=pickle.HIGHEST_PROTOCOL)
        return writer.size
    except _TooLargeError:
        path.unlink(missing_ok=True)
        return None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def summary(model: object) -> dict[str, Any]:
    """What a model is: its class, where that comes from, and how many features and outputs.

    Returns:
        `class`, `module`, `version` of the top-level package when it has one, and `features`,
        `outputs` when the fitted model knows them.
    """
    kind = type(model)
    found: dict[str, Any] = {"class": kind.__qualname__, "module": kind.__module__}
    package = sys.modules.get(kind.__module__.partition(".")[0])
    version = getattr(package, "__version__", None)
    if isinstance(version, str):
        found["version"] = version
    features = _attribute(model, "n_features_in_")
    if features is not None:
        found["features"] = int(features)
    outputs = _attribute(model, "n_outputs_")
    classes = _attribute(model, "classes_")
    if isinstance(classes, Sized):
        found["outputs"] = len(classes)
    elif isinstance(outputs, int):
        found["outputs"] = outputs
    return found


class _TooLargeError(Exception):
    pass


class _Limited:
    """The part of a binary file that picklers use, ending at a limit."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self.size = 0

    def write(self, data: Any) -> int:
        self.size += memoryview(data).nbytes
        if self.size > self._limit:
            raise _TooLargeError
        return self._file.write(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self._file.flush()


def _attribute(model: object, name: str) -> Any:
    # A property may raise before the model is fitted, and need not raise AttributeError.
    try:
        return getattr(model, name, None)
    except Exception:
        return None
