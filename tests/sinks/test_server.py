"""A self-hosted Trackio server, a real one on 127.0.0.1, and servers that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.programs import UNTIL_SAID, free_port, journals, read, run, start, trackio_server, values

EVERYTHING = """
from matplotlib.figure import Figure
from autolog.capture.figures import Chart
from pathlib import Path
figure = Figure(); figure.subplots().plot([1, 2])
Path("model.bin").write_bytes(b"weights")
with autolog.run("r", config={"a": 1}) as r:
    for n in range(50): r.log({"m": n})
    r.params({"a": 2}, prefix="")
    r.table("t", [{"x": 1}]); r.figure("f", figure); r.alert("odd")
    r._recording.system({"cpu/utilization": 5.0})
    r.artifact("model.bin", type="model", aliases=["best"])
"""


def assert_everything_once(kept: dict, directory: Path) -> None:  # type: ignore[type-arg]
    assert values(kept, "m") == list(range(50))
    assert kept["config"]["a"] == 2
    assert kept["config"]["status"] == "finished"
    assert len(values(kept, "t")) == len(values(kept, "f")) == len(kept["alerts"]) == 1
    assert kept["system"][0]["cpu/utilization"] == 5.0
    (artifact,) = (
        kept["artifacts"]["output"] if "output" in kept["artifacts"] else kept["artifacts"]["outputs"]
    )
    assert artifact["name"] == "model.bin"
    picture = directory / "media" / values(kept, "f")[0]["file_path"]
    assert "<svg" in picture.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One server for all tests that leave it alone, each of which has a project of its own there."""
    directory = tmp_path_factory.mktemp("server")
    with trackio_server(directory, "s3cret") as url:
        yield url, directory


def test_everything_arrives_at_a_server_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    url, project = server[0], tmp_path.name
    place = {"TRACKIO_SERVER_URL": f"{url}?write_token=s3cret", "AUTOLOG_PROJECT": project}
    out = run(tmp_path / "here", EVERYTHING, AUTOLOG_QUIET="0", **place)
    assert f"{url}/run?project={project}&selected_run_id=" in out
    assert "s3cret" not in out
    assert journals(tmp_path / "here") == []
    (kept,) = read(server[1], project)
    assert_everything_once(kept, server[1])
    here = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert not [path for path in here if b"s3cret" in path.read_bytes()]


@pytest.mark.slow
def test_a_server_that_is_down_delays_nothing_and_gets_everything_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    url = f"http://127.0.0.1:{port}?write_token=s3cret"
    program = UNTIL_SAID + EVERYTHING + "assert said.wait(120)"
    out = run(tmp_path / "here", program, TRACKIO_SERVER_URL=url, AUTOLOG_FINISH_TIMEOUT="0.1")
    assert "cannot be delivered" in out
    assert "s3cret" not in out
    (journal,) = journals(tmp_path / "here")
    assert b"s3cret" not in journal.read_bytes()
    with trackio_server(tmp_path / "server", "s3cret", port):
        run(
            tmp_path / "here",
            "with autolog.run('next'): pass\nautolog.finish()",
            TRACKIO_SERVER_URL=url,
        )
    first = next(r for r in read(tmp_path / "server") if r["name"] == "r")
    assert_everything_once(first, tmp_path / "server")
    assert journals(tmp_path / "here") == []


def test_a_server_that_comes_up_later_gets_everything_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    program = (
        EVERYTHING
        + """
print("arrived:", autolog.finish(), flush=True)
while not autolog.finish(): time.sleep(0.1)
"""
    )
    process = start(
        tmp_path / "here",
        program,
        TRACKIO_SERVER_URL=f"http://127.0.0.1:{port}?write_token=s3cret",
        AUTOLOG_FINISH_TIMEOUT="0.2",
    )
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["arrived:", "False"]
    with trackio_server(tmp_path / "server", "s3cret", port):
        process.communicate(timeout=60)
    (kept,) = read(tmp_path / "server")
    assert_everything_once(kept, tmp_path / "server")


