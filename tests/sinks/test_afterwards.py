"""After the program's end the rest goes on by itself, in a process that nobody waits for and nobody sees."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import autolog
from autolog.sinks.journal import Cursor
from autolog.sinks.takeover import take_over
from tests.programs import PRELUDE, environment, journals, read, run, values

PICTURE = """
from autolog.capture.figures import Chart
def picture(r, key):
    r.figure(key, Chart("confusion_matrix", "c", {"labels": ["x", "y"], "counts": [[5, 1], [2, 4]]}))
"""

# Ten runs with a picture and a file each; the program ends at once.
TEN = (
    PICTURE
    + """
file = os.path.join(os.environ["TRACKIO_DIR"], "file")
open(file, "w").close()
for n in range(10):
    with autolog.run(f"r{n}") as r:
        r.log({"m": n})
        picture(r, "c")
        r.artifact(file, "weights")
"""
)

PICTURES = 40
MANY = (
    PICTURE
    + f"""
with autolog.run("many") as r:
    r.log({{"m": 1}})
    for n in range({PICTURES}): picture(r, f"p/{{n}}")
"""
)

DETACHED = {"AUTOLOG_DETACH": "1", "AUTOLOG_FINISH_TIMEOUT": "20"}  # the seconds are for a busy disk


def until(condition: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)
    return found


def left_behind(directory: Path) -> list[psutil.Process]:
    """The processes that deliver what was left in this directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if "autolog.sinks.trackio.afterwards" not in " ".join(process.cmdline()):
                continue
            if process.environ().get("TRACKIO_DIR") == str(directory):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def nobody_is_left(tmp_path: Path) -> Iterator[None]:
    yield
    for process in left_behind(tmp_path):
        process.kill()


def all_there(directory: Path) -> bool:
    return journals(directory) == [] and not left_behind(directory)


def test_everything_arrives_after_the_program(tmp_path: Path) -> None:
    assert run(tmp_path, TEN, **DETACHED) == ""  # which is quiet
    until(lambda: all_there(tmp_path))
    kept = {r["name"]: r for r in read(tmp_path)}
    assert sorted(kept) == sorted(f"r{n}" for n in range(10))
    for n in range(10):
        one = kept[f"r{n}"]
        assert one["config"]["status"] == "finished"
        assert one["config"]["autolog/schema"] == 3
        assert "autolog/pending" not in one["config"]
        assert "autolog/lost" not in one["config"]
        assert values(one, "m") == [n]
        assert len(values(one, "c")) == len(one["artifacts"]["output"]) == 1


def test_what_goes_on_is_said_with_numbers(tmp_path: Path) -> None:
    out = run(tmp_path, TEN, AUTOLOG_QUIET="0", **DETACHED)
    told = "10 of 10 runs still need pictures or files; they go out in the background, or now: autolog sync"
    assert told in out


def test_what_has_all_arrived_leaves_no_process(tmp_path: Path) -> None:
    run(tmp_path, TEN + "assert autolog.finish()", **DETACHED | {"AUTOLOG_FINISH_TIMEOUT": "120"})
    assert left_behind(tmp_path) == []
    assert journals(tmp_path) == []


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc tells what a process holds")
def test_it_holds_nothing_of_the_programs(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    program = "os.chdir(sys.argv[1]); shutil.rmtree(sys.argv[1])\n" + MANY
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + "import shutil\n" + textwrap.dedent(program), str(folder)],
        env=environment(tmp_path, **DETACHED, AUTOLOG_WRITE_TOKEN="secret-token"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    out, _ = process.communicate(timeout=120)  # who reads its output sees the end of it
    assert process.returncode == 0, out
    (found,) = until(lambda: left_behind(tmp_path))
    assert found.cwd() == "/"
    assert os.getsid(found.pid) == found.pid
    assert found.nice() == psutil.Process().nice()
    until(lambda: {os.readlink(f"/proc/{found.pid}/fd/{fd}") for fd in (0, 1, 2)} == {os.devnull})
    assert "secret-token" not in " ".join(found.cmdline())
    drawer = until(lambda: [child for child in found.children() if "helper" in " ".join(child.cmdline())])[0]
    until(lambda: drawer.nice() > found.nice())
    until(lambda: all_there(tmp_path))
    (kept,) = read(tmp_path)
    assert sum(key.startswith("p/") for row in kept["logs"] for key in row) == PICTURES


def test_rows_and_status_do_not_wait_for_pictures(tmp_path: Path) -> None:
    run(tmp_path, MANY + 'with autolog.run("last") as r: r.log({"m": 2})', **DETACHED)
    read(tmp_path)

    def told() -> dict[str, Any]:
        kept = {r["name"]: r for r in read(tmp_path)}
        return kept if "last" in kept and kept["last"]["config"].get("status") else {}

    kept = until(told)
    assert kept["many"]["config"]["status"] == "finished"
    assert 0 < kept["many"]["config"]["autolog/pending"] <= PICTURES


@pytest.mark.long
def test_killed_it_leaves_the_journal_to_the_next_program(tmp_path: Path) -> None:
    run(tmp_path, MANY, **DETACHED)
    (journal,) = until(lambda: [path for path in journals(tmp_path) if Cursor.of(path).arrived])
    (found,) = left_behind(tmp_path)
    found.kill()
    found.wait(60)
    assert journal.exists()
    run(tmp_path, "assert autolog.finish()")
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert sorted(key for row in kept["logs"] for key in row if key.startswith("p/")) == sorted(
        f"p/{n}" for n in range(PICTURES)
    )
    assert "autolog/pending" not in kept["config"]
    assert journals(tmp_path) == []


@pytest.mark.long
def test_one_at_a_time_delivers_what_all_have_left(tmp_path: Path) -> None:
    run(tmp_path, MANY, **DETACHED)
    (first,) = until(lambda: left_behind(tmp_path))
    run(tmp_path, 'with autolog.run("second") as r: r.log({"m": 2})', **DETACHED)
    until(lambda: left_behind(tmp_path) in ([], [first]))
    until(lambda: all_there(tmp_path))
    assert {r["name"]: r["config"]["status"] for r in read(tmp_path)} == {
        "many": "finished",
        "second": "finished",
    }


ENDS = {
    "an exception": ("raise ValueError('his')", 1, "failed"),
    "Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(60)", -signal.SIGINT, "killed"),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", -signal.SIGTERM, "killed"),
}


