"""Language models in a Trainer: perplexity, tokens, what a tokenizer makes of texts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForMaskedLM, BertForQuestionAnswering, Trainer, TrainerCallback

from autolog import MemorySink
from autolog.transformers import words as words_of_transformers
from tests.transformers.models import (
    answering_trainer,
    arguments,
    language_model,
    only,
    test_set,
    texts,
    trainer,
)


def rows(words: Any, count: int = 16) -> list[dict[str, Any]]:
    """Texts of several lengths, filled up to the longest one."""
    given = words([text[: 40 + 5 * n] for n, text in enumerate(texts[:count])], padding=True)
    ids, mask = torch.tensor(given["input_ids"]), torch.tensor(given["attention_mask"])
    labels = torch.where(mask.bool(), ids, -100)
    labels[:, 0] = -100  # nobody guesses it; transformers 5.0 divides the loss by it all the same
    return [
        {"input_ids": one, "attention_mask": two, "labels": three}
        for one, two, three in zip(ids, mask, labels, strict=True)
    ]


def stacked(data: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: torch.stack([row[name] for row in data]) for name in data[0]}


# Perplexity -------------------------------------------------------------------------------------------


def test_the_perplexity_of_a_causal_model(recording: MemorySink, words: Any) -> None:
    data = rows(words)
    seen: list[float] = []

    class Perplexities(TrainerCallback):  # type: ignore[misc]
        def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            given = stacked(data)
            labels = given.pop("labels")
            with torch.no_grad():
                scores = model(**given).logits[:, :-1]
            seen.append(math.exp(cross_entropy(scores.flatten(0, 1), labels[:, 1:].flatten())))

    more = {"train_dataset": data, "eval_dataset": data, "callbacks": [Perplexities()]}
    trainer(language_model(words), eval_strategy="epoch", **more).train()
    kept = only(recording)
    assert kept.values("val/perplexity") == pytest.approx(seen, rel=1e-4)
    assert len(seen) == 2
    assert not [key for key in kept.metrics if key.startswith("train/perplexity")]


def masked(words: Any) -> tuple[Any, list[dict[str, Any]]]:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=len(words), max_position_embeddings=256, **sizes))
    data = rows(words)
    for row in data:  # every third word is to be guessed
        row["labels"] = torch.where(torch.arange(len(row["labels"])) % 3 == 0, row["labels"], -100)
    return model, data


def test_the_perplexity_of_a_masked_model(recording: MemorySink, words: Any) -> None:
    model, data = masked(words)
    trainer(model, eval_dataset=data).evaluate()
    model.eval()
    with torch.no_grad():
        expected = math.exp(float(model(**stacked(data)).loss))
    assert only(recording).metrics["val/perplexity"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["smoothed", "own", "weighted"])
def test_a_loss_that_is_no_surprise_has_no_perplexity(recording: MemorySink, words: Any, loss: str) -> None:
    class Weighted(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
            found, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
            return (found * 1.1, outputs) if return_outputs else found * 1.1

    def own(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        return outputs.logits.square().mean()

    args = arguments(label_smoothing_factor=0.1 if loss == "smoothed" else 0.0)
    kind = Weighted if loss == "weighted" else Trainer
    data = rows(words)
    own_loss = own if loss == "own" else None
    told = kind(language_model(words), args, eval_dataset=data, compute_loss_func=own_loss).evaluate()
    kept = only(recording)
    assert kept.metrics["val/loss"] == pytest.approx(told["eval_loss"])
    assert "val/perplexity" not in kept.metrics
    why = kept.config["autolog/notes"]["val/perplexity"]
    assert "not the mean cross entropy" in why
    assert (" of a batch, and not " in why) == (loss == "weighted"), "both numbers, where both are known"


def test_neither_a_translation_nor_a_classifier_has_a_perplexity(recording: MemorySink, words: Any) -> None:
    answering_trainer(words, predict_with_generate=False).evaluate()
    trainer().evaluate(test_set)
    for kept in recording.runs:
        assert "val/loss" in kept.metrics
        assert "val/perplexity" not in kept.metrics
        assert "val/perplexity" not in kept.config.get("autolog/notes", {})


def test_a_perplexity_of_the_users_own_stands_alone(recording: MemorySink, words: Any) -> None:
    trainer(
        language_model(words), eval_dataset=rows(words, 4), compute_metrics=lambda given: {"perplexity": 2.5}
    ).evaluate()
    assert only(recording).values("val/perplexity") == [2.5]


# Tokens -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulated", [1, 2])
def test_tokens_are_counted_without_what_fills_up(
    recording: MemorySink, words: Any, accumulated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words_of_transformers, "MOST_COUNTS", 3)
    data = rows(words)
    mask = stacked(data)["attention_mask"]
    more = {"per_device_train_batch_size": 4, "logging_steps": 4 // accumulated}  # an epoch
    trainer(
        language_model(words), train_dataset=data, gradient_accumulation_steps=accumulated, **more
    ).train()
    kept = only(recording)
    tokens = int(mask.sum())
    assert kept.values("vitals/tokens_seen") == [tokens, 2 * tokens]
    assert kept.values("vitals/padding_share") == [pytest.approx(1 - tokens / mask.numel())] * 2
    assert kept.values("vitals/tokens_per_sample") == [pytest.approx(tokens / 16)] * 2
    assert kept.values("vitals/longest_sample") == [mask.shape[1]] * 2
    assert all(value > 0 for value in kept.values("vitals/tokens_per_second"))


def test_where_nobody_says_what_fills_up_all_are_tokens(recording: MemorySink) -> None:
    trainer(logging_steps=8).train()  # of 128 rows, 64 words each
    kept = only(recording)
    assert kept.values("vitals/tokens_seen") == [128 * 64, 2 * 128 * 64]
    assert "vitals/padding_share" not in kept.metrics


def test_tokens_that_the_trainer_counts_stand_once(recording: MemorySink, words: Any) -> None:
    data = rows(words)
    carrying = trainer(language_model(words), train_dataset=data, include_num_input_tokens_seen="all")
    carrying.train()
    kept = only(recording)
    told = [entry["num_input_tokens_seen"] for entry in carrying.state.log_history]
    assert kept.values("vitals/tokens_seen") == told


def test_what_the_tokenizer_makes_of_the_first_texts(recording: MemorySink, words: Any) -> None:
    data = rows(words)
    unknown = words.unk_token_id
    for row in data:
        row["input_ids"][-3] = unknown  # the texts end there: they are filled up on the left
    model = language_model(words)
    trainer(
        model, train_dataset=data, processing_class=words, per_device_train_batch_size=16, max_steps=1
    ).train()
    config = only(recording).config
    kept = [row["input_ids"][row["attention_mask"].bool()].tolist() for row in data]
    tokens = sum(map(len, kept))
    assert config["tokenizer/unknown_share"] == pytest.approx(16 / tokens)
    told = sum(len(words.decode(row).split()) for row in kept)
    assert config["tokenizer/tokens_per_word"] == pytest.approx(tokens / told)
    assert config["params"]["tokenizer"]["size"] == len(words)
    assert config["model/embedding"] == [len(words), 16]
    assert (config["model/embedding_is_tied"], config["model/heads"]) == (False, 2)


def test_an_embedding_that_is_tied(recording: MemorySink, words: Any) -> None:
    model, data = masked(words)
    trainer(model, eval_dataset=data).evaluate()
    assert only(recording).config["model/embedding_is_tied"] is True


# Answers in a text --------------------------------------------------------------------------------------


def test_answers_that_are_found_in_a_text(recording: MemorySink, words: Any) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(words), max_position_embeddings=256, **sizes))
    data = rows(words)
    starts = [len(data[0]["input_ids"]) - 6 - n % 3 for n in range(16)]  # they are filled up on the left
    for row, place in zip(data, starts, strict=True):
        del row["labels"]
        row["start_positions"], row["end_positions"] = torch.tensor(place), torch.tensor(place + 3)
    data[3]["start_positions"] = data[3]["end_positions"] = torch.tensor(10_000)  # cut off
    more = {"train_dataset": data, "eval_dataset": data, "eval_strategy": "epoch", "num_train_epochs": 20}
    carrying = trainer(model, processing_class=words, per_device_eval_batch_size=5, **more)
    carrying.train()
    found = carrying.predict(data).predictions
    kept = only(recording)
    exact, overlaps = [], {}
    for n, (start, end) in enumerate(zip(*found, strict=True)):
        places = [p for p in range(len(start)) if data[n]["attention_mask"][p]]
        pairs = [(a, b) for a in places for b in places if a <= b]
        a, b = max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])
        truth, guess = set(range(starts[n], starts[n] + 4)), set(range(a, b + 1))
        if n != 3:
            exact.append(truth == guess)
            overlaps[n] = 2 * len(truth & guess) / (len(truth) + len(guess))
    assert 0 < sum(overlaps.values()) < 15
    assert len(kept.values("val/answer_f1")) == 20
    assert kept.values("val/answer_f1")[-1] == pytest.approx(sum(overlaps.values()) / 15)
    assert kept.metrics["test/answer_exact"] == pytest.approx(sum(exact) / 15)
    worst = kept.tables["test/worst_answers"]
    assert [row["f1"] for row in worst] == pytest.approx(sorted(overlaps.values())[:10])
    for row in worst:
        n = row["row"]
        assert row["f1"] == pytest.approx(overlaps[n])
        assert row["true"] == words.decode(data[n]["input_ids"][starts[n] : starts[n] + 4])
    assert "val/confusion_matrix" not in kept.config.get("autolog/notes", {})
