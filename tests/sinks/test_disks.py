"""Folders that cannot be written to or are deleted, and disks that are full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PRELUDE, UNTIL_SAID, environment, journals, read, run, values


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
    )
    assert "still here True" in out
    (kept,) = read(tmp_path / "trackio")
    assert values(kept, "m") == list(range(100))
    assert kept["config"]["x"] == 1
    assert kept["config"]["status"] == "finished"


FULL = (
    UNTIL_SAID
    + """
with autolog.run("r") as r:
    for n in range(100): r.log({"m": n})
    while not autolog.finish(): pass
    full(True)
    for n in range(100, 5_000): r.log({"m": n})
    assert said.wait(60)
    print("arrived:", autolog.finish(), flush=True)
    full(False)
    for n in range(5_000, 5_100): r.log({"m": n})
    end = time.monotonic() + 60
    while not autolog.finish() and time.monotonic() < end: time.sleep(0.1)
"""
)
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
