"""A framework that has renamed what we hook: nothing raises, and what is lost is said, in either order."""

from __future__ import annotations

import importlib
import json
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

from autolog.core.catalogue import TABLE
from tests.programs import run, run_warm

# As a newer version of it would: the names are others in all of its source.
RENAMING = """
import importlib.machinery, json, re
sink = autolog.MemorySink()

class Renamed(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        source = self.get_source(fullname)
        for name in NAMES:
            source = re.sub(rf"\\b{name}\\b", name + "Renamed", source)
        return compile(source, self.path, "exec", dont_inherit=True)

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        loader = spec.loader if spec is not None and name.partition(".")[0] == PACKAGE else None
        if type(loader) is importlib.machinery.SourceFileLoader:
            source = loader.get_source(name)
            if any(old in source for old in NAMES):  # all others come as they were compiled
                spec.loader = Renamed(loader.name, loader.path)
        return spec

sys.meta_path.insert(0, Finder)

def tell():
    autolog.finish()
    row = next(row for row in autolog.status() if row.name == FRAMEWORK)
    print("TOLD", json.dumps({
        "in": row.hooks.put_in, "waiting": row.hooks.waiting, "missing": row.hooks.missing, "why": row.why,
        "notes": [run.config.get("autolog/notes", {}) for run in sink.runs], "table": str(autolog.status()),
    }))

def same(recorded, train):
    tell()
    autolog.disable()
    assert train([]) == recorded
    autolog.enable(FRAMEWORK)  # what has been said is not said again
"""

HOW = {
    "enable": """
autolog.enable(FRAMEWORK, sink=sink, log_code=False, budget=1e9)
callbacks = []
""",
    "callback": """
s.use(autolog.Settings(sink=sink, log_code=False, budget=1e9))
callbacks = [getattr(autolog, FRAMEWORK).TrackioCallback()]
""",
}

SEARCH = """
optuna.logging.set_verbosity(optuna.logging.ERROR)

def train(callbacks):
    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 0)
        return x + trial.should_prune()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=4, callbacks=callbacks)
    return [(trial.state.name, trial.value) for trial in study.trials]
"""

FIT = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

def train(callbacks):
    model = LogisticRegression()
    if callbacks:
        model.set_callbacks(*callbacks)
    found = model.fit(*load_iris(return_X_y=True)).coef_.tolist()
    import sklearn.inspection  # when the run has begun
    return found
"""

KERAS = """
def train(callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    x = keras.ops.convert_to_numpy(keras.ops.ones((8, 2)))
    return model.fit(x, x[:, :1], epochs=2, verbose=0, callbacks=callbacks).history["loss"]
"""

LIGHTNING = """
import logging, torch
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

class Module(lightning.pytorch.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, _):
        loss = self.layer(batch).square().mean()
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

def train(callbacks):
    torch.manual_seed(0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.pytorch.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, callbacks=callbacks, **quiet
    )
    trainer.fit(module := Module(), torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=4))
    return module.layer.weight.tolist()
"""

TRANSFORMERS = """
import tempfile, torch, transformers.trainer_seq2seq

def train(callbacks):
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=10, **shape))
    data = [{"input_ids": [n, 1, 2], "labels": n % 2} for n in range(8)]
    arguments = transformers.TrainingArguments(
        tempfile.mkdtemp(), max_steps=2, report_to=[], use_cpu=True, save_strategy="no", disable_tqdm=True
    )
    transformers.Trainer(model, arguments, train_dataset=data, callbacks=callbacks).train()
    return model.classifier.weight.tolist()
