"""What explains a model is in its run: partial dependence, SHAP values, ``autolog.explain``."""

from __future__ import annotations

import importlib
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from matplotlib import pyplot
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import PartialDependenceDisplay, partial_dependence
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

import autolog
from autolog import MemorySink
from autolog.sinks.memory import MemoryRun
from tests.keys import undocumented

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X = X.iloc[:300, :6]
y = y.iloc[:300]
COLUMNS = list(X.columns)
X_iris, y_iris = load_iris(return_X_y=True, as_frame=True)
X_diabetes, y_diabetes = load_diabetes(return_X_y=True)

PEOPLE = pd.DataFrame(
    {
        "age": np.arange(200) % 60,
        "town": np.array(["north", "south", "east"])[np.arange(200) % 3],
        "income": np.random.default_rng(0).normal(size=200),
        "member": np.arange(200) % 2 == 0,
    }
)
PEOPLE.loc[::17, "income"] = np.nan
PEOPLE.loc[::19, "town"] = None
LEFT = (PEOPLE.age > 30) ^ (PEOPLE.town == "north")


def people_model() -> Any:
    towns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough"
    )
    return make_pipeline(towns, HistGradientBoostingClassifier(max_iter=5)).fit(PEOPLE, LEFT)


def only(sink: MemorySink) -> MemoryRun:
    (run,) = sink.runs
    assert "autolog/faults" not in run.config
    assert undocumented(run) == set()
    return run


def notes(run: MemoryRun) -> dict[str, str]:
    return {key: why for key, why in run.config["autolog/notes"].items() if key.startswith("model/")}


# What the user computes -------------------------------------------------------------------------------


def test_partial_dependence_is_in_the_run_of_its_model(recording: MemorySink) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    other = LogisticRegression(max_iter=5).fit(X, y)
    other.predict(X)  # asked last
    found = partial_dependence(model, X, ["mean texture"], grid_resolution=10)
    both = partial_dependence(model, X, [0, 1], grid_resolution=4)
    run, of_other = recording.runs
    rows = run.tables["model/partial_dependence_table/mean texture"]
    assert [row["value"] for row in rows] == pytest.approx(list(found["grid_values"][0]))
    assert [row["mean_prediction"] for row in rows] == pytest.approx(list(found["average"][0]))
    assert "model/partial_dependence/mean texture" in run.charts
    rows = run.tables["model/partial_dependence_table/mean radius, mean texture"]
    assert [row["mean_prediction"] for row in rows] == pytest.approx(list(both["average"][0].ravel()))
    assert undocumented(run) == set()
    assert not [key for key in (*of_other.tables, *of_other.charts) if "partial" in key]
    assert not [key for key in run.metrics if key.startswith("val")], "its rows are no evaluation set"


def test_curves_of_single_rows_are_recorded_as_their_mean(recording: MemorySink) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X_iris, y_iris)
    found = partial_dependence(model, X_iris, [2], kind="individual", grid_resolution=5)
    rows = only(recording).tables["model/partial_dependence_table/petal length (cm)"]
    means = found["individual"].mean(axis=1)
    assert [row["mean_prediction_2"] for row in rows] == pytest.approx(list(means[2]))


def test_of_a_model_that_nothing_has_recorded_nothing_is(recording: MemorySink) -> None:
    RandomForestClassifier(5).fit(X, y).predict(X)
    with autolog.enabled("optuna"):
        pass
    autolog.disable("sklearn")
    stranger = RandomForestClassifier(5).fit(X, y)
    autolog.enable("sklearn")
    partial_dependence(stranger, X, [0])
    PartialDependenceDisplay.from_estimator(stranger, X, [0])
    run = only(recording)
    assert not [key for key in (*run.tables, *run.charts, *run.html) if "artial" in key]
    pyplot.close("all")


def test_a_display_of_partial_dependence_is_of_the_model_that_it_is_given(recording: MemorySink) -> None:
    model = RandomForestRegressor(5, random_state=0).fit(X_diabetes, y_diabetes)
    Ridge().fit(X_diabetes, y_diabetes).predict(X_diabetes)  # asked last; the display asks the trees alone
    display = PartialDependenceDisplay.from_estimator(
        model, X_diabetes, [0, (1, 2)], method="recursion", grid_resolution=5
    )
    run, other = recording.runs
    assert "figures/PartialDependenceDisplay" in run.html
    assert not other.html
    rows = run.tables["model/partial_dependence_table"]
    assert {(row["feature"], row.get("second_feature")) for row in rows} == {("x0", None), ("x1", "x2")}
    assert rows[0]["mean_prediction"] == pytest.approx(display.pd_results[0]["average"][0][0])
    pyplot.close("all")


