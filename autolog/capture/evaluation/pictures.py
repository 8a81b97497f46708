"""Predictions that are pictures: what an autoencoder or a denoiser returns, and the masks of a segmentation.

A row of a table is a picture, or a class, and never a pixel. A few pictures are shown: those that were
predicted worst, one in the middle, and the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autolog.capture.evaluation.classes import classification
from autolog.capture.evaluation.inputs import Array, as_array, same_length
from autolog.capture.evaluation.rates import ratio
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.evaluation.samples import SMALLEST_IMAGE, as_images, pixels
from autolog.capture.figures import Chart

MOST_OUTPUTS = 100  # numbers of a row: with more of them it is looked at as a whole
ROWS_AT_ONCE = 64
PALETTE = (  # of classes, as they come; Okabe and Ito's colors, which are told apart by the color-blind, too
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
NOT_COUNTED = (160, 160, 160)


def are_many(y_true: Any) -> bool:
    """Whether a row of amounts has so many numbers that each by itself tells nothing: pictures, series."""
    shape = np.shape(y_true)
    return len(shape) > 1 and (math.prod(shape[1:]) > MOST_OUTPUTS or as_images(y_true) is not None)


def reconstruction(y_true: Any, y_pred: Any, inputs: Any = None) -> Evaluation:
    """Evaluate rows of many numbers: pictures, or what is as large.

    The metrics are `mse`, `rmse` and `mae` of all numbers, and of pictures `psnr`, the mean of their
    peak signal-to-noise ratios in dB. The peak is 1 for targets from 0 to 1, 2 from -1 to 1, 255 from 0 to
    255, and else their range. The table `per_picture` (`per_row` of other things) has the errors of each, and
    the chart `pictures` shows a few: what they were made from, the target and the output.

    Args:
        y_true: Targets, shape (n, ...); pictures as (n, height, width), (n, height, width, channels) or
            (n, channels, height, width), or flat where the inputs tell their shape.
        y_pred: Predictions of the same shape, but for axes of length 1.
        inputs: What was predicted from, shape (n, ...). Left out where it is the target.

    Raises:
        ValueError: There is nothing to evaluate, or the shapes differ.
    """
    true, predicted = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    same_length(y_true=true, y_pred=predicted)
    if true.size != predicted.size:
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}; expected the same")
    true = _like_inputs(true, inputs)
    predicted = predicted.reshape(true.shape)
    columns = {"target": true, "output": predicted}
    if inputs is not None and len(inputs) == len(true):
        columns = {"input": inputs, **columns}
    return of_errors(*_errors(true, predicted), columns)


def of_errors(
    squares: Array, absolutes: Array, low: float, high: float, few: Mapping[str, Any]
) -> Evaluation:
    """`reconstruction`, of rows that were too many to be kept.

    Args:
        squares: The mean squared error of each row, shape (n,).
        absolutes: The mean absolute error of each row, shape (n,).
        low, high: The lowest and the highest number of all targets.
        few: `target`, `output` and perhaps `input` of the first rows, or of all.

    Raises:
        ValueError: No row is finite.
    """
    notes: list[str] = []
    finite = np.isfinite(squares)
    if not finite.all():
        notes.append(f"{int((~finite).sum()):,} rows that are not finite were left out")
        if not finite.any():
            raise ValueError("there is nothing to evaluate: no row is finite")
    mse = float(squares[finite].mean())
    metrics = {"mse": mse, "rmse": math.sqrt(mse), "mae": float(absolutes[finite].mean())}
    each: dict[str, Array] = {"mse": squares, "mae": absolutes}
    target = _like_inputs(few["target"], few.get("input"))
    few = {**few, "target": target, "output": few["output"].reshape(target.shape)}
    if _is_same(few.get("input"), target):
        del few["input"]
    are_pictures = as_images(few["target"][:1]) is not None
    within = low, high
    if are_pictures:
        within, is_known = _levels(low, high)
        if not is_known:
            notes.append(f"psnr takes the range of the targets for the peak: {within[1] - within[0]:.4g}")
        with np.errstate(divide="ignore", invalid="ignore"):
            each = {"psnr": 10 * np.log10((within[1] - within[0]) ** 2 / squares), **each}
        told = each["psnr"][np.isfinite(each["psnr"])]
        if len(told):
            metrics["psnr"] = float(told.mean())
        if len(told) < finite.sum():
            notes.append("psnr is the mean over the pictures that are not equal to their targets")
    name = "picture" if are_pictures else "row"
    order = np.argsort(-np.where(finite, squares, np.inf), kind="stable")
    table = [{name: int(row), **{key: _plain(values[row]) for key, values in each.items()}} for row in order]
    charts = {}
    if are_pictures:
        captions = [f"mse {square:.3g}" for square in squares]
        shown = order[np.isfinite(squares[order]) & (order < len(few["target"]))]
        charts["pictures"] = _shown(few, shown, captions, within)
        if len(few["target"]) < len(squares):
            notes.append(f"pictures show the first {len(few['target'])}: not all are kept")
    return Evaluation("regression", int(finite.sum()), metrics, {f"per_{name}": table}, charts, tuple(notes))


def segmentation(
    y_true: Any, y_pred: Any, *, classes: Sequence[Any], ignored: Sequence[int] = (), inputs: Any = None
) -> Evaluation:
    """Evaluate masks: a class for each pixel.

    Of two classes `iou` and `dice` are those of the second one; of more `iou_macro` and `dice_macro` are the
    means over the classes that occur. (Dice is what is called F1 elsewhere.) `accuracy` is that of the
    pixels. The table `per_class` has both of each class, `per_picture` the accuracy and the mean IoU of each
    picture, and the chart `pictures` shows a few.

    Args:
        y_true: The class of each pixel, whole numbers from 0 on, shape (n, height, width); of a volume
            (n, depth, height, width), whose layers are shown one below the other.
        y_pred: The same as predicted.
        classes: Their names, shape (k,).
        ignored: Numbers in the targets that are no class: these pixels count nowhere.
        inputs: What was predicted from, shape (n, ...).

    Raises:
        ValueError: There is nothing to evaluate, the shapes differ, or a number is no class.
    """
    true, predicted = as_array(y_true, "y_true"), as_array(y_pred, "y_pred")
    same_length(y_true=true, y_pred=predicted)
    if true.shape != predicted.shape or true.ndim < 3:
        raise ValueError(f"y_true has shape {true.shape} and y_pred {predicted.shape}, not both (n, h, w)")
    k = len(classes)
    true, predicted = as_flat(true), as_flat(predicted)
    counts, sums = np.zeros((k, k), "int64"), np.zeros((len(true), 3, k), "int64")
    for row, pair in enumerate(zip(true, predicted, strict=True)):
        of_one = _counts(*pair, k, ignored)  # k times k: those of many pictures may be too many to be kept
        counts += of_one
        sums[row] = of_one.diagonal(), of_one.sum(0), of_one.sum(1)
    columns: dict[str, Any] = {"target": true, "output": predicted}
    if inputs is not None and len(inputs) == len(true):
        columns = {"input": inputs, **columns}
    result = of_pixels(counts, classes, few=columns, ignored=ignored)
    overlaps, _ = _overlaps(*sums.swapaxes(0, 1))
    pixels_of = sums[:, 2].sum(1)
    shares = ratio(sums[:, 0].sum(1).astype(float), pixels_of.astype(float))
    counted = pixels_of > 0
    order = np.argsort(shares, kind="stable")
    order = order[counted[order]]
    table = [
        {"picture": int(row), "accuracy": float(shares[row]), "iou": _plain(overlaps[row])} for row in order
    ]
    notes = list(result.notes)
    if ignored:
        left_out = int(np.isin(true, list(ignored)).sum())
        notes.append(f"without the {left_out:,} pixels of no class ({', '.join(map(str, ignored))})")
    return replace(result, tables={**result.tables, "per_picture": table}, notes=tuple(notes))


def of_pixels(
    counts: Any, classes: Sequence[Any], *, few: Mapping[str, Any], ignored: Sequence[int] = ()
) -> Evaluation:
    """What `segmentation` says of all pixels together, from how often which class was taken for which.

    Args:
        counts: Shape (k, k), the true classes by row.
        classes: Their names, shape (k,).
        few: `target`, `output` and perhaps `input` of the first rows, or of all.
        ignored: Numbers in the targets that are no class.

    Raises:
        ValueError: Nothing was counted.
    """
    counts = np.asarray(counts)
    labels = np.arange(len(classes))
    truth, guesses = (part.reshape(-1) for part in np.indices(counts.shape))
    found = classification(
        labels[truth], labels[guesses], classes=list(classes), sample_weight=counts.reshape(-1)
    )
    _, (iou, dice) = _overlaps(counts.diagonal()[None], counts.sum(0)[None], counts.sum(1)[None])
    occurs = (counts.sum(0) + counts.sum(1)) > 0
    metrics = {"accuracy": found.metrics["accuracy"], "balanced_accuracy": found.metrics["balanced_accuracy"]}
    notes = [note for note in found.notes if not note.startswith("precision")]  # which are not told
    if len(classes) == 2:
        notes.append(f"iou and dice are those of class {classes[1]}")
        metrics |= {"iou": float(iou[0, 1]), "dice": float(dice[0, 1])}
    else:
        metrics |= {"iou_macro": float(iou[0, occurs].mean()), "dice_macro": float(dice[0, occurs].mean())}
    per_class = [
        {
            "class": str(name),
            "iou": float(iou[0, place]),
            "dice": float(dice[0, place]),
            "pixels": int(counts[place].sum()),
        }
        for place, name in enumerate(classes)
        if occurs[place]
    ]
    tables = {"confusion_matrix": found.tables["confusion_matrix"], "per_class": per_class}
    charts = {"confusion_matrix": found.charts["confusion_matrix"]}
    if few and min(as_flat(few["target"]).shape[1:]) >= SMALLEST_IMAGE:
        true, predicted = as_flat(few["target"]), as_flat(few["output"])
        counted: Any = ~np.isin(true, list(ignored))
        shares = ratio(
            ((true == predicted) & counted).sum((1, 2)).astype(float), counted.sum((1, 2)).astype(float)
        )
        order = np.argsort(shares, kind="stable")
        captions = [f"{share:.1%} right" for share in shares]
        columns = {**few, "target": _Masks(true, ignored), "output": _Masks(predicted, ())}
        charts["pictures"] = _shown(columns, order[counted.any(axis=(1, 2))[order]], captions)
    return Evaluation("classification", int(counts.sum()), metrics, tables, charts, tuple(notes))


def of_labels(counts: Any, labels: Sequence[Any]) -> Evaluation:
    """Evaluate masks of several labels, of which a pixel may have many, or none.

    The metrics are `accuracy`, of pixels and labels, and the means `iou_macro` and `dice_macro` over the
    labels that occur; the table `per_class` has those of each.

    Args:
        counts: Of each label how often it was there and was predicted, shape (k, 2, 2), the truth by row.
        labels: Their names, shape (k,).

    Raises:
        ValueError: Nothing was counted.
    """
    counts = np.asarray(counts)
    if not counts.sum():
        raise ValueError("there is nothing to evaluate: no pixel counts")
    hits, guessed, there = counts[:, 1, 1], counts[:, :, 1].sum(1), counts[:, 1].sum(1)
    _, (iou, dice) = _overlaps(hits[None], guessed[None], there[None])
    occurs = guessed + there > 0
    metrics = {"accuracy": float((counts[:, 0, 0] + hits).sum() / counts.sum())}
    if occurs.any():
        metrics |= {"iou_macro": float(iou[0, occurs].mean()), "dice_macro": float(dice[0, occurs].mean())}
    per_class = [
        {"class": str(name), "iou": float(iou[0, at]), "dice": float(dice[0, at]), "pixels": int(there[at])}
        for at, name in enumerate(labels)
        if occurs[at]
    ]
    return Evaluation("classification", int(counts.sum()), metrics, {"per_class": per_class}, {}, ())


# Numbers ----------------------------------------------------------------------------------------------


def as_flat(masks: Any) -> Array:
    """Volumes as pictures: their layers one below the other."""
    flat: Array = np.asarray(masks)
    return flat.reshape(len(flat), -1, flat.shape[-1]) if flat.ndim > 3 and len(flat) else flat


def _like_inputs(true: Array, inputs: Any) -> Array:
    """Flat pictures in the shape of the inputs, if these are pictures of as many numbers."""
    shape = np.shape(inputs) if inputs is not None else ()
    if true.ndim == 2 and len(shape) > 2 and math.prod(shape[1:]) == true.shape[1]:
        return true.reshape(len(true), *shape[1:])
    return true


def _errors(true: Array, predicted: Array) -> tuple[Array, Array, float, float]:
    """Of each row the mean squared and absolute error; the targets' lowest and highest number."""
    squares, absolutes = np.empty(len(true)), np.empty(len(true))
    low, high = math.inf, -math.inf
    for start in range(0, len(true), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        given = true[part].astype("float64").reshape(len(true[part]), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            error = given - predicted[part].astype("float64").reshape(len(given), -1)
            squares[part], absolutes[part] = (error * error).mean(1), np.abs(error).mean(1)
        known = given[np.isfinite(given)]
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    return squares, absolutes, low, high


def _levels(low: float, high: float) -> tuple[tuple[float, float], bool]:
    """Black and white of pictures with these lowest and highest numbers, and whether they are usual ones."""
    for usual in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if usual[0] <= low and high <= usual[1]:
            return usual, True
    return (low, high), False


def _counts(true: Array, predicted: Array, k: int, ignored: Sequence[int]) -> Array:
    truth, guesses = true.reshape(-1).astype("int64"), predicted.reshape(-1).astype("int64")
    if ignored:
        counted = ~np.isin(truth, list(ignored))
        truth, guesses = truth[counted], guesses[counted]
    for what, values in (("targets", truth), ("predictions", guesses)):
        if values.size and (values.min() < 0 or values.max() >= k):
            raise ValueError(
                f"{what} go from {values.min()} to {values.max()}, and there are {k} classes: 0 to {k - 1}"
            )
    return np.bincount(truth * k + guesses, minlength=k * k).reshape(k, k)


def _overlaps(hits: Array, guessed: Array, there: Array) -> tuple[Array, tuple[Array, Array]]:
    """Of each row the mean IoU over the classes that occur; and of each class IoU and Dice.

    Args:
        hits, guessed, there: Pixels of each class that were found, that were guessed, and that there are,
            shape (n, k).
    """
    hits, both = hits.astype(float), guessed + there
    iou, dice = ratio(hits, both - hits), ratio(2 * hits, both.astype(float))
    occurs = both > 0
    return ratio((iou * occurs).sum(1), occurs.sum(1).astype(float)), (iou, dice)


def _plain(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _is_same(inputs: Any, true: Array) -> bool:
    return np.shape(inputs) == true.shape and bool(np.array_equal(np.asarray(inputs), true))


# Pictures -------------------------------------------------------------------------------------------


def _shown(
    columns: Mapping[str, Any],
    order: Array,
    captions: Sequence[str],
    within: tuple[float, float] | None = None,
) -> Chart:
    """A line for each of a few pictures, of which the worst come first in this order.

    Args:
        columns: By their names, shape (n, ...) each.
        order: The rows.
        captions: Of each row, shape (n,).
        within: Black and white of targets and outputs: one that stretched itself would look like the other.
    """
    places = {"worst": 0, "2nd worst": 1, "middle": len(order) // 2, "best": len(order) - 1}
    chosen: dict[int, str] = {}
    for kind, place in places.items():
        if place < len(order):
            chosen.setdefault(int(order[place]), kind)
    tiles = []
    for row, kind in chosen.items():
        for name, values in columns.items():
            images = as_images(np.asarray(values[row : row + 1]))
            if images is None:  # an input that is no picture
                continue
            title = captions[row] if name == "output" else name
            levels = pixels(images[0], None if name == "input" else within)
            tiles.append({"title": title, "kind": kind, **levels})
    names = ", ".join(columns)
    return Chart("images", f"Worst to best: {names}", {"tiles": tiles, "across": len(columns)})


class _Masks:
    """Masks that are colored when they are looked at, a few of many."""

    def __init__(self, masks: Array, ignored: Sequence[int]):
        self._masks, self._ignored = masks, list(ignored)

    def __getitem__(self, rows: slice) -> Array:
        masks = self._masks[rows]
        colors = np.asarray(PALETTE, dtype="uint8")[masks.astype("int64") % len(PALETTE)]
        colors[np.isin(masks, self._ignored)] = NOT_COUNTED
        return np.asarray(colors)
