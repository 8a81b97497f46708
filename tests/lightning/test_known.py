"""Of predictions that nobody knows what they were to be, nothing is recorded; of others what is true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch
import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchmetrics import JaccardIndex
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun
from tests.lightning.modules import only, trainer

ROWS = torch.rand(64, 8, generator=torch.Generator().manual_seed(0))
CLASSES = ROWS[:, :3].argmax(1)
OTHERS = torch.randint(0, 10, (64,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("lightning", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


class Module(lightning.pytorch.LightningModule):  # type: ignore[misc]
    """A small one of three classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Linear(8, 3)

    def loss(self, batch: Any) -> Any:
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.loss(batch)

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, 0.05)


def right(scores: Any, truth: Any) -> Any:
    return (scores.argmax(1) == truth).float().mean()


def fitted(
    module: Any, recording: MemorySink, *tensors: Any, data: Any = None
) -> tuple[MemoryRun, dict[str, float]]:
    loader = DataLoader(data or TensorDataset(*(tensors or (ROWS, CLASSES))), batch_size=7)
    fitting = trainer()
    fitting.fit(module, loader, loader)
    return only(recording), {key: float(value) for key, value in fitting.callback_metrics.items()}


def matrix(run: MemoryRun) -> list[list[int]]:
    rows = run.tables["val/confusion_matrix_counts"]
    return [[value for key, value in row.items() if key != "true"] for row in rows]


def counted(truth: Any, guesses: Any, classes: int = 3) -> list[list[int]]:
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth.numpy(), guesses.numpy()), 1)
    return counts.tolist()


def is_not_evaluated(run: MemoryRun, why: str) -> None:
    assert not [key for key in run.charts if key.startswith("val/")]
    assert not {"val/accuracy", "val/balanced_accuracy", "val/mse"} & set(run.metrics)
    assert why in run.config["autolog/notes"]["val/confusion_matrix"]


# What nobody knows ------------------------------------------------------------------------------------


class Autoencoder(Module):
    """The digit of (image, digit) is not used, as in Lightning's own introduction."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(8, 2), torch.nn.Linear(2, 8)

    def loss(self, batch: Any) -> Any:
        return functional.mse_loss(self.decoder(self.encoder(batch[0])), batch[0])


def test_an_autoencoder_has_amounts_and_no_classes(recording: MemorySink) -> None:
    run, told = fitted(Autoencoder(), recording, ROWS, OTHERS)
    assert "val/confusion_matrix" not in run.charts
    assert "val/accuracy" not in run.metrics
    assert run.metrics["val/loss"] == pytest.approx(told["val_loss"])
    assert {"val/mae", "val/r2"} <= set(run.metrics)


class Pictures(Autoencoder):
    """As pictures are flattened for it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(256, 2), torch.nn.Linear(2, 256)

    def loss(self, batch: Any) -> Any:
        flat = batch[0].flatten(1)
        return functional.mse_loss(self.decoder(self.encoder(flat)), flat)


