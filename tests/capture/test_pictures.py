"""Evaluations of pictures: reconstructions and masks."""

from __future__ import annotations

import base64
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from autolog.capture import evaluation, figures

rng = np.random.default_rng(0)
pictures = rng.random((5, 8, 12, 3)).astype("float32")
errors_of = np.array([0.1, 0.5, 0.0, 0.2, 0.3], dtype="float32")[:, None, None, None]
outputs = pictures + errors_of


def levels(tile: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(tile["pixels"]), "uint8").reshape(tile["shape"])


@pytest.mark.parametrize("layout", ["last", "first"])
def test_a_reconstruction_is_told_per_picture_and_as_a_whole(layout: str) -> None:
    given = (
        (pictures, outputs) if layout == "last" else (np.moveaxis(pictures, 3, 1), np.moveaxis(outputs, 3, 1))
    )
    found = evaluation.reconstruction(*given)
    errors = errors_of.ravel().astype(float)
    assert found.metrics["mse"] == pytest.approx((errors**2).mean())
    assert found.metrics["rmse"] == pytest.approx(math.sqrt((errors**2).mean()))
    assert found.metrics["mae"] == pytest.approx(errors.mean())
    assert found.metrics["psnr"] == pytest.approx(
        np.mean([-20 * math.log10(e) for e in errors if e]), abs=1e-4
    )
    assert any("not equal to their targets" in note for note in found.notes)
    table = found.tables["per_picture"]
    assert [row["picture"] for row in table] == [1, 4, 3, 0, 2]
    assert table[0]["psnr"] == pytest.approx(-20 * math.log10(0.5), abs=1e-4)
    assert table[-1]["psnr"] is None
    chart = found.charts["pictures"]
    assert chart.data["across"] == 2
    titles = [(tile["kind"], tile["title"]) for tile in chart.data["tiles"]]
    assert titles[:2] == [("worst", "target"), ("worst", "mse 0.25")]
    assert [kind for kind, _ in titles[::2]] == ["worst", "2nd worst", "middle", "best"]
    assert np.array_equal(levels(chart.data["tiles"][0]), (255 * pictures[1]).astype("uint8"))


def test_target_and_output_have_one_scale() -> None:
    true = 100 * pictures[..., :1] - 30
    found = evaluation.reconstruction(true, 0.5 * true)
    target, output = found.charts["pictures"].data["tiles"][:2]
    assert np.ptp(levels(output).astype(int)) < 0.6 * np.ptp(levels(target).astype(int))
    assert any("the range of the targets for the peak" in note for note in found.notes)


@pytest.mark.parametrize(("peak", "targets"), [(1, pictures), (2, 2 * pictures - 1), (255, 255 * pictures)])
def test_the_peak_is_that_of_the_targets_kind(peak: float, targets: Any) -> None:
    found = evaluation.reconstruction(targets, targets + 0.01 * peak)
    assert found.metrics["psnr"] == pytest.approx(40, abs=1e-3)
    assert found.notes == ()


def test_flat_pictures_have_the_shape_of_the_inputs() -> None:
    inputs = np.moveaxis(pictures, 3, 1)
    flat = inputs.reshape(5, -1)
    found = evaluation.reconstruction(flat, flat + 0.1, inputs)
    assert found.charts["pictures"].data["across"] == 2, "what is its own target is not shown twice"
    assert found.charts["pictures"].data["tiles"][0]["shape"] == [8, 12, 3]
    noisy = evaluation.reconstruction(flat, flat + 0.1, np.clip(inputs + 0.2, 0, 1))
    assert [tile["title"] for tile in noisy.charts["pictures"].data["tiles"][:2]] == ["input", "target"]


def test_what_is_no_picture_has_no_pictures() -> None:
    series = rng.random((20, 500))
    found = evaluation.reconstruction(series, series + 0.5)
    assert (found.charts, set(found.metrics), set(found.tables)) == ({}, {"mse", "rmse", "mae"}, {"per_row"})
    assert evaluation.are_many(series)
    assert evaluation.are_many(pictures)
    assert evaluation.are_many(rng.random((4, 1, 8, 8)))
    assert not evaluation.are_many(rng.random((20, 50)))
    assert not evaluation.are_many(rng.random(20))


def test_rows_that_are_not_finite_are_left_out() -> None:
    output = outputs.copy()
    output[1, 0, 0, 0] = np.nan
    found = evaluation.reconstruction(pictures, output)
    assert (found.rows, found.metrics["mae"]) == (4, pytest.approx(0.15))
    assert found.tables["per_picture"][0] == {"picture": 1, "psnr": None, "mse": None, "mae": None}
    assert "worst" in {tile["kind"] for tile in found.charts["pictures"].data["tiles"]}
    with pytest.raises(ValueError, match="no row is finite"):
        evaluation.reconstruction(pictures, output * np.nan)


