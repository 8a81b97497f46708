"""Tokens are planted everywhere; afterwards every stored byte is searched for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import environment, read

# Put together here, so that no scanner of this repository finds a token in it.
BODY = "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
BY_SHAPE = ["hf_" + BODY, "ghp_" + BODY, "sk-proj-" + BODY, "AKIA" + "ABCDEFGH12345678", "npm_" + BODY]
BY_NAME = "plainsecret-" + "of-the-user"

SCRIPT = """
import os, sys
import autolog
from sklearn.base import BaseEstimator, RegressorMixin

API_KEY = "{by_name}"
token = "{shape}"

class Model(RegressorMixin, BaseEstimator):
    def __init__(self, api_key=None, hub=None):
        self.api_key = api_key
        self.hub = hub
    def fit(self, X, y):
        return self
    def predict(self, X):
        return [0.0 for _ in X]

autolog.enable(project="p", log_models=False)  # a pickled model holds its parameters (docs/promises.md)
X, y = [[0.0], [1.0], [2.0]], [0.5, 1.5, 2.5]
Model(api_key="{by_name}", hub={{"password": "{by_name}", "url": "https://me:{by_name}@host/x"}}).fit(X, y)
shapes = {shapes!r}
config = {{"secret": "{by_name}", "note": shapes[2]}}
with autolog.run("run " + shapes[0], tags=shapes, group=shapes[1], config=config) as run:
    for shape in shapes:
        run.log({{"m/" + shape: 1.0}})
        run.params({{"prompt": "use " + shape, "nested": [{{"token": "{by_name}"}}], shape: 1}})
        run.table("t", [{{"text": shape, "password": "{by_name}", shape: 1}}])
        run.alert("with " + shape, "password={by_name} and " + shape)
    try:
        Model.fit = lambda self, X, y: 1 / 0
        raise RuntimeError("the server said no to token={by_name}")
    except RuntimeError as error:
        failure = error
try:
    with autolog.run("failing"):
        raise failure
except RuntimeError:
    pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with secrets in its remote, its diff, its requirements, its untracked files."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("# first\n")
    (folder / "requirements.txt").write_text(f"git+https://me:{BY_NAME}@host/x.git\n--token {BY_SHAPE[0]}\n")
    (folder / "Dockerfile").write_text(f"ENV DB_PASSWORD {BY_NAME}\nENV API_KEY={BY_NAME}\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (
        ["init", "-q"],
        ["add", "."],
        ["commit", "-qm", "first"],
        ["remote", "add", "origin", f"https://me:{BY_SHAPE[1]}@host/x.git"],
    ):
        subprocess.run([*git, *command], cwd=folder, check=True)
    script = SCRIPT.format(by_name=BY_NAME, shape=BY_SHAPE[0], shapes=BY_SHAPE)
    (folder / "train.py").write_text(script)
    return folder


@pytest.mark.slow
def test_no_planted_token_is_stored(project: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    secrets = {"HF_TOKEN": BY_SHAPE[0], "SLURM_JOB_ID": "7", "SLURM_TOKEN": BY_NAME}
    arguments = ["--api-key", BY_NAME, f"--password={BY_NAME}", "--lr", "0.1", BY_SHAPE[2]]
    out = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=project,
        env={**environment(store), **secrets},
        capture_output=True,
        text=True,
        check=True,
    )
    planted = [BY_NAME, BODY, *BY_SHAPE]
    assert not [secret for secret in planted if secret in out.stdout + out.stderr]
    files = [Path(folder) / name for folder, _, names in os.walk(store) for name in names]
    assert len(files) > 5
    found = {
        f"{path.relative_to(store)}: {secret[:12]}"
        for path in files
        for secret in planted
        if secret.encode() in path.read_bytes() or secret in str(path)
    }
    assert found == set()
    kept = {r["name"].split()[0]: r for r in read(store)}
    assert kept["Model"]["config"]["params"]["api_key"] == "***"
    assert kept["Model"]["config"]["run/argv"][-2:] == ["0.1", "***"], "what is no secret stays"
    assert kept["Model"]["config"]["git/remote"] == "https://***@host/x.git"
    assert kept["failing"]["config"]["status"] == "failed"
