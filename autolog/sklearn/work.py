"""What one more prediction costs, by a table of kinds of models: the same on every machine, under any load.

Whether something optional is recorded must not depend on the clock, or two equal fits hold different
records. The figures are nanoseconds on a small machine of 2024 with two cores. They need to be right within a
factor of a few only: what is bounded by them is bounded in the same way everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from autolog.sklearn.inside import steps_of

__all__ = ["Cost", "cost_of", "fit_factor"]

TEXT_LENGTH = 100  # characters of a text, where nothing tells
MOST_DEPTH = 8  # of estimators inside of estimators


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of a call.

    Attributes:
        call: of any call, whatever it is given.
        row: of each row beside that.
        columns: how many columns come out, for what stands behind it.
    """

    call: float
    row: float
    columns: float = 1.0

    def seconds(self, rows: int) -> float:
        """Of one call with so many rows."""
        return (self.call + rows * self.row) / 1e9

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.call + other.call, self.row + other.row, other.columns)


Rule = Callable[[Any, float], Cost | None]


def cost_of(estimator: Any, columns: float) -> Cost | None:
    """What predicting (or transforming) costs; None: this kind is not in the table.

    Args:
        estimator: fitted.
        columns: of its input.
    """
    return _cost_of(estimator, columns, 0)


def fit_factor(estimator: Any) -> float:
    """How many times as much as predicting them it was to fit the same rows; 0 where it may be less."""
    inner = _inner(estimator)
    if inner:
        return max(fit_factor(one) for one in inner[-1:])
    steps = getattr(estimator, "n_iter_", None)
    module = type(estimator).__module__
    if module.startswith(("sklearn.linear_model", "sklearn.neural_network")) and steps is not None:
        return 2.0 * float(_largest(steps))
    grown = ("sklearn.tree", "sklearn.ensemble", "xgboost", "lightgbm", "catboost")
    return 20.0 if module.startswith(grown) else 0.0


def _cost_of(estimator: Any, columns: float, depth: int) -> Cost | None:
    if depth > MOST_DEPTH:
        return None
    if estimator is None or isinstance(estimator, str):  # "passthrough", "drop"
        return Cost(0.0, 0.0, columns)
    chain = _chain(estimator)
    if chain is not None:
        return _in_turn(chain, columns, depth)
    rule = _rule_of(estimator)
    cost = rule(estimator, columns) if rule is not None else None
    if cost is not None:
        return cost
    inner = _inner(estimator)
    return _side_by_side(((one, columns) for one in inner), depth, each=100_000) if inner else None


def _chain(estimator: Any) -> list[Any] | None:
    """What the rows go through one after the other. (What samples anew does so in a fit only.)"""
    steps = steps_of(estimator)
    return [step for _, step in steps if not hasattr(step, "fit_resample")] if steps else None


def _in_turn(chain: Iterable[Any], columns: float, depth: int) -> Cost | None:
    whole = Cost(0.0, 0.0, columns)
    for one in chain:
        cost = _cost_of(one, whole.columns, depth + 1)
        if cost is None:
            return None
        whole = whole + cost
    return whole


def _side_by_side(parts: Iterable[tuple[Any, float]], depth: int, *, each: float) -> Cost | None:
    call = row = columns = 0.0
    for one, its_columns in parts:
        cost = _cost_of(one, its_columns, depth + 1)
        if cost is None:
            return None
        call, row, columns = call + each + cost.call, row + cost.row, columns + cost.columns
    return Cost(call, row, columns)


def _inner(estimator: Any) -> list[Any]:
    """The fitted estimators that one predicts with which has others inside; of a stack the last one last."""
    several = getattr(estimator, "estimators_", None)
    if several is None:  # else `estimator_` is what they were made like, and was never fitted
        for name in ("best_estimator_", "regressor_", "estimator_"):
            if (one := getattr(estimator, name, None)) is not None:
                return [one]
        several = [one.estimator for one in getattr(estimator, "calibrated_classifiers_", ())]
    inner = [one for one in list(several) if hasattr(one, "get_params")]
    last = getattr(estimator, "final_estimator_", None)
    return [*inner, last] if last is not None else inner


# The table ------------------------------------------------------------------------------------------


def _rule_of(estimator: Any) -> Rule | None:
    """By the class's name, else by the module of scikit-learn's that it is from."""
    for kind in type(estimator).__mro__:
        if kind.__name__ in _BY_NAME and kind.__module__.split(".")[0] in _PACKAGES:
            return _BY_NAME[kind.__name__]
        module = ".".join(kind.__module__.split(".")[:2])
        if module in _BY_MODULE:
            rule = _BY_MODULE[module]
            return rule if _can(rule, estimator) else None
    return None


