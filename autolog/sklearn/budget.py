"""Whether we may call the user's model once more: without side effects, and within the budget.

The budget is one of work, by a table (see :mod:`autolog.sklearn.work`), and not one of time: else it would
depend on what else the machine does which records a fit holds. The clock only ends what takes far longer.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from autolog.capture.kinds import is_lazy, not_computed
from autolog.core.allowance import rounded_up
from autolog.core.recording import Recording
from autolog.process.context import watching
from autolog.sklearn.inside import attribute
from autolog.sklearn.known import training_data
from autolog.sklearn.work import cost_of, fit_factor

__all__ = ["Aborted", "Rows", "affordable_rows", "length", "predicted_by"]

SECONDS = 1.0  # of work that the budget is a share of, whatever was fitted: 50 ms of 0.05
PART_SECONDS = 0.1
ABORT_SECONDS = 1.0


@dataclass
class Rows:
    """Evenly spaced rows: the same ones every time, without touching any random state."""

    count: int
    whole: int

    @property
    def sampled(self) -> bool:
        """Whether it is not all of them."""
        return self.count < self.whole

    def of(self, values: Any) -> Any:
        """These rows of an array, frame, list or sparse matrix."""
        if not self.sampled:
            return values
        import numpy as np
        from sklearn.utils import _safe_indexing

        if hasattr(values, "tocsr"):
            values = values.tocsr()  # not every sparse format can be indexed
        return _safe_indexing(values, np.linspace(0, self.whole - 1, self.count).astype(int))


class Aborted(Exception):  # noqa: N818 - it is no fault, and never leaves the room
    """What we called took far longer than the table says."""

    def __init__(self, method: str, seconds: float, rows: int, whole: int):
        super().__init__(
            f"aborted: {method} of {rows:,} of {whole:,} rows had taken {seconds:.1f} s. A larger "
            "Settings.budget gives it more time."
        )


def affordable_rows(
    run: Recording, estimator: Any, method: str, X: Any, *, at_most: int | None = None
) -> Rows | str:
    """How many rows we may call this method with, of our own accord; a text: none, and why.

    Only a model whose prediction is known to change nothing: scikit-learn's own and its boosting kin, with
    no code or random generator of the user's inside; and one whose cost is known. All of the rows, or
    ``at_most`` so many, or none: what rests on other rows each time cannot be compared.
    """
    if is_lazy(X):
        return not_computed(X)
    whole = length(X)
    if not whole or not hasattr(estimator, method):
        return f"there is no {method}"
    if (stranger := _stranger_in(estimator)) is not None:
        return f"{method} of a {stranger} may have effects of its own, and is the user's to call"
    wanted = min(whole, at_most or whole)
    columns = _columns_of(X)
    cost = cost_of(estimator, columns)
    if cost is None:
        kind = type(estimator).__name__
        return f"what {method} of a {kind} costs stands in no table, so it is the user's to call"
    needed = cost.seconds(wanted)
    fitting, spent, wished = 0.0, 0.0, needed
    known = training_data.get(run)
    if known is not None:
        fitting = fit_factor(estimator) * cost.row * (known.rows or 0) * max(1, known.fits) / 1e9
        if known.is_loop:  # a loop of many short fits shares what it has
            spent = known.spent
            known.wished += needed
            wished = known.wished  # a larger budget is spent on what was left out before, too
    there_is = run.settings.budget * (SECONDS + fitting)
    if spent + needed > there_is:
        enough = wished / (SECONDS + fitting)
        return (
            f"{method} of {wanted:,} rows would pass the budget ({needed:.2g} s of work by our table); "
            f"Settings.budget={rounded_up(enough):g} records it"
        )
    if known is not None:
        known.spent += needed
    return Rows(wanted, whole)


def predicted_by(run: Recording, estimator: Any, method: str, X: Any) -> Any:
    """Call this method with all of these rows; in parts, if that takes long by our table.

    What it returns is no prediction of the user's: none of our hooks sees it.

    Raises:
        Aborted: it has taken far longer.
    """
    with watching("sklearn"):
        return _predicted_by(run, estimator, method, X)


def _predicted_by(run: Recording, estimator: Any, method: str, X: Any) -> Any:
    function = getattr(estimator, method)
    whole = length(X) or 0
    cost = cost_of(estimator, _columns_of(X))
    parts = min(whole, int(cost.seconds(whole) / PART_SECONDS)) if cost is not None else 0
    if parts < 2 or not hasattr(X, "shape"):
        return function(X)
    import numpy as np
    from sklearn.utils import _safe_indexing

    known = training_data.get(run)
    share = run.settings.budget * (known.fit_seconds if known is not None else 0.0)
    began, done = time.perf_counter(), []
    if hasattr(X, "tocsr"):
        X = X.tocsr()
    bounds = np.linspace(0, whole, parts + 1).astype(int)
    for first, last in itertools.pairwise(bounds):
        taken = time.perf_counter() - began
        if taken > max(ABORT_SECONDS, share):
            raise Aborted(method, taken, int(first), whole)
        done.append(function(_safe_indexing(X, slice(int(first), int(last)))))
    if not all(isinstance(part, np.ndarray) for part in done):  # of several outputs: a list of arrays
        return function(X)
    return np.concatenate(done)


def _columns_of(X: Any) -> float:
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) > 1:
        return float(shape[1])
    some = X[:100] if isinstance(X, (list, tuple)) else ()
    texts = [len(text) for text in some if isinstance(text, str)]
    if texts:
        return sum(texts) / len(texts)
    return float(len(some[0])) if some and hasattr(some[0], "__len__") else 1.0


def length(values: Any) -> int | None:
    """How many rows there are, if that can be told without counting them."""
    shape = getattr(values, "shape", None)
    if shape:
        return int(shape[0]) if isinstance(shape[0], Integral) else None  # Dask does not always know its own
    return len(values) if hasattr(values, "__len__") else None


_KNOWN_PACKAGES = {"sklearn", "xgboost", "lightgbm", "catboost", "imblearn", "interpret", "numpy", "scipy"}

# Parameters of which no prediction knows. (What draws from a ``random_state`` as it predicts is told apart.)
_OF_THE_FIT = {"callbacks", "cv", "eval_metric", "memory", "objective", "random_state", "scoring"}


def _stranger_in(value: Any, depth: int = 0) -> str | None:
    """The first thing that an estimator predicts with which is the user's code, or draws random numbers."""
    if value is None or isinstance(value, (str, bytes, bool, int, float, complex)) or depth > 8:
        return None
    if isinstance(value, (list, tuple, set, frozenset)):
        return next((s for item in list(value)[:100] if (s := _stranger_in(item, depth + 1))), None)
    if isinstance(value, Mapping):
        return _stranger_in(list(value.values()), depth + 1)
    if callable(value) and not isinstance(value, type):
        # What functools.partial, numpy.vectorize or a decorator calls in the end.
        for inside in ("func", "pyfunc", "__wrapped__"):
            if (called := getattr(value, inside, None)) is not None:
                return _stranger_in(called, depth + 1)
    kind = value if callable(value) and hasattr(value, "__module__") else type(value)
    name = f"{getattr(kind, '__name__', type(value).__name__)}"
    package = str(getattr(kind, "__module__", None) or "").split(".")[0]
    if package not in _KNOWN_PACKAGES or "random" in str(type(value).__module__) or _draws(value):
        return name
    if (best := attribute(value, "best_estimator_")) is not None:
        return _stranger_in(best, depth + 1)  # a search predicts with it alone
    if hasattr(value, "get_params") and not isinstance(value, type):
        params = value.get_params(deep=False)
        return _stranger_in([one for key, one in params.items() if key not in _OF_THE_FIT], depth + 1)
    return None


def _draws(value: Any) -> bool:
    """Whether predicting with this estimator of scikit-learn's draws random numbers."""
    if getattr(value, "sample_posterior", False) is True:  # IterativeImputer
        return True
    return type(value).__name__ == "DummyClassifier" and value.strategy in ("stratified", "uniform")
