"""How a program was started, from which code and with which arguments: real programs, one for every way."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

import autolog
from autolog.capture.origin import program
from autolog.capture.origin.program import Program, namespace_of_main
from autolog.capture.origin.result import Provenance

TOKEN = "hf_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
# Prints what was found as one line of JSON, where `tell()` is called.
TELL = f"""
key = "{TOKEN}"
def tell():
    import json
    from autolog.capture.origin.project import project_name
    from autolog.capture.origin.provenance import collect
    found = collect()
    code = {{name: text for name, text in found.files.items() if name.startswith("code/")}}
    print("\\n" + json.dumps([found.config, code, found.notes, project_name()]))

"""
PROGRAM = TELL + "tell()\n"


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "repo"
    (root / "sub").mkdir(parents=True)
    subprocess.run(["git", "init", "-q", "-b", "code", str(root)], check=True)
    (root / "sub" / "__init__.py").write_text("")
    for name in ("train.py", "__main__.py"):
        (root / "sub" / name).write_text(PROGRAM)
    return root


def told(command, cwd, stdin=""):
    """What a program tells about itself: config, files of its code, notes, the project's name."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(autolog.__file__).parents[1])},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    assert TOKEN not in line
    return json.loads(line)


@pytest.mark.parametrize(
    ("command", "stdin", "entry", "kept"),
    [
        ("sub/train.py --token abc", "", "sub/train.py", "code/train.py"),
        ("-i sub/train.py", "", "sub/train.py", "code/train.py"),
        ("-m sub.train", "", "python -m sub.train", "code/train.py"),
        ("-m sub", "", "python -m sub", "code/__main__.py"),
        ("sub", "", "sub/__main__.py", "code/__main__.py"),
        ("-Bc exec(open('sub/train.py').read()) -c", "", "python -c", "code/command.py"),
        ("-", PROGRAM, "stdin", None),
        ("", PROGRAM, "stdin", None),
        ("-i", PROGRAM, "interactive", None),
        ("-m pytest -q -s -p no:cacheprovider test_it.py", "", "python -m pytest", "code/__main__.py"),
    ],
)
def test_the_entry(repo, command, stdin, entry, kept):
    (repo / "test_it.py").write_text(f"{TELL}\ndef test_it():\n    tell()\n")
    config, files, notes, _ = told([sys.executable, *command.split()], repo, stdin)
    assert config["run/entry"] == entry
    assert config["run/cwd"] == str(repo.resolve())
    assert config["git/branch"] == "code", "not that of the installed pytest, but the working directory's"
    assert list(files) == ([kept] if kept else [])
    assert ("entry: no script file to keep" in notes) == (kept is None)
    if "--token" in command:
        assert config["run/argv"][1:] == ["--token", "***"]
    if kept == "code/command.py":
        assert files[kept] == "exec(open('sub/train.py').read())"
        assert config["run/argv"] == ["-c", "-c"]


def test_an_installed_command_is_the_function_that_it_calls(repo, tmp_path):
    """As pip does it for an editable package: a stub elsewhere, the code in its repository."""
    scripts = tmp_path / "bin"
    scripts.mkdir()
    stub = scripts / "train-it"
    stub.write_text(
        "import sys\nfrom pkg.cli import app\nif __name__ == '__main__':\n"
        "    sys.argv[0] = sys.argv[0].removesuffix('.exe')\n    sys.exit(app.main())\n"
    )
    (repo / "pkg").mkdir()
    (repo / "pkg" / "cli.py").write_text(f"{TELL}\nclass app:\n    main = staticmethod(tell)\n")
    start = (
        "import runpy, sys, sysconfig\n"
        "known = sysconfig.get_path\n"
        f"sysconfig.get_path = lambda name, *a: {str(scripts)!r} if name == 'scripts' else known(name, *a)\n"
        f"sys.path.insert(0, {str(repo)!r})\n"
        f"sys.argv = [{str(stub)!r}]\n"
        f"runpy.run_path({str(stub)!r}, run_name='__main__')\n"
    )
    config, files, _, project = told([sys.executable, "-c", start], tmp_path)
    assert config["run/entry"] == "train-it (pkg.cli:app.main)"
    assert list(files) == ["code/cli.py"]
    assert config["git/branch"] == "code"
    assert project == "repo"


