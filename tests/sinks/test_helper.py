"""Trackio's part and drawing are done by a process of their own; whatever happens to it, they are done."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from autolog.process import threads
from autolog.sinks.helper import Helper, draw
from tests.programs import read, run, values

CHART: dict[str, Any] = {
    "kind": "confusion_matrix",
    "title": "of \ud800 and \u00fc",
    "data": {"labels": ["a", "b"], "counts": [[5, 1], [2, 2**70]]},
}


@pytest.fixture
def helper() -> Iterator[Helper]:
    helper = Helper(niceness=10)
    yield helper
    helper.close()


def process_of(helper: Helper) -> psutil.Process:
    assert helper._process is not None
    return psutil.Process(helper._process.pid)


def test_it_is_done_elsewhere_with_a_lower_priority(helper: Helper) -> None:
    drawn = helper.ask(draw, CHART)
    assert drawn.lstrip().startswith("<svg")
    assert "\u00fc" in drawn
    assert helper.take_seconds() > 0
    assert helper.take_seconds() == 0
    first = process_of(helper)
    assert helper.ask(os.getpid) == first.pid
    assert first.nice() > psutil.Process().nice()
    group = Path(f"/proc/{first.pid}/autogroup")
    if group.exists():  # sessions share the cores before processes do
        assert group.read_text().split()[-1] == "10"
        own = Path("/proc/self/autogroup").read_text().split()  # empty for a process of no session's group
        assert not own or own[-1] != "10"
    assert "<svg" in helper.ask(draw, CHART)
    assert process_of(helper) == first
    helper.close()
    assert not first.is_running()


def test_what_cannot_be_done_says_why_and_the_next_one_is_done(helper: Helper) -> None:
    first = helper.ask(os.getpid)
    with pytest.raises(ValueError, match="unknown kind"):
        helper.ask(draw, {"kind": "?", "title": "", "data": {}})
    assert helper.ask(os.getpid) == first


class AwayError(OSError):
    """As of httpx, say, which is imported where it is raised."""

    def __init__(self, response: object, *, request: object):
        super().__init__("the server is away")


def fail(kind: str) -> None:
    raise {
        "a path": FileNotFoundError(2, "not there", "/x"),
        "a database": sqlite3.OperationalError("database is locked"),
        "a library": AwayError(threading.Lock(), request=threading.Lock()),
        "another": LookupError(threading.Lock()),
    }[kind]


def test_an_error_is_the_same_here(helper: Helper) -> None:
    with pytest.raises(FileNotFoundError) as path:
        helper.ask(fail, "a path")
    assert path.value.errno == 2
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        helper.ask(fail, "a database")
    with pytest.raises(OSError, match="the server is away") as away:
        helper.ask(fail, "a library")
    assert (type(away.value).__name__, type(away.value).__module__) == ("AwayError", __name__)
    with pytest.raises(Exception, match="lock object") as other:
        helper.ask(fail, "another")
    assert type(other.value).__name__ == "LookupError"
    assert helper.ask(os.getpid) == process_of(helper).pid


def test_one_that_has_gone_is_followed_by_another(helper: Helper) -> None:
    helper.ask(os.getpid)
    first = process_of(helper)
    first.kill()
    first.wait(60)
    assert helper.ask(os.getpid) == process_of(helper).pid != first.pid


def test_one_that_hangs_is_given_up(helper: Helper) -> None:
    helper.ask(os.getpid)
    first = process_of(helper)
    first.suspend()
    assert helper.ask(os.getpid, longest=1) != first.pid
    assert not first.is_running()


@pytest.mark.parametrize(
    "executable",
    ["/no/such/python", "/usr/sbin/an-application", "", "/bin/python-that-is-none"],
)
def test_where_none_can_be_started_it_is_done_here(
    monkeypatch: pytest.MonkeyPatch, executable: str, tmp_path: Path
) -> None:
    if executable.endswith("none"):  # and ends at once
        executable = str(tmp_path / "python-that-is-none")
        os.symlink("/bin/true", executable)
    monkeypatch.setattr(sys, "executable", executable)
    helper = Helper()
    for _ in range(2):
        assert helper.ask(os.getpid) == os.getpid()
        assert helper.take_seconds() == 0
    assert helper._process is None


def here_alone(pid: int) -> int:
    if os.getpid() != pid:
        raise ModuleNotFoundError("No module named 'in_an_archive_of_his_own'")
    return pid


def test_what_cannot_be_imported_there_is_done_here(helper: Helper) -> None:
    assert helper.ask(here_alone, os.getpid()) == os.getpid()


def test_what_an_environment_prints_at_its_start_is_no_answer(
    helper: Helper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho welcome to this cluster\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    assert helper.ask(os.getpid) == os.getpid()  # what is no answer is not waited for


def warn() -> int:
    warnings.warn("of a library's", DeprecationWarning, stacklevel=1)
    return os.getpid()


def test_a_warning_is_no_error_there(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert helper.ask(warn) == process_of(helper).pid


def test_at_the_end_nobody_waits_for_an_answer(helper: Helper) -> None:
    helper.ask(os.getpid)
    process_of(helper).suspend()
    raised: list[BaseException] = []

    def ask() -> None:
        try:
            helper.ask(os.getpid)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    assert helper.is_busy(0.01)
    helper.close()
    thread.join(60)
    assert not thread.is_alive()
    assert "the program ends" in str(raised[0])
    assert not helper.is_busy(0.01)


PROGRAM = """
from autolog.capture.figures import Chart
def picture(r, key):
    r.figure(key, Chart("confusion_matrix", "c", {"labels": ["x", "y"], "counts": [[5, 1], [2, 4]]}))
