"""transformers' Trainer."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerCallback

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.sinks.memory import MemoryRun
from autolog.transformers import TrackioCallback
from autolog.transformers.names import canonical
from tests.frameworks.transformers_models import (
    Digits,
    X,
    classifier,
    test_set,
    token_classifier,
    trainer,
    val_set,
    y,
)
from tests.programs import read, run, values


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("transformers", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


def only(sink: MemorySink) -> MemoryRun:
    (found,) = sink.runs
    assert "autolog/faults" not in found.config
    return found


def predicted(model: Any, rows: range) -> Any:
    model.eval()
    with torch.no_grad():
        return model(input_ids=X[rows.start : rows.stop]).logits.argmax(1)


def test_a_training_is_a_whole_run(recording: MemorySink) -> None:
    carrying = trainer(eval_strategy="epoch", weight_decay=0.25)
    before = list(carrying.callback_handler.callbacks)
    carrying.train()
    assert carrying.callback_handler.callbacks == before
    assert not carrying.model._forward_hooks
    kept = only(recording)
    assert kept.status == "finished"
    assert kept.config["framework"] == "transformers"
    assert (kept.config["params/learning_rate"], kept.config["params/weight_decay"]) == (0.01, 0.25)
    assert kept.config["params"]["per_device_eval_batch_size"] == 32
    assert kept.config["params"]["model_config"]["vocab_size"] == 17
    assert kept.config["data/train"]["rows"] == 128
    logged = carrying.state.log_history
    for mine, theirs in (("train/loss", "loss"), ("lr", "learning_rate"), ("val/loss", "eval_loss")):
        expected = [(entry["step"], entry[theirs]) for entry in logged if theirs in entry]
        assert [(step, row[mine]) for step, row in kept.rows if mine in row] == expected
    assert [step for step, row in kept.rows if "grad_norm" in row] == [4, 8, 12, 16]
    assert kept.metrics["perf/fit_seconds"] == pytest.approx(logged[-1]["train_runtime"])
    assert kept.metrics["train/loss_mean"] == pytest.approx(logged[-1]["train_loss"])
    drawn = [step for step, key in kept.drawn if key == "val/confusion_matrix"]
    assert drawn == [16]


@pytest.mark.parametrize(
    ("name", "sets", "expected"),
    [
        ("loss", [], "train/loss"),
        ("eval_loss", [], "val/loss"),
        ("eval_hard_f1", ["hard"], "val/hard/f1"),
        ("eval_hard_er_f1", ["hard", "hard_er"], "val/hard_er/f1"),
        ("eval_runtime", [], "perf/val_seconds"),
        ("test_accuracy", [], "test/accuracy"),
        ("learning_rate", [], "lr"),
        ("grad_norm", [], "grad_norm"),
        ("rewards/chosen", [], "rewards/chosen"),
        ("evaluations", [], "evaluations"),
    ],
)
def test_names_are_those_of_every_framework(name: str, sets: list[str], expected: str) -> None:
    assert canonical(name, sets) == expected


def test_evaluations_go_on_in_the_run(recording: MemorySink) -> None:
    carrying = trainer()
    carrying.train()
    told = carrying.evaluate()
    metrics = carrying.predict(test_set).metrics
    kept = only(recording)
    assert kept.metrics["val/loss"] == pytest.approx(told["eval_loss"])
    assert kept.metrics["test/loss"] == pytest.approx(metrics["test_loss"])
    guesses = predicted(carrying.model, test_set.rows)
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y[192:256].numpy(), guesses.numpy()), 1)
    rows = kept.tables["test/confusion_matrix_counts"]
    assert [[row[f"predicted {n}"] for n in range(10)] for row in rows] == matrix.tolist()
    assert kept.metrics["test/accuracy"] == pytest.approx(float((guesses == y[192:256]).float().mean()))


def test_an_evaluation_alone_is_a_run(recording: MemorySink) -> None:
    trainer().evaluate()
    assert "val/confusion_matrix" in only(recording).charts


def test_training_again_is_another_run(recording: MemorySink) -> None:
    carrying = trainer()
    carrying.train()
    carrying.train()
    assert [kept.status for kept in recording.runs] == ["finished", "finished"]
    assert [kept.parent for kept in recording.runs] == [None, None]


def test_several_evaluation_sets_are_told_apart(recording: MemorySink) -> None:
    carrying = trainer(eval_dataset={"easy": val_set, "hard": test_set}, eval_strategy="epoch")
    carrying.train()
    kept = only(recording)
    assert {"val/easy/loss", "val/hard/loss", "val/easy/accuracy"} <= set(kept.metrics)
    assert {"val/easy/confusion_matrix", "val/hard/confusion_matrix"} <= set(kept.charts)


def test_metrics_of_the_users_are_told_once(recording: MemorySink) -> None:
    def metrics(of: Any) -> dict[str, float]:
        return {"accuracy": 0.125}

    trainer(compute_metrics=metrics).evaluate()
    assert only(recording).values("val/accuracy") == [0.125]


def test_tokens_are_classified_without_the_padding(recording: MemorySink) -> None:
    data = Digits(0, 32, per_token=True)
    trainer(token_classifier(), train_dataset=data, eval_dataset=data).evaluate()
    rows = only(recording).tables["val/confusion_matrix_counts"]
    assert sum(row[f"predicted {name}"] for row in rows for name in ("dark", "bright")) == 32 * 60


class Words:
    """As much of a tokenizer as is asked for here."""

    def decode(self, ids: Any, skip_special_tokens: bool = False) -> str:
        return " ".join(str(int(number)) for number in ids)


def test_texts_stand_beside_the_best_and_worst_predictions(recording: MemorySink) -> None:
    carrying = trainer()
    carrying.processing_class = Words()
    carrying.evaluate()
    for row in only(recording).tables["val/best_and_worst"]:
        assert row["value"].startswith(" ".join(map(str, X[val_set.rows[row["row"]]].tolist()))[:100])


def test_checkpoints_that_were_deleted_are_not_claimed(recording: MemorySink) -> None:
    carrying = trainer(
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        num_train_epochs=3,
    )
    carrying.train()
    kept = only(recording)
    rows = kept.tables["checkpoints"]
    assert [row["step"] for row in rows] == [8, 16, 24]
    assert all(row["is_there"] == os.path.isdir(row["path"]) for row in rows)
    assert not all(row["is_there"] for row in rows)
    assert kept.config["checkpoint/best"] == carrying.state.best_model_checkpoint
    best = next(artifact for artifact in kept.artifacts if "best" in artifact["aliases"])
    assert list(best["references"].values()) == [Path(carrying.state.best_model_checkpoint).as_uri()]


def test_early_stopping_and_its_epochs(recording: MemorySink) -> None:
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=10.0)
    given = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer(callbacks=[stop], num_train_epochs=5, **given).train()
    kept = only(recording)
    assert kept.config["epochs"] == 2.0
    drawn = [step for step, key in kept.drawn if key == "val/confusion_matrix"]
    assert drawn == [8]  # of the best weights, which are there again


def test_a_training_that_is_stopped_early_shows_its_last_validation(recording: MemorySink) -> None:
    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_training_stop = state.global_step >= 16

    carrying = trainer(callbacks=[Stop()], num_train_epochs=5, eval_strategy="epoch")
    carrying.train()
    kept = only(recording)
    assert [step for step, key in kept.drawn if key == "val/confusion_matrix"] == [16]
    right = predicted(carrying.model, val_set.rows) == y[128:192]
    assert kept.metrics["val/accuracy"] == pytest.approx(float(right.float().mean()))


def test_a_validation_can_be_shown_every_so_many_epochs(sink: MemorySink) -> None:
    with autolog.enabled("transformers", sink=sink, log_code=False, budget=1e9, evaluate_every_n_epochs=2):
        trainer(num_train_epochs=5, eval_strategy="epoch").train()
    kept = only(sink)
    assert [step for step, key in kept.drawn if key == "val/confusion_matrix"] == [16, 32, 40]


def test_a_loss_that_is_no_number_is_an_alert(recording: MemorySink) -> None:
    class Broken(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
            with torch.no_grad():
                model.classifier.weight.fill_(math.nan)

    trainer(callbacks=[Broken()], logging_nan_inf_filter=False).train()
    titles = [alert["title"] for alert in only(recording).alerts]
    assert [title for title in titles if title.startswith("The loss is")] == ["The loss is nan"]


# The callback by hand ---------------------------------------------------------------------------------


@pytest.fixture
def into(sink: MemorySink) -> Iterator[MemorySink]:
    """Records go to memory; no framework is turned on."""
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    yield sink
    autolog.finish()
    settings_module.use(None)


def test_the_callback_records_what_carries_it(into: MemorySink) -> None:
    carrying = trainer(callbacks=[TrackioCallback()])
    carrying.train()
    carrying.evaluate()
    trainer().train()
    assert {"train/loss", "val/loss"} <= set(only(into).metrics)


def test_beside_enable_each_thing_is_recorded_once(recording: MemorySink) -> None:
    trainer(callbacks=[TrackioCallback()]).train()
    assert len(only(recording).values("train/loss")) == 4


def test_the_callback_writes_to_the_run_that_it_is_given(into: MemorySink) -> None:
    with autolog.run("his") as his:
        trainer(callbacks=[TrackioCallback(his)]).train()
        assert his.status == "running"
    assert only(into).name == "his"
    with pytest.raises(autolog.RunError, match="already finished"):
        TrackioCallback(his)


@pytest.mark.slow
def test_beside_transformers_own_callback_it_is_one_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from tests.frameworks.transformers_models import trainer
        autolog.enable("transformers", log_code=False, budget=1e9)
        given = {"report_to": "trackio", "project": "p", "run_name": "theirs", "trackio_space_id": None}
        # (In transformers 5.0 its own callback cannot log after a training: it has ended its run by then.)
        trainer(**given, eval_strategy="epoch").train()
        assert autolog.finish()
        """,
        PYTHONPATH=str(Path(__file__).parents[2]),
    )
    (kept,) = read(tmp_path)
    assert kept["name"] == "theirs"
    assert len(values(kept, "train/loss")) == 4
    assert kept["config"]["params/learning_rate"] == 0.01
    assert "autolog/faults" not in kept["config"]
    assert values(kept, "val/confusion_matrix")
    assert not values(kept, "val/loss")  # theirs is eval/loss
    assert values(kept, "eval/loss")


def test_classes_have_their_names(recording: MemorySink) -> None:
    names = {n: f"digit {n}" for n in range(10)}
    trainer(classifier(id2label=names)).evaluate()
    rows = only(recording).tables["val/confusion_matrix_counts"]
    assert [row["true"] for row in rows] == sorted(names.values(), key=lambda name: int(name[6:]))
