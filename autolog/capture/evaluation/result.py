"""What an evaluation hands back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autolog.capture.figures import Chart


@dataclass(frozen=True)
class Evaluation:
    """What is known about a set of predictions."""

    task: str
    """`classification`, `regression` or `multilabel`."""
    rows: int
    """Samples that the metrics rest on."""
    metrics: dict[str, float]
    """Scores by scikit-learn's names."""
    tables: dict[str, list[dict[str, Any]]]
    """By their names, one dict per row:

    - `confusion_matrix` and `per_class` (classification), `confusion_by_label` and `per_class` (multilabel);
    - `per_output`, when there are several outputs;
    - `best_and_worst` (one output): the rows that were predicted worst and best.
    """
    charts: dict[str, Chart]
    """Pictures as data, to be rendered elsewhere."""
    notes: tuple[str, ...]
    """What was left out, shortened or assumed."""
    samples: list[int] = field(default_factory=list)
    """The rows of `best_and_worst` in its order, as places in what was passed in: to join their inputs."""