"""


def check(directory: Path, by: str, order: str, framework: str, train: str, lost: dict[str, str]) -> None:
    """A program of its own trains; ``lost``: which functions are gone, by what the framework has renamed."""
    how, use = HOW[by], f"import {framework}\n{train}"
    parts = [how, use] if order == "first" else [use, how]
    about = f"FRAMEWORK = PACKAGE = {framework!r}\nNAMES = {sorted(set(lost.values()))}\n"
    program = "\n".join([about, RENAMING, *parts, "same(train(callbacks), train)"])
    said = run(directory, program, KERAS_BACKEND="torch")
    (line,) = [line for line in said.splitlines() if line.startswith("TOLD ")]
    told = json.loads(line.removeprefix("TOLD "))
    warned = [line for line in said.splitlines() if "cannot be watched" in line]
    version = metadata.version(TABLE[framework].distribution)
    hooks = importlib.import_module(f"autolog.{framework}").HOOKS
    records = {hook.place: hook.records for hook in hooks}
    expected = {place: f"({framework} {version}). Not recorded: {records[place]}." for place in lost}

    assert "autolog: " not in "".join(line for line in said.splitlines() if line not in warned)
    assert len(warned) == len(lost)
    for place, text in expected.items():
        assert len([line for line in warned if place in line and text in line]) == 1
        assert len([why for why in told["missing"] if place in why and text in why]) == 1
        assert place in told["table"]
    assert told["in"] > 0
    assert told["in"] + told["waiting"] + len(lost) == len(hooks)
    assert len(told["missing"]) == len(lost)
    assert told["notes"]
    for notes in told["notes"]:
        assert {place: why for place, why in notes.items() if why.startswith("lost: ")}.keys() == lost.keys()
        assert all(notes[place].endswith(text) for place, text in expected.items())
    if by == "enable":
        assert told["why"] == "records every training, but for what is missing"


@pytest.mark.parametrize("order", ["first", "after the import"])
@pytest.mark.parametrize("by", HOW)
def test_a_class_and_a_function_of_optuna(tmp_path: Path, by: str, order: str) -> None:
    lost = {
        "optuna.study._optimize._run_trial": "_run_trial",
        "optuna.trial._trial.Trial.report": "Trial",
        "optuna.trial._trial.Trial.should_prune": "Trial",
    }
    check(tmp_path, by, order, "optuna", SEARCH, lost)


@pytest.mark.parametrize("order", ["first", "after the import"])
@pytest.mark.parametrize("by", HOW)
def test_a_class_and_functions_of_scikit_learn(tmp_path: Path, by: str, order: str) -> None:
    if by == "callback" and Version(metadata.version("scikit-learn")) < Version("1.9"):
        pytest.skip("this scikit-learn has no callbacks")
    lost = {
        "sklearn.metrics._plot.confusion_matrix.ConfusionMatrixDisplay.plot": "ConfusionMatrixDisplay",
        "sklearn.model_selection._validation._permutation_test_score": "_permutation_test_score",
        "sklearn.inspection._permutation_importance._create_importances_bunch": "_create_importances_bunch",
    }
    check(tmp_path, by, order, "sklearn", FIT, lost)


@pytest.mark.long
@pytest.mark.parametrize(
    ("by", "order", "framework", "train", "lost"),
    [
        (
            "enable",
            "first",
            "keras",
            KERAS,
            {
                "keras.src.trainers.trainer.Trainer.compute_loss": "Trainer",
                "keras.src.trainers.trainer.Trainer.compute_metrics": "Trainer",
                "keras.src.trainers.trainer.Trainer._flatten_metrics_in_order": "Trainer",
                "keras.src.backend.torch.trainer.TorchTrainer.train_on_batch": "train_on_batch",
            },
        ),
        (
            "callback",
            "after the import",
            "lightning",
            LIGHTNING,
            {
                "lightning.pytorch.trainer.connectors.logger_connector.logger_connector."
                "_LoggerConnector.log_metrics": "_LoggerConnector",
                "lightning.pytorch.trainer.trainer.Trainer.validate": "validate",
            },
        ),
        (
            "enable",
            "after the import",
            "transformers",
            TRANSFORMERS,
            {
                "transformers.trainer_seq2seq.Seq2SeqTrainer.prediction_step": "Seq2SeqTrainer",
                "transformers.trainer.Trainer.prediction_step": "prediction_step",
            },
        ),
    ],
    ids=["keras", "lightning", "transformers"],
)
def test_a_class_and_a_function_of_the_others(
    tmp_path: Path, by: str, order: str, framework: str, train: str, lost: dict[str, str]
) -> None:
    check(tmp_path, by, order, framework, train, lost)


def test_what_a_watched_loop_loses_is_said_too(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed, whose loop it is")
    said = run_warm(
        tmp_path,
        """
        import torch
        del torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype
        sink = autolog.MemorySink()
        s.use(autolog.Settings(sink=sink, log_code=False))
        for _ in range(2):
            model = torch.nn.Linear(2, 1)
            with autolog.torch.watch(model, optimizer := torch.optim.SGD(model.parameters(), 0.1), every=1):
                model(torch.ones(1, 2)).sum().backward()
                optimizer.step()
        for run in sink.runs:
            print(run.status, "vitals/grad_norm" in run.metrics, run.config["autolog/notes"])
        """,
    )
    place = "torch.nn.utils.clip_grad._group_tensors_by_device_and_dtype"
    why = "Not recorded: gradient norms as they were before they were clipped."
    warning, *runs = sorted(said.splitlines(), key=lambda line: line.startswith("finished"))
    assert warning.startswith(f"autolog: {place} cannot be watched: no such function (torch ")
    assert warning.endswith(why)
    assert len(runs) == 2
    for line in runs:
        assert line.startswith("finished True {'" + place + "': 'lost: no such function")
        assert line.endswith(why + "'}")
