"""Whether an extra suffices by itself: ``python tests/alone.py sklearn``, where nothing else is installed.

A program of a user's is run as it is, and recorded. Its run must be whole, and what it prints the same but
for the one line of ours.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

BY_HAND = """
import contextlib
import sys

def train(run):
    for step in range(5):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
    run.table("answers", [{"question": "why", "right": True}, {"question": "when", "right": False}])
    run.params({"lr": 0.1})
    run.alert("it trains", "so far")
    with open("weights.txt", "w") as file:
        file.write("0.1")
    run.artifact("weights.txt", name="weights", type="model")

if "autolog" in sys.modules:
    with autolog.run("by hand") as run:
        train(run)
"""

SKLEARN = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split

X_train, X_test, y_train, y_test = train_test_split(*load_iris(return_X_y=True), random_state=0)
search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.1, 1.0]}, cv=3).fit(X_train, y_train)
print(search.score(X_test, y_test))
"""

KERAS = """
import keras
import numpy as np

X, y = np.random.default_rng(0).normal(size=(64, 4)).astype("float32"), np.arange(64) % 3
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3, activation="softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(X, y, validation_split=0.5, epochs=2, verbose=2)
model.evaluate(X, y, verbose=2)
"""

LIGHTNING = """
import lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 3)

    def training_step(self, batch, number):
        loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, number):
        self.log("val_loss", torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())

lightning.seed_everything(0)
data = TensorDataset(torch.randn(64, 4), torch.arange(64) % 3)
trainer = lightning.Trainer(max_epochs=2, accelerator="cpu", log_every_n_steps=1, enable_progress_bar=False)
trainer.fit(Classifier(), DataLoader(data, 16), DataLoader(data, 16))
"""

TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(0)
data = [{"input_ids": torch.randint(0, 20, [8]), "labels": number % 3} for number in range(32)]
size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **size))
arguments = TrainingArguments(
    "out", num_train_epochs=2, logging_steps=1, eval_strategy="epoch", use_cpu=True, report_to="none",
    disable_tqdm=True,
)
Trainer(model, arguments, train_dataset=data, eval_dataset=data).train()
"""

OPTUNA = """
import optuna

def objective(trial):
    x, kind = trial.suggest_float("x", -5, 5), trial.suggest_categorical("kind", ["a", "b"])
    return (x - 2) ** 2 + (kind == "a")

study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
study.optimize(objective, n_trials=8)
"""

_NUMBERS = """
import numpy as np

X = np.random.default_rng(0).normal(size=(300, 5))
y = (X[:, 0] > 0).astype(int)
"""

XGBOOST = f"""{_NUMBERS}
import xgboost

train, val = xgboost.DMatrix(X[:200], y[:200]), xgboost.DMatrix(X[200:], y[200:])
params = {{"objective": "binary:logistic", "nthread": 1}}
booster = xgboost.train(params, train, 5, evals=[(val, "val")])
print(booster.predict(val).mean())
"""

LIGHTGBM = f"""{_NUMBERS}
import lightgbm

train, val = lightgbm.Dataset(X[:200], y[:200]), lightgbm.Dataset(X[200:], y[200:])
params = {{"objective": "binary", "num_threads": 1, "verbosity": -1}}
booster = lightgbm.train(params, train, 5, valid_sets=[val])
print(booster.predict(X[200:]).mean())
"""

CATBOOST = f"""{_NUMBERS}
from catboost import CatBoostClassifier

model = CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False)
model.fit(X[:200], y[:200], eval_set=(X[200:], y[200:]))
print(model.score(X[200:], y[200:]))
"""

PROGRAMS = {
    "none": BY_HAND,
    "sklearn": SKLEARN,
    "keras": KERAS,
    "lightning": LIGHTNING,
    "transformers": TRANSFORMERS,
    "optuna": OPTUNA,
    "xgboost": XGBOOST,
    "lightgbm": LIGHTGBM,
    "catboost": CATBOOST,
}

# What its rows hold at least.
EXPECTED = {
    "none": {"loss", "answers"},
    "sklearn": {"val/accuracy", "val/confusion_matrix", "val/roc"},
    "keras": {"train/loss", "val/loss"},
    "lightning": {"train/loss", "val/loss"},
    "transformers": {"train/loss", "val/loss"},
    "optuna": {"objective/value", "history"},
    "xgboost": {"rounds/val/logloss", "val/roc", "model/importances"},
    "lightgbm": {"rounds/val/binary_logloss", "model/importances"},
    "catboost": {"rounds/val/logloss", "val/roc", "model/importances"},
}

# Of these what is drawn.
PICTURES = {"val/confusion_matrix", "val/roc", "history"}

# What else there is, of all that is recorded or drawn with.
LARGE = {"scikit-learn", "keras", "lightning", "transformers", "optuna", "torch", "matplotlib", "plotly"}
LARGE |= {"xgboost", "lightgbm", "catboost"}
INSTALLED = {
    "none": set(),
    "sklearn": {"scikit-learn", "matplotlib"},
    "keras": {"keras", "matplotlib"},
    "lightning": {"lightning", "torch", "matplotlib"},
    "transformers": {"transformers", "torch", "matplotlib"},
    "optuna": {"optuna", "matplotlib"},
    "xgboost": {"xgboost", "matplotlib"},
    "lightgbm": {"lightgbm", "matplotlib"},
    "catboost": {"catboost", "matplotlib", "plotly"},
}

RECORDED = """
import autolog
autolog.enable()
{program}
assert autolog.finish(), "not everything has arrived"
"""

READER = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage
print(json.dumps([
    {"config": run.config, "rows": SQLiteStorage.get_logs("alone", run.name, run_id=run.id, max_points=None)}
    for run in trackio.Api().runs("alone")
]))
"""

