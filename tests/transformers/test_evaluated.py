"""What each evaluation of a Trainer tells of its predictions, and of which rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as of_sklearn
from transformers import BertForSequenceClassification, Trainer, TrainerCallback

from autolog import MemorySink
from autolog.torch import evaluation as evaluation_of_torch
from tests.programs import read, torchrun, values
from tests.transformers.models import (
    Digits,
    X,
    arguments,
    classifier,
    config,
    only,
    series,
    token_classifier,
    trainer,
    val_set,
    y,
)

HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}


class Guesses(TrainerCallback):  # type: ignore[misc]
    """What the model says of the validation data, at each evaluation."""

    def __init__(self, rows: Any = X[128:192]) -> None:
        self.rows = rows
        self.scores: list[Any] = []
        self.steps: list[int] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        model.eval()
        with torch.no_grad():
            self.scores.append(model(input_ids=self.rows).logits.numpy())
        self.steps.append(state.global_step)


@pytest.mark.parametrize("best", [False, True])
def test_each_evaluation_of_a_classifier_is_told(recording: MemorySink, best: bool) -> None:
    seen = Guesses()
    saved = {"save_strategy": "epoch", "load_best_model_at_end": True} if best else {}
    # At this rate it gets worse again: the best one is not the last.
    carrying = trainer(
        num_train_epochs=4, learning_rate=0.1, eval_strategy="epoch", callbacks=[seen], **saved
    )
    carrying.train()
    found = only(recording)
    truth, guesses = y[128:192].numpy(), [scores.argmax(1) for scores in seen.scores]
    assert seen.steps == [8, 16, 24, 32]
    expected = {
        "accuracy": [of_sklearn.accuracy_score(truth, one) for one in guesses],
        "f1_macro": [
            of_sklearn.f1_score(truth, one, average="macro", labels=range(10), zero_division=0)
            for one in guesses
        ],
        "balanced_accuracy": [of_sklearn.balanced_accuracy_score(truth, one) for one in guesses],
    }
    for name, told in expected.items():
        assert series(found, f"val/{name}") == list(zip(seen.steps, map(pytest.approx, told), strict=True))
    at = carrying.state.best_global_step if best else 32
    assert [step for step, key in found.drawn if key == "val/confusion_matrix"] == [at]
    assert "val/roc_auc_ovr" in found.config["result/more"], "of the last one, or the best, alone"
    assert not series(found, "val/roc_auc_ovr")
    carrying.evaluate()
    assert len(series(found, "val/accuracy")) == (5 if best and at != 32 else 4)  # of other weights now


class Several(Digits):
    """Of each digit whether it is odd, large, zero."""

    def __getitem__(self, place: int) -> dict[str, Any]:
        found = super().__getitem__(place)
        digit = int(found["labels"])
        return {**found, "labels": torch.tensor([digit % 2, digit > 4, digit == 0], dtype=torch.float)}


def test_each_evaluation_of_several_labels_is_told(recording: MemorySink) -> None:
    torch.manual_seed(0)
    seen = Guesses()
    model = BertForSequenceClassification(config(3, problem_type="multi_label_classification"))
    with torch.no_grad():  # a score between 0 and 1 is no probability here
        model.classifier.bias.fill_(0.3)
    data = {"train_dataset": Several(0, 64), "eval_dataset": Several(128, 192)}
    trainer(model, eval_strategy="epoch", learning_rate=1e-4, callbacks=[seen], **data).train()
    found = only(recording)
    truth = np.stack([row["labels"].numpy() for row in Several(128, 192)])
    assert all(((scores > 0) & (scores < 1)).all() for scores in seen.scores)
    for key, function in (
        ("accuracy", of_sklearn.accuracy_score),
        ("hamming_loss", of_sklearn.hamming_loss),
        ("f1_micro", lambda *two: of_sklearn.f1_score(*two, average="micro", zero_division=0)),
    ):
        told = [function(truth, scores > 0) for scores in seen.scores]
        assert found.values(f"val/{key}") == pytest.approx(told)


def test_scores_of_two_classes_between_zero_and_one_are_no_probabilities(recording: MemorySink) -> None:
    class Even(Digits):
        def __getitem__(self, place: int) -> dict[str, Any]:
            found = super().__getitem__(place)
            return {**found, "labels": found["labels"] % 2}

    torch.manual_seed(0)
    model = BertForSequenceClassification(config(2))
    with torch.no_grad():
        model.classifier.weight.mul_(0.1)
        model.classifier.bias.copy_(torch.tensor([0.3, 0.7]))
    carrying = trainer(model, eval_dataset=Even(128, 192))
    told = carrying.predict(carrying.eval_dataset)
    likely = torch.tensor(told.predictions).double().softmax(1).numpy()
    expected = of_sklearn.log_loss(told.label_ids, likely)
    found = only(recording).metrics
    # Our log loss is the Trainer's own loss: it stands once.
    assert found["test/loss"] == pytest.approx(expected, rel=1e-5)
    assert "test/log_loss" not in found
    brier = of_sklearn.brier_score_loss(told.label_ids, likely[:, 1])
    assert found["test/brier"] == pytest.approx(brier, rel=1e-5)


def test_each_evaluation_of_amounts_is_told(recording: MemorySink) -> None:
    class Amounts(Digits):
        def __getitem__(self, place: int) -> dict[str, Any]:
            return {"input_ids": X[self.rows[place]], "labels": (y[self.rows[place]] > 4).float()}

    torch.manual_seed(0)
    seen = Guesses()
    model = BertForSequenceClassification(config(1, problem_type="regression"))
    data = {"train_dataset": Amounts(0, 64), "eval_dataset": Amounts(128, 192)}
    trainer(model, eval_strategy="epoch", callbacks=[seen], **data).train()
    truth = (y[128:192] > 4).numpy().astype(float)  # amounts, though each is 0 or 1
    told = [of_sklearn.mean_absolute_error(truth, scores[:, 0]) for scores in seen.scores]
    assert only(recording).values("val/mae") == pytest.approx(told, rel=1e-5)


def test_each_evaluation_of_tokens_is_told_without_the_padding(recording: MemorySink) -> None:
    data = Digits(0, 32, per_token=True)
    seen = Guesses(X[:32])
    trainer(
        token_classifier(), train_dataset=data, eval_dataset=data, eval_strategy="epoch", callbacks=[seen]
    ).train()
    truth = (X[:32] > 8).long()[:, 4:].reshape(-1)
    told = [of_sklearn.accuracy_score(truth, s.argmax(-1)[:, 4:].reshape(-1)) for s in seen.scores]
    assert only(recording).values("val/accuracy") == pytest.approx(told)


class Masks(torch.utils.data.Dataset[Any]):
    """Pictures of three bands of colour; the mask says which, and of the first rows nothing."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, place: int) -> dict[str, Any]:
        mask = (torch.arange(32) * 3 // 32)[:, None].repeat(1, 32).roll(place, 0)
        noise = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(place))
        pixels = torch.nn.functional.one_hot(mask, 3).permute(2, 0, 1) + 0.5 * noise
        mask = mask.clone()
        mask[:4] = 255
        return {"pixel_values": pixels, "labels": mask}