@pytest.mark.slow
def test_a_wrong_token_keeps_everything_here(tmp_path: Path, server: tuple[str, Path]) -> None:
    project = tmp_path.name
    out = run(
        tmp_path / "here",
        UNTIL_SAID + 'with autolog.run("r") as r: r.log({"m": 1}); assert said.wait(120)',
        TRACKIO_SERVER_URL=server[0],
        TRACKIO_WRITE_TOKEN="wrong",
        AUTOLOG_PROJECT=project,
        AUTOLOG_FINISH_TIMEOUT="0.1",
    )
    assert "cannot be delivered" in out
    assert len(journals(tmp_path / "here")) == 1
    run(
        tmp_path / "here",
        'with autolog.run("next"): pass',
        TRACKIO_SERVER_URL=server[0],
        TRACKIO_WRITE_TOKEN="s3cret",
        AUTOLOG_PROJECT=project,
    )
    assert {r["name"] for r in read(server[1], project)} == {"r", "next"}


def test_a_server_without_a_token_is_said(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        UNTIL_SAID + 'with autolog.run("r"): assert said.wait(120)',
        AUTOLOG_SERVER_URL="http://127.0.0.1:9",
        AUTOLOG_FINISH_TIMEOUT="0.1",
    )
    assert "needs a write token" in out


def test_a_silent_server_delays_neither_a_step_nor_the_exit(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        held: list[socket.socket] = []

        def hold() -> None:
            with contextlib.suppress(OSError):  # closed at the test's end
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=hold, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}?write_token=x"
        out = run(
            tmp_path,
            """
            with autolog.run("r") as r:
                for n in range(300):
                    r.log({"m": n})
            print("arrived:", autolog.finish())
            """,
            TRACKIO_SERVER_URL=url,
            AUTOLOG_FINISH_TIMEOUT="0.5",
        )
    # The server never answers, so whatever waits for it would wait until this test is ended.
    assert "arrived: False" in out
    assert len(journals(tmp_path)) == 1


