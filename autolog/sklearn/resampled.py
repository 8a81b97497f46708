"""imbalanced-learn: which rows a model has learned from, once a sampler has evened out its classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autolog.core.current import open_here
from autolog.process.context import watching
from autolog.process.guard import charge, shield

__all__ = ["observe_resample"]

MOST_CLASSES = 100


def observe_resample(sampler: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """Rows and class balance after it, in the run of the fit around it: of several fits the last one's.

    A sampler that is called by hand makes data like any other, which the fit after it describes.
    """
    run = open_here()
    if run is None or not watching.active("sklearn") or not run.settings.log_data:
        return
    with shield("imbalanced-learn: the rows after resampling"):
        charge(run)
        labels, counts = np.unique(np.asarray(result[1]), return_counts=True)
        found: dict[str, Any] = {"by": type(sampler).__name__, "rows": int(counts.sum())}
        if len(labels) <= MOST_CLASSES:
            found["classes"] = dict(zip(map(str, labels.tolist()), counts.tolist(), strict=True))
        run.describe({"data/resampled": found})
