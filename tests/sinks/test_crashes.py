"""Programs that are killed or break: at most the last half second is lost, and nothing else."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from autolog.sinks import Record
from autolog.sinks.journal import FLUSH_SECONDS, Tail
from tests.programs import LOOP, ON_DISK, journals, read, run, start, until_on_disk, values

KILLS = int(os.environ.get("KILLS", "120"))  # by hand more
AT_ONCE = 6

LOGGING = """
with autolog.run({name!r}, config={{"x": 1}}) as r:
    print("ready", flush=True)
    for n in range(1_000_000):
        r.log({{"m": n}})
        if n % 50 == 0:
            r.table(f"t/{{n}}", [{{"n": n}}])
            r.params({{"last": n}}, prefix="")
            print(n, time.time(), flush=True)
        time.sleep(0.002)
"""


def killed(directory: Path, program: str, seconds: float, rows: int = 0) -> tuple[int, list[Record]]:
    """Start a program, kill it so long after so many rows were on disk: its pid, and what was there then."""
    process = start(directory, program)
    assert process.stdout is not None
    process.stdout.readline()
    end = time.monotonic() + 120
    while len(rows_of(on_disk(directory, process.pid))) < rows:
        assert time.monotonic() < end, "it does not come to be written"
        time.sleep(0.01)
    time.sleep(seconds)
    found = on_disk(directory, process.pid)  # while it lives, nobody else takes its journal
    process.kill()
    process.communicate()
    return process.pid, found


def on_disk(directory: Path, pid: int) -> list[Record]:
    """What stands in a program's journal."""
    of_it = [path for path in journals(directory) if f"-{pid}-" in path.name]
    return [record for path in of_it for record in Tail(path).read()]


def rows_of(records: list[Record]) -> list[int]:
    """The values of the metric that all programs here log."""
    rows = [record["values"] for record in records if record["kind"] == "row"]
    return [row["m"] for row in rows if "m" in row]


def deliver_what_is_left(directory: Path) -> str:
    return run(
        directory,
        """
        from autolog.sinks import delivery
        delivery.HALF_MADE_SECONDS = 0.0
        with autolog.run("next"): pass
        assert autolog.finish() and autolog.finish()
        """,
        AUTOLOG_FINISH_TIMEOUT="140",
    )


@pytest.mark.exhaustive
def test_kill_at_random_moments(tmp_path: Path) -> None:
    moments = random.Random(0)
    safe: dict[str, list[Record]] = {}

    def kill(number: int, seconds: float) -> None:
        name = f"run-{number}"
        rows = 1 if number % 2 else 0  # each second one before anything has to be there
        _, safe[name] = killed(tmp_path, LOGGING.format(name=name), seconds, rows)

    with ThreadPoolExecutor(AT_ONCE) as several:
        list(several.map(kill, range(KILLS), [moments.uniform(0.0, 1.6) for _ in range(KILLS)]))

    deliver_what_is_left(tmp_path)
    kept = {r["name"]: r for r in read(tmp_path)}
    for name, written in safe.items():
        if name not in kept:
            opened = [record for record in written if record["kind"] == "open"]
            assert not opened, "only one that had no time to write anything may be missing"
            continue
        logged = values(kept[name], "m")
        assert logged == list(range(len(logged))), "nothing doubled, nothing missing in between"
        assert logged[: len(rows_of(written))] == rows_of(written)
        assert kept[name]["config"]["status"] == "crashed"
        assert kept[name]["config"].get("x", 1) == 1
        assert len(kept[name]["alerts"]) == 1
    assert sum(bool(rows_of(written)) for written in safe.values()) >= KILLS // 3, (
        "the moments were too early to say anything"
    )
    assert journals(tmp_path) == []


# Half a second of records of every kind, which take some seconds to deliver.
DELIVERING = """
from autolog.capture.figures import Chart
from pathlib import Path
line = {{"name": "s", "x": [0, 1], "y": [0, 1]}}
chart = Chart("curve", "t", {{"series": [line], "x_label": "x", "y_label": "y"}})
file = Path({file!r})
print("ready", flush=True)
with autolog.run({name!r}, config={{"x": 1}}) as r:
    for n in range(30):
        for m in range(50): r.log({{"m": 50 * n + m}})
        r.figure(f"f/{{n}}", chart)
        r.table(f"t/{{n}}", [{{"n": n}}])
        r.alert(f"a{{n}}")
        file.write_text(f"{name} {{n}}")
        r.artifact(file, f"{name}-{{n}}")
        file.unlink()
        time.sleep(0.01)
    time.sleep(60)
"""


