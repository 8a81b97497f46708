"""Finds the run that the user, or another integration, has opened with Trackio itself."""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

from autolog.sinks.identity import LOCAL, Destination

__all__ = ["AmbientRun", "ambient_run", "is_free", "make_current"]


# The keys of a run's config that we have added. One that was finished by its own `finish` is still Trackio's
# current run: what trains then adopts it once more, and what we said of it is not the user's word.
_added: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()


class AmbientRun:
    """A ``trackio.Run`` that the user, or another integration, has opened in this context."""

    def __init__(self, run: Any):
        self._run = run
        self.id: str = run.id
        self.name: str = run.name
        self.project: str = run.project
        self.group: str | None = run.group
        self.token: str | None = getattr(run, "_write_token", None)
        space, server = getattr(run, "_space_id", None), getattr(run, "_server_base_url", None)
        self.destination: Destination = ("space", space) if space else ("server", server) if server else LOCAL

    @property
    def itself(self) -> Any:
        """The ``trackio.Run``."""
        return self._run

    @property
    def config(self) -> dict[str, Any]:
        """Its config as it stands; ours are added to it, so that whoever writes last writes both."""
        config: dict[str, Any] = self._run.config
        return config

    @property
    def samples_itself(self) -> bool:
        """Whether Trackio records the machine's load in it, of its own accord."""
        return any(getattr(self._run, f"_{of}_monitor", None) is not None for of in ("cpu", "gpu"))

    def when_finished(self, tell: Callable[[], None]) -> None:
        """Call this before the run is finished, by ``trackio.finish()`` or by its own ``finish``."""
        finish = self._run.finish

        @functools.wraps(finish)
        def told() -> Any:
            self._run.finish = finish
            try:
                tell()
            finally:  # Ctrl-C while we tell: what the user has logged still goes out
                result = finish()
            return result

        self._run.finish = told

    def go_to(self, step: int) -> None:
        """What is logged to it next without a step is at this one, unless what is there already is later."""
        following = getattr(self._run, "_next_step", None)
        if isinstance(following, int) and following <= step + 1:
            self._run._next_step = step

    def add_config(self, values: dict[str, Any]) -> dict[str, Any]:
        """Add keys that the user has not set; returns what was added."""
        ours = _added.setdefault(self._run, set())
        added = {k: v for k, v in values.items() if k not in self.config or k in ours}
        self.config.update(added)
        ours.update(added)
        return added


def ambient_run() -> AmbientRun | None:
    """The Trackio run open in this context, without importing Trackio to find out."""
    variables = sys.modules.get("trackio.context_vars")
    if variables is None:
        return None
    run = variables.current_run.get()
    return AmbientRun(run) if run is not None and not hasattr(run, "stands_for") else None


def make_current(stand_in: Any) -> Callable[[], None]:
    """Make this Trackio's current run, whatever was, with its project and config; returns how to undo.

    A run that is opened meanwhile stays what it is: somebody else's.
    """
    import trackio
    from trackio.context_vars import current_project, current_run

    before, project, config = current_run.get(), current_project.get(), trackio.config
    ours = stand_in.config
    current_run.set(stand_in)
    current_project.set(stand_in.project)
    trackio.config = ours  # of the whole process, as Trackio has it

    def undo() -> None:
        if current_run.get() in (stand_in, None):
            current_run.set(before)
        if current_project.get() == stand_in.project:
            current_project.set(project)
        if trackio.config is ours:
            trackio.config = config

    return undo


def is_free() -> bool:
    """Whether Trackio is imported, and no run of somebody else's is its current one in this context."""
    variables = sys.modules.get("trackio.context_vars")
    package = sys.modules.get("trackio")
    return variables is not None and hasattr(package, "log") and ambient_run() is None
