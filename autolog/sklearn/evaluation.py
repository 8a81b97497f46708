"""Finds the run that an evaluation by the user belongs to, and records the evaluation there.

What a recorded estimator returns from ``predict`` and its like is remembered (``outputs.py``). When such an
array, a column of it or something equal to it (``contents.py``) arrives in one of scikit-learn's metrics,
together with the truth, this is an evaluation of that run; one sighting is enough, the rest is computed here.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Generator, Mapping
from typing import Any

from autolog.capture.kinds import is_lazy, not_computed
from autolog.core.evaluations import name_here, say_main
from autolog.core.recording import Recording
from autolog.core.training import find_run
from autolog.process.guard import charge, shield
from autolog.process.hooks import Call, Outcome
from autolog.sklearn import folds
from autolog.sklearn.assembled import evaluate_assembled
from autolog.sklearn.budget import length
from autolog.sklearn.contents import Ambiguous, Seen, seen_by_content
from autolog.sklearn.known import is_full, mark_of, read_of, training_data
from autolog.sklearn.outputs import Scoring, output_of, scored_here, set_latest
from autolog.sklearn.sets import is_target, set_of
from autolog.sklearn.sight import Sight, evaluate, recalled
from autolog.sklearn.unseen import say_if_unknown
from autolog.sklearn.values import (
    Awaited,
    Values,
    name_of_score,
    observe_check,
    record_value,
    wait_for_value,
)

__all__ = ["observe_metric", "observe_score"]

# What the prediction has been called in one version or another; a name out of use holds a mere text.
_PREDICTIONS = ("y_pred", "y_score", "y_proba", "y_prob", "probas_pred")
_AS_IS = "which of them is meant cannot be known. Hand on what predict has returned as it is."


def observe_score(call: Call) -> Generator[None, Outcome, None]:
    """The outermost ``score`` is an evaluation: of the data that it is given, with the number it returns."""
    run = find_run(call.subject)
    if run is None or scored_here.get() is not None or _is_asked_by_sklearn():
        yield
        return
    scoring = Scoring(run, call.subject, call.get("X"))
    token = scored_here.set(scoring)
    try:
        outcome = yield
    finally:
        scored_here.reset(token)
    if outcome.error is None:
        with shield("scikit-learn: score"):
            charge(run)
            _record_score(scoring, call.get("y"), call.get("sample_weight"), outcome.result)


def _is_asked_by_sklearn() -> bool:
    """Whether a function of scikit-learn's is at work, which lets those that it calls check nothing."""
    from sklearn import get_config

    return bool(get_config()["skip_parameter_validation"])


def _record_score(scoring: Scoring, y: Any, weight: Any, value: Any) -> None:
    run, subject, sight = scoring.run, scoring.estimator, scoring.sight
    seen = _seen(scoring.predicted)
    lazy = [values for values in (y, weight) if is_lazy(values)]
    # (Its scorer may ask no metric of scikit-learn's.)
    if sight is None and y is not None and seen is not None and not lazy:
        sight = evaluate(seen, y, weight)
    if sight is None:
        which = set_of(run, y, read_of(scoring.X, full=is_full(run)), scoring.X)
        sight = Sight(which, True) if which is not None else None
    if sight is None:
        return
    if lazy:
        run.note(sight.which.name, f"the score alone: {not_computed(lazy[0])}")
    name, arguments = name_of_score(subject)
    plain = name.removeprefix("neg_")
    same = value if name == plain else -value
    values = sight.which.values
    if name == "score":
        if any(math.isclose(same, known, rel_tol=1e-9) for known in values.numbers.values()):
            return
    elif values.holds(plain, same):
        return
    record_value(run, values, name, arguments, value, is_whole=sight.is_whole)


