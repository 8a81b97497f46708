"""Where records go: what a tracker can be told at registration, secrets, a real server, a Space's door."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog.core import outlet
from autolog.core import settings as settings_module
from autolog.process import guard
from tests.programs import UNTIL_SAID, environment, free_port, read, trackio_server, values
from tests.zenml.conftest import MakeStack

pytest.importorskip("zenml", reason="ZenML is not installed: pip install 'trackio-autolog[zenml]'")

from sklearn.linear_model import Ridge
from zenml import pipeline, step
from zenml.client import Client

from autolog.zenml import TrackioExperimentTrackerConfig, get_trackio_run

TOKEN = "s3cret-of-the-tracker"
X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]


# What goes together -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"project": "churn"},
        {"base_url": "https://trackio.example.org"},
        {"base_url": "https://trackio.example.org", "api_key": TOKEN},
        {"workspace": "acme", "api_key": TOKEN},
        {"workspace": "acme/experiments"},
        {"project": "churn", "api_key": TOKEN},
        {"workspace": "", "project": "", "api_key": "", "base_url": ""},
    ],
)
def test_what_goes_together_is_taken(given: dict[str, str], make_stack: MakeStack) -> None:
    make_stack(**given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"workspace": "acme", "base_url": "https://a.b", "api_key": TOKEN}, "records go to one place"),
        ({"base_url": "trackio.example.org", "api_key": TOKEN}, "expected a URL such as https://"),
        ({"base_url": f"https://a.b?write_token={TOKEN}"}, "base_url holds a token"),
        ({"base_url": f"https://user:{TOKEN}@a.b"}, "base_url holds a token"),
        ({"workspace": "two words", "api_key": TOKEN}, "expected a Hugging Face user or organization"),
        ({"project": "registry-x", "base_url": "https://a.b", "api_key": TOKEN}, "registry-"),
    ],
)
def test_what_does_not_go_together_is_refused_at_registration(
    given: dict[str, str], said: str, make_stack: MakeStack, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        make_stack(**given)
    assert TOKEN not in str(refused.value)
    assert TOKEN not in caplog.text


def test_a_secret_is_not_asked_for_at_registration(make_stack: MakeStack) -> None:
    make_stack(base_url="{{not_made_yet.url}}", api_key="{{not_made_yet.api_key}}")


def test_a_token_is_shown_by_nothing(client: Any, make_stack: MakeStack) -> None:
    given = {"base_url": "https://trackio.example.org", "api_key": TOKEN}
    make_stack(**given)
    assert TOKEN not in repr(client.active_stack.experiment_tracker)
    assert TOKEN not in str(client.active_stack.experiment_tracker)
    assert TOKEN not in repr(TrackioExperimentTrackerConfig(**given))


def test_a_container_gets_this_autolog(client: Any, make_stack: MakeStack) -> None:
    make_stack()
    (requirement,) = client.active_stack.experiment_tracker.requirements
    assert requirement.startswith("trackio-autolog")
    assert autolog.__version__ in requirement or "git+" in requirement


# A server ---------------------------------------------------------------------------------------------

environments: list[dict[str, str]] = []


@step(enable_cache=False)
def trains() -> None:
    get_trackio_run().log({"by/hand": 1})
    Ridge(alpha=2.0).fit(X, y)
    Ridge(alpha=3.0).fit(X, y)
    environments.append(dict(os.environ))


@step(enable_cache=False)
def goes_on() -> None:
    environments.append(dict(os.environ))


@pipeline
def served() -> None:
    trains()
    goes_on(after="trains")


def last_run() -> Any:
    return Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]


@pytest.fixture
def patient() -> Iterator[None]:
    """A busy machine may take its time to deliver."""
    before = settings_module.in_force()
    settings_module.use(autolog.Settings(log_code=False, system_interval=0, finish_timeout=60.0))
    yield
    settings_module.use(before)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["secret", "inline"])
def test_a_servers_token_opens_it_and_is_nowhere_else(
    client: Any,
    make_stack: MakeStack,
    tmp_path: Path,
    trackio_dir: Path,
    patient: None,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    environments.clear()
    with trackio_server(tmp_path, TOKEN) as url:
        api_key = TOKEN
        if how == "secret":
            client.create_secret("trackio_secret", values={"api_key": TOKEN})
            api_key = "{{trackio_secret.api_key}}"
        make_stack(base_url=url, api_key=api_key, project="served-project")
        tracker = client.active_stack.experiment_tracker.name
        with autolog.enabled("sklearn", log_models=False):
            served.with_options(steps={"trains": {"experiment_tracker": tracker}})()
        assert autolog.finish()
    ran = last_run()
    known = ran.steps["trains"].run_metadata
    run, child = sorted(read(tmp_path, "served-project"), key=lambda one: "parent" in one["config"])
    assert values(run, "by/hand") == [1]
    assert run["config"]["params/alpha"] == 2.0
    assert child["config"]["params/alpha"] == 3.0  # a child is where its parent is
    assert known["experiment_tracker_url"].startswith(f"{url}/run?project=served-project&selected_run_id=")
    assert ran.run_metadata["experiment_tracker_url"].startswith(f"{url}/?project=served-project&run_ids=")
    everywhere = [
        json.dumps([dict(known), dict(ran.run_metadata)], default=str),
        json.dumps([run, child], default=str),
        json.dumps(environments),
        capfd.readouterr().out + capfd.readouterr().err + caplog.text,
        *(path.read_text(errors="replace") for path in trackio_dir.rglob("*") if path.is_file()),
    ]
    assert len(environments) == 2
    assert not [text for text in everywhere if TOKEN in text]


def test_without_a_key_the_environments_token_is_taken(
    client: Any, make_stack: MakeStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", TOKEN)
    before = settings_module.in_force()
    settings_module.use(
        autolog.Settings.from_environment(log_code=False, system_interval=0, finish_timeout=60.0)
    )
    with trackio_server(tmp_path, TOKEN) as url:
        make_stack(base_url=url, project="by-environment")
        tracker = client.active_stack.experiment_tracker.name
        served.with_options(steps={"trains": {"experiment_tracker": tracker}})()
        assert autolog.finish()
    settings_module.use(before)
    (run,) = read(tmp_path, "by-environment")
    assert values(run, "by/hand") == [1]


@pytest.mark.parametrize("how", ["down", "silent", "no secret"])
def test_a_server_that_takes_nothing_fails_no_step_and_gets_everything_later(
    make_stack: MakeStack,
    client: Any,
    tmp_path: Path,
    trackio_dir: Path,
    patient: None,
    expected_faults: list[guard.Fault],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    # A step that waited for this server would wait for as long as `patient` says.
    monkeypatch.setenv("ZENML_SECRET_VALIDATION_LEVEL", "NONE")  # where the step runs nobody looks
    port = free_port()
    make_stack(
        base_url=f"http://127.0.0.1:{port}",
        api_key="{{gone.api_key}}" if how == "no secret" else TOKEN,
        project=f"late-{how.replace(' ', '-')}",
    )
    tracker = client.active_stack.experiment_tracker.name
    with silent_server(port) if how == "silent" else contextlib.nullcontext():
        served.with_options(steps={"trains": {"experiment_tracker": tracker}})()
        assert last_run().status == "completed"
        run_id = last_run().steps["trains"].run_metadata["trackio_run_id"]
        journals = [path.read_text() for path in (trackio_dir / "autolog-data" / "journal").glob("*.jsonl")]
        assert any(run_id in journal and "by/hand" in journal for journal in journals)
        assert not any(TOKEN in journal for journal in journals)
    assert all("secret gone does not exist" in fault.what for fault in expected_faults)
    assert len(expected_faults) == (how == "no secret")
    if how == "no secret":  # the next step may find it again
        outlet.know_token(("server", f"http://127.0.0.1:{port}"), TOKEN)
    with trackio_server(tmp_path, TOKEN, port):
        assert autolog.finish()
    (run,) = read(tmp_path, f"late-{how.replace(' ', '-')}")
    assert run["id"] == run_id
    assert values(run, "by/hand") == [1]
    assert run["config"]["status"] == "finished"


@contextlib.contextmanager
def silent_server(port: int) -> Iterator[None]:
    """It takes connections, and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", port)) as server:

        def hold() -> None:
            with contextlib.suppress(OSError):  # closed at the end
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=hold, daemon=True).start()
        yield
        server.shutdown(socket.SHUT_RDWR)  # or the thread would hold the port open in its accept
    for connection in held:
        connection.close()


