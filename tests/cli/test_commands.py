"""The commands on one project: what they print, how they end, and what they make of wrong input."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from autolog.cli import common
from autolog.sinks.identity import Identity
from autolog.sinks.trackio.database import Database
from autolog.sinks.trackio.directory import data_directory
from tests.cli.conftest import Called
from tests.programs import environment


def test_projects_and_runs_are_listed(call: Called, told: Any, project: str) -> None:
    (of,) = [one for one in told("ls") if one["project"] == project]
    assert (of["runs"], of["below"]) == (4, 1)
    code, out, _ = call("ls", project, "--sort", "val/accuracy")
    assert code == 0
    head, first, *_, last = out.splitlines()
    assert head.split()[:4] == ["name", "status", "val/accuracy", "val/roc_auc"]
    assert "depth=3" in first
    assert last == "and 1 below them: --children"
    assert len(told("ls", project, "--children")) == 5
    assert [one["name"] for one in told("ls", project, "--where", "name == 'below'")] == ["below"]
    assert call("ls", project, "--columns", "own", "-n", "1")[1].split() == [
        *("name", "status", "own", "by", "hand", "finished", "2"),
        *("and", "1", "below", "them:", "--children"),
    ]


def test_a_table_of_very_many_says_how_many_more_there_are(
    call: Called, told: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autolog.cli.ls.MOST", 2)
    *_, more, _ = lines = call("ls", project)[1].splitlines()
    assert (len(lines), more) == (1 + 2 + 2, "and 2 more: --limit 4")
    assert len(call("ls", project, "--limit", "4")[1].splitlines()) == 1 + 4 + 1
    assert len(told("ls", project)) == 4


def test_a_run_is_opened_where_a_person_sees_it(
    call: Called, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setenv("GRADIO_SERVER_PORT", "1")  # where no dashboard is
    code, out, _ = call("show", "@1", "--project", project, "--open")
    (page,) = opened
    assert (code, out.splitlines()[0]) == (0, page)
    assert "by hand" in Path(urlsplit(page).path).read_text(encoding="utf-8")
    command = f"TRACKIO_PLOT_ORDER='train/loss,val/*,test/*,train/*' trackio show --project {project}"
    assert command in out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("autolog sh", ["show"]),
        ("autolog ls {}", ["{}"]),
        ("autolog show be", ["best", "best2"]),
        ("autolog show last --project {}", ["{}"]),
        ("autolog show nobody", []),
    ],
)
def test_a_shell_completes_commands_projects_and_runs(project: str, typed: str, offered: list[str]) -> None:
    words = typed.format(project[:-2])
    asked = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "_AUTOLOG_COMPLETE": "complete_bash",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "autolog"],
        env=environment(data_directory(), **asked),
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.stdout.split() == [word.format(project) for word in offered], ended.stderr


def test_a_run_is_shown(call: Called, told: Any, project: str) -> None:
    code, out, _ = call("show", "@1", "--project", project)
    assert code == 0
    assert out.startswith("by hand  finished · ")
    assert "set  lr  0.1" in out
    assert told("show", "by hand", "-p", project)["metrics"]["own"]["values"] == [0, 1, 2]
    failed = call("show", "@2", "-p", project)[1]
    assert "max_depth" in failed
    assert "--traceback" in failed
    assert "conftest.py" in call("show", "@2", "-p", project, "--traceback")[1]
    assert call("show", "by hand", "-p", project, "--traceback")[1] == "by hand has not failed.\n"
    assert '"params/lr": 0.1' in call("show", "by hand", "-p", project, "--config")[1]


def test_what_differs_is_shown_and_ends_with_one(call: Called, told: Any, project: str) -> None:
    code, out, _ = call("diff", "best", "best2", "-p", project)
    assert code == 1
    assert "max_depth" in out
    assert "better" in out
    found = told("diff", "depth=1", "depth=3", "-p", project, code=1)
    (depth,) = [one for one in found["differences"] if one["key"] == "max_depth"]
    assert (depth["section"], depth["values"], depth["better"]) == ("parameters", [1, 3], None)
    assert call("diff", "best", "best", "-p", project)[0] == 0
    assert told("compare", "depth=1", "depth=3", "-p", project)["max_depth"]["values"] == [1, 3]
    code, _, said = call("compare", "best", "-p", project)
    assert (code, "two runs or more" in said) == (2, True)


def test_files_are_copied_and_pages_written(call: Called, told: Any, project: str, tmp_path: Path) -> None:
    copies = told("load", "best", str(tmp_path / "all"), "-p", project)
    assert {Path(copy).name for copy in copies} >= {"model.pkl", "packages.txt"}
    assert all(Path(copy).is_file() for copy in copies)
    code, _, said = call("load", "best", str(tmp_path), "--artifact", "nope", "-p", project)
    assert (code, "has kept no 'nope', but " in said) == (2, True)
    page = tmp_path / "deep" / "page.html"
    assert told("report", "best", "best2", "-o", str(page), "-p", project) == str(page)
    assert "<html" in page.read_text()


def test_words_and_tags(call: Called, told: Any, project: str) -> None:
    assert call("note", "by hand", "look here", "-p", project)[1] == "by hand: look here\n"
    assert told("note", "by hand", "-p", project) == ["look here"]
    assert call("note", "by hand", " ", "-p", project)[0] == 2
    assert told("tag", "by hand", "good", "-p", project) == ["nightly", "good"]
    assert told("tag", "by hand", "--remove", "good", "-p", project) == ["nightly"]
    assert call("tag", "by hand", "-p", project)[1] == "by hand: nightly\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "zzz"], 2, "'zzz' is no run's id or name. The newest are: "),
        (["show", "@99"], 2, "'@99': there are 4 runs, @1 to @4."),
        (["show", "@0"], 2, "@1 to @4"),
        (["show", "depth="], 2, "is 3 runs: say which by its id"),
        (["show", "best7"], 2, "of these runs have a result"),
        (["show", ""], 2, "'' is 5 runs"),
        (["show"], 2, "Missing argument"),
        (["ls", "--sort", "nope"], 2, "no run has 'nope'"),
        (["ls", "--where", "a = 1"], 2, "equal is '=='"),
        (["ls", "--limit", "0"], 2, "limit"),
        (["ls", "--bogus"], 2, "No such option"),
        (["frobnicate"], 2, "No such command"),
        (["load", "by hand"], 2, "Missing argument"),
    ],
)
def test_wrong_input_is_told_and_ends_with_two(
    call: Called, project: str, arguments: list[str], code: int, said: str
) -> None:
    of = [project] if arguments[0] == "ls" else ["-p", project]
    ended, _, err = call(*arguments[:1], *of, *arguments[1:])
    assert ended == code
    assert said in err
    assert "Traceback" not in err


def test_where_there_is_nothing(call: Called, told: Any, tmp_path: Path) -> None:
    at = ["--dir", str(tmp_path)]
    assert call("ls", *at) == (0, f"No runs in {tmp_path}.\n", "")
    assert call("ls", "p", *at) == (0, f"No runs in project p in {tmp_path}.\n", "")
    assert told("ls", *at) == []
    assert call("show", "last", *at)[::2] == (2, "autolog: 'last': there are no runs.\n")
    code, _, said = call("ls", "--dir", str(tmp_path / "nowhere"))
    assert (code, "there is no such folder" in said) == (2, True)


EVIL = "[red]x[/red]\x1b[31m\x9b2J\u202egnp\nok  finished\r\x07:smile:"


@pytest.fixture(scope="module")
def evil(project: str) -> str:
    """Names and texts that a terminal would obey, or rich; of somebody who does not write by autolog."""
    name = f"evil-{uuid.uuid4().hex[:6]}"
    config = {"params/[b]": EVIL, "tags": [EVIL], "status": EVIL, "result": {f"val/{EVIL}": 1.0}, EVIL: EVIL}
    values = {f"m{EVIL}": 1.0, "note": {"_type": "trackio.markdown", "_value": EVIL}}
    for number in range(2):
        run = Identity(uuid.uuid4().hex, f"{EVIL}{number}{'y' * 300}", name)
        row: Any = {"id": uuid.uuid4().hex, "time": 1.7e9, "step": 0, "values": values, "as_stored": True}
        Database(name).rows(run, [row], {**config, "error": f"{EVIL}{number}", "params/n": number})
    return name


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["ls", "{}"], 3),
        (["ls", "{}", "--columns", "params/[b],tags"], 3),
        (["show", "@1", "-p", "{}"], None),
        (["show", "@1", "--traceback", "-p", "{}"], 2),  # a traceback and a note may have lines
        (["diff", "@1", "@2", "-p", "{}"], None),
        (["compare", "@1", "@2", "-p", "{}"], None),
        (["note", "@1", "-p", "{}"], 2),
        (["tag", "@1", "-p", "{}"], 1),
        (["show", "nobody", "-p", "{}"], 1),
    ],
)
def test_what_a_record_says_is_printed_harmlessly(
    call: Called,
    evil: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    lines: int | None,
    is_terminal: bool,
) -> None:
    monkeypatch.setattr(common.console, "_force_terminal", is_terminal)
    monkeypatch.setattr(common.console, "_color_system", None)  # what it styles itself is none of these
    monkeypatch.setattr(common.console, "_width", 60)
    _, out, err = call(*(argument.format(evil) for argument in arguments))
    said = out + err
    assert "[red]" in said or "[r" in said  # as it is: rich has not obeyed
    assert not set(said) & set("\x1b\x9b\u202e\r\x07"), said
    if arguments[0] not in ("note", "show"):
        assert not [line for line in said.splitlines() if line.startswith("ok  finished")]
    if lines is not None and not (is_terminal and arguments[0] == "ls"):
        assert len(said.splitlines()) == lines, said
    if is_terminal and arguments[0] == "ls":
        assert max(map(len, out.splitlines())) <= 60


def test_a_reader_may_go_away(project: str, trackio_dir: Path) -> None:
    """``autolog ls | head -1``."""
    process = subprocess.Popen(
        [sys.executable, "-c", MANY_TIMES, project],
        env=environment(trackio_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("name")
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) in (0, 1, 141)
    assert said == ""


MANY_TIMES = """
import sys
from autolog.cli import main
from autolog.review.listing import Runs
texts = Runs.texts
Runs.texts = lambda self, columns=None: texts(self, columns) * 20_000  # more than a pipe holds
sys.exit(main(["ls", sys.argv[1]]))
"""
