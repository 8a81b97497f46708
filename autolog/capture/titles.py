"""What a run is called: what tells it from the others, in as few letters as a chart's label shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autolog.capture.params import is_secret, mask, scalar

__all__ = ["LETTERS", "short_class", "title"]

LETTERS = 20  # Trackio cuts a label at 120 pixels

_CLASSES = {
    "DecisionTree": "Tree",
    "GaussianProcess": "GP",
    "GradientBoosting": "GB",
    "HistGradientBoosting": "HistGB",
    "KNeighbors": "KNN",
    "LinearDiscriminantAnalysis": "LDA",
    "LinearRegression": "LinReg",
    "LogisticRegression": "LogReg",
    "MultinomialNB": "MultiNB",
    "QuadraticDiscriminantAnalysis": "QDA",
    "RandomForest": "Forest",
}
_PARAMETERS = {
    "batch_size": "batch",
    "hidden_size": "hidden",
    "learning_rate": "lr",
    "max_depth": "depth",
    "max_epochs": "epochs",
    "max_iter": "iter",
    "n_clusters": "k",
    "n_components": "dim",
    "n_estimators": "n",
    "n_neighbors": "k",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch",
    "weight_decay": "wd",
}
_SAYS_NOTHING = {"n_jobs", "num_workers", "random_state", "seed", "verbose", "verbosity"}
_ENDINGS = re.compile(r"(Classifier|Regressor|For[A-Z]\w*|LMHeadModel)$")
MOST_LETTERS = 8  # of a text
MOST_OF_CLASS = 40  # else there is no room for what tells two runs of it apart


def title(what: str, was_set: Mapping[str, Any] | None = None) -> str:
    """What is trained, and of what a person has set as much as there is room for, the shortest first.

    Args:
        what: a class as :func:`short_class` has it, say.
        was_set: hyperparameters by name; ``step__name`` and ``group/name`` are called by their last part.

    Example:
        >>> title(short_class("HistGradientBoostingClassifier"), {"max_depth": 5, "learning_rate": 0.03})
        'HistGB depth=5'
    """
    text = what[:MOST_OF_CLASS]
    pieces = [_piece(str(key), value) for key, value in (was_set or {}).items()]
    for piece in sorted(dict.fromkeys(filter(None, pieces)), key=len):
        if len(f"{text} {piece}") > LETTERS:
            break
        text = f"{text} {piece}"
    return text


def short_class(name: str) -> str:
    """The name of a class without what all of its kind end with; well-known ones by what people call them."""
    plain = _ENDINGS.sub("", name)
    plain = plain if len(plain) > 1 else name
    return _CLASSES.get(plain, plain)


def _piece(key: str, value: Any) -> str | None:
    name = re.split(r"__|[./](?!\d)", key)[-1]  # of `lr/0` the number alone says nothing
    value = scalar(value)
    if name in _SAYS_NOTHING or is_secret(key) or value is None:
        return None
    if isinstance(value, int) and abs(value) >= 10**LETTERS:  # Python may refuse to write it out
        return None
    name = _PARAMETERS.get(name, name)
    if isinstance(value, float):
        return f"{name}={_number(value)}"
    if isinstance(value, str) and (len(value) > MOST_LETTERS or not value.isprintable() or not value):
        return None
    return f"{name}={mask(str(value))}"


def _number(value: float) -> str:
    text = f"{value:.3g}"
    return re.sub(r"^(-?)0\.", r"\1.", text)