# Partial dependence by explain ------------------------------------------------------------------------


def test_partial_dependence_is_what_scikit_learn_says(recording: MemorySink) -> None:
    few = X_iris.round(0)  # all of its values make the grid, of ours and of scikit-learn's
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(few, y_iris)
    told = autolog.explain(model, few, method="partial_dependence", features=["petal length (cm)"], rows=1000)
    found = partial_dependence(model, few, ["petal length (cm)"])
    for k in range(3):
        assert [row[f"mean_prediction_{k}"] for row in told] == pytest.approx(list(found["average"][k]))
    assert [row["value"] for row in told] == list(found["grid_values"][0])
    run = only(recording)
    assert run.charts["model/partial_dependence"]["kind"] == "dependence"
    assert len(run.tables["model/partial_dependence_table"]) == len(told)


def test_with_targets_the_features_are_chosen_by_permutation(recording: MemorySink) -> None:
    model = RandomForestRegressor(5, random_state=0).fit(X_diabetes, y_diabetes)
    told = autolog.explain(model, X_diabetes, y_diabetes, method="partial_dependence", features=2)
    run = only(recording)
    by_score = [row["feature"] for row in run.tables["model/permutation_importances_table"]]
    assert list(dict.fromkeys(row["feature"] for row in told)) == by_score[:2]


def test_without_targets_by_what_the_model_has_learned_or_by_what_moves_it(recording: MemorySink) -> None:
    model = RandomForestRegressor(5, random_state=0).fit(X_diabetes, y_diabetes)
    told = autolog.explain(model, X_diabetes, method="partial_dependence", features=2)
    largest = [f"x{n}" for n in np.argsort(-model.feature_importances_)[:2]]
    assert list(dict.fromkeys(row["feature"] for row in told)) == largest
    piped = make_pipeline(StandardScaler(), Ridge()).fit(
        X_diabetes * [1, 1, 9, 1, 1, 1, 1, 1, 1, 1], y_diabetes
    )
    told = autolog.explain(piped, X_diabetes, method="partial_dependence", features=1)
    spreads = [np.ptp(partial_dependence(piped, X_diabetes, [n])["average"]) for n in range(10)]
    assert {row["feature"] for row in told} == {f"x{int(np.argmax(spreads))}"}


def test_columns_of_any_kind(recording: MemorySink) -> None:
    model = people_model()
    told = autolog.explain(model, PEOPLE, method="partial_dependence", features=list(PEOPLE.columns))
    by_feature = {name: [row for row in told if row["feature"] == name] for name in PEOPLE.columns}
    assert {row["value"] for row in by_feature["town"]} == {"north", "south", "east"}
    assert all(float(row["value"]).is_integer() for row in by_feature["age"]), "it was predicted from these"
    assert np.isfinite([row["value"] for row in by_feature["income"]]).all()
    south = PEOPLE.assign(town="south")
    (row,) = (row for row in by_feature["town"] if row["value"] == "south")
    assert row["mean_prediction"] == pytest.approx(model.predict_proba(south)[:, 1].mean())
    only(recording)


@pytest.mark.parametrize("kind", [pl.from_pandas, sparse.csr_matrix, lambda table: table.to_numpy().tolist()])
def test_tables_of_any_form(recording: MemorySink, kind: Any) -> None:
    data = kind(X)
    model = HistGradientBoostingClassifier(max_iter=3).fit(X.to_numpy(), y)
    told = autolog.explain(model, data, method="partial_dependence", features=[0], rows=50)
    assert len(told) == 30
    only(recording)


def test_texts_of_a_column_go_to_no_server_unasked(sink: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    from autolog.core.recording import Recording

    monkeypatch.setattr(Recording, "keeps", lambda self, kind: False)
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e9):
        autolog.explain(people_model(), PEOPLE, method="partial_dependence")
        run = only(sink)
        assert "town" not in {row["feature"] for row in run.tables["model/partial_dependence_table"]}
        assert "Settings.share" in notes(run)["model/partial_dependence/town"]
    autolog.finish()


def test_the_time_bounds_it_and_a_note_says_so(recording: MemorySink) -> None:
    model = RandomForestClassifier(50).fit(X, y)
    told = autolog.explain(model, X, method="partial_dependence", seconds=1e-6, features=COLUMNS)
    assert {row["feature"] for row in told} == {COLUMNS[0]}
    assert "explain(seconds=...) gives more" in notes(only(recording))["model/partial_dependence"]