@pytest.mark.parametrize(("end", "code", "status"), ENDS.values(), ids=ENDS)
def test_however_a_program_ends(tmp_path: Path, end: str, code: int, status: str) -> None:
    program = PICTURE + f'with autolog.run("r") as r:\n    r.log({{"m": 1}}); picture(r, "c")\n    {end}'
    run(tmp_path, program, code=code, **DETACHED)
    until(lambda: all_there(tmp_path))
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == status
    assert values(kept, "m") == [1]
    assert len(values(kept, "c")) == 1


def test_a_bound_ends_it(tmp_path: Path) -> None:
    run(tmp_path, MANY, **DETACHED, AUTOLOG_DETACH_TIMEOUT="0.5")
    until(lambda: not left_behind(tmp_path))
    assert len(journals(tmp_path)) == 1


@pytest.mark.slow
def test_without_it_the_exit_delivers_and_says_what_is_left(tmp_path: Path) -> None:
    out = run(tmp_path, MANY, AUTOLOG_DETACH="0", AUTOLOG_FINISH_TIMEOUT="1.5")
    assert left_behind(tmp_path) == []
    assert "1 of 1 runs still need" in out
    assert "they go out with the next run, or now: autolog sync" in out
    assert len(journals(tmp_path)) == 1

    done = subprocess.run(
        [sys.executable, "-m", "autolog", "sync"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert "everything has arrived" in done.stdout
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] == "finished"
    assert "autolog/pending" not in kept["config"]


@pytest.mark.long
def test_finish_says_the_truth_of_what_is_being_delivered_elsewhere(tmp_path: Path) -> None:
    run(tmp_path, MANY, **DETACHED)
    (found,) = until(lambda: left_behind(tmp_path))
    until(lambda: any(Cursor.of(path).arrived for path in journals(tmp_path)))
    found.suspend()
    told = "print(autolog.finish())"
    assert run(tmp_path, told, AUTOLOG_FINISH_TIMEOUT="1", AUTOLOG_DETACH="0").split()[0] == "False"
    found.resume()
    assert run(tmp_path, told).split() == ["True"]
    (kept,) = read(tmp_path)
    assert "autolog/pending" not in kept["config"]
    assert [len(values(kept, f"p/{n}")) for n in range(PICTURES)] == [1] * PICTURES
    until(lambda: all_there(tmp_path))  # whoever has delivered it has a journal, too, until it ends


def test_it_ends_when_another_autolog_is_installed(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    shutil.copytree(Path(autolog.__file__).parent, packages / "autolog", ignore=lambda *_: {"__pycache__"})
    run(tmp_path, MANY, **DETACHED, PYTHONPATH=str(packages))
    until(lambda: any(Cursor.of(path).arrived for path in journals(tmp_path)))
    assert left_behind(tmp_path)
    (packages / "autolog" / "__init__.py").write_text("another = True")
    until(lambda: not left_behind(tmp_path))
    assert len(journals(tmp_path)) == 1


def test_a_directory_that_is_deleted_meanwhile_ends_it(tmp_path: Path) -> None:
    directory = tmp_path / "trackio"
    run(directory, MANY, **DETACHED)
    until(lambda: any(Cursor.of(path).arrived for path in journals(directory)))
    shutil.rmtree(directory, ignore_errors=True)
    until(lambda: not left_behind(directory))


def test_children_by_spawn(tmp_path: Path) -> None:
    script = tmp_path / "script" / "spawning.py"  # Trackio's directory has a folder that is called autolog
    script.parent.mkdir()
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, autolog
            def work(n):
                with autolog.run(f"child-{n}") as r:
                    r.log({"m": n})
            if __name__ == "__main__":
                autolog.enable(log_code=False)
                context = multiprocessing.get_context("spawn")
                children = [context.Process(target=work, args=(n,)) for n in range(2)]
                for child in children: child.start()
                for child in children: child.join()
            """
        )
    )
    subprocess.run([sys.executable, str(script)], env=environment(tmp_path, **DETACHED), check=True)
    until(lambda: all_there(tmp_path))
    kept = {r["name"]: r for r in read(tmp_path)}
    assert [values(kept[f"child-{n}"], "m") for n in range(2)] == [[0], [1]]
    assert {r["config"]["status"] for r in kept.values()} == {"finished"}


def test_a_notebook_whose_kernel_is_shut_down(tmp_path: Path) -> None:
    manager_module = pytest.importorskip("jupyter_client", reason="jupyter_client is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    manager = manager_module.KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment(tmp_path, **DETACHED), stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    answer = client.execute_interactive(
        PRELUDE + PICTURE + 'r = autolog.run("r").__enter__(); r.log({"m": 1}); picture(r, "c")', timeout=60
    )
    assert answer["content"]["status"] == "ok"
    client.stop_channels()
    manager.shutdown_kernel()
    until(lambda: all_there(tmp_path))
    (kept,) = read(tmp_path)
    assert kept["config"]["status"] in ("finished", "killed")
    assert values(kept, "m") == [1]
    assert len(values(kept, "c")) == 1


def test_after_a_kill_the_next_program_leaves_it_to_one_as_well(tmp_path: Path) -> None:
    run(
        tmp_path,
        PICTURE
        + """
with autolog.run("killed") as r:
    r.log({"m": 1}); picture(r, "c")
    r._recording.sink.sync(60)
    os.kill(os.getpid(), signal.SIGKILL)
""",
        code=-signal.SIGKILL,
        **DETACHED,
    )
    assert left_behind(tmp_path) == []
    run(tmp_path, 'with autolog.run("next") as r: r.log({"m": 2})', **DETACHED)
    until(lambda: all_there(tmp_path))
    kept = {r["name"]: r for r in read(tmp_path)}
    assert kept["killed"]["config"]["status"] == "crashed"
    assert len(values(kept["killed"], "c")) == 1
    assert kept["next"]["config"]["status"] == "finished"


@pytest.mark.long
def test_whoever_goes_on_with_a_run_owns_what_it_says(tmp_path: Path) -> None:
    run(tmp_path, MANY, **DETACHED)
    (journal,) = until(lambda: [path for path in journals(tmp_path) if Cursor.of(path).arrived])
    (known,) = read(tmp_path)
    config = take_over(journal, known["id"], 60.0)
    assert config is not None
    assert config["status"] == "finished"
    with contextlib.closing(sqlite3.connect(tmp_path / "p.db")) as database, database:
        database.execute('UPDATE configs SET config = \'{"status": "running"}\'')
    until(lambda: all_there(tmp_path))
    (kept,) = read(tmp_path)
    assert kept["config"] == {"status": "running"}
    assert sum(key.startswith("p/") for row in kept["logs"] for key in row) == PICTURES


def test_what_lies_beside_the_script_is_not_imported(tmp_path: Path) -> None:
    """What the user has beside their script is theirs, whatever it is called."""
    folder = tmp_path / "script"  # Trackio's directory has a folder that is called autolog
    folder.mkdir()
    (folder / "matplotlib.py").write_text("open(__file__ + '.ran', 'w'); raise ImportError('of the user')")
    script = folder / "train.py"
    script.write_text(PRELUDE + TEN)
    subprocess.run([sys.executable, str(script)], env=environment(tmp_path, **DETACHED), check=True)
    until(lambda: all_there(tmp_path))
    kept = read(tmp_path)
    assert len(kept) == 10
    assert not any("autolog/lost" in one["config"] for one in kept)
    assert not (folder / "matplotlib.py.ran").exists()


def test_a_directory_that_is_given_from_where_the_program_is(tmp_path: Path) -> None:
    program = "import os; os.chdir(os.environ['HOME'])\n" + PRELUDE + TEN
    (tmp_path / "here").mkdir()
    variables = environment(tmp_path, **DETACHED)
    variables |= {"HOME": str(tmp_path), "TRACKIO_DIR": "here"}
    subprocess.run([sys.executable, "-c", program], env=variables, cwd="/", check=True)
    until(lambda: journals(tmp_path / "here") == [] and not left_behind(tmp_path / "here"))
    kept = read(tmp_path / "here")
    assert len(kept) == 10
    assert all(len(one["artifacts"]["output"]) == len(values(one, "c")) == 1 for one in kept)
    assert not any("autolog/lost" in one["config"] for one in kept)
