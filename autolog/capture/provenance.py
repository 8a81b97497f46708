"""Where a run comes from: the code, the environment and the machine behind it.

Nothing here raises, and nothing is guessed: what could not be read is said in the notes. Text is
masked before it is returned, and `git` is asked at most three questions, two seconds each.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolog.capture.params import mask, sanitize

_GIT_SECONDS = 2.0
_TEXT_LIMIT = 1_000_000  # bytes of a diff or of a script
_FILE_LIMIT = 256 * 1024  # bytes of one file that describes the environment
_DESCRIBES_ENVIRONMENT = (
    "requirements*.txt",
    "pyproject.toml",
    "environment.yml",
    "environment.yaml",
    "conda.yml",
    "conda.yaml",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock*.toml",
    "Dockerfile",
)
_SCHEDULER = {
    "slurm/job_id": "SLURM_JOB_ID",
    "slurm/job_name": "SLURM_JOB_NAME",
    "slurm/array_job_id": "SLURM_ARRAY_JOB_ID",
    "slurm/array_task_id": "SLURM_ARRAY_TASK_ID",
    "slurm/nodes": "SLURM_JOB_NODELIST",
    "slurm/tasks": "SLURM_NTASKS",
    "kubernetes/namespace": "POD_NAMESPACE",
    "kubernetes/job_index": "JOB_COMPLETION_INDEX",
}


@dataclass(frozen=True)
class Provenance:
    """What a run was made from."""

    config: dict[str, Any]
    """Flat facts with `/`-separated keys: `run/entry`, `git/commit`, `python`, `device`, ..."""
    files: dict[str, str]
    """Texts by name: the entry script, the diff against HEAD, installed packages, lock files."""
    notes: tuple[str, ...]
    """What is missing, and why."""


def collect(cwd: Path | None = None) -> Provenance:
    """Describe the running program; never raises.

    Args:
        cwd: Where to look for the repository and the environment's files; the working
            directory when None.
    """
    found = _Collector()
    here = found.attempt("working directory", lambda: Path(cwd or ".").resolve(strict=True))
    root = repository(here) if here else None
    found.attempt("entry", lambda: found.entry(root or here))
    if here and root:
        found.attempt("git", lambda: found.git(root))
    else:
        found.notes.append("git: not inside a repository")
    found.attempt("machine", found.machine)
    found.attempt("scheduler", found.scheduler)
    found.attempt("packages", found.packages)
    if here:
        found.attempt("environment files", lambda: found.environment(root or here, here))
    return Provenance(found.config, found.files, tuple(found.notes))


def project_name(cwd: Path | None = None) -> str:
    """The name of the enclosing git repository's folder, else of the folder itself.

    Args:
        cwd: Where to start; the working directory when None. `/`, or a working directory that
            no longer exists, gives "default".
    """
    try:
        here = (cwd or Path.cwd()).resolve()
        return (repository(here) or here).name or "default"
    except OSError:
        return "default"


def repository(folder: Path) -> Path | None:
    """The closest folder at or above `folder` that git works in; worktrees and submodules too."""
    try:
        return next((at for at in (folder, *folder.parents) if (at / ".git").exists()), None)
    except OSError:
        return None


class _Collector:
    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        self.files: dict[str, str] = {}
        self.notes: list[str] = []

    def attempt(self, what: str, step: Any) -> Any:
        try:
            return step()
        except Exception as error:
            self.notes.append(f"{what}: {type(error).__name__}: {mask(str(error))[:200]}")
            return None

    def entry(self, base: Path | None) -> None:
        self.config["run/argv"] = sanitize(list(sys.argv))
        main = sys.modules.get("__main__")
        file = getattr(main, "__file__", None)
        spec = getattr(main, "__spec__", None)
        notebook = _notebook()
        if notebook is not None:
            self.config["run/entry"] = "notebook"
            file = notebook or None
        elif spec is not None and spec.name:
            self.config["run/entry"] = f"python -m {spec.name.removesuffix('.__main__')}"
        elif file is None:
            self.config["run/entry"] = "interactive"
        else:
            script = Path(file).resolve()
            if base is not None and script.is_relative_to(base):
                script = script.relative_to(base)
            self.config["run/entry"] = script.as_posix()
        if file is None:
            self.notes.append("entry: no script file to keep")
        elif (text := self.read(Path(file), _TEXT_LIMIT)) is not None:
            self.files[f"code/{Path(file).name}"] = text

    def git(self, root: Path) -> None:
        # One call for commit, branch and state; untracked files are not asked for, since
        # looking for them takes seconds in a folder full of data.
        status = _git(root, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
        dirty = False
        for line in status.text.splitlines():
            if line.startswith("# branch.oid "):
                commit = line.split(" ", 2)[2]
                if commit == "(initial)":
                    self.notes.append("git: no commits yet")
                else:
                    self.config["git/commit"] = commit
            elif line.startswith("# branch.head "):
                branch = line.split(" ", 2)[2]
                self.config["git/branch"] = None if branch == "(detached)" else branch
                if branch == "(detached)":
                    self.notes.append("git: detached HEAD")
            elif not line.startswith("#"):
                dirty = True
        if status.problem:
            self.notes.append(f"git status: {status.problem}")
            return
        self.config["git/dirty"] = dirty
        # From the configuration and not `remote get-url`, whose rewriting rules may add a password.
        remotes = dict(
            line.split(" ", 1)
            for line in _git(root, "config", "--get-regexp", r"^remote\..*\.url$").text.splitlines()
            if " " in line
        )
        if remotes:
            url = remotes.get("remote.origin.url", next(iter(remotes.values())))
            self.config["git/remote"] = mask(url)
        if dirty and "git/commit" in self.config:
            diff = _git(root, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")
            if diff.problem:
                self.notes.append(f"git diff: {diff.problem}")
            if diff.text:
                self.files["code/git.diff"] = mask(diff.text)

    def machine(self) -> None:
        count = _cpu_count()
        self.config["python"] = platform.python_version()
        self.config["platform"] = platform.platform()
        self.config["host"] = platform.node()
        self.config["cpu_count"] = count
        self.config["device"] = _accelerator() or f"cpu x {count}"
        memory = _memory_bytes()
        if memory is None:
            self.notes.append("memory_gb: unknown on this platform without psutil")
        else:
            self.config["memory_gb"] = round(memory / 2**30, 1)

    def scheduler(self) -> None:
        for key, variable in _SCHEDULER.items():
            if value := os.environ.get(variable):
                self.config[key] = mask(value)
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            self.config["kubernetes/pod"] = os.environ.get("POD_NAME") or platform.node()

    def packages(self) -> None:
        # An installation in mid-session changes the folder, and so the key of the cache.
        folders = [Path(entry or ".") for entry in sys.path]
        stamps = tuple((str(f), f.stat().st_mtime_ns) for f in folders if f.is_dir())
        self.files["environment/packages.txt"] = _packages(stamps)

    def environment(self, root: Path, here: Path) -> None:
        for folder in dict.fromkeys((root, here)):
            for pattern in _DESCRIBES_ENVIRONMENT:
                for file in sorted(folder.glob(pattern))[:20]:
                    if (text := self.read(file, _FILE_LIMIT)) is not None:
                        self.files[f"environment/{file.relative_to(root).as_posix()}"] = text

    def read(self, file: Path, limit: int) -> str | None:
        """A text file, masked; a note instead of one that is too large, or not a file at all."""
        try:
            if not file.is_file():  # also keeps us from waiting on a pipe
                self.notes.append(f"{file.name}: not a file")
                return None
            with file.open("rb") as opened:
                content = opened.read(limit + 1)
        except OSError as error:
            self.notes.append(f"{file.name}: {error.strerror}")
            return None
        if len(content) > limit:
            self.notes.append(f"{file.name}: left out, larger than {limit:,} bytes")
            return None
        return mask(content.decode("utf-8", "replace"))


@dataclass(frozen=True)
class _Answer:
    text: str = ""
    problem: str = ""


def _git(root: Path, *arguments: str) -> _Answer:
    """Ask git one question, and stop reading after two seconds or one megabyte."""
    hidden = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")  # set inside git's own hooks
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        process = subprocess.Popen(
            ["git", "-c", "core.fsmonitor=false", "-C", str(root), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
    except OSError as error:
        return _Answer(problem=f"git cannot be run ({error.strerror})")
    assert process.stdout is not None
    timer = threading.Timer(_GIT_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    with process:
        content = process.stdout.read(_TEXT_LIMIT + 1)
        if timed_out := not timer.is_alive():
            problem = f"no answer within {_GIT_SECONDS:g} s"
        timer.cancel()
        too_long = len(content) > _TEXT_LIMIT
        if too_long:
            process.kill()
    text = content[:_TEXT_LIMIT].decode("utf-8", "replace")
    if too_long:
        return _Answer(text[: text.rfind("\n") + 1], f"truncated after {_TEXT_LIMIT:,} bytes")
    if timed_out:
        return _Answer(text, problem)
    return _Answer(text, f"git failed (exit {process.returncode})" if process.returncode else "")


def _notebook() -> str | None:
    """The notebook's path ("" when it is not known); None outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    namespace = getattr(shell, "user_ns", {})
    path = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME", "")
    return str(path) if str(path).endswith(".ipynb") else ""


