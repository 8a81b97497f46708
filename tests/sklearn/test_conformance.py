"""scikit-learn keeps the promises."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import accuracy_score, f1_score, get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_checks

import autolog
from autolog import MemorySink
from autolog.core.training import find_run
from tests.conformance.base import Conformance, Subject
from tests.conformance.by_run import ByRun

X, y = load_iris(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0, stratify=y)


class Failing(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that fails in the middle of its fit."""

    def __init__(self, error: Any = None) -> None:
        self.error = error

    def fit(self, X: Any, y: Any) -> Any:
        raise self.error

    def predict(self, X: Any) -> Any:
        raise NotImplementedError


class ScikitLearn(Subject):
    name = "sklearn"
    strength = "classify__C"
    program = """
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.datasets import load_iris
        from sklearn.pipeline import Pipeline

        class Slow(ClassifierMixin, BaseEstimator):
            def __init__(self, C=1.0):
                self.C = C
            def fit(self, X, y):
                print("ready", flush=True)
                time.sleep(120)
                return self
            def predict(self, X):
                return X

        Pipeline([("classify", Slow(C=3.0))]).fit(*load_iris(return_X_y=True))
    """

    def train(self, strength: float = 1.0) -> Any:
        model = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression(C=strength))])
        return model.fit(X_train, y_train)

    def result(self, trained: Any) -> bytes:
        data: bytes = trained.predict_proba(X_test).tobytes()
        return data

    def evaluate(self, trained: Any) -> float:
        return float(trained.score(X_test, y_test))

    def fail(self, error: BaseException) -> None:
        Failing(error).fit(X_train, y_train)


class TestScikitLearn(Conformance):
    subject = ScikitLearn()


class TestByRun(ByRun):
    subject = ScikitLearn()


# Of scikit-learn alone ------------------------------------------------------------------------------

ESTIMATORS = [
    LogisticRegression(max_iter=20),
    LinearRegression(),
    Ridge(),
    SGDClassifier(max_iter=5),
    LinearSVC(max_iter=20),
    SVR(max_iter=20),
    DecisionTreeClassifier(),
    RandomForestRegressor(n_estimators=3),
    HistGradientBoostingClassifier(max_iter=3),
    KNeighborsClassifier(),
    GaussianNB(),
    KMeans(n_clusters=2, n_init=1, max_iter=5),
    MLPRegressor(hidden_layer_sizes=3, max_iter=5),
    GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
]


def verdicts(estimator: Any) -> list[tuple[str, str]]:
    """What each of scikit-learn's own checks says of an estimator."""
    if hasattr(estimator_checks, "estimator_checks_generator"):
        checks = estimator_checks.estimator_checks_generator(estimator)
    else:  # scikit-learn before 1.6
        checks = estimator_checks.check_estimator(estimator, generate_only=True)
    found = []
    for given, check in checks:
        name = re.sub("0x[0-9a-f]+", "", str(check))
        try:
            check(given)
            found.append((name, "passed"))
        except Exception as error:
            found.append((name, type(error).__name__))
    return found


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_scikit_learns_own_checks_say_the_same_and_open_no_run(estimator: Any, sink: MemorySink) -> None:
    bare = verdicts(clone(estimator))
    assert sum(verdict == "passed" for _, verdict in bare) > 20
    with autolog.enabled("sklearn", sink=sink, log_code=False):
        assert verdicts(clone(estimator)) == bare
    assert sink.runs == []


@pytest.mark.parametrize(
    "thing",
    [accuracy_score, make_scorer(f1_score), get_scorer("roc_auc")],
    ids=["metric", "scorer", "by name"],
)
def test_metrics_and_scorers_pickle_while_recorded_and_after(thing: Any, sink: MemorySink) -> None:
    bare = pickle.dumps(thing)
    with autolog.enabled("sklearn", sink=sink):
        assert pickle.dumps(thing) == bare
        pickle.loads(bare)
    assert pickle.dumps(thing) == bare


def test_a_prediction_of_one_row_does_no_more_than_be_remembered(sink: MemorySink) -> None:
    """The time stands in the benchmarks. Here: nothing is written, and nothing is computed."""
    with autolog.enabled("sklearn", sink=sink, log_code=False, system_interval=0):
        model = LogisticRegression().fit(X_train, y_train)
        records = len(sink.records)
        run = find_run(model)
        assert run is not None
        spent = run.overhead_seconds
        for _ in range(100):
            model.predict(X_test[:1])
        assert len(sink.records) == records
        assert run.overhead_seconds == spent
