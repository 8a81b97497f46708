"""What is recorded of ``xgboost.train``."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import xgboost
from optuna_integration import XGBoostPruningCallback
from sklearn.metrics import mean_squared_error, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import train  # by name, before anything is turned on

import autolog
from autolog.sinks.memory import MemoryRun, MemorySink
from tests.keys import undocumented
from tests.xgboost.data import SETS, matrices

BINARY = {"objective": "binary:logistic", "nthread": 1}


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert not undocumented(run)
    return run


def steps_of(run: MemoryRun, key: str) -> dict[int, float]:
    return {step: row[key] for step, row in run.rows if key in row}


# Rounds and their end -------------------------------------------------------------------------------


def test_rounds_of_each_set_and_why_it_stopped(recorded: MemorySink) -> None:
    dtrain, dval, _ = matrices("cancer")
    told: dict[str, Any] = {}
    booster = train(
        {**BINARY, "eval_metric": ["auc", "logloss"]},
        dtrain,
        200,
        evals=[(dtrain, "fitted"), (dval, "checked")],
        evals_result=told,
        early_stopping_rounds=4,
        verbose_eval=False,
    )
    run = only(recorded)
    made = booster.num_boosted_rounds()
    assert made < 200
    for name, key in (("fitted", "train"), ("checked", "val")):
        for metric in ("auc", "logloss"):
            expected = dict(enumerate(told[name][metric], 1))
            assert steps_of(run, f"rounds/{key}/{metric}") == pytest.approx(expected)
            # What the booster predicts by is all of its rounds.
            assert run.metrics[f"{key}/{metric}"] == pytest.approx(told[name][metric][-1])
    assert run.config["model/stopped_by"] == "early stopping"
    assert run.config["model/iterations"] == run.config["model/trees"] == made
    assert run.config["early_stopping/best_iteration"] == booster.best_iteration + 1
    assert run.config["early_stopping/best_score"] == pytest.approx(booster.best_score)
    assert run.config["early_stopping/monitor"] == "val/logloss"
    assert run.config["early_stopping/patience"] == 4
    frame = booster.trees_to_dataframe()
    assert run.config["model/leaves"] == (frame.Feature == "Leaf").sum()
    assert 1 < run.config["model/depth"] <= 6


def test_where_the_best_alone_are_kept_the_numbers_are_theirs(recorded: MemorySink) -> None:
    dtrain, dval, _ = matrices("cancer")
    told: dict[str, Any] = {}
    early = xgboost.callback.EarlyStopping(3, save_best=True)
    sets = [(dval, "val")]
    booster = train(BINARY, dtrain, 100, evals=sets, evals_result=told, callbacks=[early], verbose_eval=False)
    run, best = only(recorded), booster.num_boosted_rounds()
    assert best < len(told["val"]["logloss"])
    assert steps_of(run, "val/logloss") == {best: pytest.approx(min(told["val"]["logloss"]))}
    assert run.config["early_stopping/best_iteration"] == best


class Ending(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """Ends a training after three rounds."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return epoch == 2


def test_a_callback_that_ends_it_and_one_that_does_not(recorded: MemorySink) -> None:
    dtrain, dval, _ = matrices("diabetes")
    callbacks = [Ending()]
    booster = train({}, dtrain, 9, evals=[(dval, "val")], callbacks=callbacks, verbose_eval=False)
    train({}, dtrain, 2)
    first, second = recorded.runs
    assert len(callbacks) == 1
    assert booster.num_boosted_rounds() == len(steps_of(first, "rounds/val/rmse")) == 3
    assert first.config["model/stopped_by"] == "a callback"
    assert second.config["model/stopped_by"] == "all rounds were made"
    assert not {"early_stopping/best_iteration", "early_stopping/monitor"} & set(first.config)


