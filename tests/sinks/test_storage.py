"""What bounds a sweep on disk: models beyond `storage_limit` are left out and said, all else stays."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from autolog.sinks.storage import is_kept
from tests.programs import journals, read, run_warm, trackio_server

# Each fit's model is another one, of about the same size.
SWEEP = """
import numpy as np
from sklearn.neighbors import KNeighborsRegressor
X = np.random.default_rng(0).normal(size=(60, 10))
def fit(*several):
    for n in several:
        KNeighborsRegressor(n + 1).fit(X, X[:, 0] + n)
autolog.enable("sklearn", log_code=False, log_data=False, evaluate_training_data=False)
"""
NAME = "model-KNeighborsRegressor"


def stored(directory: Path) -> list[int]:
    """The bytes of each file that Trackio keeps of the project's artifacts."""
    blobs = directory / "artifacts" / "p" / "blobs"
    return [file.stat().st_size for file in blobs.rglob("*") if file.is_file()]


def size_of_a_model(directory: Path) -> int:
    run_warm(directory, SWEEP + "fit(0); assert autolog.finish()")
    (size,) = stored(directory)
    return size


def kept(directory: Path) -> list[bool]:
    """Of each run, in their order, whether its model is there; if not, a note has to say so."""
    found = []
    for one in sorted(read(directory), key=lambda run: run["config"]["_Created"]):
        notes = one["config"].get("autolog/notes", {})
        assert "autolog/lost" not in one["config"]
        assert "autolog/pending" not in one["config"]
        assert len(one["artifacts"]["output"]) == (NAME not in notes), notes
        found.append(NAME not in notes)
    return found


@pytest.mark.parametrize(
    ("size", "already", "comes_first", "expected"),
    [
        (10, 80, False, True),
        (11, 80, False, False),  # the last tenth is for what comes first
        (20, 80, True, True),
        (21, 80, True, False),
        (0, 500, False, True),  # it is there already
        (1, 500, True, False),
    ],
)
def test_what_is_kept(size: int, already: int, comes_first: bool, expected: bool) -> None:
    assert is_kept(size, already, 100, comes_first) is expected


@pytest.mark.slow
def test_a_sweep_stops_at_the_limit_and_says_so(tmp_path: Path) -> None:
    size = size_of_a_model(tmp_path / "one")
    limit = str(int(size * 3.5 / 0.9))
    said = run_warm(tmp_path, SWEEP + "fit(*range(6)); print(autolog.finish())", AUTOLOG_STORAGE_LIMIT=limit)
    assert said.startswith("True")  # left out on purpose is not lost
    assert said.count("Settings.storage_limit") == 1  # one line for all
    assert kept(tmp_path) == [True] * 3 + [False] * 3
    assert len(stored(tmp_path)) == 3
    last = max(read(tmp_path), key=lambda run: run["config"]["_Created"])
    note = last["config"]["autolog/notes"][NAME]
    assert note.startswith("left out: ")
    assert f"Settings.storage_limit is {int(limit):,} bytes" in note
    assert f"{sum(stored(tmp_path)):,}" in note
    assert journals(tmp_path) == []
    assert list((tmp_path / "autolog-data" / "files").glob("**/*.pkl")) == []  # ours, and of no use any more


@pytest.mark.slow
def test_another_process_counts_what_is_there_and_a_larger_limit_keeps_the_next(tmp_path: Path) -> None:
    size = size_of_a_model(tmp_path)
    limit = str(int(size * 2.5 / 0.9))
    run_warm(tmp_path, SWEEP + "fit(1, 2)", AUTOLOG_STORAGE_LIMIT=limit)
    assert kept(tmp_path) == [True, True, False]
    run_warm(tmp_path, SWEEP + "fit(3)", AUTOLOG_STORAGE_LIMIT=str(size * 10))
    assert kept(tmp_path) == [True, True, False, True]


@pytest.mark.slow
def test_what_is_stored_already_costs_nothing(tmp_path: Path) -> None:
    size = size_of_a_model(tmp_path)
    run_warm(tmp_path, SWEEP + "fit(0, 1)", AUTOLOG_STORAGE_LIMIT=str(size))
    assert kept(tmp_path) == [True, True, False]