def test_it_is_no_evaluation_and_no_random_number_is_missed(recording: MemorySink) -> None:
    model = RandomForestClassifier(5).fit(X, y)
    before = dict(only(recording).metrics)
    np.random.seed(7)
    autolog.explain(model, X, y, method="partial_dependence")
    drawn = np.random.random(3)
    np.random.seed(7)
    assert np.array_equal(drawn, np.random.random(3))
    assert only(recording).metrics == before


def test_the_run_is_the_models_else_the_one_that_is_open_or_given(sink: MemorySink) -> None:
    stranger = Ridge().fit(X_diabetes, y_diabetes)
    options: dict[str, Any] = {"method": "partial_dependence", "features": [0]}
    with pytest.raises(autolog.RunError, match=r"no run is known of this Ridge.*explain\(..., run=run\)"):
        autolog.explain(stranger, X_diabetes, **options)
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        with autolog.run("mine") as mine:
            autolog.explain(stranger, X_diabetes, **options)
        with autolog.run("yours") as yours:
            pass
        with pytest.raises(autolog.RunError, match="already finished"):
            autolog.explain(stranger, X_diabetes, run=yours, **options)
    assert [run.name for run in sink.runs if "model/partial_dependence_table" in run.tables] == [mine.name]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": RandomForestClassifier}, "a fitted estimator"),
        ({"model": "model.pkl"}, "a fitted estimator"),
        ({"method": "lime"}, "expected one of auto, shap, partial_dependence"),
        ({"features": 0}, "a whole number or a list"),
        ({"features": []}, "a whole number or a list"),
        ({"features": ["mean radio"]}, "no feature 'mean radio'. There are: mean radius, mean texture"),
        ({"features": [6]}, "no feature 6"),
        ({"rows": 1}, "of 2 or more"),
        ({"seconds": 0}, "above 0"),
        ({"seconds": float("nan")}, "above 0"),
        ({"X": ["a text", "another one"]}, r"expected a table of 2 rows or more"),
        ({"X": X[:1]}, r"expected a table of 2 rows or more"),
        ({"y": [1, 0]}, "300 rows and y has 2"),
        ({"run": "mine"}, "expected a run"),
    ],
)
def test_wrong_arguments_are_refused_with_words(
    recording: MemorySink, wrong: dict[str, Any], said: str
) -> None:
    model = RandomForestClassifier(2).fit(X, y)
    given = {"model": model, "X": X, "method": "partial_dependence", **wrong}
    with pytest.raises((TypeError, ValueError), match=said):
        autolog.explain(**given)


def test_what_the_model_raises_is_the_users_to_see(recording: MemorySink) -> None:
    model = RandomForestClassifier(2).fit(X, y)
    with pytest.raises(ValueError, match="features"):
        autolog.explain(model, X_iris.to_numpy(), method="partial_dependence")


def test_without_shap_it_says_so(recording: MemorySink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    model = RandomForestClassifier(2).fit(X, y)
    with pytest.raises(ImportError, match="pip install shap, or ask for method='partial_dependence'"):
        autolog.explain(model, X, method="shap")
    autolog.explain(model, X)
    run = only(recording)
    assert "pip install shap" in notes(run)["model/shap"]
    assert "model/partial_dependence" in run.charts


# SHAP values ------------------------------------------------------------------------------------------


@pytest.fixture
def shap() -> Any:
    return pytest.importorskip("shap", reason="shap is not installed (with numba, 200 MB): pip install shap")


def test_shap_values_are_in_the_run_of_their_model(recording: MemorySink, shap: Any) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    LogisticRegression(max_iter=5).fit(X, y).predict(X)  # asked last
    explanation = shap.TreeExplainer(model)(X[:50])
    run, other = recording.runs
    rows = {row["feature"]: row for row in run.tables["model/shap_table"]}
    sizes = np.abs(explanation.values[:, :, 1]).mean(axis=0)
    assert [rows[name]["mean_abs_shap"] for name in COLUMNS] == pytest.approx(list(sizes))
    assert run.charts["model/shap"]["kind"] == "swarm"
    assert "model/shap" not in other.charts
    assert undocumented(run) == set()


def test_so_are_arrays_of_them_and_those_of_a_function(recording: MemorySink, shap: Any) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_iris, y_iris)
    names = {"his": model}

    def predict(rows: Any) -> Any:
        return names["his"].predict_proba(rows)

    shap.KernelExplainer(predict, X_iris[:5]).shap_values(X_iris[:10], silent=True)
    shap.PermutationExplainer(model.predict_proba, X_iris[:5])(X_iris[:10])
    run = only(recording)
    for key in ("model/shap_table", "model/shap_table/2"):
        assert set(run.tables[key][0]) == {
            "feature",
            "mean_abs_shap",
            *(f"mean_abs_shap_{k}" for k in range(3)),
        }
    assert not [key for key in run.metrics if key.startswith("val")]


