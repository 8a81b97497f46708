"""How long a training waits for its data, in every framework that says when it fetches a batch."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.sinks.memory import MemorySink

torch = pytest.importorskip("torch", reason="torch is not installed")

ROWS = 8


class Slow(torch.utils.data.Dataset):  # type: ignore[misc]
    """Each row takes its time, which is added up."""

    def __init__(self, seconds: float):
        self.of_a_row = seconds
        self.named = False  # by the names of a model's arguments
        self.seconds = 0.0

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, row: int) -> Any:
        began = time.perf_counter()
        time.sleep(self.of_a_row)
        self.seconds += time.perf_counter() - began
        if self.named:
            return {"input_ids": torch.arange(5), "labels": torch.tensor(row % 2)}
        return torch.full((4,), float(row)), torch.tensor(row % 2)


def loader(data: Slow) -> Any:
    return torch.utils.data.DataLoader(data, batch_size=2)


def by_keras(folder: Path, data: Slow, held_out: Slow) -> None:
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    iterators = importlib.import_module("keras.src.trainers.epoch_iterator")
    if not hasattr(iterators.EpochIterator, "__next__"):
        pytest.skip("this Keras has no function that fetches a batch")
    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(loader(data), validation_data=loader(held_out), epochs=2, verbose=0)


def by_lightning(folder: Path, data: Slow, held_out: Slow) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")

    class Net(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def training_step(self, batch: Any, number: int) -> Any:
            return torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def validation_step(self, batch: Any, number: int) -> None:
            self.log("val_loss", self.training_step(batch, number))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", enable_checkpointing=False, default_root_dir=folder, **quiet
    )
    trainer.fit(Net(), loader(data), loader(held_out))


def by_transformers(folder: Path, data: Slow, held_out: Slow) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    arguments = transformers.TrainingArguments(
        str(folder), num_train_epochs=2, per_device_train_batch_size=2, gradient_accumulation_steps=2,
        eval_strategy="epoch", save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    model = transformers.BertForSequenceClassification(config)
    data.named = held_out.named = True
    transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=held_out).train()


@pytest.mark.parametrize(
    "train", [by_keras, by_lightning, by_transformers], ids=["keras", "lightning", "transformers"]
)
def test_each_epoch_says_how_long_it_waited(
    sink: MemorySink, tmp_path: Path, train: Any, request: pytest.FixtureRequest
) -> None:
    framework = request.node.callspec.id
    data, held_out = Slow(0.01), Slow(0.05)
    with autolog.enabled(framework, sink=sink, log_code=False):
        train(tmp_path, data, held_out)
    autolog.finish()
    [run] = sink.runs
    rows = [row for _, row in run.rows if "vitals/epoch_seconds" in row]
    waited = [row["vitals/data_seconds"] for row in rows]
    assert [0 < row["vitals/data_seconds"] <= row["vitals/epoch_seconds"] for row in rows] == [True, True]
    # (Keras looks at one batch before the first epoch.)
    assert data.seconds * 7 / 10 <= sum(waited) < data.seconds + held_out.seconds / 2
