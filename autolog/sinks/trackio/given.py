"""What a user may log beside numbers, in the form in which ``trackio.log`` stores it.

As ``Run.log`` (trackio/run.py) and ``serialize_values`` (trackio/utils.py) do it; tests/sinks/test_given.py
logs the same values by both, and compares what is in the database.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

__all__ = ["holds_media", "media_files", "stored_value"]

_FILES = {f"trackio.{kind}" for kind in ("image", "video", "audio", "html", "object3d")}


def stored_value(value: Any, *, project: str, run: str, step: int) -> Any:
    """A value as it stands in the database: what JSON knows. Files are written to Trackio's media folder.

    Raises:
        Exception: Trackio does not take it: what its own code says of it.
    """
    if "trackio" in sys.modules:  # else nobody can have an object of its
        value = _without_objects(value, project, run, step)
    return orjson.loads(orjson.dumps(_plain(value)))


def _without_objects(value: Any, project: str, run: str, step: int) -> Any:
    """Trackio's own objects as they are stored."""
    from trackio import Histogram, Markdown, Table, Trace
    from trackio.media import TrackioMedia

    if isinstance(value, (Table, Trace)):
        return value._to_dict(project=project, run=run, step=step)
    if isinstance(value, list) and value and all(isinstance(item, Trace) for item in value):
        return [item._to_dict(project=project, run=run, step=step) for item in value]
    if isinstance(value, (Histogram, Markdown)):
        return value._to_dict()
    if isinstance(value, TrackioMedia):
        value._save(project, run, step)
        return value._to_dict()
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def holds_media(value: Any) -> bool:
    """Whether a list or mapping holds objects of Trackio's, which it takes by themselves only."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(type(item).__module__.startswith("trackio.") for item in items)


def media_files(value: Any) -> Iterator[Path]:
    """The files that stored values refer to, anywhere in them."""
    if isinstance(value, list):
        for item in value:
            yield from media_files(item)
    elif isinstance(value, dict) and value.get("_type") in _FILES and isinstance(value.get("file_path"), str):
        from trackio.utils import MEDIA_DIR

        yield Path(MEDIA_DIR) / value["file_path"]
    elif isinstance(value, dict):
        for item in value.values():
            yield from media_files(item)
