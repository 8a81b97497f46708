"""Lightning: every ``Trainer.fit`` is a run, and ``validate``, ``test`` and ``predict`` go on in it.

>>> import autolog
>>> autolog.enable("lightning")
>>> trainer.fit(module, train_loader, val_loader)  # a run
>>> trainer.test(module, test_loader)  # goes on in it, as test/*

Or for one Trainer: ``Trainer(callbacks=[autolog.lightning.TrackioCallback()])``, or, as Lightning's own
loggers are used, ``Trainer(logger=autolog.lightning.TrackioLogger())``; for Fabric, too.

``lightning.pytorch`` and ``pytorch_lightning`` are the same code under two names, and two lines of the
table (``autolog.pytorch_lightning``): what is said here holds for both. What happens in a training is told
by a callback of ours, which the hook around ``fit`` puts beside the user's own for as long as that call
takes; what was logged, at which step, by the one function through which Lightning hands it to its loggers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.lightning.callback import TrackioCallback
    from autolog.lightning.logger import TrackioLogger

__all__ = ["HOOKS", "TrackioCallback", "TrackioLogger"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":  # with Lightning, and torch behind it
        from autolog.lightning.callback import TrackioCallback

        return TrackioCallback
    if name == "TrackioLogger":
        from autolog.lightning.logger import TrackioLogger

        return TrackioLogger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [name for name in __all__ if name != "HOOKS"]  # for tab completion: what a user calls


def hooks_of(namespace: str) -> list[Hook]:
    """What is recorded of one of Lightning's two packages."""
    trainer, connectors = f"{namespace}.trainer.trainer", f"{namespace}.trainer.connectors"
    return [
        *(
            Hook(
                trainer,
                f"Trainer.{name}",
                f"autolog.lightning.fit:observe_{name}",
                outermost_of="lightning",
                records=f"Trainer.{name}",
            )
            for name in ("fit", "validate", "test", "predict")
        ),
        Hook(
            trainer,
            "Trainer.save_checkpoint",
            "autolog.lightning.recorder:observe_save_checkpoint",
            kind="after",
            records="checkpoints",
        ),
        Hook(
            f"{namespace}.loops.fetchers",
            "_DataFetcher.__next__",
            "autolog.core.waiting:observe_fetch",
            kind="asked",
            records="how long a training waits for its data",
        ),
        Hook(
            f"{connectors}.logger_connector.logger_connector",
            "_LoggerConnector.log_metrics",
            "autolog.lightning.recorder:observe_log_metrics",
            kind="after",
            records="metrics that are logged",
        ),
    ]


HOOKS = hooks_of("lightning.pytorch")
