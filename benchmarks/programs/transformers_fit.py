"""A tiny GPT-2 by transformers' Trainer, each step logged."""

import os

import common

if common.way == "autolog":
    common.recorder("")

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

BATCH, WORDS, LENGTH = 8, 200, 32
steps = round(600 * common.share)
data = [{"input_ids": row, "labels": row} for row in torch.randint(0, WORDS, (steps * BATCH, LENGTH))]
set_seed(0)
shape = {"n_positions": LENGTH, "n_embd": 64, "n_layer": 2, "n_head": 2}
model = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, bos_token_id=0, eos_token_id=0, **shape))
arguments = TrainingArguments(
    os.environ["OUT"],
    num_train_epochs=1,
    per_device_train_batch_size=BATCH,
    logging_steps=1,
    save_strategy="no",
    report_to=common.way if common.way in ("trackio", "wandb", "mlflow") else "none",
    project="program",
    disable_tqdm=True,
    use_cpu=True,
)
common.begin()
Trainer(model, arguments, train_dataset=data).train()
common.end()
