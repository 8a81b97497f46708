"""What the user computes to explain a model is in the run of that model: SHAP values, partial dependence.

SHAP values are those of the package ``shap``, whose explainers know their model when they are made.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from autolog.capture.explanations import (
    Contributions,
    Dependence,
    contributions_of,
    dependence_chart,
    dependence_rows,
)
from autolog.core.current import open_here, trained_here
from autolog.core.recording import Recording
from autolog.core.results import record_long_table
from autolog.core.training import Frame, bind_run, find_run
from autolog.process.context import watching
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call
from autolog.sklearn.inside import attribute
from autolog.sklearn.known import training_data
from autolog.sklearn.outputs import forget_latest, latest, set_latest

__all__ = [
    "explanation_number",
    "names_of",
    "observe_contributions",
    "observe_dependence",
    "observe_dependence_display",
    "observe_derived",
    "observe_explainer",
    "observe_shap_plot",
    "record_contributions",
    "record_dependence",
]

SHOWN = 20
FEWEST_ROWS = 10  # of a mean over rows: fewer are looked at one by one
MOST = 10  # explanations of one run by SHAP values
MOST_DEPENDENCES = 50

_OF_NOBODY = (
    "SHAP values are left out where it is not known that they are of a recorded model: give the explainer the"
    " fitted model itself, or one of its methods"
)

_last: weakref.ref[Recording] | None = None  # that was explained by SHAP values
_counts: weakref.WeakKeyDictionary[Recording, dict[str, int]] = weakref.WeakKeyDictionary()


def explanation_number(run: Recording, what: str) -> int:
    """How many of these the run has by now, with this one."""
    counts = _counts.setdefault(run, {})
    counts[what] = counts.get(what, 0) + 1
    return counts[what]


# SHAP values ----------------------------------------------------------------------------------------


def observe_explainer(explainer: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """An explainer was made, for a model or one of its methods."""
    model = args[0] if args else kwargs.get("model")
    run = find_run(getattr(model, "__self__", model))
    if run is not None:
        bind_run(explainer, run)


def observe_contributions(call: Call) -> Frame:
    """SHAP values are computed, by ``explainer(X)`` or ``explainer.shap_values(X)``."""
    run = find_run(call.subject)
    if run is not None:
        with watching("sklearn", "shap"):  # what it asks of the model is no evaluation
            outcome = yield
    else:  # of a function of the user's: whichever model is asked in it
        forget_latest()
        with watching("shap"):
            outcome = yield
        run, _ = latest()
    if outcome.error is not None:
        return
    if run is None:
        with shield("scikit-learn: SHAP values of nobody"):
            if (around := open_here() or trained_here()) is not None:
                around.note("shap", _OF_NOBODY)
        return
    with shield("scikit-learn: SHAP values"):
        charge(run)
        given = call.arguments.get("args") or ()  # some take their data by *args
        X = call.get("X", given[0] if given else None)
        _remember(outcome.result, run)
        if call.get("interactions") is True:
            run.note("model/shap", "interactions of features are not recorded")
            return
        found = _contributions(run, outcome.result, X)
        if found is None:
            run.note("model/shap", "left out: values that are of no table of rows and features")
        elif len(found.values) < FEWEST_ROWS:
            run.note("model/shap", f"left out where it is of fewer than {FEWEST_ROWS} rows")
        elif explanation_number(run, "shap") > MOST:
            run.note("model/shap", f"left out after the first {MOST} explanations")
        else:
            record_contributions(run, found, number=_counts[run]["shap"])


def _remember(result: Any, run: Recording) -> None:
    """What is drawn of it belongs to this run."""
    global _last  # the process has drawn something, of whichever thread's
    _last = weakref.ref(run)
    for part in (result, getattr(result, "values", None), *(result if isinstance(result, list) else ())):
        if part is not None:
            bind_run(part, run)


def _contributions(run: Recording, result: Any, X: Any) -> Contributions | None:
    values = getattr(result, "values", result)
    features = getattr(result, "feature_names", None)
    if features is None:
        features = getattr(X, "columns", None)
    outputs = getattr(result, "output_names", None)
    known = training_data.get(run)
    several = np.shape(values)[-1] if np.ndim(values) == 3 else len(values) if isinstance(values, list) else 0
    if known is not None and known.classes is not None and len(known.classes) == several:
        outputs = known.classes  # where shap knows no names it makes some up
    data = getattr(result, "data", None)
    return contributions_of(values, features, outputs, X if data is None else data)


def record_contributions(run: Recording, found: Contributions, *, number: int = 1) -> None:
    """SHAP values as a table of their mean sizes, and a picture.

    Args:
        number: of this explanation in the run: from the second one on it is a part of its keys.
    """
    end = f"/{number}" if number > 1 else ""
    record_long_table(run, f"model/shap_table{end}", found.rows(), shown=SHOWN)
    with_rows = run.keeps("data")
    if not with_rows:
        run.note("model/shap", "without single rows: Settings.share does not name 'data'")
    run.figure(f"model/shap{end}", found.chart(with_rows=with_rows))


def observe_shap_plot(call: Call) -> Frame:
    """A plot of ``shap``'s: its figure as it is afterwards."""
    with watching("shap"):
        outcome = yield
    if outcome.error is not None:
        return
    run = _run_of(call.subject)
    if _is_no_matplotlib(call):
        return
    key = f"figures/shap_{call.function.removesuffix('_legacy')}"
    if run is None:
        if _last is not None and (last := _last()) is not None:
            last.note(
                key, "left out where it is of values that explainer(X) has not returned, or were changed"
            )
        return
    with shield("scikit-learn: a plot of SHAP values"):
        charge(run)
        if not run.keeps("data"):
            run.note(key, "not sent to the server: Settings.share does not name 'data'")
            return
        pyplot = sys.modules.get("matplotlib.pyplot")
        if hasattr(outcome.result, "figure"):
            run.figure(key, outcome.result)
        elif pyplot is not None and pyplot.get_fignums():
            run.figure(key, pyplot)
        else:
            run.note_lost(key, "it was shown, which has closed it; show=False keeps it")


