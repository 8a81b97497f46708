"""Exits, crashes, signals and forks, with real programs and the real Trackio."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.programs import journals, read, run, start, values


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
            r.alert("odd"); r.system({"cpu/utilization": 5.0})
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
        from autolog.core.ownership import open_run
        runs = [open_run(f"r{n}", config={"n": n}) for n in range(6)]
        for r in runs: r._end("finished")
        assert autolog.finish()
        states = autolog.core.ending._sink._all()[0]._runs.values()
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