@pytest.mark.parametrize("is_file", [False, True])
def test_a_training_that_goes_on_counts_on(recorded: MemorySink, tmp_path: Path, is_file: bool) -> None:
    dtrain, dval, _ = matrices("diabetes")
    model: Any = train({}, dtrain, 3)
    if is_file:
        model.save_model(tmp_path / "before.ubj")
        model = tmp_path / "before.ubj"
    train({}, dtrain, 2, evals=[(dval, "val")], xgb_model=model, verbose_eval=False)
    first, second = recorded.runs
    assert list(steps_of(second, "rounds/val/rmse")) == [4, 5]
    assert second.config["model/iterations"] == second.config["model/trees"] == 5
    assert second.config["model/continued_from"] == (str(model) if is_file else first.name)


def test_of_many_rounds_some_are_told_and_the_last(
    recorded: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.core import rounds

    monkeypatch.setattr(rounds, "CURVE_POINTS", 5)
    dtrain, dval, _ = matrices("diabetes")
    train({"max_depth": 1}, dtrain, 12, evals=[(dval, "val")], verbose_eval=False)
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/rmse")) == [1, 4, 7, 10, 12]
    assert "every 3th" in run.config["autolog/notes"]["curves"]


# Parameters -----------------------------------------------------------------------------------------


def test_parameters_have_one_name_each_and_defaults_stand_apart(recorded: MemorySink) -> None:
    train([("eta", 0.1), ("lambda", 2), ("seed", 5), ("eval_metric", "mae"), ("eval_metric", "rmse")],
          matrices("diabetes")[0], 2)  # fmt: skip
    config = only(recorded).config
    assert config["params/learning_rate"] == config["params"]["learning_rate"] == 0.1
    assert config["params"]["eval_metric"] == ["mae", "rmse"]
    assert (config["params"]["reg_lambda"], config["params"]["max_depth"]) == (2, 6)
    assert config["params"]["subsample"] == 1
    assert config["seed"] == 5
    by_hand = {key for key in config if key.startswith("params/")}
    assert by_hand == {
        f"params/{n}" for n in ("learning_rate", "reg_lambda", "random_state", "num_boost_round")
    }
    assert not {"eta", "lambda", "seed", "alpha", "nthread", "min_split_loss"} & set(config["params"])


# Data -----------------------------------------------------------------------------------------------


def test_data_names_weights_and_categories(recorded: MemorySink) -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "kind": pd.Categorical(list("abab") * 5)})
    weight = np.linspace(1, 2, 20)
    data = xgboost.DMatrix(frame, [0, 1, 0, 1] * 5, weight=weight, enable_categorical=True)
    bare = set(vars(data))
    train(BINARY, data, 2)
    described = only(recorded).config["data/train"]
    assert described["columns"] == ["age", "kind"]
    assert described["categorical"] == ["kind"]
    assert (described["shape"], described["target"]) == ([20, 2], {"classes": {"0": 10, "1": 10}})
    assert described["weights"] == {"rows": 20, "min": 1.0, "max": 2.0, "sum": pytest.approx(weight.sum())}
    assert described["fingerprint"]
    assert recorded.runs[0].tables["data/head"][1] == {"age": 2.0, "kind": "b", "target": 1.0}
    assert set(vars(data)) == bare


def test_of_a_matrix_that_was_made_before_its_shape_is_known(sink: MemorySink) -> None:
    data = matrices("iris")[0]
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        train({}, data, 1)
    described = only(sink).config["data/train"]
    assert (described["shape"], "fingerprint" in described) == ([84, 4], False)
    assert "without a fingerprint" in only(sink).config["autolog/notes"]["data/train"]


def test_sets_are_named_by_what_they_hold(recorded: MemorySink) -> None:
    (X, y), (X_val, y_val), (X_test, y_test) = SETS["cancer"]
    sets = [
        (xgboost.DMatrix(X, y), "again"),
        (xgboost.DMatrix(X[:50], y[:50]), "some"),
        (xgboost.DMatrix(X_val, y_val), "first"),
        (xgboost.DMatrix(X_test, y_test), "second"),
    ]
    train(BINARY, xgboost.DMatrix(X, y), 2, evals=sets, verbose_eval=False)
    run = only(recorded)
    keys = {key for key in run.metrics if key.startswith("rounds/")}
    sets_found = ("train", "train/part", "val", "val/second")
    assert keys == {f"rounds/{name}/logloss" for name in sets_found}


