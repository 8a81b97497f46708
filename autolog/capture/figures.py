"""Pictures as text: charts are drawn, and users' figures are converted.

A `Chart` is plain JSON, so it can be written to a journal and rendered in another process.
Only `matplotlib.figure.Figure` is used, never pyplot and never rcParams: both are global, and
rendering happens beside the user's thread.
"""

from __future__ import annotations

import base64
import functools
import io
import math
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from autolog.capture import canvas, explanation_figures, search_figures
from autolog.capture.chart import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Chart", "is_figure", "render", "to_html"]

_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
FAR_AWAY = 10_000.0  # points from a page, where lines are cut off
_BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "ncols": 2}  # a legend


def render(chart: Chart) -> str:
    """Draw a chart as SVG text, starting with `<svg`.

    Raises:
        ValueError: The kind of chart is not known.
        ImportError: matplotlib is not installed.
    """
    draw = _DRAW.get(chart.kind)
    if draw is None:
        raise ValueError(f"unknown kind of chart {chart.kind!r}; known are {', '.join(_DRAW)}")
    return _drawn_once(draw(chart))


def is_figure(value: object) -> bool:
    """Whether :func:`to_html` takes it."""
    kinds = _kinds(value)
    return (
        "plotly.basedatatypes.BaseFigure" in kinds
        or "matplotlib.animation.Animation" in kinds
        or _is_pyplot(value)
        or _owner(value, kinds) is not None
    )


def to_html(figure: object) -> str:
    """A user's figure as text that a browser shows without a network.

    Args:
        figure: A matplotlib figure, anything that belongs to one (axes, seaborn's grids), an animation,
            pyplot itself (its current figure), or a Plotly figure.

    Returns:
        SVG for matplotlib, a whole HTML page with plotly.js inside for Plotly.

    Raises:
        TypeError: For anything else.
    """
    kinds = _kinds(figure)
    if "plotly.basedatatypes.BaseFigure" in kinds:
        return str(figure.to_html(full_html=True, include_plotlyjs=True))  # type: ignore[attr-defined]
    if "matplotlib.animation.Animation" in kinds:
        return str(figure.to_jshtml())  # type: ignore[attr-defined]
    if _is_pyplot(figure):
        return _svg(figure.gcf())  # type: ignore[attr-defined]
    owner = _owner(figure, kinds)
    if owner is not None:
        return _svg(owner)
    kind = type(figure)
    raise TypeError(
        "a figure must be a matplotlib Figure or Axes, or a Plotly Figure, "
        f"not {kind.__module__}.{kind.__qualname__}"
    )


def _kinds(value: object) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__}


def _is_pyplot(value: object) -> bool:
    return value is not None and value is sys.modules.get("matplotlib.pyplot")


def _owner(value: object, kinds: set[str]) -> Figure | None:
    """The matplotlib figure that it is, or belongs to."""
    owner: Any = value if "matplotlib.figure.Figure" in kinds else getattr(value, "figure", None)
    while owner is not None and type(owner).__name__ == "SubFigure":
        owner = owner.figure
    is_matplotlibs = any(kind.__module__ == "matplotlib.figure" for kind in type(owner).__mro__)
    return owner if is_matplotlibs else None


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _drawn_once(figure: Figure) -> str:
    """A figure of ours as SVG, whole. `savefig(bbox_inches="tight")` would draw it twice."""
    figure.dpi = 72
    width, height = (72 * inches for inches in figure.get_size_inches())
    buffer = io.StringIO()
    renderer = _text_renderer()(width, height, buffer, image_dpi=144, metadata={"Date": None})
    figure.draw(renderer)
    renderer.finalize()
    text = buffer.getvalue()
    # The page as wide and high as what stands on it; SVG counts from above.
    box = figure.get_tightbbox(renderer).padded(0.1)
    left, top = 72 * box.x0, height - 72 * box.y1
    page = f"{left:.1f} {top:.1f} {72 * box.width:.1f} {72 * box.height:.1f}"
    size = f'width="{72 * box.width:.1f}pt" height="{72 * box.height:.1f}pt"'
    return re.sub(
        'width=".*?" height=".*?" viewBox=".*?"',
        f'{size} viewBox="{page}"',
        text[text.index("<svg") :],
        count=1,
    )


