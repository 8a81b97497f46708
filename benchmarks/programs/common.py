"""What all programs share: who records them, and what they tell of themselves at their very end.

``python fits.py WAY SHARE``: a way is ``bare``, ``autolog``, ``trackio``, ``wandb`` or ``mlflow``; a share is
how much of the work is done.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import resource
import sys
import time
from typing import Any

way, share = sys.argv[1], float(sys.argv[2])
_told: dict[str, float] = {}


def recorder(flavor: str, autolog: dict[str, Any] | None = None, mlflow: dict[str, Any] | None = None) -> Any:
    """Import what records, and turn it on where one line does that: the first lines of a program.

    Args:
        flavor: the module of MLflow's.
        autolog, mlflow: settings.
    """
    if way == "autolog":
        importlib.import_module("autolog").enable(**(autolog or {}))
    elif way == "mlflow":
        importlib.import_module(f"mlflow.{flavor}").autolog(silent=True, **(mlflow or {}))
    elif way != "bare":
        return importlib.import_module(way)
    return None


def start(recorder: Any, config: dict[str, Any] | None = None) -> Any:
    """Begin a run by hand; returns what has its ``log`` and ``finish``, or None."""
    if way == "trackio":
        recorder.init(project="program", config=config, embed=False)
        return recorder
    return recorder.init(project="program", config=config) if way == "wandb" else None


def begin() -> None:
    """The work begins: all is imported, the data are there."""
    _told["began"] = time.monotonic()


def end() -> None:
    """The last line of the program."""
    _told["ended"] = time.monotonic()


def _tell() -> None:
    _told["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open(os.environ["TOLD"], "w", encoding="utf-8") as file:
        json.dump(_told, file)


atexit.register(_tell)  # what is registered first is called last
