"""Lightning, under both of its names."""

from __future__ import annotations

import copy
import csv
import io
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import TensorDataset
from torchmetrics import BootStrapper, MetricCollection
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassPrecisionRecallCurve,
    MulticlassROC,
)

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.lightning import TrackioCallback, TrackioLogger
from autolog.lightning.names import canonical
from tests.lightning.modules import (
    PACKAGES,
    Digits,
    OlderDigits,
    X,
    loader,
    only,
    test_set,
    trainer,
    val_set,
    y,
)
from tests.programs import read
from tests.programs import run_warm as run


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("lightning", "pytorch_lightning", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_fit_is_a_whole_run(recording: MemorySink, package: str) -> None:
    module = {"lightning": Digits, "pytorch_lightning": OlderDigits}[package](hidden=16)
    of_package = trainer(PACKAGES[package])
    before = list(of_package.callbacks)
    of_package.fit(module, loader(), loader(val_set))
    assert of_package.callbacks == before
    assert not any(part._forward_hooks for part in module.modules())
    run = only(recording)
    assert run.status == "finished"
    assert run.config["framework/package"] == package
    assert (run.config["params/lr"], run.config["params/hidden"]) == (0.01, 16)
    assert run.config["params"]["optimizer/lr"] == 0.01
    assert run.config["params"]["scheduler/0"]["class"] == "StepLR"
    assert run.config["params"]["trainer"]["max_epochs"] == 2
    assert run.config["model/parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert (run.config["data/train"]["rows"], run.config["data/val"]["rows"]) == (256, 128)
    assert [step for step, row in run.rows if "train/loss" in row] == [2, 5, 8, 11, 14]
    assert [row["vitals/lr"] for _, row in run.rows if "train/loss" in row] == [
        0.01,
        0.01,
        0.005,
        0.005,
        0.005,
    ]
    assert [step for step, row in run.rows if "vitals/epoch_seconds" in row] == [7, 15]
    assert len(run.values("val/loss")) == 2
    assert {"val/confusion_matrix", "val/roc"} <= set(run.charts)
    assert [artifact["type"] for artifact in run.artifacts] == ["model"]


def rows_of(logger: Any) -> list[dict[str, str]]:
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_what_is_recorded_is_what_lightnings_own_logger_gets(recording: MemorySink, tmp_path: Path) -> None:
    theirs = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer(logger=theirs).fit(Digits(), loader(), loader(val_set))
    run = only(recording)
    for mine, other in (("train/loss", "train_loss"), ("val/loss", "val_loss")):
        expected = {int(row["step"]): float(row[other]) for row in rows_of(theirs) if row[other]}
        assert {step: row[mine] for step, row in run.rows if mine in row} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "stage", "expected"),
    [
        ("train_loss", "train", "train/loss"),
        ("train/loss", "train", "train/loss"),
        ("valid_acc", "val", "val/acc"),
        ("val_loss/dataloader_idx_1", "val", "val/1/loss"),
        ("acc/dataloader_idx_0", "test", "test/0/acc"),
        ("loss", "val", "val/loss"),
        ("train_loss_step", "train", "train/loss_step"),
        ("train_loss_epoch", "train", "train/loss_epoch"),
        ("loss_step", "train", "train/loss_step"),
        ("valid/fraction", "val", "val/fraction"),
        ("valid_fraction", "val", "valid_fraction"),
        ("valid_f1_macro", "val", "val/f1_macro"),
        ("training_loss", "train", "train/loss"),
        ("Test-F1", "test", "test/F1"),
        ("reward", "train", "reward"),
        ("training_wheels", "train", "training_wheels"),
        ("trainable", "train", "trainable"),
    ],
)
def test_names_are_those_of_every_framework(name: str, stage: str, expected: str) -> None:
    assert canonical(name, stage) == expected


