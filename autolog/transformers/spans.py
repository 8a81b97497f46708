"""Answers that a model finds in a text: the span of tokens from the one to the other place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["Spans", "span_scores"]

MOST_WORST = 10
Span = tuple[int, int]


def span_scores(output: Any) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What the answer calls ``start_logits`` and ``end_logits``, shape (n, tokens) each."""
    names = ("start_logits", "end_logits")
    found = [
        output.get(name) if isinstance(output, Mapping) else getattr(output, name, None) for name in names
    ]
    start, end = found
    if not isinstance(start, torch.Tensor) or not isinstance(end, torch.Tensor):
        return None
    return (start, end) if start.ndim == 2 and start.shape == end.shape else None


class Spans:
    """Counts over the rows of an evaluation, and the worst of them."""

    def __init__(self) -> None:
        self._exact = 0
        self._overlap = 0.0
        self._rows = 0
        self._seen = 0
        self._worst: list[tuple[float, float, int, Any, Span, Span]] = []

    def add(self, scores: tuple[Any, Any], inputs: Mapping[str, Any], rows: int) -> None:
        """One batch.

        Args:
            scores: of each token, that the answer begins and ends there.
            inputs: with ``start_positions`` and ``end_positions``; a row with a place that its text does not
                have is of a text that was cut off, and does not count, as in the loss.
            rows: how many of its rows are data.
        """
        given = [inputs.get(name) for name in ("start_positions", "end_positions")]
        places = [place for place in given if isinstance(place, torch.Tensor) and place.numel() >= rows]
        if len(places) < len(given):
            return
        start, end = (part[:rows].detach().float() for part in scores)
        truth = [place.reshape(-1)[:rows].to(start.device) for place in places]
        length = start.shape[1]
        counted = [(place >= 0) & (place < length) for place in truth]
        inside = [place.clamp(0, length - 1)[:, None] for place in truth]
        likely = sum(
            part.log_softmax(1).gather(1, place)[:, 0]
            for part, place in zip((start, end), inside, strict=True)
        )
        mask = inputs.get("attention_mask")
        if isinstance(mask, torch.Tensor) and mask.shape == (len(scores[0]), length):
            padding = mask[:rows].to(start.device) == 0
            start, end = start.masked_fill(padding, -torch.inf), end.masked_fill(padding, -torch.inf)
        # The best beginning before each place, and with it the best end.
        best, place = start.cummax(1)
        last = (best + end).argmax(1)
        first = place.gather(1, last[:, None])[:, 0]
        columns = (first, last, *truth, counted[0] & counted[1], likely)
        ids = inputs.get("input_ids")
        for row, (one, two, begins, ends, is_counted, chance) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            if is_counted:
                text = ids[row] if isinstance(ids, torch.Tensor) else None
                self._count((one, two), (begins, ends), chance, self._seen + row, text)
        self._seen += rows

    def _count(self, found: Span, truth: Span, likely: float, row: int, ids: Any) -> None:
        both = max(0, min(found[1], truth[1]) - max(found[0], truth[0]) + 1)
        sizes = found[1] - found[0] + 1 + max(0, truth[1] - truth[0] + 1)
        f1 = 2 * both / sizes
        self._rows += 1
        self._exact += found == truth
        self._overlap += f1
        if len(self._worst) < MOST_WORST or (f1, likely) < self._worst[-1][:2]:
            ids = ids.detach().cpu() if ids is not None else None
            self._worst.append((f1, likely, row, ids, truth, found))
            self._worst.sort(key=lambda worst: worst[:3])
            del self._worst[MOST_WORST:]

    def metrics(self) -> dict[str, float]:
        """The share that was found exactly, and the mean overlap; empty if there was none."""
        if not self._rows:
            return {}
        return {"answer_exact": self._exact / self._rows, "answer_f1": self._overlap / self._rows}

    def table(self, tokenizer: Any) -> list[dict[str, Any]]:
        """The worst ones, with their texts where there is a tokenizer."""
        rows = []
        for f1, likely, row, ids, truth, found in self._worst:
            texts: dict[str, Any] = {"true": str(truth), "predicted": str(found)}
            if ids is not None and hasattr(tokenizer, "decode"):
                texts = {
                    "true": tokenizer.decode(ids[truth[0] : truth[1] + 1]),
                    "predicted": tokenizer.decode(ids[found[0] : found[1] + 1]),
                    "text": tokenizer.decode(ids, skip_special_tokens=True),
                }
            rows.append({"row": row, "f1": f1, "log_probability_of_true": likely, **texts})
        return rows
