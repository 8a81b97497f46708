"""The private names of Trackio that sinks/trackio/ stands on: each test fails when Trackio changes one.

Where one has moved, Trackio is written to in another way (test_other_trackio.py). What they mean together is
tested by the other files here; these say which piece it is.
"""

from __future__ import annotations

import contextvars
import inspect
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trackio
from trackio import (
    Artifact,
    Histogram,
    Markdown,
    Table,
    Trace,
    alerts,
    cas,
    context_vars,
    cpu,
    fragments,
    gpu,
    references,
    server,
    utils,
)
from trackio.media import TrackioMedia
from trackio.media.utils import get_project_media_path
from trackio.remote_client import RemoteClient
from trackio.run import Run
from trackio.sqlite_storage import SQLiteStorage

from autolog.sinks.identity import Identity
from autolog.sinks.trackio.ambient import ambient_run
from autolog.sinks.trackio.bare import bare_run, parts_of
from autolog.sinks.trackio.directory import data_directory
from autolog.sinks.trackio.local import Local
from tests.programs import UNTIL_SAID, journals, run


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


def test_the_tables_have_the_columns_we_write_and_ids_are_unique() -> None:
    path = SQLiteStorage.init_db("contract")
    connection = sqlite3.connect(path)
    for table, columns, unique in (
        ("metrics", {"timestamp", "run_id", "run_name", "step", "metrics", "log_id"}, "log_id"),
        ("system_metrics", {"timestamp", "run_id", "run_name", "metrics", "log_id"}, "log_id"),
        ("configs", {"run_id", "run_name", "config", "created_at"}, "run_id"),
        (
            "alerts",
            {"timestamp", "run_id", "run_name", "title", "text", "level", "step", "alert_id"},
            "alert_id",
        ),
    ):
        found = connection.execute(f"PRAGMA table_info({table})").fetchall()
        assert columns <= {name for _, name, *_ in found}
        required = {
            name for _, name, _, not_null, default, key in found if not_null and not default and not key
        }
        assert required <= columns, "nothing else has to be given"
        indices = [i for i in connection.execute(f"PRAGMA index_list({table})") if i[2]]
        keys = [[c[2] for c in connection.execute(f"PRAGMA index_info({i[1]})")] for i in indices]
        assert [unique] in keys
    connection.close()


def test_a_projects_files_lie_in_folders_by_their_digest(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"123")
    digest, size = cas.hash_file(tmp_path / "weights")
    assert (cas.stage_blob_into_project(tmp_path / "weights", "contract"), size) == ((digest, 3), 3)
    path = cas.blob_path("contract", digest)
    assert path.stat().st_size == 3
    assert path.parents[1] == cas.blob_path("contract", "0" * 64).parents[1]
    place, one = Local(), Identity("i", "n", "contract")
    os.utime(path.parent, (1, 1))  # so that the next file changes it, whatever the clock is worth
    assert place.stored(one) == 3
    path.with_name("f" * 64).write_bytes(b"12")  # by another program
    assert place.stored(one) == 5
    path.with_name("f" * 64).unlink()


def test_objects_that_a_user_logs_say_how_they_are_stored() -> None:
    for kind in (Table, Trace):
        assert {"project", "run", "step"} <= parameters(kind._to_dict)
    for kind in (Histogram, Markdown, TrackioMedia):
        assert parameters(kind._to_dict) == {"self"}
    assert list(inspect.signature(TrackioMedia._save).parameters) == ["self", "project", "run", "step"]
    needed = {"project", "run", "metrics_list", "steps", "timestamps", "log_ids", "run_id"}
    assert needed <= parameters(SQLiteStorage.bulk_log)


def test_what_we_write_is_what_trackio_reads_and_twice_is_once() -> None:
    place = Local()
    now = 1_800_000_000.25
    ident = Identity(
        "id", "r", "contract-3", adopted=True
    )  # a run of the user's: its config is as it is given
    for config in ({"x": 1, "_Group": "g"}, {"x": 2}):
        place.rows(ident, [{"id": "l", "time": now, "step": 5, "values": {"a": 1.0, "nan": "NaN"}}], config)
        place.system(ident, [{"id": "s", "time": now, "values": {"c": 1}}])
        alert = {"id": "a", "time": now, "step": 0, "title": "t", "text": None, "level": "warn"}
        place.alerts(ident, [alert])
    (row,) = SQLiteStorage.get_logs("contract-3", "r", run_id="id")
    assert (row["a"], row["step"], row["timestamp"]) == (1.0, 5, "2027-01-15T08:00:00.250000+00:00")
    assert row["nan"] != row["nan"]
    assert SQLiteStorage.get_run_config("contract-3", "r", run_id="id") == place.config(ident) == {"x": 2}
    assert len(SQLiteStorage.get_system_logs("contract-3", "r", run_id="id")) == 1
    assert SQLiteStorage.get_alerts("contract-3", run_id="id")[0]["title"] == "t"


