"""What a Trainer logs, to the letter: names, values, steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, TrainerCallback

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from tests.transformers.models import (
    Digits,
    config,
    only,
    series,
    test_set,
    train_set,
    trainer,
    val_set,
)


class Calls(TrainerCallback):  # type: ignore[misc]
    """Calls something when an evaluation or an epoch has ended."""

    def __init__(self, *, evaluated: Any = None, epoch: Any = None):
        self._evaluated, self._epoch = evaluated, epoch

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        if self._evaluated is not None:
            self._evaluated(metrics, state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._epoch is not None:
            self._epoch()


def test_the_current_run_is_that_of_the_evaluation(recording: MemorySink) -> None:
    names = []

    def log(metrics: Any, step: int) -> None:
        autolog.current_run().log({"mine": 2 * metrics["eval_loss"]}, step=step)
        names.append(autolog.current_run().name)

    carrying = trainer(eval_strategy="epoch", callbacks=[Calls(evaluated=log)])
    carrying.train()
    carrying.evaluate()
    trained = only(recording)
    assert names == [trained.name] * 3
    assert len(trained.values("mine")) == 3
    trainer(callbacks=[Calls(evaluated=log)]).evaluate()
    assert names[-1] == recording.runs[-1].name != trained.name


def test_a_trained_model_that_another_trainer_evaluates_is_at_its_step(recording: MemorySink) -> None:
    carrying = trainer()
    carrying.train()
    tester = trainer(model=carrying.model)
    seen = tester.evaluate(test_set)["eval_loss"], tester.predict(val_set).metrics["test_loss"]
    found, last = only(recording), carrying.state.global_step
    assert series(found, "val/loss")[-1] == (last, pytest.approx(seen[0]))
    assert series(found, "test/loss") == [(last, pytest.approx(seen[1]))]
    assert {step for step, key in found.drawn if key.endswith("confusion_matrix")} == {last}


@pytest.mark.parametrize(("prefix", "name"), [("train", "train/eval"), ("hard", "hard"), ("eval", "val")])
def test_an_evaluation_inside_a_training_has_the_name_that_it_is_given(
    recording: MemorySink, prefix: str, name: str
) -> None:
    told: list[dict[str, float]] = []

    def evaluate() -> None:
        told.append(carrying.evaluate(Digits(0, 64), metric_key_prefix=prefix))

    metrics = {"compute_metrics": lambda given: {"accuracy": float(given.predictions.argmax(-1)[0])}}
    carrying = trainer(callbacks=[Calls(epoch=evaluate)], **metrics)
    result = carrying.train()
    found = only(recording)
    for key in ("loss", "accuracy"):
        assert [value for _, value in series(found, f"{name}/{key}")] == pytest.approx(
            [one[f"{prefix}_{key}"] for one in told]
        )
    assert found.values(f"vitals/{name}_seconds") == [one[f"{prefix}_runtime"] for one in told]
    assert found.values("train/loss_mean") == [pytest.approx(result.training_loss)]
    assert found.values("vitals/fit_seconds") == [pytest.approx(result.metrics["train_runtime"], abs=1e-3)]
    assert f"{name}/confusion_matrix" in found.charts
    assert not [key for key in found.metrics if key.startswith(f"{prefix}_")]


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[Any]:
        return iter(Digits(0, 64)[place] for place in range(64))


def test_a_stream_that_is_logged_by_epochs(recording: MemorySink) -> None:
    settings_module.use(settings_module.current().updated(gradient_modules=100))
    carrying = trainer(train_dataset=Stream(), max_steps=6, logging_strategy="epoch")
    carrying.train()
    found = only(recording)
    assert "a stream" in found.config["autolog/notes"]["vitals/grad_norm/modules"]
    parts = "vitals/grad_norm/"
    assert [step for step, row in found.rows if any(key.startswith(parts) for key in row)] == [6]


def test_labels_have_their_names(recording: MemorySink) -> None:
    class Several(Digits):
        def __getitem__(self, place: int) -> dict[str, Any]:
            found = super().__getitem__(place)
            digit = int(found["labels"])
            return {**found, "labels": torch.tensor([digit % 2, digit > 4, digit == 0], dtype=torch.float)}

    names = {0: "odd", 1: "large", 2: "zero"}
    described = config(3, problem_type="multi_label_classification", id2label=names)
    carrying = trainer(
        model=BertForSequenceClassification(described),
        train_dataset=Several(0, 64),
        eval_dataset=Several(64, 128),
        eval_strategy="epoch",
    )
    carrying.train()
    found = only(recording)
    assert [row.get("label", row.get("class")) for row in found.tables["val/per_class"]] == list(
        names.values()
    )


def test_values_that_are_no_python_numbers_are_kept(recording: MemorySink) -> None:
    class Logs(TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            own = {
                "numpy": np.float32(0.5),
                "tensor": torch.tensor(0.25),
                "text": "x",
                "integer": np.int64(3),
            }
            carrying.log({f"own/{name}": value for name, value in own.items()})

    metrics = {"f1_per_class": {"neg": 0.25, "pos": 0.75}, "list": [1, 2]}
    carrying = trainer(eval_strategy="epoch", callbacks=[Logs()], compute_metrics=lambda given: metrics)
    carrying.train()
    carrying.predict(val_set)
    found = only(recording).metrics
    assert {name: found[f"own/{name}"] for name in ("numpy", "tensor", "text", "integer")} == {
        "numpy": 0.5,
        "tensor": 0.25,
        "text": "x",
        "integer": 3,
    }
    for name in ("val", "test"):
        assert (found[f"{name}/f1_per_class/neg"], found[f"{name}/f1_per_class/pos"]) == (0.25, 0.75)
        assert found[f"{name}/list"] == [1, 2]


def test_the_table_of_checkpoints_goes_on_where_a_training_does(
    recording: MemorySink, tmp_path: Path
) -> None:
    more = {"output_dir": str(tmp_path), "save_strategy": "epoch", "eval_strategy": "epoch"}
    (tmp_path / "checkpoint-3").mkdir()  # of another training
    for epochs in (1, 3):
        carrying = trainer(num_train_epochs=epochs, metric_for_best_model="loss", **more)
        carrying.train(resume_from_checkpoint=epochs > 1)
    per_epoch = carrying.state.global_step // 3
    rows = recording.runs[-1].tables["checkpoints"]
    assert [row["step"] for row in rows] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    told = [entry["eval_loss"] for entry in carrying.state.log_history if "eval_loss" in entry]
    assert [row["val/loss"] for row in rows] == pytest.approx(told, rel=1e-5)


# Gradients --------------------------------------------------------------------------------------------


def test_a_module_that_takes_no_part_has_no_norm_and_no_alert(recording: MemorySink) -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.pooler = torch.nn.Embedding(17, 8), torch.nn.Linear(8, 8)
            self.out = torch.nn.Linear(8, 10)

        def forward(self, input_ids: Any, labels: Any = None) -> dict[str, Any]:
            logits = self.out(self.words(input_ids).mean(1))
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    trainer(model=Model(), logging_steps=1, train_dataset=train_set).train()
    found = only(recording)
    assert {"vitals/grad_norm/words", "vitals/grad_norm/out"} <= set(found.metrics)
    assert "vitals/grad_norm/pooler" not in found.metrics
    assert found.alerts == []