# What was learned ------------------------------------------------------------------------------------


def test_importances_have_names_gain_and_split(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][0]
    data = xgboost.DMatrix(X, y, feature_names=[f"body{n}" for n in range(10)])
    booster = train({"max_depth": 2}, data, 3)
    run = only(recorded)
    rows = {row["feature"]: row for row in run.tables["model/importances_table"]}
    gain, split = (booster.get_score(importance_type=kind) for kind in ("total_gain", "weight"))
    assert rows.keys() == {f"body{n}" for n in range(10)}
    for name, row in rows.items():
        assert row["gain"] == pytest.approx(gain.get(name, 0.0), rel=1e-5)
        assert row["split"] == split.get(name, 0.0)
    assert run.charts["model/importances"]["data"]["names"][0] == max(gain, key=gain.get)


def test_a_linear_booster_has_coefficients(recorded: MemorySink) -> None:
    train({"booster": "gblinear", "nthread": 1}, matrices("diabetes")[0], 3)
    run = only(recorded)
    assert len(run.tables["model/coefficients_table"]) == 10
    assert "model/trees" not in run.config


def test_the_model_is_loaded_again() -> None:
    with autolog.enabled("xgboost", log_code=False, project="xgboost-kept", finish_timeout=120):
        booster = train(BINARY, matrices("cancer")[0], 3)
    assert autolog.finish()
    loaded = autolog.runs("xgboost-kept")[0].load_model()
    assert isinstance(loaded, xgboost.Booster)
    assert loaded.get_dump() == booster.get_dump()


def test_a_model_beyond_the_limit_is_not_kept(sink: MemorySink) -> None:
    with autolog.enabled("xgboost", sink=sink, log_code=False, artifact_limit=100):
        train({}, matrices("diabetes")[0], 1)
    run = only(sink)
    assert "model-Booster" not in {artifact["name"] for artifact in run.artifacts}
    assert "100 bytes" in run.config["autolog/notes"]["model"]


# Evaluation ------------------------------------------------------------------------------------------


def test_a_matrix_with_labels_that_is_predicted_is_evaluated(recorded: MemorySink) -> None:
    dtrain, dval, dtest = matrices("cancer")
    booster = train(BINARY, dtrain, 5, evals=[(dval, "val")], verbose_eval=False)
    scores = booster.predict(dtest)
    booster.predict(dval)
    run = only(recorded)
    assert run.metrics["test/roc_auc"] == pytest.approx(roc_auc_score(SETS["cancer"][2][1], scores))
    assert {"test/roc", "test/confusion_matrix", "val/roc", "val/confusion_matrix"} <= set(run.charts)
    assert run.config["data/test"]["rows"] == len(scores)
    assert run.config["data/val"]["kind"] == "DMatrix"


def test_a_truth_that_comes_with_a_metric(recorded: MemorySink) -> None:
    (X_test, y_test) = SETS["diabetes"][2]
    booster = train({"objective": "reg:squarederror"}, matrices("diabetes")[0], 5)
    predicted = booster.inplace_predict(X_test)
    error = mean_squared_error(y_test, predicted)
    assert only(recorded).metrics["val/mse"] == pytest.approx(error)


def test_a_name_of_the_users_own(recorded: MemorySink) -> None:
    booster = train(BINARY, matrices("cancer")[0], 2)
    with autolog.evaluation("2024", main=True):
        booster.predict(matrices("cancer")[2])
    (run,) = recorded.runs
    assert run.metrics["2024/accuracy"] > 0.8
    assert run.config["evaluation/main"] == "2024"


@pytest.mark.parametrize("how", [{"pred_leaf": True}, {"pred_contribs": True}, {"output_margin": True}])
def test_what_is_no_prediction_is_no_evaluation(recorded: MemorySink, how: Any) -> None:
    booster = train(BINARY, matrices("cancer")[0], 2)
    booster.predict(matrices("cancer")[2], **how)
    assert not {key for key in only(recorded).metrics if key.startswith("val/")}


