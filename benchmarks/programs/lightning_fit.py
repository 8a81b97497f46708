"""A small network by Lightning, each step logged."""

import logging
import warnings

import common

warnings.filterwarnings("ignore")
recorder = common.recorder("pytorch", mlflow={"log_every_n_step": 1, "log_every_n_epoch": None})

import lightning
import torch
from lightning.pytorch.loggers import WandbLogger
from torch import nn

logging.getLogger("lightning").setLevel(logging.ERROR)
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
EPOCHS, BATCH = 3, 32
steps = round(4_500 * common.share / EPOCHS)
X = torch.randn(steps * BATCH, 32, generator=torch.Generator().manual_seed(0))
data = torch.utils.data.TensorDataset(X, (X[:, 0] + X[:, 1] > 0).long())


class Network(lightning.LightningModule):
    """Two hidden layers."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def training_step(self, batch, batch_idx):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class ByHand(lightning.Callback):
    """Hands each step's metrics on."""

    def on_train_batch_end(self, trainer, *args):
        logged = {name: value.item() for name, value in trainer.logged_metrics.items()}
        run.log(logged, step=trainer.global_step)


lightning.seed_everything(0, verbose=False)
trainer = lightning.Trainer(
    max_epochs=EPOCHS,
    log_every_n_steps=1,
    logger=WandbLogger(project="program", offline=True) if common.way == "wandb" else False,
    callbacks=[ByHand()] if common.way == "trackio" else None,
    accelerator="cpu",
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
common.begin()
run = common.start(recorder) if common.way == "trackio" else None
trainer.fit(Network(), torch.utils.data.DataLoader(data, batch_size=BATCH))
if run is not None:
    run.finish()
common.end()