def test_a_config_of_ours_stands_in_trackios_spelling_and_comes_back_in_ours() -> None:
    place, ident = Local(), Identity("id", "r", "contract-7", group="g")
    place.rows(ident, [], {"_created": 1_800_000_000.25, "_group": "g", "x": 1})
    place.rows(ident, [{"id": "l", "time": 0.0, "step": 0, "values": {}}], None)
    stored = SQLiteStorage.get_run_config("contract-7", "r", run_id="id")
    created = "2027-01-15T08:00:00.250000+00:00"
    assert stored == {"_Username": None, "_Created": created, "_Group": "g", "x": 1}
    again = place.config(ident)
    assert again == {"_Username": None, "_created": created, "_group": "g", "x": 1}
    place.rows(ident, [], {**again, "x": 2})
    assert SQLiteStorage.get_run_config("contract-7", "r", run_id="id") == {**stored, "x": 2}


def test_trackios_own_rows_and_ours_look_alike() -> None:
    SQLiteStorage.bulk_log(
        project="contract-6", run="a", run_id="a", metrics_list=[{"m": 1.5}], config={"x": 1}
    )
    Local().rows(
        Identity("b", "b", "contract-6", adopted=True),
        [{"id": "l", "time": 0.0, "step": 0, "values": {"m": 1.5}}],
        {"x": 1},
    )
    connection = sqlite3.connect(SQLiteStorage.get_project_db_path("contract-6"))
    for table, column in (("metrics", "metrics"), ("configs", "config")):
        (theirs,), (ours,) = connection.execute(f"SELECT {column} FROM {table} ORDER BY run_id").fetchall()
        assert ours == theirs
    connection.close()


