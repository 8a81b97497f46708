"""Whether we may call the user's model once more: without side effects, and within the time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from autolog.core.allowance import LEAST_SECONDS
from autolog.core.recording import Recording
from autolog.sklearn.described import training_data

__all__ = ["Rows", "affordable_rows", "seconds_left"]

PROBE_ROWS = 32  # predicted first, to know what the rest would cost


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


def seconds_left(run: Recording) -> float:
    """What may be spent on one optional capture: a share of the fit's own time, 50 ms at least.

    A loop of many short fits has no 50 ms for each of them.
    """
    known = training_data.get(run)
    if known is None:
        return LEAST_SECONDS
    share = run.settings.budget * known.fit_seconds
    return share if known.is_loop else max(LEAST_SECONDS, share)


def affordable_rows(
    run: Recording, estimator: Any, method: str, X: Any, *, at_most: int | None = None
) -> Rows | str:
    """How many rows we may call this method with, of our own accord; a text: none, and why.

    Only a model whose prediction is known to change nothing: scikit-learn's own and its boosting kin, with
    no code or random generator of the user's inside. And only inside the budget, as one row and a few
    foretell: all of them, or ``at_most`` so many, or none.
    """
    whole = length(X)
    if not whole or not hasattr(estimator, method):
        return f"there is no {method}"
    if (stranger := _stranger_in(estimator)) is not None:
        return f"{method} of a {stranger} may have effects of its own, and is the user's to call"
    wanted = min(whole, at_most or whole)
    budget = seconds_left(run)
    one, few = Rows(1, whole), Rows(min(PROBE_ROWS, wanted), whole)
    call = getattr(estimator, method)
    fixed = _seconds(call, one.of(X))
    if budget / 4 < fixed < 4 * budget:  # the first call of all may have been cold
        fixed = _seconds(call, one.of(X))
    # One row tells what a call costs at all, a few what a row costs. What may take many times the budget
    # for those few is not asked for them.
    short = f"{method} of {wanted} rows would pass the budget"
    if fixed > budget / 4:
        return short
    spent = _seconds(call, few.of(X))
    per_row = max(0.0, spent - fixed) / max(1, few.count - 1)
    # Not as many as there is time for: what rests on other rows each time cannot be compared.
    return Rows(wanted, whole) if spent + per_row * (wanted - few.count) <= budget else short


def length(values: Any) -> int | None:
    """How many rows there are, if that can be told without counting them."""
    shape = getattr(values, "shape", None)
    if shape:
        return int(shape[0])
    return len(values) if hasattr(values, "__len__") else None


def _seconds(function: Callable[[Any], Any], argument: Any) -> float:
    started = time.perf_counter()
    function(argument)
    return time.perf_counter() - started


_KNOWN_PACKAGES = {"sklearn", "xgboost", "lightgbm", "catboost", "numpy", "scipy"}


def _stranger_in(value: Any, depth: int = 0) -> str | None:
    """The first thing in an estimator's parameters that is code of the user's, or draws random numbers."""
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
    if hasattr(value, "get_params") and not isinstance(value, type):
        return _stranger_in(list(value.get_params(deep=False).values()), depth + 1)
    return None


def _draws(value: Any) -> bool:
    """Whether predicting with this estimator of scikit-learn's draws random numbers."""
    if getattr(value, "sample_posterior", False) is True:  # IterativeImputer
        return True
    return type(value).__name__ == "DummyClassifier" and value.strategy in ("stratified", "uniform")
