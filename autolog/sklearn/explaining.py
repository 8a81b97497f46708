"""``autolog.explain``: SHAP values of a model, or partial dependence of the features that matter most."""

from __future__ import annotations

import functools
import importlib
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from autolog.capture.encoded import EncodedTable, cells_of
from autolog.capture.explanations import Contributions, Dependence, contributions_of, dependence_rows
from autolog.core.current import open_here
from autolog.core.opening import given_run
from autolog.core.recording import Recording
from autolog.core.training import find_run
from autolog.core.writer import RunError
from autolog.process.guard import measured, shield
from autolog.process.imports import is_installed
from autolog.sklearn.budget import Rows, length
from autolog.sklearn.explained import explanation_number, names_of, record_contributions, record_dependence
from autolog.sklearn.inside import attribute, final_estimator, is_number
from autolog.sklearn.learned import record_permutation_importances

if TYPE_CHECKING:
    from autolog.core.run import Run

__all__ = ["explain"]

METHODS = ("auto", "shap", "partial_dependence")
BACKGROUND = 20  # rows that a feature's absence is made of
PART = 20  # rows between two looks at the clock
ROUNDS = 2  # permutations of the features, each there and back
GRID = 30
CATEGORIES = 20
REPEATS = 5
NO_SHAP = "shap is not installed. Run: pip install shap"


@measured
def explain(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    method: str = "auto",
    features: int | Sequence[str | int] = 6,
    rows: int = 200,
    seconds: float = 30.0,
    run: Run | None = None,
) -> list[dict[str, Any]]:
    """Explain a fitted model, and record it in the run of the model: a table and a picture.

    >>> autolog.explain(model, X_test)

    By SHAP values: how far each feature has moved each prediction away from the mean one (Lundberg and Lee,
    2017). Trees and linear models by themselves are explained exactly, by ``shap.TreeExplainer`` and
    ``shap.LinearExplainer``; whatever else (pipelines from their own inputs) by ``shap.PermutationExplainer``
    with 20 evenly spaced rows as background. By partial dependence: the mean prediction where one feature is
    set to a value in all rows (Friedman, 2001), as ``sklearn.inspection.partial_dependence`` computes it by
    brute force.

    What it takes is your time: after ``seconds`` it ends with the part that it is at, and a note says how far
    it came. The random numbers that you draw afterwards are the same as without it.

    Args:
        model: a fitted estimator with ``predict``: scikit-learn's, XGBoost's, LightGBM's, or one like them.
        X: the data that it is explained on, shape (rows, features): an array, a frame, or a sparse matrix.
        y: the targets, shape (rows,): then partial dependence is of the features whose shuffling costs most
            score, which is recorded, too. None: of those with the largest importances or coefficients, or of
            those that move the prediction most.
        method: ``shap``, ``partial_dependence``, or ``auto``: SHAP values if ``shap`` is installed.
        features: of how many features partial dependence is, or their names or numbers.
        rows: how many evenly spaced rows of X it rests on at most.
        seconds: how long it may take, about.
        run: the run to write to. None: that of the model, else the one that is open here.

    Returns:
        The rows of the table: ``feature`` and ``mean_abs_shap``; or ``feature``, ``value`` and
        ``mean_prediction``.

    Raises:
        RunError: no run is known to write to, or it is finished.
        ImportError: ``method="shap"``, and shap is not installed.
        TypeError, ValueError: a wrong argument; also whatever the model raises.
    """
    predict = _checked(model, method, features, rows, seconds)
    whole = length(X)
    shape = getattr(X, "shape", None)
    if shape is None and whole:
        X, shape = np.asarray(X), np.shape(X)
    if not shape or len(shape) != 2 or not whole or whole < 2:
        raise ValueError(
            f"explain: X of shape {shape}; expected a table of 2 rows or more, shape (rows, features)."
        )
    if y is not None and length(y) != whole:
        raise ValueError(f"explain: X has {whole} rows and y has {length(y)}; expected the same number.")
    recording = given_run("explain", run) or find_run(model) or open_here()
    if recording is None:
        raise RunError(
            f"explain: no run is known of this {type(model).__name__}: nothing has recorded its fit. Fit it"
            " after autolog.enable(), call explain inside of `with autolog.run(...)`, or give a run:"
            " explain(..., run=run)."
        )
    by_shap = method != "partial_dependence" and is_installed("shap")
    if method == "shap" and not by_shap:
        raise ImportError(f"explain: {NO_SHAP}, or ask for method='partial_dependence'.")
    if method == "auto" and not by_shap:
        recording.note("model/shap", f"left out: {NO_SHAP}. Partial dependence stands in its place")
    chosen = Rows(min(rows, whole), whole)
    if chosen.sampled:
        what = "model/shap" if by_shap else "model/partial_dependence"
        recording.note(what, f"of {chosen.count:,} evenly spaced rows of {whole:,}")
    some = chosen.of(X)
    some = some.toarray() if hasattr(some, "toarray") else some
    task = _Task(recording, model, predict, some, time.perf_counter() + seconds, seconds)
    if by_shap:
        return _silently(lambda: _by_shap(task))
    names = names_of(model, X)
    wanted = features if isinstance(features, int) else _places(features, names)
    return _silently(lambda: _by_dependence(task, None if y is None else chosen.of(y), wanted, names))


