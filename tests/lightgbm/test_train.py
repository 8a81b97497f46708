"""What is recorded of ``lightgbm.train``."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna_integration import LightGBMPruningCallback
from sklearn.metrics import accuracy_score, mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import autolog
from autolog.sinks.memory import MemoryRun, MemorySink
from tests.keys import undocumented
from tests.lightgbm.data import SETS, datasets

QUIET = {"verbosity": -1, "num_threads": 1}
BINARY = {**QUIET, "objective": "binary"}


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert not undocumented(run)
    return run


def steps_of(run: MemoryRun, key: str) -> dict[int, float]:
    return {step: row[key] for step, row in run.rows if key in row}


# Rounds and their end -------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["a callback", "a parameter"])
def test_rounds_of_each_set_and_why_it_stopped(recorded: MemorySink, by: str) -> None:
    train, val, _ = datasets("cancer")
    told: dict[str, Any] = {}
    callbacks = [lightgbm.record_evaluation(told)]
    params = {**BINARY, "metric": "binary_logloss", "learning_rate": 0.3}
    if by == "a callback":
        callbacks.append(lightgbm.early_stopping(4, verbose=False))
    else:
        params["early_stopping_rounds"] = 4
    before, count = [vars(one).get("order") for one in callbacks], len(callbacks)
    booster = lightgbm.train(params, train, 200, valid_sets=[train, val], callbacks=callbacks)
    run = only(recorded)
    assert len(callbacks) == count
    assert [vars(one).get("order") for one in callbacks] == [
        number - count if one is None else one for number, one in enumerate(before)
    ]
    made, best = len(told["valid_1"]["binary_logloss"]), booster.best_iteration
    assert 0 < best < made < 200
    for name, key in (("training", "train"), ("valid_1", "val")):
        values = told[name]["binary_logloss"]
        assert steps_of(run, f"rounds/{key}/binary_logloss") == pytest.approx(dict(enumerate(values, 1)))
        # What the booster predicts by is the best round.
        assert run.metrics[f"{key}/binary_logloss"] == pytest.approx(values[best - 1])
    assert run.config["model/stopped_by"] == "early stopping"
    assert run.config["model/iterations"] == made
    assert run.config["early_stopping/best_iteration"] == best
    assert run.config["early_stopping/best_score"] == pytest.approx(
        told["valid_1"]["binary_logloss"][best - 1]
    )
    assert run.config["early_stopping/monitor"] == "val/binary_logloss"
    assert run.config["early_stopping/patience"] == 4


def test_trees_leaves_and_depth(recorded: MemorySink) -> None:
    booster = lightgbm.train(BINARY, datasets("cancer")[0], 7)
    frame = booster.trees_to_dataframe()
    config = only(recorded).config
    assert config["model/trees"] == 7
    assert config["model/leaves"] == frame.split_feature.isna().sum()
    assert config["model/depth"] == frame.node_depth.max() - 1
    assert config["model/stopped_by"] == "all rounds were made"
    assert not {"early_stopping/best_iteration", "early_stopping/monitor"} & set(config)


def test_where_no_leaf_can_be_split_any_more(recorded: MemorySink) -> None:
    data = lightgbm.Dataset(np.zeros((40, 1)), np.arange(40) % 2)
    lightgbm.train(BINARY, data, 5)
    assert only(recorded).config["model/stopped_by"] == "no leaf could be split any more"


@pytest.mark.parametrize("is_file", [False, True])
def test_a_training_that_goes_on_counts_on(recorded: MemorySink, tmp_path: Path, is_file: bool) -> None:
    model: Any = lightgbm.train(QUIET, datasets("diabetes")[0], 3)
    if is_file:
        model.save_model(tmp_path / "before.txt")
        model = str(tmp_path / "before.txt")
    train, val, _ = datasets("diabetes")
    lightgbm.train(QUIET, train, 2, valid_sets=[val], init_model=model)
    first, second = recorded.runs
    assert list(steps_of(second, "rounds/val/l2")) == [4, 5]
    assert second.config["model/iterations"] == second.config["model/trees"] == 5
    assert second.config["model/continued_from"] == (model if is_file else first.name)


# Parameters -----------------------------------------------------------------------------------------


def test_parameters_have_one_name_each_and_defaults_stand_apart(recorded: MemorySink) -> None:
    params = {**QUIET, "eta": 0.05, "shrinkage_rate": 0.3, "reg_lambda": 2, "random_state": 5, "n_iter": 3}
    booster = lightgbm.train(params, datasets("diabetes")[0], 9)
    config = only(recorded).config
    used = booster.model_to_string().partition("[learning_rate: ")[2].partition("]")[0]
    assert config["params/learning_rate"] == config["params"]["learning_rate"] == float(used)
    assert (config["params"]["lambda_l2"], config["params"]["num_leaves"]) == (2, 31)
    assert config["params"]["num_iterations"] == config["model/trees"] == 3
    assert config["seed"] == 5
    by_hand = {key.partition("/")[2] for key in config if key.startswith("params/")}
    names = {"learning_rate", "lambda_l2", "seed", "num_iterations", "verbosity", "num_threads"}
    assert by_hand == names
    assert not {"eta", "reg_lambda", "random_state", "n_iter", "num_boost_round"} & set(config["params"])


# Data -----------------------------------------------------------------------------------------------


def test_data_names_weights_and_categories(recorded: MemorySink) -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 15, "kind": pd.Categorical(list("abab") * 15)})
    weight = np.linspace(1, 2, 60)
    data = lightgbm.Dataset(frame, [0, 1, 0, 1] * 15, weight=weight)
    bare = set(vars(data))
    lightgbm.train(BINARY, data, 2)
    described = only(recorded).config["data/train"]
    assert described["columns"] == ["age", "kind"]
    assert described["categorical"] == ["kind"]
    assert (described["shape"], described["target"]) == ([60, 2], {"classes": {"0": 30, "1": 30}})
    assert described["weights"] == {"rows": 60, "min": 1.0, "max": 2.0, "sum": pytest.approx(weight.sum())}
    assert described["fingerprint"]
    assert recorded.runs[0].tables["data/head"][1] == {"age": 2.0, "kind": "b", "target": 1}
    assert set(vars(data)) == bare
    lightgbm.train(BINARY, data, 2)  # which LightGBM has let go of by now
    assert recorded.runs[1].config["data/train"]["fingerprint"] == described["fingerprint"]


def test_of_a_set_that_was_taken_before_its_shape_is_known(recorded: MemorySink) -> None:
    data = datasets("iris")[0].construct()
    lightgbm.train(QUIET, data, 1)
    described = only(recorded).config["data/train"]
    assert (described["shape"], "fingerprint" in described) == ([84, 4], False)
    assert "without a fingerprint" in only(recorded).config["autolog/notes"]["data/train"]


def test_sets_are_named_by_what_they_hold(recorded: MemorySink) -> None:
    (X, y), (X_val, y_val), (X_test, y_test) = SETS["cancer"]
    sets = [
        lightgbm.Dataset(X, y),
        lightgbm.Dataset(X[:50], y[:50]),
        lightgbm.Dataset(X_val, y_val),
        lightgbm.Dataset(X_test, y_test),
    ]
    names = ["again", "some", "first", "second"]
    lightgbm.train(BINARY, lightgbm.Dataset(X, y), 2, valid_sets=sets, valid_names=names)
    keys = {key for key in only(recorded).metrics if key.startswith("rounds/")}
    found = ("train", "train/part", "val", "val/second")
    assert keys == {f"rounds/{name}/binary_logloss" for name in found}


def test_one_set_and_one_name_without_a_list(recorded: MemorySink) -> None:
    train, val, _ = datasets("diabetes")
    lightgbm.train(QUIET, train, 2, valid_sets=val, valid_names="checked")
    assert list(steps_of(only(recorded), "rounds/val/l2")) == [1, 2]


# What was learned ------------------------------------------------------------------------------------


def test_importances_have_names_gain_and_split(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][0]
    data = lightgbm.Dataset(X, y, feature_name=[f"body{n}" for n in range(10)])
    booster = lightgbm.train(QUIET, data, 3)
    run = only(recorded)
    rows = {row["feature"]: row for row in run.tables["model/importances_table"]}
    names = booster.feature_name()
    gain, split = (dict(zip(names, booster.feature_importance(k), strict=True)) for k in ("gain", "split"))
    assert {name: row["gain"] for name, row in rows.items()} == pytest.approx(gain, rel=1e-5)
    assert {name: row["split"] for name, row in rows.items()} == pytest.approx(split)
    assert run.charts["model/importances"]["data"]["names"][0] == max(gain, key=gain.get)


def test_the_model_is_loaded_again() -> None:
    X, _ = SETS["cancer"][2]
    with autolog.enabled("lightgbm", log_code=False, project="lightgbm-kept", finish_timeout=120):
        booster = lightgbm.train(BINARY, datasets("cancer")[0], 3)
    assert autolog.finish()
    loaded = autolog.runs("lightgbm-kept")[0].load_model()
    assert isinstance(loaded, lightgbm.Booster)
    assert (loaded.predict(X) == booster.predict(X)).all()


# Evaluation ------------------------------------------------------------------------------------------


def test_a_truth_that_comes_with_a_metric(recorded: MemorySink) -> None:
    train, val, _ = datasets("cancer")
    (X_val, y_val), (X_test, y_test) = SETS["cancer"][1:]
    booster = lightgbm.train(BINARY, train, 5, valid_sets=[val])
    area = roc_auc_score(y_test, booster.predict(X_test))
    roc_auc_score(y_val, booster.predict(X_val))
    run = only(recorded)
    assert run.metrics["test/roc_auc"] == pytest.approx(area)
    assert {"test/roc", "test/confusion_matrix", "val/roc", "val/confusion_matrix"} <= set(run.charts)
    assert run.config["data/test"]["rows"] == len(X_test)
    assert run.config["data/val"]["kind"] == "Dataset"


def test_amounts_and_several_classes(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][2]
    error = mean_squared_error(y, lightgbm.train(QUIET, datasets("diabetes")[0], 5).predict(X))
    X, y = SETS["iris"][2]
    params = {**QUIET, "objective": "multiclass", "num_class": 3}
    predicted = lightgbm.train(params, datasets("iris")[0], 5).predict(X).argmax(axis=1)
    with autolog.evaluation("2024"):
        mean_squared_error(y, predicted)
    first, second = recorded.runs
    assert first.metrics["val/mse"] == pytest.approx(error)
    assert second.metrics["2024/accuracy"] == pytest.approx((predicted == y).mean())


@pytest.mark.parametrize("how", [{"pred_leaf": True}, {"pred_contrib": True}, {"raw_score": True}])
def test_what_is_no_prediction_is_no_evaluation(recorded: MemorySink, how: Any) -> None:
    X, y = SETS["cancer"][2]
    found = lightgbm.train(BINARY, datasets("cancer")[0], 2).predict(X, **how)
    mean_squared_error(y, found if found.ndim == 1 else found[:, 0])
    assert not {key for key in only(recorded).metrics if key.startswith("val/")}


def test_an_objective_and_a_metric_of_the_users_own(recorded: MemorySink) -> None:
    def objective(predicted: Any, data: Any) -> Any:
        return predicted - data.get_label(), np.ones_like(predicted)

    def mine(predicted: Any, data: Any) -> tuple[str, float, bool]:
        return "mine", float(np.mean(np.abs(predicted - data.get_label()))), False

    train, val, _ = datasets("diabetes")
    told: dict[str, Any] = {}
    recorder = lightgbm.record_evaluation(told)
    params = {**QUIET, "objective": objective}
    lightgbm.train(params, train, 3, feval=mine, valid_sets=[val], callbacks=[recorder])
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/mine").values()) == told["valid_0"]["mine"]
    assert "objective" in run.config["params"]["objective"]


# Beside others ---------------------------------------------------------------------------------------


def test_nothing_is_changed_by_being_recorded(sink: MemorySink) -> None:
    def program() -> tuple[Any, ...]:
        train, val, _ = datasets("cancer")
        told: dict[str, Any] = {}
        callbacks = [lightgbm.record_evaluation(told), lightgbm.early_stopping(3, verbose=False)]
        callbacks.append(lightgbm.reset_parameter(learning_rate=lambda n: 0.3 * 0.9**n))
        callbacks += [lambda env: None, lambda env: None]  # to each LightGBM writes its place
        params = {**BINARY, "bagging_fraction": 0.5, "bagging_freq": 1, "deterministic": True}
        booster = lightgbm.train(params, train, 20, valid_sets=[val], callbacks=callbacks)
        scores = booster.predict(SETS["cancer"][2][0]).tobytes()
        orders = [vars(one).get("order") for one in callbacks]
        return booster.model_to_string(), booster.params, booster.best_score, told, scores, orders

    bare = program()
    with autolog.enabled("lightgbm", sink=sink, log_code=False):
        assert program() == bare
    assert len(sink.runs) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_models_that_predict_the_same_are_each_evaluated(recorded: MemorySink, threads: int) -> None:
    X, y = SETS["cancer"][2]
    params = {"objective": "binary", "num_threads": 1, "verbosity": -1}
    models = [lightgbm.train(params, datasets("cancer")[0], 3) for _ in range(3)]
    predicted = threading.Barrier(threads, timeout=30)

    def evaluate(some: list[Any]) -> None:
        scores = [model.predict(X) for model in some]
        predicted.wait()
        for one in scores:
            accuracy_score(y, (one > 0.5).astype(int))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(evaluate, [models[place::threads] for place in range(threads)]))
    autolog.finish()
    assert len(recorded.runs) == 3
    assert all({"test/accuracy", "val/accuracy"} & run.metrics.keys() for run in recorded.runs)


@pytest.mark.parametrize("inside", ["alone", "pipeline", "search"])
def test_inside_of_scikit_learns_fit_it_is_one_run(sink: MemorySink, inside: str) -> None:
    X, y = SETS["cancer"][0]
    model: Any = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbosity=-1)
    if inside == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    if inside == "search":
        model = GridSearchCV(model, {"max_depth": [1, 2]}, cv=2)
    with autolog.enabled("sklearn", "lightgbm", sink=sink, log_code=False):
        model.fit(X, y)
        model.score(*SETS["cancer"][2])
    autolog.finish()
    run = only(sink)
    assert run.config["framework"] == "sklearn"
    assert run.metrics["val/accuracy"] > 0.8
    assert run.config["model/trees"] == 20
    assert run.config["model/depth"] >= 1
    assert run.config["model/leaves"] >= 2 * run.config["model/trees"]


@pytest.mark.parametrize("inside", ["alone", "pipeline"])
def test_inside_of_scikit_learns_fit_it_is_kept_in_its_own_format(inside: str, tmp_path: Path) -> None:
    X, y = SETS["cancer"][0]
    model: Any = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbosity=-1)
    whole = model if inside == "alone" else make_pipeline(StandardScaler(), model)
    project = f"lightgbm-native-{inside}"
    with autolog.enabled("sklearn", log_code=False, project=project, finish_timeout=120):
        whole.fit(X, y)
    assert autolog.finish()
    [kept] = autolog.runs(project)
    [artifact] = [one for one in kept.artifacts if one.type == "model"]
    native = next(path for path in artifact.copy(tmp_path) if path.suffix != ".pkl")
    assert lightgbm.Booster(model_file=native).num_trees() == 3
    assert (kept.load_model().predict(X) == whole.predict(X)).all()


def test_without_scikit_learn_its_class_is_a_training(recorded: MemorySink) -> None:
    X, y = SETS["cancer"][0]
    lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1).fit(X, y, eval_set=[SETS["cancer"][1]])
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/binary_logloss")) == [1, 2, 3]
    assert run.config["data/train"]["fingerprint"]


def test_a_workers_share_of_a_training_is_no_run(recorded: MemorySink) -> None:
    names: dict[str, Any] = {"__name__": "lightgbm.dask", "train": lightgbm.train}
    exec("def share(*given): return train(*given)", names)
    assert names["share"](QUIET, datasets("diabetes")[0], 1).num_trees() == 1
    assert recorded.runs == []


def test_a_pruned_trial(sink: MemorySink) -> None:
    def objective(trial: optuna.Trial) -> float:
        train, val, _ = datasets("cancer")
        callbacks = [LightGBMPruningCallback(trial, "binary_logloss")]
        params = {**BINARY, "max_depth": trial.suggest_int("max_depth", 1, 3)}
        booster = lightgbm.train(params, train, 4, valid_sets=[val], callbacks=callbacks)
        return float(booster.best_score["valid_0"]["binary_logloss"])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.4))
    with autolog.enabled("optuna", "lightgbm", sink=sink, log_code=False):
        study.optimize(objective, n_trials=2)
    autolog.finish()
    _, *trials = sink.runs
    assert [run.status for run in trials] == ["pruned", "pruned"]
    assert all(run.config["framework"] == "lightgbm" for run in trials)
    assert all(steps_of(run, "rounds/val/binary_logloss") for run in trials)


# The native callback ---------------------------------------------------------------------------------


def test_a_callback_records_the_training_that_it_is_given_to(by_hand: MemorySink) -> None:
    X, y = SETS["cancer"][2]
    with autolog.run("mine") as mine:
        callback = autolog.lightgbm.TrackioCallback(mine)
        lightgbm.train(BINARY, datasets("cancer")[0], 2)
        train, val, _ = datasets("cancer")
        booster = lightgbm.train(BINARY, train, 3, valid_sets=[val], callbacks=[callback])
        roc_auc_score(y, booster.predict(X))
    run = only(by_hand)
    assert (run.name, list(steps_of(run, "rounds/val/binary_logloss"))) == ("mine", [1, 2, 3])
    assert "test/roc" in run.charts


def test_a_callback_may_be_copied_and_pickled(by_hand: MemorySink) -> None:
    callback = autolog.lightgbm.TrackioCallback()
    with autolog.run("around"):
        for one in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            lightgbm.train(QUIET, datasets("diabetes")[0], 1, callbacks=[one])
    assert len(by_hand.runs) == 2