def _is_no_matplotlib(call: Call) -> bool:
    """Of `force`, which makes a page of its own unless it is told otherwise."""
    return call.function == "force" and not call.get("matplotlib")


def _run_of(explanation: Any) -> Recording | None:
    """The run of what is drawn: of SHAP values that we know, or of a part of them."""
    values = getattr(explanation, "values", explanation)
    for part in (explanation, values, getattr(values, "base", None)):
        if part is not None and (run := find_run(part)) is not None:
            return run
    return None


def observe_derived(explanation: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """SHAP values were taken from others: ``explanation[:, :, 1]``, ``explanation.abs.mean(0)``."""
    run = find_run(explanation)
    if run is not None:
        bind_run(result, run)


# Partial dependence ---------------------------------------------------------------------------------


def observe_dependence(call: Call) -> Frame:
    """``partial_dependence``: what it has found of one feature, or of two."""
    estimator = call.get("estimator")
    run = _of_model(estimator)
    with watching("sklearn"):  # the rows that it makes up are no data to be evaluated on
        outcome = yield
    if run is None or outcome.error is not None:
        return
    with shield("scikit-learn: partial dependence"):
        charge(run)
        names = _names_in(call.get("X"), call.get("feature_names"))
        one = _dependence(run, outcome.result, call.get("features"), names)
        if one is None:
            run.note("model/partial_dependence", "of more than two features at once it is not recorded")
        elif explanation_number(run, "dependence") > MOST_DEPENDENCES:
            run.note("model/partial_dependence", f"left out after the first {MOST_DEPENDENCES}")
        else:
            record_dependence(run, [one], key=", ".join(one.features))


def observe_dependence_display(call: Call) -> Frame:
    """``PartialDependenceDisplay.from_estimator``: its numbers; the picture is the user's own."""
    run = _of_model(call.get("estimator"))
    with watching("sklearn"):
        outcome = yield
    if run is None or outcome.error is not None:
        return
    with shield("scikit-learn: partial dependence"):
        charge(run)
        display = outcome.result
        several = [
            _dependence(run, found, features, lambda n: str(display.feature_names[n]))
            for found, features in zip(display.pd_results, display.features, strict=True)
        ]
        rows = dependence_rows([one for one in several if one is not None])
        number = explanation_number(run, "display")
        if number <= MOST:
            end = f"/{number}" if number > 1 else ""
            record_long_table(run, f"model/partial_dependence_table{end}", rows, shown=SHOWN)


def _of_model(estimator: Any) -> Recording | None:
    """The run of a model. What is drawn next is of it, or of nobody's."""
    run = find_run(estimator)
    if run is not None:
        set_latest(run, estimator)
    else:
        forget_latest()
    return run


def _names_in(X: Any, given: Any) -> Callable[[Any], str]:
    known = given if given is not None else getattr(X, "columns", None)

    def name_of(feature: Any) -> str:
        if isinstance(feature, str):
            return feature
        return str(known[feature]) if known is not None else f"x{feature}"

    return name_of


def _dependence(run: Recording, found: Any, features: Any, names: Callable[[Any], str]) -> Dependence | None:
    several = [features] if isinstance(features, str) or np.ndim(features) == 0 else list(features)
    if all(isinstance(one, (bool, np.bool_)) for one in several):  # a mask
        several = [n for n, is_in in enumerate(several) if is_in]
    if len(several) not in (1, 2):
        return None
    average = found.get("average")
    if average is None:  # curves of single rows
        average = np.mean(found["individual"], axis=1)
    known = training_data.get(run)
    classes = known.classes if known is not None and known.classes is not None else ()
    outputs = [str(name) for name in classes] if len(classes) == len(average) else []
    return Dependence(
        tuple(names(one) for one in several), tuple(found["grid_values"]), np.asarray(average), outputs
    )


def record_dependence(
    run: Recording, several: Sequence[Dependence], *, key: str = "", unit: str = "", number: int = 1
) -> None:
    """Partial dependence as a table and a picture.

    Args:
        key: of what; empty: of the features that matter most.
        number: see :func:`record_contributions`.
    """
    end = (f"/{key}" if key else "") + (f"/{number}" if number > 1 else "")
    record_long_table(run, f"model/partial_dependence_table{end}", dependence_rows(several), shown=SHOWN)
    run.figure(f"model/partial_dependence{end}", dependence_chart(several, unit))


def names_of(estimator: Any, X: Any) -> list[str]:
    """The names of the columns of X, shape (rows, columns)."""
    columns = getattr(X, "columns", None)
    if columns is None:
        columns = attribute(estimator, "feature_names_in_")
    count = int(X.shape[1])
    if columns is not None and len(columns) == count:
        return [str(name) for name in columns]
    return [f"x{n}" for n in range(count)]
