"""A chart as data, which can be kept and rendered later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autolog.process.imports import is_installed

__all__ = ["NO_PICTURES", "Chart", "can_be_drawn"]

NO_PICTURES = "matplotlib is not installed. Run: pip install 'trackio-autolog[plots]'"


_can_be_drawn = False


def can_be_drawn() -> bool:
    """Whether what draws charts is installed; nothing is imported for that."""
    global _can_be_drawn
    if not _can_be_drawn:  # a search of all folders; what is missing may still be installed
        _can_be_drawn = is_installed("matplotlib")
    return _can_be_drawn


@dataclass(frozen=True)
class Chart:
    """One picture as data.

    `kind` says how `data` reads:

    - `confusion_matrix`: `labels` (k names), `counts` (k rows of k numbers, true by predicted);
    - `curve`: `series` (each `name`, `x`, `y`), `x_label`, `y_label`, and optionally `diagonal`,
      `markers`, `x_range`, `y_range`;
    - `scatter`: `x`, `y`, `x_label`, `y_label`, and optionally `diagonal`, `zero_line`;
    - `bars`: `names`, `values`, `x_label`, and optionally `errors`;
    - `histogram`: `edges` (b + 1 numbers, ascending), `series` (each `name` and b `counts`), `x_label`,
      `y_label`, and optionally `shares`: each series is drawn as shares of its own total, so that a few
      rows can be read beside many;
    - `images`: `tiles` (each `title`, `kind`, `shape` (height, width) or with channels, and `pixels`, 8 bits
      each, row by row, in base64), and optionally `across`: how many stand beside each other;
    - `traces`: `series` (each `name`, `x`, `y`, and optionally `style`: `points`, `line` or `steps`, `color`,
      `width`, `alpha`), `x_label`, `y_label`;
    - `parallel`: `axes` (each `name` and `ticks`, pairs of a height from 0 to 1 and a text), `lines` (of a
      height or None per axis), `colors` (a number per line), `color_label`, and optionally `high_is_best`:
      the best line is drawn on top;
    - `panels`: `panels` (each `name`, `x`, `y`, `colors`, and optionally `log`, or `ticks`: names of 0, 1,
      ...), `y_label`, `color_label`;
    - `timeline`: `numbers`, `starts`, `ends`, `states`, `x_label`;
    - `contour`: `x`, `y`, `z`, `x_label`, `y_label`, `color_label`, and optionally `x_log`, `y_log`,
      `x_ticks`, `y_ticks`;
    - `swarm`: `names`, `values` (of each name a list of numbers), `heights` (of each name, for each of its
      values, 0 to 1, or None; or None for all), `x_label`, `color_label`;
    - `dependence`: `panels` (each `name`, `x`, `series` (each `name` and `y`), and optionally `ticks`: names
      of 0, 1, ...), `y_label`.
    """

    kind: str
    title: str
    data: dict[str, Any]
