"""Language models: how surprised they are, and the tokens that they are trained on.

Counted is what passes by anyway: the batches that the Trainer has just collected for a step. They are on the
device, and what is counted of them stays there until the Trainer logs, which waits for the device itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from autolog.core.recording import Recording
from autolog.transformers.answers import IGNORED
from autolog.transformers.samples import record_texts

__all__ = ["Surprise", "Tokens", "describe_words"]

MOST_WORDS = 256  # whose scores are looked at at once: those of a whole batch take as much memory as a step
MOST_COUNTS = 256  # of batches, before they are summed up
SAME = 2e-5  # relative: means of single precision, summed in another order
MOST_TEXTS = 32  # of which tokens per word are told


class Surprise:
    """Whether the exponential of a Trainer's evaluation loss is the perplexity of its language model.

    It is not if another loss is used: of smoothed labels, of the user's, with the balance of experts in it.
    So the loss of an evaluation's first batch is held against the mean cross entropy of its words: in the
    first evaluation, the second, the fourth and so on; what knows nothing yet has one loss by all of them.

    Attributes:
        is_perplexity: None: not known yet.
        why_not: the two numbers, where they differ.
    """

    def __init__(self, trainer: Any):
        is_other = trainer.label_smoother is not None or trainer.compute_loss_func is not None
        self.is_perplexity: bool | None = None
        self.why_not = ""
        self._is_due = False
        self._evaluations = 0
        self._is_other = is_other
        self._mean = math.nan

    def begin(self) -> None:
        """An evaluation begins."""
        self._evaluations += 1
        self._is_due = self._evaluations.bit_count() == 1

    def see(self, logits: torch.Tensor, labels: torch.Tensor, *, is_masked: bool) -> None:
        """The scores and the labels of a batch whose loss will be told.

        Args:
            is_masked: whether the words that are to be guessed are hidden in their places.
        """
        if not self._is_due or self.is_perplexity is False:
            return
        if self._is_other:
            self.is_perplexity = False
        elif logits.shape[:-1] == labels.shape and labels.ndim == 2:
            if not is_masked:  # each word's label is that of the next place
                logits, labels = logits[:, :-1], labels[:, 1:]
            self._mean = _mean_surprise(logits, labels)

    def tell(self, loss: Any) -> None:
        """The loss that the Trainer takes for this batch."""
        mean, self._mean = self._mean, math.nan
        if math.isnan(mean) or not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            return
        if not math.isnan(float(loss)):
            self._is_due = False
            self.is_perplexity = math.isclose(float(loss), mean, rel_tol=SAME)
            self.why_not = "" if self.is_perplexity else f": {float(loss):.6g} of a batch, and not {mean:.6g}"


def _mean_surprise(logits: torch.Tensor, labels: torch.Tensor) -> float:
    total, count = torch.zeros((), device=logits.device), int((labels != IGNORED).sum())
    for scores, truth in zip(logits, labels.to(logits.device), strict=True):
        for part, known in zip(scores.split(MOST_WORDS), truth.split(MOST_WORDS), strict=True):
            total += functional.cross_entropy(part.float(), known, ignore_index=IGNORED, reduction="sum")
    return float(total) / count if count else math.nan


class Tokens:
    """The tokens of a training, as its batches have them in ``input_ids``.

    Args:
        run: says what is left out.
        trainer: the Trainer.
    """

    def __init__(self, run: Recording, trainer: Any):
        self._run = run
        self._trainer = trainer
        self._is_told = getattr(trainer.args, "include_num_input_tokens_seen", "no") != "no"  # by itself
        self._seen = 0
        self._is_whole = not trainer.state.global_step  # not of a training that goes on
        self._since_then: list[Any] = []  # tensors of one number each, and numbers
        self._places = 0  # with what batches are filled up with
        self._rows = 0
        self._has_masks = True
        self._longest = 0
        self._seconds = 0.0
        self._mark = time.perf_counter()

    def see(self, batches: Any) -> None:
        """The batches of the next step."""
        for batch in batches if isinstance(batches, list) else ():
            ids = batch.get("input_ids") if isinstance(batch, Mapping) else None
            if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or ids.is_floating_point():
                return
            if not self._rows and not self._seen:
                self._tell_words(ids)
                record_texts(self._run, self._trainer, batch)
            mask = batch.get("attention_mask")
            is_mask = isinstance(mask, torch.Tensor) and mask.shape == ids.shape
            self._has_masks = self._has_masks and is_mask
            # Where several texts are one sample, the mask may number them.
            self._since_then.append(torch.count_nonzero(mask) if is_mask else ids.numel())
            if len(self._since_then) >= MOST_COUNTS:
                self._since_then = [*self._together()]
            self._places += ids.numel()
            self._rows += len(ids)
            self._longest = max(self._longest, ids.shape[1])

    def stepped(self) -> None:
        """A step was made."""
        now = time.perf_counter()
        self._seconds, self._mark = self._seconds + now - self._mark, now

    def went_on(self) -> None:
        """What comes now is a step again: an evaluation, a log, a checkpoint is over."""
        self._mark = time.perf_counter()

    def row(self) -> dict[str, float]:
        """Of the steps since the last one."""
        self.stepped()
        if not self._since_then:
            return {}
        tokens = sum(map(int, self._together()))
        self._seen += tokens
        row = {
            "vitals/padding_share": 1 - tokens / self._places,
            "vitals/tokens_per_sample": tokens / self._rows,
            "vitals/longest_sample": self._longest,
        }
        if not self._has_masks:  # nobody says which of them fill up
            row = {}
        if not self._is_told:
            row["vitals/tokens_per_second"] = tokens / self._seconds if self._seconds else math.nan
            if self._is_whole:
                row["vitals/tokens_seen"] = self._seen
        self._since_then, self._places, self._rows, self._longest, self._seconds = [], 0, 0, 0, 0.0
        return row

    def _together(self) -> tuple[Any, ...]:
        """What was counted as one number, and one on the device."""
        on_device = [count for count in self._since_then if isinstance(count, torch.Tensor)]
        counted = sum(count for count in self._since_then if isinstance(count, int))
        return (counted, torch.stack(on_device).sum()) if on_device else (counted,)

    def note(self) -> None:
        """What its numbers are of; at the end of the training."""
        if not self._seen:
            return
        ranks = self._trainer.args.world_size
        if ranks > 1 and not self._is_told:
            why = f"of rank 0's share, one of {ranks}; so is tokens_seen"
            self._run.note("vitals/tokens_per_second", why)
        if not self._is_whole and not self._is_told:
            self._run.note("vitals/tokens_seen", "not recorded: the training goes on from a checkpoint")

    def _tell_words(self, ids: torch.Tensor) -> None:
        """How the tokenizer cuts the first texts."""
        tokenizer: Any = getattr(self._trainer, "processing_class", None)
        if not hasattr(tokenizer, "decode") or not hasattr(tokenizer, "all_special_ids"):
            return
        rows = ids[:MOST_TEXTS].tolist()
        special = set(tokenizer.all_special_ids)
        unknown = getattr(tokenizer, "unk_token_id", None)
        plain = [[token for token in row if token not in special or token == unknown] for row in rows]
        tokens = sum(map(len, plain))
        words = sum(len(tokenizer.decode(row, skip_special_tokens=False).split()) for row in plain)
        if not tokens or not words:
            return
        found = {"tokenizer/tokens_per_word": tokens / words, "tokenizer/rows": len(rows)}
        if unknown is not None:
            found["tokenizer/unknown_share"] = sum(row.count(unknown) for row in plain) / tokens
        self._run.describe(found)


def describe_words(model: Any) -> dict[str, Any]:
    """The embedding of a model of words, and its heads."""
    found: dict[str, Any] = {}
    config: Any = getattr(model, "config", None)
    for key, name in (
        ("model/layers", "num_hidden_layers"),
        ("model/heads", "num_attention_heads"),
        ("model/key_value_heads", "num_key_value_heads"),
    ):
        value = getattr(config, name, None)
        if isinstance(value, int):
            found[key] = value
    try:
        first, last = model.get_input_embeddings(), model.get_output_embeddings()
    except (AttributeError, NotImplementedError):  # of pictures, of sounds, of one's own
        return found
    weight = getattr(first, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.ndim == 2:
        found["model/embedding"] = list(weight.shape)
        if isinstance(getattr(last, "weight", None), torch.Tensor):
            found["model/embedding_is_tied"] = last.weight is weight
    return found
