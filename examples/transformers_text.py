"""Which package is a docstring from? A small transformer, made and trained here.

The texts are docstrings of functions and classes in NumPy, SciPy, pandas and scikit-learn, as installed here.
Nothing is downloaded: the tokenizer is trained on them, the model begins at random.

    python examples/transformers_text.py && trackio show --project transformers-docstrings
"""

import importlib
import inspect
import random
import tempfile

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

import autolog

MODULES = {
    "numpy": ["numpy", "numpy.linalg", "numpy.random", "numpy.fft", "numpy.ma"],
    "scipy": ["scipy.stats", "scipy.optimize", "scipy.signal", "scipy.linalg", "scipy.sparse"],
    "pandas": ["pandas", "pandas.DataFrame", "pandas.Series", "pandas.Index"],
    "sklearn": ["sklearn.metrics", "sklearn.preprocessing", "sklearn.linear_model", "sklearn.datasets"],
}
NAMES = ("numpy", "np.", "scipy", "sp.", "pandas", "pd.", "sklearn", "scikit-learn")  # would give it away


def docstrings(place: str) -> set[str]:
    """The docstrings of what a module or class offers, without its examples."""
    module, _, name = place.rpartition(".")
    try:
        owner = importlib.import_module(place)
    except ImportError:
        owner = getattr(importlib.import_module(module), name)
    found = (inspect.getdoc(thing) for name, thing in vars(owner).items() if not name.startswith("_"))
    return {text.split("Examples\n")[0] for text in found if text and len(text) > 200}


def without_names(text: str) -> str:
    for name in NAMES:
        text = text.replace(name, " ")
    return text


autolog.enable(project="transformers-docstrings")
set_seed(0)

labels = list(MODULES)
labelled = {text: package for package, places in MODULES.items() for p in places for text in docstrings(p)}
rows = sorted((without_names(text), labels.index(package)) for text, package in labelled.items())
random.shuffle(rows)
print(f"{len(rows)} docstrings")

words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
words.normalizer, words.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
words.decoder = decoders.WordPiece()
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
words.train_from_iterator(
    (text for text, _ in rows),
    trainers.WordPieceTrainer(vocab_size=3_000, special_tokens=special, show_progress=False),
)
words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words,
    model_max_length=64,
    **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True)),
)
samples = [{**tokenizer(text, truncation=True), "labels": label} for text, label in rows]
held_out = len(samples) // 5
test, val, train = samples[:held_out], samples[held_out : 2 * held_out], samples[2 * held_out :]

model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
)
trainer = Trainer(
    model,
    TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=8,
        per_device_train_batch_size=32,
        per_device_eval_batch_size=64,
        learning_rate=1e-3,
        warmup_steps=20,
        logging_steps=5,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    ),
    train_dataset=train,
    eval_dataset=val,
    processing_class=tokenizer,
    data_collator=DataCollatorWithPadding(tokenizer),
    callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
)
trainer.train()
predicted = trainer.predict(test)
accuracy = (predicted.predictions.argmax(1) == predicted.label_ids).mean()
print(f"test accuracy {accuracy:.3f}")
print("Look at it:  trackio show --project transformers-docstrings")

# What it shows: the losses, accuracy and F1 of each epoch, gradient norms by layer, the checkpoints, and for
# the test texts a confusion matrix, curves, and the best and worst predictions with their text.
