"""What a fitted estimator knows about itself: learning curves, importances, coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, zip_longest
from typing import Any

import numpy as np

from autolog.capture.figures import Chart
from autolog.core.importances import CHART_BARS, largest, names_among, record_bars
from autolog.core.recording import Recording
from autolog.core.results import record_finals, record_long_table
from autolog.process.guard import charge, shield
from autolog.sklearn.boosting import Given, best_iteration, kept_round, rounds_of
from autolog.sklearn.inside import (
    attribute,
    final_estimator,
    inner_of,
    is_fitted,
    is_number,
    is_one,
    steps_of,
)
from autolog.sklearn.outputs import latest

__all__ = [
    "observe_permutation_importances",
    "record_curves",
    "record_importances",
    "record_permutation_importances",
    "record_selected",
]

CURVE_POINTS = 10_000
TABLE_CLASSES = 20
MOST_SELECTED = 100  # names

# What estimators keep of their iterations, under the name of what it is.
_CURVES = {
    "loss_curve_": "train/loss",  # MLP
    "validation_scores_": "early_stopping/score",
    "train_score_": "train/score",  # gradient boosting on histograms
    "validation_score_": "early_stopping/score",
    "oob_scores_": "train/oob_score",
    "estimator_errors_": "train/error",  # AdaBoost
    "lower_bounds_": "train/lower_bound",  # mixtures
}
_SCALARS = {
    "oob_score_": "train/oob_score",
    "inertia_": "train/inertia",
    "lower_bound_": "train/lower_bound",
    "reconstruction_err_": "train/reconstruction_error",
    "best_loss_": "train/best_loss",  # MLP, unless it stops early: then it has a best score
}


# Learning curves ----------------------------------------------------------------------------------


def record_curves(run: Recording, estimator: Any, given: Given) -> None:
    """One row per iteration, of whatever the estimator has kept of them, at the number of the iteration.

    A boosting's rounds stand apart (``rounds/val/rmse``): ``val/rmse`` is the number of the model that is
    kept, which after early stopping is none of the last round's.
    """
    final = final_estimator(estimator)
    rounds = rounds_of(final, given)
    curves = {**_curves(final), **{f"rounds/{key}": values for key, values in rounds.items()}}
    longest = max(map(len, curves.values()), default=0)
    # scikit-learn's boosting on histograms begins with the scores of no iteration at all.
    first = 0 if is_one(final, "sklearn.BaseHistGradientBoosting") else 1 + given.earlier
    every = -(-longest // CURVE_POINTS)
    if every > 1:
        run.note("curves", f"every {every}th of {longest} iterations")
    telling = {first, first + longest - 1, best_iteration(final)}
    for step, values in enumerate(zip_longest(*curves.values()), first):
        if (step - first) % every == 0 or step in telling:
            row = {key: value for key, value in zip(curves, values, strict=True) if value is not None}
            run.log(row, step=step)
    kept = run.kept_step = kept_round(final)
    ends = {key: len(values) if kept is None else kept - given.earlier for key, values in rounds.items()}
    record_finals(run, {key: rounds[key][n - 1] for key, n in ends.items() if 0 < n <= len(rounds[key])})
    scalars = {key: attribute(final, name) for name, key in _SCALARS.items() if key not in curves}
    numbers = {key: value for key, value in scalars.items() if is_number(value)}
    if numbers:  # an empty row would be a step more
        run.log(numbers, step=run.last_step)


def _curves(final: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, key in _CURVES.items():
        values = attribute(final, name)
        if values is not None and np.ndim(values) == 1 and len(values) > 0:
            # That of gradient boosting without histograms is the loss, whatever its name says.
            is_loss = name == "train_score_" and is_one(final, "sklearn.BaseGradientBoosting")
            found["train/loss" if is_loss else key] = np.asarray(values, dtype=float).tolist()
    if is_one(final, "skorch.NeuralNet"):
        found |= _epochs_of_skorch(attribute(final, "history_"))
    return found


def _epochs_of_skorch(history: Any) -> dict[str, list[float]]:
    """A value per epoch of whatever its callbacks have written, by skorch's names: ``valid`` is ``val``.

    They stand apart, as a boosting's rounds: its validation is none of the user's held-out data.
    """
    rows = [row for row in history or () if isinstance(row, Mapping)]
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values: list[Any] = [row.get(name) for row in rows]
        of, _, rest = name.partition("_")
        is_count = name in ("epoch", "dur") or name.endswith("_batch_count")
        if is_count or not all(map(is_number, values)):
            continue
        key = {"train": f"train/{rest}", "valid": f"val/{rest.replace('acc', 'accuracy')}"}.get(of, name)
        found[f"rounds/{key}"] = [float(value) for value in values]
    return found


def observe_permutation_importances(
    owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """What ``permutation_importance`` has found, in the run whose model it has asked."""
    run, estimator = latest()
    if run is None or estimator is None:
        return
    with shield("scikit-learn: permutation importances"):
        charge(run)
        record_permutation_importances(run, estimator, result)


def record_permutation_importances(run: Recording, estimator: Any, result: Any) -> None:
    """What ``permutation_importance`` has returned for an estimator, as a table and a picture."""
    means, spread = np.asarray(result.importances_mean), np.asarray(result.importances_std)
    chosen = largest(run, "permutation_importances", np.abs(means))
    names = names_among([attribute(estimator, "feature_names_in_")], len(means))
    rows = [{"feature": names(n), "importance": float(means[n]), "std": float(spread[n])} for n in chosen]
    record_long_table(run, "model/permutation_importances_table", rows, shown=CHART_BARS, has_picture=True)
    top = rows[:CHART_BARS]
    data = {
        "names": [row["feature"] for row in top],
        "values": [row["importance"] for row in top],
        "errors": [row["std"] for row in top],
        "x_label": "Loss of score when the feature is shuffled",
    }
    run.figure("model/permutation_importances", Chart("bars", "Permutation importances", data))


# Importances and coefficients -----------------------------------------------------------------------


def record_importances(run: Recording, estimator: Any) -> None:
    """Feature importances, or coefficients, with the names of the features."""
    final = final_estimator(estimator)
    importances, coefficients = attribute(final, "feature_importances_"), attribute(final, "coef_")
    if importances is not None and np.ndim(importances) == 1:
        values = np.asarray(importances, dtype=float)
        _record_bars(run, "importances", "Feature importances", "Importance", values, estimator)
    elif coefficients is not None:
        _record_coefficients(run, estimator, final, coefficients)


def _record_coefficients(run: Recording, estimator: Any, final: Any, coefficients: Any) -> None:
    values = coefficients.toarray() if hasattr(coefficients, "toarray") else np.asarray(coefficients)
    if values.dtype.kind not in "fiu" or values.ndim > 2 or values.size == 0:
        return
    values = np.atleast_2d(values)
    if len(values) == 1:
        _record_bars(run, "coefficients", "Coefficients", "Coefficient", values[0], estimator)
        return
    kind, columns = _outputs_of(final, len(values))
    # Of many classes and features those that say most, for any class.
    weight = np.abs(values).max(axis=0)
    chosen = largest(run, "coefficients", weight)
    names = names_among(_known_names(estimator), values.shape[1])
    rows = [
        {
            "feature": names(n),
            **dict(zip(columns[:TABLE_CLASSES], values[:TABLE_CLASSES, n].tolist(), strict=True)),
        }
        for n in chosen
    ]
    record_long_table(run, "model/coefficients_by_class", rows, shown=CHART_BARS)
    top = chosen[:CHART_BARS]
    data = {
        "names": [names(n) for n in top],
        "values": weight[top].tolist(),
        "x_label": f"Largest coefficient of any {kind}, without its sign",
    }
    run.figure("model/coefficients", Chart("bars", "Coefficients", data))


def _outputs_of(final: Any, count: int) -> tuple[str, list[str]]:
    """What the rows of the coefficients are: of a class each, of a pair of them, of an output."""
    classes = attribute(final, "classes_")
    names = [] if classes is None else [str(name) for name in classes]
    if is_one(final, "sklearn.BaseSVC"):  # a machine for every two classes, three of them for three
        pairs = [f"{one} vs {other}" for one, other in combinations(names, 2)]
        if len(pairs) == count:
            return "pair", pairs
    elif len(names) == count:
        return "class", names
    return "output", [f"output {n}" for n in range(count)]


def _record_bars(run: Recording, key: str, title: str, label: str, values: Any, estimator: Any) -> None:
    names = names_among(_known_names(estimator), len(values))
    record_bars(run, key, title, names, {label.lower(): values})


def _known_names(estimator: Any) -> list[Any]:
    """The names of what the final estimator saw: through every pipeline on the way down to it, and its own.

    The names of what came into a pipeline are none of what came out of it, be they as many or not.
    """
    names = None
    for _ in range(10):
        own = attribute(estimator, "feature_names_in_")
        names = own if names is None else names
        inner = inner_of(estimator)
        if inner is None:
            return [names, own]
        names = _of_selected(estimator, inner, names)
        steps = steps_of(estimator)
        if len(steps) > 1 and inner is steps[-1][1]:
            try:
                names = estimator[:-1].get_feature_names_out(names)
            except Exception:  # a step that names nothing
                names = None
        estimator = inner
    return []


def _of_selected(estimator: Any, inner: Any, names: Any) -> Any:
    """The names of the features that a selection (RFE) has left to its own estimator."""
    support = attribute(estimator, "support_")
    if (
        names is None
        or inner is not attribute(estimator, "estimator_")
        or np.shape(support) != np.shape(names)
    ):
        return names
    return np.asarray(names)[np.asarray(support, dtype=bool)]


# Selected features ----------------------------------------------------------------------------------


def record_selected(run: Recording, estimator: Any) -> None:
    """Which features the selections in an estimator have kept, by their names where they are known."""
    found: dict[str, Any] = {}
    names = attribute(estimator, "feature_names_in_")
    for name, part in steps_of(estimator) or [("", estimator)]:
        if callable(getattr(part, "get_support", None)) and is_fitted(part):
            support = np.asarray(part.get_support())
            known = names_among([names], len(support))
            kept = [known(n) for n in np.flatnonzero(support)[:MOST_SELECTED].tolist()]
            key = f"model/selected_features/{name}" if name else "model/selected_features"
            found[key] = {"count": int(support.sum()), "of": len(support), "names": kept}
        try:
            names = part.get_feature_names_out(names)
        except Exception:  # a step that names nothing
            names = None
    run.describe(found)