@pytest.mark.exhaustive
def test_kill_while_much_is_delivered(tmp_path: Path) -> None:
    """A slot has a directory of its own, so that what a process had journaled can be read once it is dead."""
    moments = random.Random(1)
    written: dict[str, list[Record]] = {}

    def slot(number: int) -> str:
        directory = tmp_path / f"slot-{number}"
        directory.mkdir()
        for turn in range(KILLS // 6 // AT_ONCE):
            name = f"run-{number}-{turn}"
            program = DELIVERING.format(name=name, file=str(directory / "file"))
            pid, _ = killed(directory, program, moments.uniform(0.1, 3.0))
            left = [path for path in journals(directory) if f"-{pid}-" in path.name]
            written[name] = [record for path in left for record in Tail(path).read()]
        return deliver_what_is_left(directory)

    with ThreadPoolExecutor(AT_ONCE) as several:
        told = list(several.map(slot, range(AT_ONCE)))

    for number in range(AT_ONCE):
        directory = tmp_path / f"slot-{number}"
        kept = {r["name"]: r for r in read(directory)}
        for name, records in written.items():
            if name.startswith(f"run-{number}-") and records[1:]:
                assert_all_that_was_written(kept[name], records)
        assert_files(directory, list(kept.values()))
        assert journals(directory) == []
    assert sum(len(records) for records in written.values()) > 1_000
    assert "cannot be" not in "".join(told)


POINTS = {
    "a picture is there, its row is not": "Local.picture",
    "rows are there": "Local.rows",
    "alerts are there": "Local.alerts",
    "an artifact is there": "Local.artifact",
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS)
def test_kill_between_two_steps_of_a_delivery(tmp_path: Path, point: str) -> None:
    program = f"""
    from autolog.capture.figures import Chart
    from autolog.sinks import helper
    from autolog.sinks.trackio.local import Local
    helper._start = lambda *asked: None  # delivered in this process
    from pathlib import Path
    def then_die(original):
        def call(*args):
            original(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        return call
    {point} = then_die({point})
    file = Path({str(tmp_path / "file")!r})
    line = {{"name": "s", "x": [0, 1], "y": [0, 1]}}
    with autolog.run("r", config={{"x": 1}}) as r:
        r.log({{"m": 0}})
        r.figure("f/0", Chart("curve", "t", {{"series": [line], "x_label": "x", "y_label": "y"}}))
        r.alert("a")
        file.write_text("weights")
        r.artifact(file, "weights")
        file.unlink()
        time.sleep(60)
    """
    run(tmp_path, program, code=-signal.SIGKILL)
    (journal,) = journals(tmp_path)
    records = Tail(journal).read()
    out = deliver_what_is_left(tmp_path)
    kept = {r["name"]: r for r in read(tmp_path)}
    assert_all_that_was_written(kept["r"], records)
    assert_files(tmp_path, list(kept.values()))
    assert "cannot be" not in out


def assert_all_that_was_written(kept: dict[str, Any], records: list[Record]) -> None:
    rows = [record["values"] for record in records if record["kind"] == "row"]
    for key in ("m", *(f"t/{n}" for n in range(30))):
        assert len(values(kept, key)) == sum(key in row for row in rows), key
    assert values(kept, "m") == [row["m"] for row in rows if "m" in row]
    charts = [record["key"] for record in records if record["kind"] == "chart"]
    assert [key for row in kept["logs"] for key in row if key.startswith("f/")] == charts
    alerts = [record["title"] for record in records if record["kind"] == "alert"]
    assert sorted(alert["title"] for alert in kept["alerts"]) == sorted([*alerts, f"{kept['name']} crashed"])
    artifacts = [record["name"] for record in records if record["kind"] == "artifact"]
    assert sorted(artifact["name"] for artifact in kept["artifacts"]["output"]) == sorted(artifacts)
    assert kept["config"]["status"] == "crashed"
    assert "autolog/lost" not in kept["config"]


def assert_files(directory: Path, kept: list[dict[str, Any]]) -> None:
    """Every picture has its file and every file its picture; one version per artifact; nothing staged."""
    media = directory / "media"
    pictures = {
        value["file_path"]
        for one in kept
        for row in one["logs"]
        for value in row.values()
        if isinstance(value, dict) and "file_path" in value
    }
    assert {str(path.relative_to(media)) for path in media.rglob("*") if path.is_file()} == pictures
    assert all("<svg" in (media / path).read_text() for path in pictures)
    with contextlib.closing(sqlite3.connect(directory / "p.db")) as database, database:
        versions = database.execute(
            "SELECT artifact_id, count(*) FROM artifact_versions GROUP BY 1"
        ).fetchall()
    assert [count for _, count in versions] == [1] * len(versions)
    assert [path for path in (directory / "autolog-data" / "files").rglob("*") if path.is_file()] == []


def test_sigkill_loses_at_most_half_a_second_and_the_next_start_marks_the_run(tmp_path: Path) -> None:
    assert FLUSH_SECONDS < 0.5  # and the rest of this test is about what that has written
    pid, _ = killed(tmp_path, LOOP, seconds=0.5, rows=500)
    (journal,) = journals(tmp_path)
    assert f"-{pid}-" in journal.name
    written = rows_of(Tail(journal).read())
    assert len(written) >= 500

    run(tmp_path, 'with autolog.run("next"): pass')
    crashed, after = read(tmp_path)
    assert (crashed["name"], after["name"]) == ("loop", "next")
    assert crashed["config"]["status"] == "crashed"
    assert crashed["alerts"][0]["title"] == "loop crashed"
    logged = values(crashed, "m")
    assert logged == list(range(len(logged))), "nothing doubled, nothing missing in between"
    assert logged == written
    assert journals(tmp_path) == []


def can_be_written(directory: Path) -> bool:
    """Whether nobody is writing to the database."""
    try:
        with contextlib.closing(sqlite3.connect(directory / "p.db", timeout=0)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    except sqlite3.OperationalError:
        return False
    return True


@pytest.mark.slow
def test_what_a_killed_program_had_asked_for_is_not_written_over_what_was_said_since(tmp_path: Path) -> None:
    process = start(tmp_path, LOOP.replace('r.log({"m": n})', 'r.log({"m": n}); r.params({"last": n})'))
    assert process.stdout is not None
    process.stdout.readline()
    end = time.monotonic() + 60
    while not any("status" in r["config"] for r in read(tmp_path)):
        assert time.monotonic() < end, "it does not come to be written"
        time.sleep(0.05)
    (helper,) = psutil.Process(process.pid).children()
    helper.suspend()
    while not can_be_written(tmp_path):  # in the middle of a write it would hold the database for ever
        helper.resume()
        time.sleep(0.01)
        helper.suspend()
    time.sleep(1.0)  # meanwhile it is asked for more, which it finds when it goes on
    process.kill()
    process.communicate()
    deliver_what_is_left(tmp_path)
    helper.resume()
    psutil.wait_procs([helper])
    (loop,) = (r for r in read(tmp_path) if r["name"] == "loop")
    assert loop["config"]["status"] == "crashed"


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


NO_LOCKS = """
import fcntl
fcntl.flock = lambda *args: None  # as on a network's disk where a lock is granted to everybody
"""


@pytest.mark.parametrize("locks", ["", NO_LOCKS], ids=["locks", "no locks"])
def test_of_a_suspended_process_is_said_what_is_known_and_taken_back(tmp_path: Path, locks: str) -> None:
    """Its journal looks hours old, as after a laptop's sleep, or a clock that jumped."""
    go = tmp_path / "go"
    program = f"""
with autolog.run("loop") as r:
    for n in range(200):
        r.log({{"m": n}})
        while n == 100 and not os.path.exists({str(go)!r}): time.sleep(0.01)
"""
    process = start(tmp_path, locks + program)
    until_on_disk(tmp_path, '"m":100}')
    psutil.Process(process.pid).suspend()
    (journal,) = journals(tmp_path)
    long_ago = time.time() - 7200
    os.utime(journal, (long_ago, long_ago))

    run(tmp_path, locks + 'with autolog.run("next"): pass\nautolog.finish()')
    kept = {one["name"]: one for one in read(tmp_path)}
    assert kept["next"]["config"]["status"] == "finished"
    if locks:  # whoever comes later has its records, and cannot know more
        assert kept["loop"]["config"]["status"] == "running"
        assert kept["loop"]["config"]["autolog/notes"]["process"].startswith("no sign of it from host")
        assert values(kept["loop"], "m") == list(range(101))
    else:
        assert kept.get("loop", {"alerts": []})["alerts"] == []

    go.touch()
    psutil.Process(process.pid).resume()
    process.communicate(timeout=120)
    loop = {one["name"]: one for one in read(tmp_path)}["loop"]
    assert loop["config"]["status"] == "finished"
    assert "process" not in loop["config"].get("autolog/notes", {})
    assert loop["alerts"] == []
    assert values(loop, "m") == list(range(200))


def test_os_exit_is_a_crash_that_keeps_what_was_written(tmp_path: Path) -> None:
    program = """
    r = autolog.run("r").__enter__(); r.log({"m": 1})
    while not on_disk(): time.sleep(0.01)
    os._exit(0)
    """
    run(tmp_path, ON_DISK + textwrap.dedent(program))
    run(tmp_path, 'with autolog.run("next"): pass')
    kept = {r["name"]: r for r in read(tmp_path)}
    assert kept["r"]["config"]["status"] == "crashed"
    assert values(kept["r"], "m") == [1]


@pytest.mark.parametrize("end", ["os.abort()", "ctypes.string_at(0)"])
def test_a_fault_of_the_interpreter_is_a_crash_that_keeps_what_was_written(tmp_path: Path, end: str) -> None:
    program = f"""
    import ctypes, faulthandler
    faulthandler.enable()
    with autolog.run("r") as r:
        for n in range(1_000): r.log({{"m": n}})
        while on_disk() < 1_000: time.sleep(0.01)
        {end}
    """
    process = start(tmp_path, ON_DISK + textwrap.dedent(program))
    _, err = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGABRT, -signal.SIGSEGV)
    assert "Fatal Python error" in err
    run(tmp_path, "with autolog.run('next'): pass")
    kept = next(r for r in read(tmp_path) if r["name"] == "r")
    assert kept["config"]["status"] == "crashed"
    assert values(kept, "m") == list(range(1_000))
