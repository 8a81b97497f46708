"""What is printed of runs: where they lie, and each one's result; in real programs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.programs import free_port, run

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


def test_each_run_is_a_line_with_its_result_and_one_says_where_they_lie(tmp_path: Path) -> None:
    where, first, second = told(tmp_path, FITS)
    assert re.fullmatch(r"autolog: recording .*sklearn.* into project p in .*", where)
    assert where.endswith(str(tmp_path))
    for line, name in (first, "LogReg C=.5"), (second, "LogReg C=2"):
        pattern = rf"autolog: {re.escape(name)} ·\w{{4}} finished in [\d.]+ s: val/accuracy 1, .*"
        assert re.fullmatch(pattern, line)
        assert line.endswith(" · trackio show --project p")


def test_quiet_is_quiet(tmp_path: Path) -> None:
    assert told(tmp_path, FITS, AUTOLOG_QUIET="1") == []


def test_of_children_nothing_is_said(tmp_path: Path) -> None:
    where, line = told(
        tmp_path, 'with autolog.run("r") as r:\n    with r.child("c"): r.log({"val/loss": 0.25})'
    )
    assert where == f"autolog: recording into project p in {tmp_path}"
    assert re.fullmatch(r"autolog: r finished in [\d.]+ s: val/loss 0.25 · trackio show --project p", line)


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
