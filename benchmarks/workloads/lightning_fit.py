"""A small network by Lightning, each step logged."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import (
    BARE,
    SCRATCH,
    Given,
    Way,
    by_autolog,
    by_mlflow,
    by_trackio,
    by_wandb,
    everything_on,
)

STEPS, EPOCHS, BATCH = 1_500, 3, 32
ITSELF = "Lightning itself, every step to a logger that drops it"


def parts() -> tuple[Any, Any, Any]:
    """The module, a callback that hands each step's metrics to a ``log``, and a logger that drops them."""
    import lightning.pytorch as pl
    import torch

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

    class Dropping(pl.loggers.Logger):  # type: ignore[misc]
        """Takes what it is given, and does nothing with it."""

        name = version = "nothing"

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            pass

        def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
            pass

    class ByHand(pl.Callback):  # type: ignore[misc]
        def __init__(self, log: Any):
            self.write = log

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            logged = {name: value.item() for name, value in trainer.logged_metrics.items()}
            self.write(logged, step=trainer.global_step)

    return Network, ByHand, Dropping


def workload(share: float = 1.0) -> Workload:
    import lightning
    import lightning.pytorch as pl
    import torch
    from lightning.pytorch.loggers import CSVLogger

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    steps = EPOCHS * round(STEPS * share / EPOCHS)
    X = torch.randn(steps * BATCH // EPOCHS, 32, generator=torch.Generator().manual_seed(0))
    data = torch.utils.data.TensorDataset(X, (X[:, 0] + X[:, 1] > 0).long())

    Network, ByHand, Dropping = parts()

    def fit(every: int = 50, log: Any = None, logger: Any = None) -> float:
        pl.seed_everything(0, verbose=False)
        module = Network()
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            log_every_n_steps=every,
            logger=logger or False,
            callbacks=[ByHand(log)] if log is not None else None,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
        start = time.perf_counter()
        trainer.fit(module, loader)
        return time.perf_counter() - start

    steps_too: dict[str, Any] = {"log_every_n_step": 1, "log_every_n_epoch": None}
    ways = [
        BARE,
        by_autolog("autolog", "lightning"),
        Way(ITSELF, lambda: nullcontext({"logger": Dropping(), "every": 1})),
        every_step(by_autolog("autolog, every step", "lightning")),
        every_step(by_autolog("autolog, every step, no gradient norms", "lightning", log_gradients=False)),
        every_step(everything_on("lightning")),
        every_step(Way("Lightning's CSVLogger, every step", lambda: _with_a_csv_logger(CSVLogger))),
        every_step(by_trackio("Trackio by hand, every step", lambda log: {"log": log})),
        every_step(by_wandb("W&B offline by hand, every step", lambda log: {"log": log})),
        by_mlflow("MLflow autolog", flavor="pytorch"),
        by_mlflow("MLflow autolog, every step", flavor="pytorch", **steps_too),
    ]
    return Workload(
        f"Lightning: {steps:,} steps of a small network",
        fit,
        ways,
        f"Lightning {lightning.__version__} on torch {torch.__version__}",
        goal="at most 1.05 of bare at every step, and no slower than Trackio by hand",
        pieces=steps,
        piece="step",
    )


def every_step(way: Way) -> Way:
    """The same, where Lightning is told to log each step."""

    @contextmanager
    def on() -> Iterator[Given]:
        with way.on() as given:
            yield {**given, "every": 1}

    return replace(way, on=on, beyond=ITSELF)


def _with_a_csv_logger(kind: Any) -> Any:
    return nullcontext({"logger": kind(str(SCRATCH / "csv"))})
