"""What explains a model, as tables and charts: SHAP values of its features, and partial dependence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from autolog.capture.chart import Chart

__all__ = ["Contributions", "Dependence", "contributions_of", "dependence_chart", "dependence_rows"]

CHART_FEATURES = 20
CHART_ROWS = 500  # of a swarm: more points lie over one another
TABLE_CLASSES = 20
PANELS = 12
SERIES = 10  # of one panel


class Contributions(NamedTuple):
    """What each feature has contributed to each prediction.

    Attributes:
        values: shape (rows, features), or (rows, features, outputs).
        features: names.
        outputs: names of classes or outputs; empty if there is one.
        data: what was predicted from, shape (rows, features), of any kind; None: it is not known.
        unit: of the values, in words; empty: not known.
    """

    values: Any
    features: Sequence[str]
    outputs: Sequence[str] = ()
    data: Any = None
    unit: str = ""

    @property
    def strengths(self) -> Any:
        """Mean absolute contribution over the rows, shape (features,) or (features, outputs)."""
        return np.abs(self.values).mean(axis=0)

    def order(self) -> Any:
        """Features, the strongest first: of several outputs by the sum over them."""
        strengths = self.strengths
        return np.argsort(-(strengths.sum(axis=1) if strengths.ndim == 2 else strengths), kind="stable")

    def rows(self) -> list[dict[str, Any]]:
        """A table: a row per feature, the strongest first."""
        strengths = self.strengths
        if strengths.ndim == 1:
            means = self.values.mean(axis=0)
            return [
                {
                    "feature": self.features[n],
                    "mean_abs_shap": float(strengths[n]),
                    "mean_shap": float(means[n]),
                }
                for n in self.order()
            ]
        names = list(self.outputs[:TABLE_CLASSES])
        return [
            {
                "feature": self.features[n],
                "mean_abs_shap": float(strengths[n].mean()),
                **{f"mean_abs_shap_{name}": float(strengths[n, k]) for k, name in enumerate(names)},
            }
            for n in self.order()
        ]

    def chart(self, *, with_rows: bool) -> Chart:
        """A swarm of points, one per row and feature; or bars, of several outputs, or without single rows."""
        shown = self.order()[:CHART_FEATURES]
        names = [self.features[n] for n in shown]
        unit = f", {self.unit}" if self.unit else ""
        if self.values.ndim == 3 or not with_rows:
            strengths = self.strengths
            values = strengths.mean(axis=1) if strengths.ndim == 2 else strengths
            label = "Mean absolute SHAP value"
            if strengths.ndim == 2:
                label += f" over {strengths.shape[1]} outputs"
            data = {"names": names, "values": values[shown].tolist(), "x_label": f"{label}{unit}"}
            return Chart("bars", "SHAP values", data)
        few = np.linspace(0, len(self.values) - 1, min(len(self.values), CHART_ROWS)).astype(int)
        swarm = {
            "names": names,
            "values": [_finite(self.values[few, n]) for n in shown],
            "heights": [self._heights(few, n) for n in shown],
            "x_label": f"SHAP value{unit}",
            "color_label": "Value of the feature",
        }
        return Chart("swarm", "SHAP values", swarm)

    def _heights(self, few: Any, feature: int) -> list[float | None] | None:
        """Of each row, how high the feature's value is among those of the others, 0 to 1; None: no number."""
        if self.data is None:
            return None
        try:
            column = np.asarray(self.data[:, feature], dtype=float)[few]
        except (TypeError, ValueError):  # texts
            return None
        known = np.isfinite(column)
        if not known.any():
            return None
        _, places = np.unique(column[known], return_inverse=True)
        ranks = np.full(len(column), np.nan)
        ranks[known] = places / max(int(places.max()), 1)
        return [None if np.isnan(rank) else round(float(rank), 4) for rank in ranks]


def _finite(values: Any) -> list[float]:
    return [float(f"{value:.6g}") if np.isfinite(value) else 0.0 for value in values]


