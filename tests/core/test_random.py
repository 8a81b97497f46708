"""Random numbers are the user's: at every moment the generators stand where they would stand without us.

In processes of their own: what draws is often an import, and a module is imported once.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autolog.process.imports import is_installed
from tests.programs import environment

BEGIN = """
import hashlib, os, random, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
if sys.argv[1] == "recorded":
    import autolog
    autolog.enable()

def state():
    states = [random.getstate(), np.random.get_state()[1].tolist()]
    if "torch" in sys.modules:
        import torch
        states.append(torch.get_rng_state().tolist())
    return hashlib.sha256(repr(states).encode()).hexdigest()[:12]

def tell(where):
    print("state", where, state(), flush=True)

random.seed(42)
np.random.seed(0)
"""

LOOP = "a loop of torch's"
PROGRAMS = {
    "sklearn": """
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
X, y = np.random.rand(200, 4), np.arange(200) % 2
tell("begin")
X_train, X_test, y_train, y_test = train_test_split(X, y)
model = RandomForestClassifier(5).fit(X_train, y_train)
tell("fit")
model.score(X_test, y_test); model.predict(X_test)
tell("score")
GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(X, y)
tell("search")
cross_validate(LogisticRegression(), X, y, cv=2)
tell("cross-validation")
""",
    "optuna": """
import optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(sampler=optuna.samplers.TPESampler(n_startup_trials=3))
def objective(trial):
    tell(f"trial {trial.number}")
    x = trial.suggest_float("x", 0, 1)
    for n in range(3):
        trial.report(x, n)
        tell("report")
    return x
study.optimize(objective, n_trials=5, callbacks=[lambda study, trial: tell("callback")])
tell("end")
""",
    "keras": """
os.environ["KERAS_BACKEND"] = "torch"
import keras
keras.utils.set_random_seed(0)
X, y = np.random.rand(64, 4), np.arange(64) % 2
class Mine(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None): tell(f"batch {batch}")
    def on_epoch_end(self, epoch, logs=None): tell(f"epoch {epoch}")
Dense = keras.layers.Dense
model = keras.Sequential([Dense(4, "relu"), keras.layers.Dropout(0.5), Dense(2, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
tell("begin")
model.fit(X, y, epochs=2, batch_size=16, validation_split=0.25, verbose=0, callbacks=[Mine()])
tell("fit")
model.evaluate(X, y, verbose=0); model.predict(X, verbose=0)
tell("end")
""",
    "lightning": """
import logging, torch
logging.disable(logging.WARNING)
import lightning as L
L.seed_everything(0)
class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
    def forward(self, x): return self.layers(x)
    def training_step(self, batch, n):
        x, y = batch
        loss = torch.nn.functional.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        tell("step")
        return loss
    def validation_step(self, batch, n):
        x, y = batch
        self.log("val_loss", torch.nn.functional.cross_entropy(self(x), y))
        tell("validation")
    test_step = validation_step
    def configure_optimizers(self): return torch.optim.Adam(self.parameters())
rows = torch.utils.data.TensorDataset(torch.rand(64, 4), torch.arange(64) % 2)
def loader(**more): return torch.utils.data.DataLoader(rows, 16, **more)
quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
trainer = L.Trainer(max_epochs=2, accelerator="cpu", **quiet)
tell("begin")
trainer.fit(Net(), loader(shuffle=True), loader())
tell("fit")
trainer.test(dataloaders=loader(), verbose=False)
tell("end")
""",
    "transformers": """
import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers import Trainer, TrainerCallback, TrainingArguments
torch.manual_seed(0)
class Mine(TrainerCallback):
    def on_step_begin(self, *args, **more): tell("step begins")
    def on_step_end(self, *args, **more): tell("step")
    def on_evaluate(self, *args, **more): tell("evaluation")
    def on_log(self, *args, **more): tell("log")
    def on_prediction_step(self, *args, **more): tell("prediction")
shape = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
model = BertForSequenceClassification(BertConfig(vocab_size=30, **shape))
rows = [{"input_ids": [n % 30, 1, 2], "labels": n % 2} for n in range(32)]
arguments = TrainingArguments(
    sys.argv[2], num_train_epochs=2, per_device_train_batch_size=8, eval_strategy="epoch",
    logging_steps=2, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="epoch")
trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=[Mine()])
tell("begin")
trainer.train()
tell("train")
trainer.evaluate(); trainer.predict(rows)
tell("end")
""",
    LOOP: """
import torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters())
if sys.argv[1] == "recorded":
    run = autolog.run("loop"); run.__enter__()
    import autolog.torch
    watch = autolog.torch.watch(model, optimizer)
x, y = torch.rand(64, 4), torch.arange(64) % 2
for epoch in range(2):
    model.train()
    for n in range(4):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad(); loss.backward(); optimizer.step()
        tell("step")
    model.eval()
    with torch.no_grad(): torch.nn.functional.cross_entropy(model(x), y)
    tell("epoch")
if sys.argv[1] == "recorded": run.__exit__(None, None, None)
tell("end")
""",
}


@pytest.mark.long
@pytest.mark.parametrize("framework", PROGRAMS)
def test_generators_stand_where_they_would_without_us(tmp_path: Path, framework: str) -> None:
    package = "torch" if framework == LOOP else framework
    if not is_installed(package):
        pytest.skip(f"{package} is not installed")

    def states(how: str) -> list[str]:
        out = subprocess.run(
            [sys.executable, "-c", BEGIN + PROGRAMS[framework], how, str(tmp_path / how)],
            env=environment(tmp_path / "trackio", HF_HUB_OFFLINE="1"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert out.returncode == 0, out.stderr
        return [line for line in out.stdout.splitlines() if line.startswith("state")]

    bare = states("bare")
    assert len(bare) > 4
    assert states("recorded") == bare
