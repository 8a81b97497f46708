"""Where a run comes from, put together: program and code, and the machine and packages, which are read here.

Nothing here raises, and nothing is guessed: what could not be read is said in the notes. Text is
masked before it is returned, and `git` is asked at most four questions, two seconds each.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from autolog.capture.origin import git, program
from autolog.capture.origin.place import root_of
from autolog.capture.origin.program import Program
from autolog.capture.origin.result import Provenance
from autolog.capture.params import mask

__all__ = ["collect", "in_common"]

_FILE_LIMIT = 256 * 1024  # bytes of one file that describes the environment
_FILES = 50  # of them
_NAMES = 10_000  # looked at in one folder
_DESCRIBES_ENVIRONMENT = (
    "requirements*.txt",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    ".python-version",
    "environment*.yml",
    "environment*.yaml",
    "conda*.yml",
    "conda*.yaml",
    "pixi.toml",
    "pixi.lock",
    "uv.lock",
    "poetry.lock",
    "pdm.lock",
    "Pipfile",
    "Pipfile.lock",
    "pylock*.toml",
    "Dockerfile*",
    "Containerfile*",
    "*.dockerfile",
)
_DESCRIBES = re.compile("|".join(map(fnmatch.translate, _DESCRIBES_ENVIRONMENT)))
_REQUIREMENTS = re.compile(r".*\.(txt|in)\Z", re.DOTALL)  # in a folder of that name
_SLURM = {
    "slurm/cluster": "SLURM_CLUSTER_NAME",
    "slurm/partition": "SLURM_JOB_PARTITION",
    "slurm/job_id": "SLURM_JOB_ID",
    "slurm/job_name": "SLURM_JOB_NAME",
    "slurm/array_job_id": "SLURM_ARRAY_JOB_ID",
    "slurm/array_task_id": "SLURM_ARRAY_TASK_ID",
    "slurm/restarts": "SLURM_RESTART_COUNT",
    "slurm/nodes": "SLURM_JOB_NODELIST",
    "slurm/tasks": "SLURM_NTASKS",
    "slurm/task": "SLURM_PROCID",
    "slurm/submit_dir": "SLURM_SUBMIT_DIR",
}
# What a pod's manifest hands over to it goes by these names, by custom.
_KUBERNETES = {
    "kubernetes/namespace": ("POD_NAMESPACE", "MY_POD_NAMESPACE"),
    "kubernetes/pod": ("POD_NAME", "MY_POD_NAME"),
    "kubernetes/node": ("NODE_NAME", "MY_NODE_NAME"),
    "kubernetes/job_index": ("JOB_COMPLETION_INDEX",),
}


def collect(cwd: Path | None = None) -> Provenance:
    """Describe the running program and where it runs; never raises.

    Args:
        cwd: Where to look for the repository and the environment's files besides the entry script's
            folder; the working directory when None.
    """
    running = program.now(cwd)
    found = in_common(running)
    running.describe_arguments(found)
    return found


def in_common(running: Program) -> Provenance:
    """All but the arguments: what the runs of one program share for a while.

    The repository is that of the entry script, which gave the result; that of the working directory if
    there is no script, or it is in none.
    """
    found = Provenance()
    code, cwd = running.code, running.cwd
    root = root_of(code, cwd, running.began_in)
    running.describe(found, root)
    if root is not None:
        found.attempt("git", lambda: git.describe(root, found))
    else:
        found.notes.append("git: not inside a repository")
    found.attempt("machine", lambda: _machine(found))
    found.attempt("scheduler", lambda: _scheduler(found))
    found.attempt("packages", lambda: _packages(found))
    folders = [folder for folder in (root, code.parent if code else None, cwd) if folder is not None]
    if folders:
        found.attempt("environment files", lambda: _environment(found, folders))
    return found


def _machine(found: Provenance) -> None:
    count = _cpu_count()
    found.config["python"] = platform.python_version()
    if (environment := _environment_name()) is not None:
        found.config["environment"] = environment
    found.config["platform"] = platform.platform()
    found.config["host"] = platform.node()
    found.config["cpu_count"] = count
    found.config["device"] = _accelerator() or f"cpu x {count}"
    memory = _memory_bytes()
    if memory is None:
        found.notes.append("memory_gb: unknown on this platform without psutil")
    else:
        found.config["memory_gb"] = round(memory / 2**30, 1)


def _environment_name() -> str | None:
    """The conda or virtual environment that this Python is of, activated or not."""
    prefix = Path(sys.prefix)
    if (prefix / "conda-meta").is_dir():
        active = os.environ.get("CONDA_PREFIX") == sys.prefix
        return mask(f"conda:{(active and os.environ.get('CONDA_DEFAULT_ENV')) or prefix.name}")
    return mask(f"venv:{prefix.name}") if sys.prefix != sys.base_prefix else None


def _scheduler(found: Provenance) -> None:
    names: dict[str, tuple[str, ...]] = {key: (name,) for key, name in _SLURM.items()}
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        names |= _KUBERNETES
        found.config["kubernetes/pod"] = platform.node()
    for key, variables in names.items():
        if value := next(filter(None, map(os.environ.get, variables)), None):
            found.config[key] = mask(value)


def _packages(found: Provenance) -> None:
    versions: dict[str, str] = {}
    for entry in dict.fromkeys(path for path in sys.path if isinstance(path, str)):
        there, unreadable = _installed(entry)
        for name, version in there.items():
            versions.setdefault(name, version)  # the first on the path is the one that is imported
        if unreadable:
            what = f"{unreadable} in {mask(entry)} whose name or version cannot be read"
            found.notes.append(f"environment/packages.txt: without {what}")
    lines = [f"{name}=={version}\n" for name, version in versions.items()]
    found.files["environment/packages.txt"] = "".join(sorted(lines, key=str.lower))


def _environment(found: Provenance, folders: list[Path]) -> None:
    top, count = folders[0], 0
    for folder in dict.fromkeys(folders):
        for at, pattern in ((folder, _DESCRIBES), (folder / "requirements", _REQUIREMENTS)):
            inside = at.relative_to(top if at.is_relative_to(top) else folder.parent)
            for name in _names(found, at):
                if pattern.match(name) and (at / name).is_file():
                    if (count := count + 1) > _FILES:
                        found.notes.append(f"environment files: the first {_FILES} are kept")
                        return
                    if (text := found.read(at / name, _FILE_LIMIT)) is not None:
                        found.files[f"environment/{(inside / name).as_posix()}"] = text


def _names(found: Provenance, folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, _NAMES)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    if len(names) == _NAMES:
        found.notes.append(f"environment files: looked for among {_NAMES:,} names of {mask(str(folder))}")
    return sorted(names)


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


# By the folder, with the time of its last change: an installation in mid-session is seen. Of each for itself,
# since what a training saves beside its script is no reason to read a thousand packages once more.
_listed: dict[str, tuple[int, dict[str, str], int]] = {}


def _installed(entry: str) -> tuple[dict[str, str], int]:
    """The versions of what lies in one entry of ``sys.path``, and how many packages do not tell theirs."""
    try:
        folder = os.path.abspath(entry)  # the empty one is wherever the program is now
        changed = os.stat(folder).st_mtime_ns
    except OSError:  # many an entry names nothing that exists
        return {}, 0
    if folder not in _listed or _listed[folder][0] != changed:
        found = importlib.metadata.distributions(path=[folder])
        named = [_named(distribution) for distribution in found]
        versions = {name: version for name, version in reversed(named) if name}
        _listed[folder] = changed, versions, sum(not name for name, _ in named)
    return _listed[folder][1:]


_HEADER = re.compile("^(Name|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def _named(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    """Name and version; no name where they cannot be read: for one broken package not all are left out.

    Read from the file's head: its `metadata` parses the whole file as a mail, which takes ten times as long.
    """
    try:
        text = next(filter(None, map(distribution.read_text, ("METADATA", "PKG-INFO", ""))), "")
    except Exception:
        return "", ""
    told = dict(reversed(_HEADER.findall(text.partition("\n\n")[0])))  # the first counts
    return (told["Name"], told["Version"]) if told.keys() == {"Name", "Version"} else ("", "")
