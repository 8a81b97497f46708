"""Where a run comes from is in the run: arguments, code and environment, as they were at its opening."""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autolog
from autolog import MemorySink
from autolog.capture.origin import provenance
from autolog.core import started, surroundings
from autolog.process import hooks
from autolog.sinks.memory import MemoryRun


@pytest.fixture(autouse=True)
def nothing_parsed() -> Iterator[None]:
    started._parsed.clear()
    yield
    started._parsed.clear()


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--api-key")
    return parser


def recorded(sink: MemorySink) -> MemoryRun:
    """A run that is opened now, with all that is known of it."""
    with autolog.run("r"):
        pass
    autolog.finish()
    return sink.runs[-1]


def arguments(sink: MemorySink) -> Any:
    return recorded(sink).config.get("run/arguments")


def test_the_parsed_arguments_are_in_the_config(sink: MemorySink, parser: argparse.ArgumentParser) -> None:
    with autolog.enabled(sink=sink):
        args = parser.parse_args(["--lr", "0.5", "--api-key", "abc"])
        assert arguments(sink) == {"lr": 0.5, "api_key": "***"}
        args.lr = 0.25
        assert arguments(sink) == {"lr": 0.25, "api_key": "***"}, "as they are when the run is opened"


def test_of_values_that_were_taken_out_what_was_parsed_is_known(
    sink: MemorySink, parser: argparse.ArgumentParser
) -> None:
    with autolog.enabled(sink=sink):
        values = vars(parser.parse_args(["--api-key", "abc"]))
        assert values["api_key"] == "abc"
        assert arguments(sink) == {"lr": 0.1, "api_key": "***"}


def test_the_outermost_parser_counts(sink: MemorySink, parser: argparse.ArgumentParser) -> None:
    inner = parser.add_subparsers(dest="command").add_parser("train")
    inner.add_argument("--depth", type=int)
    with autolog.enabled(sink=sink):
        values = vars(parser.parse_args(["--lr", "1", "train", "--depth", "3"]))
        assert arguments(sink) == {"lr": 1.0, "api_key": None, "command": "train", "depth": 3} == values


def test_a_parser_that_somebody_else_uses_in_between_does_not_count(
    sink: MemorySink, parser: argparse.ArgumentParser
) -> None:
    other = argparse.ArgumentParser()
    other.add_argument("gui")
    with autolog.enabled(sink=sink):
        args = parser.parse_args([])
        other.parse_args(["inline"])  # a magic of IPython's, say: its namespace is gone at once
        assert arguments(sink) == {"lr": args.lr, "api_key": None}
        later = other.parse_args(["qt"])
        assert arguments(sink) == {"gui": later.gui}


def test_a_namespace_of_the_users_own(sink: MemorySink, parser: argparse.ArgumentParser) -> None:
    class Options:
        seed = 3

    class Slotted:
        __slots__ = ("api_key", "lr")

    with autolog.enabled(sink=sink):
        parser.parse_args(["--lr", "2"], namespace=Options)  # type: ignore[call-overload]
        assert arguments(sink) == {"seed": 3, "lr": 2.0, "api_key": None}
        assert parser.parse_args([], namespace=Slotted()).lr == 0.1


def test_no_namespace_is_kept_alive(sink: MemorySink, parser: argparse.ArgumentParser) -> None:
    with autolog.enabled(sink=sink):
        args = parser.parse_args([])
        args.model = object
        watch = weakref.ref(args)
        recorded(sink)
        del args
        gc.collect()
        assert watch() is None


def test_what_was_parsed_before_is_found_in_the_main_module(
    sink: MemorySink, parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "args", parser.parse_args(["--lr", "3"]), raising=False)
    with autolog.enabled(sink=sink):
        assert arguments(sink) == {"lr": 3.0, "api_key": None}


def test_parsing_is_watched_while_anything_is_on(sink: MemorySink) -> None:
    original = argparse.ArgumentParser.parse_known_args
    with autolog.enabled(sink=sink):
        patched = argparse.ArgumentParser.parse_known_args
        assert patched is not original
        autolog.enable("sklearn")
        with autolog.enabled("sklearn"):
            assert argparse.ArgumentParser.parse_known_args is patched
        assert argparse.ArgumentParser.parse_known_args is patched
    assert argparse.ArgumentParser.parse_known_args is original
    autolog.enable()
    autolog.enable()
    autolog.disable("sklearn")
    assert argparse.ArgumentParser.parse_known_args is not original, "other frameworks are on"
    autolog.disable()
    assert argparse.ArgumentParser.parse_known_args is original
    assert hooks.installed() == []


