"""Exits, crashes, signals and forks, with real programs and the real Trackio."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.programs import PRELUDE, environment, journals, read, run, start, values


def test_a_program_that_ends_at_once_leaves_everything_behind(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("short", config={"lr": 0.1}) as r:
            r.log({"a": float("nan"), "b": 2}, step=3)
            r.table("t", [{"x": 1}])
            r.alert("odd")
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert kept["config"]["lr"] == 0.1
    assert values(kept, "b") == [2]
    assert kept["logs"][0]["step"] == 3
    assert values(kept, "t")[0]["_value"] == [{"x": 1}]
    assert [alert["title"] for alert in kept["alerts"]] == ["odd"]
    assert journals(tmp_path) == []


def test_a_run_without_metrics_exists(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("empty"): pass')
    (kept,) = read(tmp_path)
    assert kept["name"] == "empty"
    assert kept["config"]["status"] == "finished"


def test_the_last_config_counts_however_short_the_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r", config={"a": 1}) as r:
            r.log({"m": 1})
            r.params({"a": 2}, prefix="")
            r.params({"b": 3})
        """,
    )
    (kept,) = read(tmp_path)
    assert kept["config"]["a"] == 2
    assert kept["config"]["params"] == {"b": 3}


def test_equal_names_are_two_runs(tmp_path: Path) -> None:
    for _ in range(2):
        run(tmp_path, 'with autolog.run("same") as r: r.log({"m": 1})')
    kept = read(tmp_path)
    assert [r["name"] for r in kept] == ["same", "same"]
    assert kept[0]["id"] != kept[1]["id"]


def test_an_unhandled_exception_fails_the_run(tmp_path: Path) -> None:
    out = run(tmp_path, 'with autolog.run("r") as r: r.log({"m": 1}); raise ValueError("his")', code=1)
    assert "ValueError: his" in out
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "failed"
    assert kept["config"]["error"] == "ValueError: his"
    (alert,) = kept["alerts"]
    assert "failed: ValueError" in alert["title"]
    assert alert["text"].startswith("ValueError: his")
    assert "autolog/core" not in alert["text"]
    assert values(kept, "m") == [1]


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


