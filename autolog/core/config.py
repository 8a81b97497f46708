"""A run's config in the user's hands, as ``trackio.Run.config``: what is set in it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from autolog.core.recording import Recording
from autolog.process.guard import charge, shield

__all__ = ["Config", "config_of"]


class Config(dict[str, Any]):
    """What the user has given for the top level of a run's config, as it was given.

    What is set is recorded at any time (in Trackio's own only until the first row); what is removed, was.
    """

    def __init__(self, run: Recording):
        super().__init__(run.top)
        self._run = run

    def _record(self, values: Mapping[str, Any]) -> None:
        super().update(values)
        with shield("a run's config"):
            charge(self._run)
            self._run.params(values, prefix="")

    def __setitem__(self, key: str, value: Any) -> None:
        self._record({key: value})

    def update(self, *args: Any, **kwargs: Any) -> None:
        self._record(dict(*args, **kwargs))

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __ior__(self, other: Any) -> Config:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


_configs: WeakValueDictionary[str, Config] = WeakValueDictionary()  # as long as somebody holds it


def config_of(run: Recording) -> dict[str, Any]:
    """The config of a run: one object for all who ask. Of the user's own Trackio run it is that run's."""
    if run.ambient is not None:
        config: dict[str, Any] = run.ambient.config
        return config
    known = _configs.get(run.id)
    if known is None or known._run is not run:
        known = _configs[run.id] = Config(run)
    elif missing := {key: value for key, value in run.top.items() if key not in known}:
        dict.update(known, missing)
    return known
