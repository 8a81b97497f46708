"""Records, in the background, from which code, program and machine a run comes."""

from __future__ import annotations

import dataclasses
import pickle
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autolog.core import outlet
from autolog.process import background, forks
from autolog.process.guard import charge, shield
from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.capture.origin.program import Program
    from autolog.capture.origin.result import Provenance
    from autolog.core.recording import Recording

__all__ = ["HOOKS", "record"]

# Many short trainings in a row have the same surroundings; git need not be asked for each.
FRESH_SECONDS = 30.0

_lock = threading.Lock()
_known: tuple[float, Program, Provenance] | None = None
# In a worker: the program that it works for, and what its parent knew of it.
_parents: tuple[dict[str, Any], bytes | None] | None = None


def _working_directory() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return None


_began_in = _working_directory()  # a program that moves later may name its script relative to here


# The program's arguments ------------------------------------------------------------------------

# The last namespaces that argparse has filled: weakly, since what the program puts into one is its own.
# Beside each what was in it then, as plain values: of `vars(parser.parse_args())` nothing else is left.
_parsed: deque[tuple[weakref.ref[Any] | None, dict[str, Any]]] = deque(maxlen=8)


def observe_parsing(parser: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
    """Remember what was parsed. A subcommand's own parser comes before the one that it belongs to."""
    from autolog.capture.origin.program import values_of
    from autolog.capture.params import sanitize

    with shield("remembering the program's arguments"):
        namespace, _ = result
        try:
            reference = weakref.ref(namespace)
        except TypeError:  # a class of the user's that takes none
            reference = None
        _parsed.append((reference, sanitize(values_of(namespace))))


HOOKS = [Hook("argparse", "ArgumentParser.parse_known_args", observe_parsing, kind="after")]


def _arguments() -> dict[str, Any]:
    """The command line's values as they are now: of the last namespace that the program still has.

    A shallow copy, since the run is described on another thread, when the program may have gone on. (To
    sanitize them here would cost the caller a hundred times as much.)
    """
    from autolog.capture.origin.program import namespace_of_main, values_of

    for reference, _ in reversed(_parsed):
        if reference is not None and (namespace := reference()) is not None:
            return values_of(namespace)
    return namespace_of_main() or (_parsed[-1][1] if _parsed else {})


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


def work_for(program: dict[str, Any], known: bytes | None) -> None:
    """This process works for the program of another one. Its own main module says nothing of what it does."""
    global _parents
    _parents = program, known


def _now() -> Program:
    global _known
    from autolog.capture.origin import program

    if _parents is None:
        return program.now(began_in=_began_in, arguments=_arguments())
    values, known = _parents
    now = program.Program(**values)
    if _known is None and known is not None:
        _known = (time.monotonic(), _without_arguments(now), pickle.loads(known))
    return now


def record(run: Recording) -> None:
    """Record where this run comes from, soon."""
    if run.records and run.settings.log_code:
        with shield("recording code and environment"):
            now = _now()  # the program may move on
            if outlet.is_worker() and _is_known(now):  # it may be ended before anything is done soon
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
    return outlet.is_worker() or time.monotonic() - _known[0] < FRESH_SECONDS


def _without_arguments(now: Program) -> Program:
    return dataclasses.replace(now, arguments={}, hydra=None)


def _new_lock_in_child() -> None:
    """The parent's thread may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


forks.when_forked("surroundings", in_child=_new_lock_in_child)