def test_evaluations_go_on_in_the_run_of_their_module(recording: MemorySink) -> None:
    module = Digits()
    first = trainer()
    first.fit(module, loader())
    first.test(module, loader(test_set), verbose=False)
    (told,) = trainer().validate(module, loader(val_set), verbose=False)
    predicted = torch.cat(first.predict(module, loader(test_set))).argmax(1)
    run = only(recording)
    assert run.metrics["val/loss"] == pytest.approx(told["val_loss"])
    assert run.metrics["test/acc"] == pytest.approx(float((predicted == y[384:512]).float().mean()))
    assert "test/accuracy" not in run.metrics, "it is the module's acc"
    assert run.metrics["vitals/predict_seconds"] > 0
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y[384:512].numpy(), predicted.numpy()), 1)
    rows = run.tables["test/confusion_matrix_counts"]
    assert [[row[f"predicted {n}"] for n in range(10)] for row in rows] == matrix.tolist()


def test_an_evaluation_alone_is_a_run_and_predicting_is_none(recording: MemorySink) -> None:
    trainer().predict(Digits(), loader(test_set))
    assert recording.runs == []
    trainer().test(Digits(), loader(test_set), verbose=False)
    assert "test/acc" in only(recording).metrics


def test_looking_for_a_learning_rate_leaves_no_trace(recording: MemorySink, tmp_path: Path) -> None:
    module = Digits()
    Tuner(trainer(default_root_dir=tmp_path)).lr_find(module, loader(), num_training=20)
    assert recording.runs == []
    given = {"callbacks": [LearningRateFinder(num_training_steps=20)], "default_root_dir": tmp_path}
    theirs = CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    trainer(logger=theirs, **given).fit(module, loader(), loader(val_set))
    run = only(recording)
    steps = [int(row["step"]) for row in rows_of(theirs) if row["train_loss"]]
    assert [step for step, row in run.rows if "train/loss" in row] == steps
    validations = [row for row in rows_of(theirs) if row["val_loss"]]
    assert len(run.values("val/loss")) == len(validations)  # and none of the sanity check


