"""``autolog sync``: everything that is left arrives, once; what does not is said, and why."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests import programs
from tests.cli.conftest import Called
from tests.cli.test_doctor import left_behind

SYNC = [sys.executable, "-m", "autolog", "sync"]
WITHOUT_THEM = """
import sys
sys.modules["typer"] = sys.modules["rich"] = None
from autolog.cli import main
sys.exit(main())
"""


@pytest.mark.slow
def test_what_cannot_be_delivered_is_said_with_the_reason_and_typer_is_not_needed(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{programs.free_port()}"
    journal = left_behind(tmp_path, ["server", url])
    record = {"kind": "open", "run": "r1", "name": "r", "project": "p", "group": None, "time": 1.0}
    record |= {"to": ["server", url], "adopted": False, "joined": False}
    with journal.open("ab") as file:
        file.write(orjson.dumps(record) + b"\n")
    newer = left_behind(tmp_path, ["local", ""], version=99, host="another")
    before = journal.read_bytes(), newer.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THEM, "sync", "--timeout", "6", "--json"],
        env=programs.environment(tmp_path, TRACKIO_WRITE_TOKEN="t"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    local, server = orjson.loads(done.stdout)
    assert "1 journal is of a newer autolog: pip install --upgrade" in local["left"][0]
    assert server["to"] == url
    assert "2 records are left" in server["left"][0]
    assert "Connect" in server["left"][0]
    assert (journal.read_bytes(), newer.read_bytes()) == before


def test_ctrl_c_leaves_nothing_half_done(tmp_path: Path) -> None:
    program = """
    with autolog.run("first") as run: run.log({"m": 0})
    autolog.finish()
    with autolog.run("left") as run:
        for n in range(500): run.log({"m": n}, step=n)
        assert run._recording.sink.sync(10)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    programs.run(tmp_path, program, code=-signal.SIGKILL, AUTOLOG_DETACH="0")
    # Somebody holds the database, so that it is in the midst of it.
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        terminal, theirs = pty.openpty()
        process = subprocess.Popen(
            SYNC, env=programs.environment(tmp_path), stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        said = b""
        while b"records are left" not in said:
            said += os.read(terminal, 1000)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        said += os.read(terminal, 10_000)
        os.close(terminal)
        assert process.returncode == 130, said
        assert re.search(rb"local Trackio database: 50\d records are left", said)
        assert b"the rest: autolog sync" in said
        assert b"Traceback" not in said
        assert out == ""
        database.execute("ROLLBACK")
    done = subprocess.run(
        [*SYNC, "--dir", str(tmp_path)],
        env=programs.environment(tmp_path / "elsewhere"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything has arrived (1 run, 500 rows" in done.stdout
    assert programs.journals(tmp_path) == []
    _, left = sorted(programs.read(tmp_path), key=lambda run: run["name"])
    assert (left["name"], left["config"]["status"]) == ("left", "crashed")
    assert programs.values(left, "m") == list(range(500))


def test_it_is_used_wrongly(call: Called, tmp_path: Path) -> None:
    assert call("sync", "--dir", str(tmp_path / "nowhere"))[::2] == (
        2,
        f"autolog: {tmp_path / 'nowhere'}: there is no such folder\n",
    )
    assert call("sync", "--bogus")[0] == 2
    code, out, _ = call("sync", "--help")
    assert (code, "--dir" in out) == (0, True)