def test_several_outputs_and_several_labels(recorded: MemorySink) -> None:
    X, y = SETS["diabetes"][0]
    amounts = np.stack([y, -y], axis=1)
    labels = np.stack([y > 100, y > 200], axis=1).astype(int)
    booster = train({}, xgboost.DMatrix(X, amounts), 2)
    with autolog.evaluation("fit"):
        booster.predict(xgboost.DMatrix(X, amounts))
    booster = train(BINARY, xgboost.DMatrix(X, labels), 2)
    with autolog.evaluation("fit"):
        booster.predict(xgboost.DMatrix(X, labels))
    first, second = recorded.runs
    assert len(first.tables["fit/per_output"]) == 2
    assert {"fit/f1_macro", "fit/hamming_loss"} <= set(second.metrics)


def test_an_objective_and_a_metric_of_the_users_own(recorded: MemorySink) -> None:
    def objective(predicted: Any, data: Any) -> Any:
        return predicted - data.get_label(), np.ones_like(predicted)

    def mine(predicted: Any, data: Any) -> tuple[str, float]:
        return "mine", float(np.mean(np.abs(predicted - data.get_label())))

    dtrain, dval, _ = matrices("diabetes")
    told: dict[str, Any] = {}
    train({}, dtrain, 3, obj=objective, custom_metric=mine, evals=[(dval, "val")], evals_result=told,
          verbose_eval=False)  # fmt: skip
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/mine").values()) == told["val"]["mine"]
    assert "objective" in run.config["params"]["obj"]


# Beside others ---------------------------------------------------------------------------------------


def test_nothing_is_changed_by_being_recorded(sink: MemorySink) -> None:
    def program() -> tuple[Any, ...]:
        dtrain, dval, dtest = matrices("cancer")
        told: dict[str, Any] = {}
        booster = train({**BINARY, "subsample": 0.5}, dtrain, 20, evals=[(dval, "val")], evals_result=told,
                        early_stopping_rounds=3, verbose_eval=False)  # fmt: skip
        scores = booster.predict(dtest).tobytes()
        return bytes(booster.save_raw()), booster.save_config(), booster.attributes(), told, scores

    bare = program()
    with autolog.enabled("xgboost", sink=sink, log_code=False):
        assert program() == bare
    assert len(sink.runs) == 1


@pytest.mark.parametrize("inside", ["alone", "pipeline", "search"])
def test_inside_of_scikit_learns_fit_it_is_one_run(sink: MemorySink, inside: str) -> None:
    X, y = SETS["cancer"][0]
    model: Any = xgboost.XGBClassifier(n_estimators=2, n_jobs=1)
    if inside == "pipeline":
        model = make_pipeline(StandardScaler(), model)
    if inside == "search":
        model = GridSearchCV(model, {"max_depth": [1, 2]}, cv=2)
    with autolog.enabled("sklearn", "xgboost", sink=sink, log_code=False):
        model.fit(X, y)
        model.score(*SETS["cancer"][2])
    autolog.finish()
    run = only(sink)
    assert run.config["framework"] == "sklearn"
    assert run.metrics["val/accuracy"] > 0.8
    assert run.config["model/trees"] == 2
    assert run.config["model/depth"] >= 1
    assert run.config["model/leaves"] >= 2 * run.config["model/trees"]