def test_an_installed_library_is_not_the_users_code(tmp_path, repo):
    """Python itself may lie in a repository: pyenv's."""
    inside = Path(sysconfig.get_path("stdlib")) / "timeit.py"
    fields = dict.fromkeys(Program.__dataclass_fields__)
    assert Program(**{**fields, "file": str(inside), "cells": [], "argv": []}).code is None
    script = repo / "sub" / "train.py"
    assert Program(**{**fields, "file": str(script), "cells": [], "argv": []}).code == script.resolve()


def test_a_program_that_moves_stays_in_its_repository(repo, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    other = elsewhere / "other"
    other.mkdir(parents=True)
    (other / "requirements.txt").write_text("x")
    (repo / "sub" / "requirements.txt").write_text("y")
    moving = repo / "moving.py"
    moving.write_text(f"import os\n{TELL}os.chdir({str(elsewhere)!r})\ntell()\n")
    config, files, _, project = told([sys.executable, "moving.py"], repo)
    assert config["git/branch"] == "code"
    assert config["run/entry"] == "moving.py"
    assert config["run/cwd"] == str(elsewhere.resolve())
    assert list(files) == ["code/moving.py"]
    assert project == "repo"
    subprocess.run(["git", "init", "-q", "-b", "another", str(elsewhere)], check=True)
    config, _, _, project = told([sys.executable, str(repo / "sub" / "train.py")], other)
    assert config["git/branch"] == "code", "which code gave this result"
    assert project == "elsewhere", "a project is where one works"


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed there")
def test_a_working_directory_that_was_deleted_is_a_note(repo, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    (repo / "leaving.py").write_text(
        f"import os\n{TELL}os.chdir({str(gone)!r})\nos.rmdir(os.getcwd())\ntell()\n"
    )
    config, files, notes, project = told([sys.executable, str(repo / "leaving.py")], repo)
    assert "run/cwd" not in config
    assert "working directory: there is none, it was deleted" in notes
    assert config["git/branch"] == "code"
    assert list(files) == ["code/leaving.py"]
    assert project == "repo"


def test_a_script_that_is_named_relative_to_where_the_program_began(repo, tmp_path):
    """`runpy.run_path("train.py")`, then another working directory."""
    found = Program(
        **{
            **dict.fromkeys(Program.__dataclass_fields__),
            "file": "sub/train.py",
            "cwd": tmp_path,
            "began_in": repo,
            "argv": ["sub/train.py"],
        }
    )
    assert found.source == (repo / "sub" / "train.py").resolve()


# Notebooks -------------------------------------------------------------------------------------------


@pytest.fixture
def kernel(repo, monkeypatch):
    """A real kernel; calling it executes a cell and gives what that printed."""
    monkeypatch.setenv("IPYTHONDIR", str(repo.parent / "ipython"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(repo))

    def execute(cell):
        printed = []
        hook = lambda message: printed.append(message["content"].get("text", ""))  # noqa: E731
        reply = client.execute_interactive(cell, timeout=60, output_hook=hook)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed)

    yield execute
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_cells_of_a_notebook_are_kept(kernel, repo):
    kernel(TELL)
    kernel("x = 1  # größer\n\n")
    kernel("# a comment\ntell(); y = 2")
    config, files, notes, _ = json.loads(kernel("tell()").strip())
    assert config["run/entry"] == "notebook"
    assert config["git/branch"] == "code"
    assert list(files) == ["code/cells.py"]
    assert files["code/cells.py"] == (
        f"# In [1]:\n{TELL.replace(TOKEN, '***').strip()}\n\n# In [2]:\nx = 1  # größer\n\n"
        "# In [3]:\n# a comment\ntell(); y = 2\n\n# In [4]:\ntell()\n"
    )
    assert not [note for note in notes if note.startswith(("entry", "cells"))]
    (repo / "sub" / "a.ipynb").write_text('{"cells": []}')
    kernel(f"__vsc_ipynb_file__ = {str(repo / 'sub' / 'a.ipynb')!r}")
    config, files, _, _ = json.loads(kernel("tell()").strip())
    assert config["run/entry"] == "sub/a.ipynb"
    assert files["code/a.ipynb"] == '{"cells": []}'
    assert "# In [5]:\n__vsc_ipynb_file__" in files["code/cells.py"]

    entry = lambda cell: json.loads(kernel(f"{cell}\ntell()").strip())[0]["run/entry"]  # noqa: E731
    assert entry("import os; os.rename(__vsc_ipynb_file__, 'b.ipynb')") == "notebook"
    assert entry(r"__vsc_ipynb_file__ = r'C:\\notebooks\\far.ipynb'") == "far.ipynb"  # VS Code is elsewhere
    assert entry("PAPERMILL_INPUT_PATH = 's3://bucket/far/away.ipynb'") == "away.ipynb"
    assert entry("del PAPERMILL_INPUT_PATH, __vsc_ipynb_file__") == "notebook"
    forget = "from autolog.capture.origin import program; program._session_name.cache_clear()\n"
    assert entry(f"{forget}os.environ['JPY_SESSION_NAME'] = 'elsewhere/b.ipynb'") == "b.ipynb"
    assert entry(f"{forget}os.environ['JPY_SESSION_NAME'] = 'gone.ipynb'") == "notebook"
    assert entry(f"{forget}os.environ['JPY_SESSION_NAME'] = 'console-1'") == "notebook"


def test_what_another_notebook_is_called_that_has_started_this_program_is_not_said(tmp_path):
    """papermill and nbclient, called in a notebook, hand their environment on."""
    ask = "from autolog.capture.origin import program; print(program._session_name())"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}], check=True)"
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "JPY_SESSION_NAME": "outer.ipynb"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for code in (ask, start)
    ]
    assert told == ["outer.ipynb\n", "None\n"]


