"""The processes of one training: who they are, and whether all of them listen.

Each leaves a word in the store by which torch's process group has found itself: in ``setup``, which stands
between two of Lightning's barriers, so that after it all read the same. No collective asks for it: where one
rank does not listen (autolog is turned on in the others alone) it would be waited for.
"""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from typing import Any

import orjson
import psutil
import torch

from autolog.core.recording import Recording
from autolog.process import background

__all__ = [
    "Machines",
    "Rank",
    "announce",
    "everyone",
    "tell",
    "tell_folders",
    "told",
    "told_folders",
    "withdraw",
]


@dataclass(frozen=True)
class Rank:
    """One process.

    Attributes:
        host, pid: where it runs.
        reads_gradients: whether it takes part where gradient norms need all ranks.
    """

    host: str
    pid: int
    reads_gradients: bool


def announce(trainer: Any, run: Recording) -> None:
    """This rank listens."""
    store = _store()
    if store is not None:
        here = Rank(socket.gethostname(), os.getpid(), run.settings.log_gradients)
        store.set(_key(trainer.global_rank), orjson.dumps(asdict(here)))


def tell_folders(folders: list[Any]) -> None:
    """Where rank zero's loggers have their files."""
    store = _store()
    if store is not None:
        store.set("autolog/folders", orjson.dumps(folders))


def told_folders() -> list[Any]:
    """What rank zero has told of it; nothing, if it does not listen."""
    store = _store()
    return (
        orjson.loads(store.get("autolog/folders"))
        if store is not None and store.check(["autolog/folders"])
        else []
    )


def everyone(trainer: Any) -> list[Rank] | None:
    """All ranks in order; None: not all of them listen, or there is only one."""
    store = _store()
    keys = [_key(rank) for rank in range(trainer.world_size)]
    if store is None or not store.check(keys):
        return None
    return [Rank(**orjson.loads(store.get(key))) for key in keys]


def withdraw(trainer: Any) -> None:
    """This rank does not listen any more."""
    store = _store()
    if store is not None:
        store.delete_key(_key(trainer.global_rank))


def tell(trainer: Any, error: BaseException) -> None:
    """Why this rank is about to leave the others."""
    store = _store()
    if store is not None:
        store.set(f"{_key(trainer.global_rank)}/error", f"{type(error).__name__}: {error}"[:500])


def told(trainer: Any) -> dict[str, str]:
    """Why other ranks have left, by their number."""
    store = _store()
    errors = {} if store is None else {rank: f"{_key(rank)}/error" for rank in range(1, trainer.world_size)}
    return {str(rank): store.get(key).decode() for rank, key in errors.items() if store.check([key])}


def _store() -> Any:
    # Private; torch has no other way to its store. tests/lightning/test_processes.py watches it.
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def _key(rank: int) -> str:
    return f"autolog/{rank}"


class Machines:
    """CPU and memory of every rank's process on this host, sampled as the machine's load is."""

    def __init__(self, run: Recording, ranks: list[Rank]):
        self._run = run
        here = socket.gethostname()
        elsewhere = [number for number, rank in enumerate(ranks) if rank.host != here]
        if elsewhere:
            run.note("system/ranks", f"of this host only: ranks {elsewhere} run on other ones")
        self._processes = {
            number: psutil.Process(rank.pid) for number, rank in enumerate(ranks) if rank.host == here
        }
        for process in self._processes.values():
            process.cpu_percent()  # it tells what was used since the call before
        background.every("the ranks' load", run.settings.system_interval, self._sample)

    def stop(self) -> None:
        """The training has ended."""
        background.every("the ranks' load", 0, self._sample)

    def _sample(self) -> None:
        values: dict[str, float] = {}
        for number, process in self._processes.items():
            try:
                values[f"rank/{number}/cpu_percent"] = process.cpu_percent()
                values[f"rank/{number}/memory_gb"] = process.memory_info().rss / 1e9
            except psutil.Error:  # it has ended
                continue
        if values:
            self._run.system(values)
