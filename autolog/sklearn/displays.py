"""scikit-learn's own figures: a ``ConfusionMatrixDisplay`` that the user plots is in their run too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autolog.process.guard import charge, shield
from autolog.sklearn.outputs import latest

__all__ = ["observe_plot"]


def observe_plot(display: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Keep the figure as it is now, in the run whose model this thread has asked last."""
    run, _ = latest()
    figure = getattr(display, "figure_", None)
    if run is not None and figure is not None:
        with shield("scikit-learn: a figure of the user's"):
            charge(run)
            run.figure(f"figures/{type(display).__name__}", figure)
