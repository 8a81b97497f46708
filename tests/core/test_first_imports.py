"""Whatever of a framework a program imports first: the hooks come in time, all of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autolog.process.imports import is_installed
from tests.programs import environment

IMPORTS = [
    "from transformers import Seq2SeqTrainer",
    "from transformers import AutoTokenizer, Seq2SeqTrainer, Seq2SeqTrainingArguments",
    "from transformers import EarlyStoppingCallback, Trainer",
    "import transformers; transformers.Seq2SeqTrainer",
    "from transformers.trainer_callback import TrainerCallback; from transformers import Trainer",
    "from transformers import pipeline; from transformers import Trainer",
    "from lightning.pytorch.callbacks import ModelCheckpoint",
    "from lightning.pytorch.loggers import CSVLogger",
    "from lightning.pytorch.cli import LightningCLI",
    "from pytorch_lightning import Trainer",
    "from pytorch_lightning.callbacks import EarlyStopping",
    "from keras.callbacks import EarlyStopping; import keras.models",
    "from keras import layers",
    "from keras.src.models.functional import Functional",
    "from sklearn.model_selection import GridSearchCV",
    "from sklearn.metrics import accuracy_score",
    "from sklearn.ensemble import StackingClassifier",
    "from sklearn.pipeline import make_pipeline",
    "from optuna.study import Study",
    "from optuna.trial import Trial",
    "from optuna_integration import OptunaSearchCV",
    "from zenml.orchestrators import step_runner",
    "from zenml import pipeline",
]

SAID = """
import autolog
print("missing:", [line for line in str(autolog.status()).splitlines() if "missing:" in line])
"""


@pytest.mark.long
@pytest.mark.parametrize("first", IMPORTS)
def test_every_hook_is_in(tmp_path: Path, first: str) -> None:
    package = first.split()[1].partition(".")[0].rstrip(";")
    if not is_installed(package):
        pytest.skip(f"{package} is not installed")
    program = f"import autolog; autolog.enable()\n{first}\n{SAID}"
    variables = environment(tmp_path, HF_HUB_OFFLINE="1", KERAS_BACKEND="torch")
    out = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True
    )
    assert "missing: []" in out.stdout
    assert "cannot be watched" not in out.stderr
