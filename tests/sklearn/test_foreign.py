"""Code that is not scikit-learn's: what predicts with it is not called by us, what only fits with it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from joblib import Memory
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBClassifier
from xgboost.callback import TrainingCallback

import autolog
from autolog import MemorySink
from tests.sklearn.data import only

X, y = make_classification(300, 6, random_state=0)


def cost(truth: Any, predicted: Any) -> float:
    return float(accuracy_score(truth, predicted))


class Splitter:
    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        return KFold(2).split(X)

    def get_n_splits(self, *args: Any, **kwargs: Any) -> int:
        return 2


class Listening(TrainingCallback):
    pass


MODELS = {
    "memory": lambda path: make_pipeline(
        StandardScaler(), LogisticRegression(), memory=Memory(path, verbose=0)
    ),
    "scoring": lambda path: GridSearchCV(
        LogisticRegression(), {"C": [1.0]}, scoring=lambda m, X, y: cost(y, m.predict(X)), cv=2
    ),
    "splitter": lambda path: GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=Splitter()),
    "random state": lambda path: SGDClassifier(loss="log_loss", random_state=np.random.RandomState(0)),
    "callbacks": lambda path: XGBClassifier(n_estimators=3, n_jobs=1, callbacks=[Listening()]),
    "metric of a boosting": lambda path: XGBClassifier(n_estimators=3, n_jobs=1, eval_metric=cost),
}


@pytest.mark.parametrize("kind", MODELS)
def test_what_prediction_never_runs_costs_no_record(recording: MemorySink, kind: str, tmp_path: Path) -> None:
    model = MODELS[kind](tmp_path).fit(X[:200], y[:200])
    model.score(X[200:], y[200:])
    run = only(recording)
    assert {"val/roc_auc", "train/accuracy"} <= set(run.metrics)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(FunctionTransformer(lambda X: X * 2), LogisticRegression()),
        GridSearchCV(KNeighborsClassifier(metric=lambda a, b: abs(a - b).sum()), {"n_neighbors": [3]}, cv=2),
    ],
    ids=["a step", "a metric inside of a search"],
)
def test_what_prediction_runs_is_the_users_to_call(recording: MemorySink, model: Any) -> None:
    model.fit(X[:100], y[:100])
    accuracy_score(y[100:120], model.predict(X[100:120]))
    run = only(recording)
    assert "val/accuracy" in run.metrics
    assert "val/roc_auc" not in run.metrics
    assert "may have effects" in str(run.config["autolog/notes"]["val/roc"])


def test_models_that_a_library_fits_for_itself_are_no_runs(recording: MemorySink) -> None:
    study = optuna.create_study()
    study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_float("y", -1, 1), n_trials=10)
    optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    assert not recording.runs
    study.optimize(lambda t: LogisticRegression(C=t.suggest_float("C", 0.1, 1)).fit(X, y).C, n_trials=2)
    assert len(recording.runs) == 2, "the user's own, which Optuna only calls"


def test_classes_after_resampling_are_told_and_nothing_is_changed(recording: MemorySink) -> None:
    pytest.importorskip("imblearn", reason="imbalanced-learn is not installed: pip install imbalanced-learn")
    from imblearn.over_sampling import SMOTE
    from imblearn.pipeline import Pipeline

    rare = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:30]]
    few, labels = X[rare], y[rare]

    def fitted() -> Any:
        steps = [("over", SMOTE(random_state=0, k_neighbors=3)), ("model", LogisticRegression(C=0.5))]
        return Pipeline(steps).fit(few, labels)

    recorded = fitted()
    GridSearchCV(recorded, {"model__C": [0.1, 1.0]}, cv=2).fit(few, labels)
    SMOTE(random_state=0).fit_resample(few, labels)  # by hand: no part of a fit
    fit, search = recording.runs
    zeros = int((labels == 0).sum())
    evened = {"by": "SMOTE", "rows": 2 * zeros, "classes": {"0": zeros, "1": zeros}}
    assert fit.config["data/train"]["target"]["classes"] == {"0": zeros, "1": 30}
    assert fit.config["data/resampled"] == search.config["data/resampled"] == evened
    autolog.disable()
    bare = fitted()
    assert (bare["model"].coef_ == recorded["model"].coef_).all()


def test_the_epochs_of_a_net_of_skorch_are_a_curve(recording: MemorySink) -> None:
    skorch = pytest.importorskip("skorch", reason="skorch is not installed: pip install skorch")
    import torch

    torch.manual_seed(0)
    net = skorch.NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(6, 2), torch.nn.Softmax(-1)), max_epochs=4, lr=0.1, verbose=0
    )
    net.fit(X.astype("float32"), y)
    run = only(recording)
    for key, name in (
        ("train/loss", "train_loss"),
        ("val/loss", "valid_loss"),
        ("val/accuracy", "valid_acc"),
    ):
        told = [values[f"rounds/{key}"] for _, values in run.rows if f"rounds/{key}" in values]
        assert told == net.history[:, name]


def test_what_a_boosting_takes_by_its_base_class_is_a_default_there(recording: MemorySink) -> None:
    XGBClassifier(n_estimators=3, n_jobs=1, max_depth=2).fit(X, y)
    run = only(recording)
    by_hand = {key for key in run.config if key.startswith("params/")}
    assert by_hand == {"params/n_estimators", "params/n_jobs", "params/max_depth"}
    assert "missing" not in run.name
