"""Where Trackio keeps its files on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

__all__ = ["data_directory", "journals", "our_folder"]


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


def our_folder() -> Path:
    """The folder of our own files, beside Trackio's.

    It bears a name that cannot be imported: a script that lies in Trackio's directory would find it in the
    place of this package. It was called ``autolog`` once, and is renamed where it still is.
    """
    here = data_directory().absolute()
    folder = here / "autolog-data"
    if here not in _looked_at:
        _looked_at.add(here)
        if not folder.exists() and (here / "autolog" / "journal").is_dir():
            with contextlib.suppress(OSError):  # another process has done it, or nobody may
                (here / "autolog").rename(folder)
    return folder


_looked_at: set[Path] = set()


def journals() -> Path:
    """The folder of our journals."""
    return our_folder() / "journal"
