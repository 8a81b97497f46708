"""Programs that nobody here wrote run under ``autolog run`` as they are, and are recorded."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autolog
from tests.programs import TORCHRUN, environment

pytestmark = pytest.mark.long


def run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env=environment(directory / "trackio", AUTOLOG_DETACH="0"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def by_autolog_run(directory: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What autolog says is in ``log``."""
    ours = [sys.executable, "-m", "autolog", "run", "--log", str(directory / "log"), "--"]
    return run(directory, *ours, *command)


@pytest.fixture
def to_tune(tmp_path: Path) -> list[str]:
    """What TRL's script is told: a small model and a few texts, from this disk."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.transformers.models import tokenizer

    words = tokenizer()
    words.save_pretrained(tmp_path / "model")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    tokens = {
        "vocab_size": len(words),
        "pad_token_id": words.pad_token_id,
        "eos_token_id": words.eos_token_id,
    }
    LlamaForCausalLM(LlamaConfig(**sizes, **tokens)).save_pretrained(tmp_path / "model")
    (tmp_path / "texts").mkdir()
    for split in ("train", "test"):
        rows = [{"text": "a good film"}, {"text": "a bad film"}] * 8
        lines = "\n".join(map(json.dumps, rows))
        (tmp_path / "texts" / f"{split}.jsonl").write_text(lines)
    arguments = (
        "--model_name_or_path model --dataset_name texts --output_dir out --max_steps 4 --logging_steps 2"
    )
    arguments += " --per_device_train_batch_size 2 --report_to none --save_strategy no --use_cpu"
    return arguments.split()


def test_the_script_that_ships_in_trl(tmp_path: Path, to_tune: list[str]) -> None:
    done = by_autolog_run(tmp_path, "-m", "trl.scripts.sft", *to_tune)
    assert done.returncode == 0, done.stderr
    assert "train_runtime" in done.stdout
    (sft,) = autolog.runs("p", at=tmp_path / "trackio")
    assert (sft.status, sft.config["framework"]) == ("finished", "transformers")
    assert sft.params["max_steps"] == 4
    assert len(sft.metrics["train/loss"]) == 2


def test_the_same_as_a_job_of_torchruns(tmp_path: Path, to_tune: list[str]) -> None:
    done = by_autolog_run(tmp_path, "-m", *TORCHRUN, "-m", "trl.scripts.sft", *to_tune)
    assert done.returncode == 0, done.stderr
    (sft,) = autolog.runs("p", at=tmp_path / "trackio")
    assert (sft.status, sft.params["max_steps"]) == ("finished", 4)
    assert len(sft.metrics["train/loss"]) == 2


STABLE_BASELINES = """
import torch
from stable_baselines3 import PPO
torch.set_num_threads(1)
sizes = {"n_steps": 64, "batch_size": 32, "n_epochs": 2}
model = PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", verbose=1, **sizes)
model.learn(192)
print(float(sum(p.double().sum() for p in model.policy.parameters())))
"""


def test_a_training_of_stable_baselines3(tmp_path: Path) -> None:
    """Its loop belongs to no framework that is recorded: it does the same, and a line says so."""
    (tmp_path / "train.py").write_text(STABLE_BASELINES)
    bare, recorded = run(tmp_path, sys.executable, "train.py"), by_autolog_run(tmp_path, "train.py")
    assert bare.returncode == recorded.returncode == 0, recorded.stderr
    timings = re.compile(r"(fps|time_elapsed) +\| \d+ *")
    assert timings.sub("", recorded.stdout) == timings.sub("", bare.stdout)
    assert recorded.stderr == bare.stderr
    assert list(autolog.runs(at=tmp_path / "trackio")) == []
    assert "autolog: nothing was recorded" in (tmp_path / "log").read_text()


def test_a_notebook_that_nbclient_executes(tmp_path: Path) -> None:
    code = [
        "from sklearn.datasets import load_iris\nfrom sklearn.linear_model import LogisticRegression",
        "X, y = load_iris(return_X_y=True)\nmodel = LogisticRegression(C=0.5).fit(X[::2], y[::2])",
        "round(model.score(X[1::2], y[1::2]), 6)",
    ]
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"c{n}",
            "metadata": {},
            "outputs": [],
            "source": s,
        }
        for n, s in enumerate(code)
    ]
    python = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = {"cells": cells, "metadata": python, "nbformat": 4, "nbformat_minor": 5}
    program = "import nbclient.cli; nbclient.cli.main()"
    outputs = []
    for name, execute in (("bare", run), ("recorded", by_autolog_run)):
        (tmp_path / f"{name}.ipynb").write_text(json.dumps(notebook))
        done = execute(tmp_path, sys.executable, "-c", program, "--inplace", f"{name}.ipynb")
        assert done.returncode == 0, done.stderr
        executed = json.loads((tmp_path / f"{name}.ipynb").read_text())
        outputs.append([cell["outputs"] for cell in executed["cells"]])
    assert outputs[0] == outputs[1]
    (fit,) = autolog.runs("p", at=tmp_path / "trackio")
    assert (fit.status, fit.params_set["C"]) == ("finished", 0.5)
    (shown,) = outputs[0][-1]
    assert fit.result["val/accuracy"] == pytest.approx(float("".join(shown["data"]["text/plain"])))
