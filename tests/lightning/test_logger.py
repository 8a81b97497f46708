"""The logger for Lightning's Trainer and Fabric, and what LightningCLI resolves."""

from __future__ import annotations

import base64
import contextvars
import copy
import csv
import gc
import importlib
import logging
import pickle
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch
import numpy as np
import omegaconf
import pandas as pd
import pytest
import pytorch_lightning
import torch
from lightning.fabric import Fabric
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from lightning_utilities.core.rank_zero import rank_zero_only
from PIL import Image

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.core import training
from autolog.lightning import TrackioCallback, TrackioLogger
from tests import programs
from tests.lightning.modules import (
    PACKAGES,
    Digits,
    OlderDigits,
    Steps,
    loader,
    only,
    test_set,
    trainer,
    val_set,
)

logging.getLogger("lightning.fabric").setLevel(logging.ERROR)


@pytest.fixture
def into(sink: MemorySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemorySink]:
    """Records go to memory, files to a folder of the test's; no framework is turned on."""
    monkeypatch.chdir(tmp_path)
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    autolog.finish()
    settings_module.use(None)


# In a Trainer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", PACKAGES)
def test_a_trainer_with_the_logger_is_recorded_whole(into: MemorySink, package: str) -> None:
    module = {"lightning": Digits, "pytorch_lightning": OlderDigits}[package]()
    logger = TrackioLogger(name="baseline", tags=["nightly"], config={"fold": 3})
    assert into.runs == []
    logging_to_it = trainer(PACKAGES[package], logger=logger)
    logging_to_it.fit(module, loader(), loader(val_set))
    logging_to_it.test(module, loader(test_set), verbose=False)
    assert isinstance(logger, PACKAGES[package].loggers.Logger)
    run = only(into)
    assert (run.name, run.config["tags"], run.config["fold"]) == ("baseline", ["nightly"], 3)
    assert [step for step, row in run.rows if "train/loss" in row] == [2, 5, 8, 11, 14]
    assert [step for step, row in run.rows if "vitals/epoch_seconds" in row] == [7, 15]
    assert (len(run.values("val/loss")), len(run.values("test/acc"))) == (2, 1)
    assert {"vitals/grad_norm", "vitals/lr", "vitals/epoch_seconds"} <= set(run.metrics)
    assert {"val/confusion_matrix", "test/confusion_matrix"} <= set(run.charts)
    assert run.config["params"]["lr"] == 0.01
    assert run.status == "running"  # as with other loggers, more may come
    autolog.finish()
    assert only(into).status == "finished"