@functools.cache
def _text_renderer() -> Any:
    """A renderer that leaves letters to the browser, which has fonts for signs that matplotlib's has not.

    matplotlib's own switch for this is an rcParam, and so everybody's.
    """
    from matplotlib import font_manager
    from matplotlib.backends.backend_svg import RendererSVG

    base: Any = RendererSVG

    class TextRenderer(base):  # type: ignore[misc]
        def draw_text(
            self,
            gc: Any,
            x: float,
            y: float,
            s: str,
            prop: Any,
            angle: float,
            ismath: Any = False,
            mtext: Any = None,
        ) -> None:
            self._draw_text_as_text(gc, x, y, s, prop, angle, ismath, mtext)

        def _convert_path(
            self, path: Any, transform: Any = None, clip: Any = None, simplify: Any = None, sketch: Any = None
        ) -> Any:
            # What stands beside the page, as a legend below it, belongs to the picture, too.
            if clip:
                ends = path.get_extents(transform)
                clip = not (abs(ends.min) < FAR_AWAY).all() or not (abs(ends.max) < FAR_AWAY).all()
            return super()._convert_path(path, transform, clip, simplify, sketch)

        def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
            # A sign that the font has not is about as wide as a W. (To measure it would print a warning.)
            font = font_manager.get_font(font_manager.findfont(prop))
            known = "".join(c if font.get_char_index(ord(c)) else "W" for c in s)
            return super().get_text_width_height_descent(known, prop, ismath)

    return TextRenderer