def test_a_wrong_command_line_ends_the_program_as_ever(
    sink: MemorySink, parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, said in ((["--nope"], "unrecognized arguments: --nope"), (["--lr", "x"], "invalid float")):
        with autolog.enabled(sink=sink), pytest.raises(SystemExit):
            parser.parse_args(wrong)
        assert said in capsys.readouterr().err


PROGRAM = """
import autolog, sys
assert "argparse" not in sys.modules, "enable() forces no import"
sink = autolog.MemorySink()
autolog.enable(sink=sink)
assert "argparse" not in sys.modules
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)

def main():
    args = parser.parse_args()
    with autolog.run():
        pass

main()
autolog.finish()
print(sink.runs[0].config["run/arguments"])
"""


def test_argparse_may_be_imported_later() -> None:
    command = [sys.executable, "-c", PROGRAM, "--lr", "0.5"]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout == "{'lr': 0.5}\n"


HYDRA = """
import autolog, hydra, json
sink = autolog.MemorySink()
autolog.enable(sink=sink)

@hydra.main(version_base=None, config_path=None)
def main(cfg):
    with autolog.run() as run:
        run.params(cfg, prefix="mine")
        run.child("inner").finish()

main()
autolog.finish()
print(json.dumps([run.config for run in sink.runs]))
"""


def test_hydras_configuration_is_kept_and_not_what_its_own_parser_parsed(
    tmp_path: Path,
) -> None:
    (tmp_path / "train.py").write_text(HYDRA)
    command = [sys.executable, "train.py", "+lr=0.1", "+twice=${lr}", "+db.password=hunter2"]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    outer, inner = json.loads(out.stdout)
    assert "run/arguments" not in outer
    assert outer["hydra/overrides"] == ["+lr=0.1", "+twice=${lr}", "+db.password=***"]
    assert outer["hydra/config"] == outer["mine"] == {"lr": 0.1, "twice": 0.1, "db": {"password": "***"}}
    assert "hydra/config" not in inner


MOVING = """
import autolog, os, sys, shutil
sink = autolog.MemorySink()
autolog.enable(sink=sink)
os.makedirs(sys.argv[1])
os.chdir(sys.argv[1])
if "gone" in sys.argv[1]:
    os.rmdir(os.getcwd())
with autolog.run() as run:
    run.log({"a": 1.0})
autolog.finish()
from autolog.process import guard
config = sink.runs[0].config
print(list(guard.faults), sink.runs[0].project)
print(config["git/branch"], config["run/entry"], config["autolog/notes"].get("provenance"))
"""


@pytest.mark.parametrize(
    "to", ["there", pytest.param("gone", marks=pytest.mark.skipif(os.name == "nt", reason="in use"))]
)
def test_a_program_that_moves(tmp_path: Path, to: str) -> None:
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "code", str(repo)], check=True)
    (repo / "train.py").write_text(MOVING)
    command = [sys.executable, "train.py", str(tmp_path / to)]
    out = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    faults, where = out.stdout.splitlines()
    assert faults == "[] repo"
    assert where.startswith("code train.py ")
    assert ("working directory: there is none" in where) == (to == "gone")


def test_a_program_without_a_script_is_where_it_began(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", "-b", "code", str(repo)], check=True)
    command = [sys.executable, "-c", MOVING, str(tmp_path / "there")]
    out = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[1].startswith("code python -c ")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    subprocess.run(["git", "init", "-q", "-b", "code", str(tmp_path)], check=True)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "dev.txt").write_text("a folder's")
    (tmp_path / "requirements-dev.txt").write_text("a file's")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_files_of_similar_names_are_kept_apart(sink: MemorySink, repo: Path) -> None:
    with autolog.enabled(sink=sink):
        (files,) = [a["files"] for a in recorded(sink).artifacts if a["name"] == "environment"]
    assert Path(files["requirements/dev.txt"]).read_text() == "a folder's"
    assert Path(files["requirements-dev.txt"]).read_text() == "a file's"


def test_what_is_long_is_with_the_outermost_run(
    sink: MemorySink, repo: Path, parser: argparse.ArgumentParser
) -> None:
    with autolog.enabled(sink=sink):
        args = parser.parse_args([])
        with autolog.run("outer") as run, run.child("inner"):
            pass
        autolog.finish()
    outer, inner = sink.runs
    assert outer.config["run/arguments"] == vars(args)
    assert outer.config["git/untracked"] == ["requirements-dev.txt", "requirements/"]
    assert inner.config["git/branch"] == "code"
    assert not {"run/arguments", "git/untracked"} & set(inner.config)


def test_names_of_untracked_files_go_to_no_server_unasked(sink: MemorySink, repo: Path) -> None:
    with autolog.enabled(sink=sink, server_url="http://127.0.0.1:9"):
        assert "git/untracked" not in recorded(sink).config
    with autolog.enabled(sink=sink, server_url="http://127.0.0.1:9", share=("code",)):
        assert "git/untracked" in recorded(sink).config


def test_each_place_has_its_own_surroundings(
    sink: MemorySink, repo: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with autolog.enabled(sink=sink):
        assert recorded(sink).config["git/branch"] == "code"
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        subprocess.run(["git", "init", "-q", "-b", "another", str(elsewhere)], check=True)
        monkeypatch.chdir(elsewhere)
        assert recorded(sink).config["git/branch"] == "another"


def test_runs_of_one_place_share_the_answer_but_for_the_arguments(
    sink: MemorySink, repo: Path, parser: argparse.ArgumentParser
) -> None:
    with autolog.enabled(sink=sink):
        args = parser.parse_args([])
        recorded(sink)
        first = surroundings._known
        args.lr = 7.0
        assert recorded(sink).config["run/arguments"]["lr"] == 7.0
        assert surroundings._known is first is not None


def test_a_fault_of_ours_is_said_in_the_run(
    sink: MemorySink, repo: Path, monkeypatch: pytest.MonkeyPatch, expected_faults: list[Any]
) -> None:
    monkeypatch.setattr(provenance, "in_common", lambda now: 1 / 0)
    with autolog.enabled(sink=sink):
        (said,) = recorded(sink).config["autolog/faults"]
    assert said.startswith("recording code and environment failed: ZeroDivisionError")


def test_runs_of_many_threads(sink: MemorySink, parser: argparse.ArgumentParser) -> None:
    with autolog.enabled(sink=sink):
        args = parser.parse_args([])
        threads = [threading.Thread(target=lambda: autolog.run("t").__enter__().finish()) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        autolog.finish()
    assert [run.config["run/arguments"] for run in sink.runs] == [vars(args)] * 8
