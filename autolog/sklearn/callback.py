"""scikit-learn's own callbacks (1.9 and later): a fit that carries ours is recorded, and its iterations."""

from __future__ import annotations

import copy
import itertools
import math
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from autolog.core import catalogue
from autolog.core.callbacks import NativeCallback, callback_among
from autolog.core.current import innermost
from autolog.core.recording import Recording
from autolog.core.run import Run
from autolog.process.guard import charge, shield
from autolog.sklearn.budget import Rows, length

__all__ = ["TrackioCallback", "callback_of"]

LOSS_ROWS = 500  # of the training data, that the loss of one iteration rests on
EACH = 64  # so many iterations are told each, at the default budget; then every second, every fourth, ...


class TrackioCallback(NativeCallback):
    """Records the fits of one estimator: what ``autolog.enable("sklearn")`` records, and its iterations.

    Where the estimator tells of its iterations (logistic regression does), ``train/loss`` is recorded: the
    log loss or squared error on up to 500 training rows, after each of the first 64 iterations, every second
    one up to 128, every fourth up to 256 and so on (``Settings.budget`` scales that). Where many
    fits are one run (``search/``, ``cv/``, ``fits/``), the last loss and the number of iterations of each fit
    are recorded instead, from worker processes too.

    Args:
        run: the run to write to. None: the one that is open, else a new one per fit.
        max_propagation_depth: how many levels of inner estimators tell of their iterations; None: all.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.
        FrameworkError: this scikit-learn has no callbacks.

    Example:
        >>> model = LogisticRegression().set_callbacks(TrackioCallback())
        >>> model.fit(X, y)

    ``autolog.disable()`` turns it off, too.
    """

    def __init__(self, run: Run | None = None, *, max_propagation_depth: int | None = 1):
        depth = max_propagation_depth
        if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
            raise TypeError(
                f"TrackioCallback: max_propagation_depth={depth!r}; expected a whole number or None."
            )
        try:
            import sklearn.callback
        except ImportError:
            import sklearn

            raise catalogue.FrameworkError(
                f"scikit-learn {sklearn.__version__} has no callbacks. Run: pip install 'scikit-learn>=1.9', "
                'or call autolog.enable("sklearn"), which needs none.'
            ) from None
        self.max_propagation_depth = max_propagation_depth
        self._fits: WeakKeyDictionary[Any, _Fit] = WeakKeyDictionary()
        self.write_to(run, "sklearn")

    def __getstate__(self) -> dict[str, Any]:
        return {"run": self.run, "max_propagation_depth": self.max_propagation_depth}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fits = WeakKeyDictionary()

    # What scikit-learn calls. An exception here would abort the fit.

    def setup(self, estimator: Any, context: Any) -> None:
        """The fit begins. It is recorded by the hook around it, which knows this callback."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """The fit has ended, or failed."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """A part of the fit begins."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
    ) -> None:
        """A part of the fit has ended: an iteration, or one fit of a search."""
        with shield("scikit-learn: TrackioCallback"):
            run = innermost()
            if run is not None:
                charge(run)
                self._record(run, context, X, y, fitted_estimator)

    def _record(self, run: Recording, context: Any, X: Any, y: Any, fitted: Any) -> None:
        parent = context.parent
        is_leaf = parent is not None and context.max_subtasks == 0
        if is_leaf and parent.estimator_name == context.estimator_name:
            if fitted is None:  # the task that finds out that there is no further iteration
                return
            fit = self._fits.get(parent)
            if fit is None:
                fit = self._fits[parent] = _Fit(run, context)
            fit.iterations = context.task_id + 1
            loss = fit.loss_of(fitted, X, y)
            if loss is not None and fit.among is None:
                run.log({"train/loss": loss}, step=fit.iterations)
        elif context in self._fits:
            self._fits.pop(context).record(run)


def callback_of(estimator: Any) -> NativeCallback | None:
    """The callback of ours that an estimator carries."""
    return callback_among(getattr(estimator, "_skl_callbacks", None) or ())