@pytest.mark.parametrize("most", [8_000_000, 1_000], ids=["kept", "too many to be kept"])
def test_pictures_are_told_as_pictures(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("autolog.torch.evaluation.MOST_VALUES", most)
    pictures = torch.rand(14, 1, 16, 16)
    run, _ = fitted(module := Pictures(), recording, pictures, OTHERS[:14])
    flat = pictures.flatten(1)
    with torch.no_grad():
        errors = (module.decoder(module.encoder(flat)) - flat).square().mean(1)
    assert run.metrics["val/loss"] == pytest.approx(float(errors.mean()), rel=1e-4)
    assert run.metrics["val/psnr"] == pytest.approx(float((-10 * errors.log10()).mean()), rel=1e-4)
    assert len(run.tables["val/per_picture"]) == 10, "the worst ones: the pictures stand below it"
    (whole,) = [one for one in run.artifacts if one["type"] == "table"]
    assert whole["metadata"]["rows"] == 14
    assert "val/per_output" not in run.tables
    tiles = run.charts["val/pictures"]["data"]["tiles"]
    assert {tuple(tile["shape"]) for tile in tiles} == {(16, 16)}


class Segmenter(Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Conv2d(3, 4, 1)

    def loss(self, batch: Any) -> Any:
        return functional.cross_entropy(self.net(batch[0]), batch[1], ignore_index=255)


@pytest.mark.parametrize("most", [8_000_000, 1_000], ids=["kept", "too many to be kept"])
def test_masks_have_the_overlap_of_each_class_without_what_is_none(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr("autolog.torch.evaluation.MOST_VALUES", most)
    pictures = torch.rand(14, 3, 10, 8)
    masks = (pictures.mean(1) * 8).long() % 4
    masks[:, :2] = 255
    run, _ = fitted(module := Segmenter(), recording, pictures, masks)
    with torch.no_grad():
        guesses = module.net(pictures).argmax(1)
    expected = JaccardIndex("multiclass", num_classes=4, ignore_index=255)(guesses, masks)
    assert run.metrics["val/iou_macro"] == pytest.approx(float(expected))
    right = (guesses == masks)[masks != 255].double().mean()
    assert run.metrics["val/accuracy"] == pytest.approx(float(right))
    assert matrix(run) == counted(masks[masks != 255], guesses[masks != 255], 4)
    assert [tile["title"] for tile in run.charts["val/pictures"]["data"]["tiles"][:2]] == ["input", "target"]


class Embedding(Module):
    def forward(self, rows: Any) -> Any:
        return functional.normalize(self.net(rows), dim=1)

    def loss(self, batch: Any) -> Any:
        distances = torch.cdist(self(batch[0]), self(batch[0]))
        return (distances * (batch[1][:, None] == batch[1][None]).float()).mean()


class SecondPass(Module):
    """Its predictions are the mean of two."""

    def forward(self, rows: Any) -> Any:
        return self.net(rows)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = (self(batch[0]) + self(batch[0].flip(1))) / 2
        self.log("val_acc", right(scores, batch[1]))


class Teacher(Module):
    """The student is trained, the teacher called after it."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = torch.nn.Linear(8, 3).requires_grad_(False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.teacher(batch[0])
        self.log("val_acc", right(scores, batch[1]))


class Padded(Module):
    """Whole output, of which the module itself counts a part."""

    def forward(self, rows: Any) -> Any:
        return self.net(rows)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        counts, scores = batch[1] != 0, self(batch[0])
        accuracy = right(scores[counts], batch[1][counts]) if counts.any() else torch.tensor(0.0)
        self.log("val_acc", accuracy + 0.01, batch_size=int(counts.sum()) or 1)


class Unlogged(Module):
    def forward(self, rows: Any) -> Any:
        return self.net(rows)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self(batch[0])


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Embedding, "no accuracy that is logged"),
        (SecondPass, "no accuracy that is logged"),
        (Teacher, "no accuracy that is logged"),
        (Padded, "the module logs val/acc 0."),
        (Unlogged, "no accuracy that is logged"),
    ],
)
def test_what_a_batch_holds_second_is_not_taken_for_the_truth(
    recording: MemorySink, kind: Any, why: str
) -> None:
    run, _ = fitted(kind(), recording)
    is_not_evaluated(run, why)


class Contrastive(Module):
    def loss(self, batch: Any) -> Any:
        rows = self.net(batch[0])
        return functional.cross_entropy(rows @ rows.T, torch.arange(len(rows)))


class AnotherAccuracy(Module):
    """The loss is of a head that is not the one whose accuracy is logged."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        functional.cross_entropy(self.net(batch[0].flip(1)), batch[1])
        self.log("val_acc", right(self.net(batch[0]), batch[1]))


class AnotherLoss(Module):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", 3 + self.loss(batch))


class TwoHeads(Module):
    def loss(self, batch: Any) -> Any:
        other = functional.cross_entropy(self.net(batch[0].flip(1)), batch[1].flip(0))
        return super().loss(batch) + other


class Soft(Module):
    """Targets that share a row among classes."""

    def loss(self, batch: Any) -> Any:
        return functional.cross_entropy(self.net(batch[0]), batch[0][:, :3].softmax(1))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Contrastive, "the numbers of the batch's own rows"),
        (AnotherAccuracy, "the module logs val/acc"),
        (AnotherLoss, "the module logs val/loss"),
        (TwoHeads, "the module logs val/loss"),
    ],
)
def test_a_loss_that_is_not_what_the_module_logs_is_not_evaluated(
    recording: MemorySink, kind: Any, why: str
) -> None:
    run, _ = fitted(kind(), recording)
    is_not_evaluated(run, why)


