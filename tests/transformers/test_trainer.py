"""transformers' Trainer."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, EarlyStoppingCallback, Trainer, TrainerCallback

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.sinks.trackio.names import artifact_name
from autolog.torch import evaluation as evaluation_of_torch
from autolog.transformers import TrackioCallback
from autolog.transformers.gradients import _coarser
from autolog.transformers.names import canonical
from tests.programs import read, values
from tests.programs import run_warm as run
from tests.transformers.models import (
    Digits,
    X,
    arguments,
    classifier,
    config,
    only,
    test_set,
    token_classifier,
    trainer,
    val_set,
    y,
)


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
    for mine, theirs in (("train/loss", "loss"), ("vitals/lr", "learning_rate"), ("val/loss", "eval_loss")):
        expected = [(entry["step"], entry[theirs]) for entry in logged if theirs in entry]
        assert [(step, row[mine]) for step, row in kept.rows if mine in row] == expected
    assert [step for step, row in kept.rows if "vitals/grad_norm" in row] == [4, 8, 12, 16]
    assert not [key for key in kept.metrics if key == "epoch" or key.startswith("vitals/grad_norm/")]
    assert kept.config["epochs"] == 2
    assert re.fullmatch(
        r"left out of (\d+) modules; Settings.gradient_modules=\1 records them",
        kept.config["autolog/notes"]["vitals/grad_norm/modules"],
    )
    assert [step for step, row in kept.rows if "vitals/epoch_seconds" in row] == [8, 16]
    optimizer = {name: kept.config["params"][f"optimizer/{name}"] for name in ("lr", "weight_decay", "betas")}
    assert optimizer == {"lr": 0.01, "weight_decay": [0.25, 0.0], "betas": [0.9, 0.999]}
    assert kept.config["optimizer"] == "AdamW"
    assert kept.config["params"]["scheduler"]["type"] == "linear"
    assert kept.metrics["vitals/fit_seconds"] == pytest.approx(logged[-1]["train_runtime"])
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
        ("eval_runtime", [], "vitals/val_seconds"),
        ("test_accuracy", [], "test/accuracy"),
        ("learning_rate", [], "vitals/lr"),
        ("grad_norm", [], "vitals/grad_norm"),
        ("rewards/chosen", [], "rewards/chosen"),
        ("evaluations", [], "evaluations"),
        ("eval_", [], "eval_"),
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


def test_an_evaluation_keeps_the_name_that_the_user_gives_it(recording: MemorySink) -> None:
    carrying = trainer()
    carrying.evaluate(test_set, metric_key_prefix="held_out")
    carrying.evaluate({"easy": test_set}, metric_key_prefix="test")
    kept = only(recording)
    assert {"held_out/loss", "held_out/accuracy", "vitals/held_out_seconds"} <= set(kept.metrics)
    assert {"test/easy/loss", "test/easy/accuracy"} <= set(kept.metrics)


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


def test_labels_that_the_model_is_not_given_are_seen(recording: MemorySink) -> None:
    carrying = trainer(label_smoothing_factor=0.1)
    carrying.evaluate()
    right = predicted(carrying.model, val_set.rows) == y[128:192]
    assert only(recording).metrics["val/accuracy"] == pytest.approx(float(right.float().mean()))


def test_any_module_can_be_trained(recording: MemorySink) -> None:
    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(64, 10)

        def forward(self, input_ids: Any, labels: Any = None) -> dict[str, Any]:
            logits = self.layer(input_ids.float())
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    carrying = trainer(Plain())
    carrying.train()
    carrying.evaluate()
    kept = only(recording)
    assert {"val/loss", "val/accuracy", "vitals/grad_norm/layer"} <= set(kept.metrics)
    (kept_model,) = [artifact for artifact in kept.artifacts if artifact["type"] == "model"]
    assert set(kept_model["files"]) == {"model.safetensors"}


def test_a_trainer_that_predicts_in_its_own_way_is_seen(recording: MemorySink) -> None:
    class Own(Trainer):  # type: ignore[misc]
        def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            with torch.no_grad():
                output = model(**inputs)
            return output.loss, output.logits, inputs["labels"]

    carrying = Own(classifier(), arguments(), eval_dataset=val_set)
    carrying.evaluate()
    rows = only(recording).tables["val/confusion_matrix_counts"]
    assert sum(row[f"predicted {n}"] for row in rows for n in range(10)) == 64


def test_what_is_too_large_to_be_kept_is_counted(recording: MemorySink, monkeypatch: Any) -> None:
    monkeypatch.setattr(evaluation_of_torch, "MOST_VALUES", 500)  # of 64 rows of ten scores and a label
    carrying = trainer(classifier(id2label={n: f"digit {n}" for n in range(10)}))
    carrying.evaluate()
    kept = only(recording)
    guesses = predicted(carrying.model, val_set.rows)
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y[128:192].numpy(), guesses.numpy()), 1)
    rows = kept.tables["val/confusion_matrix_counts"]
    assert [[row[f"predicted digit {n}"] for n in range(10)] for row in rows] == matrix.tolist()
    assert kept.metrics["val/accuracy"] == pytest.approx(float((guesses == y[128:192]).float().mean()))
    assert "val/roc" not in kept.charts
    assert "val/best_and_worst" not in kept.tables
    assert "counted batch by batch" in kept.config["autolog/notes"]["val"]


def test_amounts_that_are_predicted(recording: MemorySink) -> None:
    class Amounts(Digits):
        def __getitem__(self, place: int) -> dict[str, Any]:
            return {"input_ids": X[self.rows[place]], "labels": y[self.rows[place]] / 3}

    torch.manual_seed(0)
    model = BertForSequenceClassification(config(1, problem_type="regression"))
    carrying = trainer(model, eval_dataset=Amounts(128, 192))
    mean_square = carrying.evaluate()["eval_loss"]
    kept = only(recording)
    assert kept.metrics["val/rmse"] == pytest.approx(mean_square**0.5, rel=1e-4)
    assert "val/residuals" in kept.charts


# Gradients --------------------------------------------------------------------------------------------


def norms_by_step(**given: Any) -> dict[int, dict[str, float]]:
    sink = MemorySink()
    with autolog.enabled("transformers", sink=sink, log_code=False, budget=1e9, gradient_modules=100):
        trainer(**given).train()
    return {
        step: {key: norm for key, norm in row.items() if key.startswith("vitals/grad_norm")}
        for step, row in only(sink).rows
        if "vitals/grad_norm" in row
    }


def test_norms_are_those_before_clipping() -> None:
    seen: list[dict[str, float]] = []

    class Watching(TrainerCallback):  # type: ignore[misc]
        def on_pre_optimizer_step(
            self, args: Any, state: Any, control: Any, model: Any = None, **more: Any
        ) -> None:
            modules: dict[str, list[Any]] = {}
            for name, parameter in model.named_parameters():
                modules.setdefault(name.rpartition(".")[0], []).append(parameter.grad)
            seen.append(
                {
                    f"vitals/grad_norm/{name}": math.sqrt(
                        sum(float(g.square().sum()) for g in grads if g is not None)
                    )
                    for name, grads in modules.items()
                }
            )

    given = {"logging_first_step": True, "gradient_accumulation_steps": 2, "logging_steps": 3}
    bare = norms_by_step(max_grad_norm=1e9, callbacks=[Watching()], **given)
    clipped = norms_by_step(max_grad_norm=1e-3, **given)
    assert list(bare) == list(clipped) == [1, 3, 6]
    parts = {key: norm for key, norm in bare[1].items() if key != "vitals/grad_norm"}
    assert parts == pytest.approx({key: seen[0][key] for key in parts}, rel=1e-4)
    assert math.hypot(*parts.values()) == pytest.approx(bare[1]["vitals/grad_norm"], rel=1e-4)
    assert clipped[1] == pytest.approx(bare[1], rel=1e-3)
    assert clipped[1]["vitals/grad_norm"] > 1e-2


def test_norms_of_a_training_that_logs_by_epochs() -> None:
    norms = norms_by_step(logging_strategy="epoch", gradient_accumulation_steps=3)
    assert list(norms) == [3, 6]
    assert all(len(row) > 2 for row in norms.values())


def test_norms_can_be_left_out(sink: MemorySink) -> None:
    with autolog.enabled("transformers", sink=sink, log_code=False, log_gradients=False):
        trainer().train()
    kept = only(sink)
    assert {key for key in kept.metrics if key.startswith("vitals/grad_norm")} == {
        "vitals/grad_norm"
    }  # the Trainer's own
    assert "vitals/grad_norm/modules" not in kept.config.get("autolog/notes", {})


def test_a_deep_model_is_told_by_its_layers() -> None:
    names = [f"encoder.layer.{layer}.{part}" for layer in range(60) for part in ("attention.query", "output")]
    found = _coarser({name: [name] for name in names})
    assert list(found) == [f"encoder.layer.{layer}" for layer in range(60)]
    assert [name for module in found.values() for name in module] == names
    few = {name: [name] for name in names[:30]}
    assert _coarser(few) == few
    assert len(_coarser({name: [name] for name in names[:60]})) == 30


def test_steps_that_a_callback_has_logged_have_a_norm_and_a_note(recording: MemorySink) -> None:
    class Logging(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            control.should_log = state.global_step == 3

    trainer(callbacks=[Logging()]).train()
    kept = only(recording)
    assert [step for step, row in kept.rows if "vitals/grad_norm" in row] == [3]
    assert "a callback has chosen" in kept.config["autolog/notes"]["vitals/grad_norm/modules"]


def test_rates_of_groups_that_differ(recording: MemorySink) -> None:
    model = classifier()
    groups = [
        {"params": model.bert.parameters(), "lr": 0.001},
        {"params": model.classifier.parameters(), "lr": 0.01},
    ]
    carrying = trainer(model, lr_scheduler_type="constant")
    carrying.optimizer = torch.optim.SGD(groups)
    carrying.train()
    metrics = only(recording).metrics
    assert (metrics["vitals/lr/0"], metrics["vitals/lr/1"]) == (0.001, 0.01)


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
    assert [row["val/loss"] for row in rows] == pytest.approx(kept.values("val/loss"))
    assert kept.config["checkpoint/monitor"] == "val/loss"
    assert kept.config["checkpoint/best"] == carrying.state.best_model_checkpoint
    best = next(artifact for artifact in kept.artifacts if "best" in artifact["aliases"])
    assert list(best["files"].values()) == [os.path.realpath(carrying.state.best_model_checkpoint)]
    assert best["name"] == artifact_name(f"checkpoint-{kept.name}"), "each run has a best one of its own"
    told = {name: best["metadata"][name] for name in ("step", "metric", "score")}
    score = pytest.approx(min(kept.values("val/loss")), rel=1e-5)
    assert told == {"step": carrying.state.best_global_step, "metric": "val/loss", "score": score}


def test_a_large_checkpoint_is_kept_by_reference(sink: MemorySink) -> None:
    with autolog.enabled("transformers", sink=sink, log_code=False, artifact_limit=1_000):
        carrying = trainer(save_strategy="epoch")
        carrying.train()
    autolog.finish()
    last = next(one for one in only(sink).artifacts if one["type"] == "checkpoint")
    path = Path(only(sink).tables["checkpoints"][-1]["path"])
    assert list(last["references"].values()) == [path.resolve().as_uri()]
    assert last["metadata"]["bytes"] == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def test_early_stopping_and_its_epochs(recording: MemorySink) -> None:
    stop = EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=10.0)
    given = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    trainer(callbacks=[stop], num_train_epochs=5, **given).train()
    kept = only(recording)
    assert kept.config["epochs"] == kept.config["early_stopping/stopped_epoch"] == 2.0
    assert kept.config["early_stopping/best_score"] == pytest.approx(kept.values("val/loss")[0])
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


def test_beside_transformers_own_callback_it_is_one_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from tests.transformers.models import trainer
        autolog.enable("transformers", log_code=False, budget=1e9)
        given = {"report_to": "trackio", "project": "p", "run_name": "theirs", "trackio_space_id": None}
        # (In transformers 5.0 its own callback cannot log after a training: it has ended its run by then.)
        trainer(**given, eval_strategy="epoch").train()
        while not autolog.finish():
            pass
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["name"] == "theirs"
    assert len(values(kept, "train/loss")) == 4
    assert kept["config"]["params/learning_rate"] == 0.01
    assert "autolog/faults" not in kept["config"]
    assert values(kept, "val/confusion_matrix")
    assert not values(kept, "val/loss")  # theirs is eval/loss
    assert len(values(kept, "eval/loss")) == 2
    assert kept["config"]["status"] == "finished"
    for row in kept["logs"]:  # one axis: theirs would count its rows
        assert row["step"] == row.get("train/global_step", row["step"])
    steps = {key: [row["step"] for row in kept["logs"] if key in row] for row in kept["logs"] for key in row}
    assert steps["train/loss"] == [4, 8, 12, 16]
    assert steps["eval/loss"] == steps["val/accuracy"] == [8, 16]


def test_classes_have_their_names(recording: MemorySink) -> None:
    names = {n: f"digit {n}" for n in range(10)}
    trainer(classifier(id2label=names)).evaluate()
    rows = only(recording).tables["val/confusion_matrix_counts"]
    assert [row["true"] for row in rows] == sorted(names.values(), key=lambda name: int(name[6:]))


class Tuples(torch.nn.Module):
    """Answers as the Trainer lets a model of one's own: by a tuple, without names."""

    def __init__(self) -> None:
        super().__init__()
        self.model = classifier()

    def forward(self, input_ids: Any, labels: Any = None) -> Any:
        return self.model(input_ids=input_ids, labels=labels).to_tuple()


def test_scores_without_a_name_are_those_that_the_loss_is_of(recording: MemorySink) -> None:
    carrying = trainer(Tuples())
    carrying.evaluate()
    right = predicted(carrying.model.model, val_set.rows) == y[128:192]
    assert only(recording).metrics["val/accuracy"] == pytest.approx(float(right.float().mean()))


def test_scores_that_the_loss_is_not_of_are_told_to_be_unknown(recording: MemorySink) -> None:
    class Weighted(Tuples):
        def forward(self, input_ids: Any, labels: Any = None) -> Any:
            loss, *others = super().forward(input_ids, labels)
            return (2 * loss, *others)

    trainer(Weighted()).evaluate()
    kept = only(recording)
    assert "that its loss was seen to be of" in kept.config["autolog/notes"]["val/confusion_matrix"]
    assert "val/accuracy" not in kept.metrics
