"""What git knows of the code behind a run.

It is asked at most four questions (state, remote, changes, untracked files), two seconds and one megabyte
each. What it could not say is noted.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from autolog.capture.origin.result import Provenance
from autolog.capture.params import mask
from autolog.process import threads

_SECONDS = 2.0
_BYTES = 1_000_000
_NAMES = 50  # of untracked files
_FEW_NAMES = 10  # in a note


def describe(root: Path, found: Provenance) -> None:
    """Commit, branch, remote, the changes against HEAD and the names of untracked files."""
    # One call for commit, branch and state. Untracked files have a call of their own: looking for them can
    # take seconds in a folder full of data, and must cost no more than their names.
    status = _ask(root, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    dirty = False
    inside: list[str] = []  # submodules with changes that nobody committed
    for line in status.text.splitlines():
        if line.startswith("# branch.oid "):
            commit = line.split(" ", 2)[2]
            if commit == "(initial)":
                found.notes.append("git: no commits yet")
            else:
                found.config["git/commit"] = commit
        elif line.startswith("# branch.head "):
            branch = line.split(" ", 2)[2]
            found.config["git/branch"] = None if branch == "(detached)" else branch
            if branch == "(detached)":
                found.notes.append("git: detached HEAD")
        elif not line.startswith("#"):
            dirty = True
            if re.match(r"1 .. S.M", line):
                inside.append(line.split(" ", 8)[8])
    if status.problem:
        found.notes.append(f"git status: {status.problem}")
        return
    found.config["git/dirty"] = dirty
    if inside:
        found.notes.append(f"git diff: changes inside submodules are not kept: {_few(inside)}")
    _remote(root, found)
    if dirty and "git/commit" in found.config:
        _changes(root, found)
    _untracked(root, found)


def _remote(root: Path, found: Provenance) -> None:
    # From the configuration and not `remote get-url`, whose rewriting rules may add a password.
    remotes = dict(
        line.split(" ", 1)
        for line in _ask(root, "config", "--get-regexp", r"^remote\..*\.url$").text.splitlines()
        if " " in line
    )
    if remotes:
        found.config["git/remote"] = mask(remotes.get("remote.origin.url", next(iter(remotes.values()))))


_BINARY = re.compile(r'^Binary files (?:/dev/null|"?a/(.+)) and (?:/dev/null|"?b/(.+)) differ$', re.MULTILINE)


def _changes(root: Path, found: Provenance) -> None:
    # In one form, whatever the user's configuration prefers: no program of theirs, a submodule as its commit.
    form = ("--no-ext-diff", "--no-textconv", "--no-color", "--submodule=short")
    diff = _ask(root, "diff", *form, "--src-prefix=a/", "--dst-prefix=b/", "HEAD")
    if diff.problem:
        found.notes.append(f"git diff: {diff.problem}")
    if diff.text:
        found.files["code/git.diff"] = mask(diff.text)
    if binary := [(new or old).rstrip('"') for old, new in _BINARY.findall(diff.text)]:
        found.notes.append(f"git diff: the content of binary files is not kept: {_few(binary)}")


def _untracked(root: Path, found: Provenance) -> None:
    # One name for a folder that holds nothing else: git looks no further into it than to its first file.
    options = ("--others", "--exclude-standard", "--directory", "--no-empty-directory", "-z")
    answer = _ask(root, "ls-files", *options, end="\0")
    # Python files first: the run may have imported them, and no commit will tell what was in them.
    names = sorted(filter(None, answer.text.split("\0")), key=lambda name: not name.endswith(".py"))
    if answer.problem:
        found.notes.append(f"git: untracked files: {answer.problem}")
    if names:
        found.config["git/untracked"] = [mask(name) for name in names[:_NAMES]]
    if len(names) > _NAMES:
        found.notes.append(f"git: {len(names)} untracked files, the first {_NAMES} are named")


def _few(names: list[str]) -> str:
    more = len(names) - _FEW_NAMES
    return ", ".join(mask(name) for name in names[:_FEW_NAMES]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Answer:
    text: str = ""
    problem: str = ""


def _ask(root: Path, *arguments: str, end: str = "\n") -> _Answer:
    """Ask git one question, and stop reading after two seconds or one megabyte, at the `end` of an item."""
    hidden = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set inside git's own hooks
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    settings = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
    try:
        process = subprocess.Popen(
            ["git", *settings, "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        return _Answer(problem=f"git cannot be run ({error.strerror})")
    assert process.stdout is not None
    stopped: list[bool] = []  # what is read ends before the timer does

    def stop() -> None:
        stopped.append(True)
        process.kill()

    timer = threads.after(_SECONDS, stop)
    with process:
        content = process.stdout.read(_BYTES + 1)
        timed_out = bool(stopped)
        timer.cancel()
        too_long = len(content) > _BYTES
        if too_long:
            process.kill()
    text = content[:_BYTES].decode("utf-8", "replace")
    if too_long:
        problem = f"truncated after {_BYTES:,} bytes"
    elif timed_out:
        problem = f"no answer within {_SECONDS:g} s"
    else:
        return _Answer(text, f"git failed (exit {process.returncode})" if process.returncode else "")
    return _Answer(text[: text.rfind(end) + 1], problem)