def _checked(model: Any, method: Any, features: Any, rows: Any, seconds: Any) -> Callable[[Any], Any]:
    """What the model is asked by."""
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(f"explain: model={model!r:.100}; expected a fitted estimator that has `predict`.")
    if method not in METHODS:
        raise ValueError(f"explain: method={method!r}; expected one of {', '.join(METHODS)}.")
    for name, value in (("rows", rows), ("features", features)):
        if name == "features" and isinstance(value, (list, tuple)) and value:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < (2 if name == "rows" else 1):
            lists = " or a list of names or numbers of columns" if name == "features" else " of 2 or more"
            raise ValueError(f"explain: {name}={value!r:.100}; expected a whole number{lists}.")
    if not is_number(seconds) or not seconds > 0:
        raise ValueError(f"explain: seconds={seconds!r:.100}; expected a number above 0.")
    if callable(attribute(model, "predict_proba")):
        return lambda X: np.asarray(model.predict_proba(X))
    if attribute(model, "classes_") is not None and callable(attribute(model, "decision_function")):
        return lambda X: np.asarray(model.decision_function(X))
    return lambda X: np.asarray(model.predict(X))


def _silently(work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What we ask of the model is nothing that the user does, and no random numbers of theirs are drawn.

    (shap seeds NumPy's generator.)
    """
    found: list[dict[str, Any]] = []
    failed: list[Exception] = []
    with shield("autolog.explain"), _random_numbers_as_before():
        try:
            found = work()
        except Exception as error:  # it is the user's to see
            failed.append(error)
    if failed:
        raise failed[0]
    return found


@contextmanager
def _random_numbers_as_before() -> Iterator[None]:
    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        np.random.set_state(numpys)
        random.setstate(pythons)


class _Task:
    """What is explained, and until when."""

    def __init__(
        self,
        run: Recording,
        model: Any,
        predict: Callable[[Any], Any],
        X: Any,
        until: float,
        seconds: float,
    ):
        self.run, self.model, self.predict, self.X = run, model, predict, X
        self.until, self.seconds = until, seconds

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.perf_counter() > self.until

    @property
    def why_over(self) -> str:
        """What a note says of that."""
        return f"{self.seconds:g} s were over; explain(seconds=...) gives more"


# SHAP values ----------------------------------------------------------------------------------------


def _by_shap(task: _Task) -> list[dict[str, Any]]:
    best = attribute(task.model, "best_estimator_")
    inner = task.model if best is None else best
    explainer, data = _exact_explainer(inner, task.X), task.X
    if explainer is None:
        explainer, data = _permuting_explainer(task)
    done: list[Any] = []
    count = len(data)
    # The first part is small: where one row takes long, the time is over after a few.
    bounds = [0, min(2, count), *range(2 + PART, count, PART), count]
    for first, last in itertools.pairwise(bounds):
        if first == last:
            continue
        if done and task.is_over:
            task.run.note("model/shap", f"of {first:,} rows of {count:,}: {task.why_over}")
            break
        part = data[first:last] if isinstance(data, np.ndarray) else data.iloc[first:last]
        done.append(np.asarray(explainer(part)))
    values = np.concatenate(done)
    names = names_of(task.model, task.X)
    classes = attribute(task.model, "classes_")
    found = contributions_of(values, names, classes, cells_of(task.X)[: len(values)])
    if found is None:
        raise ValueError(
            f"explain: shap has returned values of shape {values.shape}; expected {count} rows of them. "
            "Write method='partial_dependence'."
        )
    found = found._replace(unit=_unit_of(task, explainer.base(), found, values))
    if not found.unit:
        task.run.note("model/shap", "of which unit is not known: they add up to no output of the model")
    record_contributions(task.run, found, number=explanation_number(task.run, "shap"))
    return found.rows()


class _Explainer:
    """SHAP values of some rows, by whichever explainer of ``shap``'s."""

    def __init__(self, explain: Callable[[Any], Any], base: Callable[[], Any]):
        self._explain = explain
        self.base = base

    def __call__(self, some: Any) -> Any:
        return self._explain(some)


def _exact_explainer(model: Any, X: Any) -> _Explainer | None:
    """For trees, and linear models; None: for this one there is none."""
    if hasattr(model, "steps") or not (hasattr(X, "iloc") or isinstance(X, np.ndarray)):
        return None
    shap: Any = importlib.import_module("shap")
    few = Rows(min(len(X), 5 * BACKGROUND), len(X)).of(X)
    for kind, data in ((shap.TreeExplainer, None), (shap.LinearExplainer, few)):
        try:
            # What each model adds up to is looked at by ourselves, and depends on the kind of model.
            known = {"check_additivity": False} if data is None else {}
            explainer = kind(model) if data is None else kind(model, data)
            # (For XGBoost its base is known after the first call only.)
            base = functools.partial(getattr, explainer, "expected_value")
            explained = _Explainer(functools.partial(_values_by, explainer, known), base)
            explained(few[:2] if isinstance(few, np.ndarray) else few.iloc[:2])
        except Exception:  # each refuses the models that it does not know with errors of other kinds
            continue
        return explained
    return None


def _values_by(explainer: Any, known: dict[str, Any], some: Any) -> Any:
    return _stacked(explainer.shap_values(some, **known))


def _stacked(values: Any) -> Any:
    return np.stack([np.asarray(one) for one in values], axis=-1) if isinstance(values, list) else values


def _permuting_explainer(task: _Task) -> tuple[_Explainer, Any]:
    shap: Any = importlib.import_module("shap")
    columns = EncodedTable(task.X)
    data = columns.encoded
    background = Rows(min(len(data), BACKGROUND), len(data)).of(data)

    def predict(encoded: Any) -> Any:
        found = task.predict(columns.decoded(encoded))
        return found[:, 1] if found.ndim == 2 and found.shape[1] == 2 else found

    masker = shap.maskers.Independent(background, max_samples=BACKGROUND)
    explainer = shap.PermutationExplainer(predict, masker, seed=0)
    evaluations = ROUNDS * 2 * (2 * data.shape[1] + 1)

    def values(some: Any) -> Any:
        return explainer(some, max_evals=evaluations, silent=True).values

    return _Explainer(values, lambda: predict(background).mean(axis=0)), data


def _unit_of(task: _Task, base: Any, found: Contributions, values: Any) -> str:
    """What the values add up to beside their base: a probability, a decision, or a prediction."""
    some = task.X[: len(values)] if isinstance(task.X, np.ndarray) else task.X.head(len(values))
    whole = values.sum(axis=1) + np.asarray(base, dtype=float)
    for method, unit in (
        ("predict_proba", "of the probability"),
        ("decision_function", "of the decision function"),
        ("predict", "of the prediction"),
    ):
        asked = attribute(task.model, method)
        if not callable(asked) or (method == "predict" and attribute(task.model, "classes_") is not None):
            continue
        told = np.asarray(asked(some), dtype=float)
        if told.ndim == 2 and whole.ndim == 1:
            told = told[:, -1]
        if told.shape == whole.shape and np.allclose(told, whole, rtol=1e-2, atol=1e-3):
            return unit if not found.outputs or len(found.outputs) > 1 else f"{unit} of {found.outputs[0]}"
        if method == "predict_proba" and told.shape == whole.shape and _is_logit(told, whole):
            return "of the log-odds"
    return ""


def _is_logit(probabilities: Any, sums: Any) -> bool:
    return bool(np.allclose(1 / (1 + np.exp(-np.clip(sums, -500, 500))), probabilities, rtol=1e-2, atol=1e-3))


# Partial dependence ---------------------------------------------------------------------------------


def _places(features: Sequence[Any], names: list[str]) -> list[int]:
    found = []
    for one in features:
        if isinstance(one, str) and one in names:
            found.append(names.index(one))
        elif isinstance(one, (int, np.integer)) and not isinstance(one, bool) and 0 <= one < len(names):
            found.append(int(one))
        else:
            known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
            raise ValueError(f"explain: there is no feature {one!r}. There are: {known}.")
    return found


def _by_dependence(task: _Task, y: Any, wanted: int | list[int], names: list[str]) -> list[dict[str, Any]]:
    table = EncodedTable(task.X)
    order: Sequence[int] | None
    if isinstance(wanted, int):
        how_many, order = wanted, _most_important(task, y, names)
    else:
        how_many, order = len(wanted), wanted
    is_known = order is not None
    several: list[Dependence] = []
    for done, n in enumerate(range(len(names)) if order is None else order):
        if is_known and len(several) == how_many:
            break
        if several and task.is_over:
            task.run.note("model/partial_dependence", f"of {done} features that were tried: {task.why_over}")
            break
        one = _dependence_of(task, table, n, names)
        if one is not None:
            several.append(one)
    if not is_known:
        several.sort(key=lambda one: -one.spread)
    shown = several[:how_many]
    if not shown:
        raise ValueError(
            "explain: partial dependence could not be computed for any feature; the run's notes say why."
        )
    unit = "" if attribute(task.model, "classes_") is None else _prediction_of(task.model)
    record_dependence(task.run, shown, unit=unit, number=explanation_number(task.run, "explained dependence"))
    return dependence_rows(shown)


def _prediction_of(model: Any) -> str:
    by = "probability" if callable(attribute(model, "predict_proba")) else "decision function"
    classes = attribute(model, "classes_")
    return f"{by} of {classes[1]}" if classes is not None and len(classes) == 2 else by


def _most_important(task: _Task, y: Any, names: list[str]) -> list[int] | None:
    """Columns, the most important first; None: nothing tells which."""
    if y is not None:
        from sklearn.inspection import permutation_importance

        began = time.perf_counter()
        task.model.score(task.X, y)
        needed = (time.perf_counter() - began) * len(names)
        repeats = int(min(REPEATS, max(1.0, 0.5 * task.seconds / max(needed, 1e-9))))
        if needed * repeats < task.seconds:
            found = permutation_importance(task.model, task.X, y, n_repeats=repeats, random_state=0)
            record_permutation_importances(task.run, task.model, found)
            return [int(n) for n in np.argsort(-found.importances_mean, kind="stable")]
        task.run.note("model/permutation_importances", f"left out: it would take {needed * repeats:.0f} s")
    final = final_estimator(task.model)
    if final is not task.model and attribute(task.model, "best_estimator_") is not final:
        return None  # what the last step of a pipeline has learned is of other columns
    for name in ("feature_importances_", "coef_"):
        weights = attribute(final, name)
        if weights is not None and not hasattr(weights, "toarray"):
            sizes = np.abs(np.atleast_2d(np.asarray(weights, dtype=float))).max(axis=0)
            if len(sizes) == len(names):
                return [int(n) for n in np.argsort(-sizes, kind="stable")]
    return None


def _dependence_of(task: _Task, table: EncodedTable, n: int, names: list[str]) -> Dependence | None:
    """The mean prediction with the feature at each of some values, in all rows; None: a note says why not."""
    key = f"model/partial_dependence/{names[n]}"
    known = table.values_of(n)
    if known is not None and not task.run.keeps("data"):
        task.run.note(key, "its values are not sent to the server: Settings.share does not name 'data'")
        return None
    if known is not None and len(known) > CATEGORIES:
        task.run.note(key, f"left out: it has {len(known)} values")
        return None
    if known is not None:
        grid = np.array([code for code, _ in known])
    else:
        grid = _grid_of(table.encoded[:, n], GRID, is_whole=table.is_whole(n))
    if not len(grid):
        task.run.note(key, "left out: it has no values")
        return None
    means = []
    for value in grid:
        changed = table.encoded.copy()
        changed[:, n] = value
        means.append(np.asarray(task.predict(table.decoded(changed)), dtype=float).mean(axis=0))
    average = np.atleast_2d(np.array(means).T)
    if len(average) == 2 and attribute(task.model, "predict_proba") is not None:
        average = average[1:]  # of two classes the second one, as everywhere in scikit-learn
    classes = attribute(task.model, "classes_")
    outputs = [str(name) for name in classes] if classes is not None and len(classes) == len(average) else []
    values = [value for _, value in known] if known is not None else grid
    return Dependence((names[n],), (values,), average, outputs)


def _grid_of(column: Any, points: int, *, is_whole: bool) -> Any:
    """All values of a column of numbers, if they are few; else evenly spaced ones, without the outer 5 %."""
    finite = column[np.isfinite(column)]
    different = np.unique(finite)
    if len(different) <= points:
        return different
    low, high = np.quantile(finite, (0.05, 0.95))
    grid = np.linspace(float(low), float(high), points)
    return np.unique(np.rint(grid)) if is_whole else grid
