"""What the user logs keeps its value and its step; what is ours stands beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

import autolog
from autolog import MemorySink
from autolog.lightning import TrackioLogger
from tests.lightning.modules import Digits, X, loader, only, train_set, trainer, val_set, y


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("lightning", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


GIVEN = {
    "lr": 123.0,
    "grad_norm": 456.0,
    "epoch": 7.5,
    "train/loss_step": 99.0,
    "train/return": 1.0,
    "train_return": 3.0,
    "train/return_step": 2.0,
    "train/time_per_step": 0.5,
    "val/mae_10_step": 3.0,
    "valid_fraction": 0.25,
}


class Logs(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log_dict(GIVEN)
        return super().training_step(batch, batch_idx)


def test_nothing_that_the_user_logs_is_overwritten(recording: MemorySink) -> None:
    trainer(log_every_n_steps=1).fit(Logs(), loader())
    run = only(recording)
    for key, value in GIVEN.items():
        assert set(run.values(key)) == {value}, key
    assert len(run.values("train/loss")) == 16
    assert max(run.values("train/loss")) < 5
    assert set(run.config["autolog/notes"]) >= {"vitals/lr", "vitals/grad_norm"}
    assert "vitals/grad_norm/net.0.Linear" in run.metrics


class LogsAtTheEnd(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("lr", 123.0, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)


def test_a_name_of_an_epoch_is_not_ours_at_its_steps(recording: MemorySink) -> None:
    trainer(log_every_n_steps=1).fit(LogsAtTheEnd(), loader())
    assert only(recording).values("lr") == [123.0, 123.0]


class LogsByHand(Digits):
    def on_train_start(self) -> None:
        self.logger.log_metrics({"lr": 123.0}, step=0)


def test_what_is_given_to_the_logger_is_the_users(recording: MemorySink) -> None:
    trainer(log_every_n_steps=1, logger=TrackioLogger()).fit(LogsByHand(), loader())
    autolog.finish()
    assert only(recording).values("lr") == [123.0]


class Forks(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("train_cost", loss, on_step=True, on_epoch=True)
        self.log("train/own_step", loss)
        return loss


def test_a_step_is_cut_off_where_lightning_has_put_it(recording: MemorySink) -> None:
    trainer(log_every_n_steps=1).fit(Forks(), loader())
    run = only(recording)
    assert run.values("train/cost") == run.values("train/loss") == run.values("train/own_step")
    assert len(run.values("train/cost_epoch")) == 2
    assert not {"train/cost_step", "train/own"} & set(run.metrics)


# Epochs shorter than the interval ---------------------------------------------------------------------


class Returns(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return functional.cross_entropy(self(batch[0]), batch[1])


class LogsAnother(Digits):
    """What it logs is what it calls its loss, and not what it returns."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss)
        return 2 * loss


@pytest.mark.parametrize("kind", [Digits, Returns, LogsAnother])
@pytest.mark.parametrize("accumulated", [1, 3])
def test_an_epoch_shorter_than_the_interval_has_its_mean(
    recording: MemorySink, kind: Any, accumulated: int
) -> None:
    seen: list[tuple[float, int]] = []

    class Watched(kind):  # type: ignore[misc, valid-type]
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            seen.append((float(functional.cross_entropy(self(batch[0]), batch[1])), len(batch[0])))
            return loss

    data = loader(torch.utils.data.TensorDataset(X[:250], y[:250]))
    trainer(log_every_n_steps=50, accumulate_grad_batches=accumulated).fit(Watched(), data)
    run = only(recording)
    expected = [sum(a * n for a, n in part) / 250 for part in (seen[:8], seen[8:])]
    rows = [(step, row["train/loss"]) for step, row in run.rows if "train/loss" in row]
    assert [value for _, value in rows] == pytest.approx(expected)
    assert [step for step, _ in rows] == [step for step, row in run.rows if "vitals/epoch_seconds" in row]
    assert [step for step, _ in rows] == ([7, 15] if accumulated == 1 else [2, 5])


class LogsPerEpoch(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss


def test_a_mean_that_the_module_logs_itself_is_not_said_twice(recording: MemorySink) -> None:
    trainer(log_every_n_steps=50).fit(LogsPerEpoch(), loader())
    assert len(only(recording).values("train/loss")) == 2


@pytest.mark.parametrize(("every", "steps"), [(50, [7, 15]), (5, [4, 7, 9, 14, 15]), (8, [7, 15])])
def test_the_rate_of_an_epochs_row_is_that_of_its_last_step(
    recording: MemorySink, every: int, steps: list[int]
) -> None:
    class Scheduled(Digits):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    trainer(log_every_n_steps=every).fit(Scheduled(), loader(train_set), loader(val_set))
    found = [(step, row["vitals/lr"]) for step, row in only(recording).rows if "vitals/lr" in row]
    assert found == [(step, pytest.approx(1 / (1 + step))) for step in steps]
