"""The program that a run belongs to: how it was started, with which arguments, from which code.

:func:`now` takes it down in microseconds, for the caller's thread; :meth:`Program.describe` makes facts and
texts of it, a moment later and elsewhere. What the program changes in between is not seen, but for objects
inside of its arguments.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from autolog.capture.origin.place import working_directory
from autolog.capture.origin.result import Provenance
from autolog.capture.params import mask, sanitize
from autolog.process import notebook

__all__ = ["Program", "now"]

_TEXT_LIMIT = 1_000_000  # bytes of a script; characters of a notebook's cells
_STUB = re.compile(r"^from ([\w.]+) import \w+$.*^ +sys\.exit\((\w[\w.]*)\(\)\)$", re.MULTILINE | re.DOTALL)
_JOB = ("name", "num", "id", "config_name")  # of all that Hydra says of a job, what tells it from others


def now(
    cwd: Path | None = None, *, began_in: Path | None = None, arguments: Mapping[str, Any] | None = None
) -> Program:
    """The running program as it stands at this moment.

    Args:
        cwd: Its working directory, if it is not the process's.
        began_in: An earlier working directory, where relative names may begin too.
        arguments: The values of its command line by name. None: :func:`namespace_of_main`.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    shell = notebook.shell()
    is_notebook = notebook.is_here()
    cells = shell.user_ns.get("In") if shell is not None else None
    here = working_directory(cwd)
    return Program(
        cwd=here,
        began_in=began_in,
        argv=list(sys.argv),
        file=None if file == "<stdin>" else file,
        module=getattr(getattr(main, "__spec__", None), "name", None),
        shell=None if shell is None else "notebook" if is_notebook else "ipython",
        notebook=_notebook(shell.user_ns, here) if is_notebook else None,
        cells=cells[:] if isinstance(cells, list) else [],
        arguments=namespace_of_main() if arguments is None else arguments,
        hydra=_hydra(),
    )


def values_of(namespace: Any) -> dict[str, Any]:
    """The values in what `argparse` has filled: its own Namespace, or any object or class of the user's."""
    values = dict(getattr(namespace, "__dict__", {}))
    return {name: value for name, value in values.items() if not name.startswith("__")}


def namespace_of_main() -> dict[str, Any]:
    """The values of an `argparse.Namespace` among the global variables of the main module."""
    argparse, main = sys.modules.get("argparse"), sys.modules.get("__main__")
    if argparse is None or main is None:
        return {}
    # By the class alone: an object may be a proxy that loads something once it is looked at.
    found = [value for value in list(vars(main).values()) if issubclass(type(value), argparse.Namespace)]
    return values_of(found[-1]) if found else {}


@dataclass(frozen=True)
class Program:
    """A program at one moment, not looked into yet. See :func:`now`."""

    cwd: Path | None
    began_in: Path | None
    argv: list[str]
    file: str | None
    module: str | None
    shell: str | None
    notebook: str | None
    cells: list[str]
    arguments: Mapping[str, Any]
    hydra: Any

    @functools.cached_property
    def source(self) -> Path | None:
        """The file that its code begins in: a script, a notebook, for an installed command its module's."""
        name = self.file or self.notebook
        if name is None:
            return None
        folders = [folder for folder in (self.cwd, self.began_in) if folder is not None]
        file = next((at for folder in folders if (at := folder / name).is_file()), Path(name))
        if (called := self._called) is not None:
            module = sys.modules.get(called.partition(":")[0])
            file = Path(getattr(module, "__file__", None) or file)
        try:
            return file.resolve()
        except OSError:  # a relative name in a folder that was deleted
            return None

    @property
    def code(self) -> Path | None:
        """Its source, unless that was installed: where Python is installed is no place of the user's code."""
        if self.source is None or any(self.source.is_relative_to(at) for at in _installation()):
            return None
        return self.source

    def describe(self, found: Provenance, root: Path | None) -> None:
        """How it was started, and its code; of a notebook the cells up to the one that ran then.

        Args:
            root: The folder that the entry's name is relative to.
        """
        found.config["run/argv"] = sanitize(self.argv)
        if self.cwd is None:
            found.notes.append("working directory: there is none, it was deleted")
        else:
            found.config["run/cwd"] = mask(str(self.cwd))
        found.attempt("entry", lambda: self._entry(found, root))
        found.attempt("cells", lambda: self._cells(found))

    def describe_arguments(self, found: Provenance) -> None:
        """What it was told to do: by its command line, or by Hydra, whose command line it is then."""
        if self.hydra is not None:
            found.attempt("hydra", lambda: found.config.update(_of_hydra(self.hydra)))
        elif self.arguments:
            found.config["run/arguments"] = sanitize(self.arguments)

    def _entry(self, found: Provenance, root: Path | None) -> None:
        found.config["run/entry"] = self._name(root)
        if self.source is not None:
            if (text := found.read(self.source, _TEXT_LIMIT)) is not None:
                found.files[f"code/{self.source.name}"] = text
        elif self.argv[:1] == ["-c"] and (command := _command()) is not None:
            found.files["code/command.py"] = mask(command[:_TEXT_LIMIT])
        elif not self.cells:
            found.notes.append("entry: no script file to keep")

    def _name(self, root: Path | None) -> str:
        if self.file is None:
            if self.shell is not None:
                return self._name_of_notebook(root) or self.shell
            if self.argv[:1] == ["-c"]:
                return "python -c"
            return "interactive" if hasattr(sys, "ps1") else "stdin"  # the interpreter's prompt
        if self.module is not None and self.module != "__main__":  # the latter is a folder or a zip file
            return f"python -m {self.module.removesuffix('.__main__')}"
        if self._called is not None:
            return f"{Path(self.file).name} ({self._called})"
        return _within(root, self.source or Path(self.file))

    def _name_of_notebook(self, root: Path | None) -> str | None:
        """None: whoever has named it has not said since that it was renamed, or nobody has named it."""
        if self.notebook is None:
            return None
        if self.source is not None and self.source.is_file():
            return _within(root, self.source)
        file = Path(self.notebook)
        if file.is_absolute() and file.parent.is_dir():
            return None
        return mask(PureWindowsPath(file).name)  # it is on another machine, of any kind

    @functools.cached_property
    def _called(self) -> str | None:
        """The function that an installed command calls, as `module:function`."""
        try:
            if self.file is None or Path(self.file).resolve().parent not in _installation():
                return None
            with open(self.file, encoding="utf-8") as stub:
                found = _STUB.search(stub.read(10_000))
        except (OSError, UnicodeDecodeError):
            return None
        return f"{found[1]}:{found[2]}" if found else None

    def _cells(self, found: Provenance) -> None:
        cells = [
            f"# In [{number}]:\n{cell.rstrip()}\n" for number, cell in enumerate(self.cells) if cell.strip()
        ]
        size = kept = 0
        for cell in reversed(cells):  # the last ones are closest to the run
            size += len(cell) + 1
            if size > _TEXT_LIMIT:
                found.notes.append(
                    f"cells.py: of {len(cells)} cells the last {kept} are kept, {_TEXT_LIMIT:,} characters"
                )
                break
            kept += 1
        if kept:
            found.files["code/cells.py"] = mask("\n".join(cells[-kept:]))


