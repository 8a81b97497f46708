"""Ctrl-C, SIGTERM and handlers of the user's own, with real programs and the real Trackio."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.programs import LOOP, journals, read, read_names, run, start, until_told, values


@pytest.mark.parametrize(
    ("number", "status", "code"), [(signal.SIGTERM, "killed", -15), (signal.SIGINT, "killed", None)]
)
def test_signals(tmp_path: Path, number: int, status: str, code: int | None) -> None:
    process = start(tmp_path, LOOP)
    until_told(process, 300)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code or (code is None and process.returncode != 0)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert values(kept, "m") == list(range(len(values(kept, "m"))))
    assert len(values(kept, "m")) > 300


def test_sigterm_ends_a_call_that_python_cannot_interrupt(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        import hashlib
        with autolog.run("r") as r:
            r.log({"m": 1})
            print("ready", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
        """,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "killed"
    assert values(kept, "m") == [1]


def test_sigterm_to_a_forked_child_is_not_its_parents(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r") as r:
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(7)
            os.kill(pid, signal.SIGTERM)
            _, status = os.waitpid(pid, 0)
            assert os.WTERMSIG(status) == signal.SIGTERM
            time.sleep(0.3)
            r.log({"m": 1})
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert values(kept, "m") == [1]


def test_sigterm_beside_an_event_loop(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        import asyncio
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGUSR1, lambda: print("usr1", flush=True))
            with autolog.run("r") as r:
                r.log({"m": 1})
                print("ready", flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
        """,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "usr1\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert read(tmp_path)[0]["config"]["status"] == "killed"


def test_a_handler_of_the_users_own_is_not_touched(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        def mine(*args): print("mine")
        signal.signal(signal.SIGTERM, mine)
        with autolog.run("r"):
            assert signal.getsignal(signal.SIGTERM) is mine
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with autolog.run("r"):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert autolog.finish()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        """,
    )
    assert out.strip() == "mine"


@pytest.mark.slow
def test_a_framework_ends_its_training_by_sigterm_itself(tmp_path: Path) -> None:
    """As Lightning does: its handler calls ours too, it ends the training, and puts ours back."""
    program = """
        import types
        from autolog.process import signals

        def late(*args):  # our thread hears of it when all of that is over
            found = os.read(*args)
            time.sleep(0.5)
            return found

        signals.os = types.SimpleNamespace(**{**vars(os), "read": late})

        def both(number, frame):
            ours(number, frame)
            raise SystemExit

        with autolog.run("r"):
            ours = signal.getsignal(signal.SIGTERM)
            for _ in range(2):
                signal.signal(signal.SIGTERM, both)
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
                except SystemExit:
                    signal.signal(signal.SIGTERM, ours)
                time.sleep(1.5)
            print("alive", flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        """
    out = run(tmp_path, program, code=-signal.SIGTERM)
    assert "alive" in out
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "killed"


def test_what_was_recorded_last_is_there_when_sigterm_comes_after_the_last_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        for n in range(10):
            with autolog.run(f"r{n}") as r: r.log({"m": n})
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
        """,
        code=-signal.SIGTERM,
    )
    assert {r["name"]: (r["config"]["status"], values(r, "m")) for r in read(tmp_path)} == {
        f"r{n}": ("finished", [n]) for n in range(10)
    }


def test_sigterm_is_watched_whoever_opened_a_run_first(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        ready, done = threading.Event(), threading.Event()
        def work():
            with autolog.run("theirs"):
                ready.set(); done.wait(60)
        threading.Thread(target=work, daemon=True).start()
        ready.wait()
        with autolog.run("main") as r:
            r.log({"m": 1})
            print("ready", flush=True)
            time.sleep(60)
        """,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert {r["name"]: r["config"]["status"] for r in read(tmp_path)} == {
        "theirs": "killed",
        "main": "killed",
    }


# Delivered in this process, which never comes back from it.
SLOW = """
helper._start = lambda *asked: None
local.Local.rows = lambda *args: (delivering.set(), time.sleep(600))
"""


@pytest.mark.slow
@pytest.mark.parametrize("pause", [0.0, 0.003, 0.05])
@pytest.mark.parametrize("slow", ["delivering.set()", SLOW], ids=["", "slow"])
def test_ctrl_c_twice(tmp_path: Path, pause: float, slow: str) -> None:
    process = start(
        tmp_path,
        f"""
from autolog.sinks import helper
from autolog.sinks.trackio import local
delivering = threading.Event()
{slow}
with autolog.run("r") as r:
    for n in range(100_000):
        r.log({{"m": n}})
        if n >= 500: delivering.wait(60)
        print(n, flush=True)
        time.sleep(0.001)
""",
        AUTOLOG_FINISH_TIMEOUT="300",
    )
    until_told(process, 500)
    process.send_signal(signal.SIGINT)
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    out, err = "", ""
    for seconds in (3, 3, 60):  # Python may take two for one; then the user presses once more
        try:
            more = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        else:
            out, err = more
            break
    assert process.returncode == -signal.SIGINT, f"it did not end: {err}"
    # (filelock, which Trackio brings along, has a callback of its own that a third Ctrl-C may meet.)
    callbacks = err.split("ignored in atexit callback")[1:]
    assert not [said for said in callbacks if "/autolog/" in said.partition("KeyboardInterrupt")[0]]
    run(tmp_path, "with autolog.run('next'): pass")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    assert kept["config"]["status"] == "killed"
    logged = values(kept, "m")
    assert logged == list(range(len(logged)))
    assert len(logged) > 500
    assert len(logged) >= len(out.split())
    assert journals(tmp_path) == []


def test_ctrl_c_ends_the_program_as_it_would_without_us(tmp_path: Path) -> None:
    process = start(
        tmp_path,
        """
        from autolog.capture.figures import Chart
        with autolog.run("r") as r:
            # What draws it is imported while the program ends, and has dataclasses.
            r.figure("c", Chart("bars", "t", {"names": ["a"], "values": [1.0], "x_label": "x"}))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        """,
    )
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT, err
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "killed"
    assert len(values(kept, "c")) == 1


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
        runs = 0
        while calls < 60 or runs < 200:
            signal.setitimer(signal.ITIMER_REAL, random.random() * 0.003 + 1e-5)
            with autolog.run("outer") as r:
                with contextlib.suppress(autolog.RunError): r.log({{"x": 1}})  # it may have ended
            autolog.finish()
            runs += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(runs, autolog.finish())
        """,
    )
    runs, arrived = out.split()
    assert arrived == "True"
    assert read_names(tmp_path).count("outer") == int(runs)


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks: Windows")
def test_no_thread_of_ours_takes_a_signal_that_is_meant_for_the_users(tmp_path: Path) -> None:
    """The kernel gives one to any thread that lets it; then the main one sleeps on."""
    out = run(
        tmp_path,
        """
        signal.signal(signal.SIGUSR1, lambda *args: None)
        with autolog.run("one") as r: r.log({"x": 1})
        autolog.finish()
        assert {"autolog-journal", "autolog-deliver", "autolog-periodic"} <= {
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