class _Fit:
    """The iterations of one fit so far."""

    def __init__(self, run: Recording, context: Any) -> None:
        self.among, self.number = _place_of(run, context)
        self.iterations = 0
        self.loss: float | None = None
        self.left_out = 0
        self._each = int(EACH * run.settings.budget / 0.05)

    def loss_of(self, fitted: Any, X: Any, y: Any) -> float | None:
        """The loss after one iteration, if this one is told: which are, is the same every time."""
        number = self.iterations - 1
        if number and number % _stride(number, self._each):
            self.left_out += 1
            return None
        loss = _loss(fitted, X, y)
        self.loss = self.loss if loss is None else loss
        return loss

    def record(self, run: Recording) -> None:
        """The fit has ended."""
        if self.left_out:
            told = self.iterations - self.left_out
            enough = math.ceil(5 * self.iterations / EACH) / 100
            run.note(
                "train/loss",
                f"of {told} of {self.iterations} iterations; Settings.budget={enough:g} records all of them",
            )
        if self.among is not None:
            row: dict[str, float] = {f"{self.among}/iterations": self.iterations}
            if self.loss is not None:
                row[f"{self.among}/loss"] = self.loss
            run.log(row, step=self.number)


def _stride(number: int, each: int) -> int:
    """1 for the first ``each``, then 2 until there are twice as many, then 4, ..."""
    return number + 1 if not each else 1 << (number // each).bit_length()


def _loss(fitted: Any, X: Any, y: Any) -> float | None:
    """Log loss or mean squared error, on evenly spaced rows; None where it cannot be said."""
    whole = length(X)
    if fitted is None or not whole or y is None:
        return None
    rows = Rows(min(whole, LOSS_ROWS), whole)
    some, truth = rows.of(X), np.asarray(rows.of(y))
    if "feature_names_in_" in vars(fitted) and not hasattr(some, "columns"):
        fitted = copy.copy(fitted)  # or it would warn the user that this array has no names
        del fitted.feature_names_in_
    classes = getattr(fitted, "classes_", None)
    if classes is None:
        if truth.dtype.kind not in "fiu" or not hasattr(fitted, "predict"):
            return None
        return float(np.mean((truth - fitted.predict(some)) ** 2))
    if not hasattr(fitted, "predict_proba") or truth.ndim != 1:
        return None
    places = np.searchsorted(classes, truth)
    if not np.array_equal(np.asarray(classes)[np.minimum(places, len(classes) - 1)], truth):
        return None  # targets that have been encoded on the way
    chosen = fitted.predict_proba(some)[np.arange(len(truth)), places]
    return float(-np.mean(np.log(np.maximum(chosen, sys.float_info.min))))


def _path(context: Any) -> Iterator[Any]:
    while context is not None:
        yield context
        context = context.parent


_numbers: WeakKeyDictionary[Recording, Iterator[int]] = WeakKeyDictionary()


def _place_of(run: Recording, context: Any) -> tuple[str | None, int]:
    """Which of a run's fits this is, and among whose; None: the one whose curve is the run's.

    Curves of several fits over the same steps would be one that nobody can read.
    """
    if _is_searched(context):
        return "search", _number_of(context)
    number = next(_numbers.setdefault(run, itertools.count()))
    if _is_fold():
        return "cv", number
    return ("fits" if number else None), number  # of an ensemble, or of a loop with warm_start


def _is_fold() -> bool:
    """Whether a cross-validation is fitting; its clones know nothing of that, in a worker process least."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == "sklearn.model_selection._validation":
            return True
        frame = frame.f_back
    return False


def _is_searched(context: Any) -> bool:
    """Whether this belongs to one of the many fits of a search, not to the last one with the best."""
    return any(task.task_name == "search" for task in _path(context))


def _number_of(context: Any) -> int:
    """Which of a search's fits this is, from 0 on."""
    number = 0
    for task in _path(context):
        if task.task_name == "search":
            return number
        number = task.task_id
    return number
