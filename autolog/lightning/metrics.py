"""Metrics of torchmetrics that a module holds and that are pictures: confusion matrices, ROC and such.

Their states are taken when an evaluation has filled them and the module has not reset them yet. The picture
is computed from these by the metric's own function, on this rank alone: the metric itself is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torchmetrics import BootStrapper, Metric
from torchmetrics import classification as kinds

from autolog.capture.evaluation.classes import CHART_CLASSES, CONFUSED_CLASSES
from autolog.capture.evaluation.curves import SHOWN, series
from autolog.capture.figures import Chart
from autolog.core.recording import Recording

__all__ = ["HeldMetrics"]

MOST_VALUES = 8_000_000  # numbers of a metric's states that are kept, 32 MB
OURS = ("confusion_matrix", "roc", "precision_recall", "calibration")  # keys of pictures from predictions


class HeldMetrics:
    """The states of the last evaluation, by the metric's name in its module."""

    def __init__(self) -> None:
        self._before: dict[int, int] = {}
        self._filled: dict[str, _Filled] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_before": {}, "_filled": {}}

    def begin(self, module: Any) -> None:
        """An evaluation begins."""
        self._filled = {}
        self._before = {id(metric): metric._update_count for _, metric in _pictured(module)}

    def end(self, module: Any) -> None:
        """It has seen its batches; what the module does with its metrics comes after this."""
        for name, metric in _pictured(module):
            if metric._update_count > self._before.get(id(metric), 0):
                self._filled[name] = _Filled(metric)

    def record(self, run: Recording, stage: str, step: int | None = None) -> None:
        """Draw them, once."""
        filled, self._filled = self._filled, {}
        for name, one in filled.items():
            key = f"{stage}/{_without(stage, name)}"
            if key.partition("/")[2] in OURS:
                key += "_metric"
            if one.too_large:
                run.note(key, "left out: the metric keeps too much")
                continue
            chart, note = _chart(one.metric, one.computed())
            if note:
                run.note(key, note)
            if chart is not None:
                run.figure(key, chart, step=step)


class _Filled:
    """A metric with the states that it has now."""

    def __init__(self, metric: Any):
        self.metric = metric
        states = {name: getattr(metric, name) for name in metric._defaults}
        parts = [
            part for state in states.values() for part in (state if isinstance(state, list) else [state])
        ]
        self.too_large = sum(part.numel() for part in parts) > MOST_VALUES
        # A tensor is added to in place, a list is emptied.
        self._states = {
            name: list(state) if isinstance(state, list) else state.detach().clone()
            for name, state in (() if self.too_large else states.items())
        }

    def __getattr__(self, name: str) -> Any:
        states = self.__dict__["_states"]
        return states[name] if name in states else getattr(self.__dict__["metric"], name)

    def computed(self) -> Any:
        """What its class computes: the object's own ``compute`` would ask all ranks, and remember."""
        with torch.no_grad():
            return type(self.metric).compute(self)


def _pictured(module: Any) -> Iterator[tuple[str, Any]]:
    """By their names, also those of collections; but for the many of a bootstrap, of samples drawn anew."""
    bootstraps: list[str] = []
    for name, part in module.named_modules():
        if isinstance(part, BootStrapper):
            bootstraps.append(f"{name}.")
        if (
            isinstance(part, Metric)
            and type(part).compute in _KINDS
            and not name.startswith(tuple(bootstraps))
        ):
            yield name.replace(".", "/"), part


def _without(stage: str, name: str) -> str:
    """``val_confmat`` is ``confmat`` where it stands under ``val``."""
    for prefix in (stage, "valid", "validation"):
        for sign in "_/":
            if name.startswith(prefix + sign):
                return name[len(prefix) + 1 :]
    return name


# Pictures ---------------------------------------------------------------------------------------------


def _chart(metric: Any, computed: Any) -> tuple[Chart | None, str]:
    """The picture, and what is to be said of it."""
    kind = _KINDS[type(metric).compute]
    if kind == "confusion_matrix":
        return _confusion_matrix(_host(computed))
    x, y, _ = computed if kind == "roc" else (computed[1], computed[0], None)
    labels = ("False positive rate", "True positive rate") if kind == "roc" else ("Recall", "Precision")
    if isinstance(x, torch.Tensor) and x.ndim == 1:
        lines = [(_area("", x, y), x, y)]
    else:  # of each class, all with the same thresholds or each with its own
        lines = [(_area(f"{place} ", a, b), a, b) for place, (a, b) in enumerate(zip(x, y, strict=True))]
    shown = [series(name, _host(a), _host(b)) for name, a, b in lines[:SHOWN]]
    note = f"curves show the first {SHOWN} of {len(lines)} classes" if len(lines) > SHOWN else ""
    unit = {"x_range": [0, 1], "y_range": [0, 1], "diagonal": kind == "roc"}
    title = "ROC curve" if kind == "roc" else "Precision-recall curve"
    return Chart("curve", title, {"series": shown, "x_label": labels[0], "y_label": labels[1], **unit}), note


def _confusion_matrix(counts: Any) -> tuple[Chart | None, str]:
    if counts.ndim != 2:
        return None, "not drawn: a matrix for each label"
    k = len(counts)
    chosen, note = np.arange(k), ""
    if k > CHART_CLASSES:
        errors = counts.sum(0) + counts.sum(1) - 2 * counts.diagonal()
        chosen = np.sort(np.argsort(-errors, kind="stable")[:CONFUSED_CLASSES])
        note = f"the {len(chosen)} most confused of {k} classes"
        counts = counts[np.ix_(chosen, chosen)]
    labels = [str(place) for place in chosen]
    return Chart("confusion_matrix", "Confusion matrix", {"labels": labels, "counts": counts.tolist()}), note


def _area(name: str, x: Any, y: Any) -> str:
    area = abs(float(torch.trapezoid(y, x)))
    return f"{name}(area {area:.3f})"


def _host(tensor: Any) -> Any:
    return tensor.detach().double().cpu().numpy()


# By the function that computes: `CohenKappa` is a confusion matrix by inheritance, `AUROC` a curve.
_KINDS = {
    getattr(kinds, f"{task}{name}").compute: kind
    for task in ("Binary", "Multiclass", "Multilabel")
    for name, kind in (
        ("ConfusionMatrix", "confusion_matrix"),
        ("ROC", "roc"),
        ("PrecisionRecallCurve", "precision_recall"),
    )
}
