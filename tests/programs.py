"""Programs of their own for tests: of exits, crashes, signals, forks, servers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

PRELUDE = """
import autolog, os, sys, time, signal, threading
from autolog.core import settings as s
s.use(autolog.Settings.from_environment(log_code=False))
"""


def environment(directory: Path, **variables: str) -> dict[str, str]:
    """An environment whose Trackio directory is ``directory``."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOLOG_", "TRACKIO_"))}
    ours = {"TRACKIO_DIR": str(directory), "AUTOLOG_PROJECT": "p", "AUTOLOG_QUIET": "1"}
    # On a busy machine two seconds may be short; a test that is about the time says so itself.
    return {**clean, **ours, "AUTOLOG_FINISH_TIMEOUT": "30", **variables}


def start(directory: Path, program: str, **variables: str) -> subprocess.Popen[str]:
    """Start a program after the prelude."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        env=environment(directory, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(directory: Path, program: str, *, code: int = 0, **variables: str) -> str:
    """Run a program to its end; returns what it printed to both outputs."""
    process = start(directory, program, **variables)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, f"exit {process.returncode}: {out}\n{err}"
    return out + err


def torchrun(directory: Path, program: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a program in two processes on CPU; returns how they ended, and what they wrote.

    torch's own threads abort such a process now and then while it exits, with and without us: then once more.
    """
    script = directory / "script" / "train.py"  # not beside Trackio's folders, one of which is called autolog
    here = {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    for _ in range(4):
        shutil.rmtree(directory)
        script.parent.mkdir(parents=True)
        script.write_text(textwrap.dedent(program))
        done = subprocess.run(
            [sys.executable, *launch, *arguments],
            env=environment(directory, **here, **variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        if not (done.returncode and "terminate called without an active exception" in done.stdout):
            break
    return done.returncode, done.stdout


READER = """
import sys, orjson, trackio
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
"""


def read(directory: Path, project: str = "p", *, inbox: bool = False) -> list[dict[str, Any]]:
    """Every run of a project, read back with Trackio in a process of its own."""
    out = subprocess.run(
        [sys.executable, "-c", READER, project, *(["inbox"] if inbox else [])],
        env=environment(directory),
        capture_output=True,
        check=True,
    )
    found: list[dict[str, Any]] = orjson.loads(out.stdout)
    return found


def values(run: dict[str, Any], key: str) -> list[Any]:
    """All values of one metric, in the order of their rows."""
    return [row[key] for row in run["logs"] if key in row]


def journals(directory: Path) -> list[Path]:
    """What is left undelivered."""
    return sorted((directory / "autolog" / "journal").glob("*.jsonl"))


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
        process.wait(10)
