"""What is printed of runs: where they lie, and each one's result; in real programs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.programs import PRELUDE, environment, free_port, run

FITS = """
import numpy as np
autolog.enable(*sys.argv[1:])
from sklearn.linear_model import LogisticRegression
X = np.arange(40.0)[:, None]; y = (X[:, 0] > 19).astype(int)
for C in 0.5, 2.0:
    model = LogisticRegression(C=C).fit(X, y)
    model.score(X[::2] + 0.5, y[::2])
"""


def told(directory: Path, program: str, **variables: str) -> list[str]:
    variables = {"AUTOLOG_QUIET": "0", "GRADIO_SERVER_PORT": str(free_port()), **variables}
    return [line for line in run(directory, program, **variables).splitlines() if line.startswith("autolog:")]


@pytest.mark.slow
def test_each_run_is_a_line_with_its_result_and_one_says_where_they_lie(tmp_path: Path) -> None:
    where, first, second = told(tmp_path, FITS)
    assert re.fullmatch(r"autolog: recording .*sklearn.* into project p in .*", where)
    assert where.endswith(str(tmp_path))
    for line, name in (first, "LogReg C=.5"), (second, "LogReg C=2"):
        pattern = rf"autolog: {re.escape(name)} ·\w{{4}} finished in [\d.]+ s: val/accuracy 1, .*"
        assert re.fullmatch(pattern, line)
        assert line.endswith(" · trackio show --project p")


def test_the_project_is_named_that_nobody_has_named(tmp_path: Path) -> None:
    program = """
    folder = os.path.join(os.environ["TRACKIO_DIR"], "churn")
    os.makedirs(os.path.join(folder, ".git"))
    os.chdir(folder)
    autolog.enable("sklearn")
    assert "autolog.capture.origin.program" not in sys.modules  # which takes longer than enable() may
    with autolog.run("r"): pass
    """
    where, line = told(tmp_path, program, AUTOLOG_PROJECT="")
    assert where == f"autolog: recording sklearn into project churn in {tmp_path}"
    assert line.endswith("trackio show --project churn")


@pytest.mark.slow
def test_quiet_is_quiet(tmp_path: Path) -> None:
    assert told(tmp_path, FITS, AUTOLOG_QUIET="1") == []


def test_of_children_nothing_is_said(tmp_path: Path) -> None:
    where, line = told(
        tmp_path, 'with autolog.run("r") as r:\n    with r.child("c"): r.log({"val/loss": 0.25})'
    )
    assert where == f"autolog: recording into project p in {tmp_path}"
    assert re.fullmatch(r"autolog: r finished in [\d.]+ s: val/loss 0.25 · trackio show --project p", line)


def test_the_result_is_of_the_set_that_the_user_judges_by(tmp_path: Path) -> None:
    program = """
    with autolog.run("r") as r:
        r.log({"val/accuracy": 0.5})
        with autolog.evaluation("holdout", main=True): autolog.log_evaluation([0, 1], [0, 1])
    """
    *_, line = told(tmp_path, program)
    assert ": holdout/accuracy 1, " in line


def test_a_failure_is_told_with_what_was_reached(tmp_path: Path) -> None:
    program = 'with autolog.run("r") as r:\n    r.log({"val/loss": 0.5})\n    raise SystemExit(3)'
    out = run(tmp_path, program, code=3, AUTOLOG_QUIET="0")
    assert re.search(r"autolog: r failed in [\d.]+ s: val/loss 0.5 ·", out)


def test_where_a_dashboard_answers_the_link_is_told_at_once(tmp_path: Path) -> None:
    program = """
    import socket
    listening = socket.create_server(("127.0.0.1", int(os.environ["GRADIO_SERVER_PORT"])))
    with autolog.run("r") as r: print("mine", flush=True)
    """
    port = str(free_port())
    link, line = told(tmp_path, program, GRADIO_SERVER_PORT=port)
    assert link.startswith(
        f"autolog: r in project p -> http://127.0.0.1:{port}/run?project=p&selected_run_id="
    )
    assert line.startswith("autolog: r finished in ")


def test_what_is_not_installed_is_said(tmp_path: Path) -> None:
    program = """
    from autolog.core import telling
    telling.recording({"keras": False, "optuna": False}, autolog.Settings())
    """
    (line,) = told(tmp_path, program)
    assert line == "autolog: nothing is recorded by itself: none of keras, optuna is installed"


# Notebooks -------------------------------------------------------------------------------------------

FIRST_CELL = (
    PRELUDE
    + """
