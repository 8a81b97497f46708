"""What `autolog.run()` gives is the whole of Trackio's run, and is found by Trackio's own functions."""

from __future__ import annotations

import contextvars
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trackio

import autolog
from autolog.core import settings as settings_module
from autolog.process import guard
from tests.programs import free_port, trackio_server
from tests.trackios import Calls, stored, unknown

Both = tuple[Calls, dict[str, Any]]


def bare_calls(folder: Path, project: str) -> Calls:
    """All calls on a run of `trackio.init`."""

    def call() -> Calls:
        config = {"given": 1}
        run = trackio.init(
            project=project, name="r", config=config, embed=False, auto_log_cpu=False, auto_log_gpu=False
        )
        return Calls(run, folder).all()

    return contextvars.copy_context().run(call)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Both, Both]:
    """The calls on a bare run, and on one of ours, and what stands in the database of both."""
    directory = Path(os.environ["TRACKIO_DIR"])
    folder = tmp_path_factory.mktemp("files")  # the same one: what refers to a file names it
    bare = bare_calls(folder, "whole-bare")
    settings_module.use(autolog.Settings(log_code=False, system_interval=0, finish_timeout=90.0))
    try:
        with autolog.run("r", project="whole-ours", config={"given": 1}) as run:
            ours = Calls(run, folder).all()
        assert autolog.finish()
    finally:
        settings_module.use(None)
    return tuple((calls, stored(directory, calls.run.project, "r")) for calls in (bare, ours))


def test_no_public_name_of_trackio_is_left_out() -> None:
    assert unknown() == set(), "call it in tests/trackios.py, and let our runs have it"


def test_everything_returns_and_raises_what_trackio_does(both: tuple[Both, Both]) -> None:
    (bare, _), (ours, _) = both
    assert ours.said == bare.said


def test_the_database_holds_the_same(both: tuple[Both, Both]) -> None:
    (_, bare), (_, ours) = both
    config = ours["config"]
    assert config["given"] == bare["config"]["given"] == 1
    assert (config["later"], config["too"]) == (3, 4)  # which Trackio takes until the first row only
    assert config["status"] == "finished"
    for kind in bare.keys() - {"config"}:
        assert ours[kind] == bare[kind]


# Alerts, sinks of one's own, switched off ------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    """A webhook: its URL, and what it was told."""
    told: list[Any] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


def test_an_alert_goes_to_the_webhook_that_trackios_would_go_to(
    hook: tuple[str, list[Any]], sink: autolog.MemorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, told = hook
    monkeypatch.setenv("TRACKIO_WEBHOOK_URL", url)
    monkeypatch.setenv("TRACKIO_WEBHOOK_MIN_LEVEL", "warn")
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))
    try:
        with autolog.run("r") as run:
            run.alert("by run", "text")
            trackio.alert("by module", level=trackio.AlertLevel.ERROR)
            run.alert("too small", level="info")
            end = time.monotonic() + 60
            while len(told) < 2 and time.monotonic() < end:
                time.sleep(0.01)
    finally:
        settings_module.use(None)
    assert sorted(one["title"] for one in told) == ["by module", "by run"]
    assert [alert["title"] for alert in sink.runs[0].alerts] == ["by run", "by module", "too small"]


@pytest.mark.parametrize("is_off", [False, True])
def test_where_nothing_goes_to_trackio_nothing_raises(
    sink: autolog.MemorySink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_off: bool
) -> None:
    (tmp_path / "f.txt").write_text("x")
    if is_off:
        monkeypatch.setenv("AUTOLOG_DISABLE", "1")
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))
    try:
        with autolog.run("r", config={"given": 1}) as run:
            artifact = trackio.log_artifact(tmp_path / "f.txt", name="fx", type="dataset", aliases=["prod"])
            assert (artifact.name, artifact.version) == ("fx", None)
            assert run.link_artifact(artifact, "registry-models/m") is artifact
            run.config["more"] = 2
            trackio.config["token"] = "s3cret"
            assert run.config == {"given": 1, "more": 2, "token": "s3cret"}  # as the user gave it
            trackio.save(tmp_path / "f.txt")
            trackio.log_system({"load": 1.0})
            trackio.log("no mapping")
    finally:
        settings_module.use(None)
        guard.faults.clear()  # of what is no mapping
    if is_off:
        assert sink.records == []
        return
    (kept,) = sink.runs
    assert kept.artifacts[0]["aliases"] == ["prod"]
    assert (kept.config["given"], kept.config["more"], kept.config["token"]) == (1, 2, "***")


