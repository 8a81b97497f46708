"""A few texts as a language model is trained on them: prompts, completions, chosen and rejected ones.

They are decoded from the first batch, with special tokens: what a chat template or a collator has made of the
data is seen as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch

from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.transformers.answers import IGNORED
from autolog.transformers.generation import tokenizer_of

__all__ = ["record_texts"]

MOST_ROWS = 10
KEY = "data/texts"
_HALVES = ("DPOTrainer", "RewardTrainer")  # TRL's: the first half of a batch are the chosen ones


def record_texts(run: Recording, trainer: Any, batch: Mapping[str, Any]) -> None:
    """The first rows of a batch, if it is one of texts, and there is a tokenizer."""
    tokenizer = tokenizer_of(trainer)
    if not run.settings.log_data or not hasattr(tokenizer, "decode"):
        return
    rows = _preferences(trainer, batch, tokenizer) or _completions(trainer, batch, tokenizer)
    if rows and run.keeps("data"):
        record_long_table(run, KEY, rows)
    elif rows:
        run.note(KEY, "not sent to the server: Settings.share does not name 'data'")


def _preferences(trainer: Any, batch: Mapping[str, Any], tokenizer: Any) -> list[dict[str, str]]:
    sides = ("prompt", "chosen", "rejected")
    named = {side: batch[f"{side}_input_ids"] for side in sides if f"{side}_input_ids" in batch}
    if named.keys() >= {"chosen", "rejected"}:
        masks = {side: batch.get(f"{side}_attention_mask") for side in named}
        count = min(MOST_ROWS, *map(len, named.values()))
        return [
            {side: _text(tokenizer, ids[row], masks[side], row) for side, ids in named.items()}
            for row in range(count)
        ]
    ids, mask = batch.get("input_ids"), batch.get("attention_mask")
    kinds = {kind.__name__ for kind in type(trainer).__mro__ if kind.__module__.startswith("trl.")}
    if kinds.isdisjoint(_HALVES) or not _is_of_tokens(ids) or len(ids) % 2:
        return []
    half, answers = len(ids) // 2, batch.get("completion_mask")
    found = []
    for row in range(min(MOST_ROWS, half)):
        if not _is_of_tokens(answers):
            pair = {side: _text(tokenizer, ids[at], mask, at) for side, at in _pair(row, half)}
            found.append(pair)
            continue
        texts = {"prompt": _text(tokenizer, ids[row][answers[row] == 0], _part(mask, row, answers), 0)}
        for side, at in _pair(row, half):
            texts[side] = tokenizer.decode(ids[at][answers[at] == 1])
        found.append(texts)
    return found


def _pair(row: int, half: int) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("chosen", row), ("rejected", row + half)


def _part(mask: Any, row: int, answers: Any) -> Any:
    """The mask of what is no answer."""
    return mask[row][answers[row] == 0][None] if _is_of_tokens(mask) else None


def _completions(trainer: Any, batch: Mapping[str, Any], tokenizer: Any) -> list[dict[str, str]]:
    ids, labels, mask = (batch.get(name) for name in ("input_ids", "labels", "attention_mask"))
    model = trainer.model
    can_generate = getattr(model, "can_generate", None)
    if not _is_of_tokens(ids) or not _is_of_tokens(labels) or can_generate is None or not can_generate():
        return []
    rows = range(min(MOST_ROWS, len(ids)))
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return [
            {
                "prompt": _text(tokenizer, ids[row], mask, row),
                "completion": tokenizer.decode(labels[row][labels[row] != IGNORED]),
            }
            for row in rows
        ]
    if ids.shape != labels.shape:
        return []
    found = []
    for row in rows:
        counted = (labels[row] != IGNORED).nonzero().reshape(-1).tolist()
        first, last = (counted[0], counted[-1] + 1) if counted else (len(ids[row]), len(ids[row]))
        before = None if not _is_of_tokens(mask) else mask[:, :first]
        prompt = _text(tokenizer, ids[row][:first], before, row)
        found.append({"prompt": prompt, "completion": tokenizer.decode(ids[row][first:last])})
    return found


def _is_of_tokens(values: Any) -> TypeGuard[Any]:
    return isinstance(values, torch.Tensor) and values.ndim == 2 and not values.is_floating_point()


def _text(tokenizer: Any, ids: Any, masks: Any, row: int) -> str:
    """Of one row, without what fills it up."""
    if _is_of_tokens(masks) and masks[row].shape == ids.shape:
        ids = ids[masks[row] != 0]
    return str(tokenizer.decode(ids))
