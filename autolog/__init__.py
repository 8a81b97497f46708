"""autolog: one line records a training into Trackio.

>>> import autolog
>>> autolog.enable()

Importing this imports neither a framework nor Trackio; the frameworks' modules resolve when they are
first asked for (``autolog.sklearn``).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from autolog.core.catalogue import TABLE as _TABLE
from autolog.core.catalogue import FrameworkError, disable, enable, enabled, status
from autolog.core.settings import SettingError, Settings

if TYPE_CHECKING:
    from autolog.core.ending import finish
    from autolog.core.evaluations import evaluation, log_evaluation
    from autolog.core.opening import current_run, last_run, run
    from autolog.core.run import Run
    from autolog.core.writer import RunError
    from autolog.review.export import export
    from autolog.review.listing import runs
    from autolog.review.report import report
    from autolog.sinks.memory import MemorySink
    from autolog.sklearn.explaining import explain

__all__ = [
    "FrameworkError",
    "MemorySink",
    "Run",
    "RunError",
    "SettingError",
    "Settings",
    "current_run",
    "disable",
    "enable",
    "enabled",
    "evaluation",
    "explain",
    "export",
    "finish",
    "last_run",
    "log_evaluation",
    "report",
    "run",
    "runs",
    "status",
]

__version__ = "0.1.0"

_BY_HAND = ("accelerate", "torch")  # loops are watched by hand: there is nothing for enable() to turn on

_LAZY = {
    "MemorySink": "autolog.sinks.memory",
    "Run": "autolog.core.run",
    "RunError": "autolog.core.writer",
    "current_run": "autolog.core.opening",
    "evaluation": "autolog.core.evaluations",
    "explain": "autolog.sklearn.explaining",
    "export": "autolog.review.export",
    "finish": "autolog.core.ending",
    "last_run": "autolog.core.opening",
    "log_evaluation": "autolog.core.evaluations",
    "report": "autolog.review.report",
    "run": "autolog.core.opening",
    "runs": "autolog.review.listing",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    if name in _TABLE:
        return importlib.import_module(_TABLE[name].module)
    if name in _BY_HAND:
        return importlib.import_module(f"autolog.{name}")
    from autolog.core.words import of_the_module

    raise AttributeError(of_the_module(name))


def __dir__() -> list[str]:
    return sorted({*__all__, *_TABLE, *_BY_HAND, "__version__"})
