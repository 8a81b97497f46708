"""What a model has answered: which part of it are the scores, and what they are of.

Most models name them ``logits``. Of one that does not, as the Trainer lets a model of one's own, a part is
taken for them only if the loss that the model has answered with is the loss of that part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional

from autolog.torch.evaluation import Known
from autolog.torch.heard import Kind

__all__ = ["IGNORED", "ByLoss", "known_of", "named_scores"]

IGNORED = -100  # the label that transformers takes for none
SAME = 1e-5  # relative: the same function of the same numbers
MOST_TRIES = 3  # batches
_KINDS: dict[str, Kind] = {
    "single_label_classification": "classes",
    "multi_label_classification": "labels",
    "regression": "amounts",
}


def named_scores(output: Any) -> torch.Tensor | None:
    """What the answer calls ``logits``."""
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return found if isinstance(found, torch.Tensor) else None


def known_of(model: Any) -> Known:
    """What a model says of its scores; one of transformers' own never answers with probabilities."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model  # in PEFT's
    config = getattr(model, "config", None)
    kind = _KINDS.get(str(getattr(config, "problem_type", None)))
    is_theirs = type(model).__module__.startswith("transformers.")
    ignored = getattr(config, "semantic_loss_ignore_index", IGNORED)  # of masks
    return Known(kind, False if is_theirs else None, ignored)


class ByLoss:
    """Finds the scores in an answer that does not name them, and then in all that follow.

    Attributes:
        kind: what they were found to be.
    """

    def __init__(self) -> None:
        self.kind: Kind | None = None
        self._place: Any = None
        self._tries = 0

    def find(self, output: Any, labels: torch.Tensor) -> torch.Tensor | None:
        """The scores; None: they are not known."""
        if isinstance(output, Mapping):
            loss, parts = output.get("loss"), {name: part for name, part in output.items() if name != "loss"}
        elif isinstance(output, tuple) and output:
            loss, parts = output[0], dict(enumerate(output[1:]))
        else:
            return None
        if self.kind is not None:
            found = parts.get(self._place)
            return found if isinstance(found, torch.Tensor) else None
        if self._tries >= MOST_TRIES or not isinstance(loss, torch.Tensor) or loss.numel() != 1:
            return None
        self._tries += 1
        kinds = {
            place: kind
            for place, part in parts.items()
            if isinstance(part, torch.Tensor)
            and part.is_floating_point()
            and (kind := _kind_by(loss, part, labels.to(part.device))) is not None
        }
        if len(kinds) != 1:  # two parts, as long as they are alike
            return None
        ((self._place, self.kind),) = kinds.items()
        return parts[self._place]


def _kind_by(loss: Any, scores: Any, labels: Any) -> Kind | None:
    """What these scores are of, if this is the loss of theirs."""
    told = float(loss)
    losses: dict[Kind, Any] = {}
    if not labels.is_floating_point():
        if scores.ndim > 1 and scores.shape[:-1] == labels.shape:
            flat, labels = scores.reshape(-1, scores.shape[-1]), labels.reshape(-1).long()
            if bool((((labels >= 0) & (labels < flat.shape[1])) | (labels == IGNORED)).all()):
                losses["classes"] = functional.cross_entropy(flat, labels, ignore_index=IGNORED)
    elif labels.numel() == scores.numel():
        labels = labels.reshape(scores.shape).to(scores.dtype)
        losses["amounts"] = functional.mse_loss(scores, labels)
        if bool(((labels == 0) | (labels == 1)).all()):
            losses["labels"] = functional.binary_cross_entropy_with_logits(scores, labels)
    alike = [kind for kind, one in losses.items() if math.isclose(float(one), told, rel_tol=SAME)]
    return alike[0] if len(alike) == 1 else None
