"""How a fit ended, under the right name: rounds, the kept model's numbers, what was chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import model_selection
from sklearn.datasets import load_diabetes, make_classification
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor
from sklearn.feature_selection import RFE, RFECV
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    ElasticNetCV,
    LassoCV,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifierCV,
    RidgeCV,
    SGDClassifier,
)
from sklearn.metrics import mean_absolute_error, mean_squared_error, root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun

X, y = load_diabetes(return_X_y=True)
X_train, X_val, y_train, y_val = X[:300], X[300:], y[:300], y[300:]
X_two, y_two = make_classification(200, 6, weights=[0.8], random_state=0)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    return run


def at(run: MemoryRun, key: str) -> dict[int, float]:
    """A metric by step, of which there must be one value at each."""
    found = [(step, values[key]) for step, values in run.rows if key in values]
    assert len(dict(found)) == len(found), f"two values of {key} at one step"
    return dict(found)


# Rounds -----------------------------------------------------------------------------------------------

BOOSTERS = [
    (XGBRegressor, "rmse", {"max_depth": 3, "eval_metric": ["mae", "rmse"]}, root_mean_squared_error),
    (LGBMRegressor, "l2", {"num_leaves": 7, "verbose": -1}, mean_squared_error),
]


def boosted(kind: Any, settings: dict[str, Any], stop: bool, sets: list[Any], **more: Any) -> Any:
    stopping = "early_stopping_rounds" if kind is XGBRegressor else "early_stopping_round"
    model = kind(n_estimators=60, n_jobs=1, **settings, **({stopping: 5} if stop else {}))
    quiet = {"verbose": False} if kind is XGBRegressor else {}
    return model.fit(X_train, y_train, eval_set=sets, **quiet, **more)


@pytest.mark.parametrize("stop", [True, False], ids=["stops early", "does not"])
@pytest.mark.parametrize(("kind", "metric", "settings", "function"), BOOSTERS)
def test_the_kept_models_number_is_there_and_its_rounds_stand_apart(
    recording: MemorySink, kind: Any, metric: str, settings: dict[str, Any], function: Any, stop: bool
) -> None:
    model = boosted(kind, settings, stop, [(X_train, y_train), (X_val, y_val)])
    run = only(recording)
    rounds = at(run, f"rounds/val/{metric}")
    assert list(rounds) == list(range(1, len(rounds) + 1))
    assert list(at(run, f"rounds/train/{metric}")) == list(rounds)
    assert run.values(f"val/{metric}") == [pytest.approx(function(y_val, model.predict(X_val)), rel=1e-5)]
    assert run.values(f"train/{metric}") == [
        pytest.approx(function(y_train, model.predict(X_train)), rel=1e-5)
    ]
    best = run.config.get("early_stopping/best_iteration")
    assert (best is not None) == stop
    if stop:
        assert best == min(rounds, key=lambda step: rounds[step]) < len(rounds)


def test_an_evaluation_makes_no_second_value_of_it(recording: MemorySink) -> None:
    model = boosted(XGBRegressor, {"max_depth": 3}, True, [(X_val, y_val)])
    model.score(X_val, y_val)
    mean_absolute_error(y_val, model.predict(X_val))
    run = only(recording)
    assert len(at(run, "val/rmse")) == len(at(run, "val/mae")) == 1
    assert run.metrics["val/rmse"] == pytest.approx(root_mean_squared_error(y_val, model.predict(X_val)))


def test_an_evaluation_that_says_something_else_comes_after_it(recording: MemorySink) -> None:
    # The library weighs the rows of the set; the user's metric does not.
    weight = np.where(y_val > 150, 5.0, 1.0)
    model = boosted(XGBRegressor, {"max_depth": 3}, False, [(X_val, y_val)], sample_weight_eval_set=[weight])
    model.score(X_val, y_val)
    values = at(only(recording), "val/rmse")
    assert list(values.values())[-1] == pytest.approx(root_mean_squared_error(y_val, model.predict(X_val)))
    assert len(values) == 2


def test_a_number_of_all_training_rows_is_not_replaced_by_that_of_some(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import fit

    monkeypatch.setattr(fit, "TRAINING_ROWS", 50)
    model = boosted(XGBRegressor, {"max_depth": 3}, False, [(X_train, y_train)])
    run = only(recording)
    expected = root_mean_squared_error(y_train, model.predict(X_train))
    assert run.values("train/rmse") == [pytest.approx(expected, rel=1e-5)]
    assert "train/mae" in run.metrics


@pytest.mark.parametrize(("kind", "metric", "settings", "function"), BOOSTERS)
def test_rounds_upon_those_of_another_model_are_counted_on(
    recording: MemorySink, kind: Any, metric: str, settings: dict[str, Any], function: Any
) -> None:
    first = kind(n_estimators=4, n_jobs=1, **settings).fit(X_train, y_train)
    goes_on = {"xgb_model": first.get_booster()} if kind is XGBRegressor else {"init_model": first}
    model = boosted(kind, settings, True, [(X_val, y_val)], **goes_on)
    run = recording.runs[-1]
    rounds = at(run, f"rounds/val/{metric}")
    assert min(rounds) == 5
    assert run.config["early_stopping/best_iteration"] == min(rounds, key=lambda step: rounds[step])
    assert run.metrics[f"val/{metric}"] == pytest.approx(function(y_val, model.predict(X_val)), rel=1e-5)


def test_the_best_round_of_a_long_curve_is_kept(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import learned

    monkeypatch.setattr(learned, "CURVE_POINTS", 3)
    boosted(XGBRegressor, {"max_depth": 3}, True, [(X_val, y_val)])
    run = only(recording)
    assert run.config["early_stopping/best_iteration"] in at(run, "rounds/val/rmse")


def test_a_boosting_inside_of_a_pipeline_has_them_too(recording: MemorySink) -> None:
    pipeline = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=3, n_jobs=1, verbosity=0))
    pipeline.fit(X_two[50:], y_two[50:], xgbclassifier__eval_set=[(X_two[:50], y_two[:50])])
    run = only(recording)
    assert list(at(run, "rounds/val/logloss")) == [1, 2, 3]
    assert run.values("val/logloss") == run.values("rounds/val/logloss")[-1:]


def test_catboost_is_kept_to_the_same_names(recording: MemorySink) -> None:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostRegressor(
        iterations=60, verbose=0, thread_count=1, early_stopping_rounds=5, learning_rate=0.3
    )
    pipeline = make_pipeline(StandardScaler(), model)
    data = StandardScaler().fit(X_train).transform(X_val)
    pipeline.fit(X_train, y_train, catboostregressor__eval_set=[(data, y_val)])
    run = only(recording)
    rounds = at(run, "rounds/val/rmse")
    best = run.config["early_stopping/best_iteration"]
    assert best == min(rounds, key=lambda step: rounds[step]) < len(rounds)
    assert run.values("val/rmse") == [pytest.approx(rounds[best])]
    assert run.values("val/rmse") == [pytest.approx(root_mean_squared_error(y_val, pipeline.predict(X_val)))]
    pools = [catboost.Pool(data, y_val), catboost.Pool(data[:50], y_val[:50])]
    pipeline.fit(X_train, y_train, catboostregressor__eval_set=pools)
    assert {"val/rmse", "val/set-2/rmse"} <= set(recording.runs[-1].metrics)


def test_steps_are_iterations_and_the_first_is_the_first(recording: MemorySink) -> None:
    GradientBoostingRegressor(n_estimators=4).fit(X, y)
    model = HistGradientBoostingRegressor(max_iter=4, early_stopping=True, n_iter_no_change=9).fit(X, y)
    plain, histograms = recording.runs
    assert list(at(plain, "train/loss")) == [1, 2, 3, 4]
    assert model.n_iter_ == 4
    assert list(at(histograms, "train/score")) == [0, 1, 2, 3, 4], "its first one is of no iteration"
    assert "early_stopping/best_iteration" not in histograms.config, "it keeps all of its iterations"


def test_a_loss_of_warm_starts_is_told_once(recording: MemorySink) -> None:
    model = MLPClassifier(4, max_iter=3, warm_start=True, random_state=0)
    for _ in range(2):
        model.fit(X_two, y_two)
    autolog.finish()
    assert list(at(only(recording), "train/loss").values()) == pytest.approx(model.loss_curve_)


# What an estimator chose ----------------------------------------------------------------------------------


def tuned_threshold() -> Any:
    if not hasattr(model_selection, "TunedThresholdClassifierCV"):
        pytest.skip("TunedThresholdClassifierCV: scikit-learn>=1.5")
    return model_selection.TunedThresholdClassifierCV(LogisticRegression(), cv=3)


CHOSEN = {
    "RidgeCV": (lambda: RidgeCV([0.1, 1, 10]), {"model/alpha": "alpha_", "cv/best_score": "best_score_"}),
    "RidgeClassifierCV": (
        lambda: RidgeClassifierCV([0.1, 1, 10]),
        {"model/alpha": "alpha_", "cv/best_score": "best_score_"},
    ),
    "LassoCV": (lambda: LassoCV(cv=3), {"model/alpha": "alpha_"}),
    "ElasticNetCV": (
        lambda: ElasticNetCV(l1_ratio=[0.2, 0.9], cv=3),
        {"model/alpha": "alpha_", "model/l1_ratio": "l1_ratio_"},
    ),
    "LogisticRegressionCV": (lambda: LogisticRegressionCV(Cs=3, cv=3), {"model/C": "C_"}),
    "TunedThresholdClassifierCV": (
        tuned_threshold,
        {"model/best_threshold": "best_threshold_", "cv/best_score": "best_score_"},
    ),
    "RFECV": (lambda: RFECV(Ridge(), cv=3), {"model/n_features": "n_features_"}),
    "RFE": (lambda: RFE(Ridge(), n_features_to_select=2), {"model/n_features": "n_features_"}),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", CHOSEN)
def test_what_was_chosen_is_there_under_its_name(recording: MemorySink, kind: str) -> None:
    make, expected = CHOSEN[kind]
    model = make()
    model.fit(X_two, y_two)
    run = only(recording)
    for key, attribute in expected.items():
        found = run.metrics[key] if key.startswith("cv/") else run.config[key]
        assert found == pytest.approx(float(np.squeeze(getattr(model, attribute))))
    assert not [key for key in run.config if key.startswith("early_stopping/")]


def test_a_choice_for_each_target_is_a_short_list(recording: MemorySink) -> None:
    model = RidgeCV([0.1, 10], alpha_per_target=True).fit(X, np.column_stack([y, X[:, 0]]))
    run = only(recording)
    assert run.config["model/alpha"] == list(model.alpha_)
    assert "cv/best_score" not in run.metrics


@pytest.mark.parametrize(
    "model",
    [
        GaussianProcessRegressor(),  # its alpha_ are coefficients
        LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1),  # its n_features_ are those it saw
    ],
    ids=lambda model: type(model).__name__,
)
def test_what_only_has_the_name_of_a_choice_is_none(recording: MemorySink, model: Any) -> None:
    model.fit(X_two[:15], y_two[:15])
    assert not {"model/alpha", "model/n_features"} & set(only(recording).config)


def test_a_searchs_score_is_not_mixed_with_that_of_what_it_searched(recording: MemorySink) -> None:
    search = GridSearchCV(RidgeCV([0.1, 1]), {"fit_intercept": [True, False]}, cv=3).fit(X, y)
    run = only(recording)
    assert run.values("cv/best_score") == [search.best_score_]
    assert run.config["model/alpha"] == search.best_estimator_.alpha_


def test_early_stopping_is_of_what_stops_early(recording: MemorySink) -> None:
    MLPClassifier(4, max_iter=5, random_state=0).fit(X_two, y_two)
    early = MLPClassifier(4, max_iter=5, early_stopping=True, random_state=0).fit(X_two, y_two)
    SGDClassifier(early_stopping=True, random_state=0).fit(X_two, y_two)
    plain, stopping, descent = recording.runs
    assert not [key for key in plain.config if key.startswith("early_stopping/")]
    assert plain.metrics["train/best_loss"] == min(plain.values("train/loss"))
    assert stopping.config["early_stopping/best_score"] == early.best_validation_score_
    assert "model/iterations" in descent.config
