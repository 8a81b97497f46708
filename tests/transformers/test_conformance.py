"""transformers keeps the promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback, set_seed

from tests.conformance.base import Conformance, Subject, Tracker
from tests.conformance.by_run import ByRun
from tests.transformers.models import classifier, test_set, trainer, y


class Raising(TrainerCallback):  # type: ignore[misc]
    """Raises in the middle of a training."""

    def __init__(self, error: BaseException):
        self.error = error

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == 3:
            raise self.error


class Transformers(Subject):
    name = "transformers"
    is_slow = True
    strength = "weight_decay"
    program = """
        from transformers import TrainerCallback
        from tests.transformers.models import trainer

        class Ready(TrainerCallback):
            def on_step_end(self, args, state, control, **more):
                if state.global_step == 5:
                    print("ready", flush=True)

        trainer(weight_decay=3.0, num_train_epochs=100_000, logging_steps=10_000, callbacks=[Ready()]).train()
    """

    def train(self, strength: float = 1.0, callbacks: Any = None) -> Any:
        set_seed(0)
        carrying = trainer(
            classifier(),
            weight_decay=strength,
            num_train_epochs=1,
            callbacks=callbacks,
        )
        carrying.train()
        return carrying.model

    def result(self, trained: Any) -> bytes:
        return b"".join(np.asarray(p.detach()).tobytes() for p in trained.parameters())

    def evaluate(self, trained: Any) -> float:
        logits = trainer(trained).predict(test_set).predictions
        return float((torch.tensor(logits).argmax(1) == y[192:256]).float().mean())

    def fail(self, error: BaseException) -> None:
        self.train(callbacks=[Raising(error)])


class TestTransformers(Conformance):
    subject = Transformers()

    @pytest.mark.skip(reason="TrainingArguments resets accelerate's state of the whole process: no threads")
    def test_trainings_in_threads_are_whole_and_apart(self, recorded: Tracker) -> None:
        """Bare transformers fails as well."""


class TestByRun(ByRun):
    subject = Transformers()
    measured = r"'train_(runtime|\w+_per_second)': '[\d.]+'"