# A Space: as far as this machine sees -----------------------------------------------------------------


class Hub:
    """The Hub's door: who knocked where, with which token; nobody is let in."""

    def __init__(self) -> None:
        self.knocked: list[tuple[str, str | None]] = []
        self.was_asked = threading.Event()
        hub = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                key = self.headers.get("authorization")
                hub.knocked.append((self.path, key))
                if self.path == "/api/whoami-v2" and key == f"Bearer {TOKEN}":
                    told = json.dumps({"type": "user", "name": "ada", "auth": {}}).encode()
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(told)))
                    self.end_headers()
                    self.wfile.write(told)
                    return
                if self.path.startswith("/api/spaces"):
                    hub.was_asked.set()
                self.send_response(401 if self.path == "/api/whoami-v2" else 500)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    threading.Thread(target=hub.server.serve_forever, daemon=True).start()
    yield hub
    hub.server.shutdown()
    hub.server.server_close()


KNOCKING = f"""
import os, autolog
from autolog.core import outlet, settings
outlet.know_token(("space", "acme/trackio"), {TOKEN!r})
settings.use(autolog.Settings(space_id="acme/trackio", log_code=False, finish_timeout=60.0, quiet=True))
with autolog.run("r"):
    autolog.current_run().log({{"a": 1}})
assert {TOKEN!r} not in str(os.environ)
print("ran", flush=True)
autolog.finish()
"""