def test_targets_that_are_shares_are_not_made_classes(recording: MemorySink) -> None:
    run, _ = fitted(Soft(), recording)
    assert run.charts == {}
    assert "shares of classes" in run.config["autolog/notes"]["val"]


# What is known ----------------------------------------------------------------------------------------


class Criterion(Module):
    """A loss for each row, as a part of the module; and a teacher, whose loss is asked for, too."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = torch.nn.CrossEntropyLoss(reduction="none")
        self.teacher = torch.nn.Linear(8, 3).requires_grad_(False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.criterion(scores, batch[1])
        self.criterion(self.teacher(batch[0]), batch[1])
        self.log("val_acc", right(scores, batch[1]))


class OfMetric(Module):
    """No loss is called; the metric gets the classes, and only then the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.accuracy = MulticlassAccuracy(3)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.accuracy(scores.argmax(1), batch[1])
        self.accuracy(scores, batch[1])
        self.log("val_accuracy", self.accuracy)


class Whole(Module):
    """``(o.argmax(1) == y)`` is nothing that could be heard: what is logged says it."""

    def forward(self, rows: Any) -> Any:
        return self.net(rows)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_acc", right(self(batch[0]), batch[1]))


class OneHot(Whole):
    def loss(self, batch: Any) -> Any:
        return functional.cross_entropy(self.net(batch[0]), functional.one_hot(batch[1], 3).float())

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))


class Changing(Module):
    """Changes its scores once it has its loss."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]))
        scores.neg_()


class Regularized(Module):
    """The loss has another term; the accuracy says whose it is."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        scores = self.net(batch[0])
        self.log("val_loss", functional.cross_entropy(scores, batch[1]) + self.net.weight.norm())
        self.log("val_acc", 100 * right(scores, batch[1]))


@pytest.mark.parametrize("kind", [Module, Criterion, OfMetric, Whole, OneHot, Changing, Regularized])
def test_what_a_loss_a_metric_or_a_logged_number_says_is_evaluated(recording: MemorySink, kind: Any) -> None:
    module = kind()
    run, _ = fitted(module, recording)
    assert matrix(run) == counted(CLASSES, module.net(ROWS).argmax(1))


def test_targets_as_rows_of_a_single_one(recording: MemorySink) -> None:
    class Logs(Whole):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_acc", right(self(batch[0]), batch[1].argmax(1)))

    module = Logs()
    run, _ = fitted(module, recording, ROWS, functional.one_hot(CLASSES, 3).float())
    assert matrix(run) == counted(CLASSES, module.net(ROWS).argmax(1))


class Sequences(Module):
    """A class for each place; 0 is what fills up."""

    def loss(self, batch: Any) -> Any:
        scores = self.net(batch[0]).transpose(1, 2)
        return functional.cross_entropy(scores, batch[1], ignore_index=0)


def test_what_a_loss_ignores_is_ignored(recording: MemorySink) -> None:
    module = Sequences()
    rows, truth = torch.rand(20, 5, 8), torch.randint(0, 3, (20, 5))
    run, _ = fitted(module, recording, rows, truth)
    counts = truth != 0
    assert matrix(run) == counted(truth[counts], module.net(rows).argmax(-1)[counts])
    assert f"{int((~counts).sum())} targets that are 0" in run.config["autolog/notes"]["val"]