def test_what_the_user_asks_for_is_kept_and_counted_and_never_deleted(tmp_path: Path) -> None:
    weights, checkpoint = tmp_path / "weights.bin", tmp_path / "checkpoint.bin"
    weights.write_bytes(b"w" * 50_000)
    checkpoint.write_bytes(b"c" * 10_000)
    program = f"""
    with autolog.run("mine") as r:
        r.artifact({str(weights)!r}, type="model")
        room = autolog.core.run.recording_of(r)  # as a framework's room has it
        room.checkpoint({str(checkpoint)!r}, ["last"])
        r.params({{"long": "x" * 20_000}})  # what is small is kept
        fit(0)
    assert autolog.finish()
    """
    run_warm(tmp_path, SWEEP + textwrap.dedent(program), AUTOLOG_STORAGE_LIMIT="50000")
    (mine,) = read(tmp_path)
    names = {artifact["name"] for artifact in mine["artifacts"]["output"]}
    assert names == {"weights.bin", "text-params-long"}
    assert {"checkpoint-mine", NAME} <= mine["config"]["autolog/notes"].keys()
    assert (weights.read_bytes(), checkpoint.read_bytes()) == (b"w" * 50_000, b"c" * 10_000)
    assert list((tmp_path / "autolog-data" / "files").glob("**/*.*")) == []


def test_the_last_tenth_is_for_failed_runs_and_the_best_of_a_search(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"w" * 900_000)
    program = f"""
    from sklearn.model_selection import GridSearchCV
    with autolog.run("mine") as r:
        r.artifact({str(weights)!r})
    assert autolog.finish()
    fit(0)
    GridSearchCV(KNeighborsRegressor(), {{"n_neighbors": [1, 2]}}, cv=2).fit(X, X[:, 0])
    try:
        with autolog.run("fails"):
            fit(1)
            raise ValueError
    except ValueError:
        pass
    assert autolog.finish()
    """
    run_warm(tmp_path, SWEEP + textwrap.dedent(program), AUTOLOG_STORAGE_LIMIT="1000000")
    found = {one["name"].split(" ·")[0]: len(one["artifacts"]["output"]) for one in read(tmp_path)}
    assert found == {"mine": 1, "KNN k=1": 0, "search KNN": 1, "fails": 1}


def test_a_note_of_what_was_left_out_stays_beside_later_ones(tmp_path: Path) -> None:
    program = """
    with autolog.run("mine") as r:
        fit(0)
        assert autolog.finish()
        r.log({"odd": object()})
    assert autolog.finish()
    """
    run_warm(tmp_path, SWEEP + textwrap.dedent(program), AUTOLOG_STORAGE_LIMIT="0")
    (mine,) = read(tmp_path)
    assert {NAME, "odd"} <= mine["config"]["autolog/notes"].keys()


def test_what_a_killed_program_has_left_keeps_to_its_limit(tmp_path: Path) -> None:
    killed = "autolog.run('last').__enter__().finish(); os._exit(0)"  # the end of a run waits for the disk
    run_warm(
        tmp_path,
        f"from autolog.sinks import channel\nchannel.Channel._loop = id\n{SWEEP}fit(0); {killed}",
        AUTOLOG_STORAGE_LIMIT="0",
    )
    assert len(journals(tmp_path)) == 1
    run_warm(tmp_path, "assert autolog.finish()")
    assert [NAME in one["config"].get("autolog/notes", {}) for one in read(tmp_path)].count(True) == 1
    assert (stored(tmp_path), journals(tmp_path)) == ([], [])


@pytest.mark.slow
def test_what_is_sent_to_a_server_is_bounded_too(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    size = size_of_a_model(tmp_path / "one")
    with trackio_server(there, "w" * 43) as url:
        place = {"AUTOLOG_SERVER_URL": url, "AUTOLOG_WRITE_TOKEN": "w" * 43}
        place["AUTOLOG_STORAGE_LIMIT"] = str(int(size * 2.5 / 0.9))
        run_warm(here, SWEEP + "fit(0, 1)", **place)
        run_warm(here, SWEEP + "fit(2)", **place)
    assert kept(there) == [True, True, False]