@pytest.mark.parametrize("finder", ["tuner", "callback"])
@pytest.mark.parametrize("has_logger", [False, True])
def test_the_learning_rate_that_was_found_is_the_one(
    recording: MemorySink, tmp_path: Path, finder: str, has_logger: bool
) -> None:
    rates: list[float] = []

    class Looks(lightning.pytorch.Callback):  # type: ignore[misc]
        def on_train_batch_start(self, trainer: Any, *given: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    module = Digits()
    given: dict[str, Any] = {"default_root_dir": tmp_path, "logger": TrackioLogger() if has_logger else False}
    given["callbacks"] = [Looks()]
    if finder == "callback":
        given["callbacks"].append(LearningRateFinder(num_training_steps=60))
    fitting = trainer(**given)
    if finder == "tuner":
        Tuner(fitting).lr_find(module, loader(size=4), num_training=60)
        rates.clear()  # of the search
    fitting.fit(module, loader(size=4))
    autolog.finish()
    (run,) = [each for each in recording.runs if each.rows]
    params, used = run.config["params"], rates[-fitting.global_step]
    assert [run.values("vitals/lr")[0], run.config["params/lr"], params["optimizer/lr"]] == [
        pytest.approx(used)
    ] * 3
    # Lightning 2.4 does not train with the rate that its callback has found; the module's parameter has it.
    if finder == "tuner" or used != 0.01:
        assert [params["lr"], module.hparams["lr"]] == [pytest.approx(used)] * 2
        assert used != 0.01


@pytest.mark.parametrize("kind", ["everything", "torch", "other", "none"])
def test_the_seed_that_was_given_stands_in_the_config(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    module = Digits()
    with torch.random.fork_rng():
        if kind in ("everything", "other"):
            monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # which seed_everything sets, and nobody takes back
            lightning.pytorch.seed_everything(11, verbose=False)
        if kind in ("torch", "other"):
            torch.manual_seed(12)
        if kind == "none":
            torch.seed()  # 64 random bits, as in a process that has not seeded
        trainer().fit(module, loader())
    config = only(recording).config
    found = {key: config[key] for key in ("seed", "seed/torch") if key in config}
    expected = {"everything": {"seed": 11}, "torch": {"seed/torch": 12}, "other": {"seed/torch": 12}}
    assert found == expected.get(kind, {})


# The step of the weights --------------------------------------------------------------------------------


class LogsFarAhead(Digits):
    def on_validation_end(self) -> None:
        autolog.current_run().log({"my/samples_seen": 1.0}, step=5000)


def test_an_evaluation_stands_at_the_step_of_its_weights(recording: MemorySink) -> None:
    module = LogsFarAhead()
    trainer().fit(module, loader(), loader(val_set))
    trainer().test(module, loader(test_set), verbose=False)
    run = only(recording)
    of_validation = [step for step, row in run.rows if "val/f1_macro" in row]
    assert of_validation == [step for step, row in run.rows if "val/loss" in row][-1:] == [15]
    assert {step for step, key in run.drawn if key.startswith("val/")} == {15}
    assert [step for step, row in run.rows if "test/acc" in row] == [16]
    assert {step for step, key in run.drawn if key.startswith("test/")} == {16}


@pytest.mark.parametrize("averages", [True, False])
def test_weights_that_are_averaged_at_the_end_are_not_those_that_were_evaluated(
    recording: MemorySink, averages: bool
) -> None:
    swa = StochasticWeightAveraging(0.01, swa_epoch_start=1)
    module = Digits()
    trainer(max_epochs=4, callbacks=[swa] if averages else []).fit(module, loader(), loader(val_set))
    run = only(recording)
    notes = run.config.get("autolog/notes", {})
    assert ("before they were averaged" in notes.get("val", "")) == averages
    if averages:
        (told,) = trainer().validate(module, loader(val_set), verbose=False)
        run = only(recording)
        assert run.values("val/loss")[-1] == pytest.approx(told["val_loss"]) != run.values("val/loss")[-2]
        steps = [step for step, row in run.rows if "val/loss" in row]
        assert steps == [7, 15, 23, 31, 32], "a Trainer of its own has made no steps"


# Gradients --------------------------------------------------------------------------------------------


class Remembering(Digits):
    """Reads its gradients as a user would, before they are clipped."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.norms: list[float] = []

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        squares = [float((p.grad**2).sum()) for p in self.parameters() if p.grad is not None]
        self.norms.append(math.sqrt(sum(squares)))


@pytest.mark.parametrize("more", [{}, {"gradient_clip_val": 1e-3}, {"accumulate_grad_batches": 2}])
def test_gradient_norms_are_those_before_clipping(recording: MemorySink, more: dict[str, Any]) -> None:
    module = Remembering()
    trainer(log_every_n_steps=1, **more).fit(module, loader())
    run = only(recording)
    assert len(module.norms) == (8 if "accumulate_grad_batches" in more else 16)
    assert run.values("vitals/grad_norm") == pytest.approx(module.norms, rel=1e-4)
    assert set(run.metrics) >= {"vitals/grad_norm/net.0.Linear", "vitals/grad_norm/net.2.Linear"}


class Adversarial(lightning.pytorch.LightningModule):  # type: ignore[misc]
    """Two optimizers, stepped by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.one, self.other = torch.nn.Linear(64, 10), torch.nn.Linear(64, 10)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for part, optimizer in zip((self.one, self.other), self.optimizers(), strict=True):
            loss = torch.nn.functional.cross_entropy(part(batch[0]), batch[1])
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.one.parameters(), 0.1), torch.optim.Adam(self.other.parameters(), 0.2)]


