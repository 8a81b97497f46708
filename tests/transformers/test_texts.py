"""Texts that a Trainer's model generates, entities that it finds, words that it guesses; TRL's Trainers."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertForTokenClassification,
    LlamaForCausalLM,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

import autolog
from autolog import MemorySink
from autolog.transformers.compared import edits, word_error_rate
from autolog.transformers.entities import Entities, entities
from autolog.transformers.predictions import _listening as listening
from autolog.transformers.samples import _preferences
from tests.transformers.models import (
    X,
    answering_trainer,
    classifier,
    common,
    config,
    language_model,
    only,
    texts,
    trainer,
)

# Generation -------------------------------------------------------------------------------------------


def test_generated_texts_stand_beside_prompts_and_references(recording: MemorySink, words: Any) -> None:
    answering = answering_trainer(words)
    predicted = answering.predict(answering.eval_dataset)
    kept = only(recording)
    rows = kept.tables["test/generations"]
    ids = words(texts[0])["input_ids"][:24]
    assert len(rows) == 12
    assert (rows[0]["prompt"], rows[0]["reference"]) == (words.decode(ids[:12]), words.decode(ids[12:-1]))
    told = words.batch_decode(predicted.predictions, skip_special_tokens=True)
    assert [row["output"] for row in rows] == told
    assert (
        0
        < sum(row["seconds"] for row in rows)
        == pytest.approx(kept.metrics["vitals/test_generation_seconds"])
    )
    assert kept.metrics["vitals/test_generation_seconds"] < kept.metrics["vitals/test_seconds"]
    assert kept.metrics["vitals/test_generated_tokens_per_second"] > 0
    assert "test/loss" in kept.metrics
    assert "test/confusion_matrix" not in kept.charts


def test_a_model_without_encoder_repeats_its_prompt_and_the_table_does_not(
    recording: MemorySink, words: Any
) -> None:
    answering = answering_trainer(words, encoder=False, generation_max_length=40)
    predicted = answering.predict(answering.eval_dataset).predictions
    rows = only(recording).tables["test/generations"]
    assert [row["output"] for row in rows] == words.batch_decode(predicted[:, 24:], skip_special_tokens=True)


def test_metrics_of_texts_are_those_that_the_user_computes(recording: MemorySink, words: Any) -> None:
    def metrics(of: Any) -> dict[str, float]:
        return {"rouge1": 0.25}

    answering = answering_trainer(words, rows=60, compute_metrics=metrics, eval_strategy="epoch")
    answering.train()
    kept = only(recording)
    assert kept.values("val/rouge1") == [0.25, 0.25]
    assert len(kept.values("vitals/val_generation_seconds")) == 2
    assert len(kept.tables["val/generations"]) == 50  # of the weights that it ends with, once
    assert kept.config["autolog/notes"]["val/generations"] == "the first 50 of 60 texts"


class Telling(TrainerCallback):  # type: ignore[misc]
    """Generates a few texts after each evaluation, as many users do."""

    def __init__(self, words: Any) -> None:
        self.given = words([text[:30] for text in texts[:3]], padding=True, return_tensors="pt")
        self.words = words
        self.said: list[list[str]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        plain = {name: self.given[name] for name in ("input_ids", "attention_mask")}
        found = model.generate(**plain, max_new_tokens=5, do_sample=False)
        new = found[:, plain["input_ids"].shape[1] :]
        self.said.append(self.words.batch_decode(new, skip_special_tokens=True))


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_the_user_generates_in_an_evaluation_is_a_table(
    recording: MemorySink, words: Any, by_hand: bool
) -> None:
    data = [{"input_ids": row, "labels": row} for row in torch.tensor(words([texts[0]] * 4)["input_ids"])]
    telling = Telling(words)
    more = {"train_dataset": data, "eval_dataset": data, "processing_class": words}
    strategy = "no" if by_hand else "epoch"
    carrying = trainer(language_model(words), callbacks=[telling], eval_strategy=strategy, **more)
    if by_hand:
        carrying.evaluate()
    else:
        carrying.train()
    carrying.model.generate(telling.given["input_ids"], max_new_tokens=2)  # none of an evaluation
    assert not listening
    kept = only(recording)
    rows = kept.tables["val/generations"]
    assert [row["output"] for row in rows] == telling.said[-1]
    prompts = words.batch_decode(telling.given["input_ids"], skip_special_tokens=True)
    assert [row["prompt"] for row in rows] == prompts
    assert len(kept.values("vitals/val_generation_seconds")) == len(telling.said) == (1 if by_hand else 2)


def test_what_the_user_generates_in_a_step_of_their_own_is_a_table(recording: MemorySink, words: Any) -> None:
    class Own(Trainer):  # type: ignore[misc]
        def prediction_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            found = model.generate(inputs["input_ids"], max_new_tokens=4, num_return_sequences=2, num_beams=2)
            return None, found, None

    data = [{"input_ids": row, "labels": row} for row in torch.tensor(words([texts[0]] * 4)["input_ids"])]
    args = TrainingArguments(**common())
    Own(language_model(words), args, eval_dataset=data, processing_class=words).predict(data)
    kept = only(recording)
    assert len(kept.tables["test/generations"]) == 8
    assert {row["prompt"] for row in kept.tables["test/generations"]} == {words.decode(data[0]["input_ids"])}
    assert kept.metrics["vitals/test_generation_seconds"] > 0


def test_what_another_thread_generates_is_none_of_the_evaluation(recording: MemorySink, words: Any) -> None:
    class Asks(TrainerCallback):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            given = words([texts[0]], return_tensors="pt")["input_ids"]
            thread = threading.Thread(target=lambda: model.generate(given, max_new_tokens=2))
            thread.start()
            thread.join()

    data = [{"input_ids": row, "labels": row} for row in torch.tensor(words([texts[0]] * 4)["input_ids"])]
    more = {"eval_dataset": data, "processing_class": words}
    trainer(language_model(words), callbacks=[Asks()], **more).evaluate()
    assert "val/generations" not in only(recording).tables


def test_an_evaluation_that_fails_listens_no_more(recording: MemorySink, words: Any) -> None:
    class Fails(TrainerCallback):  # type: ignore[misc]
        def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise KeyboardInterrupt

    data = [{"input_ids": row, "labels": row} for row in torch.tensor(words([texts[0]] * 4)["input_ids"])]
    carrying = trainer(language_model(words), callbacks=[Fails()], eval_dataset=data)
    with pytest.raises(KeyboardInterrupt):
        carrying.evaluate()
    assert not listening
    assert not carrying.model._forward_hooks
    assert only(recording).status == "killed"


def test_what_the_user_computes_of_texts_stands_alone_and_the_rest_is_ours(
    recording: MemorySink, words: Any
) -> None:
    """As the command lines of both tell it, of files of these texts."""
    pytest.importorskip("rouge_score", reason="rouge-score is not installed: pip install rouge-score")
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed: pip install sacrebleu")
    states = random.getstate(), np.random.get_state()[1].tolist()
    answering = answering_trainer(words, rows=60, compute_metrics=lambda of: {"rouge2": 0.25})
    told = answering.predict(answering.eval_dataset)
    assert states == (random.getstate(), np.random.get_state()[1].tolist())
    said = words.batch_decode(told.predictions, skip_special_tokens=True)
    truth = words.batch_decode(np.where(told.label_ids < 0, 0, told.label_ids), skip_special_tokens=True)
    said, truth = ([text.replace("\n", " ") or "-" for text in part] for part in (said, truth))
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("said.txt", "truth.txt", "scores.csv")]
        files[0].write_text("\n".join(said) + "\n")
        files[1].write_text("\n".join(truth) + "\n")
        patterns = [f"--target_filepattern={files[1]}", f"--prediction_filepattern={files[0]}"]
        command = [sys.executable, "-m", "rouge_score.rouge", *patterns, f"--output_filename={files[2]}"]
        subprocess.run([*command, "--aggregate=false"], check=True, capture_output=True)
        rouge = list(csv.DictReader(files[2].open()))
        command = [sys.executable, "-m", "sacrebleu", str(files[1]), "-i", str(files[0]), "-w", "8"]
        bleu = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["score"]
    kept = only(recording)
    for kind in ("rouge1", "rougeL"):
        mean = np.mean([float(row[f"{kind}-F"]) for row in rouge])
        assert kept.metrics[f"test/{kind}"] == pytest.approx(mean)
    assert kept.values("test/rouge2") == [0.25]
    assert kept.metrics["test/bleu"] == pytest.approx(bleu, abs=1e-6)


def test_edits_are_the_fewest() -> None:
    of_torch = pytest.importorskip("torchmetrics.functional.text", reason="torchmetrics is not installed")
    pairs = [("the cat sat", "the cat sat"), ("a the cat", "the cat sat"), ("", "on the mat"), ("so so", "")]
    pairs += [(texts[n][:90], texts[n + 1][:120]) for n in range(12)]
    expected = float(of_torch.word_error_rate(*map(list, zip(*pairs, strict=True))))
    assert word_error_rate(pairs) == pytest.approx(expected)
    assert word_error_rate([("some", "")]) is None
    assert [edits("kitten", "sitting"), edits("", "ab"), edits("ab", "")] == [3, 2, 2]


def test_transcripts_have_an_error_rate(recording: MemorySink, words: Any) -> None:
    from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration

    torch.manual_seed(0)
    of_both = {f"{kind}_{name}": 16 for kind in ("encoder", "decoder") for name in ("ffn_dim",)}
    of_both |= {f"{kind}_layers": 1 for kind in ("encoder", "decoder")}
    of_both |= {f"{kind}_attention_heads": 2 for kind in ("encoder", "decoder")}
    shape = {"d_model": 16, "input_feat_per_channel": 8, "conv_channels": 16, "max_target_positions": 64}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    model = Speech2TextForConditionalGeneration(
        Speech2TextConfig(vocab_size=len(words), **of_both, **shape, **tokens)
    )
    data = []
    for text in texts[:6]:
        labels = torch.tensor([*words(text)["input_ids"][:12], -100])
        data.append({"input_features": torch.randn(24, 8), "labels": labels})
    args = Seq2SeqTrainingArguments(**common(), predict_with_generate=True, generation_max_length=12)
    more = {"processing_class": words, "data_collator": default_data_collator}
    hearing = Seq2SeqTrainer(model, args, eval_dataset=data, **more)
    told = hearing.predict(data)
    said = words.batch_decode(told.predictions, skip_special_tokens=True)
    truth = words.batch_decode(np.where(told.label_ids < 0, 0, told.label_ids), skip_special_tokens=True)
    of_torch = pytest.importorskip("torchmetrics.functional.text", reason="torchmetrics is not installed")
    kept = only(recording)
    assert kept.metrics["test/wer"] == pytest.approx(float(of_torch.word_error_rate(said, truth)))
    assert "test/bleu" not in kept.metrics


def test_a_language_models_scores_are_not_taken_for_classes(recording: MemorySink, words: Any) -> None:
    data = [
        {"input_ids": row, "labels": row}
        for row in words(texts[:8], padding=True, return_tensors="pt").input_ids
    ]
    trainer(language_model(words), train_dataset=data, eval_dataset=data).evaluate()
    kept = only(recording)
    assert set(kept.metrics) & {"val/loss", "val/accuracy"} == {"val/loss"}
    assert "one for each word that it knows" in kept.config["autolog/notes"]["val/confusion_matrix"]


def test_texts_go_to_no_server_unasked(sink: MemorySink, words: Any) -> None:
    with autolog.enabled("transformers", sink=sink, log_code=False, server_url="http://127.0.0.1:1"):
        answering_trainer(words).predict(answering_trainer(words).eval_dataset)
    kept = only(sink)
    assert "test/generations" not in kept.tables
    assert kept.config["autolog/notes"]["test/generations"].startswith("not sent to the server")


# What is trained on -------------------------------------------------------------------------------------


def test_prompts_and_completions_are_shown_as_the_model_gets_them(recording: MemorySink, words: Any) -> None:
    data = []
    for text in texts[:12]:
        ids = words(text)["input_ids"][:20]
        row = {"input_ids": [0, 0, *ids], "attention_mask": [0, 0, *[1] * 20]}
        row["labels"] = [-100] * 10 + ids[8:]  # the padding and eight words are no answer
        data.append({name: torch.tensor(values) for name, values in row.items()})
    trainer(language_model(words), train_dataset=data, processing_class=words, max_steps=1).train()
    shown = only(recording).tables["data/texts"]
    assert len(shown) == 10
    expected = [words(text)["input_ids"][:20] for text in texts[:12]]
    told = {(row["prompt"], row["completion"]) for row in shown}
    assert told <= {(words.decode(ids[:8]), words.decode(ids[8:])) for ids in expected}


def test_prompts_of_an_encoder_and_texts_by_the_names_of_their_columns(
    recording: MemorySink, words: Any
) -> None:
    answering_trainer(words, rows=4, max_steps=1).train()
    (row, *_) = only(recording).tables["data/texts"]
    told = [words(text)["input_ids"][:24] for text in texts[:4]]
    assert (row["prompt"], row["completion"]) in {
        (words.decode(ids[:12]), words.decode(ids[12:-1])) for ids in told
    }
    batch = {
        f"{side}_{name}": torch.tensor([[1, n + 3, 0], [1, n + 4, n + 5]])
        for n, side in enumerate(("prompt", "chosen", "rejected"))
        for name in ("input_ids",)
    }
    rows = _preferences(object(), batch, words)
    assert [list(row) for row in rows] == [["prompt", "chosen", "rejected"]] * 2
    assert rows[1]["rejected"] == words.decode([1, 6, 7])


def test_texts_that_are_trained_on_go_to_no_server_unasked(sink: MemorySink, words: Any) -> None:
    with autolog.enabled("transformers", sink=sink, log_code=False, server_url="http://127.0.0.1:1"):
        answering_trainer(words, rows=4, max_steps=1).train()
    kept = only(sink)
    assert "data/texts" not in kept.tables
    assert kept.config["autolog/notes"]["data/texts"].startswith("not sent to the server")


# Entities ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("I-PER I-PER", [("PER", 0, 1)]),
        ("B-PER B-PER", [("PER", 0, 0), ("PER", 1, 1)]),
        ("B-PER I-LOC I-LOC", [("PER", 0, 0), ("LOC", 1, 2)]),
        ("B-PER E-PER I-PER", [("PER", 0, 1), ("PER", 2, 2)]),
        ("S-LOC S-LOC O", [("LOC", 0, 0), ("LOC", 1, 1)]),
        ("O O", []),
        ("", []),
    ],
)
def test_entities_are_those_of_conll(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert list(entities(tags.split())) == expected


def test_an_entity_is_right_as_a_whole() -> None:
    names = dict(enumerate(["O", "B-PER", "I-PER", "B-LOC"]))
    counted = Entities(names)
    counted.add([1, 2, 0, 3, 0], [1, 2, 0, 3, 3])
    counted.add([1, 2, 0], [1, 0, 0])
    assert counted.metrics() == pytest.approx(
        {"entity_precision": 0.5, "entity_recall": 2 / 3, "entity_f1": 4 / 7}
    )
    assert counted.table() == [
        {"entity": "LOC", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1},
        {"entity": "PER", "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
    ]
    assert not Entities.are_in({0: "dark", 1: "B-side"[2:]})


class Strokes(torch.utils.data.Dataset[Any]):
    """A stroke is a row of dark pixels: the entities of an image."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, row: int) -> dict[str, Any]:
        dark = X[row] > 8
        starts = dark & ~torch.nn.functional.pad(dark, (1, 0))[:-1]
        labels = dark.long() * 2 - starts.long()
        labels[:4] = -100
        return {"input_ids": X[row], "labels": labels}


