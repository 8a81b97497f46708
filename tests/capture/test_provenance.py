"""Where a run comes from is described whole, masked, and without raising."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from autolog.capture import provenance
from autolog.capture.provenance import collect, project_name, repository

TOKEN = "hf_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"


@pytest.fixture(autouse=True)
def plain_git(monkeypatch, tmp_path_factory):
    """Neither the machine's own configuration nor an outer repository reaches these tests."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "A")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "a@b.c")


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path):
    root = tmp_path / "my project"
    (root / "sub").mkdir(parents=True)
    git(root, "init", "-b", "main")
    (root / "train.py").write_text("lr = 1\n")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    return root


def noted(found, said):
    return any(said in note for note in found.notes)


def test_a_clean_repository(repo):
    git(repo, "remote", "add", "origin", f"https://me:{TOKEN}@host.org/a/b.git")
    (repo / "untracked.txt").write_text("x")
    found = collect(repo / "sub")
    head = subprocess.check_output(["git", "-C", str(repo), "rev-parse", "HEAD"], text=True)
    assert found.config["git/commit"] == head.strip()
    assert found.config["git/branch"] == "main"
    assert found.config["git/dirty"] is False
    assert found.config["git/remote"] == "https://***@host.org/a/b.git"
    assert "code/git.diff" not in found.files


def test_a_change_is_kept_as_a_masked_diff(repo):
    (repo / "train.py").write_text(f'lr = 2\nkey = "{TOKEN}"\n')
    found = collect(repo)
    assert found.config["git/dirty"] is True
    assert "+lr = 2" in found.files["code/git.diff"]
    assert TOKEN not in str(found)


def test_a_huge_diff_is_truncated_at_a_line_and_noted(repo):
    (repo / "train.py").write_text("a line of text\n" * 200_000)
    found = collect(repo)
    diff = found.files["code/git.diff"]
    assert 990_000 < len(diff) <= 1_000_000
    assert diff.endswith("+a line of text\n")
    assert noted(found, "truncated")


def test_a_detached_head_has_no_branch(repo):
    git(repo, "checkout", "--detach")
    found = collect(repo)
    assert found.config["git/branch"] is None
    assert "git/commit" in found.config
    assert noted(found, "detached")


def test_a_repository_without_commits(tmp_path):
    git(tmp_path, "init", "-b", "main")
    found = collect(tmp_path)
    assert "git/commit" not in found.config
    assert found.config["git/branch"] == "main"
    assert noted(found, "no commits yet")


def test_no_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "repository", lambda folder: None)
    found = collect(tmp_path)
    assert not [key for key in found.config if key.startswith("git/")]
    assert noted(found, "not inside a repository")


def test_a_broken_repository(tmp_path):
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert noted(collect(tmp_path), "git failed")


def test_no_git(repo, monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = collect(repo)
    assert noted(found, "git cannot be run")
    assert "git/dirty" not in found.config


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for git")
def test_a_git_that_hangs_is_stopped(repo, monkeypatch, tmp_path):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent))
    monkeypatch.setattr(provenance, "_GIT_SECONDS", 0.05)
    assert noted(collect(repo), "no answer within 0.05 s")