def contributions_of(
    values: Any, features: Sequence[str] | None, outputs: Sequence[str] | None, data: Any = None
) -> Contributions | None:
    """Contributions as ``shap`` returns them, in one form; None: they are of no table.

    Args:
        values: shape (rows, features), (rows, features, outputs), or a list of (rows, features).
        features, outputs: their names, if they are known.
        data: what was predicted from, shape (rows, features).
    """
    if isinstance(values, (list, tuple)):
        values = np.stack([np.asarray(one) for one in values], axis=-1)
    values = np.asarray(values)
    if values.dtype.kind not in "fiu" or values.ndim not in (2, 3) or 0 in values.shape:
        return None
    values = values.astype(float)
    count = values.shape[1]
    names = [str(name) for name in features] if features is not None and len(features) == count else None
    names = names or [f"x{n}" for n in range(count)]
    several: list[str] = []
    if values.ndim == 3:
        several = [str(name) for name in outputs] if outputs is not None else []
        if len(several) != values.shape[2]:
            several = [str(n) for n in range(values.shape[2])]
        if values.shape[2] == 1:
            values, several = values[:, :, 0], []
        elif values.shape[2] == 2 and np.allclose(values[:, :, 0], -values[:, :, 1], rtol=1e-3, atol=1e-6):
            values, several = (
                values[:, :, 1],
                several[1:],
            )  # what speaks for one class speaks against the other
    rows = getattr(data, "shape", None)
    data = np.asarray(data) if rows == values.shape[:2] else None
    return Contributions(values, names, several, data)


class Dependence(NamedTuple):
    """How the mean prediction depends on one feature, or on two.

    Attributes:
        features: one name, or two.
        grid: of each feature its values, numbers or texts.
        average: shape (outputs, values of the first), or (outputs, values of the first, of the second).
        outputs: names; empty if there is one.
    """

    features: tuple[str, ...]
    grid: tuple[Any, ...]
    average: Any
    outputs: Sequence[str] = ()

    @property
    def spread(self) -> float:
        """How far the mean prediction moves: its standard deviation over the grid, largest of all outputs."""
        flat = np.asarray(self.average, dtype=float).reshape(len(self.average), -1)
        return float(np.nanmax(flat.std(axis=1)))


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (int, float, bool, str)) or value is None else str(value)


def _names_of(one: Dependence) -> list[str]:
    several = list(one.outputs)
    count = len(one.average)
    if count == 1:
        return ["mean_prediction"]
    names = several if len(several) == count else [str(n) for n in range(count)]
    return [f"mean_prediction_{name}" for name in names]


def dependence_rows(several: Sequence[Dependence]) -> list[dict[str, Any]]:
    """A table: a row per feature and value of it."""
    rows: list[dict[str, Any]] = []
    for one in several:
        names = _names_of(one)[:TABLE_CLASSES]
        for place in np.ndindex(*np.shape(one.average)[1:]):
            at = {
                "feature": one.features[0],
                "value": _plain(one.grid[0][place[0]]),
            }
            if len(one.features) == 2:
                at |= {"second_feature": one.features[1], "second_value": _plain(one.grid[1][place[1]])}
            means = {name: float(one.average[k][place]) for k, name in enumerate(names)}
            rows.append({**at, **means})
    return rows


def dependence_chart(several: Sequence[Dependence], unit: str = "") -> Chart:
    """A panel per feature; or, of two features at once, one surface."""
    label = f"Mean prediction{f', {unit}' if unit else ''}"
    first = several[0]
    if len(first.features) == 2:
        return _surface(first, label)
    panels = []
    for one in several[:PANELS]:
        grid = [_plain(value) for value in one.grid[0]]
        is_numeric = _are_numbers(grid)
        panel: dict[str, Any] = {
            "name": one.features[0],
            "x": grid if is_numeric else list(range(len(grid))),
            "series": [
                {"name": name.removeprefix("mean_prediction").removeprefix("_"), "y": _finite(one.average[k])}
                for k, name in enumerate(_names_of(one)[:SERIES])
            ],
        }
        if not is_numeric:
            panel["ticks"] = [str(value) for value in grid]
        panels.append(panel)
    return Chart("dependence", "Partial dependence", {"panels": panels, "y_label": label})


def _surface(one: Dependence, label: str) -> Chart:
    means = np.asarray(one.average[-1], dtype=float)  # of several classes the last one
    data: dict[str, Any] = {
        "z": _finite(means.ravel()),
        "x_label": one.features[0],
        "y_label": one.features[1],
        "color_label": label if len(one.average) == 1 else f"{label} ({_names_of(one)[-1]})",
    }
    places = np.indices(means.shape).reshape(2, -1)
    for axis, values, at in zip("xy", one.grid, places, strict=True):
        plain = [_plain(value) for value in values]
        if _are_numbers(plain):
            data[axis] = [plain[n] for n in at]
        else:
            data[axis], data[f"{axis}_ticks"] = at.tolist(), [str(value) for value in plain]
    return Chart("contour", "Partial dependence", data)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