def test_several_optimizers_are_told_apart(recording: MemorySink) -> None:
    trainer(log_every_n_steps=4).fit(Adversarial(), loader())
    run = only(recording)
    assert run.config["optimizer"] == ["SGD", "Adam"]
    assert run.config["params"]["optimizer/1"]["lr"] == 0.2
    rows = [row for _, row in run.rows if "vitals/grad_norm/one" in row]
    assert len(rows) == 4
    assert all(
        {"vitals/grad_norm/other", "vitals/grad_norm/SGD-0", "vitals/grad_norm/Adam-1"} <= set(row)
        for row in rows
    )
    assert (run.metrics["vitals/lr/SGD-0"], run.metrics["vitals/lr/Adam-1"]) == (0.1, 0.2)


@pytest.mark.parametrize(("every", "accumulated"), [(1, 1), (2, 1), (3, 1), (5, 1), (2, 2), (3, 3)])
def test_every_step_that_is_logged_has_its_norms_and_rate(
    sink: MemorySink, every: int, accumulated: int
) -> None:
    with autolog.enabled("lightning", sink=sink, log_code=False, budget=1e9):
        trainer(log_every_n_steps=every, accumulate_grad_batches=accumulated).fit(Digits(), loader())
    steps = 2 * math.ceil(8 / accumulated)
    logged = [step for step in range(steps) if (step + 1) % every == 0]
    rows = [(step, row) for step, row in only(sink).rows if "vitals/grad_norm" in row]
    assert [step for step, _ in rows] == logged
    assert all({"vitals/lr", "train/loss", "vitals/grad_norm/net.0.Linear"} <= set(row) for _, row in rows)
    assert [row["vitals/lr"] for _, row in rows] == [0.01 if step < steps / 2 else 0.005 for step in logged]


def test_gradients_can_be_left_out(sink: MemorySink) -> None:
    with autolog.enabled("lightning", sink=sink, log_code=False, log_gradients=False):
        trainer().fit(Digits(), loader())
    assert not [key for key in only(sink).metrics if key.startswith("vitals/grad_norm")]


# What modules do --------------------------------------------------------------------------------------


class Quiet(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])


def test_a_loss_that_nobody_logs_is_recorded(recording: MemorySink) -> None:
    trainer().fit(Quiet(), loader())
    run = only(recording)
    assert [step for step, row in run.rows if "train/loss" in row] == [2, 5, 8, 11, 14]


class Forked(Digits):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss, on_step=True, on_epoch=True)
        return loss


def test_a_metric_per_step_and_epoch_is_told_once_each(recording: MemorySink) -> None:
    trainer().fit(Forked(), loader())
    run = only(recording)
    assert (len(run.values("train/loss")), len(run.values("train/loss_epoch"))) == (5, 2)
    assert not [key for key in run.metrics if key.endswith("_step")]


class ByPart(Digits):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])


class Returning(Digits):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return {"preds": self.net(batch[0]).argmax(1), "target": batch[1]}


class Silent(Digits):
    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return None


@pytest.mark.parametrize("kind", [ByPart, Returning])
def test_predictions_are_found_however_a_step_makes_them(recording: MemorySink, kind: Any) -> None:
    module = kind()
    trainer().fit(module, loader(), loader(val_set))
    expected = float((module(X[256:384]).argmax(1) == y[256:384]).float().mean())
    assert only(recording).metrics["val/accuracy"] == pytest.approx(expected)


def test_predictions_that_are_not_found_are_said_to_be_missing(recording: MemorySink) -> None:
    trainer().fit(Silent(), loader(), loader(val_set))
    run = only(recording)
    assert run.charts == {}
    assert "val/confusion_matrix" in run.config["autolog/notes"]


