"""What was recorded is read back as it was: from the database, from journals, from a server."""

from __future__ import annotations

import math
import re
import sqlite3
import uuid
from pathlib import Path

import orjson
import pytest

import autolog
from autolog.review.conditions import ConditionError
from autolog.review.source import SourceError
from autolog.sinks.identity import Identity
from autolog.sinks.trackio.database import Database
from autolog.sinks.trackio.directory import data_directory
from tests import programs


def test_runs_are_listed_the_newest_first_with_what_they_are_about(project: str) -> None:
    runs = autolog.runs(project)
    assert [run.status for run in runs] == ["finished", "finished", "failed", "finished", "finished"]
    below, by_hand, failed, deep, shallow = runs
    assert (by_hand.name, below.name) == ("by hand", "below")
    assert below.parent is by_hand
    assert by_hand.children == [below]
    assert by_hand.parent is None
    assert shallow.started <= deep.started <= failed.started <= by_hand.started
    assert all(run.seconds is not None and 0 <= run.seconds < 600 for run in runs)
    assert shallow.result["val/accuracy"] == shallow.metrics["val/accuracy"].last
    assert shallow.tags == ["nightly"]
    assert shallow.params_set == {"max_depth": 1, "random_state": 0}
    assert shallow.params["criterion"] == "gini"
    assert shallow.place == str(Path(shallow.place))


def test_a_learning_rate_is_said_once() -> None:
    config = {"params/learning_rate": 0.1, "params/batch_size": 8}
    for own, lr in (("the optimizer's", 0.1), ("another one", 0.2)):
        with autolog.run(own, project="one-rate", config={**config, "params/lr": lr}):
            pass
    assert autolog.finish()
    another, the_same = autolog.runs("one-rate")
    assert the_same.params_set == {"learning_rate": 0.1, "batch_size": 8}
    assert the_same.said("params/lr") == 0.1  # asked for by name it is there
    assert another.params_set["lr"] == 0.2


def test_a_run_holds_what_was_logged(project: str) -> None:
    run = autolog.runs(project).get("by hand")
    loss = run.metrics["train/loss"]
    assert loss.steps == [0, 1, 2]
    assert loss.values[0] == 3.0
    assert math.isnan(loss.values[1])
    assert (loss.last, loss.best) == (1.0, 1.0)
    assert [step for step, _ in run.metrics["own"]] == [0, 1, 2]
    assert all(abs(at - run.started) < 600 for at in loss.times)
    assert run.tables["sizes"] == [{"a": 1, "b": "x"}]
    assert run.texts["said"] == "a text"
    assert run.config["params/lr"] == 0.1


def test_why_a_run_has_failed_is_told(project: str) -> None:
    (failed,) = [run for run in autolog.runs(project) if run.status == "failed"]
    assert failed.error is not None
    assert "max_depth" in failed.error
    assert "conftest.py" in failed.error
    assert autolog.runs(project).get("by hand").error is None


def test_code_packages_figures_and_the_model_come_back(project: str, tmp_path: Path) -> None:
    run = autolog.runs(project, where="params/max_depth == 3")[0]
    model = run.load_model()
    assert type(model).__name__ == "DecisionTreeClassifier"
    assert model.get_params()["max_depth"] == 3
    assert all(path.read_bytes() for path in run.figures.values())
    assert "val/confusion_matrix" in run.figures
    assert run.packages()["scikit-learn"]
    copies = run.files(tmp_path / "kept")
    assert {path.name for path in copies} >= {"model.pkl", "packages.txt"}
    with pytest.raises(LookupError, match="kept no 'weights', but model-DecisionTreeClassifier"):
        run.load_model("weights")
    with pytest.raises(LookupError, match="has no model to load"):
        autolog.runs(project).get("below").load_model()


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("status == 'failed'", ["depth=-1"]),
        ("params/max_depth >= 1 and 'nightly' in tags", ["depth=3", "depth=1"]),
        ("not status == 'finished' or name == 'below'", ["below", "depth=-1"]),
        ("(train/loss < 2)", ["by hand"]),
        ("'hand' in name and seconds < 1000 and 'x' not in tags", ["by hand"]),
        ("`own` == 2", ["by hand"]),
        ("params/max_depth > 100", []),
    ],
)
def test_runs_are_chosen_by_a_condition(project: str, where: str, names: list[str]) -> None:
    found = [run.name for run in autolog.runs(project, where=where)]
    assert len(found) == len(names), found
    assert all(part in name for part, name in zip(names, found, strict=True)), found


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("train/los > 1", r"no run has 'train/los'. Did you mean .*train/loss"),
        ("status = 'failed'", r"equal is '==':\n  status = 'failed'\n         \^"),
        ("status == ", "is missing at the end"),
        ("status 'failed'", "a comparison .* is missing"),
        ("1 < seconds < 2", "two comparisons need 'and'"),
        ("(seconds > 1", r"a '\)' is missing"),
        ("seconds > 1; drop", "';' has no meaning here"),
        ("seconds > and", "is expected, not 'and'"),
        ("", "nothing is asked"),
    ],
)
def test_a_condition_that_is_not_understood_is_explained(project: str, where: str, said: str) -> None:
    with pytest.raises(ConditionError, match=re.compile(said, re.DOTALL)):
        autolog.runs(project, where=where)


