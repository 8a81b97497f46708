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