def test_a_run_of_the_users_own_stays_trackios_current_one(sink: autolog.MemorySink) -> None:
    settings_module.use(autolog.Settings(sink=sink, log_code=False, system_interval=0))

    def inside() -> None:
        theirs = trackio.init(project="whole-theirs", name="theirs", embed=False, auto_log_cpu=False)
        with autolog.run("r"):
            assert trackio.context_vars.current_run.get() is theirs
        trackio.finish()
        with autolog.run("r") as run:
            trackio.log({"a": 1})
            with autolog.run("inner") as inner:
                trackio.log({"b": 1})
                assert trackio.config is inner.config
            trackio.log({"c": 1})
            assert trackio.config is run.config
        with pytest.raises(RuntimeError, match="trackio.init"):
            trackio.log({"d": 1})

    try:
        contextvars.copy_context().run(inside)
    finally:
        settings_module.use(None)
    assert [kept.metrics for kept in sink.runs] == [{}, {"a": 1, "c": 1}, {"b": 1}]


# A server ---------------------------------------------------------------------------------------------

TOKEN = "s3cret-of-the-server"


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """Runs go to this server."""

    def use(url: str) -> None:
        settings_module.use(
            autolog.Settings(
                server_url=url, write_token=TOKEN, log_code=False, system_interval=0, finish_timeout=90.0
            )
        )

    yield use
    settings_module.use(None)


@pytest.mark.slow
def test_a_server_gives_artifacts_back_as_it_does_to_a_bare_run(
    at: Callable[[str], None], tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with trackio_server(tmp_path / "there", TOKEN) as url:

        def on_a_bare_run() -> Calls:
            run = trackio.init(
                project="whole-bare-served",
                name="r",
                server_url=f"{url}?write_token={TOKEN}",
                embed=False,
                auto_log_cpu=False,
            )
            calls = Calls(run, folder)
            calls.artifacts()
            trackio.log({"a": 1})
            trackio.finish()
            return calls

        bare = contextvars.copy_context().run(on_a_bare_run)
        at(url)
        with autolog.run("r", project="whole-ours-served") as run:
            ours = Calls(run, folder)
            ours.artifacts()
            trackio.save(folder / "x.wav")
            run.log({"a": 1})
        assert autolog.finish()
    assert ours.said == bare.said
    there, here = (stored(tmp_path / "there", f"whole-{name}-served", "r") for name in ("bare", "ours"))
    assert here["artifact"] == there["artifact"]
    (saved,) = (tmp_path / "there" / "media" / "whole-ours-served" / "files").iterdir()
    assert saved.read_text() == "content of x.wav"  # Trackio's server gives it a name of its own


def test_a_server_that_is_away_gets_the_artifact_later(at: Callable[[str], None], tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("first")
    port = free_port()
    at(f"http://127.0.0.1:{port}")
    with autolog.run("r", project="whole-late") as run:
        artifact = trackio.Artifact("made", "model", "what it is", {"depth": 3})
        artifact.add_file(tmp_path / "weights", "inside/weights")
        assert run.log_artifact(artifact, aliases=["prod"]) is artifact
        assert artifact.version is None
        with pytest.raises(OSError, match="did not answer"):
            run.use_artifact("made")
        assert trackio.log_artifact(tmp_path / "weights", name="by-path", type="dataset").version is None
        (tmp_path / "weights").unlink()
        run.log({"a": 1})
    with trackio_server(tmp_path / "there", TOKEN, port):
        assert autolog.finish()
    here = stored(tmp_path / "there", "whole-late", "r")
    assert here["artifact"] == [
        ["by-path", "dataset", None, 0, None, "output"],
        ["made", "model", "what it is", 0, '{"depth":3}', "output"],
    ]