def test_runs_are_sorted_the_best_first(project: str) -> None:
    by_accuracy = autolog.runs(project, sort="val/accuracy")
    values = [run.result.get("val/accuracy") for run in by_accuracy]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[2:] == [None, None, None]
    assert autolog.runs(project, sort="train/loss")[0].name == "by hand"
    assert autolog.runs(project, sort="name", limit=2)[0].name.startswith("Tree depth=-1")
    assert autolog.runs(project, sort="-params/max_depth")[0].params_set["max_depth"] == 3
    with pytest.raises(ConditionError, match="no run has 'nope'"):
        autolog.runs(project, sort="nope")
    with pytest.raises(ValueError, match="limit=0"):
        autolog.runs(project, limit=0)


def test_one_of_them_is_found_by_what_a_person_remembers(project: str) -> None:
    runs = autolog.runs(project)
    first = runs[0]
    assert runs.get("last") is runs[1]  # the first is a child of it
    for name in (first.id, first.id[:8], first.name, "@1"):
        assert runs.get(name) is first, name
    assert runs.get("depth=3").params_set["max_depth"] == 3
    assert runs.best.result["val/accuracy"] == max(run.result.get("val/accuracy", 0) for run in runs)
    best, second = autolog.runs(project, sort=runs.main_metric)[:2]
    assert (runs.get("best").id, runs.get("best2").id) == (best.id, second.id)
    with pytest.raises(LookupError, match="'best9': [0-9] of these runs have a result"):
        runs.get("best9")
    with pytest.raises(LookupError, match="no run's id or name"):
        runs.get("zzz")
    with pytest.raises(LookupError, match="3 runs: say which"):
        runs.get("depth=")
    with pytest.raises(LookupError, match="@1 to @5"):
        runs.get("@6")


def test_they_print_as_a_table_and_become_a_frame(project: str) -> None:
    runs = autolog.runs(project)
    head, *rows = repr(runs).splitlines()
    assert head.split()[:3] == ["name", "status", "val/accuracy"]
    assert "max_depth" in head
    assert len(rows) == 5
    page = runs._repr_html_()
    assert page.count("<tr>") == 6
    frame = runs.to_pandas()
    assert len(frame) == 5
    assert frame["params/max_depth"].max() == 3
    assert runs.to_polars().height == 5
    assert "No runs in" in repr(autolog.runs("nobody-has-this"))
    assert runs.columns()[2:5] == ["val/accuracy", "val/roc_auc", "val/f1"]  # what most of them have


def test_what_waits_in_a_journal_is_read_and_a_run_that_goes_on_is_running(tmp_path: Path) -> None:
    program = """
    autolog.enable(project="p", server_url="http://127.0.0.1:9", write_token="t", finish_timeout=0.1)
    with autolog.run("waits") as run:
        run.log({"m": 1.0}, step=1)
        run.log({"m": 2.0}, step=2)
        assert run._recording.sink.sync(10)
        (seen,) = autolog.runs("p", at=os.environ["TRACKIO_DIR"])
        print(seen.status, seen.metrics["m"].values)
    """
    out = programs.run(tmp_path, program)
    assert out.splitlines()[0] == "running [1.0, 2.0]"
    (run,) = autolog.runs("p", at=tmp_path)
    with pytest.raises(LookupError, match="waits has not all arrived yet"):
        run.load_model()
    assert (run.status, run.metrics["m"].steps) == ("finished", [1, 2])
    assert run.result == {"m": 2.0}


