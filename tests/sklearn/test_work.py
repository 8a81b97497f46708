"""What one more prediction costs is known by kind and size, so that every machine records the same."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.manifold import SpectralEmbedding
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import all_estimators

import autolog
from autolog import MemorySink
from autolog.sklearn import budget as budget_module
from autolog.sklearn.work import Cost, cost_of
from tests.programs import run

X, y = make_classification(300, 8, random_state=0)
X = np.abs(X)

STACKS = {"VotingClassifier", "StackingClassifier", "VotingRegressor", "StackingRegressor"}
AROUND_ONE = {
    "ClassifierChain",
    "FixedThresholdClassifier",
    "MultiOutputClassifier",
    "MultiOutputRegressor",
    "OneVsOneClassifier",
    "OneVsRestClassifier",
    "OutputCodeClassifier",
    "RegressorChain",
    "SelfTrainingClassifier",
    "TunedThresholdClassifierCV",
}
CHAINS = {"ClassifierChain", "MultiOutputClassifier", "MultiOutputRegressor", "RegressorChain"}
PREDICTING = [
    *all_estimators(type_filter="classifier"),
    *all_estimators(type_filter="regressor"),
    *all_estimators(type_filter="cluster"),
]


@pytest.mark.parametrize(("name", "kind"), PREDICTING, ids=[name for name, _ in PREDICTING])
def test_every_model_of_scikit_learns_is_in_the_table(name: str, kind: Any) -> None:
    target = np.column_stack([y, y]) if name in CHAINS or name.startswith("MultiTask") else y
    target = target + 1 if name in ("GammaRegressor", "PoissonRegressor") else target
    data = X[:, 0] if name == "IsotonicRegression" else X
    one = Ridge() if "Regress" in name else LogisticRegression()
    options: dict[str, Any] = {"estimators": [("a", one)]} if name in STACKS else {}
    options |= {"n_components": 1} if name in ("CCA", "PLSCanonical") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = (kind(one) if name in AROUND_ONE else kind(**options)).fit(data, target)
    if hasattr(model, "predict"):
        cost = cost_of(model, 8.0)
        assert cost is not None
        assert cost.call > 0
        assert cost.row > 0


def test_a_chain_costs_what_its_steps_do() -> None:
    parts = make_union(StandardScaler(), PolynomialFeatures())
    columns = ColumnTransformer(
        [("a", parts, [0, 1, 2]), ("b", "passthrough", slice(3, 8)), ("c", "drop", [7])]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(X, y)
    whole, last = cost_of(model, 8.0), cost_of(model[-1], 8.0)
    assert whole is not None
    assert last is not None
    assert whole.row > last.row
    assert cost_of(make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(X[:, :1], y), 1.0)
    texts = ["a few words", "and a few more"] * 10
    assert cost_of(make_pipeline(TfidfVectorizer(), Ridge()).fit(texts, range(20)), 12.0)
    search = GridSearchCV(SVC(), {"C": [1.0, 2.0]}, cv=2).fit(X, y)
    assert cost_of(search, 8.0) == Cost(100_000, 0.0, 8.0) + cost_of(search.best_estimator_, 8.0)  # type: ignore[operator]


def test_more_of_it_costs_more() -> None:
    small = cost_of(RandomForestClassifier(5, random_state=0).fit(X, y), 8.0)
    large = cost_of(RandomForestClassifier(50, random_state=0).fit(X, y), 8.0)
    assert small is not None
    assert large is not None
    assert large.call > small.call
    assert large.row > 5 * small.row


def test_a_kind_that_is_not_in_the_table_gets_no_call_more(sink: MemorySink, monkeypatch: Any) -> None:
    assert cost_of(SpectralEmbedding().fit(X[:50]), 8.0) is None
    monkeypatch.setattr(budget_module, "cost_of", lambda *_: None)
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        model = LogisticRegression().fit(X, y)
        accuracy_score(y[:50], model.predict(X[:50] + 1))
    notes = sink.runs[0].config["autolog/notes"]
    assert "stands in no table" in notes["train/metrics"]
    assert "stands in no table" in notes["val/roc"]
    assert "train/accuracy" not in sink.runs[0].metrics


def test_the_setting_that_a_note_names_brings_it_back(sink: MemorySink) -> None:
    def record(**settings: Any) -> Any:
        with autolog.enabled("sklearn", sink=sink, log_code=False, **settings):
            model = RandomForestClassifier(300, random_state=0).fit(X, y)
            accuracy_score(y[:50], model.predict(X[:50] + 1))
        return sink.runs[-1]

    for key, what in (("train/metrics", "train/accuracy"), ("val/roc", "val/roc_auc")):
        poor = record(budget=0.001)
        assert what not in poor.metrics
        told = poor.config["autolog/notes"][key]
        enough = float(told.split("Settings.budget=")[1].split()[0])
        assert what in record(budget=enough).metrics
        assert what not in record(budget=enough / 2).metrics


def test_what_takes_far_longer_is_aborted_and_said(sink: MemorySink, monkeypatch: Any) -> None:
    monkeypatch.setattr(budget_module, "ABORT_SECONDS", 0.0)
    monkeypatch.setattr(budget_module, "PART_SECONDS", 0.001)
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=1e-9):
        monkeypatch.setattr(budget_module, "SECONDS", 1e12)
        model = clone(RandomForestClassifier(50, random_state=0)).fit(X, y)
        accuracy_score(y[:50], model.predict(X[:50] + 1))
    notes = sink.runs[0].config["autolog/notes"]
    assert notes["train/metrics"].startswith("aborted: predict of ")
    assert notes["val/roc"].startswith("aborted: predict_proba of ")


def test_in_parts_it_is_the_same(sink: MemorySink, monkeypatch: Any) -> None:
    def record() -> Any:
        with autolog.enabled("sklearn", sink=sink, log_code=False):
            model = RandomForestClassifier(50, random_state=0).fit(X, y)
            accuracy_score(y[:50], model.predict(X[:50] + 1))
        run = sink.runs[-1]
        return {key: value for key, value in run.metrics.items() if not key.startswith("vitals/")}

    whole = record()
    monkeypatch.setattr(budget_module, "PART_SECONDS", 0.001)
    assert record() == whole


def test_a_loop_shares_one_allowance(sink: MemorySink) -> None:
    with autolog.enabled("sklearn", sink=sink, log_code=False, budget=0.0005):
        model = SGDClassifier(random_state=0)
        for _ in range(300):
            model.partial_fit(X, y, classes=[0, 1])
        autolog.finish()
    (run,) = sink.runs
    assert 0 < len(run.values("train/accuracy")) < 9  # it would be told at 1, 2, 4, ... calls
    assert "would pass the budget" in run.config["autolog/notes"]["train/metrics"]


def test_the_settings_that_the_notes_of_a_loop_name_bring_all_of_it_back(sink: MemorySink) -> None:
    def record(**settings: Any) -> Any:
        with autolog.enabled("sklearn", sink=sink, log_code=False, **settings):
            model = MLPClassifier((200,), random_state=0)
            for fold in range(3):
                model.partial_fit(X, y, classes=[0, 1])
                model.score(X[fold : fold + 100] + 1, y[fold : fold + 100])
            autolog.finish()
        notes = sink.runs[-1].config["autolog/notes"]
        return [float(part.split()[0]) for note in notes.values() for part in note.split("budget=")[1:]]

    poor = record(budget=1e-6)
    assert len(poor) >= 4
    assert record(budget=max(poor)) == []


SAME = """
import threading, time
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
sink = autolog.MemorySink()
autolog.enable("sklearn", sink=sink, log_code=False, system_interval=0)
X, y = load_breast_cancer(return_X_y=True)
busy = sys.argv[1:] == ["busy"] or os.environ.get("BUSY")
def spin():
    while True: pass
if busy:
    for _ in range(2): threading.Thread(target=spin, daemon=True).start()
for model in (LogisticRegression(max_iter=200), RandomForestClassifier(100, random_state=0), SVC(),
              KNeighborsClassifier(), RandomForestClassifier(400, random_state=0)):
    model.fit(X[::2], y[::2])
    accuracy_score(y[1::2], model.predict(X[1::2]))
for r in sink.runs:
    print(sorted(r.metrics), sorted(r.charts), sorted(r.tables), sorted(r.config.get("autolog/notes", {})))
os._exit(0)
"""


@pytest.mark.long
def test_the_same_script_holds_the_same_keys_under_any_load(tmp_path: Any) -> None:
    alone = run(tmp_path, SAME)
    assert "val/roc" in alone
    assert run(tmp_path, SAME, BUSY="1") == alone
