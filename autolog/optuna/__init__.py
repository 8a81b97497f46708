"""Optuna: a study is a run, and each trial in which something trains, logs or reports a run below it.

>>> import autolog
>>> autolog.enable("optuna")
>>> study.optimize(objective, n_trials=100)  # a run; called again it goes on in it

Or for one call: ``study.optimize(objective, callbacks=[autolog.optuna.TrackioCallback()])``.

Optuna shows a callback neither the end of ``optimize`` nor the trial whose exception ends it, and none of
ask-and-tell. So the hooks stand where both ways meet: around ``_optimize`` and ``_run_trial``, which Optuna
looks up while ``Study.optimize`` runs (a callback that is made inside of that very call comes in time), and
after ``ask``, ``tell`` and ``report``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autolog.process.hooks import Hook

if TYPE_CHECKING:
    from autolog.optuna.callback import TrackioCallback

__all__ = ["HOOKS", "TrackioCallback"]


def __getattr__(name: str) -> Any:
    if name == "TrackioCallback":
        from autolog.optuna.callback import TrackioCallback

        return TrackioCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_OBSERVERS = "autolog.optuna.optimize"

HOOKS = [
    Hook("optuna.study.study", "_optimize", f"{_OBSERVERS}:observe_optimize"),
    Hook("optuna.study._optimize", "_run_trial", f"{_OBSERVERS}:observe_trial"),
    *(
        Hook(module, path, f"{_OBSERVERS}:{observer}", kind="after")
        for module, path, observer in (
            ("optuna.study.study", "Study.ask", "observe_ask"),
            ("optuna.study._optimize", "_tell_with_warning", "observe_end_of_trial"),
            ("optuna.study.study", "_tell_with_warning", "observe_tell"),
            ("optuna.study.study", "Study.add_trial", "observe_add_trial"),
            ("optuna.trial._trial", "Trial.report", "observe_report"),
            ("optuna.trial._trial", "Trial.should_prune", "observe_should_prune"),
        )
    ),
]
