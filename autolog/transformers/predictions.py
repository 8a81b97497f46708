"""Held-out predictions, from the evaluation that runs anyway.

What the model gives back for each batch is seen by a forward hook on it: with ``compute_metrics`` or without,
before ``preprocess_logits_for_metrics``. Kept are the scores of a classifier's classes, of single tokens too;
those of a language model, one for each word it knows, are never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from autolog.core.run import Run
from autolog.torch.evaluation import Kept, record_evaluation

__all__ = ["HeldOut"]

MOST_CLASSES = 1_000
IGNORED = -100  # the label that transformers takes for none


class HeldOut:
    """Labels and logits of one evaluation.

    Attributes:
        name: of the data, ``val``, ``val/hard`` or ``test``.
        told: metrics of it that the Trainer tells itself.
        step: the step of the weights that predict.
    """

    def __init__(self, run: Run, trainer: Any, name: str):
        self.name = name
        self.told: set[str] = set()
        self.step = int(trainer.state.global_step)
        self._run = run
        self._trainer = trainer
        self._kept = Kept()
        self._why = "no batch had labels beside the model's logits"
        model = trainer.model
        self._handle = model.register_forward_hook(self._see, with_kwargs=True)
        self._is_recorded = False

    def close(self) -> None:
        """The evaluation has ended, or failed: the model has no hook of ours."""
        self._handle.remove()

    def record(self) -> None:
        """What can be said of the predictions; once."""
        if self._is_recorded:
            return
        self._is_recorded = True
        if self._kept.is_empty:
            self._run.note(f"{self.name}/confusion_matrix", f"not recorded: {self._why}")
            return
        record_evaluation(
            self._run,
            self.name,
            self._kept,
            self.told,
            classes=self._classes(),
            shown=self._texts,
            step=self.step,
        )

    def _see(self, module: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        labels = kwargs.get("labels")
        logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
        if not isinstance(labels, torch.Tensor) or not isinstance(logits, torch.Tensor):
            return
        if logits.ndim > 1 and logits.shape[-1] > MOST_CLASSES:
            self._why = f"{logits.shape[-1]:,} scores for each token are not kept"
            return
        inputs = kwargs.get(getattr(module, "main_input_name", "input_ids"))
        if logits.ndim == 3 and labels.ndim == 2:  # a label for each token
            counted = labels != IGNORED
            labels, logits, inputs = labels[counted], logits[counted], None
        self._kept.add(labels.detach(), logits.detach(), inputs)

    def _classes(self) -> list[str] | None:
        names = getattr(self._trainer.model.config, "id2label", None)
        if not names or all(str(name).startswith("LABEL_") for name in names.values()):
            return None
        return [str(names[place]) for place in sorted(names)]

    def _texts(self, rows: list[Any]) -> Any:
        """The inputs of some samples, as a person reads them."""
        tokenizer: Any = getattr(self._trainer, "processing_class", None)
        is_text = rows and rows[0].ndim == 1 and not rows[0].is_floating_point()
        if is_text and hasattr(tokenizer, "decode"):
            return [tokenizer.decode(row, skip_special_tokens=True) for row in rows]
        return rows
