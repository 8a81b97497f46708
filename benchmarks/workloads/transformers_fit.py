"""A tiny GPT-2 by transformers' Trainer, each step logged."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.turns import Workload
from benchmarks.ways import (
    BARE,
    SCRATCH,
    WANDB,
    Given,
    Recorded,
    Way,
    by_autolog,
    by_mlflow,
    count_wandb,
    everything_on,
    in_trackio,
)

STEPS, BATCH, WORDS, LENGTH = 600, 8, 200, 32


def workload(share: float = 1.0) -> Workload:
    import torch
    import transformers
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    steps = round(STEPS * share)
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, WORDS, (steps * BATCH, LENGTH))]
    told = {"bos_token_id": 0, "eos_token_id": 0}

    def fit(report_to: str = "none", **more: Any) -> float:
        set_seed(0)
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=WORDS, n_positions=LENGTH, n_embd=64, n_layer=2, n_head=2, **told)
        )
        args = TrainingArguments(
            str(SCRATCH / "trainer"),
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

    ways = [
        BARE,
        by_autolog("autolog", "transformers"),
        by_autolog("autolog, no norms per module", "transformers", log_gradients=False),
        everything_on("transformers"),
        Way('report_to="trackio"', _report_to_trackio, lambda: in_trackio("reported")),
        _report_to_wandb(),
        by_mlflow('report_to="mlflow"', lambda: {"report_to": "mlflow"}),
    ]
    return Workload(
        f"transformers: {steps} steps of a tiny GPT-2, each logged",
        fit,
        ways,
        f"transformers {transformers.__version__}, torch {torch.__version__}",
        goal="at most 1.03 of bare",
        pieces=steps,
        piece="step",
    )


@contextmanager
def _report_to_trackio() -> Iterator[Given]:
    import trackio

    # Its runs of one name are one run: so they are called differently.
    name = f"run-{time.time_ns()}"
    yield {"report_to": "trackio", "project": "reported", "run_name": name, "trackio_space_id": None}
    if trackio.context_vars.current_run.get() is not None:
        trackio.finish()


def _report_to_wandb() -> Way:
    found = Recorded()

    @contextmanager
    def on() -> Iterator[Given]:
        import wandb

        yield {"report_to": "wandb"}
        count_wandb(found, wandb.run)
        wandb.finish()

    return Way('report_to="wandb", offline', on, lambda: replace(found), needs=WANDB)