def test_git_is_asked_about_this_repository_only(repo, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert "git/commit" in collect(repo).config


def test_the_machine():
    config = collect().config
    assert config["python"] == platform.python_version()
    assert config["host"] == platform.node()
    assert config["cpu_count"] >= 1
    assert config["device"]
    assert config["memory_gb"] > 0


def test_installed_packages_are_sorted_lines():
    lines = collect().files["environment/packages.txt"].splitlines()
    assert any(line.startswith("numpy==") for line in lines)
    assert lines == sorted(lines, key=str.lower)


def test_files_that_describe_the_environment_come_along(repo):
    (repo / "requirements-dev.txt").write_text(f"--index-url https://me:{TOKEN}@host/\nnumpy\n")
    (repo / "sub" / "pyproject.toml").write_text("[project]\n")
    (repo / "uv.lock").write_text("x" * 300_000)
    found = collect(repo / "sub")
    assert found.files["environment/requirements-dev.txt"].endswith("***@host/\nnumpy\n")
    assert found.files["environment/sub/pyproject.toml"] == "[project]\n"
    assert "environment/uv.lock" not in found.files
    assert noted(found, "uv.lock: left out, larger than 262,144 bytes")


@pytest.mark.parametrize(
    ("command", "entry", "file"),
    [
        (["sub/train.py", "--token", "abc"], "sub/train.py", "code/train.py"),
        (["-m", "sub.train"], "python -m sub.train", "code/train.py"),
        (["-m", "sub"], "python -m sub", "code/__main__.py"),
        (["-c", "exec(open('sub/train.py').read())"], "interactive", None),
    ],
)
def test_the_entry(repo, command, entry, file):
    code = f"""
from autolog.capture.provenance import collect
found = collect()
key = "{TOKEN}"
print(found.config["run/entry"])
print(found.config["run/argv"][1:])
print(*[name for name in found.files if name.startswith("code/") and name != "code/git.diff"])
assert not any(key in text for text in found.files.values())
"""
    for name in ("train.py", "__main__.py", "__init__.py"):
        (repo / "sub" / name).write_text("" if name == "__init__.py" else code)
    package = os.path.dirname(os.path.dirname(os.path.dirname(provenance.__file__)))
    done = subprocess.run(
        [sys.executable, *command],
        cwd=repo,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert said[0] == entry
    assert said[1] == ("['--token', '***']" if "--token" in command else "[]")
    assert said[2] == (file or "")


def test_a_notebook(tmp_path, monkeypatch):
    notebook = tmp_path / "a.ipynb"
    notebook.write_text("{}")
    shell = SimpleNamespace(kernel=object(), user_ns={"__vsc_ipynb_file__": str(notebook)})
    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    found = collect(tmp_path)
    assert found.config["run/entry"] == "notebook"
    assert found.files["code/a.ipynb"] == "{}"
    shell.user_ns.clear()
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert noted(collect(tmp_path), "no script file")


def test_a_scheduler_leaves_its_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("POD_NAME", "worker-0")
    config = collect(tmp_path).config
    assert config["slurm/job_id"] == "17"
    assert config["kubernetes/pod"] == "worker-0"


def fake_torch(initialized, cuda="12.8"):
    """torch is too large to install for this: only what it answers matters here."""
    calls = SimpleNamespace(
        is_initialized=lambda: initialized,
        get_device_name=lambda index: "Some GPU",
        device_count=lambda: 2,
    )
    return SimpleNamespace(cuda=calls, version=SimpleNamespace(cuda=cuda))


@pytest.mark.parametrize(
    ("torch", "driver", "visible", "device"),
    [
        (fake_torch(True), [], None, "Some GPU x 2"),
        (fake_torch(False), ["H200", "H200"], None, "H200 x 2"),
        (fake_torch(False), ["H200", "H200"], "1", "H200 x 1"),
        (fake_torch(False), ["H200", "H200"], "", "cpu"),
        (fake_torch(False), [], None, "cpu"),
        (fake_torch(False, cuda=None), ["H200"], None, "cpu"),
        (None, ["H200"], None, "cpu"),
    ],
)
def test_the_accelerator_is_named_without_waking_it(monkeypatch, torch, driver, visible, device):
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(provenance, "_nvidia_names", lambda: iter(driver))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert collect().config["device"].startswith(device)


def test_a_step_that_fails_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "platform", lambda: 1 / 0)
    found = collect(tmp_path)
    assert noted(found, "machine: ZeroDivisionError")
    assert "environment/packages.txt" in found.files


def test_a_folder_that_is_gone_is_a_note(tmp_path):
    assert noted(collect(tmp_path / "gone"), "working directory: FileNotFoundError")


def test_the_project_is_named_after_the_repository(repo, tmp_path):
    assert project_name(repo / "sub") == "my project"
    (repo / "sub" / ".git").write_text("gitdir: ../.git")  # a submodule, or a worktree
    assert project_name(repo / "sub") == "sub"
    assert repository(repo) == repo


def test_the_project_is_named_after_the_folder_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "repository", lambda folder: None)
    assert project_name(tmp_path) == tmp_path.name
    assert project_name(tmp_path.__class__("/")) == "default"


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed there")
def test_the_project_of_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project_name() == "default"