def test_what_nobody_has_set_is_what_xgboost_has_used(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        xgboost.XGBClassifier(n_estimators=2, max_depth=3).fit(*SETS["cancer"][0])
    autolog.finish()
    params = only(sink).config["params"]
    assert (params["learning_rate"], params["reg_lambda"], params["max_depth"]) == (0.3, 1, 3)
    assert "params/learning_rate" not in only(sink).config  # it was not set by hand
    assert isinstance(params["base_score"], float)  # not a text: XGBoost writes a list of them


class OfTheirOwn(xgboost.XGBClassifier):  # type: ignore[misc]
    """A user's class, whose methods tell when they are called."""

    def get_booster(self) -> Any:
        raise AssertionError("nobody has asked for it")

    def save_model(self, fname: Any) -> None:
        raise AssertionError("nobody has asked for it")


class OfAnotherKind(xgboost.XGBClassifier):  # type: ignore[misc]
    """A user's class that trains nothing of XGBoost's."""

    def fit(self, X: Any, y: Any) -> OfAnotherKind:
        self.mean_ = y.mean()
        return self


@pytest.mark.parametrize(("kind", "trees"), [(OfTheirOwn, 2), (OfAnotherKind, None)])
def test_of_a_users_class_nothing_is_called(sink: MemorySink, kind: Any, trees: int | None) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        kind(n_estimators=2).fit(*SETS["cancer"][0])
    autolog.finish()
    run = only(sink)
    [artifact] = [one for one in run.artifacts if one["type"] == "model"]
    assert run.config.get("model/trees") == trees
    assert set(artifact["files"]) == ({"model.pkl", "model.ubj"} if trees else {"model.pkl"})
    assert "lost" not in str(run.config["autolog/notes"])


class Another(xgboost.callback.TrainingCallback):  # type: ignore[misc]
    """A user's callback that trains a small model of its own."""

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        train({**BINARY, "max_depth": 1}, matrices("cancer")[0], 1)
        return False


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("inside", ["alone", "search"])
def test_what_is_trained_in_its_callback_is_another_model(
    sink: MemorySink, inside: str, nested: bool
) -> None:
    model: Any = xgboost.XGBClassifier(n_estimators=2, n_jobs=1, callbacks=[Another()])
    if inside == "search":
        model = GridSearchCV(model, {"max_depth": [2]}, cv=2)
    with autolog.enabled("sklearn", "xgboost", sink=sink, log_code=False, nested=nested):
        model.fit(*SETS["cancer"][0])
    autolog.finish()
    outer, *inner = sink.runs
    assert outer.config["framework"] == "sklearn"
    assert outer.config["model"] == "XGBClassifier"
    assert outer.config["model/trees"] == 2
    assert "params/num_boost_round" not in outer.config
    assert {run.config["framework"] for run in inner} == ({"xgboost"} if nested else set())


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, xgboost.XGBRFClassifier])
def test_its_class_can_load_the_file(sink: MemorySink, kind: Any) -> None:
    X, y = SETS["cancer"][0]
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        model = kind(n_estimators=2).fit(X, y)
    autolog.finish()
    [artifact] = [one for one in only(sink).artifacts if one["type"] == "model"]
    loaded = kind()
    loaded.load_model(artifact["files"]["model.ubj"])
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()
    assert (loaded.classes_ == model.classes_).all()


def test_a_native_file_beyond_the_limit_is_not_kept(sink: MemorySink) -> None:
    model = xgboost.XGBClassifier(n_estimators=2).fit(*SETS["cancer"][0])
    limit = len(pickle.dumps(model)) + 100
    with autolog.enabled("sklearn", sink=sink, log_code=False, artifact_limit=limit):
        model.fit(*SETS["cancer"][0])
    autolog.finish()
    run = only(sink)
    [artifact] = [one for one in run.artifacts if one["type"] == "model"]
    assert set(artifact["files"]) == {"model.pkl"}
    assert "model.ubj is not kept" in run.config["autolog/notes"]["model/native"]


@pytest.mark.parametrize("inside", ["alone", "pipeline"])
def test_inside_of_scikit_learns_fit_it_is_kept_in_its_own_format(inside: str, tmp_path: Path) -> None:
    X, y = SETS["cancer"][0]
    model: Any = xgboost.XGBClassifier(n_estimators=2, n_jobs=1)
    whole = model if inside == "alone" else make_pipeline(StandardScaler(), model)
    project = f"xgboost-native-{inside}"
    with autolog.enabled("sklearn", log_code=False, project=project, finish_timeout=120):
        whole.fit(X, y)
    assert autolog.finish()
    [kept] = autolog.runs(project)
    [artifact] = [one for one in kept.artifacts if one.type == "model"]
    native = next(path for path in artifact.copy(tmp_path) if path.suffix != ".pkl")
    assert xgboost.Booster(model_file=native).get_dump() == model.get_booster().get_dump()
    assert (kept.load_model().predict(X) == whole.predict(X)).all()