@pytest.mark.parametrize("counted", [False, True])
def test_each_evaluation_of_masks_is_told(
    recording: MemorySink, counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    if counted:
        monkeypatch.setattr(evaluation_of_torch, "MOST_VALUES", 10_000)
    torch.manual_seed(0)
    sizes = {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 8, 8, 8], "num_attention_heads": [1, 1, 1, 1]}
    names = {0: "red", 1: "green", 2: "blue"}
    shape = SegformerConfig(**sizes, decoder_hidden_size=8, num_labels=3, id2label=names)
    data = Masks()
    carrying = trainer(
        SegformerForSemanticSegmentation(shape),
        train_dataset=data,
        eval_dataset=data,
        eval_strategy="epoch",
        per_device_eval_batch_size=5,
        num_train_epochs=6,
    )
    carrying.train()
    found = only(recording)
    truth = np.stack([data[place]["labels"].numpy() for place in range(12)])
    model = carrying.model.eval()
    with torch.no_grad():
        small = model(pixel_values=torch.stack([data[place]["pixel_values"] for place in range(12)])).logits
    assert small.shape[-1] < 32
    whole = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    known = truth != 255
    truth, guesses = truth[known], whole.argmax(1).numpy()[known]
    assert len(found.values("val/iou_macro")) == 6
    expected = of_sklearn.jaccard_score(truth, guesses, average="macro")
    assert found.values("val/iou_macro")[-1] == pytest.approx(expected)
    assert found.values("val/accuracy")[-1] == pytest.approx(of_sklearn.accuracy_score(truth, guesses))
    assert [row["class"] for row in found.tables["val/per_class"]] == list(names.values())
    assert "val/pictures" in found.charts


