"""What all charts are drawn with: colours, a figure to draw on, its labels.

matplotlib is imported with the first figure, not with this module.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"  # letters
FAINT = "#9aa5b1"  # lines that only guide the eye
COLORS = (  # of series, in turn
    "#1f6feb", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c",
    "#0b7285", "#a0660a", "#495057", "#5f3dc4", "#66a80f",
)  # fmt: skip


def new(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with a title, its sides in inches, and the axes to draw on.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("charts need matplotlib: pip install 'trackio-autolog[plots]'") from error
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_subplot(facecolor="white")
    axes.set_title(textwrap.fill(plain(title), 60), color=INK, fontsize=11, pad=10)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FAINT)
    return figure, axes


def label(axes: Axes, x: str, y: str) -> None:
    """Say what the axes show."""
    axes.set_xlabel(plain(x), color=INK, fontsize=10)
    axes.set_ylabel(plain(y), color=INK, fontsize=10)


def short(name: str, width: int = 24) -> str:
    """A name of at most `width` characters: its beginning and its end."""
    if len(name) > width:  # names often differ at their end
        name = f"{name[: width - width // 3 - 1]}…{name[-(width // 3) :]}"
    return plain(name)


def plain(text: str) -> str:
    """Text that XML can hold, and in which a dollar sign does not start a formula."""
    return "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")


def color_bar(figure: Figure, drawn: Any, label: str, **place: Any) -> Any:
    """A bar that tells which value a colour stands for."""
    bar = figure.colorbar(drawn, **place)
    # It is made of 256 rectangles less than a pixel high: the page would shine through between them, and
    # where they overlap, those that are transparent would be darker.
    if bar.solids is not None:
        bar.solids.set(alpha=1, edgecolor="face")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=INK, length=0)
    bar.set_label(label, fontsize=9, color=INK)
    return bar