def _within(root: Path | None, file: Path) -> str:
    if root is not None and file.is_relative_to(root):
        file = file.relative_to(root)
    return mask(file.as_posix())


def _notebook(names: Mapping[str, Any], cwd: Path | None) -> str | None:
    """The notebook that the kernel runs, if whoever runs it has said so.

    Args:
        names: the notebook's global variables: papermill (``--inject-paths``) and VS Code put one there.
    """
    told = names.get("PAPERMILL_INPUT_PATH") or names.get("__vsc_ipynb_file__")
    if isinstance(told, str) and told.endswith(".ipynb"):
        return told
    told = _session_name()
    if told is None or not told.endswith(".ipynb") or cwd is None:
        return None
    # Older servers name it from their own folder, while a kernel begins in the notebook's. And a server says
    # what it was called when the kernel was started: by now another one may have that name.
    places = cwd / told, cwd / Path(told).name
    return next((str(place) for place in places if place.is_file()), None)


@functools.cache
def _session_name() -> str | None:
    """What Jupyter's server calls this kernel's session, not that of another kernel which has started it."""
    name = os.environ.get("JPY_SESSION_NAME")
    if name is None:
        return None
    import psutil

    try:
        return None if psutil.Process().parent().environ().get("JPY_SESSION_NAME") == name else name
    except (psutil.Error, OSError, AttributeError):  # it is gone, or not ours to ask
        return None


_described: tuple[Any, dict[str, Any]] = (None, {})  # Hydra's configuration of the job, and what it said


def _of_hydra(config: Any) -> dict[str, Any]:
    """What Hydra composed for the job that runs. It takes milliseconds, so once for all runs of a job."""
    global _described
    if _described[0] is not config:
        told, omegaconf = config.hydra, sys.modules["omegaconf"].OmegaConf
        job, runtime = sanitize(told.job), sanitize(told.runtime)
        values = {
            "hydra/overrides": sanitize(omegaconf.to_container(told.overrides.task)),  # as given
            "hydra/job": {key: job[key] for key in _JOB if job.get(key) not in (None, "???")},
            "hydra/output_dir": runtime.get("output_dir"),
        }
        # Hydra's own part hangs below the whole configuration, also when it is told to write no file of it.
        whole = told._get_parent()
        if names := [name for name in whole if name != "hydra"]:
            values["hydra/config"] = sanitize(omegaconf.masked_copy(whole, names))
        _described = (config, values)
    return _described[1]


def _hydra() -> Any:
    config = getattr(sys.modules.get("hydra.core.hydra_config"), "HydraConfig", None)
    return config.instance().cfg if config is not None else None


def _command() -> str | None:
    """The text of `python -c`."""
    words = sys.orig_argv
    option = next((at for at, word in enumerate(words) if re.fullmatch("-[A-Za-z]*c", word)), len(words))
    return words[option + 1] if option + 1 < len(words) else None


@functools.cache
def _installation() -> frozenset[Path]:
    """Where commands, libraries and Python itself are installed."""
    import sysconfig

    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    return frozenset(
        Path(sysconfig.get_path(name, scheme)).resolve()
        for scheme in schemes
        for name in ("scripts", "purelib", "platlib", "stdlib")
    )