def test_very_many_classes_of_a_module_of_ones_own(recording: MemorySink) -> None:
    class Plain(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(64, 1_500)

        def forward(self, input_ids: Any, labels: Any = None) -> dict[str, Any]:
            logits = self.layer(input_ids.float())
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    trainer(Plain(), eval_strategy="epoch").train()
    found = only(recording)
    assert "val/perplexity" not in found.metrics
    assert "are not kept (1,500)" in found.config["autolog/notes"]["val/confusion_matrix"]


def test_metrics_of_the_users_stand_alone_at_each_evaluation(recording: MemorySink) -> None:
    trainer(eval_strategy="epoch", compute_metrics=lambda given: {"accuracy": 0.125}).train()
    found = only(recording)
    assert found.values("val/accuracy") == [0.125, 0.125]
    assert len(found.values("val/f1_macro")) == 2


@pytest.mark.parametrize("per_token", [False, True])
def test_an_evaluation_of_nothing_that_counts(recording: MemorySink, per_token: bool) -> None:
    class Unlabelled(Digits):
        def __getitem__(self, place: int) -> dict[str, Any]:
            found = super().__getitem__(place)
            return {**found, "labels": torch.full_like(found["labels"], -100)}

    model = token_classifier() if per_token else classifier()
    data = Digits(0, 32, per_token=per_token)
    trainer(
        model,
        train_dataset=data,
        eval_dataset=Unlabelled(128, 192, per_token=per_token),
        eval_strategy="epoch",
    ).train()
    found = only(recording)
    assert "val/accuracy" not in found.metrics
    why = "no target is left" if per_token else "each target is -100"
    assert why in found.config["autolog/notes"]["val"]


# Of several processes -------------------------------------------------------------------------------------

RANKS = """
    import json, sys, autolog
    from tests.transformers.models import Digits, token_classifier, trainer

    autolog.enable("transformers", log_code=False, budget=1e9)
    data = Digits(128, 163)  # 35 rows: batches of 8 on two ranks, the last ones filled up
    more = {"compute_metrics": lambda given: {}} if "gathers" in sys.argv else {}
    several = trainer(ddp_backend="gloo", eval_strategy="epoch", num_train_epochs=1, eval_dataset=data,
                      per_device_eval_batch_size=8, output_dir=sys.argv[1], **more)
    several.train()
    predicted = several.predict(data)
    if several.is_world_process_zero():
        print("told", json.dumps([predicted.predictions.tolist(), predicted.label_ids.tolist()]))
    several.accelerator.end_training()
"""


@pytest.mark.slow
@pytest.mark.parametrize("gathers", [False, True])
def test_rows_that_fill_up_a_batch_of_several_processes_are_not_counted(
    tmp_path: Path, gathers: bool
) -> None:
    more = ["gathers"] if gathers else []
    code, said = torchrun(tmp_path, RANKS, str(tmp_path / "out"), *more, **HERE)
    assert code == 0, said
    (kept,) = read(tmp_path)
    assert "autolog/faults" not in kept["config"]
    notes = kept["config"].get("autolog/notes", {})

    def rows(name: str) -> int:
        (matrix,) = values(kept, f"{name}/confusion_matrix_counts")
        return sum(n for row in matrix["_value"] for n in row.values() if isinstance(n, int))

    line = next(line for line in said.splitlines() if line.startswith("told "))
    scores, truth = map(np.array, json.loads(line.removeprefix("told ")))
    right = of_sklearn.accuracy_score(truth, scores.argmax(1))
    assert rows("test") == 35
    assert values(kept, "test/accuracy") == [pytest.approx(right)]
    assert "test" not in notes or "rank 0" not in notes["test"]
    if gathers:
        assert rows("val") == 35
        assert values(kept, "val/accuracy") == [pytest.approx(right)]
    else:
        assert rows("val") == 8 + 8 + 3  # of 16, 16 and 3 rows the first 8
        assert "rank 0's share, one of 2" in notes["val"]


def test_predictions_that_the_user_has_made_something_else_of_are_seen_before(recording: MemorySink) -> None:
    carrying = Trainer(
        classifier(),
        arguments(),
        eval_dataset=val_set,
        compute_metrics=lambda given: {},
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(-1) * 0,
    )
    carrying.evaluate()
    with torch.no_grad():
        right = carrying.model(input_ids=X[128:192]).logits.argmax(1) == y[128:192]
    assert only(recording).metrics["val/accuracy"] == pytest.approx(float(right.float().mean()))
