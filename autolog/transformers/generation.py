"""Texts that a model generates: prompt, output and reference as a table; and the seconds they took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.transformers.answers import IGNORED
from autolog.transformers.compared import scores_of_texts, word_error_rate

__all__ = [
    "Generations",
    "completions",
    "keeps_completions",
    "record_completions",
    "said_so_far",
    "tokenizer_of",
]

MOST_COMPARED = 500  # whose words are compared: a millisecond each
_SOUNDS = ("input_features", "input_values")
MOST_TEXTS = 50  # of an evaluation: its first ones, so that evaluations can be compared


class Generations:
    """What ``predict_with_generate`` has made in one evaluation.

    Attributes:
        seconds: of generating alone.
    """

    def __init__(self, trainer: Any):
        self._trainer = trainer
        self._rows: list[dict[str, Any]] = []
        self._pairs: list[tuple[str, str]] = []
        self._compared: dict[str, float] = {}
        self.seconds = 0.0
        self._tokens = 0
        self._all = 0

    def add(self, inputs: Mapping[str, Any], generated: Any, labels: Any, seconds: float) -> None:
        """One batch."""
        model = self._trainer.model
        prompts: Any = inputs.get(getattr(model, "main_input_name", "input_ids"))
        is_text = isinstance(prompts, torch.Tensor) and prompts.ndim == 2 and not prompts.is_floating_point()
        if is_text and not model.config.is_encoder_decoder:
            generated = generated[:, prompts.shape[1] :]  # it begins with its prompt
            labels_are_answers = False  # they may begin with the prompt, too
        else:
            labels_are_answers = labels is not None
        pad = self._pad()
        self.seconds += seconds
        self._tokens += int((generated != pad).sum()) if pad is not None else generated.numel()
        self._all += len(generated)
        if not hasattr(self._tokenizer, "decode"):
            return
        each = max(1, len(generated) // len(prompts)) if is_text and len(prompts) else 1  # sequences of it
        room = MOST_COMPARED - len(self._pairs) if labels_are_answers else 0
        for place in range(min(room, len(generated))):
            self._pairs.append((self._text(generated[place]), self._text(labels[place])))
        for place in range(min(MOST_TEXTS - len(self._rows), len(generated))):
            row = {"prompt": self._text(prompts[place // each])} if is_text else {}
            row["output"] = self._text(generated[place])
            if labels is not None:
                row["reference"] = self._text(labels[place])
            self._rows.append({**row, "seconds": seconds / len(generated)})

    def metrics(self, name: str) -> dict[str, float]:
        """How fast it was."""
        found = {f"vitals/{name}_generation_seconds": self.seconds}
        if self.seconds:
            found[f"vitals/{name}_generated_tokens_per_second"] = self._tokens / self.seconds
        self._compared = self._compare()
        return {**found, **{f"{name}/{key}": value for key, value in self._compared.items()}}

    def _compare(self) -> dict[str, float]:
        """Of transcripts the errors in their words; of other texts what is installed for it."""
        if not self._pairs:
            return {}
        if getattr(self._trainer.model, "main_input_name", "") not in _SOUNDS:
            return scores_of_texts(self._pairs)
        rate = word_error_rate(self._pairs)
        return {} if rate is None else {"wer": rate}

    def record(self, run: Recording, name: str, step: int) -> None:
        """The table of the first texts."""
        key = f"{name}/generations"
        if self._all > len(self._pairs) and self._compared:
            names = ", ".join(self._compared)
            run.note(name, f"{names}: of the first {len(self._pairs):,} of {self._all:,} texts")
        if not run.keeps("predictions"):
            run.note(key, "not sent to the server: Settings.share does not name 'predictions'")
        elif not self._rows:
            run.note(key, "not recorded: without a tokenizer (processing_class) there are no texts")
        else:
            if self._all > len(self._rows):
                run.note(key, f"the first {len(self._rows)} of {self._all:,} texts")
            run.table(key, self._rows, step=step)

    @property
    def _tokenizer(self) -> Any:
        return tokenizer_of(self._trainer)

    def _pad(self) -> int | None:
        found = getattr(self._tokenizer, "pad_token_id", None)
        return getattr(self._trainer.model.config, "pad_token_id", None) if found is None else found

    def _text(self, ids: Any) -> str:
        return str(self._tokenizer.decode(ids[ids != IGNORED], skip_special_tokens=True))


def tokenizer_of(trainer: Any) -> Any:
    """The Trainer's tokenizer, or its processor's; None: it has none."""
    processor = getattr(trainer, "processing_class", None)
    return getattr(processor, "tokenizer", processor)


def completions(trainer: Any, before: list[Any] | None = None) -> list[dict[str, Any]]:
    """The last completions of TRL's GRPOTrainer and its kin, with their rewards; of other Trainers none.

    They stand in an attribute of its own; the test of GRPO watches it.

    Args:
        before: what :func:`said_so_far` has returned earlier: only what was said since then.
    """
    logs = getattr(trainer, "_logs", None)
    if not isinstance(logs, Mapping) or not {"prompt", "completion"} <= logs.keys():
        return []
    columns = {"prompt": logs["prompt"], "completion": logs["completion"], **logs.get("rewards", {})}
    if logs.get("advantages"):
        columns["advantage"] = logs["advantages"]
    whole = {name: list(values) for name, values in columns.items() if len(values) == len(logs["prompt"])}
    rows = [
        {name: _said(value) for name, value in zip(whole, values, strict=True)}
        for values in zip(*whole.values(), strict=True)
    ]
    return rows if before is None else rows[_still_there(before, said_so_far(trainer)) :]


def keeps_completions(trainer: Any) -> bool:
    """Whether it is one of these Trainers."""
    return isinstance(getattr(trainer, "_logs", None), Mapping)


def said_so_far(trainer: Any) -> list[Any]:
    """The completions that stand there, as they are."""
    logs = getattr(trainer, "_logs", None)
    return list(logs.get("completion", ())) if isinstance(logs, Mapping) else []


def _still_there(before: list[Any], now: list[Any]) -> int:
    """How many of them stand first now: what is added takes the place of the oldest."""
    for count in range(min(len(before), len(now)), 0, -1):
        if all(one is other for one, other in zip(before[-count:], now[:count], strict=True)):
            return count
    return 0


def record_completions(run: Recording, key: str, rows: list[dict[str, Any]], step: int) -> None:
    """The table of them, if there are any."""
    if rows and not run.keeps("predictions"):
        run.note(key, "not sent to the server: Settings.share does not name 'predictions'")
    elif rows:
        record_long_table(run, key, rows, step=step)


def _said(value: Any) -> Any:
    """A conversation as a text."""
    if not isinstance(value, list) or not all(isinstance(part, Mapping) for part in value):
        return value
    return "\n".join(f"{part.get('role')}: {part.get('content')}" for part in value)
