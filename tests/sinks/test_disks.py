"""Folders that cannot be written to or are deleted, and disks that are full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PRELUDE, UNTIL_SAID, environment, journals, read, run, values

USES_A_RUN = """
file = __import__("pathlib").Path(os.environ["TRACKIO_DIR"]).parent / "weights"
file.write_text("0")
with autolog.run("r", config={"a": 1}, tags=["t"]) as r:
    r.log({"m": 1, "text": "x", "object": object()})
    r.params({"a": 1}); r.table("t", [{"a": 1}]); r.alert("odd"); r.tag("b"); r.artifact(file)
    with r.child("below") as below: below.log({"m": 1})
    assert autolog.current_run() is r and below.parent is r
print(r.status, r.url, "finished:", autolog.finish())
"""
FITS = """
autolog.enable()
from sklearn.linear_model import LinearRegression
for _ in range(3):
    print(LinearRegression().fit([[0.], [1.]], [0., 1.]).coef_)
print("finished:", autolog.finish())
"""


def assert_it_was_said(out: str, directory: Path, why: str) -> None:
    """Once: which directory, why, and how to mend it."""
    (line,) = [line for line in out.splitlines() if line.startswith("autolog: ")]
    assert f"nothing is recorded, since {directory} cannot be written ({why})" in line
    assert line.endswith("Make that folder writable, or set TRACKIO_DIR to one that is.")
    assert "Traceback" not in out
    assert "finished: False" in out


def test_a_directory_that_cannot_be_made_stops_no_run(tmp_path: Path) -> None:
    directory = tmp_path / "file"
    directory.write_text("in the way")
    out = run(directory, USES_A_RUN)
    assert_it_was_said(out, directory, "Not a directory")
    assert "finished None" in out


def test_a_directory_that_cannot_be_made_stops_no_training(tmp_path: Path) -> None:
    directory = tmp_path / "file"
    directory.write_text("in the way")
    out = run(directory, FITS)
    assert_it_was_said(out, directory, "Not a directory")
    assert out.count("[1.]") == 3


def test_a_fork_that_cannot_write_goes_on(tmp_path: Path) -> None:
    out = run(
        tmp_path / "trackio",
        AS_A_USER
        + """
with autolog.run("r") as r:
    r.log({"m": 1})
    assert autolog.finish()
    writable(False)
    child = os.fork()
    if not child:
        r.log({"m": 2})
        r.log({"m": 3})
        print("child goes on", flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writable(True)
""",
    )
    assert "child goes on" in out
    assert out.count("nothing is recorded") == 1
    (kept,) = read(tmp_path / "trackio")
    assert values(kept, "m") == [1]


def test_a_sink_of_the_users_own_that_cannot_write_stops_no_run(tmp_path: Path) -> None:
    out = run(
        tmp_path,
        """
        class Full(autolog.sinks.Sink):
            def write(self, record): raise OSError(28, "No space left on device")
            def stage(self, run_id): ...
            def sync(self, timeout): return True
            def deliver(self, timeout): return True
        autolog.enable(sink=Full())
        with autolog.run("r") as r: r.log({"m": 1})
        print("finished:", autolog.finish())
        """,
    )
    assert out.count("nothing is recorded, since the sink Full cannot be written (No space left") == 1
    assert "finished: False" in out


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


@pytest.mark.parametrize("program", [USES_A_RUN, FITS])
def test_a_read_only_directory_stops_neither(tmp_path: Path, program: str) -> None:
    out = run(tmp_path / "trackio", f"{AS_A_USER}\nwritable(False)\n{program}")
    assert_it_was_said(out, tmp_path / "trackio", "Permission denied")


def test_what_is_left_in_a_read_only_directory_has_not_arrived(tmp_path: Path) -> None:
    left = """
with autolog.run("left") as r: r.log({"m": 1})
os.kill(os.getpid(), signal.SIGKILL)
"""
    run(tmp_path / "trackio", left, code=-9)
    program = AS_A_USER.replace("here.mkdir()", "") + "writable(False)\nprint('finished:', autolog.finish())"
    out = run(tmp_path / "trackio", program)
    assert_it_was_said(out, tmp_path / "trackio", "Permission denied")


def test_what_is_opened_after_the_directory_was_mended_is_recorded(tmp_path: Path) -> None:
    program = """
writable(False)
with autolog.run("lost") as r: r.log({"m": 1})
writable(True)
with autolog.run("kept") as r: r.log({"m": 2})
print("finished:", autolog.finish())
"""
    out = run(tmp_path / "trackio", AS_A_USER + program)
    assert_it_was_said(out, tmp_path / "trackio", "Permission denied")
    assert [kept["name"] for kept in read(tmp_path / "trackio")] == ["kept"]


@pytest.mark.slow
@pytest.mark.parametrize("back", [True, False])
def test_a_directory_that_becomes_read_only_stops_nothing(tmp_path: Path, back: bool) -> None:
    program = f"""
with autolog.run("r") as r:
    for n in range(100): r.log({{"m": n}})
    writable(False)
    for n in range(100, 200): r.log({{"m": n}})
    r.params({{"prompt": "word " * 1_000}})
    r.artifact(sys.executable, "python", reference=False)
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


@pytest.mark.slow
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
