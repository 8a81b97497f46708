"""How often Dask computes something."""

from __future__ import annotations

from typing import Any

from dask.callbacks import Callback


class Computed(Callback):  # type: ignore[misc]
    """Counts how often something is computed."""

    def __init__(self) -> None:
        self.times = 0
        super().__init__(start=self._count)

    def _count(self, graph: Any) -> None:
        self.times += 1