def _can(rule: Rule, estimator: Any) -> bool:
    needed = _NEEDS.get(rule)
    return needed is None or hasattr(estimator, needed)


def _linear(estimator: Any, columns: float) -> Cost:
    outputs = _outputs(estimator.coef_)
    return Cost(150_000, 20 + outputs * (5 + 0.5 * columns))


def _gaussians(estimator: Any, columns: float) -> Cost:
    """A matrix of covariances for each class or component."""
    several = getattr(estimator, "means_", getattr(estimator, "covariance_", None))
    return Cost(200_000, 200 + len(several) * columns**2)  # type: ignore[arg-type]


def _bayes(estimator: Any, columns: float) -> Cost:
    return Cost(200_000, 50 + len(estimator.classes_) * 4 * columns)


def _tree(estimator: Any, columns: float) -> Cost:
    tree = estimator.tree_
    outputs = tree.value.shape[1] * tree.value.shape[2]
    return Cost(100_000, 20 + 5 * tree.max_depth + 3 * outputs)


def _trees(estimator: Any, columns: float) -> Cost:
    """Each is called by itself, and there are hundreds."""
    grown = [one for one in _flat(estimator.estimators_) if hasattr(one, "tree_")]
    costs = [_tree(one, columns) for one in grown]
    return Cost(200_000 + 80_000 * len(costs), sum(cost.row for cost in costs))


def _boosted_trees(estimator: Any, columns: float) -> Cost:
    grown = [one for one in _flat(estimator.estimators_) if hasattr(one, "tree_")]
    return Cost(300_000 + 3_000 * len(grown), 100 + sum(15 * one.tree_.max_depth for one in grown))


def _histogram_trees(estimator: Any, columns: float) -> Cost:
    each = estimator.n_trees_per_iteration_
    return Cost(2_000_000, 200 + estimator.n_iter_ * each * 80 + 50 * columns)


def _neighbors(estimator: Any, columns: float) -> Cost:
    known = float(estimator.n_samples_fit_)
    return Cost(500_000, 1_000 + known * (1 + 0.2 * columns))


def _vectors(estimator: Any, columns: float) -> Cost:
    known = len(estimator.support_)
    return Cost(200_000, 500 + known * (5 + 2 * columns))


def _kernels(estimator: Any, columns: float) -> Cost | None:
    inside = getattr(estimator, "base_estimator_", estimator)  # of a classifier by Gaussian processes
    several = getattr(inside, "estimators_", [inside])
    known = 0
    for one in several:
        rows = next((vars(one)[name] for name in ("X_train_", "X_fit_", "X_") if name in vars(one)), None)
        if rows is None:
            return None
        known += rows.shape[0]
    return Cost(500_000, 500 + known * (20 + 2 * columns))


def _kernel_ridge(estimator: Any, columns: float) -> Cost:
    return Cost(500_000, 200 + estimator.X_fit_.shape[0] * (3 + 0.2 * columns))


def _network(estimator: Any, columns: float) -> Cost:
    return Cost(200_000, 500 + 0.7 * sum(weights.size for weights in estimator.coefs_))


def _centers(estimator: Any, columns: float) -> Cost:
    for name in ("cluster_centers_", "subcluster_centers_", "centroids_"):
        if (centers := getattr(estimator, name, None)) is not None:
            return Cost(500_000, 50 + 0.3 * len(centers) * (5 + columns))
    return Cost(500_000, 200 + columns * 100)


def _dummy(estimator: Any, columns: float) -> Cost:
    return Cost(50_000, 50)


def _boosters(estimator: Any, columns: float) -> Cost:
    """Of XGBoost, LightGBM, CatBoost: how many trees there are, however deep."""
    if hasattr(estimator, "get_booster"):
        trees = float(estimator.get_booster().num_boosted_rounds())
    elif hasattr(estimator, "booster_"):
        trees = float(estimator.booster_.num_trees())
    else:
        trees = float(estimator.tree_count_ or 0)
    outputs = max(1, len(getattr(estimator, "classes_", ())) or 1)
    return Cost(2_000_000 + 50_000 * columns, 500 + trees * outputs * 60 + 20 * columns)


