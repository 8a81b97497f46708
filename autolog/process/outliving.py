"""Whether a process that this program leaves behind would live on after it.

In a container whose first process ends, all others are killed. A job of a scheduler, of a CI or of systemd
ends with its last process, or kills what it finds: there nobody wants one that stays. Who is not sure is
answered with a reason not to.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["why_none_outlives"]

# By what these make known to the processes that they start.
_JOBS = {
    "CI": "CI",
    "GITHUB_ACTIONS": "CI",
    "GITLAB_CI": "CI",
    "JENKINS_URL": "CI",
    "BUILDKITE": "CI",
    "TEAMCITY_VERSION": "CI",
    "TF_BUILD": "CI",
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "SLURM_JOB_ID": "SLURM",
    "PBS_JOBID": "PBS",
    "LSB_JOBID": "LSF",
    "COBALT_JOBID": "Cobalt",
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "PYTEST_VERSION": "pytest",
    "PYTEST_CURRENT_TEST": "pytest",
}
GROUPS = Path("/proc/self/cgroup")
_NOTHING = ("", "0", "false", "no", "off")

# A first process under one of these names is a machine's, which runs until it is shut down.
_MACHINES_FIRST = {"systemd", "init", "launchd", "runit", "s6-svscan", "openrc-init", "dinit", "shepherd"}
_NAMESPACE_OF_THE_KERNEL = 0xEFFF_FFFC  # the number of the first one, in which no container is


def why_none_outlives(directory: Path) -> str | None:
    """Why no process should be left behind here; None: it may be.

    Args:
        directory: what it would work in. One that is temporary may be gone with the program.
    """
    if os.name != "posix":
        return "this system has no locks that would tell the processes apart"
    for variable, what in _JOBS.items():
        if os.environ.get(variable, "").strip().lower() not in _NOTHING:
            return f"{what} ({variable} is set)"
    if "pytest" in sys.modules:
        return "pytest"
    if _is_temporary(directory):
        return f"{directory} is temporary"
    if (unit := _systemd_unit()) is not None:
        return f"the systemd unit {unit}"
    if _is_in_a_container() and 1 in _ancestors():
        return "a container that ends with this program, or with one that has started it"
    return None


def _is_temporary(directory: Path) -> bool:
    path = os.path.realpath(directory)
    folders = {tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm", os.environ.get("XDG_RUNTIME_DIR", "")}
    return any(_is_below(path, os.path.realpath(folder)) for folder in folders if folder)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _systemd_unit() -> str | None:
    """The service that this process belongs to. What a person starts in a terminal is in a scope."""
    try:
        groups = GROUPS.read_text().splitlines()
    except OSError:
        return None
    units = [os.path.basename(line.split(":", 2)[-1]) for line in groups]
    return next((unit for unit in units if unit.endswith(".service")), None)


def _is_in_a_container() -> bool:
    """Whether the first process here is that of a container. Where it cannot be told, it is."""
    if not os.path.exists("/proc/self/ns/pid"):
        return sys.platform == "linux"
    try:
        if os.stat("/proc/self/ns/pid").st_ino == _NAMESPACE_OF_THE_KERNEL:
            return False
        return Path("/proc/1/comm").read_text().strip() not in _MACHINES_FIRST
    except OSError:
        return True


def _ancestors() -> Iterable[int]:
    """This process, whoever started it, and so on, as far as they are in the same container."""
    pid = os.getpid()
    while pid > 0:
        yield pid
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        pid = int(status.rpartition(")")[2].split()[1])
