"""What has to be in order for a training to be recorded: looked at, with the remedy of what is not."""

from __future__ import annotations

import contextlib
import getpass
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from autolog.capture.params import REDACTED, is_secret, mask
from autolog.core.settings import SettingError, Settings, destination_of, disabled_by_environment
from autolog.process import apart
from autolog.process.imports import is_installed
from autolog.review.source import Files, Server, SourceError, dashboard
from autolog.review.values import ago, bytes_of
from autolog.sinks.identity import Destination, in_words
from autolog.sinks.journal import head_of, is_left, try_lock
from autolog.sinks.trackio.afterwards import is_delivering
from autolog.sinks.trackio.directory import data_directory, journals

__all__ = ["Finding", "examined", "without_names"]

State = Literal["ok", "missing", "wrong"]
LEAST_BYTES = 200_000_000  # of free space
PATIENCE = 180.0  # seconds, for the import of one framework on a machine that has much else to do


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: that thing.
        state: ``ok``; ``missing``, which is somebody's choice; ``wrong``: something is not recorded, or lost.
        said: how it stands.
        remedy: what to do about it, as a command where there is one; empty if it is ok.
    """

    what: str
    state: State
    said: str
    remedy: str = ""


def examined(only: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at everything; secrets are masked.

    Args:
        only: of the frameworks only these, by their names in autolog. Empty: all that are installed.
    """
    for found in _all(only):
        yield replace(found, said=mask(found.said), remedy=mask(found.remedy))


def without_names(text: str) -> str:
    """A text for strangers: without the home folder, the user's name, and names of hosts."""
    text = text.replace(str(Path.home()), "~")
    text = re.sub(r"(https?://)(?!127\.0\.0\.1|localhost)[^/\s:]+", r"\1<host>", text)
    for name, instead in ((socket.gethostname(), "<host>"), (getpass.getuser(), "<user>")):
        if len(name) > 2 and name not in ("root", "localhost"):
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", instead, text)
    return text


def _all(only: Sequence[str]) -> Iterator[Finding]:
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        way = pool.submit(_trackio)
        ours = _asked("autolog.core.examined:frameworks")
        if ours is None:
            yield Finding("autolog", "wrong", "cannot be imported", "python -c 'import autolog'")
            return
        yield Finding("autolog", "ok", ours["autolog"])
        every = ours["frameworks"]
        if unknown := set(only) - {row["name"] for row in every}:
            known = ", ".join(row["name"] for row in every)
            raise LookupError(f"autolog knows no framework {', '.join(sorted(unknown))}, but {known}.")
        looked_at = [row for row in every if not only or row["name"] in only]
        frameworks = pool.map(_framework, looked_at)
        yield way.result()
        yield from frameworks
    yield from _variables()
    yield from _directory()
    yield from _projects()
    yield from _left()
    yield from _server()
    yield from _dashboard()
    yield from _beside()


def _trackio() -> Finding:
    try:
        version = importlib.metadata.version("trackio")
    except importlib.metadata.PackageNotFoundError:
        return Finding("Trackio", "wrong", "is not installed", "pip install trackio")
    with tempfile.TemporaryDirectory(prefix="autolog-") as folder:
        way = _asked("autolog.core.examined:trackio", TRACKIO_DIR=folder)
    if way is None:
        return Finding("Trackio", "wrong", f"{version} cannot be imported", "python -c 'import trackio'")
    if way["note"]:
        said = f"{version}: {way['note']}"
        return Finding("Trackio", "missing", said, "pip install --upgrade trackio trackio-autolog")
    return Finding("Trackio", "ok", f"{version}, rows go straight into its tables")


def _framework(row: dict[str, Any]) -> Finding:
    name, version = row["name"], row["version"]
    if version is None:
        return Finding(name, "missing", "not installed", f"pip install 'trackio-autolog[{name}]'")
    said = f"{version} (needs {row['requires']}, tested up to {row['tested']})"
    if "autolog needs" in row["why"]:
        return Finding(name, "wrong", said, f"pip install '{row['distribution']}{row['requires']}'")
    found = _asked("autolog.core.examined:hooks", name)
    if found is None or "error" in found:
        why = found["error"] if found else "its import ends the interpreter, or takes too long"
        return Finding(name, "wrong", f"{said}: {why}", f"python -c 'import {name}'")
    waiting = f", {found['waiting']} wait for what they watch" if found["waiting"] else ""
    said = f"{said}: {found['in']} hooks in{waiting}"
    if found["missing"]:
        said = f"{said}, {len(found['missing'])} missing: {'; '.join(found['missing'])}"
        return Finding(name, "wrong", said, "pip install --upgrade trackio-autolog")
    return Finding(name, "ok", said)


