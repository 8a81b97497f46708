"""``BackupAndRestore``: a training that was interrupted goes on in its run, in another process too."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.programs import free_port, journals, read, trackio_server
from tests.programs import run_warm as run
from tests.programs import start_warm as start

TRAINING = """
import keras, numpy as np
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")[:256]; y = y[:256]

class Stop(keras.callbacks.Callback):
    def __init__(self, epoch, how): super().__init__(); self.epoch, self.how = epoch, how
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch: self.how()

def train(*more, epochs=4, keep=False):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    backup = keras.callbacks.BackupAndRestore(os.environ["BACKUP"], delete_checkpoint=not keep)
    model.fit(X, y, epochs=epochs, verbose=0, callbacks=[backup, *more])
    return model

def die(): os.kill(os.getpid(), signal.SIGKILL)
def fail(): raise RuntimeError("his")
def wait_to_be_killed():
    assert autolog.finish()
    print("ready", flush=True); time.sleep(60)
def settle():  # what was recorded is on disk
    from autolog.core import outlet
    from autolog.process import background
    assert background.drain(60)
    assert all(channel.journal.sync(60) for channel in outlet._trackio._all())
def tell(): autolog.current_run().params({"long": f"{os.getpid()} " * 50_000}, prefix="told")
autolog.enable("keras", log_code=False, log_every_n_steps=3, system_interval=0)
"""

NOBODY_DELIVERS = """
from autolog.sinks import channel
channel.Channel._loop = lambda channel: None
"""


def program(*lines: str) -> str:
    return "\n".join(textwrap.dedent(part) for part in (TRAINING, *lines))


@pytest.fixture
def backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "backup"
    monkeypatch.setenv("BACKUP", str(folder))
    return folder


def epoch_ends(kept: dict[str, Any]) -> list[int]:
    """The steps at which epochs have ended."""
    return [row["step"] for row in kept["logs"] if "vitals/epoch_seconds" in row]


def resumed(directory: Path) -> dict[str, Any]:
    """The one run that there is, whole: each epoch once, at its step, in order; nothing left behind."""
    (kept,) = read(directory)
    assert epoch_ends(kept) == [8, 16, 24, 32]
    assert kept["config"]["epochs"] == 4
    assert kept["config"]["status"] == "finished"
    assert kept["config"]["resumed"] == 1
    assert kept["config"]["params"]["epochs"] == 4
    assert kept["config"].get("error") is None
    assert "autolog/faults" not in kept["config"]
    assert "autolog/lost" not in kept["config"]
    assert {artifact["name"] for artifact in kept["artifacts"]["output"]} >= {"model-sequential"}
    return kept


def nothing_is_left(directory: Path) -> None:
    assert journals(directory) == []
    assert list((directory / "autolog-data" / "journal").glob("*.resumed")) == []
    assert list((directory / "autolog-data" / "checkpoints").iterdir()) == []


def test_after_a_kill_another_process_goes_on_in_the_run(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program("train(Stop(2, settle), Stop(2, die))"), code=-signal.SIGKILL)
    assert sorted(file.name for file in backup.iterdir()) == ["latest.weights.h5", "training_metadata.json"]
    run(tmp_path, program("train()"))
    resumed(tmp_path)
    nothing_is_left(tmp_path)


def test_what_the_killed_process_had_not_delivered_is_neither_lost_nor_doubled(
    tmp_path: Path, backup: Path
) -> None:
    tagged = "autolog.enable(tags=['nightly'])\n"
    first = "train(Stop(1, tell), Stop(2, settle), Stop(2, die))"
    run(tmp_path, program(NOBODY_DELIVERS, tagged, first), code=-signal.SIGKILL)
    assert len(journals(tmp_path)) == 1
    run(tmp_path, program("train(Stop(3, tell))"))
    kept = resumed(tmp_path)
    assert kept["config"]["tags"] == ["nightly"]
    texts = [one for one in kept["artifacts"]["output"] if one["name"] == "text-told-long"]
    assert len({one["version"] for one in texts}) == 2, "their files do not stand in each other's way"
    assert [
        row["step"] for row in kept["logs"] if "train/loss" in row and "vitals/epoch_seconds" not in row
    ] == list(range(3, 33, 3))
    assert kept["alerts"] == []
    created = kept["config"]["_Created"] if "_Created" in kept["config"] else raw_config(tmp_path)["_Created"]
    assert created < min(row["timestamp"] for row in kept["logs"] if "vitals/epoch_seconds" in row)
    nothing_is_left(tmp_path)


def raw_config(directory: Path) -> dict[str, Any]:
    import json

    with contextlib.closing(sqlite3.connect(directory / "p.db")) as database, database:
        ((config,),) = database.execute("SELECT config FROM configs").fetchall()
    found: dict[str, Any] = json.loads(config)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("first", ["the killed one's", "the other's"])
def test_a_third_process_delivers_what_both_have_left_in_any_order(
    tmp_path: Path, backup: Path, first: str
) -> None:
    run(tmp_path, program(NOBODY_DELIVERS, "train(Stop(2, settle), Stop(2, die))"), code=-signal.SIGKILL)
    run(tmp_path, program(NOBODY_DELIVERS, "train()"), AUTOLOG_FINISH_TIMEOUT="0.5")
    killed, other = sorted(journals(tmp_path), key=lambda path: not path.with_suffix(".resumed").exists())
    for number, journal in enumerate([killed, other] if first == "the killed one's" else [other, killed]):
        host = journal.stem.rsplit("-", 2)[0]
        for file in journal.parent.glob(f"{journal.stem}.*"):
            file.rename(file.with_name(f"{host}-{number}-0{file.suffix}"))
    run(tmp_path, "with autolog.run('next', project='other'): pass\nassert autolog.finish()")
    resumed(tmp_path)
    nothing_is_left(tmp_path)


@pytest.mark.slow
def test_a_run_that_was_found_crashed_runs_again_and_finishes(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program("autolog.enable(tags=['a'])\ntrain(Stop(2, settle), Stop(2, die))"), code=-9)
    run(tmp_path, "with autolog.run('next', project='other'): pass\nassert autolog.finish()")
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "crashed"
    run(tmp_path, program("train()"))
    kept = resumed(tmp_path)
    assert kept["config"]["tags"] == ["a"]
    assert [alert["title"].endswith("crashed") for alert in kept["alerts"]] == [True]
    nothing_is_left(tmp_path)


def test_after_an_exception_the_same_process_goes_on_in_the_run(tmp_path: Path, backup: Path) -> None:
    run(
        tmp_path,
        program(
            """
            try: train(Stop(2, fail))
            except RuntimeError: pass
            autolog.finish()
            train()
            train(epochs=1)
            """
        ),
    )
    kept = sorted(read(tmp_path), key=lambda one: len(one["logs"]))
    assert len(kept) == 2, "the third training is another run: the second has ended well"
    assert epoch_ends(kept[1]) == [8, 16, 24, 32]
    assert kept[1]["config"]["status"] == "finished"
    assert (kept[1]["config"]["resumed"], kept[0]["config"].get("resumed")) == (1, None)
    nothing_is_left(tmp_path)


def test_twice_interrupted_is_twice_resumed(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program(NOBODY_DELIVERS, "train(Stop(1, settle), Stop(1, die))"), code=-signal.SIGKILL)
    run(tmp_path, program("train(Stop(3, settle), Stop(3, fail))"), code=1)
    run(tmp_path, program("train()"))
    (kept,) = read(tmp_path)
    assert epoch_ends(kept) == [8, 16, 24, 32]
    assert (kept["config"]["status"], kept["config"]["resumed"]) == ("finished", 2)
    nothing_is_left(tmp_path)


def test_the_run_of_a_process_that_lives_is_left_to_it(tmp_path: Path, backup: Path) -> None:
    process = start(tmp_path, program("train(Stop(2, wait_to_be_killed))"))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    run(tmp_path, program("train()"))
    process.kill()
    process.communicate()
    run(tmp_path, "with autolog.run('next', project='other'): pass\nassert autolog.finish()")
    kept = {one["config"]["status"]: one for one in read(tmp_path)}
    assert set(kept) == {"crashed", "finished"}
    assert epoch_ends(kept["crashed"]) == [8, 16]
    assert epoch_ends(kept["finished"]) == [24, 32]


def test_after_a_good_end_the_next_training_is_a_run_of_its_own(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program("train(keep=True)\ntrain(keep=True, epochs=5)"))
    assert backup.exists()
    kept = read(tmp_path)
    assert sorted(len(epoch_ends(one)) for one in kept) == [1, 4]
    assert all("resumed" not in one["config"] for one in kept)


def test_without_a_backup_there_is_nothing_to_go_on_with(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program("train(Stop(0, settle), Stop(0, die))"), code=-signal.SIGKILL)
    assert not backup.exists()
    run(tmp_path, program("train()"))
    assert sorted(one["config"]["status"] for one in read(tmp_path)) == ["crashed", "finished"]


def test_a_run_of_the_users_is_his_to_choose(tmp_path: Path, backup: Path) -> None:
    run(tmp_path, program("train(Stop(2, settle), Stop(2, die))"), code=-signal.SIGKILL)
    run(tmp_path, program("with autolog.run('his'): train()"))
    kept = {one["name"]: one for one in read(tmp_path)}
    assert epoch_ends(kept.pop("his")) == [24, 32]
    (old,) = kept.values()
    assert old["config"]["status"] == "crashed"


@pytest.mark.slow
def test_over_http_the_run_goes_on_whole(tmp_path: Path, backup: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}?write_token=s3cret"
    here = tmp_path / "here"
    with trackio_server(tmp_path / "server", "s3cret", port):
        tagged = "autolog.enable(tags=['a'])\ntrain(Stop(1, settle), Stop(1, die))"
        run(here, program(tagged), code=-signal.SIGKILL, TRACKIO_SERVER_URL=url)
    away = program("train(Stop(2, settle), Stop(2, fail))")  # the server is down
    run(here, away, code=1, TRACKIO_SERVER_URL=url, AUTOLOG_FINISH_TIMEOUT="1")
    with trackio_server(tmp_path / "server", "s3cret", port):
        run(here, program("train()"), TRACKIO_SERVER_URL=url)
    (kept,) = read(tmp_path / "server")
    assert epoch_ends(kept) == [8, 16, 24, 32]
    assert (kept["config"]["status"], kept["config"]["resumed"]) == ("finished", 2)
    assert kept["config"]["tags"] == ["a"]
    nothing_is_left(here)
    assert not [f for f in (here / "autolog-data").rglob("*.json") if b"s3cret" in f.read_bytes()]
