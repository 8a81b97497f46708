"""What a clustering found: how many clusters of which sizes, and how well they stand apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from autolog.capture.figures import Chart
from autolog.capture.kinds import is_lazy, not_computed
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.sklearn import folds
from autolog.sklearn.budget import Aborted, Rows, affordable_rows, length, predicted_by

__all__ = ["record_clusters"]

MOST_CLUSTERS = 1_000
CHART_CLUSTERS = 30
DISTANCES = 5e7  # rows x rows x columns: about twenty milliseconds


def record_clusters(run: Recording, estimator: Any, X: Any) -> None:
    """Sizes of the clusters, and scores that need no truth, on a sample of the data."""
    labels = getattr(estimator, "labels_", None)
    rows: Rows | str = Rows(length(X) or 0, length(X) or 0)
    if labels is None and X is not None and hasattr(estimator, "predict"):
        rows = affordable_rows(run, estimator, "predict", X)
        if isinstance(rows, str):
            run.note("train/clusters", f"left out: {rows}")
            return
        try:
            labels = predicted_by(run, estimator, "predict", X)
        except Aborted as aborted:
            run.note("train/clusters", str(aborted))
            return
    if is_lazy(labels):  # (dask-ml's)
        run.note("train/clusters", f"left out: {not_computed(labels)}")
        return
    if labels is None or np.ndim(labels) != 1 or len(labels) == 0:
        return
    labels = np.asarray(labels)
    found, sizes = np.unique(labels, return_counts=True)
    noise = int(sizes[found == -1].sum())
    clusters = int((found != -1).sum())
    _record(run, {"train/clusters": clusters, "train/noise_rows": noise})
    order = np.argsort(-sizes, kind="stable")[:MOST_CLUSTERS]
    table = [
        {
            "cluster": str(found[n]) if found[n] != -1 else "noise",
            "rows": int(sizes[n]),
            "share": float(sizes[n] / len(labels)),
        }
        for n in order
    ]
    if clusters > MOST_CLUSTERS:
        run.note("model/clusters", f"the {MOST_CLUSTERS:,} largest of {clusters:,}")
    record_long_table(run, "model/clusters_table", table)
    data = {
        "names": [row["cluster"] for row in table[:CHART_CLUSTERS]],
        "values": [row["rows"] for row in table[:CHART_CLUSTERS]],
        "x_label": "Rows",
    }
    run.figure("model/clusters", Chart("bars", "Sizes of the clusters", data))
    if X is not None and length(X) == len(labels):
        _record_scores(run, estimator, X, labels)


def _record(run: Recording, numbers: dict[str, float]) -> None:
    run.log(numbers, step=run.last_step)
    folds.told(run, numbers)


def _record_scores(run: Recording, estimator: Any, X: Any, labels: Any) -> None:
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    if is_lazy(X):
        run.note("train/silhouette", f"left out: {not_computed(X)}")
        return
    # X may hold distances between the rows, or how alike they are, from which no score follows.
    precomputed = getattr(estimator, "metric", None) == "precomputed"
    if str(getattr(estimator, "affinity", None)).startswith("precomputed") or (
        precomputed and hasattr(X, "tocsr")  # what is not stored is far, not at no distance
    ):
        run.note("train/silhouette", "left out: it needs the rows themselves, or all distances between them")
        return
    columns = X.shape[1] if getattr(X, "ndim", 0) == 2 and not precomputed else 1
    rows = Rows(min(len(labels), max(50, int((DISTANCES / columns) ** 0.5))), len(labels))
    some, of = rows.of(X), rows.of(labels)
    if precomputed:
        some = np.array(rows.of(np.asarray(some).T).T, dtype=float)
        np.fill_diagonal(some, 0.0)  # of a row to itself; rounding may have left a trace there
    kept = of != -1  # noise is no cluster
    if not kept.all():
        some, of = some[kept][:, kept] if precomputed else some[kept], of[kept]
    if not 2 <= len(np.unique(of)) < len(of):
        run.note("train/silhouette", "left out: it needs two clusters at least, and fewer than rows")
        return
    if hasattr(some, "to_numpy"):
        some = some.to_numpy()
    metric = "precomputed" if precomputed else "euclidean"
    try:
        scores = {"train/silhouette": silhouette_score(some, of, metric=metric)}
    except ValueError as error:  # an infinite distance, say
        run.note("train/silhouette", f"left out: {error}")
        return
    if not precomputed and not hasattr(some, "tocsr"):
        scores["train/calinski_harabasz"] = calinski_harabasz_score(some, of)
        scores["train/davies_bouldin"] = davies_bouldin_score(some, of)
    _record(run, {key: float(value) for key, value in scores.items()})
    if rows.sampled:
        run.note("train/silhouette", f"of {rows.count} evenly spaced rows of {rows.whole}")