def test_of_a_run_that_goes_on_the_times_are_those_of_the_values() -> None:
    store, run = written("goes-on")
    rows = [{"id": uuid.uuid4().hex, "time": 1.7e9 + n, "step": n, "values": {"m": n / 2}} for n in range(4)]
    store.rows(run, rows[1:3], {"status": "running"})
    seen = autolog.runs(run.project)[0].metrics["m"]
    store.rows(run, [rows[3], rows[0]], None)  # while somebody looks at it
    assert (seen.values, seen.times) == ([0.5, 1.0], [1.7e9 + 1, 1.7e9 + 2])
    assert autolog.runs(run.project)[0].metrics["m"].steps == [0, 1, 2, 3]


@pytest.mark.parametrize("has_index", [True, False])
def test_when_a_run_began_and_ended_is_told_also_without_trackios_index(has_index: bool) -> None:
    store, of = written("old")
    for name in ("b", "a", "c"):
        begun = 1.7e9 + ord(name)
        rows = [{"id": uuid.uuid4().hex, "time": begun + n, "step": n, "values": {"m": n}} for n in range(2)]
        run = Identity(name, f"run {name}", of.project)
        store.rows(run, rows, {"_Created": begun} if name != "c" else None)
    if not has_index:
        with sqlite3.connect(data_directory() / f"{of.project}.db") as connection:
            connection.execute("DROP INDEX idx_metrics_run_timestamp")
    runs = autolog.runs(of.project)
    assert [(run.name, run.started, run.seconds) for run in runs] == [
        (f"run {name}", 1.7e9 + ord(name), 1.0) for name in "cba"
    ]


def written(name: str) -> tuple[Database, Identity]:
    """A project of its own, and a run in it, to write as delivery does."""
    project = f"{name}-{uuid.uuid4().hex[:6]}"
    return Database(project), Identity(uuid.uuid4().hex, name, project)


def test_what_lies_in_trackios_inbox_is_read_too(tmp_path: Path) -> None:
    program = """
    with autolog.run("r") as run:
        for step in range(3):
            run.log({"m": float(step)}, step=step)
        run.table("t", [{"a": 1}])
        run.alert("seen")
    """
    programs.run(tmp_path, program, TRACKIO_STORAGE_MODE="jsonl")
    assert list((tmp_path / "inbox").glob("*/*.jsonl"))
    (run,) = autolog.runs("p", at=tmp_path)
    assert run.metrics["m"].values == [0.0, 1.0, 2.0]
    assert (run.status, run.tables["t"], run.alerts[0]["title"]) == ("finished", [{"a": 1}], "seen")


def test_a_run_whose_process_is_gone_gives_no_sign(tmp_path: Path) -> None:
    process = programs.start(tmp_path, programs.LOOP)
    programs.until_on_disk(tmp_path, '"kind":"row"')
    process.kill()
    process.wait()
    (run,) = autolog.runs(at=tmp_path)
    assert run.status == "no sign for 0 min"
    assert len(run.metrics["m"]) > 0


def test_the_same_is_read_from_a_server(project: str, trackio_dir: Path) -> None:
    here = autolog.runs(project)
    with programs.trackio_server(trackio_dir, "secret") as url:
        there = autolog.runs(project, at=f"{url}?write_token=secret")
        assert [run.id for run in there] == [run.id for run in here]
        assert repr(there).split() == repr(here).split()
        for mine, theirs in zip(here, there, strict=True):
            assert orjson.dumps(mine.config) == orjson.dumps(theirs.config)
            assert repr(mine.metrics) == repr(theirs.metrics)
            assert mine.tables == theirs.tables
        run = there.get("depth=3")
        assert type(run.load_model()).__name__ == "DecisionTreeClassifier"
        assert [path.read_bytes() for path in run.figures.values()] == [
            path.read_bytes() for path in here.get("depth=3").figures.values()
        ]
        assert project in {run.project for run in autolog.runs(at=url)}


def test_a_place_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no such folder"):
        autolog.runs(at=str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="does not answer"):
        autolog.runs(at=f"http://127.0.0.1:{programs.free_port()}")
    (tmp_path / "broken.db").write_text("no database")
    with pytest.raises(SourceError, match="broken.db cannot be read"):
        autolog.runs("broken", at=tmp_path)
    assert len(autolog.runs("absent", at=tmp_path)) == 0


def test_a_table_shows_numbers_that_came_once_and_stand_in_the_config(project: str) -> None:
    runs = autolog.runs(project)
    deep = runs.get("depth=3")
    key = next(key for key in deep.once if key.startswith("val/") and key not in deep.result)
    assert runs.row(deep, [key, "train/loss"]) == [deep.once[key], None]
    (found,) = autolog.runs(project, where=f"`{key}` == {deep.once[key]!r} and params/max_depth == 3")
    assert found.id == deep.id
