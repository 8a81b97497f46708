"""What is recorded of CatBoost's fits."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import catboost
import dask.array
import numpy as np
import optuna
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRanker, CatBoostRegressor, Pool
from optuna_integration import CatBoostPruningCallback
from sklearn.metrics import accuracy_score, mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog
from autolog.sinks.memory import MemoryRun, MemorySink
from tests.catboost.data import QUIET, SETS, pools
from tests.computed import Computed
from tests.keys import undocumented


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert not undocumented(run)
    return run


def steps_of(run: MemoryRun, key: str) -> dict[int, float]:
    return {step: row[key] for step, row in run.rows if key in row}


# Rounds and their end -------------------------------------------------------------------------------


def test_rounds_of_each_set_and_why_it_stopped(recorded: MemorySink) -> None:
    sets = [SETS["cancer"][1], SETS["cancer"][2]]
    model = CatBoostClassifier(iterations=500, learning_rate=0.5, custom_metric=["AUC"], **QUIET)
    model.fit(*SETS["cancer"][0], eval_set=sets, early_stopping_rounds=5)
    run, told = only(recorded), model.get_evals_result()
    made, kept = len(told["learn"]["Logloss"]), model.tree_count_
    assert kept < made < 500
    for name, key in (("learn", "train"), ("validation_0", "val"), ("validation_1", "val/set-2")):
        values = told[name]["Logloss"]
        assert steps_of(run, f"rounds/{key}/logloss") == pytest.approx(dict(enumerate(values, 1)))
        # What the model predicts by is the best round.
        assert run.metrics[f"{key}/logloss"] == pytest.approx(values[kept - 1])
    assert list(steps_of(run, "rounds/val/auc").values()) == pytest.approx(told["validation_0"]["AUC"])
    config = run.config
    assert config["model/stopped_by"] == "early stopping"
    assert (config["model/iterations"], config["model/trees"]) == (made, kept)
    assert config["early_stopping/best_iteration"] == model.best_iteration_ + 1 == kept
    assert config["params/od_wait"] == config["early_stopping/patience"] == 5
    assert config["model/leaves"] == sum(model.get_tree_leaf_counts())
    assert config["model/depth"] == 6


def test_the_set_that_was_looked_at(recorded: MemorySink) -> None:
    model = CatBoostRegressor(iterations=30, learning_rate=0.5, **QUIET)
    model.fit(*SETS["diabetes"][0], eval_set=SETS["diabetes"][1])
    config = only(recorded).config
    assert config["early_stopping/monitor"] == "val/rmse"
    assert config["early_stopping/best_score"] == pytest.approx(model.best_score_["validation"]["RMSE"])
    assert config["model/stopped_by"] == "all rounds were made"
    assert "early_stopping/patience" not in config


def test_metrics_of_every_few_rounds_stand_at_theirs(recorded: MemorySink) -> None:
    model = CatBoostRegressor(iterations=12, metric_period=5, **QUIET)
    model.fit(*SETS["diabetes"][0], eval_set=SETS["diabetes"][1])
    told = model.get_evals_result()["validation"]["RMSE"]
    expected = dict(zip([1, 6, 11, 12], told, strict=True))
    assert steps_of(only(recorded), "rounds/val/rmse") == pytest.approx(expected)


def test_a_callback_that_ends_it(recorded: MemorySink) -> None:
    class Ending:
        def after_iteration(self, info: Any) -> bool:
            return bool(info.iteration < 3)

    callbacks = [Ending()]
    CatBoostRegressor(iterations=9, **QUIET).fit(*SETS["diabetes"][0], callbacks=callbacks)
    run = only(recorded)
    assert len(callbacks) == 1
    assert (run.config["model/stopped_by"], run.config["model/trees"]) == ("a callback", 3)


def test_a_fit_that_goes_on_counts_on(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][0]
    before = CatBoostRegressor(iterations=3, **QUIET).fit(X, y)
    CatBoostRegressor(iterations=2, **QUIET).fit(X, y, init_model=before)
    first, second = recorded.runs
    assert list(steps_of(second, "rounds/train/rmse")) == [4, 5]
    assert second.config["model/iterations"] == second.config["model/trees"] == 5
    assert second.config["model/continued_from"] == first.name


def test_catboosts_function_train(recorded: MemorySink) -> None:
    train, val, _ = pools("diabetes")
    catboost.train(train, {"loss_function": "RMSE", "n_estimators": 4, **QUIET}, eval_set=val)
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/rmse")) == [1, 2, 3, 4]
    assert (run.config["model"], run.config["params/iterations"]) == ("CatBoost", 4)


# Parameters and data --------------------------------------------------------------------------------


def test_parameters_have_one_name_each_and_defaults_stand_apart(recorded: MemorySink) -> None:
    model = CatBoostRegressor(n_estimators=3, eta=0.1, reg_lambda=2, max_depth=4, random_state=5, **QUIET)
    model.fit(*SETS["diabetes"][0])
    config = only(recorded).config
    by_hand = {key.partition("/")[2]: config[key] for key in config if key.startswith("params/")}
    given = {"iterations": 3, "learning_rate": 0.1, "l2_leaf_reg": 2, "depth": 4, "random_seed": 5}
    assert by_hand == {**given, **QUIET}
    assert (config["params"]["border_count"], config["params"]["learning_rate"]) == (254, 0.1)
    assert config["seed"] == 5
    assert not {"eta", "n_estimators", "max_depth", "reg_lambda"} & set(config["params"])


def test_data_of_a_pool_names_weights_and_categories(recorded: MemorySink) -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "kind": list("abab") * 5})
    weight = np.linspace(1, 2, 20)
    pool = Pool(frame, [0, 1, 0, 1] * 5, weight=weight, cat_features=["kind"])
    bare = set(vars(pool))
    CatBoostClassifier(iterations=2, **QUIET).fit(pool)
    described = only(recorded).config["data/train"]
    assert (described["kind"], described["columns"]) == ("Pool", ["age", "kind"])
    assert described["categorical"] == ["kind"]
    assert (described["shape"], described["target"]) == ([20, 2], {"classes": {"0": 10, "1": 10}})
    assert described["weights"] == {"rows": 20, "min": 1.0, "max": 2.0, "sum": pytest.approx(weight.sum())}
    assert described["fingerprint"]
    assert recorded.runs[0].tables["data/head"][1] == {"age": 2.0, "kind": "b", "target": 1}
    assert set(vars(pool)) == bare


def test_data_of_arrays_with_categories(recorded: MemorySink) -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "kind": list("abab") * 5})
    CatBoostClassifier(iterations=2, cat_features=["kind"], **QUIET).fit(frame, list("xyxy") * 5)
    described = only(recorded).config["data/train"]
    assert (described["kind"], described["categorical"]) == ("DataFrame", ["kind"])
    assert described["target"] == {"classes": {"x": 10, "y": 10}}


def test_sets_are_named_by_what_they_hold(recorded: MemorySink) -> None:
    (X, y), val, test = SETS["cancer"]
    sets = [Pool(X, y), (X[:50], y[:50]), val, Pool(*test)]
    CatBoostClassifier(iterations=2, **QUIET).fit(X, y, eval_set=sets)
    keys = {key for key in only(recorded).metrics if key.startswith("rounds/")}
    found = ("train", "train/part", "val", "val/set-2")
    assert keys == {f"rounds/{name}/logloss" for name in found}


# What was learned ------------------------------------------------------------------------------------


def test_importances_have_names(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][0]
    frame = pd.DataFrame(X, columns=[f"body{n}" for n in range(10)])
    model = CatBoostRegressor(iterations=3, **QUIET).fit(frame, y)
    found = {row["feature"]: row["importance"] for row in only(recorded).tables["model/importances_table"]}
    expected = dict(zip(model.feature_names_, model.feature_importances_, strict=True))
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_model_is_loaded_again() -> None:
    with autolog.enabled("catboost", log_code=False, project="catboost-kept", finish_timeout=120):
        model = CatBoostRegressor(iterations=3, **QUIET).fit(*SETS["diabetes"][0])
    assert autolog.finish()
    loaded = autolog.runs("catboost-kept")[0].load_model()
    X = SETS["diabetes"][2][0]
    assert (loaded.predict(X) == model.predict(X)).all()


# Evaluation ------------------------------------------------------------------------------------------


def test_score_metrics_and_pools_with_labels_are_evaluations(recorded: MemorySink) -> None:
    train, val, test = SETS["cancer"]
    model = CatBoostClassifier(iterations=5, **QUIET).fit(*train, eval_set=val)
    accuracy = model.score(*test)
    area = roc_auc_score(test[1], model.predict_proba(test[0])[:, 1])
    model.predict(Pool(*val))
    run = only(recorded)
    assert run.metrics["test/accuracy"] == pytest.approx(accuracy)
    assert run.metrics["test/roc_auc"] == pytest.approx(area)
    assert {"test/roc", "test/confusion_matrix", "val/roc", "val/confusion_matrix"} <= set(run.charts)
    assert run.config["data/test"]["rows"] == len(test[1])


def test_labels_first_and_probabilities_later_are_of_one_set(recorded: MemorySink) -> None:
    X, y = SETS["cancer"][2]
    model = CatBoostClassifier(iterations=5, **QUIET).fit(*SETS["cancer"][0])
    accuracy_score(y, model.predict(X.tolist()))  # a list cannot be remembered
    assert "val/roc" not in only(recorded).charts
    roc_auc_score(y, model.predict_proba(X)[:, 1])
    run = only(recorded)
    assert {"val/roc", "val/confusion_matrix"} <= set(run.charts)
    assert not [key for key in run.metrics if key.startswith(("val/set-2", "test"))]


def test_what_is_predicted_is_not_read_for_it(recorded: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    model = CatBoostClassifier(iterations=2, **QUIET).fit(*SETS["cancer"][0])
    made: list[Any] = []
    monkeypatch.setattr("autolog.catboost.data.learn", lambda pool, data: made.append(pool))
    model.predict(SETS["cancer"][2][0])
    assert not made
    pools("cancer")
    assert len(made) == 3


def test_several_classes_by_their_names(recorded: MemorySink) -> None:
    (X, y), _, (X_test, y_test) = SETS["iris"]
    names = np.array(["setosa", "versicolor", "virginica"])
    model = CatBoostClassifier(iterations=5, **QUIET).fit(X, names[y])
    accuracy = accuracy_score(names[y_test], model.predict(X_test))
    run = only(recorded)
    assert run.metrics["val/accuracy"] == pytest.approx(accuracy)
    assert {row["class"] for row in run.tables["val/per_class"]} == set(names)
    assert "val/roc" in run.charts


def test_amounts(recorded: MemorySink) -> None:
    (X, y) = SETS["diabetes"][2]
    model = CatBoostRegressor(iterations=5, **QUIET).fit(*SETS["diabetes"][0])
    error = mean_squared_error(y, model.predict(X))
    model.score(X, y)
    run = only(recorded)
    assert run.metrics["val/mse"] == pytest.approx(error)
    assert not [key for key in run.metrics if key.startswith("val/set-2")]


def test_a_ranking_has_its_own_metrics_alone(recorded: MemorySink) -> None:
    X, y = SETS["iris"][0]
    groups = np.repeat(np.arange(12), 7)
    model = CatBoostRanker(iterations=3, loss_function="YetiRank", **QUIET).fit(X, y, group_id=groups)
    mean_squared_error(y, model.predict(X))
    run = only(recorded)
    assert run.status == "finished"
    assert "train/mse" not in run.metrics


def test_a_loss_of_the_users_own(recorded: MemorySink) -> None:
    class Mine:
        def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Any:
            return [(target - approx, -1.0) for approx, target in zip(approxes, targets, strict=True)]

    model = CatBoostRegressor(iterations=3, loss_function=Mine(), eval_metric="RMSE", **QUIET)
    model.fit(*SETS["diabetes"][0], eval_set=SETS["diabetes"][1])
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/rmse")) == [1, 2, 3]
    assert "Mine" in str(run.config["params"]["loss_function"])


# Beside others ---------------------------------------------------------------------------------------


def test_nothing_is_changed_by_being_recorded(sink: MemorySink, tmp_path: Path) -> None:
    def program() -> tuple[Any, ...]:
        model = CatBoostClassifier(iterations=20, subsample=0.5, bootstrap_type="Bernoulli", **QUIET)
        train, val, test = pools("cancer")
        model.fit(train, eval_set=val, early_stopping_rounds=3)
        model.save_model(str(tmp_path / "model.json"), format="json")
        dump = json.loads((tmp_path / "model.json").read_text())
        del dump["model_info"]  # says when it was trained
        scores = model.predict_proba(test).tobytes()
        return dump, model.get_evals_result(), model.get_params(), sorted(vars(model)), scores

    bare = program()
    with autolog.enabled("catboost", sink=sink, log_code=False):
        assert program() == bare
    assert len(sink.runs) == 1


@pytest.mark.parametrize("inside", ["pipeline", "search", "cross-validation"])
def test_inside_of_scikit_learns_own_it_is_one_run(sink: MemorySink, inside: str) -> None:
    X, y = SETS["cancer"][0]
    model: Any = CatBoostClassifier(iterations=2, **QUIET)
    with autolog.enabled("sklearn", "catboost", sink=sink, log_code=False):
        if inside == "pipeline":
            fitted = make_pipeline(StandardScaler(), model).fit(X, y)
            assert accuracy_score(SETS["cancer"][2][1], fitted.predict(SETS["cancer"][2][0])) > 0.8
            assert sink.runs[0].metrics["val/accuracy"] > 0.8
            assert sink.runs[0].config["model/trees"] == 2
            assert sink.runs[0].config["model/depth"] == 6
            [artifact] = [one for one in sink.runs[0].artifacts if one["type"] == "model"]
            assert set(artifact["files"]) == {"model.pkl", "model.cbm"}
        elif inside == "search":
            GridSearchCV(model, {"depth": [1, 2]}, cv=2).fit(X, y).score(*SETS["cancer"][2])
        else:
            cross_val_score(model, X, y, cv=2)
    autolog.finish()
    assert [run.config["framework"] for run in sink.runs if run.parent is None] == ["sklearn"]
    assert "catboost" not in {run.config["framework"] for run in sink.runs}


def test_a_target_that_dask_has_not_computed_is_computed_as_often_as_without_us(sink: MemorySink) -> None:
    def score() -> int:
        X, y = SETS["cancer"][2]
        model = CatBoostClassifier(iterations=2, **QUIET).fit(*SETS["cancer"][0])
        with Computed() as computed:
            model.score(X, dask.array.from_array(y, chunks=50))
        return computed.times

    bare = score()
    with autolog.enabled("catboost", sink=sink, log_code=False):
        assert score() == bare
    autolog.finish()
    assert "is computed only where you ask" in only(sink).config["autolog/notes"]["score"]


@pytest.mark.parametrize("has_statistics", [True, False])
def test_a_search_of_its_own_says_what_it_has_found(recorded: MemorySink, has_statistics: bool) -> None:
    model = CatBoostClassifier(iterations=3, **QUIET)
    found = model.grid_search(
        {"depth": [1, 2]}, *SETS["cancer"][0], cv=2, verbose=False, calc_cv_statistics=has_statistics
    )
    autolog.finish()
    [run] = recorded.runs
    assert run.config["best/params"] == found["params"]
    assert run.config["best/depth"] == found["params"]["depth"] == model.get_all_params()["depth"]
    if has_statistics:
        means = found["cv_results"]["test-Logloss-mean"]
        assert run.metrics["cv/test_logloss_mean"] == pytest.approx(means[-1])
        assert "cv/train_logloss_std" in run.metrics
    else:
        assert not any(key.startswith("cv/") for key in run.metrics)
    assert all(key.startswith("cv/") for key in undocumented(run))  # the metrics' own names


def test_a_search_without_a_fit_at_its_end_opens_no_run(recorded: MemorySink) -> None:
    model = CatBoostClassifier(iterations=2, **QUIET)
    model.grid_search({"depth": [1, 2]}, *SETS["cancer"][0], cv=2, verbose=False, refit=False)
    autolog.finish()
    assert recorded.runs == []


def test_a_search_without_a_fit_at_its_end_is_not_in_an_earlier_run(recorded: MemorySink) -> None:
    model = CatBoostClassifier(iterations=2, **QUIET).fit(*SETS["cancer"][0])
    model.grid_search({"depth": [1, 2]}, *SETS["cancer"][0], cv=2, verbose=False, refit=False)
    autolog.finish()
    run = only(recorded)
    assert not any(key.startswith("best/") for key in run.config)
    assert not any(key.startswith("cv/") for key in run.metrics)


class OfAnotherKind(CatBoostClassifier):  # type: ignore[misc]
    """A user's class that trains nothing of CatBoost's."""

    def fit(self, X: Any, y: Any) -> OfAnotherKind:
        self.mean_ = y.mean()
        return self


def test_in_a_pipeline_a_class_that_trains_nothing_has_no_trees(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        make_pipeline(StandardScaler(), OfAnotherKind()).fit(*SETS["cancer"][0])
    autolog.finish()
    [artifact] = [one for one in only(sink).artifacts if one["type"] == "model"]
    assert set(artifact["files"]) == {"model.pkl"}


def test_in_a_pipeline_a_ranking_is_no_regression(sink: MemorySink) -> None:
    X, y = SETS["cancer"][0]
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        model = make_pipeline(StandardScaler(), CatBoostRanker(iterations=2, **QUIET))
        model.fit(X, y, catboostranker__group_id=np.arange(len(y)) // 10)
    autolog.finish()
    assert not any(key.endswith(("/r2", "/mse")) for key in only(sink).metrics)


def test_beside_scikit_learn_a_fit_by_itself_is_a_run(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", "catboost", sink=sink, log_code=False), autolog.run("mine"):
        model = CatBoostClassifier(iterations=2, **QUIET).fit(*SETS["cancer"][0])
        accuracy_score(SETS["cancer"][2][1], model.predict(SETS["cancer"][2][0]))
    autolog.finish()
    assert only(sink).config["framework"] == "catboost"
    assert "val/accuracy" in only(sink).metrics
    assert "accuracy_score" not in only(sink).config.get("autolog/notes", {})


def test_a_pruned_trial(sink: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        callback = CatBoostPruningCallback(trial, "Logloss")
        model = CatBoostClassifier(iterations=4, depth=trial.suggest_int("depth", 1, 3), **QUIET)
        model.fit(*SETS["cancer"][0], eval_set=SETS["cancer"][1], callbacks=[callback])
        callback.check_pruned()
        return float(model.best_score_["validation"]["Logloss"])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.4))
    with autolog.enabled("optuna", "catboost", sink=sink, log_code=False):
        study.optimize(objective, n_trials=2)
    autolog.finish()
    _, *trials = sink.runs
    assert [run.status for run in trials] == ["pruned", "pruned"]
    assert all(run.config["framework"] == "catboost" for run in trials)
    assert all(steps_of(run, "rounds/val/logloss") for run in trials)


# The native callback, and cross-validation -----------------------------------------------------------


def test_a_callback_records_the_fit_that_it_is_given_to(by_hand: MemorySink) -> None:
    class Counting:
        rounds = 0

        def after_iteration(self, info: Any) -> bool:
            self.rounds += 1
            return True

    train, val, test = SETS["cancer"]
    counting = Counting()
    with autolog.run("mine") as mine:
        callbacks = [autolog.catboost.TrackioCallback(mine), counting]
        CatBoostClassifier(iterations=2, **QUIET).fit(*train)
        model = CatBoostClassifier(iterations=3, **QUIET).fit(*train, eval_set=val, callbacks=callbacks)
        model.score(*test)
    run = only(by_hand)
    assert (len(callbacks), counting.rounds) == (2, 3)
    assert (run.name, list(steps_of(run, "rounds/val/logloss"))) == ("mine", [1, 2, 3])
    assert "test/roc" in run.charts


def test_catboost_never_hears_of_a_callback_of_ours(by_hand: MemorySink) -> None:
    class Looking(CatBoostRegressor):  # type: ignore[misc]
        def _train(self, train: Any, test: Any, params: Any, *args: Any) -> None:
            assert "callbacks" not in params
            super()._train(train, test, params, *args)

    model = Looking(iterations=1, **QUIET)
    model.fit(*SETS["diabetes"][0], callbacks=[autolog.catboost.TrackioCallback()])
    assert only(by_hand).status == "finished"


def test_a_callback_may_be_copied_and_pickled(by_hand: MemorySink) -> None:
    callback = autolog.catboost.TrackioCallback()
    with autolog.run("around"):
        for one in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            CatBoostRegressor(iterations=1, **QUIET).fit(*SETS["diabetes"][0], callbacks=[one])
    assert len(by_hand.runs) == 2
    assert callback.after_iteration(None)


@pytest.mark.parametrize("early", [None, 2])
def test_means_and_deviations_of_a_cross_validation(sink: MemorySink, early: int | None) -> None:
    def program() -> Any:
        params = {"loss_function": "Logloss", "eta": 0.9, "logging_level": "Silent", **QUIET}
        del params["verbose"]
        pool = pools("cancer")[0]
        return catboost.cv(pool, params, num_boost_round=40, nfold=3, early_stopping_rounds=early)

    bare = program()
    with autolog.enabled("catboost", sink=sink, log_code=False):
        found = program()
    assert found.equals(bare)
    run = only(sink)
    for column in found.columns[1:]:
        part, metric, what = column.split("-")
        key = f"cv/{part}_{metric.lower()}_{what}"
        assert list(steps_of(run, f"rounds/{key}").values()) == pytest.approx(list(found[column]))
        assert run.metrics[key] == pytest.approx(found[column].iloc[-1])
    assert (run.config["params/learning_rate"], run.config["params/fold_count"]) == (0.9, 3)
    assert run.config["data/train"]["fingerprint"]
    assert run.config["model/stopped_by"] == ("all rounds were made" if early is None else "early stopping")