def test_the_hub_is_shown_the_trackers_token(hub: Hub, tmp_path: Path) -> None:
    variables = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
    process = subprocess.Popen(
        [sys.executable, "-c", KNOCKING], env=environment(tmp_path, **variables), stdout=subprocess.PIPE
    )
    try:
        assert hub.was_asked.wait(120)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ran\n"
    finally:
        process.kill()
        process.communicate()
    assert ("/api/spaces/acme/trackio", f"Bearer {TOKEN}") in hub.knocked
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]


# A key alone: its owner's Space

OWNED = f"""
import os, sys, threading, autolog
from autolog.core import outlet, settings

key, waits = sys.argv[1:]
outlet.know_token(("space", "@a-tracker/trackio"), key)
settings.use(autolog.Settings(space_id="@a-tracker/trackio", log_code=False, finish_timeout=60.0, quiet=True))
{UNTIL_SAID}
with autolog.run("r", project="p") as run:
    run.log({{"a": 1}})
    print("at first", run.url, flush=True)
    if waits == "until told":
        assert said.wait(120)
    else:
        sys.stdin.readline()
    print("then", run.url, flush=True)
os._exit(0)
"""


def owned(tmp_path: Path, key: str, endpoint: str, waits: str) -> subprocess.Popen[str]:
    """A program that records to the Space of whoever has this key."""
    hub = {
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "other",
    }
    return subprocess.Popen(
        [sys.executable, "-c", OWNED, key, waits],
        env=environment(tmp_path, **hub),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_key_alone_is_its_owners_space_which_the_hub_names_when_something_goes_out(
    hub: Hub, tmp_path: Path
) -> None:
    process = owned(tmp_path, TOKEN, hub.url, "until asked")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at first None\n"
        assert hub.was_asked.wait(120)
        out, _ = process.communicate("go on\n", timeout=120)
    finally:
        process.kill()
    assert "then https://ada-trackio.hf.space/run?project=p&selected_run_id=" in out
    assert ("/api/whoami-v2", f"Bearer {TOKEN}") in hub.knocked
    assert ("/api/spaces/ada/trackio", f"Bearer {TOKEN}") in hub.knocked
    assert {key for _, key in hub.knocked} <= {f"Bearer {TOKEN}", None}  # the environment's is another's
    assert len([path for path, _ in hub.knocked if path == "/api/whoami-v2"]) == 1
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]
    again = owned(tmp_path, TOKEN, "http://127.0.0.1:1", "until asked")  # by now its name is known
    out, _ = again.communicate("go on\n", timeout=120)
    assert "at first https://ada-trackio.hf.space/run?" in out


@pytest.mark.parametrize("how", ["wrong", "unreachable", "unknown"])
def test_a_key_that_the_hub_does_not_take_keeps_everything_and_says_so(
    hub: Hub, tmp_path: Path, how: str
) -> None:
    key = {"wrong": "another", "unreachable": TOKEN, "unknown": ""}[how]
    endpoint = f"http://127.0.0.1:{free_port()}" if how == "unreachable" else hub.url
    out, _ = owned(tmp_path, key, endpoint, "until told").communicate(timeout=300)
    said = {
        "wrong": "the Hugging Face Hub does not take this api_key (401)",
        "unreachable": "the Hugging Face Hub cannot be reached",
        "unknown": "the api_key that these records belong to is not known in this program",
    }[how]
    (line,) = [line for line in out.splitlines() if line.startswith("autolog: ")]
    assert "the Space 'trackio' of the user whose api_key was given" in line
    assert said in line
    assert "They are kept on disk and tried again" in line
    assert "Traceback" not in out
    (journal,) = (tmp_path / "autolog-data" / "journal").glob("*.jsonl")
    assert '"a":1' in journal.read_text()
    assert not [path for path, _ in hub.knocked if path.startswith("/api/spaces")]


def test_a_tracker_with_a_key_alone_asks_nobody_at_registration_and_keeps_keys_apart(
    client: Any, make_stack: MakeStack, in_memory: autolog.MemorySink, hub: Hub, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    places = []
    for key in ("first", "second"):
        make_stack(api_key=key, project="churn")
        component = client.active_stack.experiment_tracker
        in_memory.clear()
        served.with_options(steps={"trains": {"experiment_tracker": component.name}})()
        opened = next(record for record in in_memory.records if record["kind"] == "open")
        places.append(tuple(opened["to"]))
        assert places[-1] == ("space", f"@{component.id.hex}/trackio")
        assert outlet.token_of(places[-1]) == key
        assert in_memory.runs[0].project == "churn"
        assert last_run().status == "completed"
    assert len(set(places)) == 2
    assert hub.knocked == []


def test_a_workspace_is_a_space_of_that_namespace(
    client: Any, make_stack: MakeStack, in_memory: autolog.MemorySink
) -> None:
    for workspace, space in (("acme", "acme/trackio"), ("acme/experiments", "acme/experiments")):
        make_stack(workspace=workspace, api_key=TOKEN)
        tracker = client.active_stack.experiment_tracker.name
        in_memory.clear()
        served.with_options(steps={"trains": {"experiment_tracker": tracker}})()
        opened = next(record for record in in_memory.records if record["kind"] == "open")
        assert opened["to"] == ["space", space]
        assert TOKEN not in json.dumps(in_memory.records, default=str)
