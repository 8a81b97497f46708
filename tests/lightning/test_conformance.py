"""Lightning keeps the promises."""

from __future__ import annotations

import logging
import signal
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from sklearn.datasets import load_digits

import autolog.pytorch_lightning  # noqa: F401 - first: whichever of the two packages comes first imports it
from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

X, y = load_digits(return_X_y=True)
data = torch.utils.data.TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
train_set, test_set = (
    torch.utils.data.Subset(data, range(192)),
    torch.utils.data.Subset(data, range(192, 320)),
)


class Digits(pl.LightningModule):  # type: ignore[misc]
    """A small network."""

    def __init__(self, weight_decay: float = 0.0, error: BaseException | None = None):
        super().__init__()
        self.save_hyperparameters(ignore=["error"])
        self.error = error
        self.net = torch.nn.Sequential(torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))

    def forward(self, x: Any) -> Any:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.error is not None and batch_idx == 2:
            raise self.error
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def test_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("test_accuracy", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), 0.01, weight_decay=self.hparams["weight_decay"])


def trainer(**more: Any) -> Any:
    given: dict[str, Any] = {
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "log_every_n_steps": 2,
        **more,
    }
    return pl.Trainer(**given)


class Lightning(Subject):
    name = "lightning"
    is_slow = True
    strength = "weight_decay"
    clean_exits = frozenset({signal.SIGTERM})
    program = """
        import torch, lightning.pytorch as pl
        from sklearn.datasets import load_digits

        class Model(pl.LightningModule):
            def __init__(self, weight_decay):
                super().__init__()
                self.save_hyperparameters()
                self.net = torch.nn.Linear(64, 10)
            def training_step(self, batch, batch_idx):
                loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
                self.log("train_loss", loss)
                return loss
            def on_train_epoch_end(self):
                if self.current_epoch == 0:
                    print("ready", flush=True)
            def configure_optimizers(self):
                return torch.optim.AdamW(self.parameters(), weight_decay=self.hparams["weight_decay"])

        X, y = load_digits(return_X_y=True)
        data = torch.utils.data.TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
        pl.Trainer(max_epochs=100_000, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                   enable_model_summary=False, accelerator="cpu").fit(
            Model(3.0), torch.utils.data.DataLoader(data, batch_size=64))
    """

    def train(self, strength: float = 1.0, error: BaseException | None = None) -> Any:
        pl.seed_everything(0)
        module = Digits(strength, error)
        trainer().fit(module, torch.utils.data.DataLoader(train_set, batch_size=32, shuffle=True))
        return module

    def result(self, trained: Any) -> bytes:
        return b"".join(np.asarray(p.detach()).tobytes() for p in trained.parameters())

    def evaluate(self, trained: Any) -> float:
        loader = torch.utils.data.DataLoader(test_set, batch_size=64)
        return float(trainer().test(trained, loader, verbose=False)[0]["test_accuracy"])

    def fail(self, error: BaseException) -> None:
        try:
            self.train(error=error)
        except SystemExit as left:
            if not isinstance(error, KeyboardInterrupt):
                raise
            # Lightning makes this of Ctrl-C, and has no more of them.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise error from left


class TestLightning(Conformance):
    subject = Lightning()


class TestByRun(ByRun):
    subject = Lightning()
