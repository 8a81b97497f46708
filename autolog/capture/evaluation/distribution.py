"""How values are spread, as a histogram whose bins follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.capture.evaluation.inputs import Array
from autolog.capture.figures import Chart

_BINS = 40  # at most
_TAILS = (0.005, 0.995)  # quantiles where an axis ends that outliers would stretch ...
_STRETCHED = 2  # ... to more than this many times the length
_FEW = 20  # values have no outliers
_OUTER = "the outer bins hold what lies beyond"


def histogram(
    title: str,
    series: dict[str, Array],
    x_label: str,
    *,
    weights: dict[str, Array] | None = None,
    edges: Array | None = None,
    shares: bool = False,
) -> Chart | None:
    """Values of one kind or several in the same bins.

    Args:
        title: What the chart is called.
        series: The values of each by its name, shape (n,). NaN is left out; infinities are in the outer bins.
        x_label: What the values are.
        weights: The weights of each, shapes as in `series`; each value counts once when None.
        edges: Ascending, equally far apart; found from all values when None.
        shares: Draw each as shares of its own total.

    Returns:
        A chart of the kind `histogram`; None when no value is finite.
    """
    if edges is None:
        edges, clipped = _edges(np.concatenate(list(series.values())))
        if edges is None:
            return None
        if clipped:
            x_label = f"{x_label} ({_OUTER})"
    drawn: list[dict[str, Any]] = []
    for name, values in series.items():
        counts = _counts(values, edges, None if weights is None else weights[name])
        drawn.append({"name": name, "counts": counts.tolist()})
    unit = "rows" if weights is None else "weight"
    y_label = f"Share of the {unit} of each" if shares else unit.capitalize()
    data = {"edges": edges.tolist(), "series": drawn, "x_label": x_label, "y_label": y_label}
    return Chart("histogram", title, {**data, "shares": True} if shares else data)


def _counts(values: Array, edges: Array, weight: Array | None) -> Array:
    known = ~np.isnan(values)
    if not known.all():
        values, weight = values[known], None if weight is None else weight[known]
    bins, low, high = len(edges) - 1, edges[0], edges[-1]
    place = ((np.clip(values, low, high) - low) * (bins / (high - low))).astype(np.intp)
    return np.bincount(np.minimum(place, bins - 1), weight, bins)


def _edges(values: Array) -> tuple[Array | None, bool]:
    """At most 41 ends of bins, equally far apart, and whether there are values beyond them."""
    finite = values[np.isfinite(values)].astype(np.float64, copy=False)
    if not len(finite):
        return None, False
    ends = float(finite.min()), float(finite.max())
    low, high = _reach(finite, *ends)
    clipped = (low, high) != ends or bool(np.isinf(values).any())
    span, largest = high - low, max(abs(low), abs(high))
    if not np.isfinite(span) or largest > 1e300:
        return None, False
    if largest < 2**52 and _are_whole(finite):  # each bin holds the same number of integers
        step = np.ceil((span + 1) / _BINS)
        return low - 0.5 + step * np.arange(np.ceil((span + 1) / step) + 1), clipped
    if span <= max(1e-300, 1e-12 * largest):  # a constant
        pad = max(0.5, 1e-3 * largest)
        return np.array([low - pad, high + pad]), clipped
    bins = min(_BINS, int(np.ceil(2 * len(finite) ** (1 / 3))))  # Rice's rule
    return np.linspace(low, high, bins + 1), clipped


def _reach(finite: Array, low: float, high: float) -> tuple[float, float]:
    """Where an axis starts and ends: at all values, or where outliers would stretch it, at all but those."""
    if len(finite) < _FEW:
        return low, high
    last = len(finite) - 1
    places = [int(np.ceil(_TAILS[0] * last)), int(_TAILS[1] * last)]
    inner_low, inner_high = np.partition(finite, places)[places].tolist()
    # Halves never overflow.
    stretched = high / 2 - low / 2 > _STRETCHED * (inner_high / 2 - inner_low / 2) > 0
    return (inner_low, inner_high) if stretched else (low, high)


def _are_whole(finite: Array) -> bool:
    few = finite[:100]
    return bool((few == np.floor(few)).all() and (finite == np.floor(finite)).all())