class Dropping:
    """A wire to a server that breaks: connections are cut before, in the middle of, or after the answer."""

    def __init__(self, url: str, cuts: list[str]):
        host, _, port = url.removeprefix("http://").partition(":")
        self.server = (host, int(port))
        self.cuts = cuts
        self.count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            cut = self.cuts[self.count] if self.count < len(self.cuts) else "never"
            self.count += 1
            threading.Thread(target=self._wire, args=(client, cut), daemon=True).start()

    def _wire(self, client: socket.socket, cut: str) -> None:
        try:
            self._pass(client, cut)
        finally:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()

    def _pass(self, client: socket.socket, cut: str) -> None:
        if cut != "at once":
            request = client.recv(1 << 20)
            with socket.create_connection(self.server) as server:
                if cut == "in the request":
                    server.sendall(request[: len(request) // 2])
                    return
                server.sendall(request)
                forth = threading.Thread(target=self._copy, args=(client, server), daemon=True)
                forth.start()
                if cut == "in the answer":  # it has been done, and nobody is told
                    server.recv(1)
                    return
                self._copy(server, client)

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


@pytest.mark.exhaustive
@pytest.mark.parametrize("cut", ["at once", "in the request", "in the answer"])
def test_a_wire_that_breaks_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with trackio_server(tmp_path / "server", "s3cret") as url:
        # Every second connection is cut, so that every kind of request meets one.
        wire = Dropping(url, [cut if n % 2 else "never" for n in range(40)])
        program = (
            EVERYTHING
            + """
end = time.monotonic() + 90
while not autolog.finish() and time.monotonic() < end: time.sleep(0.05)
print("arrived:", autolog.finish())
"""
        )
        out = run(
            tmp_path / "here",
            "from autolog.sinks import channel; channel.LONGEST_PAUSE = 0.2\n" + program,
            TRACKIO_SERVER_URL=f"{wire.url}?write_token=s3cret",
        )
        wire.listener.close()
    assert "arrived: True" in out
    assert wire.count > 8
    (kept,) = read(tmp_path / "server")
    assert_everything_once(kept, tmp_path / "server")
    assert journals(tmp_path / "here") == []


# Servers that answer, but not as they should ----------------------------------------------------------


class Between(ThreadingHTTPServer):
    """A proxy before a server. ``says`` may answer in its place: a status and a body; None lets it answer."""

    daemon_threads = True

    def __init__(self, url: str, says: Callable[[str, int], tuple[int, str] | None]):
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = url.removeprefix("http://")
        self.says = says
        self.bytes_per_second = 0
        self.count = 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}?write_token=s3cret"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Passing(BaseHTTPRequestHandler):
    server: Between

    def do_GET(self) -> None:
        self.server.count += 1
        body = self._read(int(self.headers.get("Content-Length") or 0))
        answer = self.server.says(self.path, len(body))
        if answer is None:
            upstream = http.client.HTTPConnection(self.server.upstream)
            del self.headers["Accept-Encoding"]
            upstream.request(self.command, self.path, body, dict(self.headers))
            got = upstream.getresponse()
            status, kind, data = got.status, got.headers["Content-Type"], got.read()
        else:
            status, kind, data = answer[0], "text/html", answer[1].encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_GET  # noqa: N815 - the names are the library's

    def _read(self, length: int) -> bytes:
        if self.server.bytes_per_second:
            time.sleep(length / self.server.bytes_per_second)
        return self.rfile.read(length)

    def log_message(self, *args: Any) -> None:
        pass


QUICKLY = "from autolog.sinks import channel; channel.LONGEST_PAUSE = 0.2\n"
IMPATIENT = "from autolog.sinks.trackio import remote; remote.REQUEST_SECONDS = 1.0\n"
UNTIL_ARRIVED = """
end = time.monotonic() + 90
while not autolog.finish() and time.monotonic() < end: time.sleep(0.05)
print("arrived:", autolog.finish())
"""


@pytest.mark.long
@pytest.mark.parametrize(("delay", "bytes_per_second"), [(0.3, 0), (0.0, 30_000)], ids=["late", "thin"])
def test_a_slow_server_delays_no_step_and_gets_everything(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: tuple[str, Path],
    delay: float,
    bytes_per_second: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    logged, passed = threading.Event(), []

    def hold(path: str, size: int) -> None:
        """Nothing is answered before all steps are done: whoever waited for an answer would not get there."""
        logged.wait(60)
        passed.append(path)
        time.sleep(delay)

    between = Between(server[0], hold)  # type: ignore[arg-type]
    between.bytes_per_second = bytes_per_second
    steps = """
    for n in range(500): r.log({"n": n}); time.sleep(0.002)
    print("logged", flush=True)
"""
    process = start(
        tmp_path / "here",
        QUICKLY + IMPATIENT + EVERYTHING + steps + UNTIL_ARRIVED,
        TRACKIO_SERVER_URL=between.url,
        AUTOLOG_PROJECT=tmp_path.name,
        AUTOLOG_FINISH_TIMEOUT="1",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    assert passed == []
    logged.set()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    between.shutdown()
    assert "arrived: True" in out
    (kept,) = read(server[1], tmp_path.name)
    assert_everything_once(kept, server[1])
    assert values(kept, "n") == list(range(500))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lost"),
    [("bulk_alert", "alert odd"), ("bulk_log_system", "system"), ("artifact_log", "artifact model.bin")],
)
def test_what_a_server_of_another_version_does_not_know_is_said_and_the_rest_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], name: str, lost: str
) -> None:
    monkeypatch.chdir(tmp_path)
    between = Between(server[0], lambda path, size: (404, "{}") if path == f"/api/{name}" else None)
    out = run(
        tmp_path / "here",
        QUICKLY + EVERYTHING + 'print("arrived:", autolog.finish())',
        TRACKIO_SERVER_URL=between.url,
        AUTOLOG_PROJECT=tmp_path.name,
    )
    between.shutdown()
    assert "arrived: False" in out
    assert out.count("cannot be recorded") == 1
    (kept,) = read(server[1], tmp_path.name)
    assert values(kept, "m") == list(range(50))
    assert kept["config"]["status"] == "finished"
    there = {
        "bulk_alert": len(kept["alerts"]),
        "bulk_log_system": len(kept["system"]),
        "artifact_log": len(kept["artifacts"]["output"]),
    }
    assert there.pop(name) == 0
    assert list(there.values()) == [1, 1]
    assert list(kept["config"]["autolog/lost"]) == [lost]
    assert f"the server's Trackio knows no /{name}" in kept["config"]["autolog/lost"][lost]
    assert journals(tmp_path / "here") == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("status", "first"),
    [(200, 0), (404, 0), (502, 0), (200, 3), (401, 3), (403, 3), (404, 3), (429, 3), (500, 3), (503, 3)],
)
def test_nothing_is_lost_while_a_server_is_away_behind_its_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path], status: int, first: int
) -> None:
    monkeypatch.chdir(tmp_path)
    away, refused = threading.Event(), threading.Event()
    away.set()

    def says(path: str, size: int) -> tuple[int, str] | None:
        if not away.is_set() or between.count <= first:
            return None
        refused.set()
        return status, "<html>come back later</html>"

    between = Between(server[0], says)
    process = start(
        tmp_path / "here",
        QUICKLY + EVERYTHING + "print('arrived:', autolog.finish(), flush=True)\n" + UNTIL_ARRIVED,
        TRACKIO_SERVER_URL=between.url,
        AUTOLOG_PROJECT=tmp_path.name,
        AUTOLOG_FINISH_TIMEOUT="1",
    )
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["arrived:", "False"]
    assert refused.wait(60)
    away.clear()
    out, err = process.communicate(timeout=120)
    between.shutdown()
    assert "arrived: True" in out
    assert err.count("cannot be delivered") == err.count("autolog:") == 1
    (kept,) = read(server[1], tmp_path.name)
    assert_everything_once(kept, server[1])
    assert "autolog/lost" not in kept["config"]
    assert journals(tmp_path / "here") == []


