"""What a fitted estimator knows about itself: learning curves, importances, how its fit ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, zip_longest
from typing import Any

import numpy as np

from autolog.capture.figures import Chart
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.process.guard import charge, shield
from autolog.sklearn.evaluation import latest

__all__ = [
    "final_estimator",
    "observe_permutation_importances",
    "record_curves",
    "record_importances",
    "record_outcome",
]

CURVE_POINTS = 10_000
TABLE_ROWS = 10_000
CHART_BARS = 20
TABLE_CLASSES = 20

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
}
_OUTCOMES = {
    "n_iter_": "model/iterations",
    "n_estimators_": "model/estimators",
    "converged_": "model/converged",
    "best_loss_": "early_stopping/best_loss",
    "best_validation_score_": "early_stopping/best_score",
    "best_iteration": "early_stopping/best_iteration",  # XGBoost
    "best_score": "early_stopping/best_score",
    "best_iteration_": "early_stopping/best_iteration",  # LightGBM
    "best_score_": "early_stopping/best_score",
}


def final_estimator(estimator: Any) -> Any:
    """What was trained in the end: the last step of a pipeline, the best of a search, and so on down."""
    for _ in range(10):
        inner = _inner(estimator)
        if inner is None:
            return estimator
        estimator = inner
    return estimator


def _inner(estimator: Any) -> Any:
    """What an estimator has trained in its place; None if it has learned by itself."""
    steps = getattr(estimator, "steps", None)
    inner = _attribute(estimator, "best_estimator_")
    if inner is None:
        inner = _attribute(estimator, "regressor_")  # TransformedTargetRegressor
    if inner is None and isinstance(steps, list) and steps:
        inner = steps[-1][1]
    return inner if hasattr(inner, "get_params") else None


def _is_one(estimator: Any, name: str) -> bool:
    """Whether it is of a class, by ``package.Class``: without an import of it."""
    return any(f"{kind.__module__.split('.')[0]}.{kind.__name__}" == name for kind in type(estimator).__mro__)


def _attribute(thing: Any, name: str) -> Any:
    """An attribute that a property may refuse, in a way of its own, before or after a fit."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


# Learning curves ----------------------------------------------------------------------------------


