"""KerasTuner on the torch backend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

import autolog
from autolog import MemorySink
from autolog.core import settings as settings_module
from autolog.keras import TrackioCallback
from autolog.sinks.memory import MemoryRun

keras_tuner = pytest.importorskip("keras_tuner", reason="keras-tuner is not installed")

digits = load_digits(return_X_y=True)
X, y = (digits[0] / 16).astype("float32"), digits[1]
DATA: dict[str, Any] = {"x": X[:128], "y": y[:128], "validation_data": (X[128:256], y[128:256]), "verbose": 0}


def build(hp: Any) -> Any:
    keras.utils.set_random_seed(0)
    units = hp.Int("units", 4, 16, step=4)
    if units > hp.Fixed("most", 99):
        raise ValueError("his")
    layers = [keras.Input((64,)), keras.layers.Dense(units, activation="relu")]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    rate = hp.Choice("rate", [1e-2, 1e-3])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def tuner(directory: Path, kind: str = "RandomSearch", **more: Any) -> Any:
    arguments = {"objective": "val_accuracy", "max_trials": 3, "seed": 1, "directory": directory, **more}
    if kind == "Hyperband":
        arguments.pop("max_trials")
    found = getattr(keras_tuner, kind)(build, overwrite=True, **arguments)
    found.oracle.verbose = 0
    return found


@pytest.fixture
def recording(sink: MemorySink) -> Iterator[MemorySink]:
    with autolog.enabled("keras", sink=sink, log_code=False, budget=1e9):
        yield sink
    autolog.finish()


def tree(sink: MemorySink) -> tuple[MemoryRun, list[MemoryRun]]:
    """The search, and its trials."""
    search, *others = sink.runs
    assert not [run for run in sink.runs if "autolog/faults" in run.config]
    return search, [run for run in others if run.parent == search.id]


def test_a_search_is_a_run_and_its_trials_are_below_it(recording: MemorySink, tmp_path: Path) -> None:
    searching = tuner(tmp_path)
    searching.search(**DATA, epochs=2)
    search, trials = tree(recording)
    assert search.name.startswith("RandomSearch ·")
    assert search.status == "finished"
    assert (search.config["objective"], search.config["max_trials"]) == ("val_accuracy", 3)
    assert search.config["params"]["seed"] == 1
    assert search.config["search_space"]["units"]["max_value"] == 16
    scores = [trial.score for trial in searching.oracle.trials.values()]
    assert search.values("objective/val_accuracy") == scores
    assert search.values("objective/val_accuracy/best") == [max(scores[: n + 1]) for n in range(3)]
    assert [step for step, row in search.rows if "objective/val_accuracy" in row] == [0, 1, 2]
    best = searching.get_best_hyperparameters()[0].values
    assert search.config["best/params"] == best
    assert search.config["best/units"] == best["units"]
    assert search.config["best/objective"] == max(scores)
    rows = search.tables["trials"]
    assert [row["val_accuracy"] for row in rows] == pytest.approx(sorted(scores, reverse=True), rel=1e-6)
    assert len(trials) == len(recording.runs) - 1 == 3
    for run, trial in zip(trials, searching.oracle.trials.values(), strict=True):
        assert run.config["hyperparameters"] == trial.hyperparameters.values
        assert run.config["params/units"] == trial.hyperparameters.values["units"]
        assert run.config["epochs"] == 2
        assert max(run.values("val/accuracy")) == pytest.approx(trial.score)
        assert run.status == "finished"


@pytest.mark.parametrize("kind", ["Hyperband", "BayesianOptimization", "GridSearch"])
def test_every_kind_of_search(recording: MemorySink, tmp_path: Path, kind: str) -> None:
    more = {"max_epochs": 4, "factor": 3} if kind == "Hyperband" else {}
    searching = tuner(tmp_path, kind, **more)
    searching.search(**DATA, epochs=1)
    search, trials = tree(recording)
    assert search.config["tuner"] == kind
    assert len(trials) == len(searching.oracle.trials) == len(search.tables["trials"])
    assert search.config["best/params"] == searching.get_best_hyperparameters()[0].values
    assert all(run.config["epochs"] for run in trials)


def test_further_executions_are_below_their_trial(recording: MemorySink, tmp_path: Path) -> None:
    tuner(tmp_path, max_trials=2, executions_per_trial=2).search(**DATA, epochs=1)
    _, trials = tree(recording)
    assert len(trials) == 2
    assert all(run.config["epochs"] == 1 for run in trials)
    below = [run for run in recording.runs if run.parent in {trial.id for trial in trials}]
    assert [run.config["epochs"] for run in below] == [1, 1]


def test_a_trial_that_fails_says_so_and_the_search_goes_on(recording: MemorySink, tmp_path: Path) -> None:
    space = keras_tuner.HyperParameters()
    space.Fixed("most", 11)
    searching = tuner(tmp_path, "GridSearch", max_trials=8, hyperparameters=space)
    with pytest.raises(RuntimeError, match="consecutive failures"):
        searching.search(**DATA, epochs=1)
    search, trials = tree(recording)
    assert search.status == "failed"
    statuses = [run.status for run in trials]
    assert statuses == ["finished"] * 4 + ["failed"] * 3
    assert "ValueError: his" in trials[-1].config["error"]
    assert [row["status"] for row in search.tables["trials"]].count("failed") == 2
    assert search.config["best/trial"] in [run.config["trial"] for run in trials[:4]]


def test_a_black_box(recording: MemorySink, tmp_path: Path) -> None:
    class BlackBox(keras_tuner.RandomSearch):  # type: ignore[misc]
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            return float(trial.hyperparameters.Float("x", -1.0, 1.0)) ** 2

    BlackBox(max_trials=3, directory=tmp_path, overwrite=True).search(verbose=0)
    search, trials = tree(recording)
    assert search.values("objective/default_objective/best")[-1] == search.config["best/objective"]
    assert {"x"} == set(trials[1].config["params"])


def test_a_search_that_is_gone_on_with_knows_what_was_best(recording: MemorySink, tmp_path: Path) -> None:
    class Rising(keras_tuner.RandomSearch):  # type: ignore[misc]
        def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> float:
            trial.hyperparameters.Float("x", -1.0, 1.0)
            return float(len(self.oracle.trials))  # the first one is the best

    for trials in (1, 3):
        Rising(max_trials=trials, directory=tmp_path, overwrite=trials == 1).search(verbose=0)
    later = [run for run in recording.runs if run.parent is None][-1]
    assert later.config["best/objective"] == 1.0
    assert later.values("objective/default_objective/best") == [1.0, 1.0]


def test_a_search_of_scikit_learns_models(sink: MemorySink, tmp_path: Path) -> None:
    def tree_of(hp: Any) -> Any:
        return DecisionTreeClassifier(max_depth=hp.Int("depth", 1, 8), random_state=0)

    objective = keras_tuner.Objective("score", "max")
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective, max_trials=2, seed=1)
    oracle.verbose = 0
    with autolog.enabled("keras", "sklearn", sink=sink, log_code=False, budget=1e9):
        keras_tuner.SklearnTuner(oracle, tree_of, directory=tmp_path, overwrite=True).search(X, y)
    autolog.finish()
    search, trials = tree(sink)
    assert search.values("objective/score/best")[-1] == search.config["best/objective"]
    assert [run.config["model"] for run in trials] == ["DecisionTreeClassifier"] * 2
    assert all(1 <= run.config["hyperparameters"]["depth"] <= 8 for run in trials)


def test_results_are_bit_identical(sink: MemorySink, tmp_path: Path) -> None:
    def program() -> list[Any]:
        searching = tuner(tmp_path)
        searching.search(**DATA, epochs=1)
        trials = searching.oracle.trials.values()
        return [(trial.trial_id, trial.hyperparameters.values, trial.score) for trial in trials]

    bare = program()
    assert program() == bare
    with autolog.enabled("keras", sink=sink, log_code=False):
        assert program() == bare
    assert len(sink.runs) == 4


@pytest.mark.parametrize("given", [False, True])
def test_a_callback_by_hand_is_copied_and_records(sink: MemorySink, tmp_path: Path, given: bool) -> None:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
    try:
        if given:
            with autolog.run("his") as his:
                callbacks = [TrackioCallback(his)]
                tuner(tmp_path).search(**DATA, epochs=1, callbacks=callbacks)
        else:
            callbacks = [TrackioCallback()]
            tuner(tmp_path).search(**DATA, epochs=1, callbacks=callbacks)
        tuner(tmp_path).search(**DATA, epochs=1)
    finally:
        settings_module.use(None)
    search, trials = tree(sink)
    assert (search.name == "his") == given
    assert len(sink.runs) == 4
    assert [run.config["epochs"] for run in trials] == [1] * 3


def test_a_run_of_the_users_holds_the_search(recording: MemorySink, tmp_path: Path) -> None:
    with autolog.run("his") as his:
        tuner(tmp_path).search(**DATA, epochs=1)
        assert his.status == "running"
    search, trials = tree(recording)
    assert search.name == "his"
    assert len(trials) == 3


@pytest.mark.long
def test_keras_tuner_is_imported_by_nobody_but_the_user() -> None:
    program = (
        "import autolog, sys; autolog.enable('keras'); import keras; print('keras_tuner' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
