"""Records, in the background, from which code, program and machine a run comes."""

from __future__ import annotations

import dataclasses
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from autolog.core import started
from autolog.process import background, forks
from autolog.process.guard import charge, shield

if TYPE_CHECKING:
    from autolog.capture.origin.program import Program
    from autolog.capture.origin.result import Provenance
    from autolog.core.recording import Recording

__all__ = ["known_here", "program_here", "record"]

# Many short trainings in a row have the same surroundings; git need not be asked for each.
FRESH_SECONDS = 30.0

_lock = threading.Lock()
_known: tuple[float, Program, Provenance] | None = None


# Recording -----------------------------------------------------------------------------------------


def program_here() -> dict[str, Any]:
    """The program as it is now, in plain values, for other processes that work for it."""
    from autolog.capture.params import sanitize

    now = _now()
    values = {item.name: getattr(now, item.name) for item in dataclasses.fields(now)}
    return {**values, "arguments": sanitize(now.arguments), "hydra": None}


def known_here() -> bytes | None:
    """What has been found out of it by now, pickled, for processes that are started afresh."""
    return pickle.dumps(_known[2]) if _known is not None else None


def _now() -> Program:
    global _known
    from autolog.capture.origin import program

    worked_for = started.worked_for()
    if worked_for is None:
        return program.now(began_in=started.began_in, arguments=started.arguments())
    values, known = worked_for
    now = program.Program(**values)
    if _known is None and known is not None:
        _known = (time.monotonic(), _without_arguments(now), pickle.loads(known))
    return now


def record(run: Recording) -> None:
    """Record where this run comes from, soon."""
    if run.records and run.settings.log_code:
        with shield("recording code and environment"):
            now = _now()  # the program may move on
            if started.is_worker() and _is_known(now):  # it may be ended before anything is done soon
                _record(run, now)
            else:
                background.later("recording code and environment", lambda: _record(run, now))


def _record(run: Recording, now: Program) -> None:
    from autolog.capture.origin.result import Provenance

    charge(run)  # if something goes wrong, this run says so
    common, asked = _in_common(now), Provenance()
    config = dict(common.config)
    if run.parent is None:
        now.describe_arguments(asked)
        config |= asked.config
    if run.parent is not None or not run.keeps("code"):
        config.pop("git/untracked", None)  # many lines; and names that nobody meant to publish
    run.describe(config)
    for what in (*common.notes, *asked.notes):
        run.note("provenance", what)
    if run.parent is not None:
        return  # the files are with the outermost run
    if not run.keeps("code"):
        run.note("code", "not sent to the server: Settings.share does not name 'code'")
        return
    for kind in ("code", "environment"):
        kept = {}
        for number, (name, text) in enumerate(common.files.items()):
            if name.startswith(f"{kind}/"):
                path = run.stage(f"{kind}-{number}")
                path.write_text(text, encoding="utf-8", errors="replace")
                kept[name.removeprefix(f"{kind}/")] = path
        if kept:
            # One name per project: what has not changed is the same version for every run.
            run.staged_artifact(kind, kind, kept)


def _in_common(now: Program) -> Provenance:
    """All but the arguments: the last answer, if it is fresh and the program does what it did then."""
    global _known
    from autolog.capture.origin import provenance

    with _lock:
        if _known is None or not _is_known(now):
            same = _without_arguments(now)
            _known = (time.monotonic(), same, provenance.in_common(same))
        return _known[2]


def _is_known(now: Program) -> bool:
    """Whether the last answer holds: a worker's program is that of its parent, for as long as it lives."""
    if _known is None or _known[1] != _without_arguments(now):
        return False
    return started.is_worker() or time.monotonic() - _known[0] < FRESH_SECONDS


def _without_arguments(now: Program) -> Program:
    return dataclasses.replace(now, arguments={}, hydra=None)


def _new_lock_in_child() -> None:
    """The parent's thread may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


forks.when_forked("surroundings", in_child=_new_lock_in_child)