def test_beside_the_callback_enable_and_other_loggers_each_thing_is_recorded_once(
    into: MemorySink, tmp_path: Path
) -> None:
    ours, theirs = TrackioLogger(), CSVLogger(tmp_path, flush_logs_every_n_steps=1)
    with autolog.enabled("lightning"):
        trainer(logger=[theirs, ours], callbacks=[TrackioCallback()]).fit(Digits(), loader(), loader(val_set))
    run = only(into)
    with (Path(theirs.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for mine, other in (("train/loss", "train_loss"), ("val/loss", "val_loss")):
        expected = [(int(row["step"]), float(row[other])) for row in rows if row[other]]
        assert [(step, row[mine]) for step, row in run.rows if mine in row] == [
            (step, pytest.approx(value)) for step, value in expected
        ]
    assert not {"train_loss", "val_loss"} & set(run.metrics)


class Logging(Digits):
    """Logs by hand."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            self.logger.log_metrics({"reward": 2.0}, step=self.global_step)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.logger.log_metrics({"loss": 5.0}, step=self.global_step)
        self.log("each", 1.0, on_step=True, on_epoch=False)
        self(batch[0])


def test_what_a_module_logs_by_hand_is_recorded_too(into: MemorySink) -> None:
    trainer(logger=TrackioLogger()).fit(Logging(), loader(), loader(val_set, 128))
    run = only(into)
    assert [step for step, row in run.rows if "reward" in row] == [3, 11]
    assert [step for step, row in run.rows if row.get("val/loss") == 5.0][-2:] == [8, 16]
    assert "val/steps" in run.config["autolog/notes"]
    assert "each" not in run.metrics


class DisablingAtOnce(lightning.pytorch.Callback):  # type: ignore[misc]
    def on_train_epoch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.current_epoch == 1:
            autolog.disable()


def test_a_logger_goes_on_by_itself_where_autolog_is_disabled_in_mid_training(into: MemorySink) -> None:
    module = Digits()
    trainer(logger=TrackioLogger(), callbacks=[DisablingAtOnce()]).fit(module, loader())
    steps = [step for step, row in only(into).rows if "train/loss" in row]
    assert [step for step in steps if step > 8]  # those of the second epoch


def test_one_logger_is_one_run_for_a_module_until_that_has_ended(into: MemorySink) -> None:
    logger, module = TrackioLogger(), Digits()
    for _ in range(2):
        trainer(logger=logger).fit(module, loader())
    assert len(only(into).values("vitals/fit_seconds")) == 2
    autolog.finish()
    trainer(logger=logger).fit(module, loader())
    assert [run.status for run in into.runs] == ["finished", "running"]


@pytest.mark.parametrize("name", ["cv", None])
def test_each_fold_has_its_run_and_is_tested_in_it(into: MemorySink, name: str | None) -> None:
    logger, modules, told = TrackioLogger(name), [Digits(hidden=size) for size in (4, 8, 16)], []
    logger.log_hyperparams({"folds": 3})  # before the first of them: its run has begun
    folders = []
    for module in modules:
        trainer(logger=logger).fit(module, loader())
        folders.append(logger.log_dir)
    for module in modules[1:]:
        told.append(trainer(logger=logger).test(module, loader(test_set), verbose=False)[0]["test_acc"])
    trainer(logger=logger).fit(Digits(hidden=2), loader())
    assert [run.config["params/hidden"] for run in into.runs] == [4, 8, 16, 2]
    assert [len(run.values("train/loss")) for run in into.runs] == [5] * 4
    assert [run.values("test/acc") for run in into.runs] == [[], *([pytest.approx(one)] for one in told), []]
    assert [run.status for run in into.runs] == ["finished"] * 3 + ["running"]
    assert len(set(folders)) == 3
    assert {run.config["group"] for run in into.runs} == {into.runs[0].name}
    if name is not None:
        assert [run.name for run in into.runs] == ["cv", "cv-2", "cv-3", "cv-4"]


def test_folds_in_a_run_of_the_users_are_its_children(into: MemorySink) -> None:
    with autolog.run("his") as his:
        logger = TrackioLogger(run=his)
        for _ in range(2):
            trainer(logger=logger).fit(Digits(), loader())
        assert his.status == "running"
    assert [run.parent for run in into.runs] == [None, into.runs[0].id]
    assert [len(run.values("train/loss")) for run in into.runs] == [5, 5]


def test_a_new_module_that_goes_on_from_a_checkpoint_goes_on_in_the_run(
    into: MemorySink, tmp_path: Path
) -> None:
    logger = TrackioLogger(save_dir=tmp_path)
    for epochs in (1, 2):
        saving = ModelCheckpoint(save_last=True)
        given = {"callbacks": [saving], "enable_checkpointing": True, "max_epochs": epochs}
        more = {"ckpt_path": "last"} if epochs == 2 else {}
        trainer(logger=logger, **given).fit(Digits(), loader(), **more)
    assert [step for step, row in only(into).rows if "vitals/epoch_seconds" in row] == [7, 15]


def test_the_run_of_a_logger_that_is_gone_has_ended(into: MemorySink) -> None:
    logger = TrackioLogger()
    logger.log_metrics({"loss": 1.0}, step=0)
    training.end_abandoned_loops()
    assert only(into).status == "running"
    del logger
    gc.collect()
    training.end_abandoned_loops()
    assert only(into).status == "finished"


def test_the_logger_writes_to_the_run_that_is_given_or_open(into: MemorySink) -> None:
    with autolog.run("his") as his:
        logger = TrackioLogger(run=his)
        contextvars.Context().run(trainer(logger=logger).fit, Digits(), loader())  # where no run is open
        assert logger.experiment is his
    with autolog.run("open") as run:
        trainer(logger=TrackioLogger()).fit(Digits(), loader())
        assert run.status == "running"
    with autolog.run("outer"):
        trainer(logger=TrackioLogger(name="inner")).fit(Digits(), loader())
    assert [run.name for run in into.runs] == ["his", "open", "outer", "inner"]
    assert into.runs[3].parent == into.runs[2].id
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioLogger(run=his)


def test_the_run_of_a_callback_is_the_loggers_too(into: MemorySink) -> None:
    with autolog.run("his") as his:
        carrying = trainer(logger=TrackioLogger(), callbacks=[TrackioCallback(his)])
        contextvars.Context().run(carrying.fit, Logging(), loader())
    assert {"reward", "train/loss", "vitals/grad_norm"} <= set(only(into).metrics)


def test_a_training_that_fails_has_failed(into: MemorySink) -> None:
    class Failing(Digits):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ValueError("his own")

    logger = TrackioLogger()
    with pytest.raises(ValueError, match="his own"):
        trainer(logger=logger).fit(Failing(), loader())
    run = only(into)
    assert (run.status, len(run.alerts)) == ("failed", 1)
    trainer(logger=logger).fit(Digits(), loader())
    assert [run.status for run in into.runs] == ["failed", "running"]


def test_looking_for_a_learning_rate_records_nothing(into: MemorySink) -> None:
    logger = TrackioLogger()
    searching, module = trainer(logger=logger), Digits()
    Tuner(searching).lr_find(module, loader(), num_training=20)
    assert not any(run.rows for run in into.runs)
    searching.fit(module, loader())
    assert [step for step, row in only(into).rows if "train/loss" in row] == [2, 5, 8, 11, 14]


def test_turned_off_it_logs_what_it_is_given(into: MemorySink) -> None:
    logger = TrackioLogger()
    autolog.disable()
    settings_module.use(autolog.Settings(sink=into, log_code=False))
    saving = ModelCheckpoint(monitor="val_loss", save_last=True)
    trainer(logger=logger, callbacks=[saving], enable_checkpointing=True).fit(
        Digits(), loader(), loader(val_set)
    )
    run = only(into)
    assert [step for step, row in run.rows if "train/loss" in row] == [2, 5, 8, 11, 14]
    assert len(run.values("val/loss")) == 2
    assert run.config["params"]["lr"] == 0.01
    assert "vitals/grad_norm" not in run.metrics
    assert sorted(alias for artifact in run.artifacts for alias in artifact["aliases"]) == ["best", "last"]


# Files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [None, "first", 3])
def test_checkpoints_lie_in_the_folder_of_the_run(into: MemorySink, tmp_path: Path, version: Any) -> None:
    logger = TrackioLogger("baseline", save_dir=tmp_path / "logs", version=version)
    saving = ModelCheckpoint(monitor="val_loss", save_last=True, filename="{epoch}")
    trainer(logger=logger, callbacks=[saving], enable_checkpointing=True).fit(
        Digits(), loader(), loader(val_set)
    )
    run = only(into)
    folder = {None: run.id, 3: "version_3"}.get(version, version)
    assert Path(saving.best_model_path).parent == tmp_path / "logs" / "baseline" / folder / "checkpoints"
    assert Path(logger.log_dir) == tmp_path / "logs" / "baseline" / folder
    assert len(run.tables["checkpoints"]) >= 2
    assert len([artifact for artifact in run.artifacts if artifact["type"] == "checkpoint"]) in (1, 2)


def test_without_a_folder_they_lie_below_the_trainers(into: MemorySink, tmp_path: Path) -> None:
    logger = TrackioLogger("baseline")
    saving = ModelCheckpoint()
    given = {"callbacks": [saving], "enable_checkpointing": True, "default_root_dir": tmp_path / "root"}
    trainer(logger=logger, **given).fit(Digits(), loader())
    assert Path(saving.dirpath) == tmp_path / "root" / "baseline" / only(into).id / "checkpoints"


# By hand ----------------------------------------------------------------------------------------------


def pixels(tile: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(tile["pixels"]), "uint8").reshape(tile["shape"])


def test_images_tables_and_texts(into: MemorySink, tmp_path: Path) -> None:
    logger = TrackioLogger()
    red = np.zeros((8, 8, 3), "uint8")
    red[..., 0] = 255
    Image.fromarray(red).save(tmp_path / "red.png")
    as_tensor = torch.tensor(red).moveaxis(-1, 0)
    wide = torch.linspace(-1, 1, 512 * 1024).reshape(1, 512, 1024)
    images = [red, as_tensor, as_tensor / 255, Image.fromarray(red), tmp_path / "red.png", wide]
    logger.log_image("val/samples", images, step=4, caption=list("abcdef"))
    logger.log_table("val/errors", columns=["id", "error"], data=[[1, 0.5], [2, 0.25]])
    logger.log_table("val/frame", dataframe=pd.DataFrame({"id": [7]}))
    logger.log_text("val/texts", columns=["text"], data=[["hello"]])
    run = only(into)
    tiles = run.charts["val/samples"]["data"]["tiles"]
    assert [tile["title"] for tile in tiles] == list("abcdef")
    assert all((pixels(tile) == red).all() for tile in tiles[:5])
    last = pixels(tiles[5])
    assert (last.shape, last.min() < 5, last.max() > 250) == ((128, 256), True, True)
    assert run.tables["val/errors"] == [{"id": 1, "error": 0.5}, {"id": 2, "error": 0.25}]
    assert (run.tables["val/frame"], run.tables["val/texts"]) == ([{"id": 7}], [{"text": "hello"}])
    with pytest.raises(TypeError, match="expected a list of images, got Tensor"):
        logger.log_image("one", as_tensor)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="6 images and 1 captions"):
        logger.log_image("few", images, caption=["a"])
    with pytest.raises(ValueError, match=r"shape \(8,\) is not an image; expected"):
        logger.log_image("flat", [torch.zeros(8)])


@pytest.mark.parametrize(
    "params",
    [
        {"lr": 0.1, "net": {"depth": 2}},
        Namespace(lr=0.1, net={"depth": 2}),
        omegaconf.OmegaConf.create({"lr": 0.1, "net": {"depth": 2}}),
    ],
)
def test_hyperparameters_however_they_are_kept(into: MemorySink, params: Any) -> None:
    logger = TrackioLogger()
    logger.log_hyperparams(params, {"hp_metric": 3.0})
    run = only(into)
    assert run.config["params"] == {"lr": 0.1, "net": {"depth": 2}}
    assert run.config["params/lr"] == 0.1
    assert run.rows[-1] == (0, {"hp_metric": 3.0})


def test_other_ranks_record_nothing(into: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = TrackioLogger()
    logger.log_metrics({"loss": 1.0}, step=0)
    logger.log_hyperparams({"lr": 0.1})
    logger.log_image("a", [np.zeros((8, 8))])
    logger.log_table("b", columns=["x"], data=[[1]])
    logger.finalize("success")
    logger.experiment.log({"x": 1})
    assert into.runs == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"name": 3}, "name=3"),
        ({"tags": "nightly"}, "tags"),
        ({"config": 3}, "config=3"),
        ({"run": "mine"}, "expected a run"),
    ],
)
def test_wrong_arguments_are_said_at_once(into: MemorySink, given: dict[str, Any], error: str) -> None:
    with pytest.raises(TypeError, match=error):
        TrackioLogger(**given)
    with autolog.run() as run, pytest.raises(TypeError, match="run= is given"):
        TrackioLogger(name="mine", run=run)


def test_it_is_copied_and_pickled_with_its_trainer(into: MemorySink) -> None:
    logger = TrackioLogger("baseline", save_dir="logs")
    logger.log_metrics({"loss": 1.0}, step=0)
    assert copy.deepcopy(logger).experiment is logger.experiment
    there = pickle.loads(pickle.dumps(logger))
    assert (there.save_dir, there.name) == ("logs", "baseline")


# Fabric -----------------------------------------------------------------------------------------------


def test_fabric_logs_to_it(into: MemorySink) -> None:
    logger = TrackioLogger(name="loop")
    fabric = Fabric(accelerator="cpu", devices=1, loggers=logger)
    fabric.launch()
    model = torch.nn.Linear(64, 10)
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), 0.1))
    with autolog.torch.watch(model, optimizer, run=logger.experiment, every=1):
        for step, (x, y) in enumerate(loader(), 1):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            fabric.backward(loss)
            optimizer.step()
            fabric.log("train_loss", loss, step=step)
    fabric.log_dict({"val_loss": 2.0})
    logger.finalize("success")
    run = only(into)
    assert [step for step, row in run.rows if "train/loss" in row] == list(range(1, 9))
    assert [step for step, row in run.rows if "vitals/grad_norm" in row] == list(range(1, 9))
    assert run.metrics["val/loss"] == 2.0
    assert run.status == "running"


FABRIC = """
    import torch
    from lightning.fabric import Fabric
    from autolog.lightning import TrackioLogger
    fabric = Fabric(accelerator="cpu", devices=1, loggers=TrackioLogger(name="loop"))
    fabric.log("train_loss", 1.0, step=1)
"""


@pytest.mark.parametrize(("more", "code", "status"), [("", 0, "finished"), ("raise ValueError", 1, "failed")])
def test_the_end_of_the_program_is_that_of_its_run(tmp_path: Path, more: str, code: int, status: str) -> None:
    programs.run_warm(tmp_path, FABRIC + f"    {more}\n", code=code)
    (run,) = programs.read(tmp_path)
    assert run["config"]["status"] == status
    assert programs.values(run, "train/loss") == [1.0]


# LightningCLI -----------------------------------------------------------------------------------------

CONFIG = """
seed_everything: 7
model: {lr: 0.02, hidden: 4}
data: {api_key: hush}
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: autolog.lightning.TrackioLogger
    init_args: {name: from-yaml, tags: [cli], save_dir: logs}
"""


@pytest.mark.parametrize("package", PACKAGES)
def test_the_whole_configuration_of_a_command_line(
    into: MemorySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    pytest.importorskip("jsonargparse")
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # which seed_everything sets, and nobody takes back
    base = {"lightning": lightning.pytorch, "pytorch_lightning": pytorch_lightning}[package]

    class Data(base.LightningDataModule):  # type: ignore[name-defined,misc]
        def __init__(self, api_key: str = ""):
            super().__init__()

        def train_dataloader(self) -> Any:
            return loader()

    class Model(Steps, base.LightningModule):  # type: ignore[name-defined,misc]
        validation_step = test_step = None

        def __init__(self, lr: float = 0.01, hidden: int = 8, spare: int = 5):
            super().__init__(lr, hidden)

    (tmp_path / "given.yaml").write_text(CONFIG)
    cli = importlib.import_module(f"{base.__name__}.cli")
    cli.LightningCLI(Model, Data, args=["fit", "--config", str(tmp_path / "given.yaml")])
    run = only(into)
    assert (run.name, run.config["tags"]) == ("from-yaml", ["cli"])
    assert run.config["cli"]["model"] == {"lr": 0.02, "hidden": 4, "spare": 5}
    assert run.config["cli"]["seed_everything"] == 7
    (artifact,) = [each for each in run.artifacts if each["type"] == "config"]
    text = Path(artifact["files"]["config.yaml"]).read_text()
    assert "spare: 5" in text
    assert "hush" not in text + str(run.config)
