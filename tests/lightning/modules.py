"""Small modules and data for tests of Lightning, under both of its names."""

from __future__ import annotations

import logging
from typing import Any

import lightning.pytorch
import pytorch_lightning
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

for name in ("lightning.pytorch", "pytorch_lightning", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)

PACKAGES = {"lightning": lightning.pytorch, "pytorch_lightning": pytorch_lightning}

X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
train_set, val_set, test_set = (TensorDataset(X[a:b], y[a:b]) for a, b in ((0, 256), (256, 384), (384, 512)))


def loader(data: Any = train_set, size: int = 32) -> Any:
    return DataLoader(data, batch_size=size)


def trainer(package: Any = lightning.pytorch, **more: Any) -> Any:
    given: dict[str, Any] = {
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "log_every_n_steps": 3,
        **more,
    }
    return package.Trainer(**given)


class Steps:
    """The steps of a small classifier, for a module of either package."""

    def __init__(self, lr: float = 0.01, hidden: int = 8):
        super().__init__()
        self.save_hyperparameters()  # type: ignore[attr-defined]
        torch.manual_seed(0)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)
        )

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])  # type: ignore[operator]
        self.log("train_loss", loss)  # type: ignore[attr-defined]
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        scores = self(batch[0])  # type: ignore[operator]
        self.log("val_loss", torch.nn.functional.cross_entropy(scores, batch[1]))  # type: ignore[attr-defined]

    def test_step(self, batch: Any, batch_idx: int) -> None:
        right = (self(batch[0]).argmax(1) == batch[1]).float()  # type: ignore[operator]
        self.log("test_acc", right.mean())  # type: ignore[attr-defined]

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0])  # type: ignore[operator]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams["lr"])  # type: ignore[attr-defined]
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class Digits(Steps, lightning.pytorch.LightningModule):  # type: ignore[misc]
    pass


class OlderDigits(Steps, pytorch_lightning.LightningModule):  # type: ignore[misc]
    pass


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run
