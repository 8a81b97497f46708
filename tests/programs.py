"""Programs of their own for tests: of exits, crashes, signals, forks, servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from tests.warm import Program, executable, forks

PRELUDE = """
import autolog, os, sys, time, signal, threading
from autolog.core import settings as s
s.use(autolog.Settings.from_environment(log_code=False))
"""

# Logs until it is ended from outside, and tells how far it is.
LOOP = """
with autolog.run("loop") as r:
    print("ready", flush=True)
    for n in range(100_000):
        r.log({"m": n})
        last = n
        if n % 100 == 0:
            print(n, time.time(), flush=True)
        time.sleep(0.001)
"""

# What a program's own journal holds by now.
ON_DISK = """
from pathlib import Path
def on_disk(kind="row"):
    (journal,) = Path(os.environ["TRACKIO_DIR"], "autolog-data", "journal").glob("*.jsonl")
    return journal.read_bytes().count(b'"kind":"%s"' % kind.encode())
"""

# Beside a place that takes nothing: what we say of it has been printed, so it has been tried.
UNTIL_SAID = """
import logging
said, emit = threading.Event(), logging.lastResort.emit
logging.lastResort.emit = lambda record: (emit(record), said.set())
"""


def environment(directory: Path, **variables: str) -> dict[str, str]:
    """An environment whose Trackio directory is ``directory``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOLOG_", "TRACKIO_"))}
    ours = {
        "TRACKIO_DIR": str(directory),
        "AUTOLOG_PROJECT": "p",
        "AUTOLOG_QUIET": "1",
        "AUTOLOG_REPORT": "0",
    }
    # On a busy machine two seconds may be short; a test that is about the time says so itself.
    return {**clean, **ours, "AUTOLOG_FINISH_TIMEOUT": "90", **variables}


