"""Several processes on one storage: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.programs import journals, read, values
from tests.programs import run_warm as run
from tests.programs import start_warm as start

STORAGES = {
    "sqlite": "'sqlite:///' + {file!r}",
    "journal": """optuna.storages.JournalStorage(
        getattr(getattr(optuna.storages, 'journal', None), 'JournalFileBackend', None)({file!r})
        if hasattr(optuna.storages, 'journal') else optuna.storages.JournalFileStorage({file!r}))""",
}

WORKER = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
autolog.enable("optuna", log_code=False)
storage = {storage}

def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    if trial.number % 3 == 0:
        trial.report(x, 1)
    time.sleep(0.02)
    return x * x

study = optuna.create_study(study_name="shared", storage=storage, load_if_exists=True)
print("ready", flush=True)
while not os.path.exists({go!r}):
    time.sleep(0.01)
study.optimize(objective, n_trials=15)
"""


def worker(directory: Path, kind: str) -> str:
    storage = STORAGES[kind].format(file=str(directory / f"study.{kind}"))
    return WORKER.format(storage=storage, go=str(directory / "go"))


def together(directory: Path, program: str, count: int = 2) -> None:
    """Run a program several times at the same time."""
    processes: list[Any] = []
    for _ in range(count):
        processes.append(start(directory, program))
        assert processes[-1].stdout.readline() == "ready\n", processes[-1].communicate()[1]
    (directory / "go").touch()
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err


def trials_below(kept: list[dict[str, Any]], study: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in kept if one["config"].get("parent") == study["id"]]


@pytest.mark.long
@pytest.mark.parametrize("kind", STORAGES)
def test_two_workers_share_a_run(tmp_path: Path, kind: str) -> None:
    together(tmp_path, worker(tmp_path, kind))
    kept = read(tmp_path)
    (study,) = [one for one in kept if "parent" not in one["config"]]
    config = study["config"]
    steps = [row["step"] for row in study["logs"] if "objective/value" in row]
    assert sorted(steps) == list(range(30))
    assert config["status"] == "finished"
    assert config["trials/complete"] == 30
    assert config["best/objective"] == min(values(study, "objective/value"))
    best = {
        row["step"]: row["objective/value/best"] for row in study["logs"] if "objective/value/best" in row
    }
    assert best[29] == config["best/objective"]
    assert config["result"] == {"objective/value/best": pytest.approx(config["best/objective"], rel=1e-5)}
    tables = [row["trials"] for row in study["logs"] if "trials" in row]
    assert max(len(table["_value"]) for table in tables) == 30
    trials = trials_below(kept, study)
    assert sorted(one["config"]["trial"] for one in trials) == list(range(0, 30, 3))
    assert all(one["config"]["status"] == "finished" for one in trials)
    assert journals(tmp_path) == []

    program = worker(tmp_path, kind)
    run(tmp_path, program)  # later, a third one: it goes on in the run
    again = [one for one in read(tmp_path) if "parent" not in one["config"]]
    assert [one["id"] for one in again] == [study["id"]]
    assert len(values(again[0], "objective/value")) == 45
    assert again[0]["config"]["trials/complete"] == 45

    (tmp_path / f"study.{kind}").unlink()  # and one that is new under the old name: another run
    run(tmp_path, program)
    both = [one for one in read(tmp_path) if "parent" not in one["config"]]
    assert sorted(len(values(one, "objective/value")) for one in both) == [15, 45]


SLOW = """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
autolog.enable("optuna", log_code=False)
study = optuna.create_study(study_name="shared", storage={storage}, load_if_exists=True)

def slow(trial):
    print("ready", flush=True)
    while not os.path.exists({done!r}):
        time.sleep(0.01)
    return 0.0

if {is_slow}:
    study.optimize(slow, n_trials=1)
else:
    study.optimize(lambda trial: 5.0, n_trials=5)
    assert autolog.finish()
    open({done!r}, "w").close()
"""


@pytest.mark.long
def test_a_first_trial_that_ends_last_in_another_process_is_the_best(tmp_path: Path) -> None:
    storage = STORAGES["journal"].format(file=str(tmp_path / "study.journal"))
    slow, fast = (SLOW.format(storage=storage, done=str(tmp_path / "done"), is_slow=n) for n in (True, False))
    process = start(tmp_path, slow)
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    run(tmp_path, fast)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    (study,) = [one for one in read(tmp_path) if "parent" not in one["config"]]
    assert (study["config"]["best/trial"], study["config"]["best/objective"]) == (0, 0.0)
    assert study["config"]["trials/complete"] == 6
    rows = [
        (row["step"], row["objective/value/best"]) for row in study["logs"] if "objective/value/best" in row
    ]
    assert max(rows, key=lambda row: row[0])[0] == 5
    assert [best for step, best in rows if step == 5][-1] == 0.0


LATE = """
from autolog.sinks import delivery
sweep = delivery.Delivery.sweep
def when_all_has_ended(self):  # of a busy machine: only then what others have left is found
    if self.runs and not any(run.running for run in self.runs.values()):
        sweep(self)
delivery.Delivery.sweep = when_all_has_ended
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["", LATE], ids=["", "found late"])
def test_a_worker_that_is_killed_says_so_and_the_others_go_on(tmp_path: Path, when: str) -> None:
    (tmp_path / "go").touch()
    program = worker(tmp_path, "sqlite")
    dies = """
def die():  # what was recorded is on disk
    from autolog.core import outlet
    from autolog.process import background
    assert background.drain(60)
    assert all(channel.journal.sync(60) for channel in outlet._trackio._all())
    os.kill(os.getpid(), 9)
"""
    killed = dies + program.replace("return x * x", "return die() if trial.number == 4 else x * x")
    run(tmp_path, killed, code=-9)
    run(tmp_path, when + program)
    (study,) = [one for one in read(tmp_path) if "parent" not in one["config"]]
    assert "crashed" in study["alerts"][0]["title"]
    assert study["config"]["status"] == "finished"
    steps = [row["step"] for row in study["logs"] if "objective/value" in row]
    assert sorted(steps) == [n for n in range(20) if n != 4]
    assert values(study, "objective/value/best")[-1] == study["config"]["best/objective"]
