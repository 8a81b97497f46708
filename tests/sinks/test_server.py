"""A self-hosted Trackio server, a real one on 127.0.0.1, and servers that misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import pytest

from tests.programs import free_port, journals, read, run, start, trackio_server, values

EVERYTHING = """
from matplotlib.figure import Figure
from autolog.capture.figures import Chart
from pathlib import Path
figure = Figure(); figure.subplots().plot([1, 2])
Path("model.bin").write_bytes(b"weights")
with autolog.run("r", config={"a": 1}) as r:
    for n in range(50): r.log({"m": n})
    r.params({"a": 2}, prefix="")
    r.table("t", [{"x": 1}]); r.figure("f", figure); r.alert("odd"); r.system({"cpu/utilization": 5.0})
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


def test_everything_arrives_at_a_server_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with trackio_server(tmp_path / "server", "s3cret") as url:
        out = run(
            tmp_path / "here", EVERYTHING, TRACKIO_SERVER_URL=f"{url}?write_token=s3cret", AUTOLOG_QUIET="0"
        )
        assert f"{url}/run?project=p&selected_run_id=" in out
        assert "s3cret" not in out
        assert journals(tmp_path / "here") == []
    (kept,) = read(tmp_path / "server")
    assert_everything_once(kept, tmp_path / "server")
    here = [path for path in (tmp_path / "here").rglob("*") if path.is_file()]
    assert not [path for path in here if b"s3cret" in path.read_bytes()]


def test_a_server_that_is_down_delays_nothing_and_gets_everything_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    port = free_port()
    url = f"http://127.0.0.1:{port}?write_token=s3cret"
    out = run(tmp_path / "here", EVERYTHING, TRACKIO_SERVER_URL=url)
    assert "cannot be delivered" in out
    assert "s3cret" not in out
    (journal,) = journals(tmp_path / "here")
    assert b"s3cret" not in journal.read_bytes()
    with trackio_server(tmp_path / "server", "s3cret", port):
        run(
            tmp_path / "here",
            "with autolog.run('next'): pass\nautolog.finish()",
            TRACKIO_SERVER_URL=url,
            AUTOLOG_FINISH_TIMEOUT="30",
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


def test_a_wrong_token_keeps_everything_here(tmp_path: Path) -> None:
    with trackio_server(tmp_path / "server", "right") as url:
        out = run(
            tmp_path / "here",
            'with autolog.run("r") as r: r.log({"m": 1})',
            TRACKIO_SERVER_URL=url,
            TRACKIO_WRITE_TOKEN="wrong",
        )
        assert "cannot be delivered" in out
        assert len(journals(tmp_path / "here")) == 1
        run(
            tmp_path / "here",
            'with autolog.run("next"): pass',
            TRACKIO_SERVER_URL=url,
            TRACKIO_WRITE_TOKEN="right",
        )
    assert {r["name"] for r in read(tmp_path / "server")} == {"r", "next"}


def test_a_server_without_a_token_is_said(tmp_path: Path) -> None:
    out = run(tmp_path, 'with autolog.run("r"): pass', AUTOLOG_SERVER_URL="http://127.0.0.1:9")
    assert "needs a write token" in out


def test_a_silent_server_delays_neither_a_step_nor_the_exit(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        held: list[socket.socket] = []
        threading.Thread(
            target=lambda: [held.append(server.accept()[0]) for _ in range(50)], daemon=True
        ).start()
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
            "from autolog.sinks import delivery; delivery.LONGEST_PAUSE = 0.2\n" + program,
            TRACKIO_SERVER_URL=f"{wire.url}?write_token=s3cret",
        )
        wire.listener.close()
    assert "arrived: True" in out
    assert wire.count > 8
    (kept,) = read(tmp_path / "server")
    assert_everything_once(kept, tmp_path / "server")
    assert journals(tmp_path / "here") == []
