"""What is kept of a loop's models: their weights at its end, and a list of what ``torch.save`` wrote."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch

from autolog.core import hooked
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.process import forks
from autolog.process.guard import shield
from autolog.process.hooks import Hook, uninstall
from autolog.sinks.trackio.names import artifact_name
from autolog.torch.measures import is_sharded

__all__ = ["HOOKS", "Saves", "keep_model"]

ALIKE = 0.5  # of a model's parameters whose names a checkpoint has
WRAPPED = ("module.", "_orig_mod.")  # before each name


def keep_model(run: Recording, model: Any, name: str) -> None:
    """The weights as an artifact, up to ``Settings.artifact_limit``: what ``model.state_dict()`` holds."""
    if not run.settings.log_models or not run.records:
        return
    state = model.state_dict()
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    if is_sharded(tensors) or any(torch.nn.parameter.is_lazy(value) for value in tensors):
        run.note("model", "not kept: this process has not all of its weights")
        return
    if sum(value.numel() * value.element_size() for value in tensors) > run.settings.artifact_limit:
        limit = f"{run.settings.artifact_limit:,} bytes"
        run.note("model", f"not kept: larger than Settings.artifact_limit ({limit})")
        return
    path = run.stage(f"{artifact_name(name)}.pt")
    try:
        _save(state, path)
    except Exception as error:  # a part of the state that cannot be pickled
        run.note_lost("model", f"not kept: {type(error).__name__}: {error}")
        return
    details = {"bytes": path.stat().st_size, "format": "state_dict"}
    run.staged_artifact(f"model-{name}", "model", {"model.pt": path}, details)


class _Loop(Protocol):
    steps: int

    @property
    def recording(self) -> Recording: ...

    def models(self) -> dict[str, Any]: ...


class Saves:
    """The checkpoints of a loop, as ``torch.save`` writes them."""

    def __init__(self, loop: _Loop):
        self._loop = loop
        self._rows: list[dict[str, Any]] = []
        _listeners.append(self)
        hooked.put_in("torch", HOOKS, "torch")

    def stop(self) -> None:
        """Listen no more."""
        if self in _listeners:
            _listeners.remove(self)
        if not _listeners:
            uninstall(HOOKS)

    def saved(self, what: Any, path: str) -> None:
        """Something was written to a file."""
        if any(_holds(what, model) for model in self._loop.models().values()):
            self._rows.append({"step": self._loop.steps, "path": os.path.abspath(path)})

    def record(self) -> None:
        """The loop has ended: list them, and keep the last one."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        for row in rows:
            row["is_there"] = os.path.exists(row["path"])
        run = self._loop.recording
        record_long_table(run, "checkpoints", rows)
        last = next((row for row in reversed(rows) if row["is_there"]), None)
        if last is not None:
            run.checkpoint(last["path"], ["last"], last)


def _holds(what: Any, model: Any) -> bool:
    """Whether it is this model, or has its weights, as ``state_dict()`` names them."""
    if what is model:
        return True
    names = {name for name, _ in model.named_parameters()}
    return any(len(names & _plain(keys)) >= max(1, ALIKE * len(names)) for keys in _mappings(what))


def _mappings(what: Any) -> Iterator[Mapping[Any, Any]]:
    """A checkpoint and its parts: ``{"model": model.state_dict(), "epoch": 3}``."""
    if isinstance(what, Mapping):
        yield what
        yield from (part for part in what.values() if isinstance(part, Mapping))


def _plain(keys: Any) -> set[str]:
    """Names of parameters, without what wrappers put before them."""
    names = {key for key in keys if isinstance(key, str)}
    for before in WRAPPED:
        names = {name.removeprefix(before) for name in names}
    return names


# Saving -----------------------------------------------------------------------------------------------


def observe_save(call: tuple[Any, ...], args: Any, kwargs: Mapping[str, Any], result: Any) -> None:
    """``torch.save`` has written something."""
    given = dict(zip(("obj", "f"), (call, *args), strict=False)) | dict(kwargs)
    file = given.get("f")
    if isinstance(file, (str, os.PathLike)) and not torch.compiler.is_compiling():
        for listener in list(_listeners):
            with shield("torch: a checkpoint"):
                listener.saved(given.get("obj"), os.fspath(file))


HOOKS = [
    Hook(
        "torch", "save", observe_save, kind="after", records="the checkpoints that a loop of one's own saves"
    )
]

_save = torch.save  # as it is without the hook
_listeners: list[Saves] = []
forks.when_forked("rooms", in_child=_listeners.clear)
