"""Lines as SVG that stands in a page: no script, the page's own colours, light and dark."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from autolog.review.series import Series

__all__ = ["lines", "sparkline"]

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 10, 26
MOST_POINTS = 400
_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve as one line of text. A value that is no number is a gap."""
    if len(values) > width:  # the last of each part
        values = [values[round((n + 1) * len(values) / width) - 1] for n in range(width)]
    numbers = [value for value in values if math.isfinite(value)]
    if not numbers:
        return ""
    low, high = min(numbers), max(numbers)
    if low == high:
        return "".join(_BARS[3] if math.isfinite(value) else " " for value in values)
    return "".join(
        _BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] if math.isfinite(value) else " "
        for value in values
    )


def lines(title: str, drawn: Sequence[tuple[str, Series]]) -> str:
    """A chart of several series over their steps, with a legend below it."""
    points = {label: _thinned(series) for label, series in drawn}
    every = [point for line in points.values() for point in line]
    if not every:
        return ""
    x = _Axis(min(p[0] for p in every), max(p[0] for p in every), LEFT, WIDTH - RIGHT)
    y = _Axis(min(p[1] for p in every), max(p[1] for p in every), HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    for value in y.ticks(4):
        at = y.at(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    for value in x.ticks(5):
        parts.append(
            f'<text x="{x.at(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_short(value)}</text>'
        )
    for number, line in enumerate(points.values()):
        told = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in line)
        parts.append(f'<polyline class="s{number % 6}" points="{told}"/>')
    parts.append("</svg>")
    legend = "".join(
        f'<span class="key"><i class="b{number % 6}"></i>{html.escape(label)} {_short(series.last)}</span>'
        for number, (label, series) in enumerate(drawn)
    )
    return f'{"".join(parts)}<div class="legend">{legend}</div>'


class _Axis:
    """From values to places."""

    def __init__(self, low: float, high: float, begin: float, end: float):
        if low == high:
            low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def at(self, value: float) -> float:
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)

    def ticks(self, most: int) -> list[float]:
        """Round numbers between both ends."""
        rough = (self.high - self.low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step = next((size * m for m in (1, 2, 5, 10) if size * m >= rough), size * 10)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _thinned(series: Series) -> list[tuple[float, float]]:
    """At most so many points: of each part the lowest and the highest, so that no peak is lost."""
    points = [(float(step), value) for step, value in series if not math.isinf(value)]
    if len(points) > MOST_POINTS:
        size = math.ceil(len(points) / (MOST_POINTS // 2))
        kept: list[tuple[float, float]] = []
        for begin in range(0, len(points), size):
            part = [point for point in points[begin : begin + size] if not math.isnan(point[1])]
            if part:
                kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
        points = kept
    return [point for point in points if not math.isnan(point[1])]


def _short(value: float) -> str:
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