def _count(value: float) -> str:
    """A number in at most five characters: 7, 950, 12.4k, 3.1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (size if letter != "k" else 1e3)
            return f"{scaled:.1f}{letter}" if scaled < 100 else f"{scaled:.0f}{letter}"
    return f"{value:g}" if float(value).is_integer() else f"{value:.3g}"


def _confusion_matrix(chart: Chart) -> Figure:
    names = [canvas.short(str(name)) for name in chart.data["labels"]]
    counts: list[list[float]] = chart.data["counts"]
    k = len(names)
    # Colour is the share of the true class: it is recall on the diagonal, whatever the balance.
    shares = [[n / (sum(row) or 1) for n in row] for row in counts]
    cell = max(0.36, min(0.95, 7.2 / k))
    side = max(2.2, k * cell)
    figure, axes = canvas.new(chart.title, side + 1.6, side + 1.2)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    size = max(5.0, min(11.0, cell * 15))
    for row in range(k):
        for column in range(k):
            if counts[row][column] or k <= 12:
                axes.text(
                    column,
                    row,
                    _count(counts[row][column]),
                    ha="center",
                    va="center",
                    fontsize=size,
                    color="white" if shares[row][column] > 0.6 else canvas.INK,
                )
    fits = max(map(len, names)) * 0.085 < cell
    axes.set_xticks(
        range(k), names, rotation=0 if fits else 45, ha="center" if fits else "right",
        rotation_mode="anchor" if not fits else "default",
    )  # fmt: skip
    axes.set_yticks(range(k), names)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xticks([edge - 0.5 for edge in range(1, k)], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, k)], minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    canvas.label(axes, "Predicted class", "True class")
    canvas.color_bar(figure, image, "Share of the true class", ax=axes, fraction=0.046, pad=0.03)
    return figure


def _curve(chart: Chart) -> Figure:
    data = chart.data
    series: list[dict[str, Any]] = data["series"]
    # A long legend goes below: beside the curves it would leave them half of the dashboard's card. (On the
    # page, since matplotlib leaves out lines that lie beyond it.)
    below = 0.2 * math.ceil(len(series) / 2) if len(series) > 6 else 0.0
    height = 4.6 + below
    figure, axes = canvas.new(chart.title, 5.2, height)
    figure.subplots_adjust(bottom=(0.11 * 4.6 + below) / height, top=1 - 0.12 * 4.6 / height)
    if data.get("diagonal"):
        axes.plot([0, 1], [0, 1], linestyle=(0, (4, 3)), color=canvas.FAINT, linewidth=1)
    for index, line in enumerate(series):
        axes.plot(
            line["x"],
            line["y"],
            label=canvas.short(str(line["name"]), 40),
            color=canvas.COLORS[index % len(canvas.COLORS)],
            linestyle="-" if index < len(canvas.COLORS) else "--",
            linewidth=1.8,
            marker="o" if data.get("markers") or len(line["x"]) == 1 else None,
            markersize=4,
        )
    if "x_range" in data:
        axes.set_xlim(*_padded(data["x_range"]))
    if "y_range" in data:
        axes.set_ylim(*_padded(data["y_range"]))
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    if any(line["name"] for line in series):
        place: dict[str, Any] = _BELOW if below else {"loc": "best"}
        axes.legend(frameon=False, fontsize=8.5, labelcolor=canvas.INK, **place)
    canvas.label(axes, data["x_label"], data["y_label"])
    return figure


def _scatter(chart: Chart) -> Figure:
    data = chart.data
    figure, axes = canvas.new(chart.title, 5.2, 4.6)
    axes.grid(color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    dense = len(data["x"]) > 300
    axes.scatter(data["x"], data["y"], s=9 if dense else 18, alpha=0.45, color=canvas.COLORS[0], linewidths=0)
    if data.get("zero_line"):
        axes.axhline(0, color=canvas.COLORS[1], linewidth=1.2)
    if data.get("diagonal"):
        both = [value for value in (*data["x"], *data["y"]) if math.isfinite(value)]
        ends = (min(both, default=0), max(both, default=1))
        axes.plot(ends, ends, color=canvas.COLORS[1], linewidth=1.2)
    canvas.label(axes, data["x_label"], data["y_label"])
    return figure


def _bars(chart: Chart) -> Figure:
    data = chart.data
    names = [canvas.short(str(name), 36) for name in data["names"]]
    figure, axes = canvas.new(chart.title, 6.0, max(1.8, 0.9 + 0.26 * len(names)))
    places = range(len(names))
    axes.barh(
        places,
        data["values"],
        xerr=data.get("errors"),
        color=canvas.COLORS[0],
        ecolor=canvas.INK,
        error_kw={"linewidth": 1},
        height=0.7,
    )
    axes.set_yticks(places, names)
    axes.invert_yaxis()  # the first name on top
    axes.axvline(0, color=canvas.FAINT, linewidth=0.8)
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    canvas.label(axes, data["x_label"], data.get("y_label", ""))
    return figure


def _histogram(chart: Chart) -> Figure:
    data = chart.data
    edges: list[float] = data["edges"]
    figure, axes = canvas.new(chart.title, 5.2, 4.6)
    from matplotlib.patches import Patch  # `canvas.new` says it if there is none

    legend = []
    for index, series in enumerate(data["series"]):
        counts: list[float] = series["counts"]
        total = (sum(counts) or 1) if data.get("shares") else 1
        heights = [count / total for count in counts]
        color = canvas.COLORS[index % len(canvas.COLORS)]
        # The outline is what tells series apart where they lie over each other.
        line: dict[str, Any] = {"linewidth": 1.6, "linestyle": _DASHES[index % len(_DASHES)]}
        axes.stairs(heights, edges, fill=True, facecolor=(color, 0.25), linewidth=0)
        axes.stairs(heights, edges, edgecolor=color, **line)
        name = canvas.short(str(series["name"]), 40)
        legend.append(Patch(facecolor=(color, 0.25), edgecolor=color, label=name, **line))
    axes.set_xlim(*_padded((edges[0], edges[-1])))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    if any(series["name"] for series in data["series"]):
        # Below, since steps may fill any corner.
        axes.legend(handles=legend, frameon=False, fontsize=8.5, labelcolor=canvas.INK, **_BELOW)
    canvas.label(axes, data["x_label"], data["y_label"])
    return figure


def _images(chart: Chart) -> Figure:
    import numpy as np

    tiles: list[dict[str, Any]] = chart.data["tiles"]
    across = chart.data.get("across", 5)
    kinds = list(dict.fromkeys(tile["kind"] for tile in tiles))  # each begins a line of its own
    lines = [
        (kind, of_kind[start : start + across])
        for kind in kinds
        for of_kind in [[tile for tile in tiles if tile["kind"] == kind]]
        for start in range(0, len(of_kind), across)
    ]
    figure, axes = canvas.new(chart.title, 1.5 * across, 1.75 * len(lines) + 0.6)
    axes.set_axis_off()
    below = 1 - 0.6 / (1.75 * len(lines) + 0.6)
    axes.set_position((0, 0, 0.99, below))  # its title stands above all of them
    for line, (kind, shown) in enumerate(lines):
        for place, tile in enumerate(shown):
            height = below / len(lines)
            box = (place / across, below - (line + 1) * height, 0.94 / across, 0.8 * height)
            part = figure.add_axes(box)
            levels = np.frombuffer(base64.b64decode(tile["pixels"]), "uint8").reshape(tile["shape"])
            part.imshow(levels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            part.set_axis_off()
            part.set_title(f"{kind}: {canvas.short(tile['title'])}", fontsize=8, color=canvas.INK, pad=3)
    return figure


def _padded(ends: tuple[float, float]) -> tuple[float, float]:
    pad = 0.02 * (ends[1] - ends[0])
    return ends[0] - pad, ends[1] + pad


_DRAW: dict[str, Callable[[Chart], Figure]] = {
    "confusion_matrix": _confusion_matrix,
    "curve": _curve,
    "scatter": _scatter,
    "bars": _bars,
    "histogram": _histogram,
    "images": _images,
    "traces": search_figures.traces,
    "parallel": search_figures.parallel,
    "panels": search_figures.panels,
    "timeline": search_figures.timeline,
    "contour": search_figures.contour,
    "swarm": explanation_figures.swarm,
    "dependence": explanation_figures.dependence,
}