def test_without_scikit_learn_its_class_is_a_training(recorded: MemorySink) -> None:
    X, y = SETS["cancer"][0]
    xgboost.XGBClassifier(n_estimators=3).fit(X, y, eval_set=[SETS["cancer"][1]], verbose=False)
    run = only(recorded)
    assert list(steps_of(run, "rounds/val/logloss")) == [1, 2, 3]
    assert run.config["data/train"]["fingerprint"]


def test_a_workers_share_of_a_training_is_no_run(recorded: MemorySink) -> None:
    names: dict[str, Any] = {"__name__": "xgboost.dask", "train": train}
    exec("def share(*given): return train(*given)", names)
    assert names["share"]({}, matrices("diabetes")[0], 1).num_boosted_rounds() == 1
    assert recorded.runs == []


def test_what_its_class_predicts_is_not_read_for_it(
    recorded: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = xgboost.XGBRegressor(n_estimators=2, booster="gblinear").fit(*SETS["diabetes"][0])
    made: list[Any] = []
    monkeypatch.setattr("autolog.xgboost.data.learn", lambda matrix, data: made.append(matrix))
    model.predict(SETS["diabetes"][2][0])
    assert not made
    matrices("diabetes")
    assert len(made) == 3


def test_a_pruned_trial(sink: MemorySink) -> None:
    dtrain, dval, _ = matrices("cancer")

    def objective(trial: optuna.Trial) -> float:
        callbacks = [XGBoostPruningCallback(trial, "val-logloss")]
        told: dict[str, Any] = {}
        params = {**BINARY, "max_depth": trial.suggest_int("max_depth", 1, 3)}
        train(params, dtrain, 4, evals=[(dval, "val")], callbacks=callbacks, evals_result=told,
              verbose_eval=False)  # fmt: skip
        return float(told["val"]["logloss"][-1])

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.4))
    with autolog.enabled("optuna", "xgboost", sink=sink, log_code=False):
        study.optimize(objective, n_trials=2)
    autolog.finish()
    _, *trials = sink.runs
    assert [run.status for run in trials] == ["pruned", "pruned"]
    assert all(run.config["framework"] == "xgboost" for run in trials)
    assert all(steps_of(run, "rounds/val/logloss") for run in trials)


# The native callback ---------------------------------------------------------------------------------


def test_a_callback_records_the_training_that_it_is_given_to(by_hand: MemorySink) -> None:
    dtrain, dval, dtest = matrices("cancer")
    with autolog.run("mine") as mine:
        callback = autolog.xgboost.TrackioCallback(mine)
        train(BINARY, dtrain, 2)
        booster = train(BINARY, dtrain, 3, evals=[(dval, "val")], callbacks=[callback], verbose_eval=False)
        booster.predict(dtest)
    run = only(by_hand)
    assert (run.name, list(steps_of(run, "rounds/val/logloss"))) == ("mine", [1, 2, 3])
    assert "test/roc" in run.charts


@pytest.mark.parametrize("is_given_ours", [True, False])
def test_callbacks_that_can_be_gone_through_once(by_hand: MemorySink, is_given_ours: bool) -> None:
    ours = [autolog.xgboost.TrackioCallback()]  # from now on calls are looked at
    callbacks = iter([Ending(), *ours] if is_given_ours else [Ending()])
    booster = train({}, matrices("diabetes")[0], 9, callbacks=callbacks)
    autolog.finish()
    assert booster.num_boosted_rounds() == 3
    assert len(by_hand.runs) == int(is_given_ours)


def test_a_callback_may_be_copied_and_pickled(by_hand: MemorySink) -> None:
    callback = autolog.xgboost.TrackioCallback()
    with autolog.run("around"):
        for one in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
            train({}, matrices("diabetes")[0], 1, callbacks=[one])
    assert len(by_hand.runs) == 2


def test_what_is_no_run_is_refused() -> None:
    with pytest.raises(TypeError):
        autolog.xgboost.TrackioCallback("mine")  # type: ignore[arg-type]
