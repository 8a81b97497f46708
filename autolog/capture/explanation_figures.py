"""How the pictures that explain a model are drawn; what is in them, see :class:`Chart`."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from autolog.capture import canvas
from autolog.capture.chart import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOW_TO_HIGH = ("#1f6feb", "#9c5fb5", "#d9480f")
_BINS = 60  # across the picture: points of one bin stand over one another


def swarm(chart: Chart) -> Figure:
    """A row of points per feature, coloured by how high the feature's value is."""
    from matplotlib.colors import LinearSegmentedColormap

    data = chart.data
    names = [canvas.short(str(name), 30) for name in data["names"]]
    height = max(2.2, 1.2 + 0.32 * len(names))
    figure, axes = canvas.new(chart.title, 6.4, height)
    colors = LinearSegmentedColormap.from_list("low to high", _LOW_TO_HIGH)
    axes.axvline(0, color=canvas.FAINT, linewidth=0.8)
    everything = [value for values in data["values"] for value in values]
    low, high = min(everything, default=0.0), max(everything, default=1.0)
    drawn = None
    for place, (values, heights) in enumerate(zip(data["values"], data["heights"], strict=True)):
        offsets = _beside_each_other(values, low, high)
        known = [n for n, _ in enumerate(values) if heights is not None and heights[n] is not None]
        others = sorted(set(range(len(values))) - set(known))
        size = 14 if len(values) <= 100 else 8
        if others:
            axes.scatter(
                [values[n] for n in others], [place + offsets[n] for n in others],
                s=size, color=canvas.FAINT, linewidths=0, alpha=0.8,
            )  # fmt: skip
        if known:
            drawn = axes.scatter(
                [values[n] for n in known], [place + offsets[n] for n in known],
                c=[heights[n] for n in known], cmap=colors, vmin=0, vmax=1, s=size, linewidths=0, alpha=0.85,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first name on top
    axes.grid(axis="both", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    canvas.label(axes, data["x_label"], "")
    if drawn is not None:
        bar = canvas.color_bar(figure, drawn, data["color_label"], ax=axes, fraction=0.035, pad=0.03)
        bar.set_ticks([0, 1], labels=["low", "high"])
    return figure


def _beside_each_other(values: list[float], low: float, high: float) -> list[float]:
    """How far above or below its line each point stands, so that dense places are seen to be dense."""
    width = (high - low) / _BINS or 1.0
    counts: dict[int, int] = {}
    offsets = []
    for value in values:
        place = int((value - low) / width)
        number = counts[place] = counts.get(place, -1) + 1
        offsets.append((number + 1) // 2 * (1 if number % 2 else -1))
    widest = max((abs(offset) for offset in offsets), default=0)
    step = min(0.09, 0.38 / widest) if widest else 0.0
    return [offset * step for offset in offsets]


def dependence(chart: Chart) -> Figure:
    """A panel per feature, all of one height: what moves the prediction more is seen to do so."""
    data = chart.data
    several: list[dict[str, Any]] = data["panels"]
    across = min(2, len(several))
    down = -(-len(several) // across)
    names = [str(series["name"]) for series in several[0]["series"] if series["name"]]
    below = 0.1 + 0.22 * math.ceil(len(names) / 3) if names else 0.0
    top = 0.5
    width, height = 2.9 * across + 0.7, 2.35 * down + top + below
    figure, whole = canvas.new(chart.title, width, height)
    whole.set_axis_off()
    whole.set_position((0, 0, 1, 1 - top / height))
    levels = [value for panel in several for series in panel["series"] for value in series["y"]]
    pad = 0.06 * (max(levels) - min(levels)) or 0.5
    first: Axes | None = None
    for number, panel in enumerate(several):
        line, column = divmod(number, across)
        left, bottom = 0.8 + 2.9 * column, height - top - 2.35 * (line + 1) + 0.6
        axes = figure.add_axes((left / width, bottom / height, 2.25 / width, 1.65 / height))
        first = first or axes
        _plain(axes)
        for index, series in enumerate(panel["series"]):
            is_few = "ticks" in panel or len(panel["x"]) < 3
            axes.plot(
                panel["x"],
                series["y"],
                color=canvas.COLORS[index % len(canvas.COLORS)],
                linewidth=1.8,
                marker="o" if is_few else None,
                linestyle=(0, (1.5, 1.5)) if "ticks" in panel else "-",
                markersize=4,
                label=canvas.short(series["name"], 24),
            )
        axes.set_ylim(min(levels) - pad, max(levels) + pad)
        if "ticks" in panel:
            _name_ticks(axes, [str(tick) for tick in panel["ticks"]])
        else:
            axes.locator_params(axis="x", nbins=4)  # more would touch each other
        axes.set_xlabel(canvas.short(str(panel["name"]), 34), color=canvas.INK, fontsize=9)
    # Once for all panels: of each it would be longer than the panel is high.
    middle = (height - top + below) / 2 / height
    label = textwrap.fill(canvas.plain(data["y_label"]), max(24, int(14 * (height - top - below))))
    figure.text(
        0.24 / width, middle, label, rotation=90, ha="center", va="center", color=canvas.INK, fontsize=9
    )
    if names and first is not None:
        handles, labels = first.get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="lower center",
            bbox_to_anchor=(0.5, 0.02),
            ncols=3,
            frameon=False,
            fontsize=8.5,
            labelcolor=canvas.INK,
        )
    return figure


def _name_ticks(axes: Axes, names: list[str]) -> None:
    every = -(-len(names) // 8)
    shown = list(range(0, len(names), every))
    axes.set_xticks(
        shown,
        [canvas.short(names[n], 12) for n in shown],
        rotation=25 if len(shown) > 3 else 0,
        ha="right" if len(shown) > 3 else "center",
        rotation_mode="anchor",
        fontsize=8,
    )


def _plain(axes: Axes) -> None:
    axes.tick_params(colors=canvas.INK, labelsize=8, length=2)
    axes.grid(color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(canvas.FAINT)
