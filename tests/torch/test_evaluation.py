"""Predictions that are too many to be kept are counted as they come."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from autolog.torch import evaluation
from autolog.torch.evaluation import IGNORED, Kept, evaluated, of_counts


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
