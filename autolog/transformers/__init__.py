"""transformers: every ``Trainer.train`` is a run, and ``evaluate`` and ``predict`` go on in it.

>>> import autolog
>>> autolog.enable("transformers")
>>> trainer.train()  # a run
>>> trainer.evaluate()  # goes on in it

Or for one Trainer: ``Trainer(callbacks=[autolog.transformers.TrackioCallback()])``.

Trainer has no event for an error, and ends no callback then: how a training ends is seen by the hook around
``train``, which puts a callback of ours beside the user's own for as long as that call takes. Beside
transformers' own ``report_to="trackio"`` its run is adopted, and never ended by us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.transformers.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":  # with transformers, and torch behind it
        from autolog.transformers.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


_TRAINER = "transformers.trainer"
_PREDICTED = "what is made from predictions: the confusion matrix, entities"

# Seq2SeqTrainer's own `evaluate` and `predict`, and TRL's trainers', end in these.
HOOKS = [
    *(
        Hook(
            _TRAINER,
            f"Trainer.{name}",
            f"autolog.transformers.fit:observe_{name}",
            outermost_of="transformers",
            records=f"Trainer.{name}",
        )
        for name in ("train", "evaluate", "predict")
    ),
    Hook(
        _TRAINER,
        "Trainer.hyperparameter_search",
        "autolog.transformers.fit:observe_search",
        records="searches by hyperparameter_search",
    ),
    Hook(
        _TRAINER,
        "Trainer.evaluation_loop",
        "autolog.transformers.fit:observe_evaluation_loop",
        records=_PREDICTED,
    ),
    # A callback is told that a batch was predicted, and neither of its labels nor of what was generated.
    Hook(
        _TRAINER,
        "Trainer.prediction_step",
        "autolog.transformers.fit:observe_prediction_step",
        records=_PREDICTED,
    ),
    Hook(
        _TRAINER,
        "Trainer.get_batch_samples",
        "autolog.transformers.fit:observe_batches",
        kind="asked",
        records="the tokens of a training, and how long it waits for its data",
    ),
    Hook(
        "transformers.generation.utils",
        "GenerationMixin.generate",
        "autolog.transformers.fit:observe_generate",
        records="texts that you generate inside of an evaluation",
    ),
    # It tells no steps: Trackio would count its rows, beside ours at the optimizer's steps.
    Hook(
        "transformers.integrations.integration_utils",
        "TrackioCallback.on_log",
        "autolog.transformers.fit:observe_their_log",
        records='the steps of `report_to="trackio"`',
    ),
    Hook(
        "transformers.trainer_seq2seq",
        "Seq2SeqTrainer.prediction_step",
        "autolog.transformers.fit:observe_generating_step",
        records="texts that are generated",
    ),
]
