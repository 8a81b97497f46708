"""Trials as runs below their study's."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

import autolog
from autolog import MemorySink
from autolog.optuna import TrackioCallback
from tests.optuna.studies import X, column, family, square, study, y


def test_a_trial_in_which_something_trains_is_a_run(with_sklearn: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        C = trial.suggest_float("C", 0.01, 10, log=True)
        if trial.number == 1:
            return 0.0
        model = LogisticRegression(C=C, max_iter=200).fit(X[::2], y[::2])
        extra = trial.suggest_int("late", 0, 3)
        return float(model.score(X[1::2], y[1::2])) + 0 * extra

    searched = study(direction="maximize")
    searched.optimize(objective, n_trials=3)
    run, trials = family(with_sklearn)
    assert len(with_sklearn.runs) == 3
    assert [trial.config["trial"] for trial in trials] == [0, 2]
    for trial in trials:
        frozen = searched.trials[trial.config["trial"]]
        assert trial.name == f"trial {frozen.number} {run.name}"
        assert trial.status == "finished"
        assert trial.config["model"] == "LogisticRegression"
        assert trial.config["params"]["C"] == frozen.params["C"]
        assert trial.config["params"]["late"] == frozen.params["late"]
        assert trial.config["params"]["max_iter"] == 200
        assert trial.config["hyperparameters"] == frozen.params
        assert trial.config["params/late"] == frozen.params["late"]
        assert trial.metrics["val/accuracy"] == trial.config["objective/value"] == frozen.value
        assert trial.metrics["objective/value"] == frozen.value
    assert column(run, "run") == [trials[0].name, None, trials[1].name]
    assert run.config["best/run"] in [trial.name for trial in trials]


def test_a_second_training_is_below_its_trial(with_sklearn: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        for C in (1.0, 2.0):
            LogisticRegression(C=C).fit(X, y)
        return 0.0

    study().optimize(objective, n_trials=2)
    _, trials = family(with_sklearn)
    below = [run for run in with_sklearn.runs if run.parent in {trial.id for trial in trials}]
    assert [run.config["params"]["C"] for run in trials] == [1.0, 1.0]
    assert [run.config["params"]["C"] for run in below] == [2.0, 2.0]


def test_a_training_that_is_pruned_has_not_failed(with_sklearn: MemorySink) -> None:
    class Stopping(LogisticRegression):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            raise optuna.TrialPruned("little hope")

    def objective(trial: optuna.Trial) -> float:
        if trial.number:
            LogisticRegression().fit(X, y)
        return float(Stopping().fit(X, y).score(X, y))

    study().optimize(objective, n_trials=2)
    run, trials = family(with_sklearn)
    assert run.status == "finished"
    assert [one.status for one in with_sklearn.runs[1:]] == ["pruned"] * 3
    assert with_sklearn.runs[-1].parent == trials[1].id
    assert not [one for one in with_sklearn.runs if one.alerts or "error" in one.config]
    assert column(run, "why") == ["by the objective: little hope"] * 2


@pytest.mark.parametrize("by", ["setting", "callback"])
@pytest.mark.parametrize(("trials", "count"), [("runs", 3), ("rows", 0)])
def test_all_trials_or_none(with_sklearn: MemorySink, by: str, trials: str, count: int) -> None:
    def objective(trial: optuna.Trial) -> float:
        if trial.number:
            trial.report(1.0, 0)
        if trial.number == 1:
            cross_val_score(LogisticRegression(), X, y)
            autolog.current_run().log({"his": 1.0})
        return square(trial)

    callbacks = [TrackioCallback(trials=trials)] if by == "callback" else None
    with autolog.enabled(**({"trials": trials} if by == "setting" else {})):
        study().optimize(objective, n_trials=3, callbacks=callbacks)
    run, children = family(with_sklearn)
    assert len(with_sklearn.runs) == 1 + count == 1 + len(children)
    assert [child.config["trial"] for child in children] == list(range(count))
    assert (run if trials == "rows" else children[1]).values("his") == [1.0]
    assert ("trials" in run.config.get("autolog/notes", {})) == (trials == "rows")
    LogisticRegression().fit(X, y)
    assert len(with_sklearn.runs) == 2 + count


def test_a_study_within_a_trial(recording: MemorySink) -> None:
    def outer(trial: optuna.Trial) -> float:
        inner = study(study_name=f"inner-{trial.number}")
        inner.optimize(square, n_trials=2)
        return inner.best_value

    study(study_name="outer").optimize(outer, n_trials=2)
    run, trials = family(recording)
    assert run.name.startswith("outer")
    assert [trial.config["trial"] for trial in trials] == [0, 1]
    inner = [r for r in recording.runs if r.parent in [trial.id for trial in trials]]
    assert [r.name[:7] for r in inner] == ["inner-0", "inner-1"]
    assert [len(r.tables["trials"]) for r in inner] == [2, 2]
    assert "trials" not in trials[0].tables


def test_a_run_of_the_users_holds_the_study(recording: MemorySink) -> None:
    with autolog.run("his") as his:
        study().optimize(square, n_trials=2)
        study().optimize(square, n_trials=3)
        assert his.status == "running"
        assert autolog.current_run() is his
    run, below = family(recording)
    assert (run.name, len(run.tables["trials"])) == ("his", 2)
    assert [len(r.tables["trials"]) for r in below] == [3]


def test_a_search_of_scikit_learns_kind_nests(with_sklearn: MemorySink) -> None:
    integration = pytest.importorskip("optuna_integration", reason="optuna-integration is not installed")
    distributions = {"C": optuna.distributions.FloatDistribution(0.1, 10)}
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        search = integration.OptunaSearchCV(LogisticRegression(), distributions, n_trials=3, random_state=0)
    search.fit(X, y)
    run, trials = family(with_sklearn)
    assert run.name.startswith("search ")
    assert len(run.tables["trials"]) == 3
    assert [trial.config["trial"] for trial in trials] == [0, 1, 2]
    assert all("cv/folds" in trial.tables for trial in trials)
