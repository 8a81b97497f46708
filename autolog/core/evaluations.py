"""What no hook can know of an evaluation: the name of its data, and predictions that come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autolog.core.current import open_here, trained_here
from autolog.core.opening import given_run
from autolog.core.recording import Recording
from autolog.core.results import record_evaluation
from autolog.core.writer import RunError
from autolog.process.context import carry

if TYPE_CHECKING:
    from autolog.core.run import Run

__all__ = ["Name", "evaluation", "log_evaluation", "name_here", "name_of", "say_main"]


@dataclass(frozen=True)
class Name:
    """What a user calls the data that they evaluate."""

    text: str
    is_main: bool


_name: ContextVar[Name | None] = ContextVar("autolog_evaluation", default=None)
carry(_name)


def name_here() -> Name | None:
    """What the user calls the data that is evaluated here; None: they have not said it."""
    return _name.get()


@contextmanager
def evaluation(name: str, *, main: bool = False) -> Iterator[None]:
    """Name the data that is evaluated inside.

    >>> with autolog.evaluation("test"):
    ...     model.score(X_test, y_test)  # test/accuracy and its kin

    Without it the data of an evaluation is ``train`` if it was trained on, else ``val``, a second set
    ``val/set-2``, and ``eval`` if nobody can tell. It holds for models of scikit-learn's kind, for Keras'
    ``evaluate`` and for :func:`log_evaluation`. Lightning and transformers name their evaluations
    themselves, by the stage and by ``metric_key_prefix``.

    Args:
        name: of the data: the part of its keys before the metric. A ``/`` makes groups (``test/2024``).
        main: this is the set by which a person judges the run. Without it that is ``val``.

    Raises:
        TypeError, ValueError: not a name.
    """
    token = _name.set(Name(_checked(name), main))
    try:
        yield
    finally:
        try:
            _name.reset(token)
        except ValueError:  # left in another context than entered, as generators may be: it is not set here
            pass


def log_evaluation(
    y_true: Any,
    y_pred: Any = None,
    *,
    scores: Any = None,
    name: str | None = None,
    classes: Any = None,
    sample_weight: Any = None,
    task: str | None = None,
    run: Run | None = None,
) -> Mapping[str, float]:
    """Evaluate predictions, whoever made them, and record it as the hooks do: metrics, tables, pictures.

    >>> autolog.log_evaluation(y_test, my_own_model(X_test), name="test")

    Args:
        y_true: the truth, shape (n,) or (n, outputs).
        y_pred: predictions of the same shape. None: those of the highest scores.
        scores: probabilities or decision values, shape (n,) or (n, classes).
        name: of the data, see :func:`evaluation`. None: that of an :func:`evaluation` around, else ``val``.
        classes: the classes in the order of the scores' columns, shape (classes,).
        sample_weight: weights, shape (n,), not negative.
        task: ``classification`` or ``regression``. None: the values tell.
        run: where to. None: the last training of this context, or the run that is open here.

    Returns:
        The metrics by their keys without the name of the data, see docs/keys.md.

    Raises:
        RunError: there is no run to write to, or it is finished.
        TypeError, ValueError: not a name or a run; or truth and predictions do not go together.
    """
    from autolog.capture import evaluation as capture

    named = name_of(name)
    recording = given_run("log_evaluation", run) or _last_here()
    result = capture.evaluate(
        y_true, y_pred, scores=scores, classes=classes, sample_weight=sample_weight, task=task
    )
    if sample_weight is not None:
        recording.note(named.text, "weighted, by the sample weights that were given")
    record_evaluation(recording, named.text, result)
    say_main(recording, named)
    return result.metrics


def name_of(given: str | None) -> Name:
    """The name of data that a user evaluates by hand: what they give, that of an `evaluation` around, `val`.

    Raises:
        TypeError, ValueError: not a name.
    """
    return Name(_checked(given), False) if given is not None else name_here() or Name("val", False)


def say_main(run: Recording, name: Name) -> None:
    """Which set of the run a person looks at first, if they have said so."""
    if name.is_main:
        run.main = name.text
        run.describe({"evaluation/main": name.text})


def _checked(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"evaluation: {name!r:.100}; expected a name such as 'test' or 'test/2024'.")
    parts = name.split("/")
    if not all(part.strip() for part in parts):
        raise ValueError(f"evaluation: {name!r} is not a name. Give one such as 'test' or 'test/2024'.")
    return name


def _last_here() -> Recording:
    inside, last = open_here(), trained_here()
    if last is not None and (inside is None or last is inside or last.is_below(inside)):
        return last
    if inside is None:
        raise RunError(
            "log_evaluation: there is no run to write to. Train a model while autolog is on, open one with"
            " autolog.run(...), or give one: log_evaluation(..., run=run)."
        )
    return inside
