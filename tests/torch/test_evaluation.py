"""Predictions that are too many to be kept are counted as they come."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autolog.torch import evaluation
from autolog.torch.evaluation import IGNORED, Kept, Known, evaluated, of_counts


@pytest.mark.parametrize("shape", [(40, 3), (40, 3, 5), (40, 5, 3)], ids=["rows", "classes second", "last"])
def test_what_is_counted_is_what_would_be_evaluated(shape: tuple[int, ...], monkeypatch: Any) -> None:
    torch.manual_seed(0)
    scores = torch.randn(shape)
    truth = torch.randint(0, 3, tuple(size for size in shape if size != 3))
    truth[:4] = IGNORED
    whole = evaluated(truth.numpy(), scores.numpy())
    monkeypatch.setattr(evaluation, "MOST_VALUES", 100)
    kept = Kept()
    for start in range(0, 40, 8):
        kept.add(truth[start : start + 8], scores[start : start + 8])
    assert kept.too_large
    counted = of_counts(kept.counts.numpy())
    assert counted.tables["confusion_matrix"] == whole.tables["confusion_matrix"]
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "precision_macro"):
        assert counted.metrics[name] == pytest.approx(whole.metrics[name])
    assert counted.rows == int((truth != IGNORED).sum())


@pytest.mark.parametrize(
    ("truth", "scores"),
    [
        (torch.rand(9), torch.rand(9, 1)),
        (torch.full((9,), 7), torch.rand(9, 3)),
        (torch.rand(9, 3), torch.rand(9, 3)),
    ],
    ids=["amounts", "unknown classes", "several labels"],
)
def test_what_is_no_choice_of_one_class_is_not_counted(truth: Any, scores: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(evaluation, "MOST_VALUES", 5)
    kept = Kept()
    kept.add(truth, scores)
    kept.add(truth, scores)
    assert kept.too_large
    assert kept.counts is None


def test_errors_of_pictures_are_summed_as_they_come(monkeypatch: Any) -> None:
    torch.manual_seed(0)
    truth, outputs = torch.rand(20, 3, 8, 9), torch.rand(20, 3, 8, 9)
    whole = evaluated(truth.numpy(), outputs.numpy())
    monkeypatch.setattr(evaluation, "MOST_VALUES", 3_000)
    kept = Kept()
    for start in range(0, 20, 4):
        kept.add(truth[start : start + 4], outputs[start : start + 4].to(torch.bfloat16).float())
    assert kept.too_large
    assert not kept.is_lost
    assert kept.errors is not None
    squares, absolutes, low, high = kept.errors.told()
    assert squares.mean() == pytest.approx(whole.metrics["mse"], rel=1e-2)
    assert absolutes.mean() == pytest.approx(whole.metrics["mae"], rel=1e-2)
    assert (low, high) == pytest.approx((float(truth.min()), float(truth.max())))
    assert kept.errors.few.columns()["target"].tolist() == truth[:4].tolist()


@pytest.mark.parametrize("are_logits", [True, False])
def test_levels_of_grey_under_a_loss_of_labels_are_pictures(are_logits: bool) -> None:
    torch.manual_seed(0)
    truth, likely = torch.rand(5, 1, 8, 8), torch.rand(5, 1, 8, 8)
    scores = torch.logit(likely) if are_logits else likely
    found = evaluated(truth.numpy(), scores.numpy(), None, Known("labels", not are_logits, None))
    assert found.metrics["mse"] == pytest.approx(float((truth - likely).square().mean()), rel=1e-4)
    assert "accuracy" not in found.metrics


@pytest.mark.parametrize("shape", [(5, 1, 8, 9), (5, 16, 12)])
def test_a_mask_of_yes_and_no_has_its_overlap(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    truth, likely = torch.rand(shape).round(), torch.rand(shape)
    found = evaluated(truth.numpy(), likely.numpy(), None, Known("labels", True, None))
    yes, guessed = truth.bool(), likely > 0.5
    assert found.metrics["iou"] == pytest.approx(float((yes & guessed).sum() / (yes | guessed).sum()))
    assert len(found.tables["per_picture"]) == 5


def numbers_of(batches: list[tuple[Any, ...]], known: Known) -> tuple[dict[str, float], set[str]]:
    """What is recorded of predictions; the names of its tables."""
    kept = Kept(known)
    for batch in batches:
        kept.add(*batch)
    kept.reduce_uneven()
    assert not kept.is_lost
    reduced = kept.too_large
    found = evaluation._reduced(kept, None) if reduced else evaluated(*kept.arrays(), None, known)
    return dict(found.metrics), set(found.tables) - {"per_picture"}


def shares(truth: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(truth, 3).movedim(-1, 1).float()


LABELS, CLASSES, AMOUNTS = Known("labels", False, None), Known("classes"), Known("amounts", None, None)
holes = torch.rand(4, 1, 12, 9)
holes[0, 0, 0, 0] = torch.nan


@pytest.mark.parametrize(
    ("known", "truth", "scores"),
    [
        (LABELS, torch.rand(4, 1, 12, 9).round(), torch.randn(4, 1, 12, 9)),
        (LABELS, torch.rand(4, 12, 9).round(), torch.randn(4, 12, 9)),
        (LABELS, torch.rand(4, 3, 12, 9).round(), torch.randn(4, 3, 12, 9)),
        (LABELS, torch.rand(4, 1, 8, 9, 10).round(), torch.randn(4, 1, 8, 9, 10)),
        (LABELS, torch.rand(4, 1, 12, 9), torch.randn(4, 1, 12, 9)),
        (CLASSES, torch.randint(3, (4, 12, 9)), torch.randn(4, 3, 12, 9)),
        (CLASSES, torch.randint(3, (4, 8, 9, 10)), torch.randn(4, 3, 8, 9, 10)),
        (CLASSES, shares(torch.randint(3, (4, 12, 9))), torch.randn(4, 3, 12, 9)),
        (AMOUNTS, torch.rand(4, 3, 12, 9), torch.rand(4, 3, 12, 9)),
        (AMOUNTS, holes, torch.rand(4, 1, 12, 9)),
    ],
    ids=[
        "mask",
        "mask without channel",
        "labels",
        "volume",
        "levels",
        "classes",
        "classes of volumes",
        "shares",
        "pictures",
        "holes",
    ],
)
def test_what_is_summed_up_is_what_would_be_told(
    known: Known, truth: Any, scores: Any, monkeypatch: Any
) -> None:
    batches = [(truth[:3], scores[:3]), (truth[3:], scores[3:])]
    whole, tables = numbers_of(batches, known)
    monkeypatch.setattr(evaluation, "MOST_VALUES", 1)
    summed, tables_of_sums = numbers_of(batches, known)
    assert summed == pytest.approx(whole, rel=1e-5, abs=1e-4)
    assert tables_of_sums == tables
    assert "best_and_worst" not in tables, "no pixel is a row"


@pytest.mark.parametrize("known", [LABELS, CLASSES, AMOUNTS])
def test_pictures_of_another_size_in_each_batch(known: Known) -> None:
    batches: list[tuple[Any, ...]] = []
    for size in (9, 12):
        if known is CLASSES:
            batches.append((torch.randint(3, (2, size, size)), torch.randn(2, 3, size, size)))
        else:
            truth = torch.rand(2, 1, size, size)
            batches.append((truth.round() if known is LABELS else truth, torch.randn(2, 1, size, size)))
    found, tables = numbers_of(batches, known)
    assert {LABELS: "iou", CLASSES: "iou_macro", AMOUNTS: "psnr"}[known] in found
    assert "best_and_worst" not in tables


def test_labels_of_pixels_have_their_overlaps() -> None:
    truth, likely = torch.rand(5, 3, 8, 9).round(), torch.rand(5, 3, 8, 9)
    found = evaluated(truth.numpy(), likely.numpy(), None, Known("labels", True, None))
    for row in found.tables["per_class"]:
        yes, guessed = truth[:, int(row["class"])].bool(), likely[:, int(row["class"])] > 0.5
        assert row["iou"] == pytest.approx(float((yes & guessed).sum() / (yes | guessed).sum()))
    assert found.metrics["accuracy"] == pytest.approx(float((truth == (likely > 0.5)).float().mean()))


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 1, 1)])
def test_no_pixel_of_small_pictures_is_a_row(shape: tuple[int, ...]) -> None:
    truth, scores = torch.randint(3, shape), torch.randn(3, 3, *shape[1:])
    for guesses in (scores, scores.argmax(1)):
        assert "best_and_worst" not in evaluated(truth.numpy(), guesses.numpy(), None, CLASSES).tables


def test_classes_with_large_numbers() -> None:
    truth, guesses = torch.randint(3, (4, 8, 9)), torch.randint(3, (4, 8, 9))
    numbers = torch.tensor([0, 1, 60_000])
    expected = evaluated(truth.numpy(), guesses.numpy()).metrics
    assert evaluated(numbers[truth].numpy(), numbers[guesses].numpy()).metrics == expected
    with pytest.raises(ValueError, match="which are not classes"):
        evaluated(torch.arange(9_600).reshape(2, 60, 80).numpy(), torch.zeros(2, 60, 80, dtype=int).numpy())
