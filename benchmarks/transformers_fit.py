"""What recording a Trainer costs, side by side: ``python -m benchmarks.transformers_fit``.

600 steps of a tiny GPT-2, logging every step: bare; by autolog, without and with the norms per module; with
transformers' own Trackio callback, with W&B offline, with MLflow.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
import time
import warnings
from typing import Any

from benchmarks.turns import PROJECT, Work, by_autolog, compare

STEPS, BATCH, WORDS, LENGTH = 600, 8, 200, 32


def main(turns: int = 5) -> None:
    os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    os.environ["WANDB_DIR"] = tempfile.mkdtemp(prefix="wandb-bench-")
    os.environ["WANDB_PROJECT"] = PROJECT
    import torch
    import transformers
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, WORDS, (STEPS * BATCH, LENGTH))]

    def fit(report_to: str = "none", **more: Any) -> float:
        set_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=WORDS, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=2)
        )
        args = TrainingArguments(
            tempfile.mkdtemp(),
            num_train_epochs=1,
            per_device_train_batch_size=BATCH,
            logging_steps=1,
            save_strategy="no",
            report_to=report_to,
            disable_tqdm=True,
            use_cpu=True,
            **more,
        )
        trainer = Trainer(model, args, train_dataset=data)
        trainer.remove_callback(transformers.PrinterCallback)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start

    def trackio() -> float:
        theirs = {"project": PROJECT, "run_name": "report_to trackio", "trackio_space_id": None}
        return fit("trackio", **theirs)

    contenders: dict[str, Work] = {
        "bare": fit,
        "autolog, no norms per module": by_autolog(
            "transformers", "autolog, no norms per module", fit, log_gradients=False
        ),
        "autolog": by_autolog("transformers", "autolog", fit),
        "report_to trackio": trackio,
    }
    missing = []
    if importlib.util.find_spec("wandb"):
        contenders["report_to wandb, offline"] = lambda: _then(fit("wandb"), "wandb")
    else:
        missing.append("wandb")
    if importlib.util.find_spec("mlflow"):
        import mlflow

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        os.environ["MLFLOW_EXPERIMENT_NAME"] = PROJECT
        mlflow.set_tracking_uri(f"sqlite:///{tempfile.mkdtemp(prefix='mlflow-bench-')}/mlflow.db")
        contenders["report_to mlflow"] = lambda: _then(fit("mlflow"), "mlflow")
    else:
        missing.append("mlflow")
    versions = f"transformers {transformers.__version__}, torch {torch.__version__}"
    compare(f"{STEPS} steps of a tiny GPT-2, each logged", contenders, turns, versions)
    if missing:
        print(f"not installed: {', '.join(missing)} (pip install 'trackio-autolog[bench]')")


def _then(seconds: float, tracker: str) -> float:
    """The run of this training is over."""
    module: Any = importlib.import_module(tracker)
    (module.finish if tracker == "wandb" else module.end_run)()
    return seconds


if __name__ == "__main__":
    main()