RECORDING_LINE = (
    r"autolog: (recording [a-z_, ]+ into project alone in .*|nothing is recorded by itself: none of .*)"
)
RUNS_LINE = r"autolog: .* finished in .* · trackio show --project alone"
NO_PICTURES = r"autolog: no pictures are recorded: matplotlib is not installed.*"


def check(extra: str) -> None:
    """Nothing else is installed, and that suffices.

    Raises:
        AssertionError: it is not so.
    """
    installed = LARGE & {distribution.metadata["Name"].lower() for distribution in distributions()}
    assert installed == INSTALLED[extra], f"{extra} is not alone, or not whole: {installed}"
    print(f"{extra}: {record(extra)}")


def record(extra: str, *options: str) -> str:
    """Train as a user does, with and without being recorded, by a Python with these options.

    Returns:
        How much was recorded.

    Raises:
        ProgramError: it ends by itself, without us.
        AssertionError: something is missing from the run, or something else was printed.
    """
    has_pictures = find_spec("matplotlib") is not None
    with tempfile.TemporaryDirectory() as directory:
        bare = said_by(PROGRAMS[extra], Path(directory, "bare"), *options)
        try:
            recorded = said_by(
                RECORDED.format(program=PROGRAMS[extra]), Path(directory, "recorded"), *options
            )
        except ProgramError as error:
            raise AssertionError(str(error)) from error
        runs = json.loads(said_by(READER, Path(directory, "recorded"))[-1])
        drawn = {
            key
            for run in runs
            for row in run["rows"]
            for key in PICTURES & set(row)
            if "<svg" in Path(directory, "recorded/trackio/media", row[key]["file_path"]).read_text()
        }
    for config in (run["config"] for run in runs):
        assert config["status"] == "finished", config
        assert not config.get("autolog/lost"), config
        assert not config.get("autolog/faults"), config
        assert not [why for why in config.get("autolog/notes", {}).values() if "lost:" in why], config
    (first, *_) = [run for run in runs if not run["config"].get("parent")]
    keys = {key for row in first["rows"] for key in row}
    assert keys >= EXPECTED[extra], f"{EXPECTED[extra] - keys} is missing from {keys}"
    assert not has_pictures or drawn >= PICTURES & EXPECTED[extra], drawn
    lines = [RECORDING_LINE, RUNS_LINE, *([] if has_pictures else [NO_PICTURES])]
    ours = [line for line in recorded if any(re.fullmatch(one, line) for one in lines)]
    assert len(ours) == len(lines), "\n".join(recorded)
    before, after = like(bare), like(line for line in recorded if line not in ours)
    assert after == before, "\n".join(difflib.unified_diff(before, after))
    return f"a whole run of {len(first['rows'])} rows, {len(keys)} keys, {len(drawn)} pictures looked at"


def said_by(program: str, directory: Path, *options: str) -> list[str]:
    """The lines that a program prints to both outputs, in a folder of its own."""
    directory.mkdir(exist_ok=True)
    Path(directory, "train.py").write_text(program)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOLOG_", "TRACKIO_"))}
    settings = {
        "TRACKIO_DIR": str(directory / "trackio"),
        "AUTOLOG_PROJECT": "alone",
        "AUTOLOG_BUDGET": "1e9",
    }
    done = subprocess.run(
        [sys.executable, *options, "train.py"],
        cwd=directory,
        env={
            **clean,
            **settings,
            "AUTOLOG_FINISH_TIMEOUT": "90",
            "HF_HUB_OFFLINE": "1",
            "KERAS_BACKEND": "jax",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise ProgramError(done.stdout)
    return done.stdout.splitlines()


class ProgramError(AssertionError):
    """A program has not ended well; the text is what it printed."""


def like(lines: Iterable[str]) -> list[str]:
    """Without what differs from time to time: durations, dates, addresses."""
    return sorted(re.sub(r"\S*\d\S*", "#", line) for line in lines)


if __name__ == "__main__":
    check(sys.argv[1])