class WithMetrics(Digits):
    """Holds metrics in two ways, and resets them itself."""

    def __init__(self, **of_curve: Any) -> None:
        super().__init__()
        self.val_confmat = MulticlassConfusionMatrix(10)
        curves = {"roc": MulticlassROC(10, **of_curve), "pr": MulticlassPrecisionRecallCurve(10, **of_curve)}
        self.curves = MetricCollection({**curves, "auc": MulticlassAUROC(10, **of_curve)})
        self.own: list[Any] = []

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        scores = self(batch[0])
        self.val_confmat.update(scores, batch[1])
        self.curves.update(scores, batch[1])

    def on_validation_epoch_end(self) -> None:
        self.own.append((self.val_confmat.compute(), self.curves.compute()))
        self.val_confmat.reset()
        self.curves.reset()


@pytest.mark.parametrize("thresholds", [None, 20])
def test_metrics_that_the_module_holds_are_drawn(recording: MemorySink, thresholds: int | None) -> None:
    module = WithMetrics(thresholds=thresholds)
    trainer().fit(module, loader(), loader(val_set))
    run = only(recording)
    matrix, curves = module.own[-1]
    assert run.charts["val/confmat"]["data"]["counts"] == matrix.tolist()
    lines = run.charts["val/curves/roc"]["data"]["series"]
    areas = [float(torch.trapezoid(y, x)) for x, y in zip(*curves["roc"][:2], strict=True)]
    assert [line["name"] for line in lines] == [f"{n} (area {area:.3f})" for n, area in enumerate(areas)]
    assert lines[3]["y"][-1] == pytest.approx(float(curves["roc"][1][3][-1]))
    assert "val/curves/pr" in run.charts
    assert "val/curves/auc" not in run.charts  # one number, which the module may log


class Copied(Digits):
    """Is copied, saved and exported while it is being validated."""

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().validation_step(batch, batch_idx)
        for copied in (copy.deepcopy(self.net), pickle.loads(pickle.dumps(self.net))):
            assert torch.equal(copied(batch[0]), self.net(batch[0]))
        flipped = copy.deepcopy(self)
        flipped.net[2].weight.data.neg_()
        flipped(batch[0])  # whose predictions are none of this model's
        torch.save(flipped.net, io.BytesIO())


class Exporting(lightning.pytorch.Callback):  # type: ignore[misc]
    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        torch.jit.script(pl_module.net)


def test_copies_in_the_middle_of_a_validation(recording: MemorySink) -> None:
    module = Copied(hidden=16)
    trainer(callbacks=[Exporting()]).fit(module, loader(), loader(val_set))
    expected = (module(X[256:384]).argmax(1) == y[256:384]).float().mean().item()
    assert only(recording).metrics["val/accuracy"] == pytest.approx(expected)


def test_a_bootstrap_is_no_row_of_pictures(recording: MemorySink) -> None:
    class Sampled(Digits):
        def __init__(self) -> None:
            super().__init__()
            self.sampled = BootStrapper(MulticlassConfusionMatrix(10), num_bootstraps=3)

        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
            self.sampled.update(self(batch[0]), batch[1])

    trainer().fit(Sampled(), loader(), loader(val_set))
    assert not [key for key in only(recording).charts if "sampled" in key]


def test_metrics_are_left_as_they_are(sink: MemorySink) -> None:
    def train() -> list[Any]:
        module = WithMetrics()
        trainer().fit(module, loader(), loader(val_set))
        return [(matrix.tolist(), float(curves["auc"])) for matrix, curves in module.own]

    bare = train()
    with autolog.enabled("lightning", sink=sink, log_code=False):
        assert train() == bare


@pytest.mark.parametrize("every", [0, 1])
def test_nothing_is_said_to_be_missing_that_is_there_or_was_not_to_be(sink: MemorySink, every: int) -> None:
    with autolog.enabled("lightning", sink=sink, log_code=False, evaluate_every_n_epochs=every):
        validation = [loader(val_set)] if every else []
        trainer(limit_val_batches=1.0 if every else 0).fit(Digits(), loader(), *validation)
    autolog.finish()
    assert "val/confusion_matrix" not in only(sink).config.get("autolog/notes", {})


