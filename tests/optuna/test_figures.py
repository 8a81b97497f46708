"""A study's pictures: made of plain data, elsewhere; the user's process imports nothing for them."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import optuna
import orjson
import pytest
from optuna.trial import TrialState

from autolog import MemorySink
from autolog.optuna import figures
from autolog.optuna.frozen import study_of, told, trials_of
from autolog.sinks import UNSHOWN_TABLE
from tests.optuna.studies import family, square, study
from tests.programs import read, run, values

STUDY = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
with autolog.enabled("optuna"):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("x", -1, 1) ** 2 + t.suggest_int("k", 1, 3), n_trials=12)
assert autolog.finish()
heavy = {"matplotlib", "pandas", "plotly", "scipy", "sklearn", "torch", "trackio"}
print("imported:", sorted(heavy & sys.modules.keys()))
"""


@pytest.mark.slow
def test_a_study_imports_nothing_heavy_and_all_its_pictures_arrive(tmp_path: Path) -> None:
    assert "imported: []" in run(tmp_path, STUDY)
    (kept,) = read(tmp_path)
    shown = {"history", "importances", "slice", "parallel_coordinates", "contour", "timeline", "interactive"}
    assert {key for key in shown if len(values(kept, key)) == 1} == shown
    (table,) = values(kept, "importances_table")
    assert table["_type"] == UNSHOWN_TABLE  # a picture shows the same
    assert [row["parameter"] for row in table["_value"]] == ["k", "x"]
    assert not {"autolog/lost", "autolog/faults", "autolog/pending"} & kept["config"].keys()


def test_trials_are_the_same_after_a_way_as_plain_data() -> None:
    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("kind", ["a", None, True, 2.5])
        trial.suggest_int("n", 1, 64, log=True)
        trial.set_user_attr("rows", [1, 2])
        trial.report(math.nan if trial.number == 1 else 0.25, 3)
        trial.report(math.inf, 4)
        if trial.number == 2:
            raise optuna.TrialPruned
        return -math.inf if trial.number == 3 else square(trial)

    searched = study()
    searched.optimize(objective, n_trials=5)
    trials = searched.get_trials(deepcopy=False)
    trials[0].system_attrs["constraints"] = (1.0, -1.0)
    again = trials_of(orjson.loads(orjson.dumps(told(trials))))
    for before, after in zip(trials, again, strict=True):
        assert (after.number, after.state, after.values) == (before.number, before.state, before.values)
        assert (after.params, after.distributions) == (before.params, before.distributions)
        assert repr(after.intermediate_values) == repr(before.intermediate_values)
        assert after.datetime_start == before.datetime_start
        assert after.datetime_complete == before.datetime_complete
        assert after.user_attrs == before.user_attrs
    assert list(again[0].system_attrs["constraints"]) == [1.0, -1.0]
    assert study_of(["minimize"], again).best_trials[0].number == 3


def test_of_many_trials_evenly_spaced_ones_are_shown_and_the_best(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_POINTS", 10)
    monkeypatch.setattr(figures, "MOST_BEST", 5)
    searched = study()
    searched.optimize(lambda trial: abs(trial.suggest_float("x", 0, 1) - 0.3), n_trials=60)
    kept, _ = family(recording)
    lines = {line["name"]: line for line in kept.charts["history"]["data"]["series"]}
    assert 10 < len(lines["trials"]["x"]) <= 20
    assert min(lines["trials"]["y"]) == searched.best_value == lines["best so far"]["y"][-1]
    assert kept.config["autolog/notes"]["figures"].endswith("trials of 60: evenly spaced ones, and the best")
    assert kept.html["interactive"].count("Plotly.newPlot(") == 4
    assert "autolog/lost" not in kept.config


def test_trials_that_have_not_ended_leave_no_gap_in_the_history(recording: MemorySink) -> None:
    searched = study()
    searched.ask()
    searched.optimize(square, n_trials=3)
    kept, _ = family(recording)
    assert kept.html["interactive"].count("Plotly.newPlot(") == 4
    assert "autolog/lost" not in kept.config


def test_a_part_that_cannot_be_made_is_said_and_the_others_are_there(
    recording: MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> Any:
        raise ZeroDivisionError("no timeline today")

    monkeypatch.setattr(figures, "_timeline", fail)
    study().optimize(square, n_trials=6)
    kept, _ = family(recording)
    assert kept.config["autolog/lost"] == {"timeline": "ZeroDivisionError: no timeline today"}
    assert {"history", "importances"} <= set(kept.charts)


def test_a_study_that_has_been_made_of_trials_tells_nobody(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.INFO, "optuna"):
            made = study_of(["minimize", "maximize"], [])
            count = len(caplog.records)
            optuna.create_study()
    finally:
        optuna.logging.disable_propagation()
    assert count == 0 < len(caplog.records)
    assert made.get_trials(states=[TrialState.COMPLETE]) == []
