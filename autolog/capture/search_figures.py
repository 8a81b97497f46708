"""How the pictures of a search for hyperparameters are drawn; what is in them, see :class:`Chart`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from autolog.capture import canvas
from autolog.capture.chart import Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STATES = {"complete": "#1f6feb", "pruned": "#d9480f", "failed": "#c2255c", "running": "#9aa5b1"}
_SCALE = "viridis"


def traces(chart: Chart) -> Figure:
    """Points and lines over one another."""
    data = chart.data
    figure, axes = canvas.new(chart.title, 6.4, 4.6)
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    named = 0
    for series in data["series"]:
        color = (
            series.get("color") or _STATES.get(series["name"]) or canvas.COLORS[named % len(canvas.COLORS)]
        )
        named += bool(series["name"])
        name, style = canvas.short(str(series["name"]), 40) or None, series.get("style", "points")
        if style == "points":
            size = 10 if len(series["x"]) > 300 else 20
            axes.scatter(series["x"], series["y"], s=size, alpha=0.55, color=color, linewidths=0, label=name)
        else:
            axes.plot(
                series["x"],
                series["y"],
                drawstyle="steps-post" if style == "steps" else "default",
                color=color,
                linewidth=series.get("width", 1.8),
                alpha=series.get("alpha", 1.0),
                marker="o" if len(series["x"]) == 1 else None,
                markersize=4,
                label=name,
            )
    if named:
        place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 4}
        legend = axes.legend(frameon=False, fontsize=8.5, labelcolor=canvas.INK, **place)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    canvas.label(axes, data["x_label"], data["y_label"])
    return figure


def parallel(chart: Chart) -> Figure:
    """A vertical axis per parameter, a line per trial, the best on top."""
    import numpy as np
    from matplotlib.collections import LineCollection

    data = chart.data
    axes_of: list[dict[str, Any]] = data["axes"]
    figure, axes = canvas.new(chart.title, max(6.0, 1.7 * len(axes_of)), 4.8)
    colors = np.asarray(data["colors"], dtype=float)
    high = data.get("high_is_best", False)
    order = np.argsort(colors if high else -colors)  # the best are drawn last, and darkest
    lines = [[(x, y) for x, y in enumerate(data["lines"][n]) if y is not None] for n in order]
    collection = LineCollection(lines, cmap=f"{_SCALE}_r" if high else _SCALE, linewidths=1.1, alpha=0.6)
    collection.set_array(colors[order])
    axes.add_collection(collection)
    for place, one in enumerate(axes_of):
        axes.axvline(place, color=canvas.FAINT, linewidth=1)
        for y, text in one["ticks"]:
            box = {"facecolor": "white", "alpha": 0.9, "edgecolor": "none", "pad": 0.8}
            axes.text(
                place + 0.03, y, canvas.plain(text), fontsize=8, color=canvas.INK, va="center", bbox=box
            )
    axes.set_xlim(-0.05, len(axes_of) - 0.6)
    axes.set_ylim(-0.06, 1.06)
    names = [canvas.short(str(one["name"])) for one in axes_of]
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) < 6 else 20, ha="center")
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    _bar(figure, collection, axes, data["color_label"])
    return figure


def panels(chart: Chart) -> Figure:
    """The same values over each parameter, in one panel each."""
    from matplotlib.ticker import MaxNLocator

    data = chart.data
    several: list[dict[str, Any]] = data["panels"]
    across = min(2, len(several))  # three would be too small in the dashboard's card
    down = -(-len(several) // across)
    width, height = 2.65 * across + 0.9, 2.25 * down + 0.5
    figure, whole = canvas.new(chart.title, width, height)
    whole.set_axis_off()
    whole.set_position((0, 0, 1, 1 - 0.5 / height))
    drawn = None
    for number, panel in enumerate(several):
        line, column = divmod(number, across)
        left, bottom = 0.75 + 2.65 * column, height - 0.5 - 2.25 * (line + 1) + 0.55
        axes = figure.add_axes((left / width, bottom / height, 2.0 / width, 1.6 / height))
        _plain_axes(axes)
        if panel.get("log"):
            _logarithmic(axes, "x", panel["x"])
        drawn = axes.scatter(
            panel["x"],
            panel["y"],
            c=panel["colors"],
            cmap="Blues",
            vmin=-0.3 * max(panel["colors"], default=1),
            s=14,
            edgecolors="#495057",
            linewidths=0.3,
        )
        if "ticks" in panel:
            ticks = [canvas.short(str(tick), 12) for tick in panel["ticks"]]
            axes.set_xticks(range(len(ticks)), ticks, rotation=25 if len(ticks) > 3 else 0, fontsize=8)
        axes.set_xlabel(canvas.short(str(panel["name"]), 30), color=canvas.INK, fontsize=9)
        if column == 0:
            axes.set_ylabel(canvas.plain(data["y_label"]), color=canvas.INK, fontsize=9)
    if drawn is not None:
        place = figure.add_axes(((width - 0.35) / width, 0.25, 0.12 / width, 0.5))
        bar = canvas.color_bar(figure, drawn, canvas.plain(data["color_label"]), cax=place)
        bar.ax.set_ylim(bottom=0)  # below it there are only colours too pale to be seen
        bar.ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def timeline(chart: Chart) -> Figure:
    """When each trial ran, and how it ended."""
    from matplotlib.patches import Patch

    data = chart.data
    figure, axes = canvas.new(chart.title, 6.8, 4.4)
    numbers, states = data["numbers"], data["states"]
    lengths = [end - start for start, end in zip(data["starts"], data["ends"], strict=True)]
    axes.barh(
        numbers, lengths, left=data["starts"], height=0.8, color=[_STATES.get(s, "#9aa5b1") for s in states]
    )
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    handles = [Patch(color=color, label=state) for state, color in _STATES.items() if state in states]
    place: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 4}
    axes.legend(handles=handles, frameon=False, fontsize=8.5, labelcolor=canvas.INK, **place)
    canvas.label(axes, data["x_label"], "Trial")
    return figure


def contour(chart: Chart) -> Figure:
    """A value over two parameters: the trials, and what lies between them."""
    import numpy as np
    from matplotlib.tri import Triangulation

    data = chart.data
    figure, axes = canvas.new(chart.title, 6.0, 4.6)
    values = [np.asarray(data[axis], dtype=float) for axis in ("x", "y", "z")]
    x, y, z = values
    for name in ("x", "y"):
        if data.get(f"{name}_log"):
            _logarithmic(axes, name, data[name])
    # Between points that lie on a line there is no area.
    flat = [np.log(v) if data.get(f"{name}_log") else v for name, v in (("x", x), ("y", y))]
    spans = [(v - v.min()) / (np.ptp(v) or 1.0) for v in flat]
    points = np.unique(np.column_stack(spans), axis=0)
    area = len(points) > 3 and np.linalg.matrix_rank(points - points[0], tol=1e-6) == 2
    if area:
        try:
            triangles = Triangulation(*spans).triangles
            axes.tricontourf(Triangulation(x, y, triangles), z, levels=12, cmap=_SCALE, alpha=0.75)
        except (ValueError, RuntimeError):  # points that lie too close: they stand alone
            pass
    drawn = axes.scatter(x, y, c=z, cmap=_SCALE, s=22, edgecolors="#1f2933", linewidths=0.5, clip_on=False)
    for name in ("x", "y"):
        if ticks := data.get(f"{name}_ticks"):
            set_ticks = axes.set_xticks if name == "x" else axes.set_yticks
            set_ticks(range(len(ticks)), [canvas.short(str(tick), 14) for tick in ticks])
    canvas.label(axes, data["x_label"], data["y_label"])
    _bar(figure, drawn, axes, data["color_label"])
    return figure


def _bar(figure: Figure, drawn: Any, axes: Axes, label: str) -> None:
    canvas.color_bar(figure, drawn, canvas.plain(label), ax=axes, fraction=0.046, pad=0.03)


def _logarithmic(axes: Axes, name: str, values: list[float]) -> None:
    """With three numbers along it: matplotlib's own run into each other where there are few decades."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = axes.xaxis if name == "x" else axes.yaxis
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    low, high = math.log(min(values)), math.log(max(values))
    axis.set_major_locator(FixedLocator([math.exp(place) for place in (low, (low + high) / 2, high)]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _plain_axes(axes: Axes) -> None:
    axes.tick_params(colors=canvas.INK, labelsize=8, length=3)
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(canvas.FAINT)
