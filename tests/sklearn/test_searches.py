"""The numbers of a search: empty cells, candidates without a score, several scorers and no best candidate."""

from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

X, y = make_classification(120, 6, random_state=0)
TREE = DecisionTreeClassifier(random_state=0)
DEPTHS = {"max_depth": [3, 1, 2]}
TWO_GRIDS = [{"kernel": ["linear"], "C": [1, 10]}, {"kernel": ["rbf"], "gamma": [0.1]}]


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


def by_candidate(run: MemoryRun) -> list[dict[str, Any]]:
    return sorted(run.tables["search/cv_results"], key=lambda row: row["candidate"])


# Cells ------------------------------------------------------------------------------------------------


def test_a_parameter_that_a_candidate_does_not_have_is_empty(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.core import results

    monkeypatch.setattr(results, "ROWS_SHOWN", 2)
    with autolog.enabled("sklearn", sink=sink, log_code=False, search_runs=3):
        search = GridSearchCV(SVC(), TWO_GRIDS, cv=2).fit(X, y)
    run, *children = sink.runs
    (file,) = [one["files"] for one in run.artifacts if one["name"] == "search-cv_results"]
    with Path(file["search-cv_results.csv"]).open(newline="") as lines:
        rows = sorted(csv.DictReader(lines), key=lambda row: int(row["candidate"]))
    assert [row["param_gamma"] for row in rows] == ["", "", "0.1"]
    assert [row["param_C"] for row in rows] == ["1", "10", ""]
    for row in run.tables["search/cv_results"]:
        assert (row["param_gamma"] is None) == (row["param_kernel"] == "linear")
    for child in children:
        linear = child.config["params/kernel"] == "linear"
        assert ("params/C" in child.config, "params/gamma" in child.config) == (linear, not linear)
    assert run.config["best/params"] == search.best_params_


def test_a_parameter_is_what_was_given_and_not_what_an_array_makes_of_it(recording: MemorySink) -> None:
    # scikit-learn's column of them is of floats; but one feature is not all of them.
    GridSearchCV(TREE, {"max_features": [1, 1.0]}, cv=2).fit(X, y)
    values = [row["param_max_features"] for row in by_candidate(only(recording))]
    assert [(value, type(value)) for value in values] == [(1, int), (1.0, float)]


# Candidates without a score ----------------------------------------------------------------------------


def fails_at_two(model: Any, X: Any, y: Any) -> float:
    return math.nan if model.max_depth == 2 else float(model.max_depth)


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_a_candidate_without_a_score_is_last_and_never_one_of_the_best(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, search_runs=3):
        GridSearchCV(TREE, DEPTHS, cv=2, scoring=fails_at_two).fit(X, y)
    run, *children = sink.runs
    rows = run.tables["search/cv_results"]
    assert [row["param_max_depth"] for row in rows] == [3, 1, 2]
    assert math.isnan(rows[-1]["mean_test_score"])
    assert run.metrics["cv/best_score"] == 3
    assert [child.config["params/max_depth"] for child in children] == [3, 1]


def test_where_no_candidate_has_a_score_none_is_the_best(recording: MemorySink) -> None:
    def fails(model: Any, X: Any, y: Any) -> float:
        return math.nan

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        GridSearchCV(TREE, DEPTHS, cv=2, scoring=fails).fit(X, y)
    run = only(recording)
    assert not [key for key in run.config if key.startswith("best/")]
    assert "cv/best_score" not in run.metrics
    assert "candidate 0" in run.config["autolog/notes"]["best"]


# Several scorers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("refit", ["f1", "accuracy", lambda results: 2], ids=["f1", "accuracy", "callable"])
def test_of_several_scorers_each_has_its_mean_for_the_candidate_that_was_chosen(
    recording: MemorySink, refit: Any
) -> None:
    search = GridSearchCV(TREE, DEPTHS, cv=3, scoring=["accuracy", "roc_auc", "f1"], refit=refit).fit(X, y)
    run, found, best = only(recording), search.cv_results_, search.best_index_
    for scorer in ("accuracy", "roc_auc", "f1"):
        assert run.values(f"cv/{scorer}") == [pytest.approx(found[f"mean_test_{scorer}"][best])]
        assert run.values(f"cv/{scorer}_std") == [pytest.approx(found[f"std_test_{scorer}"][best])]
    assert run.metrics.get("cv/best_score") == getattr(search, "best_score_", None)
    assert run.config["best/params"] == search.best_params_


@pytest.mark.parametrize("refit", [True, False, lambda results: 1], ids=["true", "false", "callable"])
def test_one_score_is_that_of_the_candidate_that_was_chosen(recording: MemorySink, refit: Any) -> None:
    search = GridSearchCV(TREE, DEPTHS, cv=3, refit=refit).fit(X, y)
    run, found, best = only(recording), search.cv_results_, search.best_index_
    assert run.values("cv/best_score") == [found["mean_test_score"][best]]
    assert run.values("cv/best_score_std") == [found["std_test_score"][best]]
    assert not [key for key in run.config if key.startswith("early_stopping/")]


def test_where_several_scorers_choose_nobody_each_has_its_own_best(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, search_runs=2):
        search = GridSearchCV(TREE, DEPTHS, cv=3, scoring=["accuracy", "f1"], refit=False).fit(X, y)
    run = sink.runs[0]
    for scorer in ("accuracy", "f1"):
        expected = pytest.approx(np.max(search.cv_results_[f"mean_test_{scorer}"]))
        assert run.values(f"cv/{scorer}_best") == [expected]
    assert not {"cv/best_score", "cv/accuracy", "cv/f1"} & set(run.metrics)
    assert not [key for key in run.config if key.startswith("best/")]
    assert "by accuracy" in run.config["autolog/notes"]["best"]


def test_one_scorer_with_a_name_chooses_nobody_either(recording: MemorySink) -> None:
    search = GridSearchCV(TREE, DEPTHS, cv=3, scoring={"mine": "accuracy"}, refit=False).fit(X, y)
    run = only(recording)
    assert run.values("cv/mine_best") == [pytest.approx(np.max(search.cv_results_["mean_test_mine"]))]
    assert "by mine" in run.config["autolog/notes"]["best"]


def test_of_a_halving_search_the_last_rung_alone_is_compared(recording: MemorySink) -> None:
    grid = {"C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]}
    search = HalvingGridSearchCV(LogisticRegression(), grid, factor=2, random_state=0).fit(X, y)
    found = search.cv_results_
    last = found["iter"] == found["iter"].max()
    assert only(recording).metrics["cv/best_score"] == pytest.approx(found["mean_test_score"][last].max())