def _columns_apart(estimator: Any, columns: float) -> Cost | None:
    """Some columns to one transformer, some to another one."""
    parts = []
    for _, one, chosen in estimator.transformers_:
        its_columns = TEXT_LENGTH if isinstance(chosen, str) else float(_count(chosen, columns))
        parts.append((one, 0.0 if isinstance(one, str) and one == "drop" else its_columns))
    return _side_by_side(parts, 1, each=500_000)


def _united(estimator: Any, columns: float) -> Cost | None:
    return _side_by_side(((one, columns) for _, one in estimator.transformer_list), 1, each=100_000)


def _column_by_column(estimator: Any, columns: float) -> Cost:
    """Scaling, binning, filling in: 100 ns a value; encoding takes as much for texts."""
    known = getattr(estimator, "categories_", None)
    made = sum(len(one) for one in known) if known is not None else columns
    made = float(getattr(estimator, "n_output_features_", made))
    return Cost(200_000, 200 * columns + 5 * made, made)


def _projection(estimator: Any, columns: float) -> Cost:
    parts = getattr(estimator, "components_", None)
    made = float(parts.shape[0]) if parts is not None and parts.ndim == 2 else columns
    return Cost(200_000, 200 + 2 * columns * made, made)


def _selection(estimator: Any, columns: float) -> Cost:
    return Cost(200_000, 20 * columns, float(estimator.get_support().sum()))


def _words(estimator: Any, columns: float) -> Cost:
    made = getattr(estimator, "vocabulary_", None)
    made = float(len(made)) if made is not None else float(getattr(estimator, "n_features", columns))
    return Cost(200_000, 5_000 + 150 * columns, min(made, TEXT_LENGTH))  # of a row most are nought


_PACKAGES = {"sklearn", "xgboost", "lightgbm", "catboost"}

_BY_NAME: dict[str, Rule] = {
    "_ConstantPredictor": _dummy,  # inside of one-versus-rest, where all rows are of one kind
    "BaseForest": _trees,
    "IsolationForest": _trees,
    "BaseGradientBoosting": _boosted_trees,
    "BaseHistGradientBoosting": _histogram_trees,
    "BaseDecisionTree": _tree,
    "ColumnTransformer": _columns_apart,
    "FeatureUnion": _united,
    "LinearDiscriminantAnalysis": _linear,
    "QuadraticDiscriminantAnalysis": _gaussians,
    "LinearSVC": _linear,
    "LinearSVR": _linear,
    "BaseLibSVM": _vectors,
    "NearestCentroid": _centers,
    "BaseMixture": _gaussians,
    "BayesianGaussianMixture": _gaussians,
    "XGBModel": _boosters,
    "LGBMModel": _boosters,
    "CatBoost": _boosters,
}

_BY_MODULE: dict[str, Rule] = {
    "sklearn.linear_model": _linear,
    "sklearn.cross_decomposition": _linear,
    "sklearn.naive_bayes": _bayes,
    "sklearn.neighbors": _neighbors,
    "sklearn.gaussian_process": _kernels,
    "sklearn.kernel_ridge": _kernel_ridge,
    "sklearn.semi_supervised": _kernels,
    "sklearn.neural_network": _network,
    "sklearn.cluster": _centers,
    "sklearn.dummy": _dummy,
    "sklearn.isotonic": _dummy,
    "sklearn.preprocessing": _column_by_column,
    "sklearn.impute": _column_by_column,
    "sklearn.decomposition": _projection,
    "sklearn.random_projection": _projection,
    "sklearn.kernel_approximation": _projection,
    "sklearn.feature_selection": _selection,
    "sklearn.feature_extraction": _words,
}

# What tells that a rule is for this estimator: others in the module are not in the table, or have one inside.
_NEEDS: dict[Rule, str] = {
    _linear: "coef_",
    _bayes: "classes_",
    _neighbors: "n_samples_fit_",
    _network: "coefs_",
    _selection: "get_support",
}


# Sizes ----------------------------------------------------------------------------------------------


def _outputs(coefficients: Any) -> int:
    shape: tuple[int, ...] = getattr(coefficients, "shape", ())
    return int(shape[0]) if len(shape) == 2 else 1


def _flat(several: Any) -> list[Any]:
    return list(several.ravel()) if hasattr(several, "ravel") else list(several)


def _largest(steps: Any) -> float:
    return float(max(_flat(steps))) if hasattr(steps, "__len__") else float(steps)


def _count(chosen: Any, columns: float) -> float:
    if isinstance(chosen, slice):
        return columns
    if getattr(getattr(chosen, "dtype", None), "kind", "") == "b":
        return float(chosen.sum())
    return float(len(chosen)) if hasattr(chosen, "__len__") else 1.0
