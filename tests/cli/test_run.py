"""`autolog run`: a program is recorded without a line of code, and is otherwise as it is without us."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import autolog
import autolog.bootstrap
from autolog.cli import main
from tests.programs import TORCHRUN, environment

SCRIPT = """
import sys
print(sys.argv, __name__, __file__, [p for p in sys.path if "bootstrap" in p])
print("to stderr", file=sys.stderr)
from sklearn.linear_model import LogisticRegression
X = [[float(n), n * n % 7.0] for n in range(40)]; y = [n > 19 for n in range(40)]
LogisticRegression().fit(X[::2], y[::2]).score(X[1::2], y[1::2])
def work(C):
    LogisticRegression(C=C).fit(X, y)
if __name__ == "__main__":
    import multiprocessing
    child = multiprocessing.get_context("spawn").Process(target=work, args=(0.25,))
    child.start(); child.join()
    raise ZeroDivisionError("as it was")
"""


def started(directory: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The program by ``autolog run``; what autolog says is in ``log``."""
    return subprocess.run(
        [sys.executable, "-m", "autolog", "run", "--log", str(directory / "log"), *command],
        env={**environment(directory / "trackio", **variables), "AUTOLOG_QUIET": "0"},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def log_of(directory: Path) -> str:
    return (directory / "log").read_text()


@pytest.mark.slow
def test_a_program_is_recorded_and_otherwise_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    plain = subprocess.run(
        [sys.executable, "script.py", "--lr", "0.1"],
        env=environment(tmp_path / "trackio"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    recorded = started(tmp_path, "--project", "by-run", "--tags", "a,b", "--", "script.py", "--lr", "0.1")
    assert recorded.returncode == plain.returncode == 1
    assert recorded.stdout == plain.stdout
    assert recorded.stderr == plain.stderr
    runs = autolog.runs("by-run", at=tmp_path / "trackio")
    assert len(runs) == 3  # the spawned child imports the script anew, and trains what stands in it
    assert {run.params_set.get("C") for run in runs} >= {0.25}
    assert all(run.tags == ["a", "b"] for run in runs)
    assert "finished in" in log_of(tmp_path)


@pytest.mark.slow
def test_a_module_and_any_program_that_starts_python_are_recorded(tmp_path: Path) -> None:
    (tmp_path / "mod.py").write_text("import sklearn.base; print('module', __name__)")
    done = started(tmp_path, "--framework", "sklearn", "-m", "mod")
    assert (done.stdout, done.returncode) == ("module __main__\n", 0)
    assert "autolog: recording sklearn into project p" in log_of(tmp_path)
    done = started(tmp_path, "sh", "-c", f"{sys.executable} -m mod; exit 7")
    assert (done.stdout, done.returncode) == ("module __main__\n", 7)
    assert log_of(tmp_path).count("autolog: recording") == 2


def test_the_users_own_sitecustomize_is_called_and_ours_is_no_part_of_the_path(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.theirs = True")
    paths = os.pathsep.join([str(tmp_path), str(Path(autolog.__file__).parents[1])])
    code = "import sys, sitecustomize; print(sys.theirs, sitecustomize.__file__)"
    done = started(tmp_path, "-c", code, PYTHONPATH=paths)
    assert done.stdout.startswith(f"True {tmp_path / 'sitecustomize.py'}"), done.stderr
    (tmp_path / "sitecustomize.py").write_text("raise RuntimeError('theirs')")
    done = started(tmp_path, "-c", "import sklearn.base; print('goes on')", PYTHONPATH=paths)
    assert done.stdout == "goes on\n"
    assert "Error in sitecustomize" in done.stderr
    assert "autolog: recording" in log_of(tmp_path)


@pytest.mark.slow
def test_where_nothing_was_recorded_one_line_says_why(tmp_path: Path) -> None:
    assert started(tmp_path, "-c", "print(1)").stdout == "1\n"
    assert "nothing was recorded: the program has trained with none of sklearn" in log_of(tmp_path)
    (tmp_path / "log").unlink()
    started(tmp_path, "-f", "sklearn", "-c", "import sklearn.linear_model")
    assert log_of(tmp_path).endswith("the program has trained with none of sklearn\n")
    code = "import sys; sys.version_info = (3, 8, 1); import sklearn.base; print('goes on')"
    assert started(tmp_path, "-c", code).stdout == "goes on\n"
    assert "not recorded: " in log_of(tmp_path)
    assert "autolog needs Python 3.11 or newer" in log_of(tmp_path)
    code = "import sys; sys.modules['autolog'] = None; import sklearn.base; print('goes on')"
    assert started(tmp_path, "-c", code).stdout == "goes on\n"
    assert "import of autolog halted" in log_of(tmp_path)
    done = started(tmp_path, "-c", "import sklearn.base; print('goes on')", AUTOLOG_NO_SUCH="1")
    assert done.stdout == "goes on\n"
    assert "AUTOLOG_NO_SUCH" in log_of(tmp_path)


def test_it_ends_as_the_program_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in signal.SIGTERM, signal.SIGKILL:
        done = started(tmp_path, "-c", f"import os; os.kill(os.getpid(), {int(number)})")
        assert done.returncode == -number
    code = "print('ready', flush=True); import time; time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-m", "autolog", "run", "-c", code],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    process.stdout.close()
    assert main(["run", "--", "no-such-program"]) == 127
    assert "there is no program 'no-such-program'" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        main(["run", "--framework", "nope", "x.py"])
    assert "invalid choice: 'nope'" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_a_signal_that_the_program_waits_for_reaches_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "script.py").write_text(
        f"import signal, sys, time\nsignal.signal(signal.{name}, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "autolog", "run", str(tmp_path / "script.py")],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(getattr(signal, name))
        assert process.wait(60) == 5


def test_what_lies_open_for_the_program_stays_open(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import sys\nprint(open(sys.argv[1]).read())")
    begun = [sys.executable, "-m", "autolog", "run", "script.py"]
    done = subprocess.run(  # a shell's way to give a program what another one writes
        ["bash", "-c", '"$@" <(echo "from another program")', "-", *begun],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.stdout == "from another program\n\n", done.stderr


def test_on_a_terminal_what_it_says_comes_after_the_program(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    heard: list[bytes] = []

    def listen() -> None:
        try:
            while part := os.read(ours, 4096):
                heard.append(part)
        except OSError:
            pass

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    code = "import sys, sklearn.base; print('theirs', file=sys.stderr)"
    command = [sys.executable, "-m", "autolog", "run", "-c", code]
    with open(theirs, "wb") as terminal:
        done = subprocess.run(
            command, env={**environment(tmp_path), "AUTOLOG_QUIET": "0"}, stderr=terminal, check=False
        )
    assert done.returncode == 0
    thread.join(30)
    os.close(ours)
    first, second = b"".join(heard).decode().splitlines()[:2]
    assert first == "theirs"
    assert second.startswith("autolog: recording")


@pytest.mark.long
def test_all_ranks_of_torchrun_are_started_with_it_and_the_first_records(tmp_path: Path) -> None:
    (tmp_path / "ranks.py").write_text(
        "import os; from sklearn.linear_model import LogisticRegression\n"
        "LogisticRegression(C=0.5).fit([[0.0], [1.0]] * 9, [0, 1] * 9)\n"
        "print('rank', os.environ['RANK'], flush=True)\n"
    )
    done = started(tmp_path, "-m", *TORCHRUN, "ranks.py")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == ["0", "1", "rank", "rank"]
    (run,) = autolog.runs("p", at=tmp_path / "trackio")
    assert run.params_set == {"C": 0.5}


def test_the_bootstrap_is_read_by_any_python_3() -> None:
    """As far as they are installed here; and it holds none of what came after 3.6."""
    file = Path(autolog.bootstrap.__file__).with_name("sitecustomize.py")
    compile(file.read_text(), str(file), "exec", dont_inherit=True)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    code = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
    for python in sorted(versions.glob("3.*/bin/python")):
        subprocess.run([str(python), "-c", code, str(file)], check=True)
    assert "f'" not in file.read_text()
    assert 'f"' not in file.read_text()
