"""Starts Python apart from the user's program: nothing of the program's own reaches it, but what it is given.

It has a session of its own, so that Ctrl-C and a closed terminal are the program's alone; the root for its
folder, so that no folder of the user's is held; and of the descriptors none but a pipe, so that whoever reads
the program's output does not wait for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["begin", "give_way", "import_paths", "is_here", "is_possible", "start"]

# What is installed twice (by PYTHONPATH, say) is found where the program finds it.
_PROGRAM = (
    "import json, sys; found = json.loads(sys.argv.pop(1)); "
    "sys.path[:] = found + [path for path in sys.path if path not in found]; "
    "from {module} import {name}; {name}()"
)

# By which a Python finds, warns or runs something before its program begins.
_WITHOUT = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONDEVMODE")

# Files and folders that libraries look for: given from where the program is, they are elsewhere here.
_PLACES = (
    *("HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)

_is_here = False


def is_here() -> bool:
    """Whether this process is one of ours, in which nothing of the user's runs."""
    return _is_here


def begin() -> None:
    """This process is one of ours."""
    global _is_here  # a process is one from its beginning on
    _is_here = True


def is_possible() -> bool:
    """Whether we run in an interpreter, and not in a program with one inside, which would be started anew."""
    name = os.path.basename(sys.executable or "").lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def start(
    function: str, *arguments: str, environment: dict[str, str] | None = None, answers: bool = False
) -> subprocess.Popen[bytes] | None:
    """Start a Python that calls a function of ours; what it is asked comes on its standard input.

    Args:
        function: ``module:name``.
        arguments: what it finds in ``sys.argv``.
        environment: variables that it has beside this process's own.
        answers: whether its standard output is a pipe, too.

    Returns:
        The process; None: none can be started, or none any more, while the interpreter ends.
    """
    module, _, name = function.partition(":")
    options: dict[str, Any] = {"start_new_session": True, "cwd": "/"}
    if os.name == "nt":
        options = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
    inherited = {key: value for key, value in os.environ.items() if key not in _WITHOUT}
    for key in inherited.keys() & set(_PLACES):
        if inherited[key]:
            inherited[key] = _absolute(inherited[key]) or inherited[key]
    try:
        return subprocess.Popen(
            [
                sys.executable,
                *("-P", "-W", "ignore", "-c", _PROGRAM.format(module=module, name=name)),
                json.dumps(import_paths()),
                *arguments,
            ],
            env={**inherited, "OMP_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,
        )
    except (OSError, RuntimeError):
        return None


def give_way(niceness: int) -> None:
    """Lower the priority of this process, to be called there.

    Linux shares the cores among sessions first, and nice counts inside of one only, where the kernel groups
    processes automatically (``sched(7)``, The autogroup feature). This process has a session of its own: as
    nice as can be it got as much as the whole program, whose numerical library waited for its second core.
    """
    if niceness and hasattr(os, "nice"):
        os.nice(niceness)
        with contextlib.suppress(OSError):  # another system, or a kernel without groups
            Path("/proc/self/autogroup").write_text(str(niceness))


def import_paths() -> list[str]:
    """Where it finds modules that its own interpreter does not: where this process does, but for the program.

    A ``random.py`` beside the user's script is for the script.
    """
    programs = {_absolute(""), _folder_of_main() or _programs_folder}
    programs -= {_home_of(name) for name in ("autolog", "trackio")}
    paths = dict.fromkeys(_absolute(path) for path in sys.path if path and isinstance(path, str))
    return [path for path in paths if path is not None and path not in programs]


def _folder_of_main() -> str | None:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return _absolute(os.path.dirname(main)) if main else None


def _absolute(path: str) -> str | None:
    try:
        return os.path.abspath(path)
    except OSError:  # it begins at a folder that was deleted
        return None


def _home_of(package: str) -> str:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ""
    return str(Path(spec.origin).parents[1]) if spec is not None and spec.origin else ""


_programs_folder = _folder_of_main()  # at the exit Python has forgotten it