@pytest.mark.parametrize(
    ("number", "status", "code"), [(signal.SIGTERM, "killed", -15), (signal.SIGINT, "killed", None)]
)
def test_signals(tmp_path: Path, number: int, status: str, code: int | None) -> None:
    process = start(tmp_path, LOOP)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.0)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == code or (code is None and process.returncode != 0)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert values(kept, "m") == list(range(len(values(kept, "m"))))
    assert len(values(kept, "m")) > 100


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
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        """,
    )
    assert out.strip() == "mine"


def test_sigkill_loses_at_most_half_a_second_and_the_next_start_marks_the_run(tmp_path: Path) -> None:
    process = start(tmp_path, LOOP)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.5)
    process.kill()
    killed = time.time()
    out, _ = process.communicate()
    told = [(int(n), float(t)) for n, t in (line.split() for line in out.split("\n") if line)]
    safe = max((n for n, t in told if t < killed - 0.5), default=-1)
    assert len(journals(tmp_path)) == 1

    run(tmp_path, 'with autolog.run("next"): pass')
    crashed, after = read(tmp_path)
    assert (crashed["name"], after["name"]) == ("loop", "next")
    assert crashed["config"]["status"] == "crashed"
    assert crashed["alerts"][0]["title"] == "loop crashed"
    logged = values(crashed, "m")
    assert logged == list(range(len(logged))), "nothing doubled, nothing missing in between"
    assert len(logged) > safe
    assert journals(tmp_path) == []


def test_a_living_process_is_not_taken_for_a_crashed_one(tmp_path: Path) -> None:
    process = start(tmp_path, LOOP)
    assert process.stdout is not None
    process.stdout.readline()
    run(tmp_path, 'with autolog.run("next"): pass')
    assert {r["name"]: r["config"]["status"] for r in read(tmp_path)}.get("loop", "running") == "running"
    process.terminate()
    process.communicate()
    assert {r["name"]: r["config"]["status"] for r in read(tmp_path)} == {
        "loop": "killed",
        "next": "finished",
    }


def test_os_exit_is_a_crash_that_keeps_what_was_written(tmp_path: Path) -> None:
    run(tmp_path, 'r = autolog.run("r").__enter__(); r.log({"m": 1}); time.sleep(0.6); os._exit(0)')
    run(tmp_path, 'with autolog.run("next"): pass')
    kept = {r["name"]: r for r in read(tmp_path)}
    assert kept["r"]["config"]["status"] == "crashed"
    assert values(kept["r"], "m") == [1]


def test_a_forked_child_writes_to_the_same_run_and_does_not_end_it(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        with autolog.run("r") as r:
            r.log({"parent": 0})
            pid = os.fork()
            if pid == 0:
                r.log({"child": 1})
                try:
                    r.finish()
                except autolog.RunError as error:
                    print("refused:", "another process" in str(error), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            assert r.status == "running"
            r.log({"parent": 1})
        """,
    )
    assert out.strip() == "refused: True"
    (kept,) = read(tmp_path)
    assert values(kept, "parent") == [0, 1]
    assert values(kept, "child") == [1]
    assert kept["config"]["status"] == "finished"
    assert journals(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_does_not_fall_into_an_import_of_our_threads(tmp_path: Path) -> None:
    # Trackio is imported by a thread, about now. A child that needs it would wait for its end for ever.
    out = run(
        tmp_path,
        """
        import hashlib
        from autolog.sinks import helper
        helper._start = lambda *asked: None  # Trackio is imported here, then
        autolog.run("r").__enter__()
        while "trackio" not in sys.modules:
            time.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            import trackio, trackio.sqlite_storage
            hashlib.new("md5", b"")
            os._exit(0)
        end = time.monotonic() + 60
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                sys.exit("the child hangs")
            time.sleep(0.01)
        autolog.finish()
        print(os.register_at_fork.__name__)
        """,
    )
    assert out.split() == ["register_at_fork"]  # and nothing of functions that were called unprepared


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_pools(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import multiprocessing, autolog, sys
def work(x):
    run, n = x
    run.log({{f"m{{n}}": n}})
    return n
if __name__ == "__main__":
    context = multiprocessing.get_context("{method}")
    with autolog.run("r", project="p") as run:
        with context.Pool(2) as pool:
            assert pool.map(work, [(run, n) for n in range(4)]) == [0, 1, 2, 3]
            pool.close()
            pool.join()
    autolog.finish()
"""
    )
    run(tmp_path, f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    run(tmp_path, 'with autolog.run("next"): pass')
    kept = {r["name"]: r for r in read(tmp_path)}
    assert {n: values(kept["r"], f"m{n}") for n in range(4)} == {n: [n] for n in range(4)}
    assert kept["r"]["config"]["status"] == "finished"


def test_an_unwritable_directory_is_an_error_at_the_users_call(tmp_path: Path) -> None:
    directory = tmp_path / "file"
    directory.write_text("in the way")
    out = run(
        directory,
        """
        try:
            autolog.run("r").__enter__()
        except autolog.RunError as error:
            print(error)
        """,
    )
    assert "autolog cannot write its journal" in out
    assert "set TRACKIO_DIR" in out


def test_an_unwritable_directory_does_not_stop_a_training(tmp_path: Path) -> None:
    directory = tmp_path / "file"
    directory.write_text("in the way")
    out = run(
        directory,
        """
        autolog.enable()
        from sklearn.linear_model import LinearRegression
        for _ in range(3):
            print(LinearRegression().fit([[0.], [1.]], [0., 1.]).coef_)
        """,
    )
    assert out.count("[1.]") == 3
    assert out.count("autolog cannot write its journal") == 1


def test_metrics_of_threads_are_neither_lost_nor_crossed(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        def work(n):
            with autolog.run(f"r{n}") as r:
                for i in range(200):
                    r.log({"m": n * 1000 + i})
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        """,
    )
    kept = read(tmp_path)
    assert len(kept) == 8
    for one in kept:
        n = int(one["name"][1:])
        assert values(one, "m") == [n * 1000 + i for i in range(200)]


def test_jsonl_mode(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r", config={"a": 1}) as r:
            r.log({"m": 1}); r.log({"m": 2})
            r.alert("odd"); r._recording.system({"cpu/utilization": 5.0})
            r.params({"a": 2}, prefix="")
        """,
        TRACKIO_STORAGE_MODE="jsonl",
    )
    assert read(tmp_path) == []
    (kept,) = read(tmp_path, inbox=True)
    assert values(kept, "m") == [1, 2]
    assert kept["config"]["a"] == 2
    assert kept["config"]["status"] == "finished"
    assert kept["alerts"][0]["title"] == "odd"
    assert kept["system"][0]["cpu/utilization"] == 5.0


def test_a_trackio_run_of_the_users_own_is_adopted_and_never_finished(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        import trackio
        autolog.enable(log_code=False)
        from sklearn.linear_model import LinearRegression
        his = trackio.init(project="p", name="his", config={"framework": "his own", "x": 1}, embed=False)
        trackio.log({"before": 1})
        LinearRegression().fit([[0.], [1.], [2.]], [0., 1., 2.])
        LinearRegression().fit([[0.], [1.], [2.]], [0., 1., 2.])
        assert trackio.context_vars.current_run.get() is his
        trackio.log({"after": 1})
        autolog.finish()
        his.config["later"] = 3
        trackio.finish()
        """,
        AUTOLOG_BUDGET="1000",
    )
    assert "Traceback" not in out
    his, child = sorted(read(tmp_path), key=lambda r: r["name"] != "his")
    assert values(his, "before") == values(his, "after") == [1]
    assert len(values(his, "train/r2")) == 1
    assert his["config"]["framework"] == "his own"
    assert his["config"]["model"] == "LinearRegression"
    assert his["config"]["x"] == 1
    assert his["config"]["later"] == 3
    assert child["config"]["parent"] == his["id"]
    assert len(values(child, "train/r2")) == 1


def test_one_printed_line_per_run_and_none_when_quiet(tmp_path: Path) -> None:
    program = 'with autolog.run("one"): print("his")'
    loud = run(tmp_path, program, AUTOLOG_QUIET="0").splitlines()
    assert loud[0] == "his"
    (line,) = loud[1:]
    assert "one in project p" in line
    assert "http://127.0.0.1:7860/run?project=p&selected_run_id=" in line
    assert run(tmp_path, program, AUTOLOG_QUIET="1").splitlines() == ["his"]


def test_two_processes_share_a_project(tmp_path: Path) -> None:
    program = """
    for n in range(5):
        with autolog.run(f"{os.getpid()}-{n}") as r:
            for i in range(50): r.log({"m": i})
    """
    processes = [start(tmp_path, program) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    run(tmp_path, "with autolog.run('last'): pass")
    kept = [r for r in read(tmp_path) if r["name"] != "last"]
    assert len(kept) == 10
    assert all(values(r, "m") == list(range(50)) for r in kept)
    assert os.listdir(tmp_path / "autolog" / "journal") == []


def test_the_machines_load_is_sampled(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("r") as r: time.sleep(4)', AUTOLOG_SYSTEM_INTERVAL="0.2")
    (kept,) = read(tmp_path)
    assert len(kept["system"]) >= 2
    assert kept["system"][0]["cpu/utilization"] >= 0
    assert kept["system"][0]["memory/total"] > 0


def test_the_config_reads_scalars_first(tmp_path: Path) -> None:
    run(tmp_path, 'with autolog.run("r", config={"long": {"a": 1}, "short": 2}) as r: pass')
    keys = list(read(tmp_path)[0]["config"])
    assert keys.index("short") < keys.index("long")
    assert keys.index("status") < keys.index("long")


def test_of_many_runs_the_old_ones_configs_are_read_back_when_they_change(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        from autolog.sinks import delivery
        delivery.CONFIGS_KEPT = 2
        from autolog.core.opening import open_run
        runs = [open_run(f"r{n}", config={"n": n}) for n in range(6)]
        for r in runs: r.end("finished")
        assert autolog.finish()
        states = autolog.core.outlet._trackio._all()[0]._delivery.runs.values()
        assert sum(state.config == {} for state in states) == 4
        runs[0].describe({"later": 1})
        """,
    )
    kept = {r["name"]: r["config"] for r in read(tmp_path)}
    assert len(kept) == 6
    assert (kept["r0"]["n"], kept["r0"]["later"], kept["r0"]["status"]) == (0, 1, "finished")
    assert kept["r5"]["n"] == 5


def test_what_is_logged_after_the_end_of_the_process_raises_nothing(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        from autolog.core import ending
        run = autolog.run("r").__enter__()
        run.log({"m": 1})
        ending._end_all("finished")  # as at exit, or in the thread that watches for SIGTERM
        run.log({"m": 2})
        print("still here")
        """,
    )
    assert "still here" in out
    (kept,) = read(tmp_path)
    assert values(kept, "m") == [1]


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


# How a program ends ---------------------------------------------------------------------------------


SLOW = "helper._start = lambda *asked: None; local.Local.rows = lambda *args: time.sleep(600)"


@pytest.mark.parametrize("pause", [0.0, 0.003, 0.05])
@pytest.mark.parametrize("slow", ["", SLOW])
def test_ctrl_c_twice(tmp_path: Path, pause: float, slow: str) -> None:
    process = start(
        tmp_path,
        f"""
        from autolog.sinks import helper
        from autolog.sinks.trackio import local
        {slow}
        with autolog.run("r") as r:
            print("ready", flush=True)
            for n in range(100_000):
                r.log({{"m": n}})
                print(n, flush=True)
                time.sleep(0.001)
        """,
        AUTOLOG_FINISH_TIMEOUT="300",
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    out, err = "", ""
    for _ in range(3):  # Python may take two for one; then the user presses once more
        try:
            more = process.communicate(timeout=3)
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


WITH = "with autolog.run('r') as r: r.log({'m': 1}); "
BY_HAND = "r = autolog.run('r').__enter__(); r.log({'m': 1}); "
IN_A_THREAD = """
def work():
    {}
    raise ValueError("his")
thread = threading.Thread(target=work); thread.start(); thread.join()
"""


@pytest.mark.parametrize(
    ("program", "code", "status"),
    [
        (WITH + "sys.exit(0)", 0, "finished"),
        (WITH + "sys.exit(3)", 3, "failed"),
        (WITH + "raise SystemExit('text')", 1, "failed"),
        (WITH + "pass\nsys.exit(3)", 3, "finished"),
        # Who opens a run by hand and does not finish it has it ended by the end of his process. What
        # sys.exit() was given, and what a thread died of, Python tells nobody.
        (BY_HAND + "sys.exit(0)", 0, "killed"),
        (BY_HAND + "sys.exit(3)", 3, "killed"),
        (BY_HAND + "raise SystemExit('text')", 1, "killed"),
        (BY_HAND + "raise ValueError('his')", 1, "failed"),
        (BY_HAND + "raise KeyboardInterrupt", None, "killed"),
        (IN_A_THREAD.format(WITH + "raise ValueError('his')"), 0, "failed"),
        (IN_A_THREAD.format(BY_HAND), 0, "killed"),
    ],
)
def test_how_a_program_ends_is_how_its_run_ends(
    tmp_path: Path, program: str, code: int | None, status: str
) -> None:
    process = start(tmp_path, program)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code or (code is None and process.returncode != 0)
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert values(kept, "m") == [1]
    assert journals(tmp_path) == []
    assert "autolog:" not in err


@pytest.mark.parametrize("end", ["os.abort()", "ctypes.string_at(0)"])
def test_a_fault_of_the_interpreter_is_a_crash_that_keeps_what_was_written(tmp_path: Path, end: str) -> None:
    process = start(
        tmp_path,
        f"""
        import ctypes, faulthandler
        faulthandler.enable()
        with autolog.run("r") as r:
            for n in range(1_000): r.log({{"m": n}})
            time.sleep(1.0)
            {end}
        """,
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGABRT, -signal.SIGSEGV)
    assert "Fatal Python error" in err
    run(tmp_path, "with autolog.run('next'): pass")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    assert kept["config"]["status"] == "crashed"
    assert values(kept, "m") == list(range(1_000))


@pytest.mark.parametrize("pause", [0.001, 0.0])
def test_a_daemon_thread_that_still_logs_does_not_hold_the_exit_up(tmp_path: Path, pause: float) -> None:
    out = run(
        tmp_path,
        f"""
        def work():
            with autolog.run("r") as r:
                for n in range(1_000_000_000):
                    r.log({{"m": n}})
                    time.sleep({pause})
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.5)
        """,
        AUTOLOG_FINISH_TIMEOUT="1",
    )
    assert "Traceback" not in out
    run(tmp_path, "with autolog.run('next'): pass", AUTOLOG_FINISH_TIMEOUT="90")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    assert kept["config"]["status"] == "killed"
    assert values(kept, "m") == list(range(len(values(kept, "m"))))
    assert len(values(kept, "m")) > 100


def test_an_exit_right_after_the_last_of_many_records(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
        with autolog.run("r") as r:
            for n in range(10_000): r.log({"m": n})
        """,
    )
    (kept,) = read(tmp_path)
    assert values(kept, "m") == list(range(10_000))
    assert kept["config"]["status"] == "finished"
    assert journals(tmp_path) == []


# Worker processes -----------------------------------------------------------------------------------

METHODS = ["fork", "spawn", "forkserver"]


def run_script(directory: Path, text: str) -> str:
    """Run a script from a file, as the workers of multiprocessing need it."""
    script = directory / "script.py"
    script.write_text("import autolog, multiprocessing, os, signal, sys, time\n" + textwrap.dedent(text))
    return run(directory, f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")


@pytest.mark.parametrize("end", ["pass", "raise ValueError('his')", "os._exit(3)", "os.kill(os.getpid(), 9)"])
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_dies_has_logged_what_it_logged(tmp_path: Path, method: str, end: str) -> None:
    run_script(
        tmp_path,
        f"""
        def work(run):
            for n in range(3): run.log({{"m": n}})
            {end}
        if __name__ == "__main__":
            with autolog.run("r") as run:
                process = multiprocessing.get_context("{method}").Process(target=work, args=(run,))
                process.start()
                process.join()
                run.log({{"m": 9}})
        """,
    )
    (kept,) = read(tmp_path)
    assert values(kept, "m") == [0, 1, 2, 9]
    assert kept["config"]["status"] == "finished"
    assert journals(tmp_path) == []


@pytest.mark.parametrize(
    "pool", ["ProcessPoolExecutor(2, mp_context=context)", "context.Pool(2)"], ids=["executor", "terminated"]
)
@pytest.mark.parametrize("method", METHODS)
def test_runs_are_taken_to_workers(tmp_path: Path, method: str, pool: str) -> None:
    run_script(
        tmp_path,
        f"""
        from concurrent.futures import ProcessPoolExecutor
        def work(task):
            run, n = task
            run.log({{f"m{{n}}": n}})
            return n
        if __name__ == "__main__":
            context = multiprocessing.get_context("{method}")
            with autolog.run("r") as run, {pool} as pool:
                assert list(pool.map(work, [(run, n) for n in range(8)])) == list(range(8))
        """,
    )
    (kept,) = read(tmp_path)
    assert {n: values(kept, f"m{n}") for n in range(8)} == {n: [n] for n in range(8)}
    assert kept["config"]["status"] == "finished"
    assert journals(tmp_path) == []


# Disks ----------------------------------------------------------------------------------------------

# For root no folder is read-only; without its capabilities it is a user like any other.
AS_A_USER = """
import ctypes, pathlib, shutil
here = pathlib.Path(os.environ["TRACKIO_DIR"])
here.mkdir()
if os.geteuid() == 0:
    none = (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(0x20080522, 0), none) == 0
def writable(yes):
    for path in [here, *(path for path in here.rglob("*") if path.is_dir())]:
        path.chmod(0o700 if yes else 0o500)
"""


def test_a_read_only_directory_is_an_error_at_the_users_call(tmp_path: Path) -> None:
    program = """
writable(False)
try:
    autolog.run("r").__enter__()
except autolog.RunError as error:
    print(error)
"""
    out = run(tmp_path / "trackio", AS_A_USER + program)
    assert "Permission denied" in out
    assert "Make that folder writable, or set TRACKIO_DIR" in out


def test_a_read_only_directory_does_not_stop_a_training(tmp_path: Path) -> None:
    program = """
writable(False)
autolog.enable()
from sklearn.linear_model import LinearRegression
for _ in range(3):
    print(LinearRegression().fit([[0.], [1.]], [0., 1.]).coef_)
"""
    out = run(tmp_path / "trackio", AS_A_USER + program)
    assert out.count("[1.]") == 3
    assert out.count("autolog cannot write its journal") == out.count("autolog:") == 1


@pytest.mark.parametrize("back", [True, False])
def test_a_directory_that_becomes_read_only_stops_nothing(tmp_path: Path, back: bool) -> None:
    program = f"""
with autolog.run("r") as r:
    for n in range(100): r.log({{"m": n}})
    writable(False)
    for n in range(100, 200): r.log({{"m": n}})
    time.sleep(1.0)
    writable({back})
    for n in range(200, 300): r.log({{"m": n}})
print("still here")
"""
    out = run(tmp_path / "trackio", AS_A_USER + program, AUTOLOG_FINISH_TIMEOUT="2")
    assert "still here" in out
    assert "Traceback" not in out
    for path in (tmp_path / "trackio").rglob("*"):
        path.chmod(0o700)
    (tmp_path / "trackio").chmod(0o700)
    run(tmp_path / "trackio", "with autolog.run('next'): pass")
    kept = next(r for r in read(tmp_path / "trackio") if r["name"] == "r")
    assert values(kept, "m") == list(range(300))
    assert kept["config"]["status"] == "finished"
    assert journals(tmp_path / "trackio") == []


def test_a_directory_that_is_deleted_stops_nothing(tmp_path: Path) -> None:
    out = run(
        tmp_path / "trackio",
        """
        import shutil
        with autolog.run("r", config={"x": 1}) as r:
            r.log({"before": 1})
            assert autolog.finish()
            shutil.rmtree(os.environ["TRACKIO_DIR"])
            time.sleep(1.0)
            for n in range(100): r.log({"m": n})
        print("still here", autolog.finish())
        """,
        AUTOLOG_FINISH_TIMEOUT="5",
    )
    assert "still here True" in out
    (kept,) = read(tmp_path / "trackio")
    assert values(kept, "m") == list(range(100))
    assert kept["config"]["x"] == 1
    assert kept["config"]["status"] == "finished"


FULL = """
with autolog.run("r") as r:
    for n in range(100): r.log({"m": n})
    while not autolog.finish(): pass
    full(True)
    for n in range(100, 5_000): r.log({"m": n})
    time.sleep(1.0)
    print("arrived:", autolog.finish(), flush=True)
    full(False)
    for n in range(5_000, 5_100): r.log({"m": n})
    end = time.monotonic() + 60
    while not autolog.finish() and time.monotonic() < end: time.sleep(0.1)
"""
NO_LARGE_FILES = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
def full(yes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 if yes else soft, hard))
"""
NO_ROOM = """
from pathlib import Path
here = Path(os.environ["TRACKIO_DIR"])
ballast = here / "ballast"
def full(yes):
    if not yes: return ballast.unlink()
    with ballast.open("wb", buffering=0) as file:
        try:
            while True: file.write(bytes(4096))
        except OSError:
            pass
"""
KEEP = """
import shutil
assert autolog.finish()
shutil.copytree(here, here.with_name("kept"))
"""


def assert_it_was_full_and_all_is_there(out: str, directory: Path) -> None:
    assert "arrived: False" in out
    assert out.count("takes nothing") == 1
    assert "Traceback" not in out
    (kept,) = read(directory)
    assert values(kept, "m") == list(range(5_100))
    assert kept["config"]["status"] == "finished"


def test_a_full_disk_stops_nothing_and_gets_everything_when_there_is_room(tmp_path: Path) -> None:
    out = run(tmp_path, NO_LARGE_FILES + FULL, AUTOLOG_FINISH_TIMEOUT="1")
    assert_it_was_full_and_all_is_there(out, tmp_path)
    assert journals(tmp_path) == []


def test_a_full_file_system_stops_nothing_and_gets_everything_when_there_is_room(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=4m none {small}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be made here")
    program = PRELUDE + NO_ROOM + FULL + KEEP
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", program],
        env=environment(small, AUTOLOG_FINISH_TIMEOUT="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_it_was_full_and_all_is_there(done.stdout + done.stderr, tmp_path / "kept")


def test_a_disk_that_stays_full_does_not_hold_the_exit_up(tmp_path: Path) -> None:
    program = FULL.partition("    full(False)")[0]
    out = run(tmp_path, NO_LARGE_FILES + program, AUTOLOG_FINISH_TIMEOUT="1")
    assert out.count("takes nothing") == 1
    assert "Traceback" not in out
    run(tmp_path, "with autolog.run('next'): pass")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    logged = values(kept, "m")
    assert logged == list(range(len(logged)))
    assert len(logged) >= 100
    assert journals(tmp_path) == []
