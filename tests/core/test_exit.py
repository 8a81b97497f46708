"""How a program ends is how its run ends, and by then everything is there."""

from __future__ import annotations

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
        # Who opens a run by hand and does not finish it has it ended by the end of the process. What
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


@pytest.mark.parametrize("pause", [0.001, 0.0])
def test_a_daemon_thread_that_still_logs_does_not_hold_the_exit_up(tmp_path: Path, pause: float) -> None:
    out = run(
        tmp_path,
        f"""
        many = threading.Event()
        def work():
            with autolog.run("r") as r:
                for n in range(1_000_000_000):
                    r.log({{"m": n}})
                    if n == 300: many.set()
                    time.sleep({pause})
        threading.Thread(target=work, daemon=True).start()
        many.wait(60)
        """,
        AUTOLOG_FINISH_TIMEOUT="1",
    )
    assert "Traceback" not in out
    run(tmp_path, "with autolog.run('next'): pass", AUTOLOG_FINISH_TIMEOUT="90")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    assert kept["config"]["status"] == "killed"
    assert values(kept, "m") == list(range(len(values(kept, "m"))))
    assert len(values(kept, "m")) > 300


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
