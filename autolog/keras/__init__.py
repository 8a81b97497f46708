"""Keras 3: every ``fit`` is a run, with its epochs, gradient norms, checkpoints and held-out evaluation.

>>> import autolog
>>> autolog.enable("keras")
>>> model.fit(x, y, epochs=5, validation_data=(x_val, y_val))  # a run
>>> model.evaluate(x_test, y_test)  # goes on in it, as test/*

A loop of ``train_on_batch`` that you write yourself is a run, too; the models of a GAN share one.
A search of KerasTuner is a run, and each of its trials one below it.

Or for one training: ``model.fit(..., callbacks=[autolog.keras.TrackioCallback()])``. A loop that applies
gradients itself: ``with autolog.keras.watch(model, optimizer) as watch:`` (``watching.py``).

What happens in a training is told by a callback of ours, which the hook around ``fit`` puts beside the user's
own (never into their list); how it ends, an exception or Ctrl-C, only the hook sees.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.keras.callback import TrackioCallback
    from autolog.keras.watching import Watch, watch

__all__ = ["HOOKS", "TrackioCallback", "Watch", "watch"]

_LAZY = {"TrackioCallback": "callback", "Watch": "watching", "watch": "watching"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:  # with Keras, and the backend behind it
        return getattr(importlib.import_module(f"autolog.keras.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


# `keras.Model.fit` is inherited from the trainer of the backend in use; only that module is ever imported.
_TRAINERS = {
    "keras.src.backend.torch.trainer": "TorchTrainer",
    "keras.src.backend.jax.trainer": "JAXTrainer",
    "keras.src.backend.tensorflow.trainer": "TensorFlowTrainer",
}

HOOKS = [
    hook
    for module, trainer in _TRAINERS.items()
    for hook in (
        Hook(
            module,
            f"{trainer}.fit",
            "autolog.keras.fit:observe_fit",
            outermost_of="keras",
            records="trainings by fit",
        ),
        Hook(
            module,
            f"{trainer}.evaluate",
            "autolog.keras.fit:observe_evaluate",
            outermost_of="keras",
            records="evaluations by evaluate",
        ),
        Hook(
            module,
            f"{trainer}.train_on_batch",
            "autolog.keras.loops:observe_train_on_batch",
            outermost_of="keras",
            records="loops of train_on_batch",
        ),
    )
] + [
    # What the step that runs anyway predicts: on torch it can be looked at, elsewhere it is being traced.
    Hook(
        "keras.src.trainers.trainer",
        "Trainer.compute_metrics",
        "autolog.keras.predictions:observe_compute_metrics",
        kind="after",
        records="what the evaluation predicts (where a model cannot be asked once more)",
    ),
    # A step of the user's own may compute its metrics by hand.
    Hook(
        "keras.src.trainers.trainer",
        "Trainer.compute_loss",
        "autolog.keras.predictions:observe_compute_loss",
        kind="after",
        records="what an evaluation by a test_step of the user's own predicts",
    ),
    Hook(
        "keras.src.trainers.compile_utils",
        "CompileMetrics.update_state",
        "autolog.keras.predictions:observe_metrics",
        kind="after",
        records="what an evaluation by a test_step of the user's own predicts",
    ),
    # On torch; on the other backends a compiled program, or an iterator of its own, fetches ahead.
    Hook(
        "keras.src.trainers.epoch_iterator",
        "EpochIterator.__next__",
        "autolog.core.waiting:observe_fetch",
        kind="asked",
        records="how long a training waits for its data",
        optional=True,
    ),
    # What an optimizer is given. (Clipping is private: what was accumulated inside is whole only there.)
    Hook(
        "keras.src.optimizers.base_optimizer",
        "BaseOptimizer.apply",
        "autolog.keras.optimizers:observe_apply",
        kind="after",
        records="gradient norms, and which optimizers train a model",
    ),
    Hook(
        "keras.src.optimizers.base_optimizer",
        "BaseOptimizer._clip_gradients",
        "autolog.keras.optimizers:observe_clipping",
        kind="after",
        records="gradient norms",
    ),
    # `train_on_batch` returns a list: which number is which stands only here.
    Hook(
        "keras.src.trainers.trainer",
        "Trainer._flatten_metrics_in_order",
        "autolog.keras.loops:observe_flatten_metrics",
        kind="after",
        records="names of the metrics of train_on_batch",
    ),
    Hook(
        "keras_tuner.src.engine.base_tuner",
        "BaseTuner.search",
        "autolog.keras.tuner:observe_search",
        records="KerasTuner's searches",
    ),
    Hook(
        "keras_tuner.src.engine.base_tuner",
        "BaseTuner._run_and_update_trial",
        "autolog.keras.tuner:observe_trial",
        records="trials of KerasTuner as runs of their own",
    ),
    Hook(
        "keras_tuner.src.engine.base_tuner",
        "BaseTuner.on_trial_end",
        "autolog.keras.tuner:observe_trial_end",
        kind="after",
        records="scores of KerasTuner's trials",
    ),
]
