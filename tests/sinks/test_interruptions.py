"""Signal handlers that come back to us, exceptions that they raise, and a child's first records."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog import MemorySink
from autolog.capture.params import sanitize
from autolog.core.run import recording_of
from autolog.process import threads
from autolog.process.threads import Bell
from autolog.sinks.helper import Helper
from tests.programs import read, run, values


def test_a_bell_wakes_once_and_waits_no_longer_than_it_may() -> None:
    bell = Bell()
    assert not bell.wait(0.01)
    bell.ring()
    bell.ring()
    assert bell.wait(None)
    assert not bell.wait(0.01)
    threading.Timer(0.05, bell.ring).start()
    assert bell.wait(20)


HANDLERS = {
    "autolog.finish()": "autolog.finish()",
    "a run of its own": "autolog.run('inner').__enter__().finish()",
    "the run's end": "r.status == 'running' and r.finish('killed')",
}


@pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)
def test_a_handler_may_do_what_it_interrupts(tmp_path: Path, handler: str) -> None:
    out = run(
        tmp_path,
        f"""
        import contextlib, faulthandler, random
        faulthandler.dump_traceback_later(250, exit=True)  # of a deadlock
        calls = 0
        def handle(*args):
            global calls
            calls += 1
            {handler}
        with autolog.run("first") as r: r.log({{"x": 1}})  # what is imported half is nobody's to use
        autolog.finish()
        signal.signal(signal.SIGALRM, handle)
        end, runs = time.time() + 1.5, 0
        while time.time() < end:
            signal.setitimer(signal.ITIMER_REAL, random.random() * 0.003 + 1e-5)
            with autolog.run("outer") as r:
                with contextlib.suppress(autolog.RunError): r.log({{"x": 1}})  # it may have ended
            autolog.finish()
            runs += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert calls > 10
        print(runs, autolog.finish())
        """,
    )
    runs, arrived = out.split()
    assert arrived == "True"
    assert sum(found["name"] == "outer" for found in read(tmp_path)) == int(runs)


class SlowToPrint:
    def __repr__(self) -> str:
        time.sleep(5)
        return "slow"


def test_a_timeout_of_the_users_is_not_taken_for_a_parameter_that_cannot_be_read() -> None:
    class TimeoutOfTheUsersError(Exception):
        pass

    def too_late(*args: Any) -> None:
        raise TimeoutOfTheUsersError

    before = signal.signal(signal.SIGALRM, too_late)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(TimeoutOfTheUsersError):
            sanitize({"a": {"b": SlowToPrint()}})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_threads_of_a_child_may_all_log_at_once(tmp_path: Path, method: str) -> None:
    (tmp_path / "threads_of_a_child.py").write_text(
        "import threading\n"
        "def child(r):\n"
        "    barrier = threading.Barrier(8)\n"
        "    def work(k):\n"
        "        barrier.wait()\n"
        "        for i in range(20): r.log({'x': k * 20 + i})\n"
        "    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]\n"
        "    [t.start() for t in threads], [t.join() for t in threads]\n"
    )
    out = run(
        tmp_path / "trackio",
        f"""
        import multiprocessing
        sys.path.insert(0, {str(tmp_path)!r})
        import threads_of_a_child
        with autolog.run("r") as r:
            for _ in range(3):
                process = multiprocessing.get_context({method!r}).Process(
                    target=threads_of_a_child.child, args=(r,))
                process.start(); process.join()
        autolog.finish()
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert "Exception" not in out
    (found,) = read(tmp_path / "trackio")
    assert sorted(values(found, "x")) == sorted([*range(160)] * 3)


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
    assert not [path for path in (tmp_path / "autolog" / "files").rglob("*") if path.is_file()]


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks: Windows")
def test_no_thread_of_ours_takes_a_signal_that_is_meant_for_the_users(tmp_path: Path) -> None:
    """The kernel gives one to any thread that lets it; then the main one sleeps on."""
    out = run(
        tmp_path,
        """
        signal.signal(signal.SIGUSR1, lambda *args: None)
        with autolog.run("one") as r: r.log({"x": 1})
        autolog.finish()
        assert {"autolog-journal", "autolog-deliver", "autolog-background"} <= {
            thread.name for thread in threading.enumerate()
        }
        others = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM}
        signal.pthread_sigmask(signal.SIG_BLOCK, others)
        signal.signal(signal.SIGALRM, lambda *args: None)
        for number in others: os.kill(os.getpid(), number)
        time.sleep(0.3)
        print("waiting for the user:", signal.sigpending() == others)
        """,
    )
    assert "waiting for the user: True" in out


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc tells what is blocked")
def test_the_helper_process_hears_its_signals() -> None:
    def ask() -> str:
        status = Path(f"/proc/{helper.ask(os.getpid)}/status").read_text()
        return next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))

    helper, answers = Helper(), []
    threads.start("autolog-test", lambda: answers.append(ask())).join()
    helper.close()
    assert [int(answer, 16) for answer in answers] == [0]