def test_of_a_model_that_is_not_known_a_note_is_left(recording: MemorySink, shap: Any) -> None:
    model = XGBClassifier(n_estimators=3).fit(X, y)
    shap.TreeExplainer(model.get_booster())(X[:20])
    run = only(recording)
    assert "model/shap" not in run.charts
    assert "give the explainer the fitted model" in run.config["autolog/notes"]["shap"]


def test_they_are_the_same_bits_and_the_explainer_pickles(recording: MemorySink, shap: Any) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    explainer = shap.TreeExplainer(model)
    seen = explainer(X[:20])
    again = pickle.loads(pickle.dumps(explainer))(X[:20])
    autolog.disable()
    assert np.array_equal(seen.values, shap.TreeExplainer(model)(X[:20]).values)
    assert np.array_equal(seen.values, again.values)


def test_plots_are_too_and_those_of_a_part_of_them(recording: MemorySink, shap: Any) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, y)
    explainer = shap.TreeExplainer(model)
    explanation, array = explainer(X[:30]), explainer.shap_values(X[:30])
    LogisticRegression(max_iter=5).fit(X, y).predict(X)  # asked last
    shap.plots.beeswarm(explanation[:, :, 1], show=False)
    shap.plots.bar(explanation[:, :, 1].abs.mean(0), show=False)
    shap.plots.waterfall(explanation[0, :, 1], show=False)
    shap.summary_plot(array[..., 1], X[:30], show=False)
    shap.plots.force(explanation[0, :, 1])
    pyplot.close("all")
    run, other = recording.runs
    assert set(run.html) == {f"figures/shap_{kind}" for kind in ("beeswarm", "bar", "waterfall", "summary")}
    assert not other.html
    shap.summary_plot(np.abs(array[..., 1]), X[:30], show=False)
    assert "left out" in recording.runs[0].config["autolog/notes"]["figures/shap_summary"]
    pyplot.close("all")


def test_of_few_rows_and_of_many_explanations_a_note_is_left(recording: MemorySink, shap: Any) -> None:
    model = RandomForestClassifier(2, random_state=0).fit(X, y)
    explainer = shap.TreeExplainer(model)
    explainer(X[:1])
    run = only(recording)
    assert "model/shap" not in run.charts
    assert "fewer than 10 rows" in notes(run)["model/shap"]
    for _ in range(12):
        explainer(X[:10])
    run = only(recording)
    assert len([key for key in run.charts if key.startswith("model/shap")]) == 10
    assert "after the first 10" in notes(run)["model/shap"]


MODELS = {
    "trees": lambda: (RandomForestClassifier(5).fit(X, y), X, "of the probability of 1"),
    "linear": lambda: (LogisticRegression(max_iter=2000).fit(X, y), X, "of the log-odds"),
    "regression": lambda: (Ridge().fit(X_diabetes, y_diabetes), X_diabetes, "of the prediction"),
    "search": lambda: (
        GridSearchCV(RandomForestRegressor(3), {"max_depth": [2]}, cv=2).fit(X_diabetes, y_diabetes),
        X_diabetes,
        "of the prediction",
    ),
    "pipeline": lambda: (people_model(), PEOPLE, "of the probability"),
    "classes": lambda: (RandomForestClassifier(3).fit(X_iris, y_iris), X_iris, "of the probability"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_explain_by_shap(recording: MemorySink, shap: Any, kind: str) -> None:
    model, data, unit = MODELS[kind]()
    np.random.seed(7)
    told = autolog.explain(model, data, rows=20)
    assert np.random.random() == np.random.RandomState(7).random_sample()
    run = only(recording)
    chart = run.charts["model/shap"]
    assert chart["data"]["x_label"].endswith(f", {unit}")
    assert chart["kind"] == ("bars" if kind == "classes" else "swarm")
    assert [row["feature"] for row in run.tables["model/shap_table"]] == [row["feature"] for row in told]
    assert len(told) == data.shape[1]
    sizes = [row["mean_abs_shap"] for row in told]
    assert sizes == sorted(sizes, reverse=True)


def test_explain_by_shap_ends_with_its_time(recording: MemorySink, shap: Any) -> None:
    autolog.explain(people_model(), PEOPLE, seconds=1e-6)
    run = only(recording)
    assert "of 2 rows of 200: 1e-06 s were over" in notes(run)["model/shap"]
