"""Tiny models and data for tests of transformers: the pixels of a digit are a text of 17 words."""

from __future__ import annotations

import inspect
import logging
import tempfile
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging as of_transformers

from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

of_transformers.set_verbosity_error()
of_transformers.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

torch.set_num_threads(1)  # of a model this small the threads only wait for each other

X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.long), torch.tensor(y)


class Digits(torch.utils.data.Dataset[Any]):
    """Some digits; ``per_token``: whether each pixel has a label, dark or bright, and the first ones none."""

    def __init__(self, start: int, stop: int, *, per_token: bool = False):
        self.rows = range(start, stop)
        self.per_token = per_token

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = self.rows[place]
        if not self.per_token:
            return {"input_ids": X[row], "labels": y[row]}
        labels = (X[row] > 8).long()
        labels[:4] = -100
        return {"input_ids": X[row], "labels": labels}


train_set, val_set, test_set = Digits(0, 128), Digits(128, 192), Digits(192, 256)


def config(labels: int = 10, **more: Any) -> Any:
    return BertConfig(
        vocab_size=17,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_labels=labels,
        **more,
    )


def classifier(**more: Any) -> Any:
    torch.manual_seed(0)
    return BertForSequenceClassification(config(**more))


def token_classifier() -> Any:
    torch.manual_seed(0)
    return BertForTokenClassification(config(2, id2label={0: "dark", 1: "bright"}))


def common() -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": 2,
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 32,
        "learning_rate": 0.01,
        "logging_steps": 4,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 0,
    }


def arguments(**more: Any) -> Any:
    return TrainingArguments(**{**common(), **more})


def trainer(model: Any = None, *, callbacks: Any = None, **more: Any) -> Any:
    of_trainer = {name: more.pop(name) for name in ("eval_dataset", "compute_metrics") if name in more}
    of_trainer |= {name: more.pop(name) for name in ("processing_class", "train_dataset") if name in more}
    given = {"train_dataset": train_set, "eval_dataset": val_set, **of_trainer}
    return Trainer(model or classifier(), arguments(**more), callbacks=callbacks, **given)


# Texts --------------------------------------------------------------------------------------------------

texts = [doc[:200] for name in sorted(vars(np)) if len(doc := inspect.getdoc(getattr(np, name)) or "") > 200][
    :100
]
"""Of NumPy's docstrings."""


def tokenizer() -> Any:
    """Trained on the spot."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    words = Tokenizer(models.BPE(unk_token="[UNK]"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    special = ["[PAD]", "[EOS]", "[UNK]"]
    words.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    )
    named = {"pad_token": "[PAD]", "eos_token": "[EOS]", "unk_token": "[UNK]"}
    return PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", **named)


def language_model(words: Any) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=256,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def answering_trainer(words: Any, rows: int = 12, *, encoder: bool = True, **more: Any) -> Any:
    """Answers the beginning of a docstring by a text; the right answer is what follows."""
    torch.manual_seed(0)
    of_t5 = {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 16,
        "num_layers": 1,
        "num_heads": 2,
        "decoder_start_token_id": 0,
    }
    if encoder:
        model = T5ForConditionalGeneration(
            T5Config(vocab_size=len(words), pad_token_id=0, eos_token_id=1, **of_t5)
        )
    else:
        model = language_model(words)
    data = []
    for text in texts[:rows]:
        ids = words(text)["input_ids"][:24]
        asked, answer = (ids[:12], ids[12:]) if encoder else (ids, ids)
        data.append({"input_ids": torch.tensor(asked), "labels": torch.tensor([*answer[:-1], -100])})
    given = {"train_dataset": data, "eval_dataset": data, "processing_class": words}
    given |= {name: more.pop(name) for name in ("compute_metrics",) if name in more}
    args = Seq2SeqTrainingArguments(
        **{**common(), "predict_with_generate": True, "generation_max_length": 30, **more}
    )
    return Seq2SeqTrainer(model, args, **given)


def only(sink: MemorySink) -> MemoryRun:
    """The one run, in which no fault of ours is noted."""
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


def series(found: MemoryRun, key: str) -> list[tuple[int, Any]]:
    """A metric's steps and values."""
    return [(step, row[key]) for step, row in found.rows if key in row]
