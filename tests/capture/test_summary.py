"""What a run is about in two or three numbers, and the order in which its config is read."""

from __future__ import annotations

from typing import Any

import pytest

from autolog.capture.summary import in_reading_order, result_of, worth_a_chart

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "held out before learned": ({"train/accuracy": 1.0, "val/accuracy": 0.9}, {"val/accuracy": 0.9}),
    "test before val": ({"val/loss": 0.5, "test/loss": 0.25}, {"test/loss": 0.25}),
    "what people compare by": (
        {"val/log_loss": 0.5, "val/roc_auc": 0.8, "val/accuracy": 0.9, "val/f1": 0.7, "val/loss": 0.4},
        {"val/accuracy": 0.9, "val/roc_auc": 0.8, "val/f1": 0.7},
    ),
    "a set that the user has named": (
        {"train/loss": 0.1, "held_out/loss": 0.5, "held_out/accuracy": 0.9, "rounds/val/loss": 0.2},
        {"held_out/accuracy": 0.9, "held_out/loss": 0.5},
    ),
    "the usual ones before it": ({"held_out/loss": 0.5, "val/loss": 0.4}, {"val/loss": 0.4}),
    "parts of it": ({"train/loss": 0.1, "held_out/easy/f1": 0.9}, {"held_out/easy/f1": 0.9}),
    "what is on the way is none": (
        {"train/loss": 0.1, "rounds/val/loss": 0.2, "early_stopping/best_score": 0.3, "search/loss": 0.4},
        {"train/loss": 0.1},
    ),
    "a metric of the user's": ({"val/cost": 12.5, "train/accuracy": 1.0}, {"val/cost": 12.5}),
    "means of a cross-validation, not its last fold": (
        {"cv/test_score": 1.0, "cv/train_score": 1.0, "cv/train_score_mean": 0.9, "cv/test_score_mean": 0.8},
        {"cv/test_score_mean": 0.8},
    ),
    "the best of a study, not its last trial": (
        {"objective/value": 0.1, "trials/complete": 9, "objective/value/best": 0.9},
        {"objective/value/best": 0.9},
    ),
    "a trial by what it was asked for": (
        {"intermediate/value": 0.5, "train/loss": 0.2, "objective/value": 0.4},
        {"objective/value": 0.4},
    ),
    "a study without a trial that is complete": ({"trials/complete": 0, "trials/failed": 3}, {}),
    "no set": ({"loss": 0.5, "lr": 0.1, "vitals/seconds": 2.0, "vitals/grad_norm": 3.0}, {"loss": 0.5}),
    "only means": ({"lr": 0.1, "vitals/seconds": 2.0}, {}),
    "six digits": ({"val/accuracy": 2 / 3}, {"val/accuracy": 0.666667}),
    "several sets of a kind": (
        {
            "train/loss": 0.1,
            "val/easy/loss": 0.2,
            "val/hard/loss": 0.9,
            "val/hard/f1": 0.5,
            "val/easy/f1": 1.0,
        },
        {"val/hard/f1": 0.5, "val/easy/f1": 1.0},
    ),
    "all folds, and not the last one": (
        {"cv/test_f1": 0.9, "cv/test_f1_mean": 0.5, "cv/test_f1_std": 0.1},
        {"cv/test_f1_mean": 0.5, "cv/test_f1_std": 0.1},
    ),
    "what has diverged": (
        {"val/loss": "NaN", "val/mae": "Infinity", "val/rmse": float("-inf")},
        {"val/rmse": "-Infinity", "val/mae": "Infinity", "val/loss": "NaN"},
    ),
    "no number": ({"val/accuracy": "good", "val/table": [{"a": 1}]}, {}),
}


@pytest.mark.parametrize(("latest", "expected"), CASES.values(), ids=CASES)
def test_the_numbers_that_a_run_is_about(latest: dict[str, Any], expected: dict[str, Any]) -> None:
    assert result_of(latest) == expected
    assert list(result_of(latest)) == list(expected)


def test_the_set_that_a_person_looks_at_first() -> None:
    latest = {"val/accuracy": 0.9, "holdout/accuracy": 0.8}
    assert result_of(latest, "holdout") == {"holdout/accuracy": 0.8}
    assert result_of(latest, "elsewhere") == {"val/accuracy": 0.9}


def test_the_order_of_a_config() -> None:
    config = {
        "autolog/schema": 2,
        "git/commit": "c",
        "params": {"C": 1},
        "seed": 1,
        "model": "m",
        "params/C": 1,
        "nested": {},
        "error": "e",
        "status": "failed",
        "result": {"val/accuracy": 1},
        "_Username": None,
    }
    assert list(in_reading_order(config)) == [
        "_Username",
        "result",
        "status",
        "error",
        "params/C",
        "model",
        "seed",
        "nested",
        "params",
        "git/commit",
        "autolog/schema",
    ]


def test_of_each_set_three_metrics_are_charts_and_of_what_was_learned_one() -> None:
    keys = [f"{name}/{key}" for name in ("train", "val") for key in ("brier", "f1", "accuracy", "log_loss")]
    assert worth_a_chart([*keys, "val/set-2/wer"]) == {
        "train/accuracy",
        "val/accuracy",
        "val/f1",
        "val/log_loss",
        "val/set-2/wer",
    }
    there = {"val/loss", "val/brier", "test/loss"}
    assert worth_a_chart(keys[4:], there) == {"val/brier", "val/accuracy"}, "what is there goes on"
    assert worth_a_chart(["val/hamming_loss"], there) == set()