def observe_metric(constraints: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
    """A metric is about to be computed, its arguments are checked: is it of something we recorded?"""
    given = args[0] if args else kwargs.get("params", {})
    name = kwargs.get("caller_name", args[1] if len(args) > 1 else None)
    observe_check(constraints, name)
    if any(map(is_lazy, given.values())):  # of what it is cannot be known without computing it
        return
    if "labels_true" in given and "labels_pred" in given:
        labels = given["labels_true"], given["labels_pred"]
        wait_for_value(_evaluate_clusters(*labels))
        say_if_unknown(name, labels[0], labels[1:])
        return
    sides = _sides_of(given)
    for truth, argument in sides:
        seen = _seen(given[argument])
        # The two the other way round make no difference for many metrics, but the number is another one.
        is_exchanged = argument == "y_true"
        if seen is not None and (not is_exchanged or seen.method == "predict"):
            if not _is_comparison(seen, given[truth], is_exchanged=is_exchanged):
                _see(seen, name, given, argument, truth, is_its_own=not is_exchanged)
            return
    if not sides:
        return
    truth = sides[0][0]
    predicted = {argument: given[argument] for argument in _PREDICTIONS if argument in given}
    with shield("scikit-learn: predictions that were changed on the way"):
        for argument, value in predicted.items():
            try:
                seen = seen_by_content(value)
            except Ambiguous as ambiguous:
                _say_ambiguous(name, ambiguous)
                return
            if seen is not None:
                if not _is_comparison(seen, given[truth]):
                    _see(seen, name, given, argument, truth)
                return
            if given.get("sample_weight") is None:
                assembled = evaluate_assembled(value, given[truth])
                if assembled is not None:
                    data = frozenset((argument, truth, "sample_weight"))
                    wait_for_value(Awaited(*assembled, data, True, None, length(value)))
                    return
    say_if_unknown(name, given[truth], list(predicted.values()))


def _seen(value: Any) -> Seen | None:
    """The predictions that an array is, or is a view of."""
    output = output_of(value)
    whole = output.whole if output is not None else None
    if output is None or whole is None:
        return None
    return Seen(output.run, output.prediction, value, whole, output.prediction.data, is_owner=output.is_owner)


def _say_ambiguous(name: Any, ambiguous: Ambiguous) -> None:
    for run in ambiguous.runs:
        charge(run)
        run.note(
            str(name), f"was called with what {len(ambiguous.runs)} recorded runs have predicted: {_AS_IS}"
        )


def _is_comparison(seen: Seen, truth: Any, *, is_exchanged: bool = False) -> bool:
    """Whether the truth is what a model has predicted, too: how far two models agree evaluates neither.

    Unless the user says that it is the truth: by a name, by ``score``, or by a training or evaluation by it.

    Args:
        is_exchanged: whether the predictions are the metric's truth, and the truth what was predicted.
    """
    if name_here() is not None or scored_here.get() is not None:
        return False
    if seen.prediction.recalled is not None and recalled(seen, truth, None) is not None:
        return False
    with shield("scikit-learn: a comparison of predictions"):
        others = _predicted_by(truth, seen.run, by_content=is_exchanged)
        if not others or any(is_target(run, truth) for run in (seen.run, *others)):
            return False
        why = "a metric of one model's predictions beside another's is in no run, except by a name:"
        seen.run.note("comparison", f"{why} with autolog.evaluation('beside_the_other'): ...")
    return True


def _predicted_by(truth: Any, run: Recording, *, by_content: bool) -> list[Recording]:
    """The runs that have predicted what stands for the truth.

    Args:
        run: whose predictions stand beside it.
        by_content: also those that have predicted the same. (A perfect model has predicted the truth.)
    """
    output = output_of(truth)
    if output is not None:
        return [output.run] if output.prediction.method == "predict" else []
    if not by_content:
        return []
    try:
        other = seen_by_content(truth)
    except Ambiguous as ambiguous:
        return [one for one in ambiguous.runs if one is not run]
    is_prediction = other is not None and other.method == "predict" and other.derived is None
    return [other.run] if other is not None and is_prediction and other.run is not run else []


def _sides_of(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which arguments of a metric may be the truth and what is predicted of it, the likelier ones first.

    Empty: it is no metric. Most functions of scikit-learn check their arguments in the same way.
    """
    if "y_true" in given:
        others = [("y_true", argument) for argument in given if argument != "y_true"]
        return [*others, ("y_pred", "y_true")] if "y_pred" in given else others
    if {"y1", "y2"} <= given.keys():  # cohen_kappa_score does not tell them apart
        return [("y1", "y2"), ("y2", "y1")]
    return []


def _see(
    seen: Seen, name: str, given: Mapping[str, Any], argument: str, truth: str, *, is_its_own: bool = True
) -> None:
    """Evaluate predictions that a metric is given.

    Args:
        name: of the metric.
        argument, truth: the names of the two sides.
        is_its_own: whether the metric's number is one of these predictions.
    """
    if (model := seen.prediction.estimator()) is not None:
        set_latest(seen.run, model)
    true, weight = given[truth], given.get("sample_weight")
    sight = recalled(seen, true, weight)
    if sight is None:  # else nothing is read or recorded: to open a shield would take longer than all of it
        with shield("scikit-learn: evaluation"):
            charge(seen.run)
            sight = evaluate(seen, true, weight, name)
    scoring = scored_here.get()
    if scoring is not None:  # its number is what `score` returns
        scoring.sight = sight
    elif sight is not None and is_its_own:
        data, rows = frozenset((argument, truth, "sample_weight")), length(true)
        values, is_whole = sight.which.values, sight.is_whole
        wait_for_value(Awaited(seen.run, values, data, is_whole, sight.classes, rows, seen.derived))


# Of a run: what is known of its clusters beside a truth, by the names of the data and a mark of the truth.
_clusters: weakref.WeakKeyDictionary[Recording, dict[Any, Values]] = weakref.WeakKeyDictionary()


def _evaluate_clusters(truth: Any, labels: Any) -> Awaited | None:
    """A clustering of ours is compared with a truth that the user has."""
    for one, other in ((truth, labels), (labels, truth)):  # most of these scores do not mind the order
        seen = _seen_clusters(other)
        if seen is None:
            continue
        with shield("scikit-learn: evaluation of clusters"):
            run = seen.run
            charge(run)
            known = training_data.get(run)
            is_training = known is not None and mark_of(seen.data, full=is_full(run)) == known.X
            name = "train" if seen.method == "fit_predict" or is_training else "val"
            if (given := name_here()) is not None:
                name = given.text
                say_main(run, given)
            of_run = _clusters.setdefault(run, {})
            key = name, mark_of(one), seen.prediction.fits
            if key not in of_run:
                of_run[key] = Values(name)
                of_run[key].computed(found := _compared(one, other))
                numbers = {f"{name}/{metric}": value for metric, value in found.items()}
                run.log(numbers, step=run.last_step)
                folds.told(run, numbers)
            data = frozenset({"labels_true", "labels_pred"})
            return Awaited(run, of_run[key], data, True, None, length(one))
    return None


def _seen_clusters(labels: Any) -> Seen | None:
    seen = _seen(labels)
    if seen is None:
        try:
            seen = seen_by_content(labels)
        except Ambiguous:
            return None
    if seen is None or seen.method not in ("predict", "fit_predict") or seen.derived is not None:
        return None
    return seen if seen.value is seen.whole else None  # a part of the labels is no evaluation of it


def _compared(truth: Any, labels: Any) -> dict[str, float]:
    from sklearn import metrics

    homogeneity, completeness, v_measure = metrics.homogeneity_completeness_v_measure(truth, labels)
    found = {
        "adjusted_rand": metrics.adjusted_rand_score(truth, labels),
        "normalized_mutual_info": metrics.normalized_mutual_info_score(truth, labels),
        "homogeneity": homogeneity,
        "completeness": completeness,
        "v_measure": v_measure,
    }
    return {name: float(value) for name, value in found.items()}
