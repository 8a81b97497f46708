"""Handwritten digits by Lightning, with checkpoints, early stopping and a test at the end.

python examples/lightning_digits.py && trackio show --project lightning-digits
"""

import tempfile

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

import autolog


class Digits(pl.LightningModule):
    """A small convolutional network."""

    def __init__(self, lr: float = 0.005, channels: int = 16):
        super().__init__()
        self.save_hyperparameters()
        self.edges = torch.nn.Conv2d(1, channels, 3)
        self.digit = torch.nn.Linear(36 * channels, 10)

    def forward(self, images):
        return self.digit(torch.relu(self.edges(images)).flatten(1))

    def training_step(self, batch, batch_idx):
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", torch.nn.functional.cross_entropy(self(images), labels))

    def test_step(self, batch, batch_idx):
        images, labels = batch
        self.log("test_accuracy", (self(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


autolog.enable(project="lightning-digits")
pl.seed_everything(0)
digits = load_digits()
images = torch.tensor(digits.images[:, None] / 16, dtype=torch.float32)
train, val, test = random_split(TensorDataset(images, torch.tensor(digits.target)), (1_000, 347, 450))

module = Digits()
folder = tempfile.mkdtemp()
trainer = pl.Trainer(
    max_epochs=15,
    log_every_n_steps=10,
    gradient_clip_val=1.0,
    accelerator="cpu",
    logger=False,
    enable_progress_bar=False,
    default_root_dir=folder,
    callbacks=[EarlyStopping("val_loss", patience=3), ModelCheckpoint(monitor="val_loss")],
)
trainer.fit(module, DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=128))
(result,) = trainer.test(module, DataLoader(test, batch_size=128), ckpt_path="best", verbose=False)
print(f"test accuracy {result['test_accuracy']:.3f}")
print("Look at it:  trackio show --project lightning-digits")

# What it shows: what the module logs, learning rate and gradient norms of each layer before they were
# clipped, the checkpoints with their scores, and two evaluations with confusion matrix and curves: of
# validation and test.