def test_the_same_files_are_the_same_version(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("content")
    for _ in range(2):
        artifact = Artifact("thing", type="model")
        artifact.add_file(file, name="f")
        record = SQLiteStorage.commit_artifact_version(
            project="contract-4",
            name="thing",
            type="model",
            description=None,
            manifest=artifact._build_manifest("contract-4"),
            metadata={},
            aliases=["best"],
            run_name="r",
            run_id="id",
        )
    assert record["version"] == 0
    assert not references.is_reference_entry(record["manifest"][0])


def test_media_lie_where_the_dashboard_looks() -> None:
    path = get_project_media_path(project="contract", run="r", step=3)
    assert path.relative_to(utils.MEDIA_DIR) == Path("contract/r/3")


@pytest.mark.parametrize("mode", ["sqlite", "jsonl"])
def test_storage_mode(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("TRACKIO_STORAGE_MODE", mode)
    assert utils.get_storage_mode() == mode


def test_fragments_keep_ids_and_configs() -> None:
    entry = {"project": "p", "run": "r", "run_id": "i", "timestamp": "t"}
    row = fragments.metric_record(
        {**entry, "metrics": {"a": 1}, "step": 1, "log_id": "l", "config": {"x": 1}}
    )
    assert (row["log_id"], row["config"], row["timestamp"]) == ("l", {"x": 1}, "t")
    assert fragments.system_metric_record({**entry, "metrics": {}, "log_id": "l"})["log_id"] == "l"
    alert = {**entry, "title": "t", "text": None, "level": "warn", "step": 0, "alert_id": "a"}
    assert fragments.alert_record(alert)["alert_id"] == "a"
    assert "records" in parameters(fragments.FragmentWriter.write_local)


def test_the_http_api_has_the_calls_we_make() -> None:
    for function, arguments in (
        (server.bulk_log, {"logs"}),
        (server.bulk_log_system, {"logs"}),
        (server.bulk_alert, {"alerts"}),
        (server.bulk_upload_media, {"uploads"}),
        (server.check_artifact_blobs, {"project", "digests"}),
        (server.bulk_upload_artifact_blob, {"project", "uploads"}),
        (server.artifact_log, {"project", "name", "type", "manifest", "aliases", "run_name", "run_id"}),
        (server.get_run_summary, {"project", "run", "run_id"}),
    ):
        assert arguments <= parameters(function)
    assert {"hf_token", "write_token", "httpx_kwargs"} <= parameters(RemoteClient)


def test_the_users_own_run_can_be_found() -> None:
    from trackio import context_vars

    assert ambient_run() is None
    run = Run(url=None, project="contract-5", client=None, name="his", group="g", config={"x": 1})
    token = context_vars.current_run.set(run)
    try:
        found = ambient_run()
        assert found is not None
        assert (found.id, found.name, found.project, found.group) == (run.id, "his", "contract-5", "g")
        assert found.destination == ("local", "")
        assert found.add_config({"x": 2, "y": 3}) == {"y": 3}
        assert run.config["x"] == 1
        assert run.config["y"] == 3
        for step, following in ((7, 7), (8, 8), (8, 8), (3, 8)):  # never back to what is there
            found.go_to(step)
            assert run._next_step == following
        found.go_to(8)
        run.log({"m": 1})
        assert run._next_step == 9
        run._space_id, run._server_base_url, run._write_token = None, "http://host", "t"
        assert ambient_run().destination == ("server", "http://host")  # type: ignore[union-attr]
        assert ambient_run().token == "t"  # type: ignore[union-attr]
    finally:
        context_vars.current_run.reset(token)
        run._server_base_url = None
        run._stop_flag.set()


def test_a_run_of_trackios_can_be_had_without_its_threads_and_its_own_config() -> None:
    before = {thread.ident for thread in threading.enumerate()}
    made = bare_run(Identity(id="of-ours", name="r", project="contract"), None)
    assert {thread.ident for thread in threading.enumerate()} <= before
    assert (made.id, made.name, made.project, made._is_local) == ("of-ours", "r", "contract", True)
    assert made.config["_Username"] is None
    for name in ("_start_background_thread", "_get_username", "_hf_token_for_remote", "_queue_upload"):
        assert callable(getattr(Run, name))
    assert {"file_path", "step", "relative_path", "use_run_name"} <= parameters(Run._queue_upload)
    assert "_config_logged" in inspect.getsource(Run.log)


def test_an_artifact_that_is_not_logged_yet_tells_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    artifact = Artifact("a", "model", "what it is", {"depth": 3})
    artifact.add_file(tmp_path / "a.txt", "inside/a.txt")
    artifact.add_reference((tmp_path / "a.txt").as_uri(), name="there")
    assert parts_of(artifact) == {
        "name": "a",
        "type": "model",
        "description": "what it is",
        "metadata": {"depth": 3},
        "files": {"inside/a.txt": tmp_path / "a.txt"},
        "references": {"there": (tmp_path / "a.txt").as_uri()},
    }


def test_a_current_run_comes_with_project_and_config() -> None:
    assert isinstance(trackio.config, dict)
    assert contextvars.Context().run(context_vars.current_project.get) is None  # here a test may have had one
    assert parameters(alerts.send_webhook) >= {"url", "level", "title", "text", "project", "run", "step"}
    assert alerts.should_send_webhook(alerts.AlertLevel.WARN, alerts.resolve_webhook_min_level("warn"))


def test_trackio_names_the_machines_load() -> None:
    assert "cpu/utilization" in cpu.collect_cpu_metrics()
    assert isinstance(gpu.gpu_available(), bool)
    assert callable(gpu.collect_gpu_metrics)


@pytest.mark.parametrize(
    "variables", [{"TRACKIO_DIR": "/x/y"}, {"HF_HOME": "/h"}, {"XDG_CACHE_HOME": "/c"}, {}]
)
def test_the_data_directory_is_trackios_before_and_after_its_import(variables: dict[str, str]) -> None:
    program = (
        "from autolog.sinks.trackio.directory import data_directory; before = data_directory()\n"
        "import trackio.utils; print(before, trackio.utils.TRACKIO_DIR, data_directory(), sep='\\n')"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("TRACKIO_DIR", "HF_HOME", "XDG_CACHE_HOME")}
    out = subprocess.run(
        [sys.executable, "-c", program],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(set(out.stdout.split())) == 1


def test_this_process_uses_the_tests_own_directory(trackio_dir: Path) -> None:
    assert data_directory() == trackio_dir == utils.TRACKIO_DIR


def test_a_space_is_prepared_as_trackio_does() -> None:
    from trackio import deploy

    assert utils.preprocess_space_and_dataset_ids("u/s", None, None) == ("u/s", None, "u/s-bucket")
    assert {"space_id", "bucket_id", "private"} <= parameters(deploy.create_space_if_not_exists)
    assert list(inspect.signature(deploy.resolve_auto_bucket_id).parameters)[:2] == [
        "space_id",
        "preferred_bucket_id",
    ]


def test_without_a_network_a_space_keeps_everything_here(tmp_path: Path) -> None:
    program = UNTIL_SAID + 'with autolog.run("r") as r: r.log({"m": 1}); assert said.wait(120)'
    out = run(tmp_path, program, AUTOLOG_SPACE_ID="user/space", AUTOLOG_FINISH_TIMEOUT="0.1")
    assert "cannot be delivered to user/space" in out
    (journal,) = journals(tmp_path)
    assert b'"space","user/space"' in journal.read_bytes()
