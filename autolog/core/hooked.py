"""Hooks that cannot be put in: said once to the user, and in every run that lacks what they record.

A framework that has renamed a function costs what was recorded by it, and nothing else.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakSet

from autolog.process import forks
from autolog.process.guard import shield
from autolog.process.hooks import Hook, install, state_of

__all__ = ["HookCounts", "count", "is_of", "put_in"]

logger = logging.getLogger("autolog")


if TYPE_CHECKING:

    class _Run(Protocol):
        """What is asked of a run: a :class:`autolog.core.recording.Recording`."""

        is_closed: bool

        def note_lost(self, what: str, why: str) -> None: ...


class HookCounts(NamedTuple):
    """How a framework's hooks stand.

    Attributes:
        put_in: they watch.
        waiting: for their module to be imported.
        missing: of each that cannot be put in, why, and what is lost by that.
    """

    put_in: int = 0
    waiting: int = 0
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {"in": self.put_in, "waiting": self.waiting, "missing": len(self.missing)}
        return ", ".join(f"{number} {word}" for word, number in counts.items() if number) or "-"


_missing: defaultdict[str, dict[str, str]] = defaultdict(dict)  # framework -> place of a hook -> what is said
_runs: defaultdict[str, WeakSet[_Run]] = defaultdict(WeakSet)
_lock = threading.RLock()


def put_in(framework: str, hooks: Iterable[Hook], distribution: str) -> None:
    """Put in hooks of a framework, each as soon as its module is imported. It never raises.

    Args:
        distribution: the framework's name on PyPI, for its version.
    """
    install(hooks, functools.partial(_tell, framework, distribution))


def is_of(run: _Run, framework: str) -> None:
    """This run is of this framework: what is lost of it, or will be found to be, is said in the run."""
    with shield("saying what is missing"):
        with _lock:
            _runs[framework].add(run)
            missing = dict(_missing[framework])
        for place, why in missing.items():
            run.note_lost(place, why)


def count(framework: str, hooks: Iterable[Hook]) -> HookCounts:
    """How these hooks of a framework stand now that it is turned on."""
    states = [(state_of(hook), hook.place) for hook in hooks]
    found = Counter(state for state, _ in states)
    known = _missing[framework]
    return HookCounts(
        found["in"],
        found["waiting"] + found["out"],  # these are put in once the framework is imported
        tuple(f"{place}: {known.get(place)}" for state, place in states if state == "missing"),
    )


def _tell(framework: str, distribution: str, hook: Hook, why: str) -> None:
    with shield(f"saying that {hook.place} is missing"):
        package = hook.module.partition(".")[0]
        version = _version_of(package, distribution if package == framework else package)
        said = f"{why} ({package} {version}). Not recorded: {hook.records}."
        with _lock:
            if hook.place in _missing[framework]:
                return
            _missing[framework][hook.place] = said
            runs = [run for run in _runs[framework] if not run.is_closed]
        logger.warning("autolog: %s cannot be watched: %s", hook.place, said)
        for run in runs:
            run.note_lost(hook.place, said)


def _version_of(package: str, distribution: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "of an unknown version"))


def _new_lock_in_child() -> None:
    """The parent's thread may have held it at the fork."""
    global _lock
    _lock = threading.RLock()
    _runs.clear()


forks.when_forked("hooked", in_child=_new_lock_in_child)
