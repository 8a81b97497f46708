"""The code, machine and environment of a run, recorded off the caller's thread."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from autolog.capture import provenance
from autolog.capture.provenance import Provenance
from autolog.core import background

if TYPE_CHECKING:
    from autolog.core.run import Run

__all__ = ["record"]

# Many short trainings in a row have the same surroundings; git need not be asked for each.
FRESH_SECONDS = 30.0

_lock = threading.Lock()
_known: dict[Path, tuple[float, Provenance]] = {}


def record(run: Run) -> None:
    """Record where this run comes from, soon."""
    if run.records and run.settings.log_code:
        here = Path.cwd()  # now: the program may move on
        background.later("recording code and environment", lambda: _record(run, here))


def _record(run: Run, here: Path) -> None:
    found = _surroundings(here)
    run.describe(found.config)
    for what in found.notes:
        run.note("provenance", what)
    if run.parent is not None:
        return  # the files are with the outermost run
    if not run.keeps("code"):
        run.note("code", "not sent to the server: Settings.share does not name 'code'")
        return
    for kind in ("code", "environment"):
        files = {}
        for name, text in found.files.items():
            if name.startswith(f"{kind}/"):
                path = run.stage(name.replace("/", "-"))
                path.write_text(text, encoding="utf-8", errors="replace")
                files[name.removeprefix(f"{kind}/")] = path
        if files:
            # One name per project: what has not changed is the same version for every run.
            run.staged_artifact(kind, kind, files)


def _surroundings(here: Path) -> Provenance:
    with _lock:
        at, found = _known.get(here, (0.0, None))
        if found is None or time.monotonic() - at > FRESH_SECONDS:
            found = provenance.collect(here)
            _known[here] = (time.monotonic(), found)
        return found


def _new_lock_in_child() -> None:
    """The parent's thread may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock_in_child)
