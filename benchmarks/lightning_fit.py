"""What recording a Lightning training costs, side by side: ``python -m benchmarks.lightning_fit``.

1,500 steps of a small network: bare; with Lightning's own CSV logger; by autolog at its defaults, and with a
row for every step, without and with gradient norms; by MLflow's autologging.
"""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from typing import Any

from benchmarks.turns import Work, add_mlflow, by_autolog, compare

STEPS, EPOCHS, BATCH = 1_500, 3, 32


def main(turns: int = 7) -> None:
    import lightning
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers import CSVLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    X = torch.randn(STEPS * BATCH // EPOCHS, 32)
    data = torch.utils.data.TensorDataset(X, (X[:, 0] + X[:, 1] > 0).long())

    class Network(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential(
                torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
                torch.nn.Linear(64, 2),
            )  # fmt: skip

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters())

    def fit(every: int = 50, logger: Any = False) -> float:
        pl.seed_everything(0, verbose=False)
        module = Network()
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            log_every_n_steps=every,
            logger=logger,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
        start = time.perf_counter()
        trainer.fit(module, loader)
        return time.perf_counter() - start

    def each() -> float:
        return fit(every=1)

    contenders: dict[str, Work] = {
        "bare": fit,
        "CSVLogger, every step": lambda: fit(1, CSVLogger(tempfile.mkdtemp())),
        "autolog, defaults": by_autolog("lightning", "autolog, defaults", fit),
        "autolog, every step, no norms": by_autolog(
            "lightning", "autolog, every step, no norms", each, log_gradients=False
        ),
        "autolog, every step and norms": by_autolog("lightning", "autolog, every step and norms", each),
    }
    missing = add_mlflow(contenders, "pytorch", fit, log_every_n_step=1, log_every_n_epoch=None)
    versions = f"lightning {lightning.__version__}, torch {torch.__version__}"
    compare(f"{STEPS:,} steps of a small network", contenders, turns, versions)
    print(missing)


if __name__ == "__main__":
    main()
