"""Where Trackio keeps its files on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["data_directory", "journals"]


def data_directory() -> Path:
    """Trackio's directory here: the one it has fixed if it is imported, else the one it will take."""
    utils = sys.modules.get("trackio.utils")
    if utils is not None and hasattr(utils, "TRACKIO_DIR"):
        return Path(utils.TRACKIO_DIR)
    if os.environ.get("TRACKIO_DIR"):
        return Path(os.environ["TRACKIO_DIR"])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    return Path(os.path.expandvars(os.path.expanduser(home))) / "trackio"


def journals() -> Path:
    """The folder of our journals, beside them."""
    return data_directory().absolute() / "autolog" / "journal"