def record_curves(run: Recording, estimator: Any, sets: Mapping[str, str]) -> None:
    """One row per iteration, of whatever the estimator has kept of them.

    Args:
        sets: what XGBoost and LightGBM call their evaluation sets, to ``train``, ``val`` and so on.
    """
    final = final_estimator(estimator)
    curves = {**_curves(final), **_boosting_curves(final, sets)}
    longest = max(map(len, curves.values()), default=0)
    every = -(-longest // CURVE_POINTS)
    if every > 1:
        run.note("curves", f"every {every}th of {longest} iterations")
    for step, values in enumerate(zip_longest(*curves.values())):
        if step % every == 0 or step == longest - 1:
            row = {key: value for key, value in zip(curves, values, strict=True) if value is not None}
            run.log(row, step=step)
    scalars = {key: _attribute(final, name) for name, key in _SCALARS.items() if key not in curves}
    numbers = {key: value for key, value in scalars.items() if _is_number(value)}
    if numbers:  # an empty row would be a step more
        run.log(numbers, step=run.last_step)


def _curves(final: Any) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for name, key in _CURVES.items():
        values = _attribute(final, name)
        if values is not None and np.ndim(values) == 1 and len(values) > 0:
            # That of gradient boosting without histograms is the loss, whatever its name says.
            is_loss = name == "train_score_" and _is_one(final, "sklearn.BaseGradientBoosting")
            found["train/loss" if is_loss else key] = np.asarray(values, dtype=float).tolist()
    return found


def _boosting_curves(final: Any, sets: Mapping[str, str]) -> dict[str, list[float]]:
    """XGBoost's and LightGBM's metrics per round: ``{set: {metric: [value per round]}}``."""
    results = _attribute(final, "evals_result_")
    if not isinstance(results, Mapping):
        # CatBoost's, else XGBoost's.
        method = _attribute(final, "get_evals_result") or _attribute(final, "evals_result")
        if not callable(method) or not sets:
            return {}
        results = method()
    found = {}
    for name, metrics in (results or {}).items():
        for metric, values in metrics.items():
            found[f"{sets.get(name, name)}/{metric}"] = [float(value) for value in values]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def record_outcome(run: Recording, estimator: Any) -> None:
    """How the fit ended: iterations, convergence, what early stopping chose."""
    final = final_estimator(estimator)
    found: dict[str, Any] = {}
    for name, key in _OUTCOMES.items():
        value = _attribute(final, name)
        if name == "best_iteration_" and _is_one(final, "lightgbm.LGBMModel") and not value:
            continue  # it counts from 1: nothing has stopped it early
        if isinstance(value, (bool, np.bool_)) or _is_number(value):
            found.setdefault(key, value.item() if isinstance(value, np.generic) else value)
        elif name == "n_iter_" and np.ndim(value) == 1 and len(value):
            found[key] = int(np.max(value))
    run.describe(found)


def observe_permutation_importances(
    owner: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any
) -> None:
    """What ``permutation_importance`` has found, in the run whose model it has asked."""
    run, estimator = latest()
    if run is None or estimator is None:
        return
    with shield("scikit-learn: permutation importances"):
        charge(run)
        means, spread = np.asarray(result.importances_mean), np.asarray(result.importances_std)
        chosen = _largest(run, "permutation_importances", np.abs(means))
        names = _names([_attribute(estimator, "feature_names_in_")], len(means))
        rows = [{"feature": names(n), "importance": float(means[n]), "std": float(spread[n])} for n in chosen]
        record_long_table(run, "model/permutation_importances_table", rows, shown=CHART_BARS)
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
    importances, coefficients = _attribute(final, "feature_importances_"), _attribute(final, "coef_")
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
    chosen = _largest(run, "coefficients", weight)
    names = _names(_known_names(estimator), values.shape[1])
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
    classes = _attribute(final, "classes_")
    names = [] if classes is None else [str(name) for name in classes]
    if _is_one(final, "sklearn.BaseSVC"):  # a machine for every two classes, three of them for three
        pairs = [f"{one} vs {other}" for one, other in combinations(names, 2)]
        if len(pairs) == count:
            return "pair", pairs
    elif len(names) == count:
        return "class", names
    return "output", [f"output {n}" for n in range(count)]


def _record_bars(run: Recording, key: str, title: str, label: str, values: Any, estimator: Any) -> None:
    chosen = _largest(run, key, np.abs(values))
    names = _names(_known_names(estimator), len(values))
    rows = [{"feature": names(n), label.lower(): float(values[n])} for n in chosen]
    record_long_table(run, f"model/{key}_table", rows, shown=CHART_BARS)
    top = rows[:CHART_BARS]
    data = {
        "names": [row["feature"] for row in top],
        "values": [row[label.lower()] for row in top],
        "x_label": label,
    }
    run.figure(f"model/{key}", Chart("bars", title, data))


def _largest(run: Recording, key: str, weight: Any) -> Any:
    """Which features to show, the weightiest first."""
    if len(weight) <= TABLE_ROWS:
        return np.argsort(-weight, kind="stable")
    run.note(f"model/{key}", f"the {TABLE_ROWS:,} weightiest of {len(weight):,} features")
    few = np.argpartition(-weight, TABLE_ROWS)[:TABLE_ROWS]
    return few[np.argsort(-weight[few], kind="stable")]


def _names(known: Iterable[Any], count: int) -> Callable[[int], str]:
    """The name of each of so many features, by the first names that are as many."""
    for names in known:
        if names is not None and len(names) == count:
            return lambda n: str(names[n])
    return lambda n: f"x{n}"


def _known_names(estimator: Any) -> list[Any]:
    """The names of what the final estimator saw: through every pipeline on the way down to it, and its own.

    The names of what came into a pipeline are none of what came out of it, be they as many or not.
    """
    names = None
    for _ in range(10):
        own = _attribute(estimator, "feature_names_in_")
        names = own if names is None else names
        inner = _inner(estimator)
        if inner is None:
            return [names, own]
        steps = getattr(estimator, "steps", None)
        if isinstance(steps, list) and len(steps) > 1 and inner is steps[-1][1]:
            try:
                names = estimator[:-1].get_feature_names_out(names)
            except Exception:  # a step that names nothing
                names = None
        estimator = inner
    return []