def _asked(function: str, *arguments: str, **environment: str) -> Any:
    """The answer of a process of its own; None: it has ended without one."""
    process = apart.start(function, *arguments, environment=environment, answers=True)
    if process is None:
        return None
    try:
        out, _ = process.communicate(timeout=PATIENCE)
        return json.loads(out.splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return None
    finally:
        process.kill()  # Ctrl-C reaches only us
        process.wait()


def _variables() -> Iterator[Finding]:
    for name in sorted(os.environ):
        if name.startswith(("AUTOLOG_", "TRACKIO_")):
            hides = is_secret(name)
            yield Finding(name, "ok", REDACTED if hides else os.environ[name] or "(empty)")
    try:
        Settings.from_environment()
        if disabled_by_environment():
            said = "AUTOLOG_DISABLE is set: nothing is recorded"
            yield Finding("settings", "wrong", said, "unset AUTOLOG_DISABLE")
    except SettingError as error:
        yield Finding("settings", "wrong", str(error), "correct the variable, or unset it")


def _directory() -> Iterator[Finding]:
    folder = data_directory()
    elsewhere = "export TRACKIO_DIR=<a folder on a local disk>"
    above = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=above, prefix=".autolog-"):
            pass
    except OSError as error:
        yield Finding("directory", "wrong", f"{folder} cannot be written: {error.strerror}", elsewhere)
        return
    is_new = "" if above == folder else ", made by the first run"
    yield Finding("directory", "ok", f"{folder} can be written{is_new}")
    if _locks_work(above):
        yield Finding("locks", "ok", "tell on this disk which process lives")
    else:
        said = "mean nothing on this disk: what a killed program has left is delivered ten minutes later"
        yield Finding("locks", "missing", said, elsewhere)
    free = shutil.disk_usage(above).free
    is_enough = free >= LEAST_BYTES
    remedy = "" if is_enough else f"make room on the disk of {folder}"
    yield Finding("free space", "ok" if is_enough else "wrong", bytes_of(free), remedy)


def _locks_work(folder: Path) -> bool:
    """Whether what one has locked another one cannot."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".autolog-")
    try:
        with os.fdopen(handle, "r+b") as one, open(name, "r+b") as other:
            return try_lock(one) and not try_lock(other)
    finally:
        os.unlink(name)


def _left() -> Iterator[Finding]:
    """Journals of programs that are gone, by the place that they are for."""
    ages: dict[Destination, list[float]] = {}
    for path in sorted(journals().glob("*.jsonl")):
        with contextlib.suppress(OSError, ValueError):  # just delivered; or none of ours
            to, _ = head_of(path)
            if to is not None and is_left(path):
                ages.setdefault(to, []).append(time.time() - path.stat().st_ctime)
    for to, of in ages.items():
        count = f"{len(of)} journal{'s' * (len(of) != 1)}"
        said = f"{count} for {in_words(to)}, the oldest written {ago(max(of))}"
        if is_delivering(to):
            yield Finding("left", "ok", f"{said}: going out in the background")
        else:
            yield Finding("left", "wrong", f"{said}: not delivered", "autolog sync")
    if not ages:
        yield Finding("left", "ok", "nothing waits to be delivered")


def _projects() -> Iterator[Finding]:
    """Whether each project's file can be read."""
    files = Files()
    names = files.projects()
    for name in names:
        try:
            for _ in files.select(name, "SELECT COUNT(*) FROM configs ORDER BY 1"):
                pass
        except SourceError as error:
            yield Finding("project", "wrong", str(error), "put a backup in its place, or move it away")
            names = [other for other in names if other != name]
    if names:
        yield Finding("projects", "ok", f"{len(names)} can be read")


def _server() -> Iterator[Finding]:
    try:
        settings = Settings.from_environment()
    except SettingError:  # said above
        return
    to = destination_of(settings)
    if to[0] == "local":
        return
    token = settings.write_token if to[0] == "server" else os.environ.get("HF_TOKEN")
    server = Server(to, token)
    try:
        server.projects()
        may_write = server.may_write()
    except SourceError as error:
        url = in_words(to) if to[0] == "server" else f"https://huggingface.co/spaces/{to[1]}"
        yield Finding("server", "wrong", str(error), f"look whether it is there: {url}")
        return
    yield Finding("server", "ok", f"{in_words(to)} answers")
    if may_write:
        yield Finding("token", "ok", "may write")
    elif to[0] == "server":
        said = "is not the server's" if token else "none is set"
        yield Finding("token", "wrong", said, "export TRACKIO_WRITE_TOKEN=<the token of its start>")
    else:
        said = "the Space does not take it" if token else "HF_TOKEN is not set: `hf auth login` counts"
        yield Finding("token", "missing", said, "export HF_TOKEN=<a token that may write>")


def _dashboard() -> Iterator[Finding]:
    url = dashboard(data_directory())
    if url is not None:
        yield Finding("dashboard", "ok", f"answers at {url}")
    else:
        yield Finding("dashboard", "missing", "none is running for this directory", "trackio show")


def _beside() -> Iterator[Finding]:
    git = _first_line(["git", "--version"])
    if git:
        yield Finding("git", "ok", git.removeprefix("git version "))
    else:
        yield Finding("git", "missing", "no commit and no changes are recorded", "install git")
    try:
        yield Finding("matplotlib", "ok", importlib.metadata.version("matplotlib"))
    except importlib.metadata.PackageNotFoundError:
        remedy = "pip install 'trackio-autolog[plots]'"
        yield Finding("matplotlib", "missing", "not installed: no pictures are drawn", remedy)
    gpus = _first_line(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    if not gpus:
        yield Finding("GPU", "ok", "none of NVIDIA's")
    elif not is_installed("pynvml"):
        yield Finding("GPU", "missing", f"{gpus}: its load is not recorded", "pip install nvidia-ml-py")
    else:
        yield Finding("GPU", "ok", gpus)


def _first_line(command: list[str]) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode == 0:
            return done.stdout.partition("\n")[0].strip()
    return ""
