"""The user's program stays as it was: random numbers, interrupts, objects."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn import metrics as imported_before_enable
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

import autolog
from autolog import MemorySink
from autolog.process import guard
from autolog.process.context import watching
from tests.sklearn.data import X_test, X_train, only, y_test, y_train


class Random(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """One whose predictions draw from a generator of its own, and are counted."""

    calls = 0

    def fit(self, X: Any, y: Any) -> Any:
        self.classes_ = np.unique(y)
        self.rng_ = np.random.default_rng(0)
        return self

    def predict(self, X: Any) -> Any:
        Random.calls += 1
        return self.rng_.choice(self.classes_, len(X))


def shuffled(values: Any, rng: Any) -> Any:
    rng.random()
    return values


@pytest.mark.parametrize(
    "model",
    [
        Random(),
        make_pipeline(
            FunctionTransformer(shuffled, kw_args={"rng": np.random.default_rng(0)}), LogisticRegression()
        ),
        make_pipeline(StandardScaler(), Random()),
        VotingClassifier([("a", Random()), ("b", LogisticRegression())]),
    ],
    ids=["his own", "his function", "in a pipeline", "in an ensemble"],
)
def test_what_may_have_effects_of_its_own_is_not_called_by_us(recording: MemorySink, model: Any) -> None:
    Random.calls = 0
    model.fit(X_train, y_train)
    assert Random.calls == 0
    run = only(recording)
    assert "is the user's to call" in run.config["autolog/notes"]["train/metrics"]
    assert not [key for key in run.metrics if key.startswith("train/")]


def test_another_threads_random_numbers_are_not_rewound(recording: MemorySink) -> None:
    drawn: list[float] = []
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            drawn.append(np.random.rand())

    thread = threading.Thread(target=draw)
    thread.start()
    for _ in range(5):
        LogisticRegression(max_iter=300).fit(X_train, y_train).score(X_test, y_test)
    stop.set()
    thread.join()
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("where", ["_record_fitted", "_record_model"])
def test_ctrl_c_while_we_record_is_the_users_and_ends_the_run(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from autolog.sklearn import fit

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, where, interrupted)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    assert only(recording).status == "killed"
    assert not guard.inside_observer()
    assert not watching.active("sklearn")


def test_ctrl_c_reaches_the_user_even_if_ending_the_run_fails(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch, expected_faults: list[guard.Fault]
) -> None:
    from autolog.core.recording import Recording
    from autolog.sklearn import fit

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    def broken(*args: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(fit, "_record_fitted", interrupted)
    monkeypatch.setattr(Recording, "end", broken)
    with pytest.raises(KeyboardInterrupt):
        LogisticRegression(max_iter=300).fit(X_train, y_train)
    monkeypatch.undo()
    assert expected_faults[0].what == "RuntimeError: ours"
    assert not watching.active("sklearn")


def test_a_timeout_of_the_users_reaches_him_out_of_our_code(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autolog.sklearn import fit

    def handler(number: int, frame: Any) -> None:
        raise TimeoutError("his")

    monkeypatch.setattr(fit, "_record_fitted", lambda *args: signal.raise_signal(signal.SIGALRM))
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(TimeoutError, match="his"):
            LogisticRegression(max_iter=300).fit(X_train, y_train)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert only(recording).status == "failed"


def test_a_model_that_does_not_pickle_is_noted_and_kept_alive_by_nobody(recording: MemorySink) -> None:
    def train() -> tuple[Any, Any]:
        data = X_train.to_numpy().copy()
        model = make_pipeline(FunctionTransformer(lambda values: values), LogisticRegression(max_iter=300))
        model.fit(data, y_train)
        model.score(data, y_train)
        return weakref.ref(model), weakref.ref(data)

    references = train()
    gc.collect()
    assert [reference() for reference in references] == [None, None]
    assert "not kept" in only(recording).config["autolog/notes"]["model"]


def test_results_are_bit_identical() -> None:
    def train() -> tuple[Any, ...]:
        np.random.seed(7)
        forest = RandomForestClassifier(5).fit(X_train, y_train)
        score = forest.score(X_test, y_test)
        search = RandomizedSearchCV(SVC(), {"C": [0.1, 1, 10, 100]}, n_iter=2).fit(X_train, y_train)
        shared = np.random.RandomState(3)
        a = BaggingClassifier(n_estimators=3, random_state=shared).fit(X_train, y_train)
        return (
            forest.predict_proba(X_test).tobytes(),
            score,
            search.best_params_,
            a.predict_proba(X_test).tobytes(),
            shared.rand(),
            np.random.rand(),
        )

    bare = train()
    with autolog.enabled("sklearn", sink=MemorySink(), log_code=False):
        assert train() == bare


def test_pickle_clone_and_copy_work_while_enabled_and_after(recording: MemorySink) -> None:
    model = LogisticRegression(max_iter=300).fit(X_train, y_train)
    expected = model.predict(X_test)
    data = pickle.dumps(model)
    for other in (pickle.loads(data), copy.deepcopy(model)):
        assert (other.predict(X_test) == expected).all()
    clone(model).fit(X_train, y_train)
    pickle.dumps(accuracy_score)
    pickle.dumps(imported_before_enable.get_scorer("accuracy"))
    joblib.dump(model, io.BytesIO())
    joblib.hash(model)
    program = f"import sys, pickle; sys.modules['autolog'] = None; print(pickle.loads({data!r}).C)"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "1.0"
    autolog.disable()
    assert (pickle.loads(data).predict(X_test) == expected).all()