def test_a_script_that_a_notebook_runs_is_the_entry(kernel, repo):
    config, files, _, _ = json.loads(kernel("%run sub/train.py").strip())
    assert config["run/entry"] == "sub/train.py"
    assert sorted(files) == ["code/cells.py", "code/train.py"]


def test_of_very_many_cells_the_last_are_kept():
    found = Provenance()
    cells = ["", *(f"{number}\n" + "x" * 100_000 for number in range(1, 21))]
    fields = {**dict.fromkeys(Program.__dataclass_fields__), "cells": cells, "argv": [], "shell": "notebook"}
    Program(**fields).describe(found, None)
    assert found.files["code/cells.py"].startswith("# In [12]:\n12\nxxx")
    assert len(found.files["code/cells.py"]) <= 1_000_000
    assert "cells.py: of 20 cells the last 9 are kept, 1,000,000 characters" in found.notes


def test_ipython_without_a_notebook(repo):
    command = [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    done = subprocess.run(
        [*command, "-c", f"{PROGRAM}"],
        cwd=repo,
        env={**os.environ, "IPYTHONDIR": str(repo.parent / "ipython")},
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("[{")]
    assert json.loads(line)[0]["run/entry"] == "ipython"


# Arguments -------------------------------------------------------------------------------------------

ARGUMENTS = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--api-key")
parser.add_argument("--layers", type=int, nargs="*")
"""


def test_a_namespace_of_the_main_module_is_found(repo):
    (repo / "train.py").write_text(f"{ARGUMENTS}{TELL}args = parser.parse_args()\ntell()\n")
    config, *_ = told(
        [sys.executable, "train.py", "--lr", "1e-3", "--api-key", "abc", "--layers", "3", "4"], repo
    )
    assert config["run/arguments"] == {"lr": 0.001, "api_key": "***", "layers": [3, 4]}


def test_without_a_namespace_there_are_no_arguments(repo):
    config, *_ = told([sys.executable, "sub/train.py"], repo)
    assert "run/arguments" not in config


def test_looking_for_a_namespace_wakes_no_proxy(monkeypatch):
    class Proxy:
        __class__ = property(lambda self: 1 / 0)

    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "lazy", Proxy(), raising=False)
    monkeypatch.setattr(main, "args", argparse.Namespace(lr=1), raising=False)
    assert namespace_of_main() == {"lr": 1}


# Hydra -----------------------------------------------------------------------------------------------

HYDRA = f"""
import hydra
{TELL}
@hydra.main(version_base=None, config_path="conf", config_name="base")
def main(cfg):
    tell()

main()
"""
BASE = """
defaults: [model: small, _self_]
lr: 0.1
lr2: ${lr}
drawn: ${rand:}
needed: ???
db:
  password: hunter2
  host: a
hydra:
  job:
    chdir: true
"""


@pytest.fixture
def with_hydra(repo):
    (repo / "conf" / "model").mkdir(parents=True)
    (repo / "conf" / "base.yaml").write_text(BASE)
    (repo / "conf" / "model" / "small.yaml").write_text("depth: 3\nwidths: [1, 2]\n")
    (repo / "train.py").write_text(HYDRA)
    return repo


def test_a_program_of_hydra(with_hydra):
    out = with_hydra.parent / "out"
    command = ["train.py", "lr=0.5", "+extra=1e-3", "db.password=hunter3", f"hydra.run.dir={out}"]
    config, files, notes, project = told([sys.executable, *command], with_hydra)
    assert config["hydra/overrides"] == ["lr=0.5", "+extra=1e-3", "db.password=***"]
    assert config["hydra/job"] == {"name": "train", "config_name": "base"}
    assert config["hydra/output_dir"] == config["run/cwd"] == str(out.resolve())
    assert config["hydra/config"] == {
        "model": {"depth": 3, "widths": [1, 2]},
        "lr": 0.5,
        "lr2": 0.5,
        "drawn": "${rand:}",
        "needed": "???",
        "db": {"password": "***", "host": "a"},
        "extra": 0.001,
    }
    assert "run/arguments" not in config, "Hydra's own parser has no values of the user's"
    assert config["run/entry"] == "train.py"
    assert config["git/branch"] == "code"
    assert list(files) == ["code/train.py"]
    assert not [note for note in notes if "hydra" in note]
    assert project == "repo"


def test_hydra_without_files_of_its_own(with_hydra):
    command = [sys.executable, "train.py", "hydra.output_subdir=null", "hydra.job.chdir=false"]
    config, _, notes, _ = told(command, with_hydra)
    assert config["hydra/config"]["model"]["depth"] == 3
    assert not [note for note in notes if "hydra" in note]


def test_each_job_of_a_sweep_has_its_own_configuration(with_hydra):
    command = [sys.executable, "train.py", "-m", "lr=1,2", "hydra.job.chdir=false"]
    done = subprocess.run(command, cwd=with_hydra, capture_output=True, text=True, check=True)
    jobs = [json.loads(line)[0] for line in done.stdout.splitlines() if line.startswith("[{")]
    assert [job["hydra/config"]["lr"] for job in jobs] == [1, 2]
    assert [job["hydra/job"]["num"] for job in jobs] == [0, 1]
    assert [job["hydra/overrides"] for job in jobs] == [["lr=1"], ["lr=2"]]


def test_what_is_imported_but_not_used_says_nothing(repo):
    (repo / "train.py").write_text(f"import hydra, hydra.core.hydra_config, argparse\n{PROGRAM}")
    config, _, notes, _ = told([sys.executable, "train.py"], repo)
    assert not [key for key in config if key.startswith(("hydra", "run/arg")) and key != "run/argv"]
    assert not [note for note in notes if "hydra" in note]


def test_taking_a_program_down_imports_nothing():
    code = "import sys; from autolog.capture.origin import program; program.now(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"argparse", "IPython", "hydra", "omegaconf", "yaml"} & set(done.stdout.split())


def test_a_program_is_taken_down_with_its_values_as_they_are(monkeypatch):
    main = sys.modules["__main__"]
    namespace = argparse.Namespace(lr=1)
    monkeypatch.setattr(main, "args", namespace, raising=False)
    taken = program.now()
    namespace.lr = 2
    sys.argv.append("later")
    try:
        found = Provenance()
        taken.describe(found, None)
        taken.describe_arguments(found)
    finally:
        sys.argv.pop()
    assert found.config["run/arguments"] == {"lr": 1}
    assert "later" not in found.config["run/argv"]