def start(
    directory: Path, program: str, *, warm: bool = False, **variables: str
) -> subprocess.Popen[str] | Program:
    """Start a program after the prelude; ``warm``: where the frameworks have been imported already."""
    if warm:
        return forks(PRELUDE + textwrap.dedent(program), [], environment(directory, **variables))
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        env=environment(directory, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(directory: Path, program: str, *, code: int = 0, warm: bool = False, **variables: str) -> str:
    """Run a program to its end; returns what it printed to both outputs."""
    process = start(directory, program, warm=warm, **variables)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit {process.returncode}: {out}\n{err}"
    return out + err


TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
# What it calls several GPUs are several processes: ACCELERATE_USE_CPU makes them work on the CPU.
ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"]
ACCELERATE += ["--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]


def torchrun(
    directory: Path, program: str, *arguments: str, launcher: list[str] = TORCHRUN, **variables: str
) -> tuple[int, str]:
    """Run a program in two processes on CPU; returns how they ended, and what they wrote.

    The launcher and what it launches begin where torch, accelerate and transformers have been imported.

    torch's own threads abort such a process now and then while it exits, with and without us: then once more.
    """
    script = directory / "script" / "train.py"  # not beside Trackio's folders, one of which is called autolog
    place = environment(directory, ACCELERATE_USE_CPU="1", **variables)
    module, *options = launcher
    launch = f"""
import os, runpy, sys, warnings
os.dup2(1, 2)
os.environ["PYTHON_EXEC"] = {executable()!r}  # by which torch starts its processes
warnings.simplefilter("ignore")
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
    for _ in range(4):
        shutil.rmtree(directory)
        script.parent.mkdir(parents=True)
        script.write_text(textwrap.dedent(program))
        process = forks(launch, [*options, str(script), *arguments], place)
        said, _ = process.communicate(timeout=300)
        if not (process.wait() and "terminate called without an active exception" in said):
            break
    return process.wait(), said


NAMES = """
import os, sys, orjson, trackio
sys.stdout.buffer.write(orjson.dumps([run.name for run in trackio.Api().runs(sys.argv[1])]))
sys.stdout.flush()
os._exit(0)  # where so much has been imported, an orderly end takes longer than all of the above
"""
READER = """
import os, sys, orjson, trackio
from trackio.sqlite_storage import SQLiteStorage as S
if sys.argv[2:]:
    from trackio import fragments
    fragments.import_inbox_dir()
found = []
if S.get_project_db_path(sys.argv[1]).exists():
    for run in trackio.Api().runs(sys.argv[1]):
        found.append({
            "name": run.name, "id": run.id, "config": run.config,
            "logs": S.get_logs(sys.argv[1], run.name, run_id=run.id, max_points=None),
            "alerts": S.get_alerts(sys.argv[1], run_id=run.id),
            "system": S.get_system_logs(sys.argv[1], run.name, run_id=run.id),
            "artifacts": S.get_run_artifacts(sys.argv[1], run_name=run.name, run_id=run.id),
        })
sys.stdout.buffer.write(orjson.dumps(found))
sys.stdout.flush()
os._exit(0)
"""


start_warm = partial(start, warm=True)
run_warm = partial(run, warm=True)


def read(directory: Path, project: str = "p", *, inbox: bool = False) -> list[dict[str, Any]]:
    """Every run of a project, read back with Trackio in a process of its own."""
    found: list[dict[str, Any]] = _read(READER, directory, project, *(["inbox"] if inbox else []))
    return found


def read_names(directory: Path, project: str = "p") -> list[str]:
    """The names of a project's runs, of which there are many."""
    found: list[str] = _read(NAMES, directory, project)
    return found


def _read(reader: str, directory: Path, *arguments: str) -> Any:
    process = forks(reader, [*arguments], environment(directory))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return orjson.loads(out)


def values(run: dict[str, Any], key: str) -> list[Any]:
    """All values of one metric, in the order of their rows; of one that is no chart its only one."""
    more = run["config"].get("result/more", {})
    return [row[key] for row in [*run["logs"], more] if key in row]


def until_told(process: subprocess.Popen[str] | Program, number: int) -> None:
    """Wait until a program has told that it is so far, as ``LOOP`` does: in a line that begins with it."""
    assert process.stdout is not None
    while (line := process.stdout.readline()).split()[:1] != [str(number)]:
        assert line, process.communicate()


def until_on_disk(directory: Path, text: str) -> None:
    """Wait until a program has written this to its journal: from then on SIGKILL does not lose it."""
    end = time.monotonic() + 120
    while not any(text.encode() in path.read_bytes() for path in journals(directory)):
        assert time.monotonic() < end, f"{text} does not come to be written"
        time.sleep(0.01)


def journals(directory: Path) -> list[Path]:
    """What is left undelivered."""
    return sorted((directory / "autolog-data" / "journal").glob("*.jsonl"))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def trackio_server(directory: Path, token: str, port: int | None = None) -> Iterator[str]:
    """A real Trackio server on 127.0.0.1; yields its URL."""
    port = port or free_port()
    variables = {"GRADIO_SERVER_PORT": str(port), "GRADIO_NUM_PORTS": "1", "TRACKIO_WRITE_TOKEN": token}
    process = subprocess.Popen(
        [sys.executable, "-c", "from trackio.cli import main; main()", "show", "--host", "127.0.0.1"],
        env={**environment(directory, **variables), "BROWSER": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/version", timeout=1).read()
                break
            except OSError:
                assert time.monotonic() < end, "the Trackio server did not start"
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


class _HubDoor(BaseHTTPRequestHandler):
    """What a push to the Hub asks for. (LFS files are asked for as they are: nothing here is large.)"""

    pushed: list[list[str]]

    def do_GET(self) -> None:
        told = {"id": "me/m", "sha": "0" * 40, "siblings": [], "name": "me", "type": "user", "auth": {}}
        self._answer(told if self.path.startswith("/api/") else None)

    def do_POST(self) -> None:
        body = self._body()
        if self.path.endswith("/preupload/main"):
            asked = orjson.loads(body)["files"]
            self._answer(
                {"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in asked]}
            )
        elif self.path.endswith("/commit/main"):
            lines = [orjson.loads(line) for line in body.splitlines() if line]
            self.pushed.append(sorted(line["value"]["path"] for line in lines if line["key"] == "file"))
            url = f"http://{self.headers['host']}/me/m/commit/0"
            self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": url, "commitMessage": "m"})
        else:
            self._answer({"url": f"http://{self.headers['host']}/me/m", "name": "me/m", "id": "me/m"})

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, told: Any) -> None:
        body = orjson.dumps(told)
        self.send_response(200 if told is not None else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def hub() -> Iterator[tuple[dict[str, str], list[list[str]]]]:
    """A Hub on 127.0.0.1 that takes what is pushed to it: what leads there, and the files of each commit."""
    pushed: list[list[str]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Door", (_HubDoor,), {"pushed": pushed}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_of_the_test"}, pushed
    finally:
        server.shutdown()
        server.server_close()