class Amounts(lightning.pytorch.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(63, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        torch.nn.functional.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def test_amounts_have_residuals(recording: MemorySink) -> None:
    data = TensorDataset(X[:128, :63], X[:128].mean(1, keepdim=True))
    trainer().fit(Amounts(), loader(data), loader(data))
    run = only(recording)
    assert "val/residuals" in run.charts
    assert run.metrics["val/mse"] > 0


class Sequences(lightning.pytorch.LightningModule):  # type: ignore[misc]
    """A class for each of a row's places; the first one has none."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net, self.last = torch.nn.Linear(1, 3), last

    def forward(self, x: Any) -> Any:
        scores = self.net(x.unsqueeze(-1))
        return scores if self.last else scores.movedim(-1, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        scores = self(batch[0])
        return torch.nn.functional.cross_entropy(scores.movedim(-1, 1) if self.last else scores, batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


@pytest.mark.parametrize("last", [True, False])
def test_places_of_sequences_are_rows_wherever_the_classes_are(recording: MemorySink, last: bool) -> None:
    truth = (X[:64] > 0.5).long()
    truth[:, 0] = -100
    data = loader(TensorDataset(X[:64], truth))
    module = Sequences(last)
    trainer().fit(module, data, data)
    run = only(recording)
    guesses = module.net(X[:64].unsqueeze(-1)).argmax(-1)
    expected = float((guesses == truth)[:, 1:].float().mean())
    assert run.metrics["val/accuracy"] == pytest.approx(expected)
    assert "64 targets that are -100" in run.config["autolog/notes"]["val"]


def test_several_loaders_are_evaluated_each(recording: MemorySink) -> None:
    trainer().fit(Digits(), loader(), [loader(val_set), loader(test_set)])
    run = only(recording)
    assert {"val/0/loss", "val/1/loss"} <= set(run.metrics)
    assert {"val/0/confusion_matrix", "val/1/confusion_matrix"} <= set(run.charts)


def test_a_confusion_matrix_of_every_epoch_on_demand(sink: MemorySink) -> None:
    with autolog.enabled("lightning", sink=sink, log_code=False, evaluate_every_n_epochs=1):
        trainer().fit(Digits(), loader(), loader(val_set))
    autolog.finish()
    drawn = [step for step, key in only(sink).drawn if key == "val/confusion_matrix"]
    assert drawn == [7, 15]


def test_a_module_that_is_compiled(recording: MemorySink) -> None:
    module = Quiet()  # Lightning's own `log` does not compile on every version of torch
    trainer().fit(torch.compile(module, backend="eager"), loader(), loader(val_set))
    trainer().test(module, loader(test_set), verbose=False)
    run = only(recording)
    assert run.values("vitals/grad_norm")
    assert "is compiled" in run.config["autolog/notes"]["val/confusion_matrix"]


# The end, and what is left ----------------------------------------------------------------------------


def test_checkpoints_are_listed_and_lie_where_they_would_without_us(
    recording: MemorySink, tmp_path: Path
) -> None:
    def files(folder: Path) -> list[str]:
        best = ModelCheckpoint(monitor="val_loss", filename="{epoch}", save_last=True)
        each = ModelCheckpoint(every_n_epochs=1, save_top_k=-1, filename="each-{step}")
        given = {"callbacks": [best, each], "enable_checkpointing": True, "default_root_dir": folder}
        trainer(**given).fit(Digits(), loader(), loader(val_set))
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

    recorded = files(tmp_path / "recorded")
    run = only(recording)
    autolog.disable()
    assert recorded == files(tmp_path / "bare")
    names = [Path(row["path"]).name for row in run.tables["checkpoints"]]
    assert [name for name in names if name.startswith("each")] == ["each-step=8.ckpt", "each-step=16.ckpt"]
    best = next(artifact for artifact in run.artifacts if "best" in artifact["aliases"])
    assert best["type"] == "checkpoint"
    assert run.config["checkpoint/monitor"] == "val_loss"
    assert run.config["checkpoint/best_score"] == pytest.approx(min(run.values("val/loss")))


def test_early_stopping_says_why(recording: MemorySink) -> None:
    stop = EarlyStopping("val_loss", min_delta=10, patience=1)
    trainer(max_epochs=9, callbacks=[stop]).fit(Digits(), loader(), loader(val_set))
    run = only(recording)
    assert run.config["early_stopping/stopped_epoch"] == 2
    assert run.config["epochs"] == 2


@pytest.mark.parametrize("more", [{"fast_dev_run": True}, {"barebones": True, "log_every_n_steps": None}])
def test_what_is_no_training_is_no_run(recording: MemorySink, more: dict[str, Any]) -> None:
    if "barebones" in more:
        more |= {"logger": None, "enable_checkpointing": None, "enable_progress_bar": None}
        more |= {"enable_model_summary": None}
    trainer(**more).fit(Digits(), loader(), loader(val_set))
    assert recording.runs == []


def test_a_loss_that_is_no_number_is_an_alert(recording: MemorySink) -> None:
    trainer(log_every_n_steps=1).fit(Digits(lr=1e30), loader())
    titles = [alert["title"] for alert in only(recording).alerts]
    assert [title for title in titles if title.startswith("The loss is")] == ["The loss is nan"]


RESUMED = """
    from pathlib import Path
    from tests.lightning.modules import Digits, loader, trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    autolog.enable("lightning", log_code=False)
    def fit(epochs, **more):
        saves = ModelCheckpoint(dirpath="{folder}", save_last=True)
        carrying = trainer(max_epochs=epochs, callbacks=[saves], enable_checkpointing=True)
        carrying.fit(Digits(), loader(), **more)
    fit({epochs}{more})
"""


@pytest.mark.long
@pytest.mark.parametrize("last", ["{folder}/last.ckpt", "last"])
def test_a_training_that_is_resumed_goes_on_in_its_run(tmp_path: Path, last: str) -> None:
    folder = tmp_path / "checkpoints"
    run(tmp_path, RESUMED.format(folder=folder, epochs=1, more=""))
    more = f', ckpt_path="{last.format(folder=folder)}"'
    run(tmp_path, RESUMED.format(folder=folder, epochs=3, more=more))
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert kept["config"]["resumed"] == 1
    assert [log["step"] for log in kept["logs"] if "vitals/epoch_seconds" in log] == [7, 15, 23]
    assert kept["config"]["epochs"] == 3
    run(tmp_path, RESUMED.format(folder=folder, epochs=1, more=""))
    assert len(read(tmp_path)) == 2


# The callback by hand ---------------------------------------------------------------------------------


@pytest.fixture
def into(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    autolog.finish()
    settings_module.use(None)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_callback_records_what_carries_it(into: MemorySink, package: str) -> None:
    kind = {"lightning": Digits, "pytorch_lightning": OlderDigits}[package]
    callback = TrackioCallback()
    module = kind()
    carrying = trainer(PACKAGES[package], callbacks=[callback])
    carrying.fit(module, loader())
    carrying.test(module, loader(test_set), verbose=False)
    trainer(PACKAGES[package]).fit(kind(), loader())
    run = only(into)
    assert {"train/loss", "test/acc"} <= set(run.metrics)


def test_beside_enable_each_thing_is_recorded_once(recording: MemorySink) -> None:
    trainer(callbacks=[TrackioCallback()]).fit(Digits(), loader())
    assert len(only(recording).values("vitals/epoch_seconds")) == 2


def test_the_callback_writes_to_the_run_that_it_is_given(into: MemorySink) -> None:
    with autolog.run("his") as his:
        trainer(callbacks=[TrackioCallback(his)]).fit(Digits(), loader())
        assert his.status == "running"
    assert only(into).name == "his"
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioCallback(his)
