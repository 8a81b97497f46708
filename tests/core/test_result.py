"""The result of a run stands at the top of its config: in real programs, whatever comes after the fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import read, run, start, until_on_disk

FIT = """
import numpy as np
autolog.enable(log_code=False)
from sklearn.linear_model import LogisticRegression
X = np.arange(40.0)[:, None]; y = (X[:, 0] > 19).astype(int)
"""


@pytest.mark.slow
def test_it_is_what_the_model_was_evaluated_on_last(tmp_path: Path) -> None:
    run(
        tmp_path,
        FIT
        + """
model = LogisticRegression().fit(X, y)
autolog.finish()  # the run has ended, and was delivered
model.score(X[::2] + 0.5, y[::2])
""",
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["result"]["val/accuracy"] == 1.0
    assert all(key.startswith("val/") for key in kept["config"]["result"])
    assert [key for key in kept["config"] if not key.startswith("_")][:2] == ["result", "status"]


def test_what_has_diverged_is_not_as_good_as_it_was_before(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
with autolog.run("r") as r:
    r.log({"val/loss": 0.3, "val/cost": 1.0})
    r.log({"val/loss": float("nan"), "val/cost": float("inf")})
""",
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["result"] == {"val/loss": "NaN"}


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]], ids=len)
def test_that_of_a_study_is_its_best_and_not_its_last_trial(tmp_path: Path, directions: list[str]) -> None:
    run(
        tmp_path,
        f"""
import optuna
autolog.enable(log_code=False)
study = optuna.create_study(directions={directions})
study.optimize(lambda trial: [float(trial.number)] * {len(directions)}, n_trials=4)
""",
    )
    (study,) = [one for one in read(tmp_path) if "parent" not in one["config"]]
    one, several = {"objective/value/best": 0.0}, {"objective/0/best": 0.0, "objective/1/best": 3.0}
    assert study["config"]["result"] == (one if len(directions) == 1 else several)


def test_one_of_the_users_own_stays(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("r", config={"result": "mine"}) as r: r.log({"val/accuracy": 1.0})')
    (kept,) = read(tmp_path)
    assert kept["config"]["result"] == "mine"


def test_of_a_process_that_was_killed_whoever_delivers_the_rest_says_it(tmp_path: Path) -> None:
    process = start(
        tmp_path, 'r = autolog.run("r").__enter__(); r.log({"val/accuracy": 0.5}); time.sleep(300)'
    )
    until_on_disk(tmp_path, "val/accuracy")
    process.kill()
    process.communicate()
    run(tmp_path, "autolog.finish()")
    (kept,) = read(tmp_path)
    assert (kept["config"]["status"], kept["config"]["result"]) == ("crashed", {"val/accuracy": 0.5})