def _cpu_count() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        psutil = sys.modules.get("psutil")
        return int(psutil.virtual_memory().total) if psutil else None


def _accelerator() -> str | None:
    """The accelerator that an already imported torch uses or could use; wakes no driver."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if torch is None or cuda is None:
        return None
    if cuda.is_initialized():
        return f"{cuda.get_device_name(0)} x {cuda.device_count()}"
    # Asking torch now would start CUDA, after which the user's forked workers could not use it.
    if torch.version.cuda:
        names = list(_nvidia_names())
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        chosen = [i for i in visible.split(",") if i not in ("", "-1")] if visible is not None else names
        if names and chosen:
            return f"{names[0]} x {min(len(names), len(chosen))}"
    mps = getattr(getattr(torch, "backends", None), "mps", None)
    return "mps" if mps is not None and mps.is_available() else None


def _nvidia_names() -> Iterator[str]:
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in file.read_text().splitlines():
            if line.startswith("Model:"):
                yield line.partition(":")[2].strip()


@functools.lru_cache(maxsize=1)
def _packages(_: tuple[tuple[str, int], ...]) -> str:
    versions: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # the first on the path is the one that is imported
            versions.setdefault(name, distribution.version)
    lines = [f"{name}=={version}\n" for name, version in versions.items()]
    return "".join(sorted(lines, key=str.lower))