autolog.enable("sklearn", log_code=False, project='<b>a & "b"')
import numpy as np
from sklearn.linear_model import LogisticRegression
X = np.arange(40.0)[:, None]; y = (X[:, 0] > 19).astype(int)
"""
)


class Kernel:
    """A real kernel, and what the page shows of it: the displays of each cell, as they stand now."""

    def __init__(self, directory: Path, **variables: str):
        manager_module = pytest.importorskip(
            "jupyter_client.manager", reason="jupyter_client is not installed"
        )
        variables = {"AUTOLOG_QUIET": "0", "GRADIO_SERVER_PORT": str(free_port()), **variables}
        place = environment(directory, IPYTHONDIR=str(directory / "ipython"), **variables)
        self._manager, self._client = manager_module.start_new_kernel(kernel_name="python3", env=place)
        self.displays: dict[str, dict[str, str]] = {}
        self.stderr = ""

    def run(self, cell: str) -> list[str]:
        """Execute it; returns the ids of what it has displayed."""
        made: list[str] = []

        def take(message: dict[str, Any]) -> None:
            content, kind = message["content"], message["msg_type"]
            if kind in ("display_data", "update_display_data"):
                name = content["transient"]["display_id"]
                assert (name in self.displays) == (kind == "update_display_data")
                made.extend([name] if name not in self.displays else [])
                self.displays[name] = content["data"]
            elif kind == "stream" and content["name"] == "stderr":
                self.stderr += content["text"]

        answer = self._client.execute_interactive(cell, timeout=120, output_hook=take)
        assert answer["content"]["status"] == "ok" or "meant" in answer["content"]["evalue"], answer[
            "content"
        ]
        return made

    def text(self, name: str) -> list[str]:
        return self.displays[name]["text/plain"].splitlines()

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.mark.slow
def test_in_a_notebook_each_cell_has_one_quiet_display(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    try:
        (where,) = kernel.run(FIRST_CELL)
        assert kernel.text(where) == [f'autolog: recording sklearn into project <b>a & "b" in {tmp_path}']
        assert "<b>a" not in kernel.displays[where]["text/html"]
        assert "&lt;b&gt;a &amp; &quot;b&quot;" in kernel.displays[where]["text/html"]

        (fitted,) = kernel.run("model = LogisticRegression().fit(X, y)")
        pattern = r"autolog: LogReg ·\w{4} finished in [\d.]+ s: train/\S+ [\d.]+.* · trackio show --project "
        (line,) = kernel.text(fitted)
        assert re.match(pattern, line)
        assert line.endswith("""'<b>a & "b"'""")
        assert kernel.run("model.score(X[::2] + 0.5, y[::2])") == []  # its own line says so
        assert ": val/accuracy 1" in kernel.text(fitted)[0]

        (running,) = kernel.run("r = autolog.run('mine').__enter__()")
        assert kernel.text(running) == [f'autolog: recording mine into project <b>a & "b" in {tmp_path}']
        assert kernel.run("1 + 1") == []
        assert kernel.run("r.log({'val/loss': 0.5}); r.finish()") == []
        assert kernel.text(running)[0].startswith("autolog: mine finished in ")

        (many,) = kernel.run("for n in range(7):\n    with autolog.run(f'r{n}') as r: r.log({'val/loss': n})")
        more, *last = kernel.text(many)
        assert more == "autolog: 2 more before"
        assert [line.split(" in ")[0] for line in last] == [f"autolog: r{n} finished" for n in range(2, 7)]
        assert "r6 finished" in kernel.displays[many]["text/html"]

        (failed,) = kernel.run("with autolog.run('fails'): raise ValueError('as is meant')")
        assert kernel.text(failed)[0].startswith("autolog: fails failed in ")

        in_a_thread = "def train():\n    with autolog.run('threads'): pass\n"
        in_a_thread += "thread = threading.Thread(target=train); thread.start(); thread.join()"
        assert kernel.run(in_a_thread) == []
        # From Python 3.12 on the user's own fork is warned of: a kernel has several threads.
        in_a_fork = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
        in_a_fork += "with autolog.run('parent'):\n    pid = os.fork()\n    if not pid:\n"
        in_a_fork += (
            "        try:\n            with autolog.run('child'): pass\n        finally: os._exit(0)\n"
        )
        (parent,) = kernel.run(in_a_fork + "os.waitpid(pid, 0)")
        assert [line.split(" in ")[0] for line in kernel.text(parent)] == ["autolog: parent finished"]

        listens = "import socket\nlistening = socket.create_server(('127.0.0.1', int(os.environ["
        (linked,) = kernel.run(listens + "'GRADIO_SERVER_PORT'])))\nwith autolog.run('seen'): pass")
        assert '<a href="http://127.0.0.1:' in kernel.displays[linked]["text/html"]
        assert "trackio show" not in kernel.displays[linked]["text/html"]

        (delivered,) = kernel.run("assert autolog.finish()")
        (line,) = kernel.text(delivered)
        assert re.fullmatch(r"autolog: arrived: 14 runs, \d+ rows, \d+ pictures, 1 file", line)
        unhurried = (
            "autolog.enable(finish_timeout=0)\nr = autolog.run('goes on').__enter__()\nr.log({'m': 1})\n"
        )
        unhurried += "r.artifact(sys.executable, 'large')\nassert not autolog.finish()"
        (delivered,) = kernel.run(unhurried)
        left = r"autolog: arrived: .+; .*1 of \d+ runs still need pictures or files, which go out in .*"
        assert re.fullmatch(left, kernel.text(delivered)[-1])

        assert kernel.run("autolog.enable(quiet=True)\nwith autolog.run('quiet'): pass") == []
        assert kernel.stderr == ""
    finally:
        kernel.stop()
