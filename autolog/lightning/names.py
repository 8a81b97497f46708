"""Lightning's names of metrics, as every framework's runs call them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["Names", "canonical"]

_STAGES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_PREFIX = re.compile(r"(train|training|val|valid|validation|test)([_/.\- ]+)(.+)", re.IGNORECASE)
_LOADER = re.compile(r"(.+)/dataloader_idx_(\d+)")
# Words of their own, too: `valid_fraction` is no fraction of a validation, `training_wheels` are no wheels.
_ALSO_WORDS = ("valid", "training")
_METRIC = re.compile(
    r"((top[_-]?\d+|mean|macro|micro|weighted|balanced|binary|multiclass)[_-]?)*"
    r"(loss|acc|accuracy|error|err|f1|auc|auroc|ap|map|precision|recall|mae|mse|rmse|r2|iou|dice|ppl|perplexity"
    r"|bleu|score|kl|elbo|nll|bce|ce)([\d_/@.\- ].*|[\d]*)",
    re.IGNORECASE,
)


def canonical(name: str, stage: str, *, is_forked: bool = False) -> str:
    """``val_loss`` is ``val/loss``, ``val_loss/dataloader_idx_1`` is ``val/1/loss``.

    A bare ``loss`` is that of the stage. A name that is like none of ours stays as it is.

    Args:
        name: as the module has logged it.
        stage: in which it was logged, ``train``, ``val`` or ``test``.
        is_forked: whether it is logged per step and per epoch, and Lightning has put ``_step`` behind it. The
            step's value is then the metric.
    """
    loader = ""
    if found := _LOADER.fullmatch(name):
        name, loader = found[1], f"{found[2]}/"
    if (found := _PREFIX.fullmatch(name)) and (
        "/" in found[2] or found[1].lower() not in _ALSO_WORDS or _METRIC.fullmatch(found[3])
    ):
        stage, name = _STAGES[found[1].lower()], found[3]
    elif name != "loss" and not name.startswith(("loss_step", "loss_epoch")) and not loader:
        return name.removesuffix("_step") if is_forked else name
    return f"{stage}/{loader}{name.removesuffix('_step') if is_forked else name}"


class Names:
    """What each name that a user logs is called in the run. No two become one."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], str] = {}
        self._of: dict[str, str] = {}  # each key's name
        self._forked: set[str] = set()
        self._learned: dict[str, int] = {}  # how many names Lightning held of a stage

    @property
    def keys(self) -> Any:
        """The keys that are the user's."""
        return self._of.keys()

    def learn(self, results: Any, stage: str) -> None:
        """Names that Lightning holds, also those that it logs at an epoch's end.

        Args:
            results: of Lightning's loop, metrics with their ``meta``; or None.
            stage: of the loop.
        """
        if not results or self._learned.get(stage) == len(results):
            return
        self._learned[stage] = len(results)
        metas = [result.meta for result in results.values()]
        self._forked |= {meta.forked_name(on_step=True) for meta in metas if meta.forked}
        of_loader = "/dataloader_idx_{}"
        self.add(
            [
                meta.forked_name(on_step)
                + (of_loader.format(meta.dataloader_idx) if _has_loader(meta) else "")
                for meta in metas
                for on_step in ((True, False) if meta.forked else (meta.on_step,))
            ],
            stage,
        )

    def add(self, names: Iterable[str], stage: str) -> None:
        """Names that come together: who is called by a key already has it."""
        new = [name for name in names if (name, stage) not in self._keys]
        for name in sorted(new, key=lambda name: self._canonical(name, stage) != name):
            key = self._canonical(name, stage)
            if self._of.setdefault(key, name) != name:
                key = name
                while self._of.setdefault(key, name) != name:
                    key += "_"
            self._keys[name, stage] = key

    def key(self, name: str, stage: str) -> str:
        """What it is called."""
        if (name, stage) not in self._keys:
            self.add([name], stage)
        return self._keys[name, stage]

    def _canonical(self, name: str, stage: str) -> str:
        bare = name.partition("/dataloader_idx_")[0]
        return canonical(name, stage, is_forked=bare in self._forked)


def _has_loader(meta: Any) -> bool:
    return bool(meta.add_dataloader_idx) and meta.dataloader_idx is not None