@pytest.mark.long
def test_requests_that_are_too_large_go_in_smaller_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    between = Between(
        server[0], lambda path, size: (413, "<html>too large</html>") if size > 65_536 else None
    )
    more = """
    for n in range(3_000): r.log({"n": n, "loss/of/the/training": 1.0 / (n + 1)})
    r.table("large", [{"text": "x" * 200}] * 1_000)
"""
    out = run(
        tmp_path / "here",
        QUICKLY + EVERYTHING + more + 'print("arrived:", autolog.finish())',
        TRACKIO_SERVER_URL=between.url,
        AUTOLOG_PROJECT=tmp_path.name,
    )
    between.shutdown()
    assert "arrived: False" in out  # the table never will
    (kept,) = read(server[1], tmp_path.name)
    assert_everything_once(kept, server[1])
    assert values(kept, "n") == list(range(3_000))
    assert list(kept["config"]["autolog/lost"]) == ["large"]
    assert "takes no request of this size" in kept["config"]["autolog/lost"]["large"]


PHASES = """
from pathlib import Path
def wait_for(name):
    while not Path(name).exists(): time.sleep(0.02)
with autolog.run("r", config={"x": 1}) as r:
    for n in range(100): r.log({"m": n})
    end = time.monotonic() + 90
    while not autolog.finish() and time.monotonic() < end: pass
    print("arrived:", autolog.finish(), flush=True)
    wait_for("first")
    for n in range(100, 200): r.log({"m": n})
    print("arrived:", autolog.finish(), flush=True)
    wait_for("second")
    for n in range(200, 300): r.log({"m": n})
"""


def test_a_server_that_goes_and_comes_back_gets_everything_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    with trackio_server(tmp_path / "server", "s3cret", port) as url:
        process = start(
            tmp_path / "here",
            QUICKLY + PHASES + UNTIL_ARRIVED,
            TRACKIO_SERVER_URL=f"{url}?write_token=s3cret",
            AUTOLOG_FINISH_TIMEOUT="1",
        )
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["arrived:", "True"]
    Path("first").touch()
    assert process.stdout.readline().split() == ["arrived:", "False"]
    with trackio_server(tmp_path / "server", "s3cret", port):
        Path("second").touch()
        out, _ = process.communicate(timeout=120)
    assert "arrived: True" in out
    (kept,) = read(tmp_path / "server")
    assert values(kept, "m") == list(range(300))
    assert kept["config"]["status"] == "finished"


def test_a_project_that_is_deleted_on_its_server_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: tuple[str, Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    process = start(
        tmp_path / "here",
        QUICKLY + PHASES + UNTIL_ARRIVED,
        TRACKIO_SERVER_URL=f"{server[0]}?write_token=s3cret",
        AUTOLOG_PROJECT=tmp_path.name,
    )
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["arrived:", "True"]
    for path in server[1].glob(f"{tmp_path.name}.db*"):
        path.unlink()
    Path("first").touch()
    Path("second").touch()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "arrived: True" in out
    (kept,) = read(server[1], tmp_path.name)
    assert values(kept, "m") == list(range(100, 300))
    assert kept["config"]["x"] == 1
    assert kept["config"]["status"] == "finished"
