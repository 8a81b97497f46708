"""What ``autolog doctor`` asks in processes of their own, since they import what is looked at.

A framework that cannot be imported, or that ends the interpreter, ends only the process that looked at it.
Each function is such a process (see :func:`autolog.process.apart.start`); its last line is the answer, as
JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any, NoReturn

__all__ = ["frameworks", "hooks", "trackio"]


def frameworks() -> None:
    """Our version, and the catalogue: of each framework its versions, and whether it can be recorded."""
    _without_settings()
    from autolog import __version__
    from autolog.core.catalogue import TABLE, status

    rows = [
        {
            "name": row.name,
            "distribution": TABLE[row.name].distribution,
            "version": row.version,
            "requires": row.requires,
            "tested": TABLE[row.name].tested,
            "why": row.why,
        }
        for row in status()
    ]
    _answer({"autolog": __version__, "frameworks": rows})


def hooks() -> None:
    """The hooks of the framework that is named, once it is imported."""
    _without_settings()
    from autolog.core.catalogue import TABLE, enable, status

    name = sys.argv[1]
    enable(name, sink="memory")
    try:
        importlib.import_module(TABLE[name].trigger)
    except Exception as error:
        _answer({"error": f"{type(error).__name__}: {error}"})
    (row,) = [row for row in status() if row.name == name]
    _answer({"in": row.hooks.put_in, "waiting": row.hooks.waiting, "missing": row.hooks.missing})


def trackio() -> None:
    """How rows are written with the Trackio that is installed: tried in an empty ``TRACKIO_DIR``."""
    from autolog.sinks.trackio.stores import store_for

    _answer({"note": store_for("doctor").note})


def _without_settings() -> None:
    """It is looked at what is installed, not at how it is set."""
    for variable in [name for name in os.environ if name.startswith("AUTOLOG_")]:
        del os.environ[variable]


def _answer(found: Any) -> NoReturn:
    print("\n" + json.dumps(found), flush=True)  # whatever was printed on the way stands above
    os._exit(0)  # there is nothing to be tidied
