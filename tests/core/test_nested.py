"""A training inside of another one: in a callback, or for a metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import autolog
from autolog import MemorySink

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
y = (X[:, 0] > 0).astype("int64")


@pytest.fixture(params=[True, False], ids=["nested", "not nested"])
def nested(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def recording(nested: bool, sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled(sink=sink, log_code=False, budget=1e9, nested=nested):
        yield sink
    autolog.finish()


def probe() -> None:
    LogisticRegression().fit(X, y).score(X, y)


def keras_callback() -> str:
    keras = pytest.importorskip("keras", reason="keras is not installed")

    class Probes(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            probe()

    model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, y, epochs=2, verbose=0, callbacks=[Probes()])
    return "Sequential"


def lightning_hook() -> str:
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
    import torch

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 2)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def on_train_epoch_end(self) -> None:
            probe()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    trainer = lightning.Trainer(
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(data, batch_size=8))
    return "Module"


def watched_loop() -> str:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.Linear(3, 2)
    with autolog.torch.watch(model, optimizer := torch.optim.SGD(model.parameters(), 0.1)):
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.tensor(X)).square().mean().backward()
            optimizer.step()
            probe()
    return "Linear"


def study_callback() -> str:
    optuna = pytest.importorskip("optuna", reason="optuna is not installed")
    study = optuna.create_study(study_name="tuned")
    study.optimize(
        lambda trial: trial.suggest_float("x", 0, 1), n_trials=2, callbacks=[lambda *given: probe()]
    )
    return "tuned"


@pytest.mark.parametrize("train", [keras_callback, lightning_hook, watched_loop, study_callback])
def test_what_trains_inside_is_below_and_leaves_the_outer_run_alone(
    recording: MemorySink, nested: bool, train: Callable[[], str]
) -> None:
    name = train()
    outer = recording.runs[0]
    assert outer.name.startswith(name)
    assert outer.config["framework"] != "sklearn"
    assert outer.config.get("model") != "LogisticRegression"
    assert not {"train/accuracy", "val/accuracy"} & set(outer.metrics)
    assert not [key for key in (*outer.charts, *outer.tables) if key.startswith("model/coefficients")]
    inner = [run for run in recording.runs if run.name.startswith("LogReg")]
    assert len(inner) == (2 if nested else 0)
    assert all(run.config["parent"] == outer.id and run.metrics["train/accuracy"] > 0.5 for run in inner)
