"""Our runs where Trackio looks for its current one: inside of them ``trackio.log`` writes to them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from autolog.core import bare
from autolog.core.config import config_of
from autolog.core.given import log_system, log_with_tables
from autolog.core.recording import Recording
from autolog.process.guard import charge, shield

__all__ = ["StandIn", "stand_in"]


class StandIn:
    """A run of ours as Trackio's own functions see it.

    Like them, logging raises nothing; what it does not take, the run says. What is not here is that of a
    ``trackio.Run`` of the same id and name.
    """

    def __init__(self, run: Recording):
        self.stands_for = run
        self.id, self.name, self.project, self.group = run.id, run.name, run.project, run.group
        self._is_local = run.is_local  # ``trackio.save`` asks for this

    @property
    def url(self) -> str | None:
        """Where it goes, as a ``trackio.Run`` says it; None: to this machine."""
        where = self.stands_for.destination[1]
        return None if where.startswith("@") else where or None  # that one has no name yet

    @property
    def config(self) -> dict[str, Any]:
        """See :attr:`autolog.Run.config`."""
        return config_of(self.stands_for)

    def log(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """See ``trackio.log``."""
        with shield("trackio.log"):
            charge(self.stands_for)
            log_with_tables(self.stands_for, metrics, step)

    def log_system(self, metrics: Mapping[str, Any]) -> None:
        """See ``trackio.log_system``."""
        with shield("trackio.log_system"):
            charge(self.stands_for)
            log_system(self.stands_for, metrics)

    def alert(
        self,
        title: str,
        text: str | None = None,
        level: Any = "warn",
        step: int | None = None,
        webhook_url: str | None = None,
    ) -> None:
        """See ``trackio.alert``."""
        with shield("trackio.alert"):
            charge(self.stands_for)
            bare.alert(self.stands_for, title, text, level, step, webhook_url, is_printed=True)

    def log_artifact(self, *args: Any, **kwargs: Any) -> Any:
        """See ``trackio.log_artifact``."""
        return bare.log_artifact(self.stands_for, *args, **kwargs)

    def use_artifact(self, *args: Any, **kwargs: Any) -> Any:
        """See ``trackio.use_artifact``."""
        return bare.use_artifact(self.stands_for, *args, **kwargs)

    def link_artifact(self, *args: Any, **kwargs: Any) -> Any:
        """See ``trackio.Run.link_artifact``."""
        return bare.link_artifact(self.stands_for, *args, **kwargs)

    def finish(self) -> None:
        """It ends with whoever has opened it: the step, or the ``with`` block."""

    def _queue_upload(self, *args: Any, **kwargs: Any) -> None:
        with shield("trackio.save"):
            charge(self.stands_for)
            bare.queue_upload(self.stands_for, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "stands_for":
            raise AttributeError(name)
        return getattr(bare.bare_run_of(self.stands_for), name)

    def __repr__(self) -> str:
        return repr(self.stands_for)


def stand_in(run: Recording, *, imports: bool = True) -> Callable[[], None]:
    """Lend it to Trackio's own functions, in this context; returns how to undo.

    Args:
        imports: whether Trackio is imported for it, and another run's place is taken. False: only if it is
            imported, and has no run of the user's own here.
    """
    with shield("a run where Trackio looks for its own"):
        if imports or "trackio" in sys.modules:
            from autolog.sinks.trackio import ambient

            if imports or ambient.is_free():
                return ambient.make_current(StandIn(run))
    return _nothing


def _nothing() -> None:
    """Nothing was lent."""
