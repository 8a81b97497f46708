"""Held-out predictions, from the evaluation that runs anyway.

What the model gives back for each batch is seen by a forward hook on it: with ``compute_metrics`` or without,
before ``preprocess_logits_for_metrics``. Kept are the scores of a classifier's classes, of single tokens too;
those of a language model, one for each word it knows, are never kept.

Of several processes each sees its own share. Where the Trainer gathers the predictions of all (for
``compute_metrics``, and in ``predict``), those are taken instead.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from autolog.core.recording import Recording
from autolog.core.results import not_told, record_finals, record_long_table
from autolog.process.guard import shield
from autolog.torch.evaluation import Kept, Known, metrics_of, record_evaluation
from autolog.torch.reduced import as_array
from autolog.transformers.answers import IGNORED, ByLoss, known_of, named_scores
from autolog.transformers.entities import Entities
from autolog.transformers.generation import (
    Generations,
    completions,
    keeps_completions,
    record_completions,
    said_so_far,
    tokenizer_of,
)
from autolog.transformers.spans import Spans, span_scores
from autolog.transformers.words import Surprise

__all__ = ["HeldOut"]

MOST_CLASSES = 1_000
LARGEST_LOSS = 700.0  # whose exponential is a number
_WITHOUT_BOTH = "no batch had labels beside an output named `logits`, or one that its loss was seen to be of"
_OF_WORDS = "a language model's scores, one for each word that it knows, are not kept"


class HeldOut:
    """Labels and logits of one evaluation, and the texts that it has generated.

    Attributes:
        name: of the data, ``val``, ``val/hard`` or ``test``.
        told: metrics of it that the Trainer tells itself, by their keys.
        prefix: what the Trainer calls its metrics by.
        step: the step of the weights that predict.
        run: that it is recorded in.
    """

    def __init__(self, run: Recording, trainer: Any, name: str, prefix: str, step: int, surprise: Surprise):
        self.name = name
        self.prefix = prefix
        self.told: dict[str, float] = {}
        self.step = step
        self.run = run
        self._trainer = trainer
        self._surprise = surprise
        surprise.begin()
        self._kept = Kept()
        self._by_loss = ByLoss()
        self._first: tuple[Any, Any] | None = None  # labels and scores of rank 0's first batch, as arrays
        self._is_of_all = trainer.args.world_size == 1
        self._why = _OF_WORDS if _is_generative(trainer.model) else _WITHOUT_BOTH
        self._labels: Any = None  # of this batch, until its logits are there
        self._knows_batches = False  # whether they are told of: a subclass may predict in a way of its own
        self._is_between = False  # of the batches, where they are
        self._asked: float | None = None  # since when a text is generated
        self._answered = 0.0
        self._generations: Generations | None = None
        self._inputs: Mapping[str, Any] = {}  # of this batch
        self._spans = Spans()
        self._said_before = said_so_far(trainer)
        self._completions: list[dict[str, Any]] = []
        tags = dict(getattr(getattr(trainer.model, "config", None), "id2label", None) or {})
        self._entities = Entities(tags) if Entities.are_in(tags) else None
        self._is_in_step = self._has_said_more = False
        self._model, self._thread = trainer.model, threading.get_ident()
        _listening[self._model] = self
        self._handle = trainer.model.register_forward_hook(self._see, with_kwargs=True)
        self._is_recorded = False

    # While it goes on -------------------------------------------------------------------------------

    def begin_batch(self, inputs: Any) -> None:
        """The Trainer is about to predict. (It may take the labels out of what the model is given.)"""
        names = self._trainer.label_names
        self._inputs = inputs if isinstance(inputs, Mapping) else {}
        self._labels = self._inputs.get(names[0]) if len(names) == 1 else None
        self._knows_batches, self._is_between, self._is_in_step = True, False, True
        self._asked = self._answered = time.perf_counter()

    def end_batch(self, loss: Any = None) -> None:
        """It has, in a way of its own or of a subclass.

        Args:
            loss: of the batch, where it is known.
        """
        self._labels, self._is_between, self._is_in_step = None, True, False
        self._inputs = {}
        self._surprise.tell(loss)

    def generated(self, inputs: Mapping[str, Any], result: Any) -> None:
        """The batch was answered by texts: ``(loss, tokens, labels)``."""
        _, tokens, labels = result
        if tokens is None or self._asked is None:
            return
        if self._generations is None:
            self._generations = Generations(self._trainer)
        rows = self._rows_of_data(len(tokens))
        labels = None if labels is None else labels[:rows]
        self._generations.add(inputs, tokens[:rows], labels, self._answered - self._asked)

    def generated_by_user(self, inputs: Mapping[str, Any], result: Any, seconds: float) -> None:
        """The user has had the model generate, beside what its Trainer has it do."""
        tokens = getattr(result, "sequences", result)
        if not isinstance(tokens, torch.Tensor) or tokens.ndim != 2:
            return
        labels = self._inputs.get("labels")
        is_of_batch = isinstance(labels, torch.Tensor) and labels.ndim == 2 and len(labels) == len(tokens)
        if self._generations is None:
            self._generations = Generations(self._trainer)
        self._generations.add(inputs, tokens, labels if is_of_batch else None, seconds)
        self._has_said_more = True

    def close(self) -> None:
        """The loop over its batches has ended, or failed: the model has no hook of ours."""
        self._handle.remove()

    def stop_listening(self) -> None:
        """What the model generates from now on is none of this evaluation."""
        _listening.pop(self._model, None)

    def end(self) -> None:
        """All of it has ended, with what callbacks do in it."""
        self.stop_listening()
        if self._has_said_more and self._generations is not None:  # since the metrics were told
            found = self._generations.metrics(self.name)
            metrics = {key: value for key, value in found.items() if key not in self.told}
            self.run.log(metrics, step=self.step)
            if self._is_recorded:
                self._generations.record(self.run, self.name, self.step)

    def _see(self, module: Any, args: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        with shield("transformers: held-out predictions"):
            self._take(module, kwargs, output)

    def _take(self, module: Any, kwargs: Mapping[str, Any], output: Any) -> None:
        spans = span_scores(output)
        if spans is not None and not self._is_between:
            self._is_between = self._knows_batches
            self._spans.add(spans, {**self._inputs, **kwargs}, self._rows_of_data(len(spans[0])))
            return
        given = kwargs.get("labels")
        if not isinstance(given, torch.Tensor):
            self._answered = time.perf_counter()  # one more token, perhaps
            given = self._labels
        if self._is_between or not isinstance(given, torch.Tensor):
            return
        logits, is_named = named_scores(output), True
        if logits is None:
            logits, is_named = self._by_loss.find(output, given), False
        if logits is None:
            return
        self._labels, self._is_between = None, self._knows_batches  # the first answer is that of the loss
        labels, logits = given.detach().to(logits.device), logits.detach()
        if _is_of_words(module, logits):
            self._why = f"{_OF_WORDS} ({logits.shape[-1]:,})"
            base = module.get_base_model() if hasattr(module, "get_base_model") else module  # in PEFT's
            is_masked = "MaskedLM" in type(base).__name__
            is_both = getattr(getattr(base, "config", None), "is_encoder_decoder", False)
            if is_masked or (_is_generative(base) and not is_both):
                self._surprise.see(logits, labels, is_masked=is_masked)
            return
        if self._kept.is_empty:
            self._kept.known = known_of(module) if is_named else Known(self._by_loss.kind, False)
        if logits.ndim == 4 and labels.ndim == 3 and logits.shape[2:] != labels.shape[1:]:
            # Models of masks answer in fewer pixels; their loss, and who shows the masks, does this to them.
            logits = functional.interpolate(
                logits, size=labels.shape[1:], mode="bilinear", align_corners=False
            )
        inputs = kwargs.get(getattr(module, "main_input_name", "input_ids"))
        rows = self._rows_of_data(len(labels))
        if rows < len(labels):
            labels, logits = labels[:rows], logits[:rows]
            inputs = inputs[:rows] if isinstance(inputs, torch.Tensor) else None
        if not self._is_of_all and self._first is None:
            self._first = as_array(labels), as_array(logits)
        self._add(labels, logits, inputs)

    def _add(self, labels: Any, logits: Any, inputs: Any) -> None:
        if logits.ndim == 3 and labels.ndim == 2:  # a label for each token
            counted = labels != IGNORED
            if self._entities is not None:
                self._count(labels, logits.argmax(-1), counted)
            labels, logits, inputs = labels[counted], logits[counted], None
        self._kept.add(labels, logits, inputs)

    def _rows_of_data(self, rows: int) -> int:
        """How many rows of this batch are data: the last one is filled up, so that all ranks have as many."""
        state = self._trainer.accelerator.gradient_state
        is_filled = self._trainer.args.world_size > 1 and state.end_of_dataloader and state.remainder > 0
        return min(rows, state.remainder) if is_filled else rows  # rank 0's rows are the first of the batch's

    def _count(self, labels: Any, predicted: Any, counted: Any) -> None:
        assert self._entities is not None
        rows = zip(labels.tolist(), predicted.tolist(), counted.tolist(), strict=True)
        for truth, guesses, are_counted in rows:
            places = [place for place, is_counted in enumerate(are_counted) if is_counted]
            self._entities.add([truth[place] for place in places], [guesses[place] for place in places])

    # Afterwards -------------------------------------------------------------------------------------

    def look_at_completions(self) -> None:
        """What a model that is rewarded for its completions has said in this evaluation."""
        self._completions = completions(self._trainer, self._said_before)

    def record_completions(self) -> None:
        """The table of these; once."""
        record_completions(self.run, f"{self.name}/completions", self._completions, self.step)
        self._completions = []

    def gathered(self, predictions: Any, labels: Any) -> None:
        """The Trainer has gathered predictions of all ranks, without what batches are filled up with.

        They are taken if they begin with what was seen here: ``preprocess_logits_for_metrics`` may have made
        something else of them.
        """
        if self._first is None or not isinstance(labels, np.ndarray):
            return
        for scores in predictions if isinstance(predictions, (tuple, list)) else (predictions,):
            if isinstance(scores, np.ndarray) and all(
                _begins_with(whole, part) for whole, part in zip((labels, scores), self._first, strict=True)
            ):
                self._kept = Kept(self._kept.known)
                if self._entities is not None:
                    self._entities = Entities(self._entities.tags)
                self._add(torch.from_numpy(labels), torch.from_numpy(scores), None)
                self._is_of_all = True
                return

    def summarize(self) -> None:
        """The metrics of one evaluation of many: they take no sorting of scores, and no pictures."""
        if self._kept.is_empty or self._is_recorded:
            return
        found = not_told(metrics_of(self._kept, self._classes()), self.name, self.told)
        metrics = {f"{self.name}/{key}": value for key, value in found.items()}
        record_finals(self.run, metrics, step=self.step)
        self.told |= metrics

    def measures(self) -> dict[str, float]:
        """Metrics of this evaluation that the Trainer does not tell, whether it is the last one or not."""
        self._has_said_more = False
        found = self._generations.metrics(self.name) if self._generations is not None else {}
        found = {key: value for key, value in found.items() if key not in self.told}
        if self._entities is not None and not self._kept.is_empty:
            metrics = {f"{self.name}/{key}": value for key, value in self._entities.metrics().items()}
            found |= {key: value for key, value in metrics.items() if key not in self.told}
        found |= {f"{self.name}/{key}": value for key, value in self._spans.metrics().items()}
        return {**found, **self._perplexity()}

    def _perplexity(self) -> dict[str, float]:
        loss, key = self.told.get(f"{self.name}/loss", math.nan), f"{self.name}/perplexity"
        if self._surprise.is_perplexity is None or key in self.told:
            return {}
        if not self._surprise.is_perplexity:
            why = f"the loss is not the mean cross entropy of the words{self._surprise.why_not}"
            self.run.note(key, f"not recorded: {why}")
            return {}
        return {key: math.exp(loss)} if loss < LARGEST_LOSS else {}

    def record(self) -> None:
        """What can be said of the predictions; once."""
        if self._is_recorded:
            return
        self._is_recorded = True
        self.record_completions()
        run, name, ranks = self.run, self.name, self._trainer.args.world_size
        if not self._is_of_all:
            run.note(name, f"what is made from predictions is of rank 0's share, one of {ranks}")
        if self._generations is not None:
            self._generations.record(run, name, self.step)
        elif self._spans.metrics():
            self._record_spans()
        elif self._kept.is_empty:
            run.note(f"{name}/confusion_matrix", f"not recorded: {self._why}")
        if self._kept.is_empty:
            return
        record_evaluation(
            run, name, self._kept, self.told, classes=self._classes(), shown=self._texts, step=self.step
        )
        if self._entities is not None:
            record_long_table(run, f"{name}/per_entity", self._entities.table(), step=self.step)

    def _record_spans(self) -> None:
        key = f"{self.name}/worst_answers"
        if self.run.keeps("predictions"):
            self.run.table(key, self._spans.table(tokenizer_of(self._trainer)), step=self.step)
        else:
            self.run.note(key, "not sent to the server: Settings.share does not name 'predictions'")

    def _classes(self) -> list[str] | None:
        names = getattr(getattr(self._trainer.model, "config", None), "id2label", None)
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


_listening: weakref.WeakKeyDictionary[Any, HeldOut] = weakref.WeakKeyDictionary()  # by model


def evaluated_by(model: Any) -> HeldOut | None:
    """The evaluation of a model that goes on here, and that the user may generate in; None: there is none.

    What the Trainer itself generates is told by it.
    """
    held_out = _listening.get(model)
    if held_out is None or held_out._is_in_step or keeps_completions(held_out._trainer):
        return None
    return held_out if held_out._thread == threading.get_ident() else None


def _begins_with(whole: Any, part: Any) -> bool:
    """Whether gathered rows begin with these. Sequences are filled up to the longest one."""
    rows = min(len(whole), len(part))
    if whole.ndim != part.ndim or not rows:
        return False
    places = (slice(rows), *(slice(size) for size in part.shape[1:]))
    return bool(np.array_equal(whole[places], part[:rows], equal_nan=True))


def _words_of(model: Any) -> int | None:
    return getattr(getattr(model, "config", None), "vocab_size", None)


def _is_generative(model: Any) -> bool:
    can_generate = getattr(model, "can_generate", None)
    return bool(can_generate is not None and can_generate())


def _is_of_words(model: Any, logits: Any) -> bool:
    """Whether these are a language model's scores, one for each word that it knows."""
    if logits.ndim in (2, 3) and logits.shape[-1] > MOST_CLASSES:
        return True
    return bool(logits.ndim == 3 and logits.shape[-1] == _words_of(model))