masks = np.zeros((3, 8, 8), dtype="int64")
masks[:, :, 4:] = 1
masks[:, 6:, :] = 2
masks[0, 0, 0] = 255
guesses = masks.copy()
guesses[0, 0, 0] = 1
guesses[1, :6, 4] = 0  # six pixels of class 1
guesses[2, 7, :2] = 1  # two of class 2


def test_masks_are_told_per_class_and_per_picture() -> None:
    found = evaluation.segmentation(masks, guesses, classes=["sky", "tree", "road"], ignored=[255])
    counted = masks != 255
    expected = {}
    for place, name in enumerate(["sky", "tree", "road"]):
        true, guess = (masks == place) & counted, (guesses == place) & counted
        both, either = (true & guess).sum(), (true | guess).sum()
        expected[name] = (both / either, 2 * both / (true.sum() + guess.sum()), true.sum())
    for row in found.tables["per_class"]:
        assert (row["iou"], row["dice"], row["pixels"]) == pytest.approx(expected[row["class"]])
    assert found.metrics["iou_macro"] == pytest.approx(np.mean([one[0] for one in expected.values()]))
    assert found.metrics["dice_macro"] == pytest.approx(np.mean([one[1] for one in expected.values()]))
    assert found.metrics["accuracy"] == pytest.approx(1 - 8 / 191)
    assert [row["picture"] for row in found.tables["per_picture"]] == [1, 2, 0]
    assert found.tables["per_picture"][0]["accuracy"] == pytest.approx(58 / 64)
    assert found.tables["per_picture"][2] == {"picture": 0, "accuracy": 1.0, "iou": 1.0}
    assert any("without the 1 pixels of no class (255)" in note for note in found.notes)
    matrix = found.charts["confusion_matrix"].data["counts"]
    assert np.sum(matrix) == 3 * 64 - 1
    target = levels(found.charts["pictures"].data["tiles"][-2])
    assert target[0, 0].tolist() == [160, 160, 160], "a pixel of no class is grey"


def test_a_mask_of_two_classes_has_numbers_of_the_second() -> None:
    true, guess = (masks == 1).astype(int), (guesses == 1).astype(int)
    found = evaluation.segmentation(true, guess, classes=[0, 1], inputs=rng.random((3, 1, 8, 8)))
    both = (true & guess).sum()
    assert found.metrics["iou"] == pytest.approx(both / (true | guess).sum())
    assert found.metrics["dice"] == pytest.approx(2 * both / (true.sum() + guess.sum()))
    assert "iou_macro" not in found.metrics
    assert found.notes == ("iou and dice are those of class 1",)
    assert [tile["title"] for tile in found.charts["pictures"].data["tiles"][:3]] == [
        "input",
        "target",
        f"{58 / 64:.1%} right",
    ]


@pytest.mark.parametrize(
    ("true", "guess", "said"),
    [
        (masks, guesses, "targets go from 0 to 255, and there are 3 classes"),
        (masks % 3, guesses[:, :4], "y_true has shape"),
        (masks % 3, np.full_like(guesses, 3), "predictions go from 3 to 3, and there are 3 classes"),
    ],
)
def test_masks_that_do_not_go_together(true: Any, guess: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluation.segmentation(true, guess, classes=[0, 1, 2])


def test_the_pictures_can_be_drawn() -> None:
    found = evaluation.segmentation(
        masks, guesses, classes=["sky", "tree", "road"], ignored=[255], inputs=pictures[:3]
    )
    assert figures.render(found.charts["pictures"])


def test_a_mask_of_a_volume_shows_its_layers_below_each_other() -> None:
    true, guess = rng.integers(0, 3, (2, 5, 8, 9)), rng.integers(0, 3, (2, 5, 8, 9))
    found = evaluation.segmentation(true, guess, classes=[0, 1, 2])
    flat = evaluation.segmentation(true.reshape(2, 40, 9), guess.reshape(2, 40, 9), classes=[0, 1, 2])
    assert found.metrics == flat.metrics
    assert levels(found.charts["pictures"].data["tiles"][0]).shape[:2] == (40, 9)


def test_many_pictures_of_many_classes_take_little_memory() -> None:
    true, guess = rng.integers(0, 200, (2, 500, 8, 8))
    tracemalloc.start()
    evaluation.segmentation(true, guess, classes=range(200))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6, "a matrix for each would be 160 MB"