def test_entities_of_a_trainer_are_counted_without_the_padding(recording: MemorySink) -> None:
    torch.manual_seed(0)
    names = {0: "O", 1: "B-STROKE", 2: "I-STROKE"}
    model = BertForTokenClassification(config(3, id2label=names))
    finding = trainer(model, train_dataset=Strokes(), eval_dataset=Strokes(), num_train_epochs=20)
    finding.train()
    output = finding.predict(Strokes())
    expected = Entities(names)
    for truth, scores in zip(output.label_ids, output.predictions, strict=True):
        expected.add(truth[truth >= 0].tolist(), scores.argmax(-1)[truth >= 0].tolist())
    kept = only(recording)
    assert kept.metrics["test/entity_f1"] == pytest.approx(expected.metrics()["entity_f1"])
    (row,) = kept.tables["test/per_entity"]
    assert (row["entity"], row["support"]) == ("STROKE", expected.table()[0]["support"])
    assert row["support"] > 100


# TRL and PEFT -----------------------------------------------------------------------------------------

trl = pytest.importorskip("trl", reason="TRL is tested beside the newest transformers only")


@pytest.fixture(scope="module")
def saved(words: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A language model in a folder: TRL loads its reference from where the model was loaded."""
    folder = str(tmp_path_factory.mktemp("model"))
    language_model(words).save_pretrained(folder)
    return folder


def data(**columns: list[str]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(columns)


def arguments(kind: Any, **more: Any) -> Any:
    return kind(
        **{**common(), "num_train_epochs": 1, "max_steps": 2, "logging_steps": 1, "bf16": False, **more}
    )


def test_supervised_fine_tuning_with_an_adapter(recording: MemorySink, words: Any, saved: str) -> None:
    from peft import LoraConfig

    told = data(text=texts[:16])
    adapter = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    args = arguments(trl.SFTConfig, eval_strategy="steps", eval_steps=1)
    model = LlamaForCausalLM.from_pretrained(saved)
    trl.SFTTrainer(
        model, args, train_dataset=told, eval_dataset=told, processing_class=words, peft_config=adapter
    ).train()
    kept = only(recording)
    assert (kept.config["trainer"], kept.config["params"]["peft_config"]["default"]["r"]) == ("SFTTrainer", 2)
    assert kept.config["model/trainable_parameters"] == 2 * 2 * 16
    assert kept.config["data/train"]["rows"] == 16
    assert "int32" in kept.config["data/train"]["dtypes"]["input_ids"]
    assert {row["completion"].strip()[:40] for row in kept.tables["data/texts"]} <= {t[:40] for t in texts}
    for key in ("mean_token_accuracy", "val/mean_token_accuracy", "val/loss"):
        assert len(kept.values(key)) == 2
    assert "one for each word" in kept.config["autolog/notes"]["val/confusion_matrix"]
    parts = {key.rpartition(".")[0] for key in kept.metrics if key.startswith("vitals/grad_norm/")}
    assert {part.rpartition(".")[2] for part in parts} == {"lora_A", "lora_B"}
    (model_artifact,) = [artifact for artifact in kept.artifacts if artifact["type"] == "model"]
    assert set(model_artifact["files"]) == {"adapter_model.safetensors", "adapter_config.json"}


@pytest.mark.parametrize("kind", ["chosen", "several", "of transformers"])
def test_the_adapter_that_was_trained_is_kept(recording: MemorySink, kind: str) -> None:
    import peft
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file

    task = "SEQ_CLS" if kind == "chosen" else None  # with it the head is trained, too, of one adapter alone
    first, second = (LoraConfig(r=rank, target_modules=["query"], task_type=task) for rank in (2, 3))
    model = classifier()
    if kind == "of transformers":
        try:
            model.add_adapter(second, "second")
        except ValueError as error:  # transformers itself wants a newer one
            pytest.skip(f"PEFT {peft.__version__}: {error}")
    else:
        model = get_peft_model(model, first)
        model.add_adapter("second", second)
        if kind == "chosen":
            model.set_adapter("second")
        else:
            model.base_model.set_adapter(["default", "second"])
    trainer(model, max_steps=1).train()
    (kept,) = [artifact for artifact in only(recording).artifacts if artifact["type"] == "model"]
    assert kept["name"] == "adapter-BertForSequenceClassification"
    ranks = {"default/": 2, "second/": 3} if kind == "several" else {"": 3}
    assert len(kept["files"]) == 2 * len(ranks)
    for folder, rank in ranks.items():
        weights = load_file(kept["files"][f"{folder}adapter_model.safetensors"])
        assert {len(weight) for name, weight in weights.items() if "lora_A" in name} == {rank}
        assert f'"r": {rank}' in Path(kept["files"][f"{folder}adapter_config.json"]).read_text()


def test_preferences_have_their_own_metrics(recording: MemorySink, words: Any, saved: str) -> None:
    told = data(prompt=texts[:8], chosen=texts[8:16], rejected=texts[16:24])
    args = arguments(trl.DPOConfig, eval_strategy="steps", eval_steps=2, per_device_train_batch_size=4)
    model = LlamaForCausalLM.from_pretrained(saved)
    trl.DPOTrainer(model, args=args, train_dataset=told, eval_dataset=told, processing_class=words).train()
    kept = only(recording)
    assert {"rewards/chosen", "rewards/margins", "val/rewards/chosen"} <= set(kept.metrics)
    assert len(kept.values("rewards/chosen")) == 2
    shown = kept.tables["data/texts"]
    assert len(shown) == 4
    for row in shown:
        said = {side: words.decode(words(text)["input_ids"]) for side, text in row.items()}
        place = next(n for n in range(8) if texts[n][:40] == said["prompt"].strip()[:40])
        assert said["chosen"].strip()[:40] == texts[place + 8][:40]
        assert said["rejected"].strip()[:40] == texts[place + 16][:40]


@pytest.mark.parametrize("at_every_log", [False, True])
def test_rewarded_completions_are_a_table(
    recording: MemorySink, words: Any, saved: str, capsys: Any, at_every_log: bool
) -> None:
    def length(completions: list[str], **more: Any) -> list[float]:
        return [float(len(completion)) for completion in completions]

    args = arguments(
        trl.GRPOConfig,
        num_generations=2,
        per_device_train_batch_size=4,
        max_completion_length=8,
        beta=0.1,
        log_completions=at_every_log,
    )
    prompts = data(prompt=[text[:40] for text in texts[:8]])
    model = LlamaForCausalLM.from_pretrained(saved)
    trl.GRPOTrainer(
        model, reward_funcs=[length], args=args, train_dataset=prompts, processing_class=words
    ).train()
    kept = only(recording)
    assert {"reward", "rewards/length/mean", "kl"} <= set(kept.metrics)
    rows = kept.tables["completions"]
    assert rows
    assert all(row["length"] == len(row["completion"]) for row in rows)
    assert {row["prompt"] for row in rows} <= {text[:40] for text in texts}
    mean = np.mean([row["length"] for row in rows])
    assert mean == pytest.approx(kept.metrics["rewards/length/mean"])
    told = [record for record in recording.records if "completions" in record.get("values", {})]
    assert [record["step"] for record in told] == ([1, 2] if at_every_log else [2])


@pytest.mark.parametrize("at_every_log", [False, True])
def test_completions_of_an_evaluation_stand_under_its_key(
    recording: MemorySink, words: Any, saved: str, at_every_log: bool
) -> None:
    def length(completions: list[str], **more: Any) -> list[float]:
        return [float(len(completion)) for completion in completions]

    args = arguments(
        trl.GRPOConfig,
        num_generations=2,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=2,
        max_completion_length=8,
        log_completions=at_every_log,
        eval_strategy="steps",
        eval_steps=1,
    )
    trained, held_out = ([text[:40] for text in texts[start : start + 8]] for start in (0, 8))
    trl.GRPOTrainer(
        LlamaForCausalLM.from_pretrained(saved),
        reward_funcs=[length],
        args=args,
        train_dataset=data(prompt=trained),
        eval_dataset=data(prompt=held_out[:1]),  # fewer than the training has left there
        processing_class=words,
    ).train()
    kept = only(recording)
    assert {row["prompt"] for row in kept.tables["completions"]} <= set(trained)
    assert len(kept.tables["completions"]) == 4
    shown = kept.tables["val/completions"]
    assert {row["prompt"] for row in shown} == set(held_out[:1])
    told = [record for record in recording.records if "val/completions" in record.get("values", {})]
    assert [record["step"] for record in told] == ([1, 2] if at_every_log else [2])
