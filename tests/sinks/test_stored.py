"""What stands in Trackio once a program has ended: runs, their configs and their rows."""

from __future__ import annotations

import os
import textwrap
from importlib.machinery import PathFinder
from pathlib import Path

import autolog
from autolog import MemorySink
from autolog.core.run import recording_of
from tests.programs import ON_DISK, read, run, run_warm, start, values


def test_a_run_without_metrics_exists(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("empty"): pass')
    (kept,) = read(tmp_path)
    assert kept["name"] == "empty"
    assert kept["config"]["status"] == "finished"


def test_the_last_config_counts_however_short_the_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r", config={"a": 1}) as r:
            r.log({"m": 1})
            r.params({"a": 2}, prefix="")
            r.params({"b": 3})
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["a"] == 2
    assert kept["config"]["params"] == {"b": 3}


def test_equal_names_are_two_runs(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path, 'with autolog.run("same") as r: r.log({"m": 1})')
    kept = read(tmp_path)
    assert [r["name"] for r in kept] == ["same", "same"]
    assert kept[0]["id"] != kept[1]["id"]


def test_jsonl_mode(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r", config={"a": 1}) as r:
            r.log({"m": 1}); r.log({"m": 2})
            r.alert("odd"); r._recording.system({"cpu/utilization": 5.0})
            r.params({"a": 2}, prefix="")
        """,
        TRACKIO_STORAGE_MODE="jsonl",
    )
    assert read(tmp_path) == []
    (kept,) = read(tmp_path, inbox=True)
    assert values(kept, "m") == [1, 2]
    assert kept["config"]["a"] == 2
    assert kept["config"]["status"] == "finished"
    assert kept["alerts"][0]["title"] == "odd"
    assert kept["system"][0]["cpu/utilization"] == 5.0


def test_two_processes_share_a_project(tmp_path: Path) -> None:
    program = """
    for n in range(5):
        with autolog.run(f"{os.getpid()}-{n}") as r:
            for i in range(50): r.log({"m": i})
    """
    processes = [start(tmp_path, program) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    run(tmp_path, "with autolog.run('last'): pass")
    kept = [r for r in read(tmp_path) if r["name"] != "last"]
    assert len(kept) == 10
    assert all(values(r, "m") == list(range(50)) for r in kept)
    assert os.listdir(tmp_path / "autolog-data" / "journal") == []


def test_the_machines_load_is_sampled(tmp_path: Path) -> None:
    program = """
    with autolog.run("r") as r:
        while on_disk("system") < 2: time.sleep(0.01)
    """
    run(tmp_path, ON_DISK + textwrap.dedent(program), AUTOLOG_SYSTEM_INTERVAL="0.2")
    (kept,) = read(tmp_path)
    assert len(kept["system"]) >= 2
    assert kept["system"][0]["cpu/utilization"] >= 0
    assert kept["system"][0]["memory/total"] > 0


def test_the_config_reads_scalars_first(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("r", config={"long": {"a": 1}, "short": 2}) as r: pass')
    keys = list(read(tmp_path)[0]["config"])
    assert keys.index("short") < keys.index("long")
    assert keys.index("status") < keys.index("long")


def test_of_many_runs_the_old_ones_configs_are_read_back_when_they_change(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from autolog.sinks import delivery
        delivery.CONFIGS_KEPT = 2
        from autolog.core.opening import open_run
        runs = [open_run(f"r{n}", config={"n": n}) for n in range(6)]
        for r in runs: r.end("finished")
        assert autolog.finish()
        states = autolog.core.outlet._trackio._all()[0]._delivery.runs.values()
        assert sum(state.config == {} for state in states) == 4
        runs[0].describe({"later": 1})
        """,
    )
    kept = {r["name"]: r["config"] for r in read(tmp_path)}
    assert len(kept) == 6
    assert (kept["r0"]["n"], kept["r0"]["later"], kept["r0"]["status"]) == (0, 1, "finished")
    assert kept["r5"]["n"] == 5


def test_what_is_no_text_in_the_import_path_keeps_nothing_from_being_delivered(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        import pathlib
        sys.path += [pathlib.Path("/tmp"), None, b"bytes"]
        s.use(autolog.Settings.from_environment(log_code=True))
        with autolog.run("r") as r: r.log({"x": 1})
        assert autolog.finish()
        """,
    )
    (found,) = read(tmp_path)
    assert values(found, "x") == [1]
    assert "packages" not in str(found["config"].get("autolog/notes"))


def test_files_of_one_name_do_not_take_each_others_place(sink: MemorySink) -> None:
    with autolog.run("r") as run:
        paths = [recording_of(run).stage("config.json") for _ in range(2)]
    assert paths[0] != paths[1]
    assert paths[0].name == paths[1].name == "config.json"


def test_a_long_text_that_changes_is_kept_each_time(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        with autolog.run("r") as r:
            for i in range(5):
                r.params({"prompt": f"{i} " + "lorem ipsum " * 20_000})
                time.sleep(0.3)
        autolog.finish()
        """,
    )
    assert "cannot be recorded" not in out
    (found,) = read(tmp_path)
    assert "autolog/lost" not in found["config"]
    assert not [path for path in (tmp_path / "autolog-data" / "files").rglob("*") if path.is_file()]


def test_our_folder_cannot_be_imported_and_an_older_one_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "autolog" / "journal").mkdir(parents=True)
    program = """
    with autolog.run("mine") as r:
        r.log({"a": 1})
    """
    run_warm(tmp_path, program)
    assert (tmp_path / "autolog-data" / "journal").is_dir()
    assert not (tmp_path / "autolog").exists()
    assert PathFinder.find_spec("autolog", [str(tmp_path)]) is None
