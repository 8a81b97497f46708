"""Processes that are forked or spawned while a run is open, by hand and in pools."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from tests.programs import journals, read, run, values


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
def test_a_child_that_is_forked_before_anything_is_recorded_writes_at_once(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        autolog.enable(quiet=True)
        pid = os.fork()
        if pid == 0:
            r = autolog.run("r").__enter__()
            for n in range(3): r.log({"m": n})
            os._exit(0)
        os.waitpid(pid, 0)
        print(autolog.finish())
        """,
    )
    assert out.strip() == "True"
    (kept,) = read(tmp_path)
    assert values(kept, "m") == [0, 1, 2]


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


FORK = """
import warnings
warnings.simplefilter("always")
def fork():
    with warnings.catch_warnings(record=True) as told:
        pid = os.fork()
        if not pid: os._exit(0)
        os.waitpid(pid, 0)
    return [str(one.message)[:30] for one in told]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_is_warned_of_as_it_would_be_without_us(tmp_path: Path) -> None:
    """Since Python 3.12: beside threads of the user's, and not beside ours."""
    users = """
    done = threading.Event()
    thread = threading.Thread(target=done.wait, daemon=True)
    thread.start()
    print("user", len(fork()))
    done.set(); thread.join(); time.sleep(0.2)
    """
    opened = "r = autolog.run('r').__enter__(); r.log({'a': 1})\n"
    told = "print('ours', len(fork()))\n" + textwrap.dedent(users) + "print('again', len(fork()))"
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    assert run(tmp_path, FORK + opened + told, **threads) == run(tmp_path, FORK + told, **threads)