class Ragged(Dataset[Any]):
    """Batches of sequences, each as long as it happens to be."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = [torch.rand(place // 7 + 2, 8, generator=generator) for place in range(21)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        return self.rows[place], self.rows[place][:, :3].argmax(1)


def test_batches_of_sequences_of_their_own_length(recording: MemorySink) -> None:
    class Places(Sequences):
        def loss(self, batch: Any) -> Any:
            return functional.cross_entropy(self.net(batch[0]).transpose(1, 2), batch[1])

    module, data = Places(), Ragged()
    run, _ = fitted(module, recording, data=data)
    rows = torch.cat(data.rows)
    assert matrix(run) == counted(rows[:, :3].argmax(1), module.net(rows).argmax(1))


class Named(Dataset[Any]):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 64

    def __getitem__(self, place: int) -> Any:
        x, label = ROWS[place], CLASSES[place]
        return {"x": x, "label": label} if self.kind == "dict" else (x, place, label)


@pytest.mark.parametrize("kind", ["dict", "triple"])
def test_batches_of_any_form(recording: MemorySink, kind: str) -> None:
    class Reads(Module):
        def loss(self, batch: Any) -> Any:
            x, truth = (batch["x"], batch["label"]) if kind == "dict" else (batch[0], batch[2])
            return functional.cross_entropy(self.net(x), truth)

    module = Reads()
    run, _ = fitted(module, recording, data=Named(kind))
    assert matrix(run) == counted(CLASSES, module.net(ROWS).argmax(1))


class Binary(Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Linear(8, 1)
        self.val_acc = BinaryAccuracy()

    def loss(self, batch: Any) -> Any:
        truth = (batch[1] > 0).float()
        return functional.binary_cross_entropy_with_logits(self.net(batch[0]).squeeze(1), truth)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.val_acc(self.net(batch[0]).squeeze(1).sigmoid(), (batch[1] > 0).long())
        self.log("val_acc", self.val_acc)


def test_one_number_for_yes_or_no(recording: MemorySink) -> None:
    module = Binary()
    run, _ = fitted(module, recording)
    guesses = (module.net(ROWS).squeeze(1) > 0).long()
    assert matrix(run) == counted((CLASSES > 0).long(), guesses, 2)


# What it costs ----------------------------------------------------------------------------------------


def test_nothing_of_torchs_is_replaced_while_it_trains(recording: MemorySink) -> None:
    original = torch._C._nn.cross_entropy_loss
    seen: dict[str, set[bool]] = {"training": set(), "validation": set()}

    class Looks(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen["training"].add(torch._C._nn.cross_entropy_loss is original)
            return self.loss(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.trainer.sanity_checking:
                return
            seen["validation"].add(torch._C._nn.cross_entropy_loss is original)
            if batch_idx == 3 and self.current_epoch:
                raise ValueError("in the midst of it")

    with pytest.raises(ValueError, match="midst"):
        fitted(Looks(), recording)
    assert seen == {"training": {True}, "validation": {False}}
    assert torch._C._nn.cross_entropy_loss is original


def test_weights_and_numbers_are_the_same_with_and_without(sink: MemorySink) -> None:
    def trained() -> tuple[list[Any], dict[str, Any]]:
        module = Criterion()
        loader = DataLoader(TensorDataset(ROWS, CLASSES), batch_size=7)
        fitting = trainer()
        fitting.fit(module, loader, loader)
        return [parameter.tolist() for parameter in module.parameters()], dict(fitting.callback_metrics)

    bare = trained()
    with autolog.enabled("lightning", sink=sink, log_code=False):
        assert trained() == bare


def test_what_is_kept_is_bounded(recording: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than that, the confusion matrix is counted batch by batch."""
    from autolog.lightning import predictions
    from autolog.torch import evaluation

    monkeypatch.setattr(evaluation, "MOST_VALUES", 100)
    held: list[int] = []
    take = predictions.HeldOut.take

    def watched(self: Any, *given: Any) -> None:
        take(self, *given)
        kept = [pair.kept for of in self._of.values() for pair in (*of.heard, of.whole, of.returned)]
        held.extend(sum(part.numel() for part in one._truth + one._predicted) for one in kept)
        assert self._in_batch == {}, "and nothing of the batch itself"

    monkeypatch.setattr(predictions.HeldOut, "take", watched)
    module = Module()
    run, _ = fitted(module, recording)
    assert max(held) <= 100
    assert matrix(run) == counted(CLASSES, module.net(ROWS).argmax(1))
