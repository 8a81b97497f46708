"""scikit-learn's own callbacks (1.9 and later): a fit that carries ours is recorded, and its iterations."""

from __future__ import annotations

import copy
import copyreg
import functools
import itertools
import math
import sys
from collections.abc import Iterable, Iterator
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
from autolog.process.imports import when_imported
from autolog.sklearn.budget import Rows, length

__all__ = ["TrackioCallback", "callback_of", "know_model", "say_if_left_behind"]

LOSS_ROWS = 500  # of the training data, that the loss of one iteration rests on
EACH = 64  # so many iterations are told each, at the default budget; then every second, every fourth, ...
LOOKED_AT = 200  # things inside of an estimator, for a callback of ours: a grid may hold any number of values

# What takes objects to other processes has a list of its own of how to pickle them, apart from `pickle`'s.
_TRANSPORTS = (
    ("multiprocessing.reduction", "ForkingPickler.register"),
    ("joblib.externals.loky.backend.reduction", "register"),
    ("loky.backend.reduction", "register"),
)


class TrackioCallback(NativeCallback):
    """Records the fits of one estimator: what ``autolog.enable("sklearn")`` records, and its iterations.

    Where the estimator tells of its iterations (logistic regression does), ``train/loss`` is recorded: the
    log loss or squared error on up to 500 training rows, after each of the first 64 iterations, every second
    one up to 128, every fourth up to 256 and so on (``Settings.budget`` scales that). Where many
    fits are one run (``search/``, ``cv/``, ``fits/``), the last loss and the number of iterations of each fit
    are recorded instead, from worker processes too.

    Set on an estimator inside of another one (of a search, a pipeline, an ensemble, in the grid of a search,
    or as what ``cross_validate`` is given), it has the outermost call recorded, as ``enable`` does: one run,
    not one for each of the inner fits.

    Args:
        run: the run to write to. None: the one that is open, else a new one per fit.
        max_propagation_depth: how many levels of estimators inside of this one tell of their iterations, too;
            None: all.

    Raises:
        TypeError: ``run`` is none of autolog's runs.
        RunError: ``run`` is finished.
        FrameworkError: this scikit-learn has no callbacks.

    Examples:
        >>> model = LogisticRegression().set_callbacks(TrackioCallback())
        >>> model.fit(X, y)

    ``autolog.disable()`` turns it off, too.

    Copies and clones share it, and worker processes get it (joblib's own, of the backend loky, and those of
    ``multiprocessing``; not those of joblib's backend ``multiprocessing``). A model that is written to a file
    leaves it behind: scikit-learn's ``FitCallback``, which does nothing, is there in its
    place, so that the model loads where autolog is not installed. To record a model that was loaded, set it
    once more.
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
        # Not called `max_propagation_depth`: scikit-learn takes what has that for one that it hands down, and
        # lets no estimator inside of another one have it.
        self._depth = depth
        self._fits: WeakKeyDictionary[Any, _Fit] = WeakKeyDictionary()
        self.write_to(run, "sklearn")

    # Copies -----------------------------------------------------------------------------------------

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _goes_to_processes(cls)

    def __copy__(self) -> TrackioCallback:
        return self

    def __deepcopy__(self, memo: Any) -> TrackioCallback:
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _nothing_in_its_place()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_fits"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "max_propagation_depth" in state:  # in a file of version 0.1
            self._depth = self.__dict__.pop("max_propagation_depth")
        self._fits = WeakKeyDictionary()

    # What scikit-learn calls. An exception here would abort the fit.

    def setup(self, estimator: Any, context: Any) -> None:
        """The fit begins. It is recorded by the hook around it, which knows this callback."""
        with shield("scikit-learn: TrackioCallback"):
            self._hand_down(context)

    def teardown(self, estimator: Any, context: Any) -> None:
        """The fit has ended, or failed."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """A part of the fit begins."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
    ) -> None:
        """A part of the fit has ended: an iteration, or one fit of a search."""
        if _own_callback_of(estimator) is self:  # of two on one estimator the first one tells
            self._told(context, X, y, fitted_estimator)

    def _told(self, context: Any, X: Any, y: Any, fitted: Any) -> None:
        with shield("scikit-learn: TrackioCallback"):
            run = innermost()
            if run is not None:
                charge(run)
                self._record(run, context, X, y, fitted)

    def _hand_down(self, context: Any) -> None:
        """Be told of the estimators inside of this one, too.

        This callback itself cannot be handed down, or it could not be set on one inside of another one. So
        for the time of a fit there is another one beside it, which can, in the fit's own list.
        """
        if self._depth == 0:
            return
        others = [one for one in context._callbacks if not isinstance(one, _Follower)]
        # scikit-learn counts from the outermost estimator.
        deepest = None if self._depth is None else self._depth + context._propagation_depth
        for one in context._callbacks:  # handed down from one around this one
            if isinstance(one, _Follower):
                depth = one.max_propagation_depth
                deepest = None if deepest is None or depth is None else max(deepest, depth)
        context._callbacks = [*others, _Follower(self, deepest)]

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


