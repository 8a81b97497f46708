"""Every line of docs/cli.md prints what stands below it. ``python -m tests.cli.test_page`` writes it anew."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from autolog.cli import main
from tests.programs import environment

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"(?<=```console\n).*?(?=```)", re.DOTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's program has run."""
    return recorded(tmp_path_factory.mktemp("page"))


@pytest.mark.slow
def test_the_page_says_what_the_commands_print(home: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(list(lines_of(text))) == 21
    assert alike(printed_into(text, home)).splitlines() == alike(text).splitlines()


def test_the_model_is_loaded_by_the_line_that_is_printed(home: Path) -> None:
    (line,) = set(re.findall(r"(?<=In Python: ).*", printed("autolog load best model", home)))
    program = f"import autolog; print({line})"
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables(home), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("KNeighborsClassifier(n_neighbors=9")


# The page's program and its commands -------------------------------------------------------------------


def variables(home: Path) -> dict[str, str]:
    found = environment(home / "trackio", AUTOLOG_DETACH="0", COLUMNS="120")
    del found["AUTOLOG_PROJECT"]  # the program names it
    return {**found, "PYTHONPATH": os.pathsep.join([str(PAGE.parents[1]), found.get("PYTHONPATH", "")])}


def recorded(home: Path) -> Path:
    (program,) = re.findall(r"(?<=```python\n).*?(?=```)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (home / "sweep.py").write_text(program, encoding="utf-8")
    (home / "trackio").mkdir()
    done = subprocess.run(
        [sys.executable, "sweep.py"],
        cwd=home,
        env=variables(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.splitlines()[-1].startswith("sklearn.utils._param_validation.Invalid"), done.stderr
    printed("autolog sync", home)
    return home


def lines_of(text: str) -> Iterator[str]:
    for block in BLOCK.findall(text):
        yield from re.findall(r"(?<=^\$ ).*", block, re.MULTILINE)


def printed_into(text: str, home: Path) -> str:
    """The page with what its commands print now."""

    def anew(found: re.Match[str]) -> str:
        lines = re.findall(r"(?<=^\$ ).*", found[0], re.MULTILINE)
        return "\n".join(f"$ {line}\n{printed(line, home)}" for line in lines)

    return BLOCK.sub(anew, text)


def printed(line: str, home: Path) -> str:
    name, *arguments = shlex.split(line)
    assert name == "autolog"
    if arguments[0] in ("sync", "doctor"):  # they look at the process that they are
        command = [sys.executable, "-m", "autolog", *arguments]
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        text = subprocess.run(command, cwd=home, env=variables(home), text=True, check=False, **both).stdout
    else:
        said = io.StringIO()
        with chdir(home), redirect_stdout(said), redirect_stderr(said):
            main([*arguments, "--dir", str(home / "trackio")])
        text = said.getvalue()
    text = re.sub(r"(machine +).*", r"\1laptop · cpu x 8 · Linux", text.replace(str(home), "~/demo"))
    lines = [one.rstrip() for one in text.splitlines()]
    return "\n".join(one for one in lines if not re.search(r"^ok +(AUTOLOG|TRACKIO)_", one)) + "\n"


# What differs from run to run --------------------------------------------------------------------------

MASKED = {
    r"·[0-9a-f]{4}\b|\b[0-9a-f]{8,64}\b": "ID",
    r"\b\d[\d.]* (ms|s|min|h|B|KB|MB|GB)\b": "SO MUCH",
    r"(SO MUCH|\b(just )?now)( ago)?": "SO MUCH",  # an age
    r"\(needs .*": "",
    r"sklearn \d+(\.\d+)+|\d+\.\d+\.\d+(\.\w+)*": "VERSION",
    r"\(\d+ runs?, .*\)": "(SO MANY)",
    r"(?m)^cost +(seconds|\w+/).*(\n .*)*": "COST",  # which of them differ, too
    r"(?m)^(ok|missing|wrong) +(dashboard|git|GPU|free|locks|matplotlib|Python|\d+ ).*": r"\2",
    r"(?m)^ +→ (trackio show|install git|pip install nvidia.*)\n": "",
    r"(?m)^\d+ (ok|missing|wrong).*": "COUNTS",
    r"(?m)^ +environment .*": "ENVIRONMENT",
    r"[ ]+": " ",
}


def alike(text: str) -> str:
    """A text without what is another at each run."""
    for pattern, instead in MASKED.items():
        text = re.sub(pattern, instead, text)
    return text


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        page = printed_into(PAGE.read_text(encoding="utf-8"), recorded(Path(folder)))
    PAGE.write_text(page, encoding="utf-8")