with autolog.run("parent") as r:
    r.log({"a": 1.0})
    picture(r, "before")
    while not autolog.finish(): pass
"""


def pictures(directory: Path, name: str) -> list[str]:
    (found,) = (one for one in read(directory) if one["name"] == name)
    return [key for row in found["logs"] for key, value in row.items() if isinstance(value, dict)]


def test_a_program_leaves_no_process_behind(tmp_path: Path) -> None:
    told = """
    import psutil
    children = psutil.Process().children(recursive=True)
    print("children", *[child.pid for child in children])
    """
    out = run(tmp_path, PROGRAM + told.replace("\n    ", "\n"))
    pids = [int(word) for word in out.split("children", 1)[1].split()]
    assert len(pids) == 2  # one writes to Trackio, one draws
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert pictures(tmp_path, "parent") == ["before"]


@pytest.mark.slow
def test_a_killed_program_leaves_none_either(tmp_path: Path) -> None:
    told = """
import psutil
print("children", *[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    out = run(tmp_path, PROGRAM + told, code=-signal.SIGKILL)
    pids = [int(word) for word in out.split("children", 1)[1].split()]
    assert len(pids) == 2
    end = time.monotonic() + 30
    while any(psutil.pid_exists(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_leaves_its_parents_alone(tmp_path: Path) -> None:
    forked = """
pid = os.fork()
if pid == 0:
    with autolog.run("child") as c:
        c.log({"a": 1.0})
        picture(c, "in the child")
    os._exit(0)
os.waitpid(pid, 0)
with autolog.run("after") as r:
    r.log({"a": 1.0})
    picture(r, "in the parent")
while not autolog.finish(): pass
"""
    run(tmp_path, PROGRAM + forked)
    run(tmp_path, "with autolog.run('next'): pass\nautolog.finish()")
    assert pictures(tmp_path, "after") == ["in the parent"]
    assert pictures(tmp_path, "child") == ["in the child"]
    assert values(read(tmp_path)[0], "a")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc tells what is blocked")
def test_the_helper_process_hears_its_signals() -> None:
    def ask() -> str:
        status = Path(f"/proc/{helper.ask(os.getpid)}/status").read_text()
        return next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))

    helper, answers = Helper(), []
    threads.start("autolog-test", lambda: answers.append(ask())).join()
    helper.close()
    assert [int(answer, 16) for answer in answers] == [0]
