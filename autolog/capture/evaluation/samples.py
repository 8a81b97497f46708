"""The best and worst predictions beside what they were made from: columns, text, images."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np

from autolog.capture import datasets
from autolog.capture.evaluation.inputs import Array
from autolog.capture.evaluation.result import Evaluation
from autolog.capture.figures import Chart

MOST_PIXELS = 96  # of a side: larger images are thinned out
MOST_LEVELS_STRETCHED = 32  # scikit-learn's digits have 17 levels: as they are they would be black
SMALLEST_IMAGE = 8  # pixels of a side: what is narrower is a table


def with_inputs(result: Evaluation, chosen: Any) -> Evaluation:
    """Add the inputs of `result.samples` to the table `best_and_worst`; images become a chart.

    Args:
        result: An evaluation of one output.
        chosen: The inputs of these samples only, in their order: rows of a table, texts, or images of
            shape (k, height, width), (k, height, width, channels) or (k, channels, height, width).
    """
    rows = result.tables.get("best_and_worst")
    if not rows:
        return result
    images = as_images(chosen)
    if images is not None:
        tiles = [
            {"title": _title(row), "kind": row["kind"], **pixels(image)}
            for row, image in zip(rows, images, strict=False)
        ]
        chart = Chart(
            "images", "Worst and best predictions: true → predicted (probability)", {"tiles": tiles}
        )
        return replace(result, charts={**result.charts, "best_and_worst_images": chart})
    inputs = datasets.rows(chosen, len(rows))
    beside = [
        {**row, **{f"input {key}" if key in row else key: cell for key, cell in given.items()}}
        for row, given in zip(rows, inputs, strict=False)
    ]
    return replace(result, tables={**result.tables, "best_and_worst": beside or rows})


def as_images(values: Any) -> Array | None:
    """Images of shape (k, height, width) or (k, height, width, channels), or None if these are none."""
    shape = getattr(values, "shape", None)
    if shape is None or len(shape) not in (3, 4):
        return None
    images: Array = np.asarray(values)
    if images.dtype.kind not in "fiub":
        return None
    if images.ndim == 4 and images.shape[-1] not in (1, 3, 4):
        if images.shape[1] not in (1, 3, 4):
            return None
        images = np.moveaxis(images, 1, -1)
    if images.ndim == 3 and images.shape[1] != images.shape[2]:
        return None  # a series more likely
    if min(images.shape[1:3]) < SMALLEST_IMAGE:
        return None
    return images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images


def _title(row: dict[str, Any]) -> str:
    title = f"{row['true']} → {row['predicted']}"
    return f"{title} ({row['confidence']:.0%})" if "confidence" in row else title


def pixels(image: Array, within: tuple[float, float] | None = None) -> dict[str, Any]:
    """An image as bytes that JSON holds.

    Args:
        image: Shape (height, width) or (height, width, channels).
        within: The numbers that are black and white. None: 0 and 1, or 0 and 255; of another range its ends.
    """
    step = max(1, -(-max(image.shape[:2]) // MOST_PIXELS))
    image = image[::step, ::step].astype("float32")
    low, high = within or _range(float(np.nanmin(image)), float(np.nanmax(image)))
    image = (image - low) / ((high - low) or 1)
    levels = np.nan_to_num(255 * image).clip(0, 255).astype("uint8")
    return {"shape": list(levels.shape), "pixels": base64.b64encode(levels.tobytes()).decode()}


def _range(low: float, high: float) -> tuple[float, float]:
    if low < 0 or high > 255 or 1 < high < MOST_LEVELS_STRETCHED:
        return low, high
    return (0, 255) if high > 1 else (0, 1)
