"""Tiny models and data for tests of transformers: the pixels of a digit are a text of 17 words."""

from __future__ import annotations

import logging
import tempfile
from typing import Any

import torch
from sklearn.datasets import load_digits
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    Trainer,
    TrainingArguments,
)
from transformers.utils import logging as of_transformers

of_transformers.set_verbosity_error()
of_transformers.disable_progress_bar()
logging.getLogger("transformers").setLevel(logging.ERROR)

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


def arguments(**more: Any) -> Any:
    given: dict[str, Any] = {
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
        **more,
    }
    return TrainingArguments(**given)


def trainer(model: Any = None, *, callbacks: Any = None, **more: Any) -> Any:
    of_trainer = {name: more.pop(name) for name in ("eval_dataset", "compute_metrics") if name in more}
    of_trainer |= {name: more.pop(name) for name in ("processing_class", "train_dataset") if name in more}
    given = {"train_dataset": train_set, "eval_dataset": val_set, **of_trainer}
    return Trainer(model or classifier(), arguments(**more), callbacks=callbacks, **given)
