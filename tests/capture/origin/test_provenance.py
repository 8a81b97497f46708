"""Where a run comes from is described whole, masked, and without raising."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from autolog.capture.origin import git as git_module
from autolog.capture.origin import place, provenance
from autolog.capture.origin.place import repository
from autolog.capture.origin.project import project_name
from autolog.capture.origin.provenance import collect

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


def test_untracked_files_are_named(repo):
    git(repo, "config", "core.quotePath", "true")  # git's own default, said aloud
    (repo / "sub" / "old.py").write_text("")
    git(repo, "add", ".")
    (repo / ".gitignore").write_text("ignored/\n")
    for name in ("data/a/b.txt", "data/c.txt", "ignored/x.py", "sub/new.py", "sub/wörter und mehr.txt"):
        (repo / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / name).write_text("")
    (repo / "empty").mkdir()
    (repo / f"{TOKEN}.txt").write_text("")
    names = ["sub/new.py", ".gitignore", "data/", "***.txt", "sub/wörter und mehr.txt"]
    if os.name != "nt":
        (repo / "two\nlines").write_text("")
        names.append("two\nlines")
    found = collect(repo / "sub")
    git(repo, "add", "sub/new.py")
    assert found.config["git/untracked"][0] == "sub/new.py", "what may have been imported comes first"
    assert sorted(found.config["git/untracked"]) == sorted(names)
    assert "sub/new.py" not in collect(repo).config["git/untracked"]
    assert not noted(found, "untracked")


def test_many_untracked_files_are_counted_and_fifty_named(repo):
    for number in range(60):
        (repo / f"result-{number:02}.txt").write_text("")
    (repo / "zz.py").write_text("")
    found = collect(repo)
    assert found.config["git/untracked"] == ["zz.py", *(f"result-{n:02}.txt" for n in range(49))]
    assert noted(found, "git: 61 untracked files, the first 50 are named")


def test_an_answer_on_untracked_files_that_is_cut_is_noted(repo, monkeypatch):
    for number in range(60):
        (repo / f"result-{number:02}.txt").write_text("")
    monkeypatch.setattr(git_module, "_BYTES", 330)
    found = collect(repo)
    assert noted(found, "git: untracked files: truncated after 330 bytes")
    assert found.config["git/untracked"] == [f"result-{n:02}.txt" for n in range(23)], "no name is cut in two"


def test_the_content_of_binary_files_is_noted_to_be_missing(repo):
    for name in ("a and b.bin", "wörter.bin", "gone.bin"):
        (repo / name).write_bytes(b"\0\1")
    git(repo, "config", "diff.noprefix", "true")  # what a user prefers to see changes nothing
    git(repo, "add", ".")
    git(repo, "commit", "-m", "second")
    (repo / "a and b.bin").write_bytes(b"\0\2")
    (repo / "wörter.bin").write_bytes(b"\0\2")
    (repo / "gone.bin").unlink()
    (repo / "train.py").write_text("Binary files a/x and b/x differ\n")
    found = collect(repo)
    assert "\nBinary files a/a and b.bin and b/a and b.bin differ\n" in found.files["code/git.diff"]
    names = "a and b.bin, gone.bin, wörter.bin"
    assert f"git diff: the content of binary files is not kept: {names}" in found.notes


def test_of_many_binary_files_ten_are_named(repo):
    for number in range(12):
        (repo / f"{number:02}.bin").write_bytes(b"\0\1")
    git(repo, "add", ".")
    assert noted(collect(repo), "08.bin, 09.bin and 2 more")


@pytest.fixture
def with_submodule(repo, tmp_path):
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "-b", "main")
    (library / "model.py").write_text("depth = 1\n")
    git(library, "add", ".")
    git(library, "commit", "-m", "first")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", str(library), "lib dir")
    git(repo, "commit", "-m", "with a submodule")
    return repo


def test_a_changed_submodule_is_in_the_diff_by_its_commit(with_submodule):
    inside = with_submodule / "lib dir"
    assert collect(with_submodule).config["git/dirty"] is False
    git(with_submodule, "config", "diff.submodule", "log")
    (inside / "model.py").write_text("depth = 2\n")
    found = collect(with_submodule)
    assert found.config["git/dirty"] is True
    assert noted(found, "git diff: changes inside submodules are not kept: lib dir")
    git(inside, "commit", "-am", "second")
    found = collect(with_submodule)
    head = subprocess.check_output(["git", "-C", str(inside), "rev-parse", "HEAD"], text=True)
    assert f"+Subproject commit {head}" in found.files["code/git.diff"]
    assert not noted(found, "submodule")


def test_inside_a_submodule_the_submodule_is_the_repository(with_submodule):
    inside = with_submodule / "lib dir"
    (inside / "new.py").write_text("")
    head = subprocess.check_output(["git", "-C", str(inside), "rev-parse", "HEAD"], text=True)
    config = collect(inside).config
    assert config["git/commit"] == head.strip()
    assert config["git/untracked"] == ["new.py"]


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
    monkeypatch.setattr(place, "repository", lambda folder: None)
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
    monkeypatch.setattr(git_module, "_SECONDS", 0.05)
    assert noted(collect(repo), "no answer within 0.05 s")


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for git")
def test_untracked_files_that_take_too_long_are_a_note(repo, monkeypatch, tmp_path):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    real, sleep = shutil.which("git"), shutil.which("sleep")
    slow.write_text(f'#!/bin/sh\ncase "$*" in *ls-files*) exec {sleep} 60;; esac\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(slow.parent))
    monkeypatch.setattr(git_module, "_SECONDS", 0.5)
    found = collect(repo)
    assert noted(found, "git: untracked files: no answer within 0.5 s")
    assert found.config["git/branch"] == "main"


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


def test_packages_are_named_as_python_names_them():
    by_python = {}
    for distribution in importlib.metadata.distributions():
        by_python.setdefault(distribution.metadata["Name"], distribution.version)
    assert packages() == sorted((f"{name}=={of}" for name, of in by_python.items()), key=str.lower)


def test_a_package_that_is_described_by_one_file(tmp_path, monkeypatch):
    head = "Metadata-Version: 1.0\nName: old\nVersion: 1.2\nName: not me\n\nName: nor me\n"
    (tmp_path / "old-1.2-py3.11.egg-info").write_text(head)
    monkeypatch.syspath_prepend(tmp_path)
    assert "old==1.2" in packages()


def packages():
    return collect().files["environment/packages.txt"].splitlines()


def test_what_is_installed_in_mid_session_is_seen(tmp_path, monkeypatch):
    def install(folder, version):
        (tmp_path / folder / "newcomer.dist-info").mkdir(parents=True)
        metadata = tmp_path / folder / "newcomer.dist-info" / "METADATA"
        metadata.write_text(f"Metadata-Version: 2.1\nName: newcomer\nVersion: {version}\n")

    install("second", "2.0")
    (tmp_path / "first").mkdir()
    os.utime(tmp_path / "first", (0, 0))
    monkeypatch.syspath_prepend(tmp_path / "second")
    monkeypatch.syspath_prepend(tmp_path / "first")
    assert "newcomer==2.0" in packages()
    install("first", "1.0")  # which is imported from now on
    assert "newcomer==1.0" in packages()
    assert "newcomer==2.0" not in packages()


def test_a_package_that_cannot_be_read_is_said_to_be_missing_and_costs_no_other(tmp_path, monkeypatch):
    for name, metadata in {"whole": b"Name: whole\nVersion: 3.0\n", "torn": b"Name: \xff\n"}.items():
        (tmp_path / f"{name}-3.0.dist-info").mkdir()
        (tmp_path / f"{name}-3.0.dist-info" / "METADATA").write_bytes(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    found = collect()
    assert "whole==3.0" in found.files["environment/packages.txt"].splitlines()
    assert [note for note in found.notes if f"without 1 in {tmp_path} whose name" in note]


def test_what_is_saved_beside_the_script_lets_no_packages_be_read_anew(tmp_path, monkeypatch):
    metadata = tmp_path / "installed" / "newcomer.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 2.0\n")
    (tmp_path / "script").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "installed")
    monkeypatch.syspath_prepend(tmp_path / "script")
    assert "newcomer==2.0" in packages()
    metadata.unlink()  # its folder's own time stays as it was: read anew, it would be gone
    (tmp_path / "script" / "model.ckpt").touch()
    assert "newcomer==2.0" in packages()


def test_files_that_describe_the_environment_come_along(repo):
    (repo / "requirements-dev.txt").write_text(f"--index-url https://me:{TOKEN}@host/\nnumpy\n")
    (repo / "sub" / "pyproject.toml").write_text("[project]\n")
    (repo / "uv.lock").write_text("x" * 300_000)
    (repo / "requirements").mkdir()
    texts = (
        "requirements/gpu.txt",
        "setup.cfg",
        ".python-version",
        "pixi.lock",
        "Dockerfile.gpu",
        "a.dockerfile",
    )
    for name in texts:
        (repo / name).write_text(name)
    (repo / "requirements" / "model.bin").write_text("")
    (repo / "Pipfile.lock").mkdir()
    found = collect(repo / "sub")
    assert {f"environment/{name}": name for name in texts}.items() <= found.files.items()
    assert not any("bin" in name or "Pipfile" in name for name in found.files)
    assert found.files["environment/requirements-dev.txt"].endswith("***@host/\nnumpy\n")
    assert found.files["environment/sub/pyproject.toml"] == "[project]\n"
    assert "environment/uv.lock" not in found.files
    assert noted(found, "uv.lock: left out, larger than 262,144 bytes")


def test_a_scheduler_leaves_its_ids(tmp_path, monkeypatch):
    for name, value in {
        "SLURM_CLUSTER_NAME": "big",
        "SLURM_JOB_PARTITION": "gpu",
        "SLURM_JOB_ID": "17",
        "SLURM_PROCID": "0",
        "SLURM_SUBMIT_DIR": "/home/me",
        "POD_NAME": "worker-0",
        "NODE_NAME": "jenkins",  # also what others call theirs
    }.items():
        monkeypatch.setenv(name, value)
    config = collect(tmp_path).config
    assert {key: value for key, value in config.items() if key.startswith(("slurm/", "kubernetes/"))} == {
        "slurm/cluster": "big",
        "slurm/partition": "gpu",
        "slurm/job_id": "17",
        "slurm/task": "0",
        "slurm/submit_dir": "/home/me",
    }
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("MY_POD_NAMESPACE", "team")
    config = collect(tmp_path).config
    assert config["kubernetes/pod"] == "worker-0"
    assert config["kubernetes/namespace"] == "team"
    assert config["kubernetes/node"] == "jenkins"
    monkeypatch.delenv("POD_NAME")
    assert collect(tmp_path).config["kubernetes/pod"] == platform.node()


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


def test_of_very_many_files_that_describe_the_environment_fifty_are_kept(repo):
    for number in range(60):
        (repo / f"requirements-{number}.txt").write_text("")
    found = collect(repo)
    assert len([name for name in found.files if name.startswith("environment/requirements")]) == 50
    assert noted(found, "environment files: the first 50 are kept")


def test_a_folder_of_very_many_files_is_looked_at_in_part(repo, monkeypatch):
    monkeypatch.setattr(provenance, "_NAMES", 2)
    assert noted(collect(repo), "environment files: looked for among 2 names of")


def test_the_environment_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    assert collect(tmp_path).config["environment"] == "venv:env"
    (tmp_path / "env" / "conda-meta").mkdir(parents=True)
    assert collect(tmp_path).config["environment"] == "conda:env"
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "base")
    assert collect(tmp_path).config["environment"] == "conda:base"
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert "environment" not in collect(tmp_path).config


def test_a_step_that_fails_is_a_note(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "platform", lambda: 1 / 0)
    found = collect(tmp_path)
    assert noted(found, "machine: ZeroDivisionError")
    assert "environment/packages.txt" in found.files


def test_a_folder_that_is_gone_is_a_note(tmp_path):
    found = collect(tmp_path / "gone")
    assert noted(found, "working directory: there is none")
    assert "run/cwd" not in found.config
    assert "python" in found.config


def test_the_project_is_named_after_the_repository(repo, tmp_path):
    assert project_name(repo / "sub") == "my project"
    (repo / "sub" / ".git").write_text("gitdir: ../.git")  # a submodule, or a worktree
    assert project_name(repo / "sub") == "sub"
    assert repository(repo) == repo


def test_the_project_is_named_after_the_folder_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(place, "repository", lambda folder: None)
    assert project_name(tmp_path) == tmp_path.name
    assert project_name(tmp_path.__class__("/")) == "default"


@pytest.mark.skipif(os.name == "nt", reason="a folder in use cannot be removed there")
def test_the_project_of_a_folder_that_is_gone(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert project_name() == "default"