class _Follower:
    """What scikit-learn hands down to the estimators inside of one that carries a callback of ours."""

    def __init__(self, callback: TrackioCallback, max_propagation_depth: int | None):
        self.callback = callback
        self.max_propagation_depth = max_propagation_depth

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _nothing_in_its_place()  # of what stands in for our callback nobody could ask anything

    def setup(self, estimator: Any, context: Any) -> None:
        pass

    def teardown(self, estimator: Any, context: Any) -> None:
        pass

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        pass

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None
    ) -> None:
        if _own_callback_of(estimator) is None:
            self.callback._told(context, X, y, fitted_estimator)


def _nothing_in_its_place() -> Any:
    """How `pickle` writes a callback of ours: as one of scikit-learn's, which does nothing."""
    from sklearn.callback import FitCallback  # a protocol, of which nobody but a pickle makes an object

    return copyreg._reconstructor, (FitCallback, object, None)  # type: ignore[attr-defined]


def _goes_to_processes(kind: type[TrackioCallback | _Follower]) -> None:
    """Processes that work for this one get the callback itself, which a file does not."""
    for module, path in _TRANSPORTS:
        when_imported(module, functools.partial(_register, kind, module, path))


def _register(kind: type[TrackioCallback | _Follower], module: str, path: str) -> None:
    with shield(f"pickling for {module}"):
        register: Any = sys.modules[module]
        for name in path.split("."):
            register = getattr(register, name)
        register(kind, _taken_along)


def _taken_along(callback: TrackioCallback | _Follower) -> Any:
    return copyreg.__newobj__, (type(callback),), callback.__getstate__()  # type: ignore[attr-defined]


_goes_to_processes(TrackioCallback)
_goes_to_processes(_Follower)


def say_if_left_behind(run: Recording) -> None:
    """joblib's own pickler for its backend multiprocessing takes no reducer of ours."""
    from joblib.parallel import get_active_backend

    if type(get_active_backend()[0]).__name__ == "MultiprocessingBackend":
        why = "of fits in workers of joblib's backend multiprocessing; those of loky, its default, tell them"
        run.note_lost("iterations", why)


def _own_callback_of(estimator: Any) -> NativeCallback | None:
    return callback_among(getattr(estimator, "_skl_callbacks", None) or ())


def callback_of(estimator: Any) -> NativeCallback | None:
    """The callback of ours that an estimator carries, or one that is inside of it.

    The outermost call is the run, wherever the callback is: or each fit of a search would be one.
    """
    own = _own_callback_of(estimator)
    if own is not None or not catalogue.is_armed("sklearn"):  # there is none in this process
        return own
    return next((found for one in _inside(estimator) if (found := _own_callback_of(one)) is not None), None)


def _inside(estimator: Any) -> Iterator[Any]:
    """Whatever an estimator was made with, and what is inside of that: at most so many things."""
    todo: list[Any] = [estimator]
    seen: set[int] = set()
    for _ in range(LOOKED_AT):
        if not todo:
            return
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, dict):
            inner: Iterable[Any] = thing.values()
        elif isinstance(thing, (list, tuple)):
            inner = thing
        else:  # what it has learned ends with an underscore
            inner = [value for name, value in vars(thing).items() if not name.endswith("_")]
        todo += filter(_may_hold_others, itertools.islice(inner, LOOKED_AT))


def _may_hold_others(thing: Any) -> bool:
    kind = type(thing)
    return kind in (dict, list, tuple) or (hasattr(kind, "get_params") and hasattr(thing, "__dict__"))


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
_models: WeakKeyDictionary[Recording, str] = WeakKeyDictionary()


def know_model(run: Recording, estimator: Any) -> None:
    """This is what the run is of: what else is fitted meanwhile is a part of it."""
    _models[run] = type(estimator).__name__


def _place_of(run: Recording, context: Any) -> tuple[str | None, int]:
    """Which of a run's fits this is, and among whose; None: the one whose curve is the run's.

    Curves of several fits over the same steps would be one that nobody can read.
    """
    if _is_searched(context):
        return "search", _number_of(context)
    number = next(_numbers.setdefault(run, itertools.count()))
    if _is_fold():
        return "cv", number
    *_, outermost = _path(context)
    is_the_runs = run.is_of_this_process and _models.get(run) == outermost.estimator_name
    return (None if is_the_runs and not number else "fits"), number  # of an ensemble, of a warm_start loop


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
